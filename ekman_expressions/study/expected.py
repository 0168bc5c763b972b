"""Expected against obtained: a table of numbers that a run must give, and how near they must come.

A table has one row per number:

``file``
    A CSV table below the root; ``{name}`` stands for the experiment's name.
``where``
    Which rows, ``column=value`` joined by ``;``. Empty: all rows.
``column``
    The column whose value, or mean where there are several rows, is compared; ``rows`` counts them.
``expected``, ``tolerance``
    The number, and by how much the obtained one may differ, both ends included.
``kind``
    ``deterministic``: equal on every machine but for rounding. ``stochastic``: what a training
    gave, which another processor rounds otherwise from the first step on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pandas as pd

from ekman_expressions.core.errors import DataError, EkmanExpressionsError, MissingError
from ekman_expressions.core.files import read_csv, write_csv
from ekman_expressions.study.experiment import Experiment

COLUMNS = ("file", "where", "column", "expected", "tolerance", "kind")
KINDS = ("deterministic", "stochastic")


@dataclass(frozen=True)
class Comparison:
    """Expected numbers beside the obtained ones.

    Attributes
    ----------
    table : DataFrame
        The `COLUMNS`, then ``obtained`` (NaN where it is missing), ``ok`` and ``reason``.
    """

    table: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether every number is within its tolerance."""
        return bool(self.table["ok"].all())

    def summary(self) -> str:
        """Return the comparison as text, the numbers that differ first named."""
        lines = []
        for row in self.table.itertuples():
            place = f"{row.file} [{row.where}] {row.column}" if row.where else f"{row.file} {row.column}"
            verdict = "ok" if row.ok else row.reason or "DIFFERS"
            lines.append(
                f"  {place}: expected {row.expected:g} ± {row.tolerance:g} ({row.kind}), "
                f"obtained {row.obtained:g}: {verdict}"
            )
        good = int(self.table["ok"].sum())
        return "\n".join([f"{good} of {len(lines)} numbers as expected", *lines])


def expected_path(name: str) -> Path:
    """Return the table that comes with the package for a preset.

    Raises
    ------
    MissingError
        If there is none.
    """
    folder = resources.files("ekman_expressions").joinpath("data")
    path = Path(str(folder.joinpath(f"expected_{name}.csv")))
    if not path.is_file():
        there = sorted(item.name[9:-4] for item in folder.iterdir() if item.name.startswith("expected_"))
        raise MissingError(
            f"No expected numbers come with the package for {name!r}, only for {', '.join(there)}. "
            "Name a table of your own with --table."
        )
    return path


def compare(experiment: Experiment, table: Path | str | None = None) -> Comparison:
    """Compare an experiment's numbers with those that are expected.

    Parameters
    ----------
    experiment : Experiment
        The settings and folders.
    table : Path, optional
        A table as above; default: the one that comes with the package for the experiment's name.

    Raises
    ------
    DataError
        If the table is not as it must be. A number that is not there is no error, but differs.
    """
    wanted = read_expected(expected_path(experiment.name) if table is None else Path(table))
    rows = []
    for row in wanted.itertuples(index=False):
        obtained, reason = math.nan, ""
        try:
            obtained = _obtained(experiment, row.file, row.where, row.column)
        except (EkmanExpressionsError, OSError) as error:
            reason = str(error)
        ok = bool(abs(obtained - row.expected) <= row.tolerance)
        rows.append({**row._asdict(), "obtained": obtained, "ok": ok, "reason": reason})
    return Comparison(pd.DataFrame(rows, columns=[*COLUMNS, "obtained", "ok", "reason"]))


def update(experiment: Experiment, table: Path) -> None:
    """Write the obtained numbers into a table as those that are expected from now on."""
    found = compare(experiment, table)
    absent = found.table[found.table["obtained"].isna()]
    if len(absent):
        raise DataError(f"{table} is left as it was: {absent['reason'].iloc[0] or 'a number is NaN'}")
    write_csv(table, found.table.assign(expected=found.table["obtained"])[list(COLUMNS)])


def read_expected(path: Path) -> pd.DataFrame:
    """Read a table of expected numbers, and check it."""
    if not path.is_file():
        raise MissingError(f"There is no table of expected numbers {path}.")
    texts = dict.fromkeys(("file", "where", "column", "kind"), str)
    table = read_csv(path, COLUMNS, dtype=texts, keep_default_na=False)
    for column in ("expected", "tolerance"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
        if table[column].isna().any():
            raise DataError(f"{path} has a cell of the column {column} that is no number.")
    strange = sorted(set(table["kind"]) - set(KINDS))
    if strange:
        raise DataError(f"{path} has the kind {', '.join(strange)}. Allowed are {', '.join(KINDS)}.")
    return table


def _obtained(experiment: Experiment, file: str, where: str, column: str) -> float:
    path = experiment.root / file.replace("{name}", experiment.name)
    if not path.is_file():
        raise MissingError(f"there is no {path}")
    rows = read_csv(path)
    for condition in filter(None, where.split(";")):
        name, _, value = condition.partition("=")
        if name not in rows:
            raise DataError(f"{path} has no column {name!r}")
        rows = rows[rows[name].astype(str) == value]
    if column == "rows":
        return float(len(rows))
    if column not in rows:
        raise DataError(f"{path} has no column {column!r}")
    if rows.empty:
        raise DataError(f"{path} has no row with {where}")
    return float(rows[column].mean())
