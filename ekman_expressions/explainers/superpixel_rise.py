"""RISE with superpixels for grid cells, estimated from a perturbation record."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekman_expressions.core.errors import check_range
from ekman_expressions.explainers.lime import paint, record_one
from ekman_expressions.explainers.record import PerturbationRecord


def superpixel_rise(record: PerturbationRecord, target: int) -> np.ndarray:
    """Estimate RISE's importance of superpixels for one class from a record; no model call.

    RISE's importance of a place is the model's expected answer given that the place is kept
    ([1]_, equation 4). Here the mean answer is subtracted, so that 0 says that it does not
    matter: ``E[f | z_j = 1] - E[f]``. The first sample, which is not drawn but keeps all, is left out.

    Parameters
    ----------
    record : PerturbationRecord
        Samples and answers.
    target : int
        The class explained, 0 ... C - 1.

    Returns
    -------
    (S,) ndarray of float64
        0 for a superpixel that no sample keeps, or a model that answers the same to all.

    Raises
    ------
    SettingsError
        If `target` is no class of the record.

    References
    ----------
    .. [1] Petsiuk, Das and Saenko (2018), RISE: randomized input sampling for explanation of black-box
       models, arXiv:1806.07421.
    """
    check_range(target, "target", 0, record.predictions.shape[1] - 1, integer=True)
    answers = record.predictions[:, target].astype(np.float64)
    drawn, samples = answers[1:], record.samples[1:]
    kept = samples.sum(axis=0)
    # Taken from the first answer, a constant model's differences are exactly 0.
    drawn = drawn - answers[0]
    return ((drawn - drawn.mean()) @ samples if len(drawn) else np.zeros(len(kept))) / np.maximum(kept, 1)


def explain_one(
    model: Any, image: np.ndarray, target: int, *, seed: int, **asking: Any
) -> tuple[np.ndarray, int]:
    """Explain one image by superpixel RISE; see `ekman_expressions.explainers.registry`.

    Asked about the same samples as LIME, with the same seed: `asking` are the settings of
    `ekman_expressions.explainers.lime.record_one`.
    """
    record = record_one(model, image, target, seed=seed, **asking)
    return paint(superpixel_rise(record, target), record.segments, positive=False), len(record.samples)
