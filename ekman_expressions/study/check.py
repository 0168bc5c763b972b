"""An experiment on disk against its run.json files, and its numbers against expected ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
from ekman_expressions.study.explainers import compared
from ekman_expressions.study.provenance import _by_reason, _other_settings, _read_entry, _settings_of
from ekman_expressions.study.runner import _choices_of, _holder, _inputs_of, _owner, folder_of
from ekman_expressions.study.steps import STEPS, Step

_KINDS = ("missing", "stale", "foreign", "damaged")
"""What can be wrong with a file: not there, made from something else than there is now, named by no
run.json, or other than when it was made."""

_SHOWN = 20


@dataclass(kw_only=True)
class _Report:
    """What `check` found: by path kind (`_KINDS`) and reason; by step what it left out; files seen; notes."""

    findings: dict[Path, tuple[str, str]] = field(default_factory=dict)
    omissions: dict[str, list[str]] = field(default_factory=dict)
    files: int = 0
    notes: list[str] = field(default_factory=list)

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
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def check(experiment: Experiment, steps: Mapping[str, Step] = STEPS) -> _Report:
    """Look at every file of an experiment, and change nothing.

    Each step's ``run.json`` is held against the settings and inputs as they are now, and each file
    that it names against the hash that it had when it was made. All other files are foreign.
    """
    report = _Report()
    if (run := _holder(experiment)) is not None:
        report.notes.append(
            f"a run holds the lock (process {run.get('pid')} on {run.get('host')}): what it writes now may "
            "count as foreign, and its temporary files are passed over"
        )
    outputs: dict[Path, str] = {}
    seen: set[Path] = set()
    for by, step in _steps_to_check(experiment, steps):
        folder = folder_of(by, step)
        if folder not in seen:
            seen.add(folder)
            entry = _read(folder / "run.json", report, f"the step '{step.name}' has not run")
            if entry is not None:
                _check_entry(by, step, steps, folder, entry, report)
                outputs |= {folder / name: output["sha256"] for name, output in entry["outputs"].items()}
    roots = {folder_of(experiment.explained_by("lime"), step) for step in steps.values()}
    roots |= {experiment.results_folder, *seen}
    files = {path for root in roots for path in root.rglob("*") if path.is_file()}
    for path in sorted(files):
        if path.name == "run.json" and path.parent not in seen:
            # Of an explainer that is not compared any more.
            entry = _read(path, report)
            if entry is not None:
                outputs |= {path.parent / name: output["sha256"] for name, output in entry["outputs"].items()}
    for path in (path for root in roots if run is None for path in leftovers(root)):
        report.findings[path] = ("damaged", "left behind by a run that was killed; the next one removes it")
    for path in sorted(outputs.keys() - files):
        report.findings.setdefault(path, ("missing", "run.json names it"))
    executed = experiment.results_folder / "notebooks"
    for path in tqdm(sorted(files), desc="Reading files", unit="file"):
        if path.name == "run.json" or path.name.startswith(".") or executed in path.parents:
            continue
        report.files += 1
        if path not in outputs:
            report.findings.setdefault(path, ("foreign", "no run.json names it"))
        elif (reason := _damage(path, outputs[path])) is not None:
            report.findings.setdefault(path, ("damaged", reason))
    return report


def _steps_to_check(experiment: Experiment, steps: Mapping[str, Step]) -> Iterator[tuple[Experiment, Step]]:
    for step in steps.values():
        # What cannot be told is told where the step that is lacking is missing.
        with suppress(EkmanExpressionsError):
            if step.idle is None or not step.idle(experiment):
                yield _owner(experiment, step), step
    for name in compared(experiment)[1:]:
        by = experiment.explained_by(name)
        yield from ((_owner(by, steps[each]), steps[each]) for step in steps.values() for each in step.first)


def _read(path: Path, report: _Report, reason: str = "") -> dict[str, Any] | None:
    if not path.exists():
        report.findings[path] = ("missing", reason)
        return None
    try:
        return _read_entry(path)
    except DataError as error:
        report.findings[path] = ("damaged", str(error))
        return None


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
    reasons = []
    if entry["end"] is None:
        reasons.append(f"the step '{step.name}' was stopped before its end")
    now = _settings_of(experiment, *step.settings)
    for key, old, new in _other_settings(entry, now):
        reasons.append(f"made with {key} = {old!r}, but the experiment now says {new!r}")
    for key, new in _choices_of(experiment, step).items():
        if (old := entry["choices"].get(key)) != new:
            reasons.append(f"made with {key} = {old!r}, but the experiment now says {new!r}")
    if not reasons:
        # A step that has not run is missing, and one of other settings stale, where it lies.
        with suppress(EkmanExpressionsError):
            inputs = _inputs_of(experiment, step, steps)
            changed = sorted(
                name
                for name in inputs.keys() | entry["inputs"]
                if inputs.get(name) != entry["inputs"].get(name)
            )
            if changed:
                reasons.append(f"made from another version of {', '.join(changed)}")
    if reasons:
        report.findings[folder / "run.json"] = ("stale", "; ".join(reasons))


def _damage(path: Path, expected: str) -> str | None:
    try:
        return None if sha256(path) == expected else "it has changed since it was made"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


_COLUMNS = ("file", "where", "column", "expected", "tolerance", "kind")
_NUMBER_KINDS = ("deterministic", "stochastic")


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
    wanted = _read_expected(expected_path(experiment.name) if table is None else Path(table))
    rows = []
    for row in wanted.itertuples(index=False):
        obtained, reason = math.nan, ""
        try:
            obtained = _obtained(experiment, row.file, row.where, row.column)
        except (EkmanExpressionsError, OSError) as error:
            reason = str(error)
        ok = bool(abs(obtained - row.expected) <= row.tolerance)
        rows.append({**row._asdict(), "obtained": obtained, "ok": ok, "reason": reason})
    return _Comparison(pd.DataFrame(rows, columns=[*_COLUMNS, "obtained", "ok", "reason"]))


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
    texts = dict.fromkeys(("file", "where", "column", "kind"), str)
    table = read_csv(path, _COLUMNS, dtype=texts, keep_default_na=False)
    for column in ("expected", "tolerance"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
        if table[column].isna().any():
            raise DataError(f"{path} has a cell of the column {column} that is no number.")
    strange = sorted(set(table["kind"]) - set(_NUMBER_KINDS))
    if strange:
        raise DataError(f"{path} has the kind {', '.join(strange)}. Allowed are {', '.join(_NUMBER_KINDS)}.")
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
