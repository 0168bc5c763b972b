"""run.json beside every artefact folder: how it came about, and the refusal to mix settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ekman_expressions.core.errors import ConflictError, DataError, MissingError
from ekman_expressions.core.files import hash_of, read_json, remove_leftovers, require, sha256, write_json
from ekman_expressions.study.environment import environment
from ekman_expressions.study.experiment import Experiment

_SHOWN = 5
"""Items named for each reason in a summary; all are in run.json."""


class Run:
    """What one step did, gathered while it runs; see `record`.

    Attributes
    ----------
    finished_before : bool
        Whether an earlier run of the step had come to its end with the same inputs.
    done, skipped : int
        Items made now, and items found done.
    omissions : list of dict
        ``{"item": ..., "reason": ...}`` for each item that was left out.
    notes : list of str
        What else a reader should know, e.g. that a fold lacks an expression.
    """

    def __init__(
        self, *, finished_before: bool = False, write_start: Callable[[], None] = lambda: None
    ) -> None:
        self.finished_before = finished_before
        self.begun = False
        self._write_start = write_start
        self.done = 0
        self.skipped = 0
        self.omissions: list[dict[str, str]] = []
        self.notes: list[str] = []

    def begin(self) -> None:
        """Say that artefacts are about to change: from here to its end the step counts as unfinished.

        To be called by a step that had come to its end before and still has something to do.
        """
        if not self.begun:
            self._write_start()
            self.begun = True

    def omit(self, item: str, reason: object) -> None:
        """Note that `item` was left out, and why."""
        self.omissions.append({"item": str(item), "reason": str(reason)})

    def note(self, text: str) -> None:
        """Keep a remark for the summary and for ``run.json``."""
        self.notes.append(text)

    def add(self, part: Run) -> None:
        """Take over what a part of the step did."""
        if part.begun:
            self.begin()
        self.done += part.done
        self.skipped += part.skipped
        self.omissions += part.omissions
        self.notes += part.notes

    def summary(self, what: str) -> str:
        """Say in one line what was done, skipped and left out; omissions and notes are listed."""
        parts = [f"{self.done} {what} made"]
        if self.skipped:
            parts.append(f"{self.skipped} found done")
        if self.omissions:
            parts.append(f"{len(self.omissions)} left out")
        lines = [", ".join(parts) + "."]
        lines += [f"  left out, {text}" for text in by_reason(self.omissions)]
        lines += [f"  note: {text}" for text in self.notes]
        return "\n".join(lines)


def by_reason(omissions: Iterable[Mapping[str, str]]) -> list[str]:
    """Say of each reason how many items were left out for it, and which, the most frequent first.

    Reasons that differ in nothing but the name of the item count as one.

    Examples
    --------
    >>> by_reason([{"item": "WeiNet_CV1 face_7", "reason": "face_7.png is damaged"}])
    ['1: face_7.png is damaged (WeiNet_CV1 face_7)']
    """
    groups: dict[str, list[Mapping[str, str]]] = {}
    for entry in omissions:
        alike = entry["reason"]
        for name in entry["item"].split():
            alike = alike.replace(name, "*")
        groups.setdefault(alike, []).append(entry)
    lines = []
    for alike, entries in sorted(groups.items(), key=lambda group: -len(group[1])):
        items = ", ".join(entry["item"] for entry in entries[:_SHOWN])
        more = ", ..." if len(entries) > _SHOWN else ""
        reason = entries[0]["reason"] if len(entries) == 1 else alike
        lines.append(f"{len(entries)}: {reason} ({items}{more})")
    return lines


def settings_of(experiment: Experiment, *parts: str) -> dict[str, Any]:
    """Return the seed and the named parts of the settings that determine results.

    Parameters
    ----------
    experiment : Experiment
        The settings.
    *parts : {'faces', 'training', 'models', 'explanation'}
        The parts on which the step's results depend.
    """
    settings: dict[str, Any] = {"seed": experiment.seed}
    for part in parts:
        if part == "models":
            settings[part] = {name: model.recorded() for name, model in experiment.models.items()}
        elif part == "training":
            settings[part] = experiment.training.recorded(experiment.trained_networks)
        else:
            settings[part] = getattr(experiment, part).recorded()
    return settings


@contextmanager
def record(
    folder: Path,
    step: str,
    settings: Mapping[str, Any],
    *,
    inputs: Mapping[str, Path] | None = None,
    upstream: Iterable[Path] = (),
    redo: bool = False,
) -> Iterator[Run]:
    """Keep ``run.json`` in `folder` while a step fills it.

    The file is written when the step starts, without an end, and again when it ends. A run
    that finds all done leaves the earlier file as it is.

    Parameters
    ----------
    folder : Path
        The artefact folder of the step.
    step : str
        The step's name.
    settings : dict
        JSON-able settings on which the artefacts depend.
    inputs : dict of str to Path
        Files that the artefacts were made from; their hashes are kept.
    upstream : iterable of Path
        Folders of earlier steps, whose settings must agree too.
    redo : bool
        What to do when inputs have changed since: False refuses, True lets the step make its
        artefacts again (``run.finished_before`` is False then).

    Raises
    ------
    ConflictError
        If the folder, or one upstream, was made with other settings, or (without `redo`)
        from other inputs; or (without `redo`) if it holds artefacts but no ``run.json``.
    MissingError
        If a step upstream was stopped before its end.
    """
    folder = Path(folder)
    path = folder / "run.json"
    settings = _plain(settings)
    hashes = {name: sha256(file) for name, file in (inputs or {}).items()}
    manifest = hashes.get("manifest")
    for earlier in upstream:
        if (earlier / "run.json").exists():
            entry = read_entry(earlier / "run.json")
            manifest = manifest or entry.get("manifest_hash")
            refuse_other_settings(earlier, entry, settings)
            require_finished(earlier, earlier.name)
    remove_leftovers(folder)
    before = read_entry(path) if path.exists() else None
    if before is None and not redo and folder.is_dir():
        # Such a step keeps what is there: it must know how that was made.
        found = [item.name for item in folder.iterdir() if not item.name.startswith(".")]
        if found:
            raise ConflictError(
                f"{folder} holds {len(found)} entries (such as {found[0]}), but no run.json that says how "
                f"they were made. Delete {folder} to make them again, or give the experiment another name."
            )
    # What earlier runs did for networks that are not asked for now stays on record.
    known = {"known_settings": settings, "known_inputs": hashes}
    same = False
    if before is not None:
        refuse_other_settings(folder, before, settings)
        old_inputs = before["known_inputs"]
        known = {
            "known_settings": _merged(before["known_settings"], settings),
            "known_inputs": old_inputs | hashes,
        }
        changed = [name for name, value in hashes.items() if old_inputs.get(name, value) != value]
        same = before["inputs"] == hashes and before["settings"] == settings
        if changed and not redo:
            raise ConflictError(
                f"{folder} was made from another version of {', '.join(changed)} "
                f"(its contents have changed since). Delete {folder} to make it again, "
                "or give the experiment another name."
            )
    start = datetime.now(UTC)
    entry = {
        "step": step,
        **environment(),
        "seed": settings.get("seed"),
        "settings": settings,
        "settings_hash": hash_of(settings),
        "manifest_hash": manifest,
        "inputs": hashes,
        **known,
        "start": start.isoformat(timespec="seconds"),
        "end": None,
    }
    run = Run(finished_before=same and before["end"] is not None, write_start=lambda: write_json(path, entry))
    if not run.finished_before:
        run.begin()
    yield run
    # Of workers that died meanwhile.
    remove_leftovers(folder)
    if not (run.begun or run.done):
        return
    seconds = (datetime.now(UTC) - start).total_seconds()
    if (folder / "manifest.csv").exists():
        entry["manifest_hash"] = sha256(folder / "manifest.csv")
    entry |= {
        "end": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "done": run.done,
        "skipped": run.skipped,
        "items_per_second": round(run.done / seconds, 3) if seconds > 0 else None,
        "omissions": run.omissions,
        "notes": run.notes,
    }
    write_json(path, entry)


def require_finished(folder: Path, step: str) -> Path:
    """Return a step's ``run.json``, or raise `MissingError` unless the step came to its end.

    For steps that read all that is there, and would take half of it for the whole.
    """
    path = require(Path(folder) / "run.json", step)
    entry = read_entry(path)
    if entry["end"] is None:
        raise MissingError(
            f"The step '{entry['step']}' was stopped before its end ({path}): run it again first."
        )
    return path


def read_entry(path: Path) -> dict[str, Any]:
    """Read a ``run.json``, or raise `DataError` if it is damaged or none of ours."""
    entry = read_json(path)
    texts, tables = ("step",), ("settings", "inputs", "known_settings", "known_inputs")
    if (
        isinstance(entry, dict)
        and "end" in entry
        and all(isinstance(entry.get(name), str) for name in texts)
        and all(isinstance(entry.get(name), dict) for name in tables)
    ):
        return entry
    raise DataError(
        f"{path} was not written by this version of the package. Delete {path.parent} to make it again, "
        "or give the experiment another name."
    )


def run_files(experiment: Experiment) -> dict[str, Path]:
    """Return the files on which an experiment's report depends, by their path below the root."""
    folders = (
        experiment.results_folder,
        experiment.root / "heatmaps" / experiment.name,
        experiment.barplots_folder,
        experiment.dendrograms_folder,
        experiment.models_folder,
        experiment.faces_folder,
    )
    paths = [path for folder in folders for path in sorted(folder.glob("**/run.json"))]
    paths += sorted(experiment.results_folder.glob("**/*.csv"))
    own = experiment.report_folder
    return {path.relative_to(experiment.root).as_posix(): path for path in paths if own not in path.parents}


def _plain(value: Any) -> Any:
    """Turn tuples into lists, as JSON would, so that stored and given settings compare equal."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(old.get(key), Mapping)
        merged[key] = _merged(old[key], value) if both else value
    return merged


def other_settings(entry: Mapping[str, Any], settings: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return each setting that differs from a ``run.json``'s: its name, the value there, and the one now.

    Only settings that both have are compared: a network may be added to an experiment.
    """
    old, new = _flat(entry["known_settings"]), _flat(_plain(settings))
    return [(key, old[key], new[key]) for key in sorted(old.keys() & new.keys()) if old[key] != new[key]]


def refuse_other_settings(folder: Path, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise `ConflictError` if a folder's ``run.json``, read as `before`, and `settings` disagree."""
    for key, old, new in other_settings(before, settings):
        raise ConflictError(
            f"{folder} was made with {key} = {old!r}, but the experiment now says "
            f"{new!r}. Either give the experiment another name, or delete {folder} "
            "to make it again."
        )
