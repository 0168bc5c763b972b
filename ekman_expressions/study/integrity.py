"""Walking through an experiment on disk: what is missing, stale, foreign or damaged, what was left out."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ekman_expressions.core import files
from ekman_expressions.core.errors import DataError, EkmanExpressionsError
from ekman_expressions.core.files import read_arrays, read_csv, read_image, read_json, sha256
from ekman_expressions.study import locks
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import by_reason, other_settings, read_entry, run_files, settings_of

KINDS = ("missing", "stale", "foreign", "damaged")
"""What can be wrong with an artefact: not there, made from something else than there is now, not of
this experiment, or not readable as what it is."""

_SHOWN = 20
_PARTS = ("faces", "training", "models", "explanation")
_STEPS = {
    "faces": "faces_folder",
    "training": "models_folder",
    "evaluation": "evaluation_folder",
    "explanations": "records_folder",
    "facespace": "facespace_folder",
    "heatmaps": "heatmaps_folder",
    "masks": "masks_folder",
    "scores": "scores_folder",
    "barplots": "barplots_folder",
    "dendrograms": "dendrograms_folder",
}
_PICTURES = (".pdf", ".svg", ".html", ".md", ".ipynb", ".txt", ".webp", ".css", ".js")


@dataclass(kw_only=True)
class Report:
    """What `check` found.

    Attributes
    ----------
    findings : list of (kind, path, reason)
        Kinds as in `KINDS`.
    omissions : dict of str to list of str
        Per step, what it left out by reason.
    files : int
        Files looked at.
    notes : list of str
        What is no fault, but should be known: that a run is writing now.
    """

    findings: list[tuple[str, Path, str]] = field(default_factory=list)
    omissions: dict[str, list[str]] = field(default_factory=dict)
    files: int = 0
    notes: list[str] = field(default_factory=list)
    _left_out: dict[Path, set[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def left_out(self, folder: Path, item: str) -> bool:
        """Whether the step that fills a folder says that it left an item out."""
        return item in self._left_out.get(folder, ())

    def add(self, kind: str, path: Path, reason: object) -> None:
        """Keep a finding, once."""
        if not any(path == known for _, known, _ in self.findings):
            self.findings.append((kind, path, str(reason)))

    def summary(self) -> str:
        """Return a report to read: counts, the first findings of each kind, omissions by reason."""
        counts = {kind: sum(found == kind for found, _, _ in self.findings) for kind in KINDS}
        lines = [f"{self.files} files: " + ", ".join(f"{number} {kind}" for kind, number in counts.items())]
        for kind in KINDS:
            found = [(path, reason) for known, path, reason in self.findings if known == kind]
            lines += [f"  {kind}: {path}: {reason}" for path, reason in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  {kind}: ... and {len(found) - _SHOWN} more")
        for step, reasons in self.omissions.items():
            lines += [f"  left out by '{step}', {reason}" for reason in reasons]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def check(experiment: Experiment) -> Report:
    """Look at every artefact of an experiment, and change nothing.

    Every file is read: archives with their checksums, images decoded, tables parsed, models'
    archives tested. Each step's ``run.json`` is held against the settings and inputs as they are
    now, and each prediction, record, explanation in face space and model that should be there is
    looked for.

    Returns
    -------
    Report
    """
    report = Report()
    holder = locks.holder(experiment)
    if holder is not None:
        report.notes.append(
            f"a run holds the lock (process {holder.get('pid')} on {holder.get('host')}): what it "
            "writes now may count as missing"
        )
    explained_by = [experiment, *(experiment.explained_by(name) for name in experiment.explanation.compare)]
    folders: dict[Path, str] = {}
    for other in explained_by:
        for step, place in _STEPS.items():
            folder = getattr(other, place)
            # The step "explainers" draws no barplots.
            if folder not in folders and (step != "barplots" or other is experiment):
                folders[folder] = step
                _check_run(other, step, folder, report)
    for step, folder in _of_all_explainers(experiment).items():
        folders[folder] = step
        _check_run(experiment, step, folder, report)
    for path in sorted(experiment.results_folder.rglob("run.json")):
        if path.parent not in folders:
            _check_entry(experiment, path, report)
    _check_expected(explained_by, report)
    _check_files(experiment, report)
    return report


def _of_all_explainers(experiment: Experiment) -> dict[str, Path]:
    """Return the folders of the steps that run once, for the explainer in use or for all together."""
    from ekman_expressions.study import known_answers, prepared, regions, statistics

    folders = {
        "quality": experiment.quality_folder,
        "statistics": statistics.statistics_folder(experiment),
        "regions": regions.folder(experiment),
        "report": experiment.report_folder,
    }
    if experiment.explanation.compare:
        folders["explainers"] = experiment.comparison_folder
    # A manifest that cannot be read is told elsewhere.
    with suppress(EkmanExpressionsError):
        if prepared.any_known(experiment):
            folders["known_answers"] = known_answers.folder(experiment)
    return folders


def _check_run(experiment: Experiment, step: str, folder: Path, report: Report) -> None:
    path = folder / "run.json"
    if path.exists():
        _check_entry(experiment, path, report)
    elif step != "training" or experiment.trained_networks:
        report.add("missing", path, f"the step '{step}' has not run")


def _check_entry(experiment: Experiment, path: Path, report: Report) -> None:
    try:
        entry = read_entry(path)
    except DataError as error:
        report.add("damaged", path, error)
        return
    step = entry["step"]
    if entry.get("omissions"):
        report.omissions[step] = report.omissions.get(step, []) + by_reason(entry["omissions"])
        report._left_out[path.parent] = {omission["item"] for omission in entry["omissions"]}
    if entry["end"] is None:
        report.add("stale", path, f"the step '{step}' was stopped before its end")
    for key, old, new in other_settings(entry, settings_of(experiment, *_PARTS)):
        report.add("stale", path, f"made with {key} = {old!r}, but the experiment now says {new!r}")
    for name, file in _inputs(experiment).items():
        known = entry["known_inputs"].get(name)
        if known is not None and (not file.exists() or sha256(file) != known):
            report.add("stale", path, f"made from another version of {file}")


def _inputs(experiment: Experiment) -> dict[str, Path]:
    of_each = {}
    for name in dict.fromkeys((experiment.explanation.explainer, *experiment.explanation.compare)):
        each = experiment.explained_by(name)
        of_each[f"explanations of {name}"] = each.records_folder / "run.json"
        of_each[f"facespace of {name}"] = of_each[f"{name} facespace"] = each.facespace_folder / "run.json"
        of_each[f"{name} scores"] = each.scores_folder / "run.json"
    return {
        "manifest": experiment.manifest_path,
        "sources": experiment.faces_folder / "sources.csv",
        "explanations": experiment.records_folder / "run.json",
        "facespace": experiment.facespace_folder / "run.json",
        "heatmaps": experiment.heatmaps_folder / "run.json",
        "masks": experiment.masks_folder / "run.json",
        **of_each,
        **run_files(experiment),
    }


def _check_expected(explained_by: list[Experiment], report: Report) -> None:
    """Look for what the tables promise, and for files of models and faces that no table names."""
    from ekman_expressions.study import evaluation, prepared

    experiment = explained_by[0]
    for network, fold in experiment.pairs:
        path = experiment.model_path(network, fold)
        trained = network in experiment.trained_networks
        if trained and not path.exists() and not report.left_out(experiment.models_folder, path.stem):
            report.add("missing", path, "the model has not been trained")
    _check_only(
        experiment.models_folder,
        "*.keras",
        {experiment.model_path(*pair) for pair in experiment.pairs},
        report,
    )
    try:
        manifest = prepared.read_manifest(experiment)
        for image_id in manifest["image_id"]:
            for path in (
                prepared.face_path(experiment, image_id),
                prepared.landmarks_path(experiment, image_id),
            ):
                if not path.exists():
                    report.add("missing", path, "the manifest names it")
        for other in explained_by:
            explained = evaluation.read_explained(other)
            _check_records(other, explained, report)
            cells = explained.groupby(["network", "fold", "expression"])["image_id"]
            wanted = {
                other.maps_path(*cell): [f"{cell[0]}_{cell[1]} {image_id}" for image_id in image_ids]
                for cell, image_ids in cells
                if cell[:2] in other.pairs
            }
            steps = (other.records_folder, other.facespace_folder)
            for path, faces in sorted(wanted.items()):
                if not path.exists() and not all(
                    any(report.left_out(folder, face) for folder in steps) for face in faces
                ):
                    report.add("missing", path, "faces are explained, but their maps are not there")
            _check_only(other.facespace_folder, "*.npz", set(wanted), report)
    except EkmanExpressionsError as error:
        # Without the tables nothing more can be expected.
        report.add("missing" if "is not there" in str(error) else "damaged", experiment.results_folder, error)


def _check_records(experiment: Experiment, explained: pd.DataFrame, report: Report) -> None:
    from ekman_expressions.study.maps import record_or_map

    wanted = {}
    for row in explained.itertuples():
        if (row.network, row.fold) in experiment.pairs:
            path = experiment.record_path(row.network, row.fold, row.image_id)
            wanted[path] = (row.image_id, f"{row.network}_{row.fold}")
    for path, (image_id, model) in wanted.items():
        if not path.exists():
            if not report.left_out(experiment.records_folder, f"{model} {image_id}"):
                report.add("missing", path, "the face should be explained")
            continue
        if "image_id" not in _names(path):
            continue
        try:
            found = record_or_map(experiment, path)
        except DataError as error:
            report.add("damaged", path, error)
            continue
        if found != (image_id, model):
            report.add("foreign", path, f"it is of {' and '.join(found)}")
    _check_only(experiment.records_folder, "*/*.npz", set(wanted), report)


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile):
        return ["image_id"]


def _check_only(folder: Path, pattern: str, wanted: set[Path], report: Report) -> None:
    for path in sorted(folder.glob(pattern)):
        if path not in wanted and not path.name.startswith("."):
            report.add("foreign", path, "no table of this experiment names it")


def _check_files(experiment: Experiment, report: Report) -> None:
    """Read every file, as what its suffix says."""
    roots = [
        experiment.faces_folder,
        experiment.models_folder,
        experiment.results_folder,
        experiment.root / "heatmaps" / experiment.name,
        experiment.root / "barplots" / experiment.name,
        experiment.root / "dendograms" / experiment.name,
    ]
    for root in roots:
        for path in files.leftovers(root):
            report.add("damaged", path, "left behind by a run that was killed; the next one removes it")
    for path in tqdm([*_files(roots)], desc="Reading files", unit="file"):
        report.files += 1
        read = _READERS.get(path.suffix)
        if read is None:
            if path.suffix not in _PICTURES and not path.name.startswith("."):
                report.add("foreign", path, "no step writes files of this kind")
            continue
        try:
            read(path)
        except (EkmanExpressionsError, OSError) as error:
            report.add("damaged", path, error)


def _files(roots: list[Path]) -> Iterator[Path]:
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.name != "run.json" and not path.name.startswith("."):
                yield path


def _test_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:
        raise DataError(f"{path} is damaged ({error}).") from error
    if damaged is not None:
        raise DataError(f"{path} is damaged (the checksum of {damaged} does not agree).")


def _read_npz(path: Path) -> None:
    # A training's checkpoint is large, and has checksums of its own.
    _test_archive(path) if path.name.endswith("_checkpoint.npz") else read_arrays(path)


_READERS: dict[str, Callable[[Path], object]] = {
    ".npz": _read_npz,
    ".png": read_image,
    ".csv": read_csv,
    ".json": read_json,
    ".keras": _test_archive,
}
