"""The step "explanations": each model is queried about faces, and what it predicts is kept."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS, index
from ekman_expressions.core.files import read_json, require, write_json
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import EXPLAINERS, Explanation, Stored
from ekman_expressions.study import evaluation, model_files, prepared
from ekman_expressions.study.execution import Task, run_tasks, workers
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.model import GROUP, Model, as_model
from ekman_expressions.zoo.own_models import read_model

_TASKS_PER_WORKER = 4
"""With so many tasks for each worker, none waits long for the last one."""

GROUPS: tuple[int, ...] = (10, 25, 50)
"""Batch sizes that `probe_group` tries; memory is bounded by the largest."""

_WORTH_A_PROBE = 20_000
"""A model that is queried about fewer images is not probed: the probe itself takes some 350."""


def explanations(experiment: Experiment, run: Run) -> None:
    """Query each model about the faces chosen for it.

    Writes, per model and face, what the explainer in use keeps: a perturbation record, or a map. What is
    there and whole is kept; faces that cannot be read, and those of models that are not there or
    whose predictions are not finite, are listed as omissions.
    """
    explained = evaluation.read_explained(experiment)
    tasks = []
    for network, fold in experiment.pairs:
        rows = explained[(explained["network"] == network) & (explained["fold"] == fold)]
        tasks += [
            Task(
                name=f"{network}_{fold}",
                function=explain_model,
                arguments=(experiment, network, fold, part),
                weight=len(part),
            )
            for part in _parts(experiment, network, fold, rows)
        ]
    run_tasks(tasks, run, desc="Explaining", unit="image", own_bars=True)
    groups = [_group_path(experiment, *pair) for pair in experiment.pairs]
    run.kept(*(path for path in groups if path.exists()), items=0)


def settings_of_explainer(experiment: Experiment) -> dict[str, Any]:
    """Return the values of all settings that the explainer in use takes."""
    explainer = EXPLAINERS[experiment.explanation.explainer]
    shared = {name: getattr(experiment.explanation, name) for name in explainer.shared}
    return explainer.resolve(**shared, **experiment.explanation.options.get(explainer.name, {}))


def query(
    experiment: Experiment, model: Model, network: str, fold: str, image_id: str, expression: str
) -> Stored:
    """Query a model about one face as the explainer in use does, and return what is to be kept."""
    explainer = EXPLAINERS[experiment.explanation.explainer]
    return explainer.query(
        model,
        prepared.read_faces(experiment, [image_id], experiment.side(network))[0],
        index(expression),
        # From the names alone: order, workers and interruptions change nothing.
        seed=derive_seed(experiment.seed, "lime", f"{network}_{fold}", image_id),
        landmarks=prepared.read_landmarks(experiment, image_id) if explainer.landmarks else None,
        settings=settings_of_explainer(experiment),
    )


def read_explanation(
    experiment: Experiment, network: str, fold: str, image_id: str, expression: str
) -> Explanation:
    """Return the explanation of one face by the explainer in use, from what was kept; no forward pass.

    `MissingError` if it was not explained, `DataError` if its file is damaged or holds another class.
    """
    stored = Stored.load(require(experiment.record_path(network, fold, image_id), "explanations"))
    explainer = EXPLAINERS[experiment.explanation.explainer]
    return explainer.estimate(stored, index(expression), settings_of_explainer(experiment))


def load_model(experiment: Experiment, network: str, fold: str, faces: int = 0) -> Model:
    """Return a trained model, with the batch size that was chosen for it when its faces were explained.

    With ``explanation.group = "auto"`` and no earlier choice that is the usual one; the fastest, if so many
    `faces` are to be explained that it is worth a probe.
    """
    settings, name = experiment.explanation, f"{network}_{fold}"
    if network in experiment.models:
        model = read_model(experiment.models[network], network, fold, settings.precision)
    else:
        model = model_files.load_model(experiment, network, fold)
        model = as_model(model, classes=EXPRESSIONS, precision=settings.precision)
    model.name = name
    path = _group_path(experiment, network, fold)
    group = _kept_group(path) or (model.group if settings.group == "auto" else settings.group)
    if _is_probed(experiment, network, fold, faces):
        side = experiment.side(network)
        group = probe_group(model, np.full((side, side, 3), 0.5, np.float32))
        write_json(path, {"group": group})
    model.group = group
    return model


def probe_group(model: Model, image: np.ndarray) -> int:
    """Return the batch size with which a model takes least time per image.

    `GROUPS` are tried in turns, and the shortest time of each counts. `GROUP` is kept unless another size
    saves 5 %; sizes that memory is too short for are left out.

    Parameters
    ----------
    model : Model
    image : (H, W, 3) ndarray of float32, range [0, 1]
        Any of its images.
    """
    seconds: dict[int, float] = {}
    for turn in range(4):
        for size in GROUPS:
            notes, start = len(model.notes), time.perf_counter()
            model.predict(np.repeat(image[None], size, axis=0), group=size)
            # The first turn prepares the model for each size.
            if turn and len(model.notes) == notes:
                seconds[size] = min((time.perf_counter() - start) / size, seconds.get(size, np.inf))
    best = min(seconds, key=seconds.__getitem__, default=model.group)
    return GROUP if seconds.get(GROUP, np.inf) * 0.95 <= seconds.get(best, 0) else best


def explain_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> Run:
    """Query one model about its faces (``image_id, expression``), unless they are done."""
    run = Run()
    name = f"{network}_{fold}"
    todo = []
    for row in rows.itertuples():
        path = experiment.record_path(network, fold, row.image_id)
        if _is_done(path, row.image_id, name):
            run.kept(path)
        else:
            todo.append((path, row.image_id, row.expression))
    if not todo:
        return run
    try:
        model = load_model(experiment, network, fold, len(rows))
    except (DataError, MissingError, ModelError) as error:
        for _, image_id, _ in todo:
            run.omit(f"{name} {image_id}", error)
        return run
    for path, image_id, expression in tqdm(todo, desc=f"Explaining {name}", unit="image"):
        notes = len(model.notes)
        try:
            stored = query(experiment, model, network, fold, image_id, expression)
        except (DataError, MissingError, ModelError, SettingsError) as error:
            run.omit(f"{name} {image_id}", error)
            continue
        if len(model.notes) > notes:
            write_json(_group_path(experiment, network, fold), {"group": model.group})
        replace(stored, image_id=image_id, model=name).save(path)
        run.made(path)
    for note in model.notes:
        run.note(f"{name}: {note}")
    return run


def _parts(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Divide a model's faces among workers, if there are few models for them.

    Each part costs loading the model again, and all must be queried in batches of one size.
    """
    wanted = -(-_TASKS_PER_WORKER * workers() // len(experiment.pairs)) if workers() > 1 else 1
    if _is_probed(experiment, network, fold, len(rows)):
        wanted = 1
    size = max(1, -(-len(rows) // wanted))
    return [rows.iloc[start : start + size] for start in range(0, len(rows), size)] or [rows]


def _is_probed(experiment: Experiment, network: str, fold: str, faces: int) -> bool:
    """Say whether it is still to be found out how many images go through a model at once."""
    settings = experiment.explanation
    kept = _group_path(experiment, network, fold).exists()
    return settings.group == "auto" and faces * settings.samples >= _WORTH_A_PROBE and not kept


def _group_path(experiment: Experiment, network: str, fold: str) -> Path:
    return experiment.records_folder / f"{network}_{fold}" / "group.json"


def _kept_group(path: Path) -> int | None:
    """Return the batch size that was chosen earlier, or None if none was."""
    if not path.exists():
        return None
    stored = read_json(path)
    group = stored.get("group") if isinstance(stored, dict) else None
    if not isinstance(group, int) or isinstance(group, bool) or group < 1:
        raise DataError(f"{path} should hold a batch size, but holds {stored!r}. Delete its folder.")
    return group


def _is_done(path: Path, image_id: str, model: str) -> bool:
    try:
        found = Stored.load(path)
    except (FileNotFoundError, DataError):
        return False
    return (found.image_id, found.model) == (image_id, model)
