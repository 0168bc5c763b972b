"""Chance and uncertainty: baselines, permutation tests, intervals over folds and subjects, sets of ranks.

The faces of a subject are alike, and the heatmaps of a fold come from one model: resampling them one by one
would understate the uncertainty. So whole folds, or subjects with all their faces, are resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.facespace.heatmaps import to_uint8
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.scores import _iou_table, auc, scores_at_otsu

_LEVEL = 0.95  # of all intervals
_RESAMPLES = 2000  # of numbers
_SUBJECT_RESAMPLES = 400  # for each, all heatmaps are made anew
_RELIABLE = 0.8  # below this `split_half`, a heatmap shows the faces that were chosen as much as the model
_CHUNK, _SPLITS, _REGION_DRAWS = 32, 50, 10_000
_EQUAL = 1e-12  # sums of the same cells in another order differ in the last digits


class _Interval(NamedTuple):
    """An estimate, its 95 % interval and the two-sided p of the value 0; NaN with fewer than two units."""

    estimate: float
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    units: int = 0


@dataclass(frozen=True)
class _SubjectReplicates:
    """Scores of heatmaps made of resampled subjects: other people for the same models."""

    scores: dict[str, np.ndarray]  # of `_resampled_scores`, (B, N, F, E) each; NaN where there is no face
    subjects: np.ndarray  # with a face in each cell, (N, F, E)
    of_fold: np.ndarray  # with a face in each fold, (F,)
    reliability: np.ndarray  # of each heatmap, (N, F, E): see `split_half`


def _mean_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of the finite values along an axis; NaN, without a warning, where there is none."""
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def _joined(tables: Mapping[Any, pd.DataFrame], *names: str) -> pd.DataFrame:
    """Lay tables below each other, their keys as the first columns, with these names."""
    return pd.concat(tables, names=names).droplevel(-1).reset_index()


def _cluster_bootstrap(
    values: Sequence[float], clusters: Sequence[object], *, seed: int, resamples: int = _RESAMPLES
) -> _Interval:
    """Bootstrap the mean of values, (N,), over clusters, the subject or fold of each; NaN is left out."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    values, (codes, units) = values[known], pd.factorize(np.asarray(clusters)[known])
    if not len(units):
        return _Interval(np.nan)
    counts = _resample_counts(len(units), resamples, seed=seed)
    replicates = (counts @ np.bincount(codes, values)) / (counts @ np.bincount(codes))
    return _interval_of(float(values.mean()), replicates, len(units))


def _resample_counts(units: int, resamples: int, *, seed: int) -> np.ndarray:
    """Draw how often each unit is in each resample: (resamples, units) int, each row sums to `units`."""
    shares = np.full(units, 1 / units)
    return np.random.default_rng(seed).multinomial(units, shares, size=resamples)


def _interval_of(estimate: float, replicates: np.ndarray, units: int, *, strata: int = 1) -> _Interval:
    """Make an interval of bootstrap replicates, (B,); NaN, of resamples with nothing to score, is left out.

    estimate ± t(units - strata) · sqrt(units / (units - strata)) · standard deviation of the replicates
    (Hesterberg 2015, doi:10.1080/00031305.2015.1089789): for a mean of independent values the classical t
    interval, right also for 3 folds, and around the estimate when resampling has a bias (a mean of fewer
    different faces is rougher). Strata: groups resampled each by itself, as subjects within folds.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    replicates = replicates[np.isfinite(replicates)]
    if units <= strata or replicates.size < 2 or not np.isfinite(estimate):
        return _Interval(estimate, units=units)
    error = float(replicates.std(ddof=1) * np.sqrt(units / (units - strata)))
    return _t_interval(estimate, error, units, units - strata)


def _fold_of(replicate: str) -> str:
    """Return the fold of a replicate: ``CV1`` of ``CV1`` and of its other trainings, ``CV1_S1`` ..."""
    return replicate.partition("_S")[0]


