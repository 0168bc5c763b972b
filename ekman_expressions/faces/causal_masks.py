"""The mask files of the synthetic faces: where, and how far, the visible surface moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.files import read_image

SIDE = 112
"""Rows and columns of a layer."""

PIXELS = 2
"""Pixels of the image on each side of one pixel of a layer."""

FULL_DISPLACEMENT = 12.0
"""Displacement in mm that a mask file shows as 255; larger ones are cut off there."""

FULL_DIFFERENCE = 0.5
"""Mean absolute difference of RGB, as a part of the range, shown as 255; larger ones are cut off."""

TOTAL, PHOTOMETRIC = "total", "photometric"


def is_unit(layer: str) -> bool:
    """Say whether a layer is that of an action unit: ``au01`` ... ``au99``."""
    return len(layer) == 4 and layer.startswith("au") and layer[2:].isdecimal()


def scale(layer: str) -> float:
    """Return what a mask file shows as 255: mm of displacement, or a part of the range of RGB.

    Parameters
    ----------
    layer : str
        ``"total"``, ``"photometric"`` or an action unit such as ``"au04"``.

    Raises
    ------
    SettingsError
        If there is no such kind of layer.

    Examples
    --------
    >>> scale("au04")
    12.0
    """
    if layer == PHOTOMETRIC:
        return FULL_DIFFERENCE
    if layer == TOTAL or is_unit(layer):
        return FULL_DISPLACEMENT
    raise SettingsError(
        f"Unknown layer {layer!r}. Layers are {TOTAL!r}, {PHOTOMETRIC!r} and action units such as 'au04'."
    )


def read_mask_file(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read a mask file: 8-bit layers of `SIDE` pixels square, one below the other.

    Parameters
    ----------
    path : Path
        The PNG file.
    names : sequence of str
        Its layers from the top down, as the manifest lists them.

    Returns
    -------
    dict of str to (112, 112) ndarray of float32
        Displacements from the neutral face in mm, [0, 12]; for ``"photometric"`` the mean
        absolute difference of RGB to the neutral image as a part of the range, [0, 0.5].

    Raises
    ------
    MissingError
        If there is no such file.
    DataError
        If it is damaged, of another size, or a name is no layer's or used twice.
    """
    try:
        scales = [scale(name) for name in names]
    except SettingsError as error:
        raise DataError(f"The manifest lists the layers of {path} wrongly: {error}") from None
    if len(set(names)) < len(names):
        raise DataError(f"The manifest lists a layer of {path} more than once: {' '.join(names)}.")
    stacked = read_image(path, gray=True)
    if stacked.shape != (SIDE * len(names), SIDE):
        raise DataError(
            f"{path} should hold {len(names)} layers ({' '.join(names)}), so be {SIDE} pixels wide and "
            f"{SIDE * len(names)} high, but is {stacked.shape[1]} wide and {stacked.shape[0]} high. "
            "Take the file anew from the set that the manifest belongs to."
        )
    layers = np.float32(stacked).reshape(len(names), SIDE, SIDE) / np.float32(255)
    return {name: layer * np.float32(full) for name, layer, full in zip(names, layers, scales, strict=True)}
