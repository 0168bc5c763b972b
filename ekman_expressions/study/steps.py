"""The steps of a study in one table: what each reads, on which settings it depends, where it writes; and running
them: what is done is skipped, what is half done goes on, what does not fit is refused.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from ekman_expressions.core.errors import (
    ConflictError,
    DataError,
    EkmanExpressionsError,
    MissingError,
    SettingsError,
)
from ekman_expressions.core.files import hash_of, leftovers, read_json, sha256, write_json
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.study.evaluation import _evaluation
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explanations import _explainers, _explanations, _facespace, _nothing_to_compare
from ekman_expressions.study.faces import _faces
from ekman_expressions.study.heatmaps import _dendrograms, _heatmaps, _mask_sources, _masks
from ekman_expressions.study.known_answers import _known_answers, _nothing_known
from ekman_expressions.study.pictures import _draw_pictures
from ekman_expressions.study.provenance import (
    Run,
    _described,
    _environment,
    _finished_entry,
    _flat,
    _hash_now,
    _hashes,
    _plain,
    _read_entry,
    _refuse_other_settings,
    _settings_of,
)
from ekman_expressions.study.quality import _quality
from ekman_expressions.study.scores import _barplots, _nothing_masked, _regions, _scores, _statistics
from ekman_expressions.study.training import _nothing_to_train, _own_files, _training

_ALL = ("faces", "training", "models", "explanation")


@dataclass(frozen=True)
class Step:
    """One step of a study: a function, and all that others must know of it."""

    name: str
    """Also the name of the function, behind an underscore."""
    function: Callable[..., None]
    """``function(experiment, run)``. It writes files below its folder and registers each with the `Run`.
    Further keyword arguments are options of a single run."""
    folder: str
    """The property of `Experiment` that holds the step's folder."""
    what: str
    """What it makes, in a line."""
    reads: tuple[str, ...] = ()
    """Steps that must have come to their end. ``step/pattern`` reads the outputs that match the pattern and
    are part of what is kept: of another version of them nothing is made, the step refuses. Of other steps
    all outputs count, and when they change, the step is made again."""
    also: tuple[str, ...] = ()
    """Steps that are read where they have come to their end."""
    settings: tuple[str, ...] = _ALL
    """Parts of the settings that determine the results, see `provenance._settings_of`. Once the step has run
    they cannot change."""
    choices: tuple[str, ...] = ("networks",)
    """Settings that may change: the step is then made again, or goes on."""
    resumes: bool = False
    """Whether the function itself skips items that are done. What it left out is tried again."""
    always: bool = False
    """Whether only the function can know that nothing is to be done."""
    every_explainer: bool = False
    """Whether it reads the steps of all explainers that are compared, not only of the one in use."""
    first: tuple[str, ...] = ()
    """Steps that each further explainer that is compared goes through before."""
    files: Callable[[Experiment], Mapping[str, Path]] = lambda experiment: {}
    """``files(experiment)``: files from elsewhere that are read, by name."""
    idle: Callable[[Experiment], str] = lambda experiment: ""
    """``idle(experiment)``: why the step has nothing to do, or an empty text."""

    @property
    def keeps(self) -> bool:
        """Whether what it made is never made again, but refused where it does not fit."""
        return any("/" in read for read in self.reads)

    def folder_of(self, experiment: Experiment) -> Path:
        """Return the folder of the step's artefacts, in which its ``run.json`` lies."""
        return getattr(experiment, self.folder)


