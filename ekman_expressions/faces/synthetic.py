"""The synthetic faces: their tables, and where each face moved, known by construction.

The bundled set is read unless another folder is named. Its data card (``README.md`` there)
says how the faces were made; image ids are those of the set, ``id07_fear_1``, without the
name of the database that `ekman_expressions.faces.databases.survey` puts in front.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError, SettingsError, check_option
from ekman_expressions.core.files import read_arrays, read_csv, read_image
from ekman_expressions.faces.folders import _check_table, read_manifest

PROBES: dict[str, tuple[str, str]] = {
    "brows": ("raised", "lowered"),
    "eyes": ("wide", "closed"),
    "mouth": ("smile", "frown"),
}
"""The probes, by the one region in which their faces differ from the neutral, and their labels."""

SIDE = 112
"""Rows and columns of a layer of a mask file."""

PIXELS = 2
"""Pixels of the image on each side of one pixel of a layer."""

TOTAL, PHOTOMETRIC = "total", "photometric"
"""Layers: displacement of the visible surface by all action units, and change of the image."""

# What a mask file shows as 255; larger values are cut off there.
_FULL_DISPLACEMENT = 12.0  # mm
_FULL_DIFFERENCE = 0.5  # mean absolute difference of RGB, as a part of the range

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

    Raises
    ------
    MissingError, DataError
        If there is no such table, or it is not as it must be.

    Examples
    --------
    >>> load().set_index("image_id").loc["id07_fear_1", "neutral"]
    'id07_neutral_1'
    """
    root = folder(root)
    rows = read_manifest(root)
    missing = [column for column in _COLUMNS if column not in rows]
    if missing:
        raise DataError(f"{root} lacks the columns {', '.join(missing)} of a synthetic set in its manifest.")
    return _with_numbers(rows, root / "manifest.csv")


def load_probes(probe: str | None = None, root: Path | str | None = None) -> pd.DataFrame:
    """Read the table of the probes: faces that differ from their neutral in one region only.

    A classifier that tells a probe's two labels apart, or a label from neutral, can only have
    learned from that region: person, pose and light are the same.

    Parameters
    ----------
    probe : {'brows', 'eyes', 'mouth'}, optional
        Only this probe; by default all.
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Returns
    -------
    DataFrame
        Like `load` without ``expression``, and with ``probe``, ``label`` (see `PROBES`) and
        ``neutral_path``, the absolute path of the paired neutral image.
    """
    if probe is not None:
        check_option(probe, "probe", PROBES)
    root = folder(root)
    path = root / "probes.csv"
    if not path.is_file():
        raise MissingError(f"There is no probes.csv in {root}: the set has no probes.")
    rows = read_csv(path, (*_COLUMNS, "probe", "label"), dtype=str, keep_default_na=False)
    # Probes have no expression, but else what every table of images must have.
    rows = _check_table(rows.assign(expression="neutral"), str(path)).drop(columns="expression")
    for row in rows.itertuples():
        if row.label not in PROBES.get(row.probe, ()):
            known = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in PROBES.items())
            raise DataError(
                f"{path}, image {row.image_id}: there is no probe {row.probe!r} with the label "
                f"{row.label!r}. Known are {known}."
            )
    faces = load(root).set_index("image_id")
    unpaired = rows[~rows["neutral"].isin(faces.index[faces["expression"] == "neutral"])]
    if len(unpaired):
        first = unpaired.iloc[0]
        raise DataError(
            f"{path}, image {first['image_id']}: its neutral face {first['neutral']!r} is not among the "
            f"neutral faces of {root / 'manifest.csv'}. Take both tables from the same set."
        )
    rows["path"] = [str(root / relative) for relative in rows["path"]]
    rows["neutral_path"] = faces.loc[rows["neutral"], "path"].to_numpy()
    rows = _with_numbers(rows, path)
    return rows if probe is None else rows[rows["probe"] == probe].reset_index(drop=True)


