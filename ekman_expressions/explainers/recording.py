"""Making a perturbation record: superpixels, samples and answers by the settings of a study."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ekman_expressions.errors import SettingsError
from ekman_expressions.perturbation import GROUP, Asker, PerturbationRecord, draw_samples, superpixels
from ekman_expressions.randomness import derive_seed

ROUND = 64
"""Samples asked about at a time while it is not known how many are enough."""


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
    samples: int | str = 1000,
    sampler: str = "iid",
    max_samples: int = 4000,
    enough: Callable[[PerturbationRecord], bool] | None = None,
    hidden: float | str = 0.0,
    batch_size: int = 64,
    group: int = GROUP,
    precision: str = "float32",
    classes: int | None = None,
) -> PerturbationRecord:
    """Ask a model about masked copies of one image.

    Parameters
    ----------
    model : keras.Model, callable or Asker
        See `ekman_expressions.perturbation.Asker`; one that is made for many images goes on with
        as many copies at a time as memory was enough for.
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    seed : int or numpy Generator
        Decides which superpixels each copy keeps.
    labels : (H, W) ndarray of int, optional
        The superpixels, 0 ... S - 1; left out, they are made by SLIC.
    image_id, name : str
        What the record says of image and model.
    segments, compactness, samples, sampler, max_samples, hidden
        See `ekman_expressions.settings.ExplanationSettings`.
    enough : callable, optional
        With ``samples = "auto"``: whether a record will do. It is asked after four times as many samples
        as there are superpixels, then every `ROUND` samples. The record is the same as if so
        many had been asked for.
    batch_size, group, precision
        See `ekman_expressions.perturbation.Asker`.
    classes : int or None
        How many classes the model must answer.
    """
    if samples == "auto" and enough is None:
        raise SettingsError("samples = 'auto' needs 'enough', which says when to stop, but got None.")
    if labels is None:
        labels = superpixels(image, segments=segments, compactness=compactness)
    asker = model
    if not isinstance(model, Asker):
        asker = Asker(model, group=group, batch_size=batch_size, precision=precision)
    count = int(labels.max()) + 1
    most = max_samples if samples == "auto" else samples
    drawn = draw_samples(count, most, seed, sampler)
    first = ROUND * -(-4 * count // ROUND) if samples == "auto" else most
    answers = None
    for stop in (*range(first, most, ROUND), most):
        start = 0 if answers is None else len(answers)
        more = asker.ask(image, labels, drawn[start:stop], hidden=hidden, classes=classes)
        answers = more if answers is None else np.concatenate([answers, more])
        made = PerturbationRecord(
            image_id=image_id,
            model=name,
            segments=labels,
            samples=drawn[:stop],
            answers=answers,
            hidden=hidden,
            sampler=sampler,
        )
        if stop < most and enough(made):
            break
    return made


def image_seed(seed: int, name: str, image: np.ndarray) -> int:
    """Derive a seed from an image's content: its place among others must not matter."""
    digest = hashlib.sha256(np.ascontiguousarray(image, np.float32)).hexdigest()
    return derive_seed(seed, name, digest)
