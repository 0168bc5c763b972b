"""An experiment on disk against its run.json files, and its numbers against expected ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, EkmanExpressionsError, MissingError
from ekman_expressions.core.files import leftovers, read_csv, sha256, write_csv
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import _by_reason, _read_entry
from ekman_expressions.study.steps import STEPS, Step, _owner, _State

_KINDS = ("missing", "stale", "foreign", "damaged")
"""What can be wrong with a file: not there, made from something else than there is now, named by no
run.json, or other than when it was made."""

_SHOWN = 20


@dataclass(kw_only=True)
class _Report:
    """What `check` found: by path kind (`_KINDS`) and reason; by step what it left out; files seen."""

    findings: dict[Path, tuple[str, str]] = field(default_factory=dict)
    omissions: dict[str, list[str]] = field(default_factory=dict)
    files: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def summary(self) -> str:
        """Return a report to read: counts, the first findings of each kind, omissions by reason."""
        kinds = Counter(kind for kind, _ in self.findings.values())
        lines = [f"{self.files} files: {', '.join(f'{kinds[kind]} {kind}' for kind in _KINDS)}"]
        for kind in _KINDS:
            found = [(path, reason) for path, (of, reason) in self.findings.items() if of == kind]
            lines += [f"  {kind}: {path}: {reason}" for path, reason in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  {kind}: ... and {len(found) - _SHOWN} more")
        for step, reasons in self.omissions.items():
            lines += [f"  left out by '{step}', {reason}" for reason in reasons]
        return "\n".join(lines)


def check(experiment: Experiment, steps: Mapping[str, Step] = STEPS) -> _Report:
    """Look at every file of an experiment, and change nothing.

    Each step's ``run.json`` is held against the settings and inputs as they are now, and each file
    that it names against the hash that it had when it was made. All other files are foreign.
    """
    report = _Report()
    findings = report.findings
    roots = {step.folder_of(experiment.explained_by("lime")) for step in steps.values()}
    roots.add(experiment.results_folder)
    files = sorted({path for root in roots for path in root.rglob("*") if path.is_file()})
    entries: dict[Path, dict[str, Any]] = {}
    for path in files:
        if path.name == "run.json":
            try:
                entries[path.parent] = _read_entry(path)
            except DataError as error:
                findings[path] = ("damaged", str(error))
    for folder, (by, step) in _folders(experiment, steps).items():
        if (entry := entries.get(folder)) is None:
            findings.setdefault(folder / "run.json", ("missing", f"the step '{step.name}' has not run"))
            continue
        report.omissions.setdefault(step.name, []).extend(_by_reason(entry.get("omissions", ())))
        if reason := _why_stale(by, step, steps, entry):
            findings[folder / "run.json"] = ("stale", reason)
    for path in {path for root in roots for path in leftovers(root)}:
        findings[path] = ("damaged", "not finished: a run is writing it, or was killed")
    outputs = {
        folder / name: output["sha256"]
        for folder, entry in entries.items()
        for name, output in entry["outputs"].items()
    }
    for path in sorted(outputs.keys() - set(files)):
        findings.setdefault(path, ("missing", "run.json names it"))
    executed = experiment.results_folder / "notebooks"
    for path in tqdm(files, desc="Reading files", unit="file"):
        if path.name == "run.json" or path.name.startswith(".") or executed in path.parents:
            continue
        report.files += 1
        if path not in outputs:
            findings.setdefault(path, ("foreign", "no run.json names it"))
            continue
        try:
            if sha256(path) != outputs[path]:
                findings.setdefault(path, ("damaged", "it has changed since it was made"))
        except OSError as error:
            findings.setdefault(path, ("damaged", f"it cannot be read ({error.strerror})"))
    return report


def _folders(experiment: Experiment, steps: Mapping[str, Step]) -> dict[Path, tuple[Experiment, Step]]:
    """Return the folders of all steps that have something to do, of other explainers too, and whose they are."""
    pairs, found = [], {}
    for step in steps.values():
        # What cannot be told is told where the step that is lacking is missing.
        with suppress(EkmanExpressionsError):
            if not step.idle(experiment):
                pairs.append((experiment, step))
    for name in experiment.explainers[1:]:
        by = experiment.explained_by(name)
        pairs += [(by, steps[each]) for step in steps.values() for each in step.first]
    for by, step in pairs:
        owner = _owner(by, step)
        found.setdefault(step.folder_of(owner), (owner, step))
    return found


def _why_stale(by: Experiment, step: Step, steps: Mapping[str, Step], entry: Mapping[str, Any]) -> str:
    if entry["end"] is None:
        return f"the step '{step.name}' was stopped before its end"
    try:
        options = {name: value for name, value in entry["choices"].items() if name not in step.choices}
        changed = _State(by, step, steps, options).changed
    except MissingError:
        # What it was made from is missing where it lies.
        return ""
    except EkmanExpressionsError as error:
        return str(error)
    return f"changed since it was made: {', '.join(changed)}" if changed else ""


_COLUMNS = ("file", "where", "column", "expected", "tolerance", "kind")
_OF_PACKAGE = Path(__file__).parents[1] / "data"


def compare_numbers(experiment: Experiment, table: Path | str | None = None) -> pd.DataFrame:
    """Compare an experiment's numbers with those that are expected.

    Parameters
    ----------
    experiment : Experiment
        The settings and folders.
    table : Path, optional
        A table of expected numbers; default: the one that comes with the package for the experiment's name.

    Returns
    -------
    DataFrame
        The expected numbers, then ``obtained`` (NaN: missing), ``reason`` (why it is missing), and ``ok``:
        whether the number is within its tolerance.

    Raises
    ------
    MissingError
        If there is no such table.
    DataError
        If the table is not as it must be. A number that is not there is no error, but differs.
    """
    wanted = _read_expected(_OF_PACKAGE / f"expected_{experiment.name}.csv" if table is None else Path(table))
    obtained, reasons = [], []
    for row in wanted.itertuples(index=False):
        try:
            obtained.append(_obtained(experiment, row.file, row.where, row.column))
            reasons.append("")
        except (EkmanExpressionsError, OSError) as error:
            obtained.append(math.nan)
            reasons.append(str(error))
    found = wanted.assign(obtained=obtained, reason=reasons)
    found["ok"] = (found["obtained"] - found["expected"]).abs() <= found["tolerance"]
    return found


def _render(numbers: pd.DataFrame) -> str:
    """Return a comparison as text, a line per number."""
    lines = [f"{numbers['ok'].sum()} of {len(numbers)} numbers as expected"]
    for row in numbers.itertuples():
        where = f" [{row.where}]" if row.where else ""
        verdict = "ok" if row.ok else row.reason or "DIFFERS"
        lines.append(
            f"  {row.file}{where} {row.column}: expected {row.expected:g} ± {row.tolerance:g} ({row.kind}), "
            f"obtained {row.obtained:g}: {verdict}"
        )
    return "\n".join(lines)


def _update_numbers(experiment: Experiment, table: Path) -> None:
    """Write the obtained numbers into a table as those that are expected from now on."""
    found = compare_numbers(experiment, table)
    absent = found["reason"][found["obtained"].isna()]
    if len(absent):
        raise DataError(f"{table} is left as it was: {absent.iloc[0] or 'a number is NaN'}")
    write_csv(table, found.assign(expected=found["obtained"])[list(_COLUMNS)])


def _read_expected(path: Path) -> pd.DataFrame:
    """Read a table of expected numbers, and check it."""
    if not path.is_file():
        tables = sorted(_OF_PACKAGE.glob("expected_*.csv"))
        known = ", ".join(table.stem.removeprefix("expected_") for table in tables)
        raise MissingError(
            f"There is no table of expected numbers {path}. The package has some only for {known}; name a "
            "table of your own with --table."
        )
    table = read_csv(path, _COLUMNS, dtype=str, keep_default_na=False)[list(_COLUMNS)]
    for column in ("expected", "tolerance"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
        if table[column].isna().any():
            raise DataError(f"{path} has a cell of the column {column} that is no number.")
    return table


def _obtained(experiment: Experiment, file: str, where: str, column: str) -> float:
    path = experiment.root / file.replace("{name}", experiment.name)
    if not path.is_file():
        raise MissingError(f"there is no {path}")
    conditions = dict(condition.partition("=")[::2] for condition in where.split(";") if condition)
    rows = read_csv(path, (*conditions, *(() if column == "rows" else (column,))))
    rows = rows[(rows[list(conditions)].astype(str) == list(conditions.values())).all(axis=1)]
    if column == "rows":
        return float(len(rows))
    if rows.empty:
        raise DataError(f"{path} has no row with {where}")
    return float(rows[column].mean())
