"""The registry of databases, and the one function that loads any of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ekman_expressions.datasets import manifest, synthetic
from ekman_expressions.errors import SettingsError

DATABASES: dict[str, Callable[..., pd.DataFrame]] = {"synthetic": synthetic.load}
"""``name -> load(root)`` of each database known by name. `load(root)` returns rows as
`ekman_expressions.datasets.manifest.check` wants them, with absolute paths."""

BUNDLED = ("synthetic",)
"""Databases that need no root."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def load(name: str, root: Path | str | None = None) -> pd.DataFrame:
    """Load the rows of a database.

    Parameters
    ----------
    name : str
        A name in `DATABASES`; or any other name, for a folder of your own with a
        ``manifest.csv`` (columns ``image_id, path, subject, expression``, optionally
        ``intensity`` in [0, 1]; paths relative to the folder).
    root : Path or str, optional
        The database's folder; needed unless the database is bundled.

    Returns
    -------
    DataFrame
        One row per image, sorted by `image_id`: ``image_id`` and ``subject`` carry the
        database's name (``synthetic_id00_anger_0``, ``synthetic/id00``), ``path`` is absolute,
        ``dataset`` is `name`, ``expression`` is canonical (neutral and contempt included);
        then what else the database tells.

    Raises
    ------
    SettingsError
        If the name cannot be used, or a root is needed and not given.
    MissingError
        If the database is not at its root.
    DataError
        If its table is not as it must be.

    Examples
    --------
    >>> load("synthetic").subject.nunique()
    24
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingsError(
            f"The name of a database must be made of letters, digits, '.', '_' and '-', but got {name!r}."
        )
    if root is None and name not in BUNDLED:
        raise SettingsError(
            f"The database {name!r} needs a root: the folder where it lies, as {name} = \"...\" "
            f"under [faces.roots] in the settings. Without a root there is only {', '.join(BUNDLED)}."
        )
    rows = DATABASES.get(name, manifest.load)(root if root is None else Path(root))
    # Databases reuse ids: the name in front keeps them apart when several are combined.
    rows = rows.assign(
        image_id=[f"{name}_{image_id}" for image_id in rows["image_id"]],
        subject=[f"{name}/{subject}" for subject in rows["subject"]],
        dataset=name,
    )
    first = ["image_id", "path", "dataset", "subject", "expression"]
    return rows[first + [column for column in rows.columns if column not in first]].sort_values(
        "image_id", ignore_index=True
    )
