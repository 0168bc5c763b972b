"""What chance gives: the middle of the face, random pixels, shifted heatmaps, random facial regions."""

from __future__ import annotations

import numpy as np

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.scores import iou_table

ELLIPSES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
"""Shares of the canvas that centred ellipses cover."""

REGION_DRAWS = 10_000
"""How many sets of random regions stand in for the masks."""


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

    Parameters
    ----------
    marked, mask, total : int
        How many pixels are drawn (each at most once), lie in the mask, and are there.

    Returns
    -------
    float
        The mean of i / (marked + mask - i) over the hypergeometric distribution of the
        overlap i: exact, not the ratio of the expected overlap and the expected union.
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


def shift_null(marked: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the IoU of each heatmap with its own mask after every circular shift of all heatmaps alike.

    A shift keeps the area and the form of what is marked, and takes away where it is.

    Parameters
    ----------
    marked : (N, F, E, H, W) ndarray of bool
        What the heatmaps of networks, folds and expressions mark; nothing where there is none.
    masks : (E, H, W) ndarray of bool
        The mask of each expression.

    Returns
    -------
    (H * W, N, E) ndarray of float32
        Means over folds, by rows and columns shifted; the first is the data. NaN without any fold.
    """
    null = np.full((masks[0].size, marked.shape[0], len(masks)), np.nan, np.float32)
    for network, expression in np.ndindex(null.shape[1:]):
        folds = [one for one in marked[network, :, expression] if one.any()]
        if folds:
            shifts = [_all_shifts(one, masks[expression]).ravel() for one in folds]
            null[:, network, expression] = np.mean(shifts, axis=0)
    return null


def region_null(
    marked: np.ndarray, masks: np.ndarray, labels: np.ndarray, *, seed: int, draws: int = REGION_DRAWS
) -> np.ndarray:
    """Return the IoU of each cell with masks made of random facial regions of the same area.

    Parameters
    ----------
    marked, masks
        As for `shift_null`.
    labels : (H, W) ndarray of int
        The region of each pixel, 0 where none; see `Atlas.labels`. Pixels of one label are drawn together.
    seed : int
        See `ekman_expressions.core.seeds.derive_seed`.
    draws : int
        How many sets of E masks are drawn; the same for all networks.

    Returns
    -------
    (1 + draws, N, E) ndarray of float
        Means over folds; the first row is the data. NaN without any fold.

    Raises
    ------
    DataError
        If shapes do not fit or there is no region.
    """
    check_range(draws, "draws", 1, integer=True)
    labels = np.asarray(labels)
    if labels.shape != marked.shape[-2:] or not labels.max():
        raise DataError(f"Regions of shape {labels.shape} do not fit heatmaps of {marked.shape[-2:]}.")
    count = int(labels.max()) + 1
    areas = np.bincount(labels.ravel(), minlength=count)[1:]
    null = np.full((1 + draws, marked.shape[0], len(masks)), np.nan)
    for expression, mask in enumerate(masks):
        seed_here = derive_seed(seed, "regions", expression)
        chosen = _random_regions(areas, int(mask.sum()), seed=seed_here, draws=draws)
        size = chosen @ areas
        for network in range(marked.shape[0]):
            found = []
            for one in marked[network, :, expression]:
                if one.any():
                    overlap = chosen @ np.bincount(labels[one], minlength=count)[1:]
                    own = iou_table(one, mask[None])
                    found.append(np.concatenate([own, overlap / (one.sum() + size - overlap)]))
            if found:
                null[:, network, expression] = np.mean(found, axis=0)
    return null


def _all_shifts(marked: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return, at (r, c), the IoU of ``np.roll(marked, (r, c), (0, 1))`` with a mask."""
    from scipy import fft

    # The cross-correlation counts the overlap at every shift at once.
    spectrum = np.conj(fft.rfft2(marked.astype(np.float64))) * fft.rfft2(mask.astype(np.float64))
    overlap = np.rint(fft.irfft2(spectrum, s=mask.shape))
    return overlap / (np.count_nonzero(marked) + np.count_nonzero(mask) - overlap)


def _random_regions(areas: np.ndarray, target: int, *, seed: int, draws: int) -> np.ndarray:
    """Draw unions of regions, (draws, R) bool, whose area comes close to a target.

    Regions are taken in a random order as long as that brings the area nearer; at least one.
    """
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
