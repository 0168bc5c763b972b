"""What is seen where a superpixel is hidden: a gray value, the image's mean colour, or the image blurred."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError, check_range

BLUR = 1 / 20
"""Standard deviation of the blur in units of the image's shorter side: 11 pixels of 224.

About that of Fong and Vedaldi (2017), 10 pixels of 224: what remains are patches of colour.
"""


def check_hidden(hidden: Any, name: str) -> None:
    """Raise `SettingsError` unless `hidden` is a gray value in [0, 1], ``"mean"`` or ``"blur"``."""
    if isinstance(hidden, Real) and not isinstance(hidden, bool):
        check_range(hidden, name, 0, 1)
    elif not isinstance(hidden, str) or hidden not in ("mean", "blur"):
        raise SettingsError(
            f"'{name}' must be a gray value in [0, 1], 'mean' or 'blur', but got {hidden!r} instead."
        )


def background(image: np.ndarray, hidden: Any) -> np.ndarray:
    """Return what hidden superpixels of an image look like.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    hidden : float, {'mean', 'blur'} or (H, W, 3) ndarray of float, range [0, 1]
        A gray value (0: black); the mean of each channel; the image after a Gaussian blur
        (see `BLUR`); or the background itself.

    Returns
    -------
    (H, W, 3) ndarray of float32, range [0, 1]
        Contiguous.

    Raises
    ------
    SettingsError
        If `hidden` is none of these.
    DataError
        If it is an array of another shape, or not in [0, 1].

    References
    ----------
    Fong and Vedaldi (2017), doi:10.1109/ICCV.2017.371.
    """
    image = np.asarray(image)
    if isinstance(hidden, np.ndarray) and hidden.ndim:
        if hidden.shape != image.shape or not (hidden.min() >= 0 and hidden.max() <= 1):
            raise DataError(
                f"A background must have the image's shape {image.shape} and lie in [0, 1], but got "
                f"{hidden.shape} in [{hidden.min():g}, {hidden.max():g}]."
            )
        return np.ascontiguousarray(hidden, np.float32)
    check_hidden(hidden, "hidden")
    if hidden == "mean":
        return np.broadcast_to(image.mean(axis=(0, 1), dtype=np.float64), image.shape).astype(np.float32)
    if hidden == "blur":
        from scipy.ndimage import gaussian_filter

        sigma = BLUR * min(image.shape[:2])
        blurred = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest")
        return np.clip(blurred, 0, 1).astype(np.float32)
    return np.full(image.shape, hidden, np.float32)
