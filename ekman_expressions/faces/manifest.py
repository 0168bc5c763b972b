"""What a database's table must look like, and the reading of tables that users write themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import parse_expression
from ekman_expressions.core.files import read_csv

COLUMNS = ("image_id", "path", "subject", "expression")
"""Columns that a database's rows must have; ``intensity`` is used where given."""

_IMAGE_ID = re.compile(r"[A-Za-z0-9._-]+")


def load(root: Path) -> pd.DataFrame:
    """Read ``manifest.csv`` in a folder of faces.

    Parameters
    ----------
    root : Path
        The folder. Its manifest has at least the columns ``image_id, path, subject,
        expression``, `path` being relative to the folder; further columns are kept.

    Returns
    -------
    DataFrame
        The rows, checked by `check`, with absolute paths.

    Raises
    ------
    MissingError
        If there is no such folder or no manifest in it.
    DataError
        If the table is not as it must be.
    """
    root = Path(root).expanduser().resolve()
    path = root / "manifest.csv"
    if not path.is_file():
        present = sorted(item.name for item in root.iterdir()) if root.is_dir() else None
        found = (
            "that folder does not exist"
            if present is None
            else (
                "it holds " + (", ".join(present[:10]) or "nothing") + (" ..." if len(present) > 10 else "")
            )
        )
        raise MissingError(
            f"There is no manifest.csv in {root}: {found}. Write one with the columns "
            f"{', '.join(COLUMNS)}, or correct the root in [faces.roots]."
        )
    # Texts stay texts: "NA" may be a person, and "007" is not 7.
    rows = read_csv(path, COLUMNS, dtype=str, keep_default_na=False)
    for relative in rows["path"]:
        # Judged as Windows does, which knows both separators and drives.
        if ".." in PureWindowsPath(relative).parts or PureWindowsPath(relative).anchor:
            raise DataError(
                f"{path} names the image {relative!r}. Paths must be relative to {root} and stay inside it."
            )
    rows["path"] = [str(root / relative) for relative in rows["path"]]
    return check(rows, str(path))


def check(rows: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return a database's rows with canonical expressions, or say what is wrong with them.

    Parameters
    ----------
    rows : DataFrame
        At least `COLUMNS`, all texts.
    where : str
        Where the rows come from, for messages.

    Raises
    ------
    DataError
        If a column is missing, a cell empty, an `image_id` unsafe as a file name or used
        twice, an expression unknown, or an intensity no number in [0, 1].
    """
    missing = [column for column in COLUMNS if column not in rows.columns]
    if missing:
        raise DataError(f"{where} lacks the columns {', '.join(missing)}; needed are {', '.join(COLUMNS)}.")
    if rows.empty:
        raise DataError(f"{where} lists no images.")
    rows = rows.reset_index(drop=True)
    for column in COLUMNS:
        empty = rows.index[rows[column].str.strip() == ""]
        if len(empty):
            lines = ", ".join(str(number + 2) for number in empty[:10])
            raise DataError(f"{where} has no {column} in line {lines}. Fill it in or delete the line.")
    check_ids(rows["image_id"], where)
    # Some file systems do not tell a.png from A.png.
    twice = rows["image_id"][rows["image_id"].str.lower().duplicated(keep=False)]
    if len(twice):
        raise DataError(
            f"{where} uses an image_id more than once (upper and lower case count as one): "
            f"{', '.join(sorted(set(twice))[:10])}. Give each image an id of its own."
        )
    expressions = []
    for image_id, name in zip(rows["image_id"], rows["expression"], strict=True):
        try:
            expressions.append(parse_expression(name))
        except DataError as error:
            raise DataError(f"{where}, image {image_id}: {error}") from None
    rows["expression"] = expressions
    if "intensity" in rows:
        rows["intensity"] = _intensities(rows, where)
    return rows


def check_ids(image_ids: Iterable[str], where: object) -> None:
    """Raise `DataError` unless ids can name files, in the folder where they belong and nowhere else."""
    for image_id in image_ids:
        if not _IMAGE_ID.fullmatch(image_id):
            raise DataError(
                f"{where} has the image_id {image_id!r}. It names files: use letters, digits, "
                "'.', '_' and '-' only."
            )


def _intensities(rows: pd.DataFrame, where: str) -> pd.Series:
    given = rows["intensity"].astype(str).str.strip()
    numbers = pd.to_numeric(given, errors="coerce")
    wrong = (given != "") & ~numbers.between(0, 1)
    if wrong.any():
        first = rows[wrong].iloc[0]
        raise DataError(
            f"{where}, image {first['image_id']}: intensity must be a number in [0, 1] or empty, "
            f"but got {first['intensity']!r}."
        )
    return numbers
