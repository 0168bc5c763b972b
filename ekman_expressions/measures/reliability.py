"""How far to trust LIME's weights and R²: a bootstrap, R² by chance, R² on samples not seen. No model
call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError, check_range
from ekman_expressions.explainers import PerturbationRecord, lime, pairs, sample_weights


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reliability:
    """What resampling a record says of LIME's weights; see `bootstrap_weights`."""

    weights: np.ndarray
    standard_errors: np.ndarray
    flips: np.ndarray
    r2: float
    r2_standard_error: float
    units: int

    @property
    def flip_rate(self) -> float:
        """The mean of `flips`; NaN when all weights are 0."""
        flips = self.flips[np.isfinite(self.flips)]
        return float(flips.mean()) if flips.size else float("nan")

    @property
    def weighted_flip_rate(self) -> float:
        """The mean of `flips` weighted by the size of the weights: small ones, near 0, flip easily."""
        sizes = np.abs(self.weights)
        signed = np.isfinite(self.flips)
        return float(self.flips[signed] @ sizes[signed] / sizes.sum()) if signed.any() else float("nan")


def bootstrap_weights(
    record: PerturbationRecord,
    target: int,
    *,
    seed: int,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    replicates: int = 200,
) -> _Reliability:
    """Bootstrap the weights of LIME's linear surrogate by resampling the record's samples.

    Each replicate draws as many units as there are, with replacement, and fits the weighted ridge
    regression of `ekman_expressions.explainers.lime` to them. Samples that were drawn together
    (`ekman_expressions.explainers.pairs`) are one unit [1]_; the first sample, which keeps all, is
    always there. Standard errors are multiplied by ``sqrt(m / (m - 1))``, m the number of units; they are
    known to about ``1 / sqrt(2 replicates)``.

    Returns
    -------
    object
        Per superpixel, (S,): its ``weights``, ``standard_errors`` and ``flips``, the share of the replicates
        in which the weight has another sign (NaN where it is 0), with their means ``flip_rate`` and
        ``weighted_flip_rate``; ``r2`` and ``r2_standard_error`` (NaN when the prediction never varies); and
        how many ``units`` were resampled. `DataError` if these are fewer than two.

    References
    ----------
    .. [1] Davison and Hinkley (1997), Bootstrap Methods and their Application, chapters 3 and 6,
       doi:10.1017/CBO9780511802843.
    """
    check_range(target, "target", 0, record.predictions.shape[1] - 1, integer=True)
    check_range(alpha, "alpha", 0)
    check_range(replicates, "replicates", 2, integer=True)
    n = len(record.samples)
    counts, units = _resampled(pairs(n, record.sampler) - 1, replicates, np.random.default_rng(seed))
    predictions = record.predictions[:, target].astype(np.float64)
    # The first replicate is the record itself.
    counts = np.concatenate([np.ones((1, n)), counts]) * sample_weights(record.samples, kernel_width)
    weights, r2 = _fits(record.samples, predictions - predictions[0], counts, alpha)
    estimate, replicated = weights[0], weights[1:]
    unbiased = np.sqrt(units / (units - 1))
    flips = np.mean(np.sign(replicated) != np.sign(estimate), axis=0)
    return _Reliability(
        weights=estimate,
        standard_errors=unbiased * replicated.std(axis=0, ddof=1),
        flips=np.where(estimate != 0, flips, np.nan),
        r2=float(r2[0]),
        r2_standard_error=float(unbiased * r2[1:].std(ddof=1)) if np.isfinite(r2).all() else float("nan"),
        units=units,
    )


def _resampled(unit_of: np.ndarray, replicates: int, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return how often each sample occurs in each replicate, unit -1 always once, and the number of units."""
    units = int(unit_of.max(initial=-1)) + 1
    if units < 2:
        raise DataError(
            f"The record has {units} units that could be resampled, but the bootstrap needs 2 or more. "
            "Use more samples."
        )
    picked = random.integers(units, size=(replicates, units)) + units * np.arange(replicates)[:, None]
    often = np.bincount(picked.ravel(), minlength=replicates * units).reshape(replicates, units)
    return np.where(unit_of >= 0, often[:, unit_of], 1.0), units


def _fits(
    samples: np.ndarray, predictions: np.ndarray, weights: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression for each row of `weights` (r, n): its weights (r, S) and its R² (r,)."""
    z = np.column_stack([np.ones(len(samples)), samples, predictions])
    moments = np.stack([(z.T * of_replicate) @ z for of_replicate in weights])
    total = moments[:, 0, 0]
    if not (total > 0).all():
        raise SettingsError(
            "In some replicates all samples have the weight 0. Use a wider kernel or more samples."
        )
    means = moments[:, 0, 1:] / total[:, None]
    centred = moments[:, 1:, 1:] - total[:, None, None] * means[:, :, None] * means[:, None, :]
    xx, xy, yy = centred[:, :-1, :-1], centred[:, :-1, -1], centred[:, -1, -1]
    penalised = xx + alpha * np.eye(xx.shape[1])
    if alpha > 0:
        found = np.linalg.solve(penalised, xy[:, :, None])[:, :, 0]
    else:
        found = (np.linalg.pinv(penalised, hermitian=True, rcond=1e-10) @ xy[:, :, None])[:, :, 0]
    explained = 2 * np.einsum("rs,rs->r", found, xy) - np.einsum("rs,rst,rt->r", found, xx, found)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(np.ptp(predictions) > 0, explained / yy, np.nan)
    return found, r2


def permuted_r2(
    record: PerturbationRecord,
    target: int,
    *,
    seed: int,
    permutations: int = 20,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> float:
    """Return the R² that chance gives: the mean over permutations of the predictions over the samples.

    The first sample, which keeps all and weighs most, keeps its prediction: as an outlier at a smaller weight
    it would be fitted less, and chance understated. With equal sample weights and no penalty the expectation
    is about ``S / (n - 1)`` for S superpixels and n samples, if the samples determine all weights. NaN when
    the prediction is the same for all samples.
    """
    check_range(permutations, "permutations", 1, integer=True)
    random, n = np.random.default_rng(seed), len(record.samples)
    found = []
    for _ in range(permutations):
        order = np.r_[0, 1 + random.permutation(n - 1)]
        permuted = replace(record, predictions=record.predictions[order])
        found.append(lime(permuted, target, kernel_width=kernel_width, alpha=alpha).r2)
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
    """Return the weighted R², at most 1, on samples that the fit has not seen.

    Samples are divided into parts; the surrogate fitted to the others predicts each part, and is compared
    with the mean of the others, which predicts as well where the R² is 0 or less. Samples that were drawn
    together lie in one part; with fewer samples than `parts`, each is a part.
    NaN when the prediction is the same for all samples.
    """
    groups = pairs(len(record.samples), record.sampler)
    count = int(groups.max()) + 1
    check_range(parts, "parts", 2, integer=True)
    parts = min(parts, count)
    part_of = (np.random.default_rng(seed).permutation(count) % parts)[groups]
    predictions = record.predictions[:, target].astype(np.float64)
    y = predictions - predictions[0]
    weights = sample_weights(record.samples, kernel_width)
    others = weights * (part_of != np.arange(parts)[:, None])
    slopes, _ = _fits(record.samples, y, others, alpha)
    others /= others.sum(axis=1, keepdims=True)
    mean = (others @ y)[part_of]
    away = record.samples - (others @ record.samples)[part_of]
    total = weights @ (y - mean) ** 2
    residuals = y - mean - np.einsum("ns,ns->n", away, slopes[part_of])
    return float(1 - weights @ residuals**2 / total) if total > 0 else float("nan")
