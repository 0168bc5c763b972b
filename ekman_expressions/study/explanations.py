"""The steps "explanations" and "facespace": models are queried about faces, explanations gathered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError
from ekman_expressions.core.files import (
    hash_of,
    read_arrays,
    require,
    sha256,
    write_arrays,
)
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import EXPLAINERS, Explanation, PerturbationRecord, Stored
from ekman_expressions.explainers.explanation import _needs_neutral
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.measures.quality import cross_validated_r2
from ekman_expressions.study import evaluation, models, prepared
from ekman_expressions.study.execution import _run_tasks, _Task, workers
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.model import Model

_TASKS_PER_WORKER = 4
"""With so many tasks for each worker, none waits long for the last one."""

_NAMED = 5
"""So many faces are named in a note; the table of explanations has all."""


def _explanations(experiment: Experiment, run: Run) -> None:
    """Query each model about the faces chosen for it.

    Writes, per model and face, what the explainer in use keeps: a perturbation record, or a map. What is
    there and whole is kept; faces that cannot be read, and those of models that are not there or
    whose predictions are not finite, are listed as omissions.
    """
    explained = evaluation.read_explained(experiment)
    tasks = _tasks(experiment, explained, _explain_model, _parts)
    _run_tasks(tasks, run, desc="Explaining", unit="image", own_bars=True)


def _tasks(
    experiment: Experiment, explained: pd.DataFrame, function: Callable[..., Run], divide: Callable
) -> list[_Task]:
    """Return tasks for each model: `function` on the parts into which `divide` takes its faces."""
    return [
        _Task(
            name=f"{network}_{fold}",
            function=function,
            arguments=(experiment, network, fold, part),
            weight=len(part),
        )
        for network, fold in experiment.pairs
        for part in divide(experiment, explained.query("network == @network and fold == @fold"))
    ]


def settings_of_explainer(experiment: Experiment) -> dict[str, Any]:
    """Return the values of all settings that the explainer in use takes."""
    explainer = EXPLAINERS[experiment.explanation.explainer]
    shared = {name: getattr(experiment.explanation, name) for name in explainer.shared}
    return explainer.resolve(**shared, **experiment.explanation.options.get(explainer.name, {}))


def query(
    experiment: Experiment, model: Model, network: str, fold: str, image_id: str, expression: str
) -> Stored:
    """Query a model about one face as the explainer in use does, and return what is to be kept."""
    explainer, settings = EXPLAINERS[experiment.explanation.explainer], settings_of_explainer(experiment)
    side = experiment.side(network)
    if _needs_neutral(settings):
        settings["hidden"] = prepared.read_faces(experiment, [image_id], side, neutral=True)[0]
    return explainer.query(
        model,
        prepared.read_faces(experiment, [image_id], side)[0],
        experiment.expressions.index(expression),
        # From the names alone: order, workers and interruptions change nothing.
        seed=derive_seed(experiment.seed, "lime", f"{network}_{fold}", image_id),
        landmarks=prepared.read_landmarks(experiment, image_id) if explainer.landmarks else None,
        settings=settings,
    )


def read_explanation(
    experiment: Experiment, network: str, fold: str, image_id: str, expression: str
) -> Explanation:
    """Return the explanation of one face by the explainer in use, from what was kept; no forward pass.

    `MissingError` if it was not explained, `DataError` if its file is damaged or holds another class.
    """
    stored = Stored.load(require(experiment.record_path(network, fold, image_id), "explanations"))
    explainer, target = EXPLAINERS[experiment.explanation.explainer], experiment.expressions.index(expression)
    return explainer.estimate(stored, target, settings_of_explainer(experiment))


def _explain_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> Run:
    """Query one model about its faces (``image_id, expression``), unless they are done."""
    run, precision = Run(), experiment.explanation.precision
    name = f"{network}_{fold}"
    todo, notes = [], {}
    for row in rows.itertuples():
        path = experiment.record_path(network, fold, row.image_id)
        done = _read_done(path, row.image_id, name)
        if done is not None:
            notes.setdefault(done.note, []).append(row.image_id)
            run.kept(path)
        else:
            todo.append((path, row.image_id, row.expression))
    try:
        model = models.load_model(experiment, network, fold, precision) if todo else None
    except (DataError, MissingError, ModelError) as error:
        for _, image_id, _ in todo:
            run.omit(f"{name} {image_id}", error)
        return run
    for path, image_id, expression in tqdm(todo, desc=f"Explaining {name}", unit="image"):
        try:
            stored = query(experiment, model, network, fold, image_id, expression)
        except (DataError, MissingError, ModelError, SettingsError) as error:
            run.omit(f"{name} {image_id}", error)
            continue
        replace(stored, image_id=image_id, model=name).save(path)
        notes.setdefault(stored.note, []).append(image_id)
        run.made(path)
    for note in model.notes if model else ():
        run.note(f"{name}: {note}")
    for note, ids in notes.items():
        if note:
            names = f"{len(ids)} of {len(rows)} faces: {', '.join(ids[:_NAMED])}{', ...' * (len(ids) > _NAMED)}"
            run.note(f"{name}: {note} ({names if len(ids) < len(rows) else f'all {len(ids)} faces'})")
    return run


def _parts(experiment: Experiment, rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Divide a model's faces among workers, if there are few models for them; each part loads the model
    again.
    """
    wanted = -(-_TASKS_PER_WORKER * workers() // len(experiment.pairs)) if workers() > 1 else 1
    size = max(1, -(-len(rows) // wanted))
    return [rows.iloc[start : start + size] for start in range(0, len(rows), size)] or [rows]


def _read_done(path: Path, image_id: str, model: str) -> Stored | None:
    try:
        found = Stored.load(path)
    except (FileNotFoundError, DataError):
        return None
    return found if (found.image_id, found.model) == (image_id, model) else None


_NUMBERS = (
    *("superpixels", "intercept", "r2", "r2_unseen", "largest_weight", "mean_standard_error"),
    *("completeness", "passes"),
)
_COLUMNS = ("network", "fold", "image_id", "expression", "hidden", *_NUMBERS)
"""Columns of ``explanations.csv``: which face was explained, for which class, what hidden parts looked like,
how well. ``r2_unseen``: on samples that the fit has not seen; ``completeness``: see `Explanation`. What an
explainer does not estimate is NaN; ``superpixels`` is 0 where pixels are explained."""


def _facespace(experiment: Experiment, run: Run) -> None:
    """Estimate all explanations of an experiment, and bring them into face space.

    Writes ``explanations.csv`` (`_COLUMNS`), and one ``.npz`` per model and predicted expression: `maps`
    (n, 275, 224) float32, `image_ids` (n,), the numbers of the table, and `source`, a hash of all that
    they were made from, by which the next run knows whether the file still holds.
    """
    explained = evaluation.read_explained(experiment)
    tasks = _tasks(experiment, explained, _normalise_model, lambda _, rows: [rows])
    _run_tasks(tasks, run, desc="Warping into face space", unit="image")
    path = experiment.facespace_folder / "explanations.csv"
    if run.begun or not path.exists():
        run.write(path.parent, {path.stem: _tabulate(experiment, explained)})
    else:
        run.kept(path, items=0)


def _normalise_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> Run:
    """Write the files of one model, one per predicted expression."""
    run = Run()
    for expression in experiment.expressions:
        image_ids = rows["image_id"][rows["expression"] == expression]
        _normalise_cell(experiment, network, fold, expression, image_ids, run)
    return run


def _normalise_cell(
    experiment: Experiment, network: str, fold: str, expression: str, image_ids: pd.Series, run: Run
) -> None:
    """Write the file of one model and one predicted expression, unless it is there and holds."""
    path = experiment.maps_path(network, fold, expression)
    sources, landmarks = {}, {}
    for image_id in image_ids:
        try:
            record = experiment.record_path(network, fold, image_id)
            if not record.exists():
                raise MissingError("it was not explained: see the omissions of the step 'explanations'")
            landmarks[image_id] = prepared.read_landmarks(experiment, image_id)
            sources[image_id] = [sha256(record), hash_of(np.float32(landmarks[image_id]).tolist())]
        except (DataError, MissingError) as error:
            run.omit(f"{network}_{fold} {image_id}", error)
    settings = experiment.explanation
    source = hash_of([sources, settings.kernel_width, settings.alpha])
    if _holds(path, source, list(sources)):
        run.kept(path, items=len(sources))
        return
    # A quarter of a megabyte each, and no second time as a list.
    maps, used = np.empty((len(sources), *SHAPE), np.float32), []
    numbers: dict[str, list[float]] = {name: [] for name in _NUMBERS}
    explainer, values = EXPLAINERS[settings.explainer], settings_of_explainer(experiment)
    for image_id in sources:
        try:
            stored = Stored.load(experiment.record_path(network, fold, image_id))
            found = explainer.estimate(stored, experiment.expressions.index(expression), values)
            # What speaks against the class is 0, as in the study.
            maps[len(used)] = normalise(np.maximum(found.map, 0), landmarks[image_id])
        except (DataError, MissingError) as error:
            run.omit(f"{network}_{fold} {image_id}", error)
            continue
        used.append(image_id)
        for name, value in _numbers(experiment, stored, found).items():
            numbers[name].append(value)
    if not used:
        # What an earlier run may have left would be taken for this one's.
        path.unlink(missing_ok=True)
        return
    arrays = {"maps": maps[: len(used)], "image_ids": np.array(used), "source": np.array(source)}
    write_arrays(path, arrays | {name: np.array(values) for name, values in numbers.items()})
    run.made(path, items=len(used))


def unseen_r2(experiment: Experiment, record: PerturbationRecord, target: int) -> float:
    """Return LIME's R² of a record on samples that the fit has not seen, by the settings of an experiment."""
    return cross_validated_r2(
        record,
        target,
        seed=derive_seed(experiment.seed, "unseen", record.model, record.image_id),
        kernel_width=experiment.explanation.kernel_width,
        alpha=experiment.explanation.alpha,
    )


def _numbers(experiment: Experiment, stored: Stored, found: Explanation) -> dict[str, float]:
    errors, has_fit = found.standard_errors, EXPLAINERS[found.explainer].has_surrogate
    return {
        "superpixels": 0 if found.segments is None else len(found.weights),
        "intercept": found.intercept,
        "r2": found.r2,
        "r2_unseen": unseen_r2(experiment, stored, found.target) if has_fit else np.nan,
        "largest_weight": found.weights.max(),
        "mean_standard_error": np.nan if errors is None else errors.mean(),
        "completeness": found.completeness,
        "passes": found.passes,
    }


def _holds(path: Path, source: str, image_ids: list[str]) -> bool:
    """Say whether a file was made from `source`, and lacks none of `image_ids`."""
    try:
        stored = read_arrays(path, ("image_ids", "source", *_NUMBERS))
    except (FileNotFoundError, DataError):
        return False
    return str(stored["source"]) == source and stored["image_ids"].tolist() == image_ids


def _tabulate(experiment: Experiment, explained: pd.DataFrame) -> pd.DataFrame:
    tables = [pd.DataFrame(columns=_COLUMNS)]
    for network, fold in experiment.pairs:
        for expression in experiment.expressions:
            path = experiment.maps_path(network, fold, expression)
            if path.exists():
                table = pd.DataFrame(read_arrays(path, ("image_ids", *_NUMBERS)))
                table = table.rename(columns={"image_ids": "image_id"})
                about = {"network": network, "fold": fold, "expression": expression}
                tables.append(table.assign(**about, hidden=experiment.explanation.hides_by))
    # In the order of the faces that were chosen.
    return explained[list(_COLUMNS[:4])].merge(pd.concat(tables[1:] or tables))[list(_COLUMNS)]
