"""Confidence intervals over folds and over subjects, corrected tests of differences, intervals of ranks.

The faces of a subject are alike, and the heatmaps of a fold come from one model: resampling them one by one
would understate the uncertainty. So whole folds, or subjects with all their faces, are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.facespace.heatmaps import threshold_otsu, to_uint8
from ekman_expressions.measures.scores import auc

LEVEL = 0.95
"""The confidence level of all intervals."""

RESAMPLES = 2000
"""Bootstrap resamples of numbers, unless another number is given."""

RANK_RESAMPLES = 1000
"""Resamples of folds for intervals of ranks."""

SUBJECT_RESAMPLES = 400
"""Resamples of subjects; for each, all heatmaps are made anew."""

_CHUNK = 32


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval: NaN ends with fewer than two units (folds, or subjects).

    `degrees` of freedom of the t distribution are units less strata.
    """

    estimate: float
    low: float = np.nan
    high: float = np.nan
    standard_error: float = np.nan
    units: int = 0
    degrees: int = 0

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def p(self) -> float:
        """The two-sided p-value that the true value is 0; NaN without an interval."""
        if not np.isfinite(self.standard_error):
            return np.nan
        if self.standard_error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        from scipy import stats

        return float(2 * stats.t.sf(abs(self.estimate) / self.standard_error, self.degrees))


@dataclass(frozen=True)
class SubjectReplicates:
    """Scores of heatmaps made of resampled subjects: other people, the same models.

    Attributes
    ----------
    scores : dict of str to (B, N, F, E) ndarray of float32
        See `resampled_scores`; NaN where a resample has no face, or there is none at all.
    subjects : (N, F, E) ndarray of int
        How many subjects have a face in each cell.
    of_fold : (F,) ndarray of int
        How many subjects have a face in each fold, whatever the network and expression.
    """

    scores: dict[str, np.ndarray]
    subjects: np.ndarray
    of_fold: np.ndarray


def _mean_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of the finite values along an axis; NaN, without a warning, where there is none."""
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def _cluster_bootstrap(
    values: Sequence[float] | np.ndarray,
    clusters: Sequence[object] | np.ndarray | None = None,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """Bootstrap the mean of values, (N,), over clusters (the subject or fold of each; by default each is its own); NaN is left out.

    Davison and Hinkley (1997), doi:10.1017/CBO9780511802843, section 3.8.
    """
    values = np.asarray(values, dtype=np.float64)
    clusters = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    if values.ndim != 1 or values.shape != clusters.shape:
        raise DataError(
            f"There must be one cluster for each value, but got values of shape {values.shape} and clusters "
            f"of shape {clusters.shape}."
        )
    known = np.isfinite(values)
    values, codes = values[known], pd.factorize(clusters[known])[0]
    units = int(codes.max()) + 1 if codes.size else 0
    if not units:
        return Interval(np.nan)
    counts = resample_counts(units, resamples, seed=seed)
    replicates = (counts @ np.bincount(codes, values)) / (counts @ np.bincount(codes))
    return interval_of(float(values.mean()), replicates, units)


def resample_counts(units: int, resamples: int, *, seed: int) -> np.ndarray:
    """Draw how often each unit is in each resample: (resamples, units) int, each row sums to `units`."""
    check_range(units, "units", 1, integer=True)
    check_range(resamples, "resamples", 1, integer=True)
    shares = np.full(units, 1 / units)
    return np.random.default_rng(seed).multinomial(units, shares, size=resamples)


def interval_of(estimate: float, replicates: np.ndarray, units: int, *, strata: int = 1) -> Interval:
    """Make an interval of bootstrap replicates, (B,), of which NaN (nothing to score) is left out.

    estimate ± t(units - strata) · standard error, where the standard deviation of the replicates is
    multiplied by sqrt(units / (units - strata)): for a mean of independent values the classical t interval,
    right also for as few as 3 folds, and it stays around the estimate when resampling has a bias (a mean of
    fewer different faces is rougher). Strata: how many groups were resampled each by itself, as subjects
    within folds.

    References
    ----------
    Hesterberg (2015), doi:10.1080/00031305.2015.1089789.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    replicates = replicates[np.isfinite(replicates)]
    if units <= strata or replicates.size < 2 or not np.isfinite(estimate):
        return Interval(estimate, units=units)
    error = float(replicates.std(ddof=1) * np.sqrt(units / (units - strata)))
    return _t_interval(estimate, error, units, units - strata)


