"""Asking a model about copies of an image in which superpixels are hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ekman_expressions.errors import DataError, ModelError, SettingsError, check_range
from ekman_expressions.perturbation.background import background
from ekman_expressions.perturbation.checks import check_answers, check_image, check_samples, check_segments
from ekman_expressions.perturbation.compiled import ask_keras, is_keras


def perturb(
    model: Any,
    image: np.ndarray,
    segments: np.ndarray,
    samples: np.ndarray,
    *,
    hidden: float | str | np.ndarray = 0.0,
    batch_size: int = 64,
    classes: int | None = None,
) -> np.ndarray:
    """Ask a model about copies of an image in which superpixels are hidden.

    Parameters
    ----------
    model : keras.Model or callable
        Takes images (N, H, W, 3) float32 in [0, 1], answers probabilities (N, C). Keras models
        run in a compiled function that masks on the device, made once per model and image size.
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    segments : (H, W) ndarray of int
        The superpixel of each pixel, 0 ... S - 1.
    samples : (n, S) ndarray of bool
        The superpixels that each copy keeps.
    hidden : float, {'mean', 'blur'} or (H, W, 3) ndarray
        What hidden superpixels look like: a gray value in [0, 1], the image's mean colour, the
        image blurred, or any picture; see `background`.
    batch_size : int
        Copies per call of a model that is not a Keras model; the last call may have fewer.
        Keras models get `GROUP` at a time, so that answers depend neither on this nor on order.
    classes : int or None
        How many classes the model must answer; None takes any number.

    Returns
    -------
    (n, C) ndarray of float32, range [0, 1]
        The model's answers.

    Raises
    ------
    DataError
        If image, segments, samples and background do not fit each other.
    ModelError
        If the answers are no probabilities: wrong number, NaN, infinite, or not summing to 1.
    """
    image = check_image(image)
    segments = check_segments(segments)
    samples = check_samples(samples, segments)
    if segments.shape != image.shape[:2]:
        raise DataError(f"'segments' has shape {segments.shape}, but the image has {image.shape[:2]}.")
    behind = background(image, hidden)
    check_range(batch_size, "batch_size", 1, integer=True)
    if is_keras(model):
        answers = ask_keras(model, image, segments, samples, behind)
    elif callable(model):
        answers = _ask_callable(model, image, segments, samples, behind, batch_size)
    else:
        raise SettingsError(
            "'model' must be a Keras model or a callable images -> probabilities, "
            f"but got {type(model).__name__}."
        )
    return check_answers(answers, samples, classes)


def _ask_callable(
    model: Callable,
    image: np.ndarray,
    segments: np.ndarray,
    samples: np.ndarray,
    behind: np.ndarray,
    batch_size: int,
) -> np.ndarray:
    answers = []
    for start in range(0, len(samples), batch_size):
        kept = samples[start : start + batch_size].take(segments, axis=1)
        answer = np.asarray(model(np.where(kept[..., None], image, behind)))
        if answer.ndim != 2 or len(answer) != len(kept):
            raise ModelError(
                f"The model was given {len(kept)} images and must answer ({len(kept)}, classes), "
                f"but answered shape {answer.shape}."
            )
        answers.append(answer)
    return np.concatenate(answers)
