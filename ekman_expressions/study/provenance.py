"""run.json beside every artefact folder: how it came about, and the refusal to mix settings."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from ekman_expressions.core.errors import (
    ConflictError,
    DataError,
    EkmanExpressionsError,
    MissingError,
    ModelError,
    SettingsError,
)
from ekman_expressions.core.files import read_csv, read_json, require, sha256, write_csv
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.faces.landmarks import _find_model
from ekman_expressions.study.experiment import Experiment

_SHOWN = 5
"""Items named for each reason in a summary; all are in run.json."""

_OF_ITS_OWN = (DataError, ModelError, MissingError)
"""Errors that concern one model or face; others concern all that is to come."""

_Output = dict[str, Any]
"""What run.json keeps of a file: ``sha256``; ``size`` in bytes and ``mtime_ns``, as long as which agree
the file is not hashed again."""


@dataclass(eq=False)
class Run:
    """What one step did, gathered while it runs.

    A step's function says of each of its files whether it was made or found done, and why items are left out.
    """

    folder: Path | None = None
    """The step's folder; None for a part of a step."""
    resumed: bool = False
    """Whether the files that are there were made with the same settings from the same inputs."""
    known: Mapping[Path, _Output] = field(default_factory=dict, repr=False)
    """The step's files as the last run left them."""
    on_change: Callable[[], None] | None = field(default=None, repr=False)
    """Called when files of the step change: from then to its end it counts as unfinished."""
    done: int = 0
    """Items made now."""
    skipped: int = 0
    """Items found done."""
    omissions: list[dict[str, str]] = field(default_factory=list)
    """``{"item": ..., "reason": ...}`` for each item that was left out."""
    notes: list[str] = field(default_factory=list)
    """What else a reader should know, e.g. that a fold lacks an expression."""
    outputs: dict[Path, _Output | None] = field(default_factory=dict)
    """The files of the step; None where the file is as the last run left it."""

    def made(self, *paths: Path, items: int = 1) -> None:
        """Register files that were written now: together one item, or `items`."""
        self.done += items
        self._register({path: _described(path) for path in paths})

    def write(self, folder: Path, tables: Mapping[str, pd.DataFrame], items: int = 0) -> None:
        """Write tables into ``<name>.csv``, and register the files."""
        for name, table in tables.items():
            write_csv(folder / f"{name}.csv", table)
            self.made(folder / f"{name}.csv", items=items)

    def kept(self, *paths: Path, items: int = 1) -> None:
        """Register files that were found done."""
        self.skipped += items
        self._register(dict.fromkeys(paths))

    def omit(self, item: str, reason: object, *paths: Path) -> None:
        """Note that `item` was left out, and why; its files of an earlier run, `paths`, are removed."""
        self.omissions.append({"item": str(item), "reason": str(reason)})
        for path in paths:
            path.unlink(missing_ok=True)

    @contextmanager
    def omits(self, item: str, *also: type[Exception]) -> Iterator[None]:
        """Leave `item` out if the block raises one of `_OF_ITS_OWN`, or of `also`."""
        try:
            yield
        except (*_OF_ITS_OWN, *also) as error:
            self.omit(item, error)

    def note(self, text: str) -> None:
        """Keep a remark for the summary and for ``run.json``."""
        self.notes.append(text)

    def add(self, part: Run) -> None:
        """Take over what a part of the step did."""
        self.done += part.done
        self.skipped += part.skipped
        self.omissions += part.omissions
        self.notes += part.notes
        self._register(part.outputs)

    def _register(self, outputs: Mapping[Path, _Output | None]) -> None:
        self.outputs |= outputs
        if self.on_change and not _hashes(outputs).items() <= _hashes(self.known).items():
            self.on_change()

    def summary(self, what: str) -> str:
        """Say in one line what was done, skipped and left out; omissions and notes are listed."""
        parts = [f"{self.done} {what} made"]
        if self.skipped:
            parts.append(f"{self.skipped} found done")
        if self.omissions:
            parts.append(f"{len(self.omissions)} left out")
        lines = [", ".join(parts) + "."]
        lines += [f"  left out, {text}" for text in _by_reason(self.omissions)]
        lines += [f"  note: {text}" for text in self.notes]
        return "\n".join(lines)


