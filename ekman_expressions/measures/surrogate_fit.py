"""What LIME's R² is worth: beside it, what chance gives, and the R² on samples that the fit has not seen.

A surrogate has as many weights as there are superpixels, so with few samples it fits some of any answers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ekman_expressions.core.errors import SettingsError, check_range
from ekman_expressions.explainers.lime import lime, sample_weights
from ekman_expressions.explainers.record import PerturbationRecord, pairs


def permuted_r2(
    record: PerturbationRecord,
    target: int,
    *,
    seed: int,
    permutations: int = 20,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> float:
    """Return the R² by chance: that of the same answers, dealt out anew among the samples; no model call.

    With equal sample weights and no penalty its expectation is ``S / (n - 1)`` for S superpixels and n
    samples, if the samples determine all weights.

    Parameters
    ----------
    record : PerturbationRecord
        Samples and answers.
    target : int
        The class explained.
    seed : int
        Decides how answers are dealt out.
    permutations : int, >= 1
        How often; the mean is returned.
    kernel_width, alpha : float
        See `ekman_expressions.explainers.lime.lime`.

    Returns
    -------
    float
        NaN when the model answered the same for all samples.

    Raises
    ------
    SettingsError
        If a number is out of its range.
    """
    check_range(permutations, "permutations", 1, integer=True)
    random = np.random.default_rng(seed)
    found = [
        lime(
            replace(record, predictions=record.predictions[random.permutation(len(record.predictions))]),
            target,
            kernel_width=kernel_width,
            alpha=alpha,
        ).r2
        for _ in range(permutations)
    ]
    return float(np.mean(found))


def cross_validated_r2(
    record: PerturbationRecord,
    target: int,
    *,
    seed: int,
    parts: int = 10,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> float:
    """Return the weighted R² on samples that the fit has not seen; no model call.

    Samples are divided into parts; each part is predicted by the surrogate fitted to the others, and compared
    with the mean answer of the others. A mask and its complement, which were drawn together, lie in one
    part.

    Parameters
    ----------
    record : PerturbationRecord
        Samples and answers.
    target : int
        The class explained.
    seed : int
        Decides which samples are in which part.
    parts : int, >= 2
        How many; no more than there are samples, or pairs of them.
    kernel_width, alpha : float
        See `ekman_expressions.explainers.lime.lime`.

    Returns
    -------
    float
        At most 1; 0 or less where the mean answer predicts as well. NaN when the model answered the same
        for all samples.

    Raises
    ------
    SettingsError
        If a number is out of its range.
    """
    groups = pairs(len(record.samples), record.sampler)
    count = int(groups.max()) + 1
    check_range(parts, "parts", 2, integer=True)
    if parts > count:
        raise SettingsError(
            f"'parts' must be no more than the {count} samples or pairs of the record, but got {parts}."
        )
    part_of = (np.random.default_rng(seed).permutation(count) % parts)[groups]
    answers = record.predictions[:, target].astype(np.float64)
    weights = sample_weights(record.samples, kernel_width)
    predicted, mean = np.empty((2, len(answers)))
    for part in range(parts):
        out = part_of == part
        # Of parts, only the weights of the fit are used: how samples were drawn changes none of them.
        kept = replace(
            record, samples=record.samples[~out], predictions=record.predictions[~out], sampler="iid"
        )
        fit = lime(kept, target, kernel_width=kernel_width, alpha=alpha)
        predicted[out] = fit.intercept + record.samples[out] @ fit.weights
        mean[out] = np.average(answers[~out], weights=weights[~out])
    total = weights @ (answers - mean) ** 2
    return float(1 - weights @ (answers - predicted) ** 2 / total) if total > 0 else float("nan")
