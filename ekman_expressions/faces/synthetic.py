"""The synthetic faces: their tables, and where each face moved, known by construction.

The bundled set is read unless another folder is named; its ``README.md`` says how the faces were made.
Ids are those of the set, ``id07_fear_1``, without the database's name that `survey` puts in front.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.files import read_arrays, read_csv, read_image
from ekman_expressions.faces.folders import _read_manifest, _Search

SIDE, PIXELS = 112, 2
"""Rows and columns of a layer of a mask file; pixels of the image on each side of one pixel of a layer."""

TOTAL, PHOTOMETRIC = "total", "photometric"
"""Layers: displacement of the visible surface by all action units, and change of the image."""

# What a mask file shows as 255; larger values are cut off there.
_FULL_DISPLACEMENT = np.float32(20)  # mm
_FULL_DIFFERENCE = np.float32(0.5)  # mean absolute difference of RGB, as a part of the range

_PACKAGE = Path(__file__).resolve().parents[1]
_NUMBERS = re.compile(r"variant|prototype|age|ita|yaw|pitch|roll|mix_\w+|light_\w+|au\d\d")
_COLUMNS = ("image_id", "path", "subject", "neutral", "mask", "layers")


def folder(root: Path | str | None = None) -> Path:
    """Return the folder of a synthetic set: `root`, or the bundled one (installed, or the checkout's)."""
    if root is not None:
        return Path(root).expanduser().resolve()
    installed = _PACKAGE / "data" / "synthetic_faces"
    return installed if installed.is_dir() else _PACKAGE.parent / "datasets" / "synthetic"


def load(root: Path | str | None = None) -> pd.DataFrame:
    """Read the table of the synthetic faces, the neutral ones included.

    Parameters
    ----------
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Returns
    -------
    DataFrame
        ``image_id, path`` (absolute), ``subject, expression`` and what is known by construction:
        ``variant``, ``intensity``, ``prototype`` (NaN for neutral), ``neutral`` (image_id of the
        same person's neutral face under the same pose and light), ``mask`` (its file, relative to
        the folder) and ``layers`` (what that file holds), sex, age in years, ancestry, skin, hair,
        eyes, ``yaw, pitch, roll`` and the light's angles in degrees, and the intensity of each FACS
        action unit, ``au01`` ... ``au64``.

    `MissingError`, `DataError` if there is no such table, or it is not as it must be.

    Examples
    --------
    >>> load().set_index("image_id").loc["id07_fear_1", "neutral"]
    'id07_neutral_1'
    """
    root = folder(root)
    rows = _read_manifest(_Search(root))
    missing = [column for column in _COLUMNS if column not in rows]
    if missing:
        raise DataError(f"{root} lacks the columns {', '.join(missing)} of a synthetic set in its manifest.")
    numbers = [*filter(_NUMBERS.fullmatch, rows.columns)]
    return rows.assign(**rows[numbers].replace("", np.nan).apply(pd.to_numeric))


def read_layers(image_id: str, root: Path | str | None = None) -> dict[str, np.ndarray]:
    """Read where the visible surface of one face moved from the same person's neutral face.

    Parameters
    ----------
    image_id : str
        Of a face, e.g. ``"id07_fear_1"``.
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Returns
    -------
    dict of str to (112, 112) ndarray of float32
        ``"total"`` and one per active action unit: displacement in mm, [0, 20]. ``"photometric"``:
        mean absolute difference of RGB to the neutral image as a part of the range, [0, 0.5]. A
        layer's pixel (r, c) covers the image's pixels [2r, 2r + 2] x [2c, 2c + 2]. Empty for neutral.

    `SettingsError` if the set has no such image, `DataError` if its mask file is not as the table says.

    Examples
    --------
    >>> list(read_layers("id07_fear_1"))[:3]
    ['total', 'photometric', 'au01']
    """
    root = folder(root)
    table = root / "manifest.csv"
    known = _layers_of(table, table.stat().st_mtime_ns)
    if image_id not in known:
        raise SettingsError(
            f"There is no image {image_id!r} in the synthetic set {root}. Ids are those of its tables, "
            "such as 'id07_fear_1'."
        )
    mask, names = known[image_id]
    if not names:
        return {}
    # Layers of 8 bits, one below the other, named from the top down.
    stacked = read_image(root / mask, gray=True)
    if stacked.shape != (SIDE * len(names), SIDE):
        raise DataError(
            f"{root / mask} should hold {len(names)} layers ({' '.join(names)}), so be {SIDE} pixels wide "
            f"and {SIDE * len(names)} high, but is {stacked.shape[1]} wide and {stacked.shape[0]} high. "
            "Take the file anew from the set that the manifest belongs to."
        )
    layers = np.float32(stacked).reshape(len(names), SIDE, SIDE) / np.float32(255)
    full = [_FULL_DIFFERENCE if name == PHOTOMETRIC else _FULL_DISPLACEMENT for name in names]
    return {name: layer * most for name, layer, most in zip(names, layers, full, strict=True)}


@lru_cache(maxsize=8)
def _layers_of(table: Path, changed: int) -> dict[str, tuple[str, list[str]]]:
    """Return the mask file and the layers of each image; read again when the table has changed."""
    rows = read_csv(table, ("image_id", "mask", "layers"), dtype=str, keep_default_na=False)
    return {row.image_id: (row.mask, row.layers.split()) for row in rows.itertuples()}


def mesh_landmarks(root: Path | str | None = None) -> dict[str, np.ndarray]:
    """Read where the same 68 vertices of the mesh lie in each image, (68, 2) in continuous pixels, by id."""
    path = folder(root) / "landmarks.npz"
    if not path.is_file():
        raise MissingError(f"There is no {path.name} in {path.parent}. Take all files of the set.")
    arrays = read_arrays(path, ("image_id", "points"))
    return dict(zip(arrays["image_id"].tolist(), arrays["points"].astype(np.float32), strict=True))