def _by_reason(omissions: Iterable[Mapping[str, str]]) -> list[str]:
    """Say for each reason (names in it do not count), most frequent first, which items were left out."""
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


def _settings_of(experiment: Experiment, *parts: str) -> dict[str, Any]:
    """Return the seed and the named parts of the settings: ``records`` are those of explanations without
    LIME's regression; others than sections are single settings, ``explanation.positives``. Nothing without parts.
    """
    settings: dict[str, Any] = {"seed": experiment.seed} if parts else {}
    for part in parts:
        section, _, name = part.partition(".")
        if name:
            settings[section] = {name: getattr(getattr(experiment, section), name)}
        elif part == "models":
            settings[part] = {name: model.recorded() for name, model in experiment.models.items()}
        elif part == "records":
            settings["explanation"] = experiment.explanation.recorded()
            for name in ("kernel_width", "alpha"):
                settings["explanation"].pop(name, None)
        elif part == "training":
            settings[part] = experiment.training.recorded(experiment.trained_networks)
        else:
            settings[part] = getattr(experiment, part).recorded()
    return _plain(settings)


def _plain(value: Any) -> Any:
    """Turn tuples into lists, as JSON does, so that stored and given settings compare equal."""
    return json.loads(json.dumps(value))


def _described(path: Path, known: _Output | None = None) -> _Output:
    """Return what run.json keeps of a file; it is read only if it seems to differ from what is `known`."""
    status = path.stat()
    now = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    if known and known == {**known, **now}:
        return known
    return {"sha256": sha256(path), **now}


def _hashes(outputs: Mapping[Path, _Output | None]) -> dict[Path, str]:
    """Return the hash of each file of which it is known."""
    return {path: output["sha256"] for path, output in outputs.items() if output}


def _hash_now(path: Path, output: _Output) -> str | None:
    """Return the hash of a file as it is now, None without it."""
    return _described(path, output)["sha256"] if path.exists() else None


_ENTRY = {"step", "end", "settings", "choices", "inputs", "known_settings", "known_inputs", "outputs"}


def _read_entry(path: Path) -> dict[str, Any]:
    """Read a ``run.json``, or raise `DataError` if it is damaged or none of ours."""
    entry = read_json(path)
    if isinstance(entry, dict) and entry.keys() >= _ENTRY:
        return entry
    raise DataError(
        f"{path} was not written by this version of the package. Delete {path.parent} to make it again, "
        "or give the experiment another name."
    )


def _finished_entry(folder: Path, step: str) -> dict[str, Any]:
    """Read a step's ``run.json``, or raise `MissingError` unless the step came to its end."""
    path = require(folder / "run.json", step)
    entry = _read_entry(path)
    if entry["end"] is None:
        raise MissingError(f"The step '{entry['step']}' was stopped before its end ({path}): run it again first.")
    return entry


def _joined(parts: Iterable[pd.DataFrame], columns: Iterable[str]) -> pd.DataFrame:
    """Join tables, of which some or all may be empty, and put their columns in order."""
    columns, filled = list(columns), [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True)[columns] if filled else pd.DataFrame(columns=columns)


_TEXTS = ("network", "fold", "image_id", "subject", "expression", "predicted")