def read_layers(image_id: str, root: Path | str | None = None) -> dict[str, np.ndarray]:
    """Read where the visible surface of one face moved from the same person's neutral face.

    Parameters
    ----------
    image_id : str
        Of a face or a probe, e.g. ``"id07_fear_1"``.
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Returns
    -------
    dict of str to (112, 112) ndarray of float32
        ``"total"``, ``"photometric"``, and one per active action unit, see `read_mask_file`. A
        layer's pixel (r, c) covers the image's pixels [2r, 2r + 2] x [2c, 2c + 2]. Empty for
        neutral faces.

    Examples
    --------
    >>> list(read_layers("id07_fear_1"))[:3]
    ['total', 'photometric', 'au01']
    """
    root = folder(root)
    for table in (root / "manifest.csv", root / "probes.csv"):
        if table.is_file():
            rows = read_csv(table, ("image_id", "mask", "layers"), dtype=str, keep_default_na=False)
            for row in rows[rows["image_id"] == image_id].itertuples():
                names = row.layers.split()
                return read_mask_file(root / row.mask, names) if names else {}
    raise SettingsError(
        f"There is no image {image_id!r} in the synthetic set {root}. Ids are those of its tables, "
        "such as 'id07_fear_1'."
    )


def read_mask_file(path: Path | str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read a mask file: 8-bit layers of 112 pixels square, one below the other.

    `names` are its layers from the top down, as the manifest lists them.

    Returns
    -------
    dict of str to (112, 112) ndarray of float32
        Displacements from the neutral face in mm, [0, 12]; for ``"photometric"`` the mean
        absolute difference of RGB to the neutral image as a part of the range, [0, 0.5].
    """
    unknown = [name for name in names if name not in (TOTAL, PHOTOMETRIC) and not is_unit(name)]
    if unknown or len(set(names)) < len(names):
        wrong = f"the unknown layer {unknown[0]!r}" if unknown else "a layer more than once"
        raise DataError(
            f"The manifest lists {wrong} for {path}: {' '.join(names)}. Layers are {TOTAL!r}, "
            f"{PHOTOMETRIC!r} and action units such as 'au04'."
        )
    stacked = read_image(path, gray=True)
    if stacked.shape != (SIDE * len(names), SIDE):
        raise DataError(
            f"{path} should hold {len(names)} layers ({' '.join(names)}), so be {SIDE} pixels wide and "
            f"{SIDE * len(names)} high, but is {stacked.shape[1]} wide and {stacked.shape[0]} high. "
            "Take the file anew from the set that the manifest belongs to."
        )
    layers = np.float32(stacked).reshape(len(names), SIDE, SIDE) / np.float32(255)
    full = {PHOTOMETRIC: np.float32(_FULL_DIFFERENCE)}
    return {
        name: layer * full.get(name, np.float32(_FULL_DISPLACEMENT))
        for name, layer in zip(names, layers, strict=True)
    }


def is_unit(layer: str) -> bool:
    """Say whether a layer is that of an action unit: ``au01`` ... ``au99``."""
    return len(layer) == 4 and layer.startswith("au") and layer[2:].isdecimal()


def mesh_landmarks(root: Path | str | None = None) -> dict[str, np.ndarray]:
    """Read where the mesh's landmarks lie in each image, probes included.

    Returns
    -------
    dict of image_id to (68, 2) ndarray of float32
        x and y in continuous pixels of the image (pixel (r, c) covers [c, c + 1] x [r, r + 1]),
        iBUG order: projections of the same 68 vertices in every image.
    """
    path = folder(root) / "landmarks.npz"
    if not path.is_file():
        raise MissingError(f"There is no {path.name} in {path.parent}. Take all files of the set.")
    arrays = read_arrays(path, ("image_id", "points"))
    image_ids, points = arrays["image_id"], arrays["points"]
    if points.shape != (len(image_ids), 68, 2) or not np.isfinite(points).all():
        raise DataError(
            f"{path} should hold finite points (N, 68, 2) for its {len(image_ids)} images, but holds an "
            f"array of shape {points.shape}. Take the file anew."
        )
    if len(np.unique(image_ids)) < len(image_ids):
        raise DataError(f"{path} lists an image more than once. Take the file anew.")
    return dict(zip(image_ids.tolist(), points.astype(np.float32), strict=True))


def _with_numbers(rows: pd.DataFrame, where: Path) -> pd.DataFrame:
    """Turn the columns that hold numbers, so far texts, into numbers; empty cells into NaN."""
    for column in filter(_NUMBERS.fullmatch, rows.columns):
        try:
            rows[column] = pd.to_numeric(rows[column].replace("", np.nan))
        except ValueError as error:
            raise DataError(f"{where} has something else than a number in {column} ({error}).") from None
    return rows