# fmt: off
_STEPS = (
    Step("faces", _faces, "faces_folder", "cropped faces, landmarks, folds",
         settings=("faces",), choices=(), resumes=True, always=True),
    Step("training", _training, "models_folder", "a model per network and fold",
         reads=("faces/manifest.csv",), settings=("faces", "training"), resumes=True,
         idle=_nothing_to_train),
    Step("evaluation", _evaluation, "evaluation_folder", "predictions, accuracies, the faces to explain",
         reads=("faces/manifest.csv", "training/*.keras"),
         settings=("faces", "training", "models", "explanation.positives"), resumes=True, files=_own_files),
    Step("explanations", _explanations, "records_folder", "a perturbation record, or a map, per model and face",
         reads=("faces/manifest.csv", "training/*.keras", "evaluation"),
         settings=("faces", "training", "models", "records"),
         choices=("networks", "explanation.compare_faces"), resumes=True, files=_own_files),
    Step("facespace", _facespace, "facespace_folder", "explanations estimated, and warped into face space",
         reads=("faces", "explanations"), resumes=True),
    Step("heatmaps", _heatmaps, "heatmaps_folder", "means of explanations",
         reads=("facespace",), choices=("networks", "masks")),
    Step("masks", _masks, "masks_folder", "the Ekman masks, or those of one's own, as pictures",
         settings=(), choices=("masks",), files=_mask_sources, idle=_nothing_masked),
    Step("scores", _scores, "scores_folder", "heatmaps against the masks",
         reads=("heatmaps", "masks"), idle=_nothing_masked),
    Step("barplots", _barplots, "barplots_folder", "scores as bars",
         reads=("scores", "masks"), idle=_nothing_masked),
    Step("dendrograms", _dendrograms, "dendrograms_folder", "which heatmaps are alike",
         reads=("heatmaps",)),
    Step("explainers", _explainers, "comparison_folder", "other explainers, and how far they agree",
         reads=("facespace", "scores"), every_explainer=True, idle=_nothing_to_compare,
         first=("explanations", "facespace", "heatmaps", "scores")),
    Step("quality", _quality, "quality_folder", "how good the explanations are",
         reads=("faces", "explanations"), resumes=True, every_explainer=True,
         choices=("networks", "masks", "explanation.quality_faces", "explanation.quality_samples")),
    Step("statistics", _statistics, "statistics_folder", "chance, tests and intervals of the scores",
         reads=("heatmaps", "masks"), also=("faces", "facespace"), idle=_nothing_masked),
    Step("regions", _regions, "regions_folder", "the heatmaps' mass by region of the face",
         reads=("faces", "facespace")),
    Step("known_answers", _known_answers, "known_answers_folder",
         "explanations against what moved in the faces", reads=("faces",), also=("facespace",),
         choices=("networks", "masks"), every_explainer=True, idle=_nothing_known),
)
# fmt: on

STEPS: dict[str, Step] = {step.name: step for step in _STEPS}
"""All steps but the report, in their order."""


def run(
    experiment: Experiment,
    *names: str,
    first: str | None = None,
    steps: Mapping[str, Step] = STEPS,
    echo: bool = False,
    **options: Any,
) -> Run:
    """Run steps of an experiment in the order of `steps`; what is done is skipped.

    Parameters
    ----------
    experiment : Experiment
        The settings and folders.
    *names : str
        Which steps; by default all.
    first : str, optional
        Of these, only this one and those after it.
    steps : dict of str to Step
        The steps that there are.
    echo : bool
        Whether to print what each step did.
    **options
        For a single step: further arguments of its function, e.g. ``resamples=100`` of "statistics".

    Returns
    -------
    Run
        What was made, found done, and left out, of all of them together.

    Raises
    ------
    SettingsError
        If a name is no step.
    MissingError
        If a step that is read has not come to its end; the message names it.
    ConflictError
        If artefacts were made with other settings, or from other inputs that cannot be replaced; or if
        another process works on the experiment.

    Examples
    --------
    >>> demo = Experiment.preset("demo")
    >>> run(demo, "heatmaps", "scores")  # doctest: +SKIP
    """
    chosen, total = _chosen(names, first, steps), Run()
    with _experiment_lock(experiment):
        for number, name in enumerate(chosen, start=1):
            start = time.monotonic()
            if echo:
                print(f"[{number}/{len(chosen)}] {name}", flush=True)
            done = _run_step(experiment, steps[name], steps, options)
            total.add(done)
            if echo:
                seconds = time.monotonic() - start
                print(f"    {done.summary('items')} ({seconds:.1f} s)", flush=True)
    return total


def plan(
    experiment: Experiment, *names: str, first: str | None = None, steps: Mapping[str, Step] = STEPS
) -> dict[str, str]:
    """Say of each step what `run` would do, and change nothing.

    Returns
    -------
    dict of str to str
        In order: ``run:`` and why, ``done``, ``nothing to do:`` and why, or ``refused:`` and the error that a
        run would raise.
    """
    found: dict[str, str] = {}
    for name in _chosen(names, first, steps):
        step = steps[name]
        waits = [read for read in (read.partition("/")[0] for read in step.reads) if _runs(found.get(read))]
        if step.first and not waits:
            others = [plan(experiment.explained_by(by), *step.first) for by in experiment.explainers[1:]]
            waits = [read for each in others for read, verdict in each.items() if _runs(verdict)][:1]
        try:
            if idle := step.idle(experiment):
                found[name] = f"nothing to do: {idle}"
                continue
            reason = _State(experiment, step, steps, {}).reason
        except EkmanExpressionsError as error:
            waiting = waits and isinstance(error, MissingError)
            found[name] = f"run: after {', '.join(waits)}" if waiting else f"refused: {error}"
        else:
            done = f"run: if what {', '.join(waits)} makes differs" if waits else "done"
            found[name] = f"run: {reason}" if reason else done
    return found


_LOOKS = "it looks for itself what is to be done"


def _runs(verdict: str | None) -> bool:
    return verdict is not None and verdict.startswith("run") and not verdict.endswith(_LOOKS)


