"""How far an explanation depends on which samples were drawn: bootstrap of a record, no model call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError, check_range
from ekman_expressions.explainers.record import PerturbationRecord, pairs

# Numbers of the largest array of products that is held at once (32 MB).
_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Reliability:
    """What resampling a record says of a linear surrogate's weights.

    Attributes
    ----------
    weights : (S,) ndarray of float64
        The surrogate's weight of each superpixel, from all samples.
    standard_errors : (S,) ndarray of float64
        Bootstrap standard error of each weight.
    flips : (S,) ndarray of float64, range [0, 1]
        Share of the replicates in which a weight has another sign; NaN where the weight is 0,
        which has no sign that could flip.
    r2 : float
        Weighted share of the variance that the surrogate explains; NaN when the model answered
        the same for all samples.
    r2_standard_error : float
        Bootstrap standard error of `r2`.
    units : int
        How many units were resampled: samples, or blocks of them.
    """

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


def bootstrap(
    record: PerturbationRecord,
    target: int,
    sample_weights: np.ndarray,
    *,
    seed: int,
    alpha: float = 1.0,
    blocks: np.ndarray | None = None,
    replicates: int = 200,
) -> Reliability:
    """Bootstrap the weights of a linear surrogate by resampling the record's samples.

    Each replicate draws as many units as there are, with replacement, and fits the weighted
    ridge regression of `ekman_expressions.explainers.lime.lime` to them. A mask and its complement,
    which were drawn together, are resampled together [1]_. The pairs of an orthogonal block are
    taken for independent, as they are in `lime`, whose standard errors then equal the spread over
    seeds. All replicates are fitted at once: their moments are one product of matrices.

    Parameters
    ----------
    record : PerturbationRecord
        Samples and answers.
    target : int
        The class explained.
    sample_weights : (n,) ndarray of float, >= 0
        Weight of each sample in the regression, e.g. `lime.sample_weights`.
    seed : int
        Of the resampling.
    alpha : float, >= 0
        Ridge penalty.
    blocks : (n,) ndarray of int, optional
        The unit of each sample; equal numbers are resampled together, and negative ones are
        always there once, since they were not drawn at random. By default what the record's sampler
        says (`ekman_expressions.explainers.record.pairs`), and the first sample, which keeps all, is
        always there.
    replicates : int, >= 2
        How often to resample; a standard error is known to about ``1 / sqrt(2 replicates)``.

    Returns
    -------
    Reliability
        Standard errors are multiplied by ``sqrt(m / (m - 1))``, m the number of units.

    Raises
    ------
    SettingsError
        If a number is out of its range.
    DataError
        If `sample_weights` or `blocks` do not fit the record, or fewer than two units could
        be resampled.

    References
    ----------
    .. [1] Davison and Hinkley (1997), Bootstrap Methods and their Application, chapters 3 and 6,
       doi:10.1017/CBO9780511802843.
    """
    check_range(target, "target", 0, record.predictions.shape[1] - 1, integer=True)
    check_range(alpha, "alpha", 0)
    check_range(replicates, "replicates", 2, integer=True)
    n = len(record.samples)
    sample_weights = np.asarray(sample_weights, np.float64)
    if sample_weights.shape != (n,) or not (sample_weights >= 0).all() or not sample_weights.any():
        raise DataError(
            f"'sample_weights' must be {n} numbers >= 0 that are not all 0, "
            f"but got shape {sample_weights.shape} from {sample_weights.min(initial=np.inf):g}."
        )
    counts, units = _resampled(_blocks(blocks, record), replicates, np.random.default_rng(seed))
    answers = record.predictions[:, target].astype(np.float64)
    # The first replicate is the record itself.
    counts = np.concatenate([np.ones((1, n)), counts])
    weights, r2 = _fits(record.samples, answers - answers[0], counts * sample_weights, alpha)
    estimate, replicated = weights[0], weights[1:]
    unbiased = np.sqrt(units / (units - 1))
    flips = np.mean(np.sign(replicated) != np.sign(estimate), axis=0)
    return Reliability(
        weights=estimate,
        standard_errors=unbiased * replicated.std(axis=0, ddof=1),
        flips=np.where(estimate != 0, flips, np.nan),
        r2=float(r2[0]),
        r2_standard_error=float(unbiased * r2[1:].std(ddof=1)) if np.isfinite(r2).all() else float("nan"),
        units=units,
    )


def _blocks(blocks: np.ndarray | None, record: PerturbationRecord) -> np.ndarray:
    n = len(record.samples)
    if blocks is None:
        return pairs(n, record.sampler) - 1
    blocks = np.asarray(blocks)
    if blocks.shape != (n,) or blocks.dtype.kind not in "iu":
        raise DataError(
            f"'blocks' must be {n} whole numbers, one per sample, but got {blocks.dtype} "
            f"of shape {blocks.shape}."
        )
    return blocks


def _resampled(blocks: np.ndarray, replicates: int, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return how often each sample occurs in each replicate, and the number of units."""
    drawn = blocks >= 0
    names, unit = np.unique(blocks[drawn], return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"The record has {len(names)} units that could be resampled, but the bootstrap needs 2 or more. "
            "Ask for more samples."
        )
    size = len(names)
    picked = random.integers(size, size=(replicates, size)) + size * np.arange(replicates)[:, None]
    often = np.bincount(picked.ravel(), minlength=replicates * size).reshape(replicates, size)
    counts = np.ones((replicates, len(blocks)))
    counts[:, drawn] = often[:, unit]
    return counts, size


def _fits(
    samples: np.ndarray, answers: np.ndarray, weights: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression for each row of `weights` (r, n): its weights (r, S) and its R² (r,)."""
    moments = _moments(samples, answers, weights)
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
        r2 = np.where(np.ptp(answers) > 0, explained / yy, np.nan)
    return found, r2


def _moments(samples: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``Σ w z zᵀ`` with ``z = (1, x, y)`` for each row of `weights`."""
    z = np.column_stack([np.ones(len(samples)), samples, answers])
    side = z.shape[1]
    moments = np.zeros((len(weights), side * side))
    step = max(1, _AT_ONCE // side**2)
    for start in range(0, len(z), step):
        part = z[start : start + step]
        products = (part[:, :, None] * part[:, None, :]).reshape(len(part), -1)
        moments += weights[:, start : start + step] @ products
    return moments.reshape(-1, side, side)
