"""LIME: a linear surrogate of the model on kept superpixels, estimated from a record.

Ribeiro et al. (2016), "Why should I trust you?", doi:10.1145/2939672.2939778.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError, check_range
from ekman_expressions.explainers.record import PerturbationRecord, image_seed, make_record, pairs


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """What LIME says of one image, one model and one class.

    Attributes
    ----------
    target : int
        The class explained.
    weights : (S,) ndarray of float64
        By how much keeping each superpixel raises the probability of the class.
    standard_errors : (S,) ndarray of float64
        How much the weights would vary if other samples had been drawn.
    intercept : float
        The surrogate's answer when all superpixels are hidden.
    r2 : float
        Weighted share of the variance that the surrogate explains; NaN when the model
        answered the same for all samples, so that there is nothing to explain.
    """

    target: int
    weights: np.ndarray
    standard_errors: np.ndarray
    intercept: float
    r2: float


def sample_weights(samples: np.ndarray, kernel_width: float) -> np.ndarray:
    """Return each sample's weight, ``sqrt(exp(-d² / kernel_width²))``.

    ``d`` is the cosine distance to the sample that keeps all: ``1 - sqrt(kept / S)``, so 1
    when nothing is kept.

    Parameters
    ----------
    samples : (n, S) ndarray of bool
        Which superpixels are kept.
    kernel_width : float, > 0
        Distance at which the weight has fallen to ``exp(-1/2)``.

    Returns
    -------
    (n,) ndarray of float64, range [0, 1]
    """
    distance = 1 - np.sqrt(np.mean(samples, axis=1))
    return np.exp(-((distance / kernel_width) ** 2) / 2)


def lime(
    record: PerturbationRecord, target: int, *, kernel_width: float = 0.25, alpha: float = 1.0
) -> Explanation:
    """Estimate LIME's weights for one class from a perturbation record; no model call.

    Weighted ridge regression on all superpixels, the intercept b not penalised: with sample
    weights w, the b and β that minimise ``Σ w (y - b - x·β)² + α β·β``. With x and y centred
    at their weighted means this is ``β = H⁻¹ Σ w x y``, ``H = Σ w x xᵀ + α I``.

    The standard errors are those of an M-estimator (the "sandwich"; [1]_, [2]_): β solves
    ``Σ ψ = 0`` with ``ψ = w x e - α β / n``, e the residual, so its covariance is
    ``H⁻¹ (Σ ψ ψᵀ) H⁻¹``. Nothing is assumed of the residuals, which here are mostly the
    model's departure from linearity. Each e is divided by ``sqrt(1 - h)``, h the sample's leverage
    ("HC2", [3]_), since a fitted residual is smaller than a true one when samples are
    few. Samples that were drawn together, as complements (`perturbation.pairs`), count as
    one: their ψ are summed, and ``sqrt(1 - h)`` becomes the square root of a matrix ("CR2", [4]_).
    The errors measure spread about the ridge estimate's own expectation, not shrinkage.

    Parameters
    ----------
    record : PerturbationRecord
        Samples and answers.
    target : int
        The class explained, 0 ... C - 1.
    kernel_width : float, > 0
        See `sample_weights`.
    alpha : float, >= 0
        Ridge penalty. With 0, and samples that do not determine the weights, the smallest
        weights that fit.

    Returns
    -------
    Explanation

    Raises
    ------
    SettingsError
        If `target` is no class of the record, or a number is out of its range.

    References
    ----------
    .. [1] Huber (1967), Proc. 5th Berkeley Symposium 1, 221-233.
    .. [2] White (1980), doi:10.2307/1912934.
    .. [3] MacKinnon and White (1985), doi:10.1016/0304-4076(85)90158-7.
    .. [4] Bell and McCaffrey (2002), Survey Methodology 28(2), 169-181.
    """
    from scipy.linalg import pinvh

    check_range(target, "target", 0, record.predictions.shape[1] - 1, integer=True)
    check_range(kernel_width, "kernel_width", 1e-6)
    check_range(alpha, "alpha", 0)
    w = sample_weights(record.samples, kernel_width)
    if not w.sum() > 0:
        raise SettingsError(
            f"'kernel_width' = {kernel_width} gives every sample the weight 0. Use a wider kernel."
        )
    answers = record.predictions[:, target].astype(np.float64)
    # Taken from the first answer, a constant model's differences are exactly 0.
    y = answers - answers[0]
    x = record.samples.astype(np.float64)
    x_mean, y_mean = np.average(x, axis=0, weights=w), np.average(y, weights=w)
    x, y = x - x_mean, y - y_mean
    inverse = pinvh((x.T * w) @ x + alpha * np.eye(x.shape[1]))
    weights = inverse @ (x.T @ (w * y))
    residuals = y - x @ weights
    total = w @ y**2
    groups = pairs(len(x), record.sampler)
    psi = _influences(x, w, residuals, inverse, groups)
    # Centred by the samples in each, since the last pair may be half.
    psi -= np.bincount(groups)[:, None] * (psi.sum(axis=0) / len(x))
    half = psi @ inverse
    return Explanation(
        target=int(target),
        weights=weights,
        standard_errors=np.sqrt(np.einsum("ij,ij->j", half, half)),
        intercept=float(answers[0] + y_mean - x_mean @ weights),
        r2=float(1 - (w @ residuals**2) / total) if total > 0 else float("nan"),
    )


def _influences(
    x: np.ndarray, w: np.ndarray, residuals: np.ndarray, inverse: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Return ``Σ w x e`` of each group of one or two samples, residuals corrected for their leverage."""
    root = np.sqrt(w)
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    second = np.minimum(first + 1, len(groups) - 1)
    paired = groups[second] == groups[first]
    paired &= second != first
    members = np.stack([first, second], axis=1)
    scaled = root[members]
    # A group of one is a pair with a sample of weight 0.
    scaled[~paired, 1] = 0
    of_pair = x[members]
    leverage = np.einsum("gaj,jk,gbk->gab", of_pair, inverse, of_pair, optimize=True) + 1 / w.sum()
    left = np.eye(2) - leverage * scaled[:, :, None] * scaled[:, None, :]
    values, vectors = np.linalg.eigh(left)
    # Samples that alone decide the fit (leverage 1) have no residual to learn from.
    values = 1 / np.sqrt(np.maximum(values, 1e-6))
    corrected = np.einsum(
        "gab,gb,gcb,gc->ga", vectors, values, vectors, scaled * residuals[members], optimize=True
    )
    return np.einsum("ga,gaj->gj", scaled * corrected, of_pair)