def _chosen(names: tuple[str, ...], first: str | None, steps: Mapping[str, Step]) -> list[str]:
    unknown = [name for name in (*names, first) if name is not None and name not in steps]
    if unknown:
        raise SettingsError(f"Unknown step {', '.join(unknown)}. The steps are {', '.join(steps)}.")
    order = list(steps)
    return [name for name in order[order.index(first) if first else 0 :] if not names or name in names]


def _inputs_of(experiment: Experiment, step: Step, steps: Mapping[str, Step]) -> dict[str, str]:
    """Return the hash of all that a step reads, by name; errors where that has not ended, or does not fit."""
    inputs = {name: sha256(path) for name, path in step.files(experiment).items()}
    own = experiment.explanation.explainer
    for read in (*step.reads, *step.also):
        name, _, pattern = read.partition("/")
        upstream, seen = steps.get(name) or STEPS[name], set()
        if read in step.reads and upstream.idle(experiment):
            continue
        for explainer in experiment.explainers if step.every_explainer else (own,):
            by = _owner(experiment.explained_by(explainer), upstream)
            folder = upstream.folder_of(by)
            if folder in seen:
                continue
            seen.add(folder)
            try:
                entry = _finished_entry(folder, name)
            except MissingError:
                if read in step.also:
                    continue
                raise
            _refuse_other_settings(folder, entry, _settings_of(by, *step.settings))
            label = name if explainer == own else f"{name} of {explainer}"
            # As they are now: somebody may have put others there.
            found = {
                f"{label}/{file}": now
                for file, output in sorted(entry["outputs"].items())
                if fnmatchcase(file, pattern or "*") and (now := _hash_now(folder / file, output))
            }
            inputs |= found if pattern else {label: hash_of(found)}
    return inputs


def _owner(experiment: Experiment, step: Step) -> Experiment:
    """Return the experiment whose explainer makes a step's files: explainers may share LIME's records."""
    if step.folder != "records_folder":
        return experiment
    return experiment.explained_by(EXPLAINERS[experiment.explanation.explainer].records_of)


def _run_step(experiment: Experiment, step: Step, steps: Mapping[str, Step], options: Mapping) -> Run:
    if reason := step.idle(experiment):
        return Run(notes=[reason])
    total = Run()
    if step.first:
        # Before hours of other explainers: what this one lacks.
        _inputs_of(experiment, dataclasses.replace(step, every_explainer=False), steps)
        for name in experiment.explainers[1:]:
            _run_first(experiment.explained_by(name), step, steps, total)
    state = _State(experiment, step, steps, options)
    before = state.before
    leftovers(state.folder, remove=True)
    if not state.reason:
        found = before["done"] + before["skipped"]
        total.add(Run(skipped=found, omissions=before["omissions"], notes=before["notes"]))
        return total
    resumed, broken = before is not None and not state.changed, state.broken
    run = Run(state.folder, resumed, state.known, state.begin)
    if not resumed or before["end"] is None or broken:
        state.begin()
    for path in broken:
        if path.exists() and step.resumes and not (step.keeps or step.always):
            run.note(f"{path.name} has changed since it was made, and is made again")
            path.unlink()
    step.function(state.experiment, run, **options)
    if step is STEPS.get(step.name):
        _draw_pictures(state.experiment, step.name, state.folder, run)
    leftovers(state.folder, remove=True)
    state.end(run)
    total.add(run)
    return total


def _run_first(experiment: Experiment, step: Step, steps: Mapping[str, Step], total: Run) -> None:
    """Take another explainer through the steps that come before the comparison."""
    explainer = experiment.explanation.explainer
    for name in tqdm(step.first, desc=EXPLAINERS[explainer].title, unit="step"):
        run = _run_step(experiment, steps[name], steps, {})
        total.done += run.done
        total.skipped += run.skipped
        # What the first step leaves out, the later ones miss: said once.
        if name == step.first[0]:
            for entry in run.omissions:
                total.omit(f"{explainer} of {entry['item']}", entry["reason"])


