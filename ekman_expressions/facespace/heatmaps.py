"""Heatmaps: means of explanations in face space, per fold, per network and per expression."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError, check_option
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import read_arrays, read_image, require
from ekman_expressions.facespace.warp import SHAPE

KINDS: tuple[str, ...] = ("GRAY", "COLORMAP_JET", "THRESHOLD", "OVERLAY")
"""The pictures that are written of each heatmap, and their folders."""


class _RunningMean:
    """The weighted mean of arrays that come one by one, and the sum of their weights: 0 where none came.

    The mean is moved by each array's weighted difference from it, which stays accurate where a large sum
    would lose digits (West 1979, doi:10.1145/359146.359153).
    """

    def __init__(self) -> None:
        self.weight, self.mean = 0.0, np.zeros(())

    def add(self, array: np.ndarray, weight: float = 1.0) -> None:
        self.weight += weight
        self.mean = self.mean + (np.float64(array) - self.mean) * (weight / self.weight)


def to_uint8(heatmap: np.ndarray) -> np.ndarray:
    """Stretch a heatmap to 0 ... 255 by its minimum and maximum.

    Parameters
    ----------
    heatmap : (H, W) ndarray of float
        Any range.

    Returns
    -------
    (H, W) ndarray of uint8
        ``floor(255 (h - min) / (max - min))``; zeros where the heatmap is constant.

    Raises
    ------
    DataError
        If the heatmap is empty or not finite.
    """
    heatmap = np.asarray(heatmap, dtype=np.float64)
    if heatmap.size == 0 or not np.isfinite(heatmap).all():
        raise DataError(
            f"A heatmap must be finite and not empty, but got shape {heatmap.shape} with "
            f"{np.count_nonzero(~np.isfinite(heatmap))} values that are not finite."
        )
    low, high = heatmap.min(), heatmap.max()
    if low == high:
        return np.zeros(heatmap.shape, np.uint8)
    # Divided before it is multiplied, so that the maximum is exactly 255.
    return np.floor(255 * ((heatmap - low) / (high - low))).astype(np.uint8)


def threshold_otsu(gray: np.ndarray) -> tuple[int, np.ndarray]:
    """Split an 8-bit heatmap in two by Otsu's threshold.

    Parameters
    ----------
    gray : (H, W) ndarray of uint8

    Returns
    -------
    level : int
        The gray value that separates the two classes best.
    above : (H, W) ndarray of bool
        Where the heatmap is above `level`; nowhere if it is constant.

    Raises
    ------
    DataError
        If `gray` is empty or no 8-bit image.

    References
    ----------
    Otsu (1979), doi:10.1109/TSMC.1979.4310076.
    """
    gray = np.asarray(gray)
    if gray.dtype != np.uint8 or gray.ndim != 2 or gray.size == 0:
        raise DataError(
            f"Otsu's threshold needs an (H, W) uint8 heatmap, but got {gray.dtype} of shape {gray.shape}. "
            "Use heatmaps.to_uint8 first."
        )
    if gray.min() == gray.max():
        # OpenCV would return 0, which puts the whole canvas above.
        return int(gray.flat[0]), np.zeros(gray.shape, bool)
    import cv2

    level, _ = cv2.threshold(np.ascontiguousarray(gray), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return int(level), gray > level


def _to_jet(gray: np.ndarray) -> np.ndarray:
    """Colour an 8-bit heatmap (H, W) with JET: RGB (H, W, 3) uint8, blue low, red high."""
    import cv2

    return cv2.cvtColor(cv2.applyColorMap(gray, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)


def _to_overlay(gray: np.ndarray, face: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Lay an 8-bit heatmap in the colours of viridis over a face (RGB in [0, 1]), with a mask's outline in
    white: (H, W + 16, 3) uint8, the strip at the right being the scale, from 0 at its lower end to 255.
    """
    import cv2

    def coloured(values: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)

    picture = 0.4 * 255 * face.mean(axis=-1, keepdims=True) + 0.6 * coloured(gray)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    picture[mask & ~inner] = 255
    high = len(gray)
    scale = np.repeat(np.linspace(255, 0, high).astype(np.uint8)[:, None], 12, axis=1)
    return np.hstack([picture.astype(np.uint8), np.full((high, 4, 3), 255, np.uint8), coloured(scale)])


def heatmap_path(
    folder: Path | str,
    expression: str,
    network: str | None = None,
    fold: str | None = None,
    *,
    kind: str = "GRAY",
) -> Path:
    """Return where a heatmap's picture lies.

    Parameters
    ----------
    folder : Path
        Laid out like ``heatmaps/<experiment>``.
    expression : str
        One of `EXPRESSIONS`.
    network, fold : str, optional
        Both: the heatmap of a fold. Only `network`: of a network. Neither: of the expression.
    kind : {'GRAY', 'COLORMAP_JET', 'THRESHOLD', 'OVERLAY'}
    """
    check_option(kind, "kind", KINDS)
    if fold is not None and network is None:
        raise SettingsError(f"A heatmap of fold {fold!r} needs a 'network' too, but got None.")
    level = "heatmaps_total" if network is None else "heatmaps_by_net" if fold is None else "heatmaps_by_cv"
    return Path(folder) / kind / level / f"{_heatmap_name(expression, network, fold)}_heatmap.png"


def _heatmap_name(expression: str, network: str | None = None, fold: str | None = None) -> str:
    """Return a heatmap's name in files and reports: ``SilNet_CV1_Anger``, ``SilNet_Anger``, ``Anger``."""
    return "_".join(part for part in (network, fold, title(expression)) if part is not None)


def read_gray(folder: Path | str, expression: str, network: str | None = None, fold: str | None = None) -> np.ndarray:
    """Read an 8-bit heatmap, (275, 224) uint8; arguments as in `heatmap_path`.

    Raises
    ------
    MissingError
        If it is not there.
    DataError
        If it is damaged or not of the size of face space.
    """
    path = require(heatmap_path(folder, expression, network, fold), "heatmaps")
    return _in_face_space(read_image(path, gray=True), path)


def _read_float(folder: Path | str, expression: str, network: str | None = None, fold: str | None = None) -> np.ndarray:
    """Read a heatmap before it was stretched, (275, 224) float32; else as `read_gray`."""
    path = require(heatmap_path(folder, expression, network, fold).with_suffix(".npz"), "heatmaps")
    return _in_face_space(read_arrays(path, ("heatmap",))["heatmap"], path)


def _in_face_space(heatmap: np.ndarray, path: Path) -> np.ndarray:
    if heatmap.shape != SHAPE:
        raise DataError(f"{path} has shape {heatmap.shape}, but face space is {SHAPE}.")
    return heatmap
