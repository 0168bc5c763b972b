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
from pathlib import Path

import pandas as pd

from ekman_expressions.core.errors import DataError, EkmanExpressionsError, MissingError
from ekman_expressions.core.files import read_csv, write_csv
from ekman_expressions.study.experiment import Experiment

_COLUMNS = ("file", "where", "column", "expected", "tolerance", "kind")
_KINDS = ("deterministic", "stochastic")
_DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Comparison:
    """The rows of a table of expected numbers, with ``obtained`` (NaN if missing), ``ok`` and ``reason``."""

    table: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether every number is within its tolerance."""
        return bool(self.table["ok"].all())

    def summary(self) -> str:
        """Return the comparison as text: how many numbers are as expected, then each of them."""
        lines = [f"{self.table['ok'].sum()} of {len(self.table)} numbers as expected"]
        for row in self.table.itertuples():
            where = f" [{row.where}]" if row.where else ""
            lines.append(
                f"  {row.file}{where} {row.column}: expected {row.expected:g} ± {row.tolerance:g} "
                f"({row.kind}), obtained {row.obtained:g}: {'ok' if row.ok else row.reason or 'DIFFERS'}"
            )
        return "\n".join(lines)


def compare(experiment: Experiment, table: Path | str | None = None) -> Comparison:
    """Compare an experiment's numbers with those of a table; default: the one of the preset of its name.

    Raises
    ------
    MissingError
        If there is no such table. An obtained number that is not there is no error, but differs.
    DataError
        If the table is not as it must be.
    """
    rows = []
    for row in _read(table_path(experiment.name) if table is None else Path(table)).itertuples(index=False):
        obtained, reason = math.nan, ""
        try:
            obtained = _obtained(experiment, row.file, row.where, row.column)
        except (EkmanExpressionsError, OSError) as error:
            reason = str(error)
        ok = bool(abs(obtained - row.expected) <= row.tolerance)
        rows.append({**row._asdict(), "obtained": obtained, "ok": ok, "reason": reason})
    return Comparison(pd.DataFrame(rows, columns=[*_COLUMNS, "obtained", "ok", "reason"]))


def update(experiment: Experiment, table: Path) -> None:
    """Write the obtained numbers into a table as those that are expected from now on."""
    found = compare(experiment, table).table
    absent = found[found["obtained"].isna()]
    if len(absent):
        raise DataError(f"{table} is left as it was: {absent['reason'].iloc[0] or 'a number is NaN'}")
    write_csv(table, found.assign(expected=found["obtained"])[list(_COLUMNS)])


def table_path(name: str) -> Path:
    """Return the table that comes with the package for a preset, or raise `MissingError`."""
    path = _DATA / f"expected_{name}.csv"
    if not path.is_file():
        there = sorted(item.stem.removeprefix("expected_") for item in _DATA.glob("expected_*.csv"))
        raise MissingError(
            f"No expected numbers come with the package for {name!r}, only for {', '.join(there)}. "
            "Name a table of your own with --table."
        )
    return path


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise MissingError(f"There is no table of expected numbers {path}.")
    texts = dict.fromkeys(("file", "where", "column", "kind"), str)
    table = read_csv(path, _COLUMNS, dtype=texts, keep_default_na=False)
    for column in ("expected", "tolerance"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
        if table[column].isna().any():
            raise DataError(f"{path} has a cell of the column {column} that is no number.")
    if strange := sorted(set(table["kind"]) - set(_KINDS)):
        raise DataError(f"{path} has the kind {', '.join(strange)}. Allowed are {', '.join(_KINDS)}.")
    return table


def _obtained(experiment: Experiment, file: str, where: str, column: str) -> float:
    path = experiment.root / file.replace("{name}", experiment.name)
    if not path.is_file():
        raise MissingError(f"there is no {path}")
    conditions = dict(condition.split("=", 1) for condition in where.split(";") if condition)
    rows = read_csv(path, (*conditions, *([] if column == "rows" else [column])))
    for name, value in conditions.items():
        rows = rows[rows[name].astype(str) == value]
    if column == "rows":
        return float(len(rows))
    if rows.empty:
        raise DataError(f"{path} has no row with {where}")
    return float(rows[column].mean())
