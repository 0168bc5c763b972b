"""The synthetic faces: their tables, probes, masks and landmarks, all known by construction.

The bundled set is read unless another folder is named. Its data card (``README.md`` there)
says how the faces were made; image ids are those of the set, ``id07_fear_1``, without the
name of the database that `ekman_expressions.faces.databases.load` puts in front.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError, SettingsError, check_option
from ekman_expressions.core.files import read_arrays, read_csv
from ekman_expressions.faces import manifest
from ekman_expressions.faces.causal_masks import read_mask_file

PROBES: dict[str, tuple[str, str]] = {
    "brows": ("raised", "lowered"),
    "eyes": ("wide", "closed"),
    "mouth": ("smile", "frown"),
}
"""The probes, by the one region in which their faces differ from the neutral, and their labels."""

_PACKAGE = Path(__file__).resolve().parents[1]
_NUMBERS = re.compile(r"variant|prototype|age|ita|yaw|pitch|roll|mix_\w+|light_\w+|au\d\d")
_PROBE_COLUMNS = ("image_id", "path", "subject", "probe", "label", "neutral", "mask", "layers")


def folder() -> Path:
    """Return the folder of the bundled faces: the installed one, else the checkout's."""
    installed = _PACKAGE / "data" / "synthetic_faces"
    return installed if installed.is_dir() else _PACKAGE.parent / "datasets" / "synthetic"


def root_of(root: Path | str | None) -> Path:
    """Return the folder of a synthetic set: `root`, or the bundled one."""
    return folder() if root is None else Path(root).expanduser().resolve()


def load(root: Path | None = None) -> pd.DataFrame:
    """Read the rows of the synthetic faces, the neutral ones included.

    Parameters
    ----------
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Returns
    -------
    DataFrame
        The contract's columns (`path` absolute) and what is known by construction: ``variant``,
        ``intensity``, ``prototype`` (NaN for neutral), ``neutral`` (image_id of the same person's
        neutral face under the same pose and light), ``mask`` (its file, relative to the
        folder) and ``layers`` (what that file holds), sex, age in years, ancestry, skin, hair, eyes,
        ``yaw, pitch, roll`` and the light's angles in degrees, and the intensity of each FACS
        action unit, ``au01`` ... ``au64``. Sets of version 0 lack some of these.

    Raises
    ------
    MissingError, DataError
        If there is no such table, or it is not as it must be.
    """
    root = root_of(root)
    return _with_numbers(manifest.load(root), root / "manifest.csv")


def load_probes(probe: str | None = None, root: Path | None = None) -> pd.DataFrame:
    """Read the rows of the probes: faces that differ from their neutral in one region only.

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

    Raises
    ------
    SettingsError
        If there is no such probe.
    MissingError
        If the set has no probes.
    DataError
        If the table is not as it must be, or names a neutral face that the manifest lacks.
    """
    if probe is not None:
        check_option(probe, "probe", PROBES)
    root = root_of(root)
    path = root / "probes.csv"
    if not path.is_file():
        raise MissingError(f"There is no probes.csv in {root}. Sets before version 1 have no probes.")
    rows = read_csv(path, _PROBE_COLUMNS, dtype=str, keep_default_na=False)
    # Probes have no expression, but else what every manifest must have.
    rows = manifest.check(rows.assign(expression="neutral"), str(path)).drop(columns="expression")
    for row in rows.itertuples():
        if row.label not in PROBES.get(row.probe, ()):
            known = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in PROBES.items())
            raise DataError(
                f"{path}, image {row.image_id}: there is no probe {row.probe!r} with the label "
                f"{row.label!r}. Known are {known}."
            )
    faces = load(root).set_index("image_id")
    neutral = faces.index[faces["expression"] == "neutral"]
    unpaired = rows[~rows["neutral"].isin(neutral)]
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


def read_layers(image_id: str, root: Path | None = None) -> dict[str, np.ndarray]:
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
        ``"total"``, ``"photometric"``, and one per active action unit; units as in
        `causal_masks.read_mask_file`. A layer's pixel (r, c) covers the image's pixels
        [2r, 2r + 2] x [2c, 2c + 2]. Empty for neutral faces.

    Raises
    ------
    SettingsError
        If there is no such image.
    MissingError, DataError
        If the mask file is not there, damaged, or not of the size that its layers need; or if
        the set is of version 0, which does not tell layers apart.
    """
    root = root_of(root)
    for table in ("manifest.csv", "probes.csv"):
        if not (root / table).is_file():
            continue
        rows = read_csv(root / table, ("image_id",), dtype=str, keep_default_na=False)
        rows = rows[rows["image_id"] == image_id]
        if len(rows):
            require_layers(rows, root)
            names = rows["layers"].iloc[0].split()
            return read_mask_file(root / rows["mask"].iloc[0], names) if names else {}
    raise SettingsError(
        f"There is no image {image_id!r} in the synthetic set {root}. Ids are those of its tables, "
        "such as 'id07_fear_1'."
    )


def require_layers(rows: pd.DataFrame, root: Path | None = None) -> None:
    """Raise `DataError` unless the rows of a set say what its mask files hold."""
    if not {"mask", "layers", "neutral"} <= set(rows.columns):
        raise DataError(
            f"The synthetic set {root_of(root)} is of version 0, whose masks have no layers: its manifest "
            "lacks the columns mask, layers and neutral. Use a set of version 1 or later."
        )


def mesh_landmarks(root: Path | None = None) -> dict[str, np.ndarray]:
    """Read where the mesh's landmarks lie in each image, probes included.

    Parameters
    ----------
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Returns
    -------
    dict of image_id to (68, 2) ndarray of float32
        x and y in continuous pixels of the image (pixel (r, c) covers [c, c + 1] x [r, r + 1]),
        iBUG order: projections of the same 68 vertices in every image.

    Raises
    ------
    MissingError
        If the set has no ``landmarks.npz``.
    DataError
        If that is damaged, of another shape, not finite, or lists an image twice.
    """
    path = root_of(root) / "landmarks.npz"
    if not path.is_file():
        raise MissingError(f"There is no {path.name} in {path.parent}. Sets before version 1 have none.")
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
