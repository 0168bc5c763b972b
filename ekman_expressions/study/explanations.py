"""The step "explanations": each model is queried about faces, and what it predicts is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError
from ekman_expressions.core.expressions import index
from ekman_expressions.core.files import require
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import EXPLAINERS, Explanation, Stored
from ekman_expressions.study import evaluation, model_files, prepared
from ekman_expressions.study.execution import Task, run_tasks, workers
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.model import Model

_TASKS_PER_WORKER = 4
"""With so many tasks for each worker, none waits long for the last one."""


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
            for part in _parts(experiment, rows)
        ]
    run_tasks(tasks, run, desc="Explaining", unit="image", own_bars=True)


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


def load_model(experiment: Experiment, network: str, fold: str) -> Model:
    """Return a trained model that predicts in the precision of the explanations."""
    return model_files.load_model(experiment, network, fold, experiment.explanation.precision)


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
        model = load_model(experiment, network, fold)
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
        run.made(path)
    for note in model.notes:
        run.note(f"{name}: {note}")
    return run


def _parts(experiment: Experiment, rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Divide a model's faces among workers, if there are few models for them.

    Each part costs loading the model again.
    """
    wanted = -(-_TASKS_PER_WORKER * workers() // len(experiment.pairs)) if workers() > 1 else 1
    size = max(1, -(-len(rows) // wanted))
    return [rows.iloc[start : start + size] for start in range(0, len(rows), size)] or [rows]


def _is_done(path: Path, image_id: str, model: str) -> bool:
    try:
        found = Stored.load(path)
    except (FileNotFoundError, DataError):
        return False
    return (found.image_id, found.model) == (image_id, model)
