"""Ways to cut a heatmap, and its IoU with a mask against the area that is marked."""

from __future__ import annotations

import numpy as np

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.facespace.heatmaps import threshold_otsu
from ekman_expressions.measures.threshold_free import Levels, hits_among_top, levels

AREAS: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of the canvas at which heatmaps are cut, beside thresholds that depend on the heatmap."""

THRESHOLDS: tuple[str, ...] = (
    "iou_otsu",
    *(f"iou_area_{round(100 * area):02d}" for area in AREAS),
    "iou_mask_area",
    "iou_best_f1",
)
"""The names of the scores of `iou_by_threshold`."""


def top(heatmap: np.ndarray, share: float) -> np.ndarray:
    """Mark the hottest pixels of a heatmap, exactly so many.

    Parameters
    ----------
    heatmap : (H, W) ndarray of real numbers
        Any range.
    share : float, range [0, 1]
        The share of all pixels to mark.

    Returns
    -------
    (H, W) ndarray of bool
        Of pixels of equal value the first in row order are taken, since a mask must take some;
        `area_curve` shares them out instead.
    """
    check_range(share, "share", 0, 1)
    heatmap = np.asarray(heatmap)
    flat = heatmap.ravel()
    # Turned, not negated: unsigned integers have no negative values.
    order = heatmap.size - 1 - np.argsort(flat[::-1], kind="stable")[::-1]
    marked = np.zeros(heatmap.size, bool)
    marked[order[: round(share * heatmap.size)]] = True
    return marked.reshape(heatmap.shape)


def area_curve(
    heatmap: np.ndarray, mask: np.ndarray, shares: np.ndarray, within: np.ndarray | None = None
) -> np.ndarray:
    """Return the IoU with a mask of the hottest pixels, against the area they cover.

    Parameters
    ----------
    heatmap, mask, within
        As for `threshold_free.levels`.
    shares : (S,) array_like of float, range [0, 1]
        The shares of the pixels (of those within `within`) that are marked.

    Returns
    -------
    (S,) ndarray of float, range [0, 1]
        Where the cut goes through pixels of equal value, each is taken in part, so that no
        order of pixels plays a role. At 1 it is what a heatmap that is white everywhere scores.

    Raises
    ------
    DataError
        As `threshold_free.levels`, and if a share is not in [0, 1].
    """
    shares = np.asarray(shares, dtype=np.float64)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise DataError(f"Shares of the area must be in [0, 1], but got {shares.min()} to {shares.max()}.")
    counted = levels(heatmap, mask, within)
    return _iou(counted, shares * (counted.inside.sum() + counted.outside.sum()))


def best_f1(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> tuple[float, float]:
    """Return the best F1 over all thresholds, and the share of the area it marks.

    It looks at the mask to choose, so it is an upper bound, not a score that a threshold
    chosen beforehand would reach. Marking everything is one of the choices. Else as
    `threshold_free.auc`.
    """
    counted = levels(heatmap, mask, within)
    inside = np.cumsum(counted.inside)
    marked = inside + np.cumsum(counted.outside)
    f1 = 2 * inside / (marked + inside[-1])
    best = int(np.argmax(f1))
    return float(f1[best]), float(marked[best] / marked[-1])


def iou_by_threshold(
    gray: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None
) -> dict[str, float]:
    """Score an 8-bit heatmap at every one of `THRESHOLDS`.

    Parameters
    ----------
    gray : (H, W) ndarray of uint8
        See `heatmaps.to_uint8`.
    mask, within
        As for `threshold_free.levels`.

    Returns
    -------
    dict of str to float
        IoU above Otsu's level (of the whole canvas, whatever `within`); of the hottest 5, 10,
        20, 30 and 50 % of the pixels; of as many pixels as the mask has; and at the threshold
        with the best F1, which is also the one with the best IoU.

    Raises
    ------
    DataError
        As `threshold_free.levels`.
    """
    counted = levels(gray, mask, within)
    level, _ = threshold_otsu(gray)
    above = counted.values > level
    both, marked = counted.inside[above].sum(), (counted.inside + counted.outside)[above].sum()
    size, total = counted.inside.sum(), counted.inside.sum() + counted.outside.sum()
    f1, _ = best_f1(gray, mask, within)
    values = (
        both / (marked + size - both),
        *_iou(counted, np.array(AREAS) * total),
        *_iou(counted, np.array([size])),
        # IoU rises with F1.
        f1 / (2 - f1),
    )
    return {name: float(value) for name, value in zip(THRESHOLDS, values, strict=True)}


def _iou(counted: Levels, marked: np.ndarray) -> np.ndarray:
    """Return the IoU of the hottest `marked` pixels."""
    hits = hits_among_top(counted, marked)
    return hits / (marked + counted.inside.sum() - hits)