def read_results(experiment: Experiment, step: str, name: str, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read one of the tables that a step has written, such as ``"scores", "scores_by_fold"``.

    Parameters
    ----------
    experiment : Experiment
        With the explainer whose results are read; see `Experiment.explained_by`.
    step : str
        Name of the step in `STEPS`.
    name : str
        Name of the file in the step's folder, without ``.csv``.
    columns : tuple of str
        Columns that the table must have.

    Raises
    ------
    SettingsError
        If there is no such step.
    MissingError
        If the step has not written the table.
    DataError
        If the table is damaged or lacks columns.

    Examples
    --------
    >>> read_results(Experiment.preset("demo"), "evaluation", "accuracy")  # doctest: +SKIP
    """
    folder = getattr(experiment, "comparison_folder" if step == "explainers" else f"{step}_folder", None)
    if folder is None:
        raise SettingsError(f"No step {step!r} writes tables. Names are 'evaluation', 'scores', 'statistics' ...")
    tables = sorted(path.stem for path in folder.glob("*.csv"))
    if tables and not (folder / f"{name}.csv").exists():
        raise MissingError(f"{folder} has no table {name!r}. It has {', '.join(tables)}.")
    # Texts stay texts: "NA" may be an image, and "007" is not 7.
    options = {"dtype": dict.fromkeys(_TEXTS, str), "keep_default_na": False, "na_values": [""]}
    return read_csv(require(folder / f"{name}.csv", step), columns, **options)


def _refuse_other_settings(folder: Path, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise `ConflictError` if a folder's ``run.json``, read as `before`, and `settings` disagree."""
    old, new = _flat(before["known_settings"]), _flat(settings)
    if others := [key for key in sorted(old.keys() & new.keys()) if old[key] != new[key]]:
        key = others[0]
        raise ConflictError(
            f"{folder} was made with {key} = {old[key]!r}, but the experiment now says "
            f"{new[key]!r}. Either give the experiment another name, or delete {folder} "
            "to make it again."
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their whole names, ``training.batch_size``."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


_LIBRARIES = """
    tensorflow keras numpy scipy pandas opencv-python scikit-image scikit-learn pillow mediapipe lime matplotlib
    onnxruntime torch distributed
""".split()
_VARIABLES = ("EKMAN_", "TF_", "CUDA_", "KERAS_", "OMP_", "OPENBLAS_", "MKL_", "DASK_", "SLURM_", "XLA_")


def _environment() -> dict[str, Any]:
    """Return versions, platform and device: what a reader needs to judge or repeat a run."""
    # Asking TensorFlow would import it; a step that has not done so ran on the CPU.
    tensorflow = sys.modules.get("tensorflow")
    gpus = tensorflow.config.list_physical_devices("GPU") if tensorflow else []
    return {
        "package_version": _version("ekman_expressions"),
        "git": _git_state(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "platform": platform.platform(),
        "device": ", ".join(gpu.name for gpu in gpus) or f"CPU ({platform.machine()})",
    }


def info() -> dict[str, Any]:
    """Return all that a bug report needs: versions, platform, device, the machine, and what the package finds on it.

    Of environment variables only those that bear on the package and its libraries are named.
    """
    start_tensorflow()
    found = _environment()
    variables = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)]
    try:
        landmark_model = _find_model()
    except (EkmanExpressionsError, OSError) as error:
        landmark_model = f"not found ({error})"
    return {
        "ekman_expressions": found["package_version"],
        "commit": found["git"] or "no checkout",
        "installed in": Path(__file__).resolve().parent,
        "python": f"{found['python']} ({sys.executable})",
        "platform": f"{found['platform']}, {os.cpu_count()} cores",
        "device": found["device"],
        "landmark model": landmark_model,
        "root": Experiment.find_root(),
        "libraries": ", ".join(f"{name} {version}" for name, version in found["libraries"].items()),
        "environment": ", ".join(variables) or "nothing set",
    }


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the package's checkout and whether it has changes; None where it is installed."""
    here = Path(__file__).resolve()
    commands = (["ls-files", here.name], ["rev-parse", "HEAD"], ["status", "--porcelain"])
    run = {"cwd": here.parent, "capture_output": True, "text": True, "check": True, "timeout": 10}
    try:
        said = [subprocess.run(["git", *command], **run).stdout.strip() for command in commands]
    except (OSError, subprocess.SubprocessError):
        return None
    # An installed copy may lie below an unrelated repository.
    return {"commit": said[1], "dirty": bool(said[2])} if said[0] else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
