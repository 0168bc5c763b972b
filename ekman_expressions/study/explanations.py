"""The step "explanations": a perturbation record for each explained face of each model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError, check_option
from ekman_expressions.core.expressions import EXPRESSIONS, index
from ekman_expressions.core.files import read_csv, require, write_csv
from ekman_expressions.core.seeds import generator
from ekman_expressions.explainers.facial_regions import region_segments
from ekman_expressions.explainers.lime import lime
from ekman_expressions.explainers.record import PerturbationRecord, make_record
from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.study import evaluation, model_files, prepared
from ekman_expressions.study.execution import Task, run_tasks, workers
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.maps import map_model
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.asking import GROUP, Asker
from ekman_expressions.zoo.compiled import is_keras
from ekman_expressions.zoo.probing import WORTH, keep_group, kept_group, probe_group

_STEP = "explanations"

_TASKS_PER_WORKER = 4
"""With so many tasks for each worker, none waits long for the last one."""

COLUMNS = (
    "network",
    "fold",
    "image_id",
    "expression",
    "superpixels",
    "intercept",
    "r2",
    "largest_weight",
    "mean_standard_error",
)
"""Columns of ``explanations.csv``: who was explained, for which class, and how well."""


def explanations(experiment: Experiment, run: Run) -> None:
    """Query each model with masked copies of the faces chosen for it.

    Writes one perturbation record per model and face, and ``explanations.csv`` with what LIME
    makes of it for the predicted class; explainers that need no records write their maps
    instead. What is there and whole is kept; faces that cannot be read, and those of models that
    are not there or whose predictions are not finite, are listed as omissions.
    """
    check_option(experiment.explanation.explainer, "explanation.explainer", EXPLAINERS)
    from_records = SPECS[experiment.explanation.explainer].records != "none"
    function = explain_model if from_records else map_model
    explained = evaluation.read_explained(experiment)
    tasks = []
    for network, fold in experiment.pairs:
        rows = explained[(explained["network"] == network) & (explained["fold"] == fold)]
        tasks += [
            Task(
                name=f"{network}_{fold}",
                function=function,
                arguments=(experiment, network, fold, part),
                weight=len(part),
            )
            for part in _parts(experiment, network, fold, rows)
        ]
    run_tasks(tasks, run, desc="Explaining", unit="image", own_bars=True)
    groups = [_group_path(experiment, *pair) for pair in experiment.pairs]
    run.kept(*(path for path in groups if path.exists()), items=0)
    if from_records:
        path = experiment.records_folder / "explanations.csv"
        estimator = {name: getattr(experiment.explanation, name) for name in ("kernel_width", "alpha")}
        if run.begun or not path.exists():
            write_csv(path, _tabulate(experiment, explained).assign(**estimator))
            run.made(path, items=0)
        else:
            run.kept(path, items=0)


def read_explanations(experiment: Experiment) -> pd.DataFrame:
    """Read what LIME made of each record: a row per model and face.

    Returns
    -------
    DataFrame
        The `COLUMNS`, and the ``kernel_width`` and ``alpha`` of the estimate.
    """
    path = require(experiment.records_folder / "explanations.csv", _STEP)
    return read_csv(path, COLUMNS, dtype={"image_id": str})


def explain_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> Run:
    """Write the perturbation records of one model, unless they are there.

    Parameters
    ----------
    experiment : Experiment
        The settings and folders.
    network, fold : str
        Which model.
    rows : DataFrame
        The faces to explain, by ``image_id``.

    Returns
    -------
    Run
        What was done, skipped, and left out.
    """
    run = Run()
    todo = []
    for row in rows.itertuples():
        if _is_done(experiment, network, fold, row.image_id):
            run.kept(experiment.record_path(network, fold, row.image_id))
        else:
            todo.append((row.image_id, index(row.expression)))
    if not todo:
        return run
    name = f"{network}_{fold}"
    asker = None
    try:
        model = model_files.load_model(experiment, network, fold)
    except (DataError, MissingError, ModelError) as error:
        for image_id, _ in todo:
            run.omit(f"{name} {image_id}", error)
        return run
    for image_id, target in tqdm(todo, desc=f"Explaining {name}", unit="image"):
        try:
            image = prepared.read_faces(experiment, [image_id], experiment.side(network))[0]
            asker = asker or _prepare(experiment, network, fold, model, image, len(rows))
            at_once = asker.at_once
            made = _ask(experiment, network, fold, image_id, target, image, asker)
        except (DataError, MissingError, ModelError, SettingsError) as error:
            run.omit(f"{name} {image_id}", error)
            continue
        if asker.at_once != at_once and is_keras(model):
            keep_group(_group_path(experiment, network, fold), asker.at_once)
        path = experiment.record_path(network, fold, image_id)
        made.save(path)
        run.made(path)
    for note in asker.notes if asker else ():
        run.note(f"{name}: {note}")
    return run


def _parts(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Divide a model's faces among workers, if there are few models for them.

    Each part costs loading the model again, and all must be asked in groups of one size.
    """
    wanted = -(-_TASKS_PER_WORKER * workers() // len(experiment.pairs)) if workers() > 1 else 1
    if _is_probed(experiment, network, fold, len(rows)):
        wanted = 1
    size = max(1, -(-len(rows) // wanted))
    return [rows.iloc[start : start + size] for start in range(0, len(rows), size)] or [rows]


def _is_probed(experiment: Experiment, network: str, fold: str, faces: int) -> bool:
    """Say whether it is still to be found out how many images go through a model at once."""
    settings = experiment.explanation
    passes = faces * settings.samples
    kept = _group_path(experiment, network, fold).exists()
    return settings.group == "auto" and passes >= WORTH and not kept


def _prepare(
    experiment: Experiment, network: str, fold: str, model: Any, image: np.ndarray, faces: int
) -> Asker:
    """Choose how many images go through a model at once, or take what was chosen before."""
    settings = experiment.explanation
    path = _group_path(experiment, network, fold)
    group = kept_group(path) or (GROUP if settings.group == "auto" else settings.group)
    if is_keras(model) and _is_probed(experiment, network, fold, faces):
        group = probe_group(model, image, precision=settings.precision)
        keep_group(path, group)
    return Asker(model, group=group, batch_size=settings.batch_size, precision=settings.precision)


def _group_path(experiment: Experiment, network: str, fold: str) -> Path:
    return experiment.records_folder / f"{network}_{fold}" / "group.json"


def _ask(
    experiment: Experiment,
    network: str,
    fold: str,
    image_id: str,
    target: int,
    image: np.ndarray,
    asker: Asker,
) -> PerturbationRecord:
    settings = experiment.explanation
    own = experiment.models.get(network)
    name = f"{network}_{fold}"
    return make_record(
        asker,
        image,
        # From the names alone: order, workers and interruptions change nothing.
        seed=generator(experiment.seed, "lime", name, image_id),
        labels=_divided(experiment, network, fold, image_id, image.shape[:2]),
        image_id=image_id,
        name=name,
        segments=settings.segments,
        compactness=settings.compactness,
        samples=settings.samples,
        sampler=settings.sampler,
        hidden=settings.hidden,
        classes=len(own.classes) if own else len(EXPRESSIONS),
    )


def _divided(
    experiment: Experiment, network: str, fold: str, image_id: str, shape: tuple[int, int]
) -> np.ndarray | None:
    """Return the facial regions, or superpixels that another record has for the same image and size."""
    if SPECS[experiment.explanation.explainer].landmarks:
        return region_segments(prepared.read_landmarks(experiment, image_id), shape)[0]
    for other in experiment.networks:
        path = experiment.record_path(other, fold, image_id)
        if other != network and experiment.side(other) == experiment.side(network) and path.exists():
            try:
                return PerturbationRecord.load(path).segments
            except DataError:
                continue
    return None


def _is_done(experiment: Experiment, network: str, fold: str, image_id: str) -> bool:
    path = experiment.record_path(network, fold, image_id)
    if not path.exists():
        return False
    try:
        found = PerturbationRecord.load(path)
    except DataError:
        return False
    return (found.image_id, found.model, found.sampler) == (
        image_id,
        f"{network}_{fold}",
        experiment.explanation.sampler,
    )


def _tabulate(experiment: Experiment, explained: pd.DataFrame) -> pd.DataFrame:
    settings = experiment.explanation
    lines = []
    for row in tqdm(explained.itertuples(), desc="Estimating weights", unit="image", total=len(explained)):
        path = experiment.record_path(row.network, row.fold, row.image_id)
        if (row.network, row.fold) not in experiment.pairs or not path.exists():
            continue
        explanation = lime(
            PerturbationRecord.load(path),
            index(row.expression),
            kernel_width=settings.kernel_width,
            alpha=settings.alpha,
        )
        lines.append(
            {
                "network": row.network,
                "fold": row.fold,
                "image_id": row.image_id,
                "expression": row.expression,
                "superpixels": len(explanation.weights),
                "intercept": explanation.intercept,
                "r2": explanation.r2,
                "largest_weight": explanation.weights.max(),
                "mean_standard_error": explanation.standard_errors.mean(),
            }
        )
    return pd.DataFrame(lines, columns=COLUMNS)