class _State:
    """What a step depends on now (`about`) beside its ``run.json`` (`before`), which a run writes without an
    end when artefacts begin to change, then whole. `ConflictError` if what is there can neither stay nor go.
    """

    def __init__(
        self, experiment: Experiment, step: Step, steps: Mapping[str, Step], options: Mapping[str, Any]
    ) -> None:
        self.experiment = experiment = _owner(experiment, step)
        choices = {name: attrgetter(name)(experiment) for name in step.choices}
        # Masks only where there are some, so that results without stay valid.
        choices = {name: value for name, value in choices.items() if value != {}}
        self.about = {
            "settings": _settings_of(experiment, *step.settings),
            "choices": _plain(choices | dict(options)),
            "inputs": _inputs_of(experiment, step, steps),
        }
        self.step, self.folder = step, step.folder_of(experiment)
        self._path = self.folder / "run.json"
        self._entry: dict[str, Any] | None = None
        self.before = _read_entry(self._path) if self._path.exists() else None
        self._refuse()
        outputs = self.before["outputs"] if self.before else {}
        self.known = {self.folder / name: output for name, output in outputs.items()}

    @property
    def broken(self) -> list[Path]:
        """Outputs of a finished step that are not as they were at its end."""
        if self.before is None or self.before["end"] is None:
            return []
        return [path for path, known in self.known.items() if _hash_now(path, known) != known["sha256"]]

    def _refuse(self) -> None:
        if self.before is None:
            found = [path.name for path in self.folder.glob("*") if not path.name.startswith(".")]
            if self.step.keeps and found:
                raise ConflictError(
                    f"{self.folder} holds {len(found)} entries (such as {found[0]}), but no run.json that "
                    f"says how they were made. Delete {self.folder} to make them again, or give the "
                    "experiment another name."
                )
            return
        _refuse_other_settings(self.folder, self.before, self.about["settings"])
        known = self.before["known_inputs"]
        others = [name for name, value in self.about["inputs"].items() if known.get(name, value) != value]
        others = [name for name in others if self.step.keeps and name not in self.step.reads]
        if others:
            raise ConflictError(
                f"{self.folder} was made from another version of {', '.join(others)} (its contents have "
                f"changed since). Delete {self.folder} to make it again, or give the experiment another name."
            )

    @property
    def changed(self) -> list[str]:
        """Which settings, choices and inputs are not those of ``run.json``."""
        pairs = [(self.before[part], now) for part, now in self.about.items()]
        return [name for old, new in pairs for name in {**old, **new} if new.get(name, ...) != old.get(name, ...)]

    @property
    def reason(self) -> str:
        """Why the step runs; nothing where it is done."""
        if self.before is None:
            return "it has not run"
        if self.before["end"] is None:
            return "it was stopped before its end"
        if changed := self.changed:
            return f"changed since: {', '.join(changed)}"
        if broken := self.broken:
            return f"{len(broken)} of its files are gone or changed, such as {broken[0].name}"
        if self.step.always:
            return _LOOKS
        again = len(self.before["omissions"]) if self.step.resumes else 0
        return f"{again} left out, which are tried again" if again else ""

    def begin(self) -> None:
        """Write the entry of a run without an end, unless that is done."""
        if self._entry:
            return
        before = self.before or {"known_settings": {}, "known_inputs": {}, "outputs": {}}
        self._begun = time.monotonic()
        self._entry = {
            "step": self.step.name,
            **_environment(),
            **self.about,
            # What earlier runs did for networks that are not asked for now stays on record.
            "known_settings": _flat(before["known_settings"]) | _flat(self.about["settings"]),
            "known_inputs": before["known_inputs"] | self.about["inputs"],
            "start": _now(),
            "end": None,
            "outputs": before["outputs"],
        }
        write_json(self._path, self._entry)

    def end(self, run: Run) -> None:
        """Complete the entry, if anything has changed; remove what the step does not make any more."""
        outputs = {
            path: output or _described(path, self.known.get(path)) for path, output in sorted(run.outputs.items())
        }
        if not self.step.resumes:
            # What another run left, and this one did not make, would be taken for this one's.
            for path in self.known.keys() - outputs.keys():
                path.unlink(missing_ok=True)
        if _hashes(outputs) != _hashes(self.known):
            self.begin()
        if self._entry is None:
            return
        self._entry |= {
            "end": _now(),
            "seconds": round(time.monotonic() - self._begun, 3),
            "done": run.done,
            "skipped": run.skipped,
            "omissions": run.omissions,
            "notes": run.notes,
            "outputs": {path.relative_to(self.folder).as_posix(): output for path, output in outputs.items()},
        }
        write_json(self._path, self._entry)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _experiment_lock(experiment: Experiment) -> Iterator[None]:
    """Hold the lock of an experiment, beside which lies who holds it, or raise `ConflictError`."""
    holder = experiment.results_folder / ".lock.json"
    lock = FileLock(holder.with_name(".lock"))
    try:
        holder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        found = {}
        # It may be cut off, or not written yet.
        with suppress(OSError, DataError):
            found = read_json(holder)
        raise ConflictError(
            f"Another run works on this experiment: process {found.get('pid', '?')} on "
            f"{found.get('host', 'an unknown machine')}, since {found.get('since', '?')} "
            f"({found.get('command', 'unknown command')}). Two runs would write over each other: wait for it, "
            "stop it, or give the experiment another name."
        ) from None
    except OSError as error:
        # Where nothing may be written, nothing can be written over either.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    try:
        if lock.is_locked:
            command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
            about = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": _now()}
            write_json(holder, about)
        yield
    finally:
        if lock.is_locked:
            holder.unlink(missing_ok=True)
        lock.release()