def paint(weights: np.ndarray, segments: np.ndarray, *, positive: bool = True) -> np.ndarray:
    """Give each pixel its superpixel's weight; no stretch per image.

    Parameters
    ----------
    weights : (S,) ndarray
        One per superpixel.
    segments : (H, W) ndarray of int
        The superpixel of each pixel, 0 ... S - 1.
    positive : bool
        Set negative weights to 0, as the study does.

    Returns
    -------
    (H, W) ndarray of float32

    Raises
    ------
    DataError
        If there is not one weight per superpixel.
    """
    weights, segments = np.asarray(weights), np.asarray(segments)
    count = int(segments.max()) + 1
    if weights.shape != (count,):
        raise DataError(f"'weights' must have shape ({count},), one per superpixel, but got {weights.shape}.")
    if positive:
        weights = np.maximum(weights, 0)
    return weights.astype(np.float32)[segments]


def is_sure(
    record: PerturbationRecord,
    target: int,
    *,
    tolerance: float,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> bool:
    """Say whether a record has enough samples for LIME's weights of one class.

    They are when the weights' standard error (root mean square over superpixels) is at most `tolerance`
    times the largest weight in absolute value. A constant model needs no more samples.
    """
    found = lime(record, target, kernel_width=kernel_width, alpha=alpha)
    return bool(np.sqrt(np.mean(found.standard_errors**2)) <= tolerance * np.abs(found.weights).max())


def explain_one(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    seed: int,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    tolerance: float = 0.1,
    **asking: Any,
) -> tuple[np.ndarray, int]:
    """Explain one image by LIME; see `ekman_expressions.explainers.registry` for the contract.

    `asking` are settings of `ekman_expressions.explainers.record.make_record`.
    """
    estimator = {"kernel_width": kernel_width, "alpha": alpha}
    record = record_one(model, image, target, seed=seed, tolerance=tolerance, **estimator, **asking)
    explanation = lime(record, target, **estimator)
    return paint(explanation.weights, record.segments, positive=False), len(record.samples)


def record_one(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    seed: int,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    tolerance: float = 0.1,
    **asking: Any,
) -> PerturbationRecord:
    """Make the record from which LIME, and all that share its samples, explain one image.

    With ``samples = "auto"``, LIME's weights decide how many are enough: see `is_sure`. `asking` are
    settings of `ekman_expressions.explainers.record.make_record`.
    """
    enough = partial(is_sure, target=target, tolerance=tolerance, kernel_width=kernel_width, alpha=alpha)
    return make_record(model, image, seed=image_seed(seed, "lime", image), enough=enough, **asking)
