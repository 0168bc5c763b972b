"""How alike two maps in face space are, and two heatmaps."""

from __future__ import annotations

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.facespace.heatmaps import to_uint8


def correlations(maps: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each two of several maps.

    Parameters
    ----------
    maps : (N, H, W) ndarray of float

    Returns
    -------
    (N, N) ndarray of float64, range [-1, 1]
        NaN in the rows and columns of maps that are constant.
    """
    flat = np.asarray(maps, np.float64).reshape(len(maps), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("np,np->n", flat, flat))
    scale = np.where(np.ptp(flat, axis=1) > 0, lengths, np.nan)
    return np.clip((flat @ flat.T) / (scale[:, None] * scale), -1, 1)


def similarity(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Return how alike two heatmaps are, by three measures.

    Parameters
    ----------
    first, second : (H, W) ndarray of float
        Heatmaps, in any range: no measure depends on it.

    Returns
    -------
    dict
        ``pearson`` and ``spearman``: the correlations of values and of ranks, in [-1, 1];
        ``ssim``: the structural similarity [1]_ of the heatmaps stretched to 8 bits, as they are
        looked at, in windows of 7 x 7 pixels. All NaN where a heatmap is constant.

    Raises
    ------
    DataError
        If the shapes differ.

    References
    ----------
    .. [1] Wang et al. (2004), doi:10.1109/TIP.2003.819861.
    """
    from scipy.stats import rankdata
    from skimage.metrics import structural_similarity

    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise DataError(f"The heatmaps have different shapes, {first.shape} and {second.shape}.")
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return dict.fromkeys(("pearson", "spearman", "ssim"), float("nan"))
    ranks = [rankdata(heatmap).reshape(heatmap.shape) for heatmap in (first, second)]
    return {
        "pearson": float(correlations(np.stack([first, second]))[0, 1]),
        "spearman": float(correlations(np.stack(ranks))[0, 1]),
        "ssim": float(structural_similarity(to_uint8(first), to_uint8(second), data_range=255)),
    }
