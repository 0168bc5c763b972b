"""What chance gives: the middle of the face, random pixels, random regions, relabelled masks."""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.scores import _iou_table
from ekman_expressions.measures.uncertainty import _mean_known

_ELLIPSES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
"""Shares of the canvas that centred ellipses cover."""

_REGION_DRAWS = 10_000
# Sums of the same cells in another order differ in the last digits.
_EQUAL = 1e-12


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
    """Return by how much heatmaps fit masks, and masks of random regions, better than their mean map does, as
    IoU.

    `marked`, (N, F, E, H, W) bool, is what the heatmaps of networks, folds and expressions mark (nothing where
    there is none), `common`, (N, F, H, W) bool, what the mean over expressions of a model's heatmaps marks,
    `masks`, (E, H, W) bool, the mask of each expression, and `labels`, (H, W), the region of each pixel (0:
    none). Means over folds: (1 + draws, N, E), the data first.
    """
    areas = np.bincount(labels.ravel(), minlength=int(labels.max()) + 1)[1:]
    null = np.full((1 + draws, *marked.shape[:2], len(masks)), np.nan)
    for expression, mask in enumerate(masks):
        seed_here = derive_seed(seed, "regions", expression)
        chosen = _random_regions(areas, int(mask.sum()), seed=seed_here, draws=draws)
        for place in zip(*np.nonzero(marked[:, :, expression].any(axis=(-2, -1))), strict=True):
            own, mean_map = (
                _region_ious(one, mask, labels, chosen, areas)
                for one in (marked[place][expression], common[place])
            )
            null[:, *place, expression] = own - mean_map
    return _mean_known(null, axis=2)


def _region_ious(
    one: np.ndarray, mask: np.ndarray, labels: np.ndarray, chosen: np.ndarray, areas: np.ndarray
) -> np.ndarray:
    """Return the IoU of what a heatmap marks with a mask, and with unions of regions (draws, R): (1 + draws,)."""
    overlap = chosen @ np.bincount(labels[one], minlength=areas.size + 1)[1:]
    return np.append(_iou_table(one, mask[None]), overlap / (one.sum() + chosen @ areas - overlap))


class _PermutationTest(NamedTuple):
    """The statistic of the data, and that of every relabelling, (B,), the data among them."""

    observed: float
    null: np.ndarray

    @property
    def p(self) -> float:
        """The share of the null that is at least as large as what was observed."""
        return float((self.null >= self.observed - _EQUAL).mean()) if np.isfinite(self.observed) else np.nan


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
    NamedTuple of observed, null; with a property p
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
        return _PermutationTest(np.nan, np.full(1, np.nan))
    null = mean[np.arange(size), _orders(size)][:, known].mean(axis=1)
    return _PermutationTest(float(null[0]), null)


def _max_statistic(observed: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test cells, (C,), at once under a null (B, C) with the data among it: p of each, and that of the
    largest cell.

    Cells are brought to one scale first (Westfall and Young; Nichols and Holmes 2002, doi:10.1002/hbm.1058).
    """
    observed, null = np.asarray(observed, np.float64), np.asarray(null, np.float64)
    p, corrected = np.full(observed.size, np.nan), np.full(observed.size, np.nan)
    spread = null.std(axis=0)
    usable = np.isfinite(observed) & np.isfinite(spread)
    p[usable] = corrected[usable] = 1.0
    usable &= spread > _EQUAL
    if not usable.any():
        return p, corrected
    middle, spread = null[:, usable].mean(axis=0), spread[usable]
    found = (observed[usable] - middle) / spread
    scaled = (null[:, usable] - middle) / spread
    largest = np.sort(scaled.max(axis=1))
    p[usable] = (scaled >= found - 1e-9).mean(axis=0)
    corrected[usable] = 1 - np.searchsorted(largest, found - 1e-9, side="left") / largest.size
    return p, corrected


@cache
def _orders(count: int) -> np.ndarray:
    """Return all orders of `count` labels, (count!, count); the first changes nothing."""
    orders = np.array(list(itertools.permutations(range(count))))
    orders.flags.writeable = False
    return orders


def _random_regions(areas: np.ndarray, target: int, *, seed: int, draws: int) -> np.ndarray:
    """Draw unions of regions, (draws, R) bool, at random as long as that brings the area nearer to a target."""
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