def _corrected_interval(values: Sequence[float], folds: Sequence[str]) -> _Interval:
    """Return the mean over folds with Nadeau and Bengio's interval (2003, doi:10.1023/A:1024068626366): ± t(R
    - 1) · sqrt((1/R + 1/(K - 1)) · s²), R values of K folds; with seeds, Bouckaert and Frank (2004).
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    values, different = values[known], np.unique(np.asarray(folds)[known]).size
    count, estimate = values.size, float(_mean_known(values, axis=0))
    if different < 2:
        return _Interval(estimate, units=count)
    error = float(np.sqrt((1 / count + 1 / (different - 1)) * values.var(ddof=1)))
    return _t_interval(estimate, error, count, count - 1)


def _compare_networks(scores: np.ndarray, networks: Sequence[str], replicates: Sequence[str]) -> pd.DataFrame:
    """Compare the scores, (N, R, E), of every two networks over replicates and expressions that both have."""
    scores = np.asarray(scores, np.float64)
    folds, rows = [_fold_of(replicate) for replicate in replicates], []
    for first, second in combinations(range(len(networks)), 2):
        difference = scores[first] - scores[second]
        estimate = float(_mean_known(_mean_known(difference, axis=0), axis=0))
        found = _corrected_interval(_mean_known(difference, axis=1), folds)
        # Where replicates lack expressions, the mean of cells is not that of replicates: the ends move along.
        low, high = np.array([found.low, found.high]) + estimate - found.estimate
        rows.append((networks[first], networks[second], estimate, found.units, low, high, found.p))
    columns = ["first", "second", "difference", "folds", "fold_low", "fold_high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=_holm(table["p"].to_numpy(float)))


def _rank_sets(estimates: np.ndarray, differences: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """Rank networks, best first, with the lowest and the highest rank that each may have.

    Those are 1 + the number of networks that are surely better (p_holm < 0.05), and the number that are not
    surely worse: all true ranks lie there with 95 % (Mogstad et al. 2024, doi:10.1093/restud/rdad006).
    """
    from scipy import stats

    networks = list(networks)
    ranks = stats.rankdata(-np.asarray(estimates, dtype=np.float64), nan_policy="omit")
    table = pd.DataFrame({"network": networks, "estimate": estimates, "rank": ranks})
    ends = np.tile([1.0, np.isfinite(table["estimate"]).sum()], (len(networks), 1))
    compared = np.zeros(len(networks), bool)
    for row in differences.itertuples():
        pair = np.array([networks.index(row.first), networks.index(row.second)])
        compared[pair] |= np.isfinite(row.p_holm)
        if row.p_holm < 1 - _LEVEL:
            better, worse = pair if row.difference > 0 else pair[::-1]
            ends[better, 1] -= 1
            ends[worse, 0] += 1
    ends[~compared] = np.nan
    table[["low", "high"]] = ends
    return table.sort_values("rank", kind="stable", ignore_index=True)


def split_half(maps: np.ndarray, subjects: Sequence[object], *, seed: int) -> float:
    """Return the reliability of a heatmap: how far one of as many other people would be like it.

    Parameters
    ----------
    maps : (n, H, W) ndarray of float
        Normalised explanations of one model and expression, finite.
    subjects : sequence of n
        Whose face each is of: halves are of subjects, since faces of one subject are alike.
    seed : int
        Of 50 random halves, over which Pearson's r between the means of the two is averaged.

    Returns
    -------
    float
        2 r / (1 + r), 0 where r is not positive (Brown 1910, doi:10.1111/j.2044-8295.1910.tb00207.x): 1 if
        the choice of people does not matter. NaN with fewer than two subjects, or constant maps.

    Examples
    --------
    >>> gradient = np.arange(12.0).reshape(1, 3, 4)
    >>> round(split_half(gradient.repeat(4, axis=0), "abcd", seed=0), 6)
    1.0
    """
    codes, names = pd.factorize(np.asarray(list(subjects)))
    maps = np.asarray(maps, np.float64).reshape(len(codes), -1)
    if len(names) < 2:
        return np.nan
    sums = np.zeros((len(names), maps.shape[1]))
    np.add.at(sums, codes, maps - maps.mean(axis=1, keepdims=True))
    # Sums of halves are sums of inner products, so the pixels are only touched once.
    products = sums @ sums.T
    orders = np.argsort(np.random.default_rng(seed).random((_SPLITS, len(names))), axis=1)
    first = (orders < len(names) // 2).astype(np.float64)
    second = 1 - first
    between = np.einsum("bs,st,bt->b", first, products, second)
    within = [np.einsum("bs,st,bt->b", half, products, half) for half in (first, second)]
    with np.errstate(divide="ignore", invalid="ignore"):
        r = float(_mean_known(between / np.sqrt(within[0] * within[1]), axis=0))
    return 2 * max(r, 0) / (1 + max(r, 0)) if np.isfinite(r) else np.nan


def _holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p-values, NaN left out, for their number (Holm 1979, https://www.jstor.org/stable/4615733)."""
    p_values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p_values.shape, np.nan)
    order = np.argsort(p_values, kind="stable")[: np.isfinite(p_values).sum()]  # NaN are sorted last
    raised = p_values[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return corrected


def _resampled_scores(
    maps: np.ndarray, subjects: np.ndarray, counts: np.ndarray, mask: np.ndarray, hull: np.ndarray
) -> dict[str, np.ndarray]:
    """Score the heatmaps of resampled subjects with a mask: (B,) float32 each, NaN where there is none.

    `maps`, (n, H, W), are explanations by one model; `subjects`, (n,), is the column of `counts`, (B, S), of
    each. With the same counts for all networks and expressions, networks stay comparable.
    """
    there, codes = np.unique(subjects, return_inverse=True)
    sums = np.zeros((there.size, maps[0].size), np.float32)
    np.add.at(sums, codes, maps.reshape(len(maps), -1))
    counts = counts[:, there]
    scores = {name: np.full(len(counts), np.nan, np.float32) for name in ("iou", "auc_hull")}
    for start in range(0, len(counts), _CHUNK):
        chosen = counts[start : start + _CHUNK].astype(np.float32)
        for place, heatmap in enumerate(chosen @ sums, start=start):
            # The sum will do: a heatmap is stretched before it is scored. That of no face is 0 everywhere.
            if heatmap.min() == heatmap.max():
                continue
            gray = to_uint8(heatmap).reshape(mask.shape)
            scores["iou"][place] = scores_at_otsu(gray, mask)["iou"]
            scores["auc_hull"][place] = auc(gray, mask, hull)
    return scores


def _t_interval(estimate: float, error: float, units: int, degrees: int) -> _Interval:
    from scipy import stats

    reach = float(stats.t.ppf((1 + _LEVEL) / 2, degrees)) * error
    p = float(2 * stats.t.sf(abs(estimate) / error, degrees)) if error else float(estimate == 0)
    return _Interval(estimate, estimate - reach, estimate + reach, p, units)


def centre_ellipse(share: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Mark an ellipse in the middle of the canvas, with the canvas' proportions: (H, W) bool.

    `share`, in (0, 1], is that of the canvas' area; above π/4 the canvas cuts the ellipse off.
    """
    check_range(share, "share", 1e-6, 1)
    return centre_distance(shape) <= np.sqrt(4 * share / np.pi)


def centre_distance(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Return the distance from the middle, (H, W): 1 on the ellipse that touches the canvas' four sides.

    Its negative is a heatmap that knows nothing but the middle: the centre prior.
    """
    rows, columns = np.indices(shape)
    half_height, half_width = shape[0] / 2, shape[1] / 2
    return np.hypot((columns + 0.5 - half_width) / half_width, (rows + 0.5 - half_height) / half_height)


def random_pixels(marked: int, mask: int, total: int) -> float:
    """Return the expected IoU of pixels drawn at random with a mask.

    `marked` pixels are drawn (each at most once), `mask` lie in the mask, `total` are there. The mean of
    i / (marked + mask - i) over the hypergeometric distribution of the overlap i: exact, not the ratio of the
    expected overlap and the expected union.
    """
    from scipy.special import gammaln

    check_range(total, "total", 1)
    check_range(marked, "marked", 0, total)
    check_range(mask, "mask", 1, total)
    mean = marked * mask / total
    spread = np.sqrt(mean * (1 - mask / total) * (total - marked) / max(total - 1, 1))
    # Beyond ten standard deviations nothing is left that would count.
    low = max(0, marked + mask - total, int(mean - 10 * spread))
    high = min(marked, mask, int(mean + 10 * spread) + 10)
    overlap = np.arange(low, high + 1)
    # Up to a constant; scipy.stats.hypergeom is a hundred times slower for so many pixels.
    counts = (overlap, marked - overlap, mask - overlap, total - marked - mask + overlap)
    logarithm = -sum(gammaln(count + 1.0) for count in counts)
    weights = np.exp(logarithm - logarithm.max())
    return float(weights @ (overlap / (marked + mask - overlap)) / weights.sum())


def _region_null(
    marked: np.ndarray,
    common: np.ndarray,
    masks: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    draws: int = _REGION_DRAWS,
) -> np.ndarray:
    """Return by how much more IoU heatmaps have than their mean map: with masks, then with random regions.

    `marked`, (N, F, E, H, W), is what heatmaps mark, `common`, (N, F, H, W), what their mean over expressions
    marks; the result, (1 + draws, N, E), is the mean over folds.
    """
    areas = np.bincount(labels.ravel(), minlength=int(labels.max()) + 1)[1:]
    null = np.full((1 + draws, *marked.shape[:2], len(masks)), np.nan)
    for e, mask in enumerate(masks):
        chosen = _random_regions(areas, int(mask.sum()), seed=derive_seed(seed, "regions", e), draws=draws)
        for n, f in np.argwhere(marked[:, :, e].any(axis=(-2, -1))):
            both = marked[n, f, e], common[n, f]
            own, mean_map = (_region_ious(one, mask, labels, chosen, areas) for one in both)
            null[:, n, f, e] = own - mean_map
    return _mean_known(null, axis=2)


def _region_ious(
    one: np.ndarray, mask: np.ndarray, labels: np.ndarray, chosen: np.ndarray, areas: np.ndarray
) -> np.ndarray:
    """Return the IoU of what a heatmap marks with a mask, and with each union of regions (draws, R)."""
    overlap = chosen @ np.bincount(labels[one], minlength=areas.size + 1)[1:]
    return np.append(_iou_table(one, mask[None]), overlap / (one.sum() + chosen @ areas - overlap))


class _PermutationTest(NamedTuple):
    """The statistic of the data, that of every relabelling, (B,), the data among them, and p."""

    observed: float
    null: np.ndarray
    p: float


def relabelling_test(table: np.ndarray) -> _PermutationTest:
    """Test whether the own masks fit better than relabelled masks, exactly.

    Parameters
    ----------
    table : (..., E, E) ndarray of float, E <= 8
        The score of the heatmap of each expression (second last axis) with the mask of each (last axis),
        higher is better; NaN where there is no heatmap. Axes before them (networks) are averaged, so that
        all networks get the same relabelling. From IoU, subtract `random_pixels` of these areas first: it is
        largest where large heatmaps meet large masks, whatever they mark.

    Returns
    -------
    NamedTuple of observed, null, p
        The mean over expressions of the score with the mask that the relabelling gives to each; the identity
        comes first. With six expressions there are 720, so p, the share of the null at least as large as
        observed, is a multiple of 1/720 (of heatmaps of fewer expressions, of a coarser share).

    Raises
    ------
    DataError
        If the table is not square, or too large to list all relabellings.

    References
    ----------
    Good (2005), doi:10.1007/b138696, chapter 3.

    Examples
    --------
    >>> round(1 / relabelling_test(np.eye(6)).p)
    720
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2] or table.shape[-1] > 8:
        raise DataError(
            f"There must be a mask for each of at most 8 expressions, but the table has shape {table.shape}."
        )
    size = table.shape[-1]
    mean = _mean_known(table.reshape(-1, size, size), axis=0)
    known = np.isfinite(mean).all(axis=1)
    if not known.any():
        return _PermutationTest(np.nan, np.full(1, np.nan), np.nan)
    orders = np.array(list(permutations(range(size))))
    null = mean[np.arange(size), orders][:, known].mean(axis=1)
    return _PermutationTest(float(null[0]), null, float((null >= null[0] - _EQUAL).mean()))


def _max_statistic(null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test cells, (C,), at once under a null (B, C), the data first: p of each, and that of the largest cell.

    Cells are brought to one scale first (Westfall and Young; Nichols and Holmes 2002, doi:10.1002/hbm.1058).
    """
    spread = null.std(axis=0)
    p = np.where(np.isfinite(spread), 1.0, np.nan)
    corrected = p.copy()
    varies = spread > _EQUAL
    if varies.any():
        scaled = (null[:, varies] - null[:, varies].mean(axis=0)) / spread[varies]
        reached, largest = scaled[0] - 1e-9, np.sort(scaled.max(axis=1))
        p[varies] = (scaled >= reached).mean(axis=0)
        corrected[varies] = 1 - np.searchsorted(largest, reached) / largest.size
    return p, corrected


def _random_regions(areas: np.ndarray, target: int, *, seed: int, draws: int) -> np.ndarray:
    """Draw unions of regions, (draws, R) bool, at random while that brings the area nearer to a target."""
    orders = np.argsort(np.random.default_rng(seed).random((draws, areas.size)), axis=1)
    covered = np.cumsum(areas[orders], axis=1)
    before = covered - areas[orders]
    nearer = np.abs(covered - target) < np.abs(before - target)
    # Areas only grow, so nearer stops once: what comes after would only lead away.
    taken = np.logical_and.accumulate(nearer, axis=1)
    taken[:, 0] = True
    chosen = np.zeros((draws, areas.size), bool)
    np.put_along_axis(chosen, orders, taken, axis=1)
    return chosen
