"""Whether images, superpixels, samples and answers are what they must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, ModelError


def check_image(image: Any) -> np.ndarray:
    """Return an image as contiguous float32, or raise `DataError` unless it is RGB in [0, 1]."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != "f":
        raise DataError(
            "An image must be RGB of shape (H, W, 3), float in [0, 1], "
            f"but got {image.dtype} of shape {image.shape}."
        )
    if not (image.size and image.min() >= 0 and image.max() <= 1):
        raise DataError(
            f"An image must lie in [0, 1], but got {image.min(initial=np.inf)} ... "
            f"{image.max(initial=-np.inf)}. Divide 8-bit images by 255."
        )
    return np.ascontiguousarray(image, np.float32)


def check_segments(segments: Any) -> np.ndarray:
    """Return superpixels, or raise `DataError` unless they are labels 0 ... S - 1, each occurring."""
    segments = np.asarray(segments)
    if segments.ndim != 2 or segments.size == 0 or segments.dtype.kind not in "iu":
        raise DataError(
            "'segments' must be whole numbers of shape (H, W), "
            f"but got {segments.dtype} of shape {segments.shape}."
        )
    low, high = int(segments.min()), int(segments.max())
    if low != 0 or high >= segments.size or not np.bincount(segments.ravel()).all():
        raise DataError(
            f"'segments' must be labelled 0 ... S - 1 without gaps, but the labels go from {low} to {high} "
            f"and {np.unique(segments).size} of them occur."
        )
    return segments


def check_samples(samples: Any, segments: np.ndarray) -> np.ndarray:
    """Return samples, or raise `DataError` unless they are bool with a column per superpixel."""
    samples = np.asarray(samples)
    count = int(np.max(segments)) + 1
    if samples.dtype != bool or samples.ndim != 2 or samples.shape[1] != count or not len(samples):
        raise DataError(
            f"'samples' must be bool of shape (n, {count}), a column per superpixel, "
            f"but got {samples.dtype} of shape {samples.shape}."
        )
    return samples


def check_answers(answers: np.ndarray, samples: np.ndarray, classes: int | None) -> np.ndarray:
    """Return answers as float32, or raise `ModelError` unless they are probabilities of so many classes."""
    return check_probabilities(
        answers, classes, lambda row: f" ({samples[row].sum()} of {samples.shape[1]} superpixels kept)"
    )


def check_probabilities(
    answers: np.ndarray, classes: int | None = None, describe: Callable[[int], str] = lambda row: ""
) -> np.ndarray:
    """Return (n, C) answers as float32, or raise `ModelError` unless they are probabilities.

    `describe` tells, for messages, what the sample of a row was.
    """
    if classes is not None and answers.shape[1] != classes:
        raise ModelError(f"The model must answer {classes} classes. Received: {answers.shape[1]}.")
    if not answers.shape[1]:
        raise ModelError("The model must answer at least one class. Received: 0.")
    answers = answers.astype(np.float32)
    bad = ~np.isfinite(answers)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ModelError(
            f"The model answered NaN or infinity for {bad.any(axis=1).sum()} of {len(answers)} samples, "
            f"first for sample {row}{describe(row)}, class {column}."
        )
    sums = answers.sum(axis=1)
    # Half-precision softmax sums to 1 within this.
    if answers.min() < -1e-3 or np.abs(sums - 1).max() > 1e-2:
        row = int(np.abs(sums - 1).argmax())
        raise ModelError(
            f"The model's answers are no probabilities (logits?): those for sample {row} sum to "
            f"{sums[row]:.6g}, and all lie in [{answers.min():.6g}, {answers.max():.6g}]. "
            "Add a softmax to the model."
        )
    return answers
