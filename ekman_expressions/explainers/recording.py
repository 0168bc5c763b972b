"""Making a perturbation record: superpixels, samples and answers by the settings of a study."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ekman_expressions.perturbation import PerturbationRecord, draw_samples, perturb, superpixels
from ekman_expressions.randomness import derive_seed


def make_record(
    model: Any,
    image: np.ndarray,
    *,
    seed: int | np.random.Generator,
    labels: np.ndarray | None = None,
    image_id: str = "",
    name: str = "",
    segments: int = 30,
    compactness: float = 20.0,
    samples: int = 1000,
    hidden: float | str = 0.0,
    batch_size: int = 64,
    classes: int | None = None,
) -> PerturbationRecord:
    """Ask a model about masked copies of one image.

    Parameters
    ----------
    model : keras.Model or callable
        See `ekman_expressions.perturbation.perturb`.
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    seed : int or numpy Generator
        Decides which superpixels each copy keeps.
    labels : (H, W) ndarray of int, optional
        The superpixels, 0 ... S - 1; left out, they are made by SLIC.
    image_id, name : str
        What the record says of image and model.
    segments, compactness, samples, hidden, batch_size
        See `ekman_expressions.settings.ExplanationSettings`.
    classes : int or None
        How many classes the model must answer.
    """
    if labels is None:
        labels = superpixels(image, segments=segments, compactness=compactness)
    drawn = draw_samples(int(labels.max()) + 1, samples, seed)
    answers = perturb(model, image, labels, drawn, hidden=hidden, batch_size=batch_size, classes=classes)
    return PerturbationRecord(
        image_id=image_id, model=name, segments=labels, samples=drawn, answers=answers, hidden=hidden
    )


def image_seed(seed: int, name: str, image: np.ndarray) -> int:
    """Derive a seed from an image's content: its place among others must not matter."""
    digest = hashlib.sha256(np.ascontiguousarray(image, np.float32)).hexdigest()
    return derive_seed(seed, name, digest)
