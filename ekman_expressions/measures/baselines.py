"""What chance gives: maps that know nothing of the network, or nothing of the expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.facespace.heatmaps import threshold_otsu, to_uint8
from ekman_expressions.facespace.warp import SHAPE


def iou_table(marked: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the IoU of every marked area with every mask.

    Parameters
    ----------
    marked : (..., H, W) ndarray of bool
        What heatmaps mark.
    masks : (M, H, W) ndarray of bool
        The references.

    Returns
    -------
    (..., M) ndarray of float
        0 where nothing is marked.

    Raises
    ------
    DataError
        If shapes differ, an array is not bool, or a mask is empty.
    """
    marked, masks = np.asarray(marked), np.asarray(masks)
    if marked.dtype != bool or masks.dtype != bool:
        raise DataError(f"Both must be arrays of bool, but got {marked.dtype} and {masks.dtype}.")
    if marked.shape[-2:] != masks.shape[-2:]:
        raise DataError(
            f"What is marked has shape {marked.shape[-2:]}, but the masks {masks.shape[-2:]}: both must lie "
            "in the same face space."
        )
    if not masks.any(axis=(-2, -1)).all():
        raise DataError("A mask is empty, so nothing can agree with it. Check its file or its regions.")
    # float32 counts whole numbers up to 2**24 exactly, and its product is the fastest.
    flat = marked.reshape(-1, masks[0].size).astype(np.float32)
    references = masks.reshape(len(masks), -1).astype(np.float32)
    both = (flat @ references.T).astype(np.float64)
    union = flat.sum(axis=1, dtype=np.float64)[:, None] + references.sum(axis=1, dtype=np.float64) - both
    return (both / union).reshape(*marked.shape[:-2], len(masks))


def centre_ellipse(share: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Mark an ellipse in the middle of the canvas, with the canvas' proportions.

    Parameters
    ----------
    share : float, range (0, 1]
        The share of the canvas' area it covers; above π/4 the canvas cuts it off.
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    (H, W) ndarray of bool
    """
    check_range(share, "share", 1e-6, 1)
    return centre_distance(shape) <= np.sqrt(4 * share / np.pi)


def centre_distance(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Return the distance from the middle: 1 on the ellipse that touches the canvas' four sides.

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


def simulated_pixels(marked: int, mask: int, total: int, *, seed: int, draws: int = 1000) -> np.ndarray:
    """Return the IoU of `draws` sets of random pixels with a mask; else as `random_pixels`."""
    overlap = np.random.default_rng(seed).hypergeometric(mask, total - mask, marked, size=draws)
    return overlap / (marked + mask - overlap)


def shifted(marked: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the IoU of a marked area with a mask after every circular shift.

    A shift keeps the area and the form of what is marked, and takes away where it is.

    Parameters
    ----------
    marked, mask : (H, W) ndarray of bool

    Returns
    -------
    (H, W) ndarray of float, range [0, 1]
        At (0, 0) the IoU as it is, at (r, c) that of ``np.roll(marked, (r, c), (0, 1))``.

    Raises
    ------
    DataError
        If the shapes differ or the mask is empty.
    """
    from scipy import fft

    marked, mask = np.asarray(marked, bool), np.asarray(mask, bool)
    if marked.shape != mask.shape:
        raise DataError(f"What is marked has shape {marked.shape}, but the mask {mask.shape}.")
    if not mask.any():
        raise DataError("The mask is empty, so nothing can agree with it. Check its file or its regions.")
    # The cross-correlation counts the overlap at every shift at once.
    spectrum = np.conj(fft.rfft2(marked.astype(np.float64))) * fft.rfft2(mask.astype(np.float64))
    overlap = np.rint(fft.irfft2(spectrum, s=mask.shape))
    return overlap / (np.count_nonzero(marked) + np.count_nonzero(mask) - overlap)


def mean_of_masks(masks: np.ndarray) -> np.ndarray:
    """Return the mean of masks as an 8-bit heatmap: where faces move in any expression."""
    return to_uint8(np.asarray(masks, dtype=np.float64).mean(axis=0))


def face_prior(maps: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return the mean of heatmaps as one 8-bit heatmap: where networks look, whatever they see.

    Parameters
    ----------
    maps : (N, H, W) ndarray
        Heatmaps of all networks, folds and expressions.

    Returns
    -------
    (H, W) ndarray of uint8
        It knows of no expression: what a heatmap scores beyond it may be specific.

    Raises
    ------
    DataError
        If there is no heatmap.
    """
    if not len(maps):
        raise DataError("There is no heatmap to make a prior of.")
    return to_uint8(np.mean(maps, axis=0, dtype=np.float64))


def otsu(maps: np.ndarray) -> np.ndarray:
    """Mark 8-bit heatmaps (..., H, W) above Otsu's level, each by itself: (..., H, W) bool."""
    flat = maps.reshape(-1, *maps.shape[-2:])
    return np.array([threshold_otsu(gray)[1] for gray in flat], dtype=bool).reshape(maps.shape)
