"""An experiment on disk against its run.json files, and its numbers against expected ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
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
        by_kind: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        for path, (kind, reason) in self.findings.items():
            by_kind[kind].append(f"  {kind}: {path}: {reason}")
        counts = ", ".join(f"{len(found)} {kind}" for kind, found in by_kind.items())
        lines = [f"{self.files} files: {counts}"]
        for kind, found in by_kind.items():
            lines += found[:_SHOWN]
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
    roots = {step.folder_of(experiment.explained_by("lime")) for step in steps.values()}
    roots.add(experiment.results_folder)
    files = sorted({path for root in roots for path in root.rglob("*") if path.is_file()})
    entries: dict[Path, dict[str, Any]] = {}
    for path in files:
        if path.name == "run.json":
            try:
                entries[path.parent] = _read_entry(path)
            except DataError as error:
                report.findings[path] = ("damaged", str(error))
    for folder, (by, step) in _folders(experiment, steps).items():
        if folder in entries:
            _check_entry(by, step, steps, folder, entries[folder], report)
        else:
            report.findings.setdefault(
                folder / "run.json", ("missing", f"the step '{step.name}' has not run")
            )
    for path in {path for root in roots for path in leftovers(root)}:
        report.findings[path] = ("damaged", "not finished: a run is writing it, or was killed")
    outputs = {
        folder / name: output["sha256"]
        for folder, entry in entries.items()
        for name, output in entry["outputs"].items()
    }
    for path in sorted(outputs.keys() - set(files)):
        report.findings.setdefault(path, ("missing", "run.json names it"))
    executed = experiment.results_folder / "notebooks"
    for path in tqdm(files, desc="Reading files", unit="file"):
        if path.name == "run.json" or path.name.startswith(".") or executed in path.parents:
            continue
        report.files += 1
        if path not in outputs:
            report.findings.setdefault(path, ("foreign", "no run.json names it"))
        elif (reason := _damage(path, outputs[path])) is not None:
            report.findings.setdefault(path, ("damaged", reason))
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


def _check_entry(
    experiment: Experiment,
    step: Step,
    steps: Mapping[str, Step],
    folder: Path,
    entry: Mapping[str, Any],
    report: _Report,
) -> None:
    if entry.get("omissions"):
        report.omissions.setdefault(step.name, []).extend(_by_reason(entry["omissions"]))
    reason = f"the step '{step.name}' was stopped before its end"
    if entry["end"] is not None:
        try:
            options = {name: value for name, value in entry["choices"].items() if name not in step.choices}
            changed = _State(experiment, step, steps, options).changed
            reason = f"changed since it was made: {', '.join(changed)}" if changed else ""
        except MissingError:
            # What it was made from is missing where it lies.
            reason = ""
        except EkmanExpressionsError as error:
            reason = str(error)
    if reason:
        report.findings[folder / "run.json"] = ("stale", reason)


def _damage(path: Path, expected: str) -> str | None:
    try:
        return None if sha256(path) == expected else "it has changed since it was made"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


_COLUMNS = ("file", "where", "column", "expected", "tolerance", "kind")


@dataclass(frozen=True)
class _Comparison:
    """Expected numbers beside the obtained ones (NaN: missing): the `_COLUMNS`, then ``obtained, ok,
    reason``.
    """

    table: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether every number is within its tolerance."""
        return bool(self.table["ok"].all())

    def summary(self) -> str:
        """Return the comparison as text, a line per number."""
        lines = [f"{int(self.table['ok'].sum())} of {len(self.table)} numbers as expected"]
        for row in self.table.itertuples():
            where = f" [{row.where}]" if row.where else ""
            verdict = "ok" if row.ok else row.reason or "DIFFERS"
            lines.append(
                f"  {row.file}{where} {row.column}: expected {row.expected:g} ± {row.tolerance:g} ({row.kind}), "
                f"obtained {row.obtained:g}: {verdict}"
            )
        return "\n".join(lines)


def _expected_path(name: str) -> Path:
    """Return the table that comes with the package for a preset, or raise `MissingError`."""
    folder = resources.files("ekman_expressions").joinpath("data")
    path = Path(str(folder.joinpath(f"expected_{name}.csv")))
    if not path.is_file():
        there = sorted(item.name[9:-4] for item in folder.iterdir() if item.name.startswith("expected_"))
        raise MissingError(
            f"No expected numbers come with the package for {name!r}, only for {', '.join(there)}. "
            "Name a table of your own with --table."
        )
    return path


def compare_numbers(experiment: Experiment, table: Path | str | None = None) -> _Comparison:
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
    wanted = _read_expected(_expected_path(experiment.name) if table is None else Path(table))
    obtained, reasons = [], []
    for row in wanted.itertuples(index=False):
        try:
            obtained.append(_obtained(experiment, row.file, row.where, row.column))
            reasons.append("")
        except (EkmanExpressionsError, OSError) as error:
            obtained.append(math.nan)
            reasons.append(str(error))
    found = wanted[list(_COLUMNS)].assign(obtained=obtained, reason=reasons)
    found["ok"] = (found["obtained"] - found["expected"]).abs() <= found["tolerance"]
    return _Comparison(found)


def _update_numbers(experiment: Experiment, table: Path) -> None:
    """Write the obtained numbers into a table as those that are expected from now on."""
    found = compare_numbers(experiment, table)
    absent = found.table[found.table["obtained"].isna()]
    if len(absent):
        raise DataError(f"{table} is left as it was: {absent['reason'].iloc[0] or 'a number is NaN'}")
    write_csv(table, found.table.assign(expected=found.table["obtained"])[list(_COLUMNS)])


def _read_expected(path: Path) -> pd.DataFrame:
    """Read a table of expected numbers, and check it."""
    if not path.is_file():
        raise MissingError(f"There is no table of expected numbers {path}.")
    table = read_csv(path, _COLUMNS, dtype=str, keep_default_na=False)
    for column in ("expected", "tolerance"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
        if table[column].isna().any():
            raise DataError(f"{path} has a cell of the column {column} that is no number.")
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