def _corrected_interval(values: Sequence[float]) -> Interval:
    """Return the mean over folds with Nadeau and Bengio's corrected interval (2003,
    doi:10.1023/A:1024068626366).

    mean ± t(K - 1) · sqrt((1/K + 1/(K - 1)) · s²), with s² the variance of the K values, of which NaN is left
    out. Models of two folds share most of their training faces, so their scores vary together, and s²/K is
    too small. 1/(K - 1), the ratio of test to training faces, corrects for it; somewhat conservative.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"There must be one value per fold, but got shape {values.shape}.")
    values = values[np.isfinite(values)]
    count = values.size
    estimate = float(values.mean()) if count else np.nan
    if count < 2:
        return Interval(estimate, units=count)
    error = float(np.sqrt((1 / count + 1 / (count - 1)) * values.var(ddof=1)))
    return _t_interval(estimate, error, count, count - 1)


def _holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p-values for their number, step by step (Holm 1979, https://www.jstor.org/stable/4615733).

    NaN stays, and does not count.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    raised = p_values[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1) if order.size else raised
    return corrected


def _rank_intervals(scores: np.ndarray, replicates: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return where each network may stand in the ranking, best first.

    `scores`, (N,), higher is better, and `replicates`, (B, N), the same of each resample of folds or
    subjects. Columns ``network, estimate, rank, low, high, first``: the rank (equal scores share the mean
    rank), the quantiles of its replicates rounded outwards to whole ranks, and in which share of the
    resamples the network is alone in the first place (Goldstein and Spiegelhalter 1996, doi:10.2307/2983325).
    """
    scores, replicates = np.asarray(scores, np.float64), np.asarray(replicates, np.float64)
    table = pd.DataFrame({"network": list(names), "estimate": scores, "rank": _ranks(scores)})
    table[["low", "high", "first"]] = np.nan
    known = np.isfinite(scores)
    usable = replicates[:, known]
    usable = usable[np.isfinite(usable).all(axis=1)]
    if usable.size:
        found = _ranks(usable)
        low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        table.loc[known, "low"], table.loc[known, "high"] = np.floor(low), np.ceil(high)
        table.loc[known, "first"] = (found == 1).mean(axis=0)
    return table.sort_values("rank", kind="stable", ignore_index=True)


def resampled_scores(
    maps: np.ndarray, subjects: np.ndarray, counts: np.ndarray, mask: np.ndarray, hull: np.ndarray
) -> dict[str, np.ndarray]:
    """Score the heatmaps of resampled subjects with a mask.

    A subject is drawn with all faces, within the fold it belongs to (the model of that fold never saw it in
    training), and for all networks and expressions at once, so that networks stay comparable.

    Parameters
    ----------
    maps : (n, H, W) ndarray of float
        Normalised explanations of one model and expression.
    subjects : (n,) ndarray of int
        Whose face each is of: a column of `counts`.
    counts : (B, S) ndarray of int
        See `resample_counts`.
    mask, hull : (H, W) ndarray of bool
        The reference, and where the face is.

    Returns
    -------
    dict of str to (B,) ndarray of float32
        ``iou`` at Otsu's threshold and ``auc_hull``; NaN for a resample without a face, or a constant map.
    """
    there, codes, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
    sums = np.zeros((there.size, maps[0].size), np.float32)
    np.add.at(sums, codes, maps.reshape(len(maps), -1))
    counts = counts[:, there]
    faces = counts @ sizes
    scores = {name: np.full(len(counts), np.nan, np.float32) for name in ("iou", "auc_hull")}
    size = np.count_nonzero(mask)
    for start in range(0, len(counts), _CHUNK):
        chosen = counts[start : start + _CHUNK].astype(np.float32)
        for place, heatmap in enumerate(chosen @ sums, start=start):
            # The sum will do: a heatmap is stretched before it is scored.
            if not faces[place] or heatmap.min() == heatmap.max():
                continue
            gray = to_uint8(heatmap).reshape(mask.shape)
            marked = threshold_otsu(gray)[1]
            both = np.count_nonzero(marked & mask)
            scores["iou"][place] = both / (np.count_nonzero(marked) + size - both)
            scores["auc_hull"][place] = auc(gray, mask, hull)
    return scores


def _t_interval(estimate: float, error: float, units: int, degrees: int) -> Interval:
    from scipy import stats

    reach = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * error
    return Interval(estimate, estimate - reach, estimate + reach, error, units, degrees)


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return the ranks along the last axis: 1 for the highest score, ties share the mean; NaN has none."""
    from scipy import stats

    return stats.rankdata(-np.asarray(scores, dtype=np.float64), axis=-1, nan_policy="omit")
