"""The step "explanations": a perturbation record for each explained face of each model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ekman_expressions import datasets, evaluation, own_models, training
from ekman_expressions.errors import DataError, MissingError, ModelError, check_option
from ekman_expressions.experiment import Experiment
from ekman_expressions.explainers.lime import lime
from ekman_expressions.explainers.recording import make_record
from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.expressions import EXPRESSIONS, index
from ekman_expressions.locks import locked
from ekman_expressions.perturbation import PerturbationRecord
from ekman_expressions.provenance import Run, record, settings_of
from ekman_expressions.randomness import generator
from ekman_expressions.storage import read_csv, require, write_csv

_STEP = "explanations"

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


@locked
def explain(experiment: Experiment) -> Run:
    """Ask each model about masked copies of the faces chosen for it (step "explanations").

    Writes one perturbation record per model and face, and ``explanations.csv`` with what LIME
    makes of it for the predicted class. Records that are there and whole are kept; faces that
    cannot be read, and those of models that are not there or answer nonsense, are listed as omissions.

    Raises
    ------
    MissingError
        If an earlier step has not run.
    ConflictError
        If records are there that were made with other settings, models or faces.
    """
    check_option(experiment.explanation.explainer, "explanation.explainer", EXPLAINERS)
    explained = evaluation.read_explained(experiment)
    models = {f"model {name}": path for name, path in own_models.model_files(experiment).items()}
    table_path = experiment.records_folder / "explanations.csv"
    settings = settings_of(experiment, "faces", "training", "models", "explanation")
    # Records hold for every kernel width and penalty: another one costs no model call.
    estimator = {name: getattr(experiment.explanation, name) for name in ("kernel_width", "alpha")}
    for name in estimator:
        settings["explanation"].pop(name, None)
    with record(
        experiment.records_folder,
        _STEP,
        settings,
        inputs={"manifest": experiment.manifest_path, **models},
        upstream=[experiment.models_folder, experiment.evaluation_folder],
    ) as run:
        for network, fold in experiment.pairs:
            rows = explained[(explained["network"] == network) & (explained["fold"] == fold)]
            if run.finished_before and all(
                experiment.record_path(network, fold, image_id).exists() for image_id in rows["image_id"]
            ):
                run.skipped += len(rows)
                continue
            of_model = explain_model(experiment, network, fold, rows)
            run.done += of_model.done
            run.skipped += of_model.skipped
            run.omissions += of_model.omissions
        if run.done or not run.finished_before or not _is_estimated(table_path, estimator):
            write_csv(table_path, _tabulate(experiment, explained).assign(**estimator))
    return run


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
    for image_id in rows["image_id"]:
        if _is_done(experiment, network, fold, image_id):
            run.skipped += 1
        else:
            todo.append(image_id)
    if not todo:
        return run
    name = f"{network}_{fold}"
    try:
        model = training.load_model(experiment, network, fold)
    except (DataError, MissingError, ModelError) as error:
        for image_id in todo:
            run.omit(f"{name} {image_id}", error)
        return run
    for image_id in tqdm(todo, desc=f"Explaining {name}", unit="image"):
        try:
            made = _ask(experiment, network, fold, image_id, model)
        except (DataError, MissingError, ModelError) as error:
            run.omit(f"{name} {image_id}", error)
            continue
        made.save(experiment.record_path(network, fold, image_id))
        run.done += 1
    return run


def _ask(experiment: Experiment, network: str, fold: str, image_id: str, model: object) -> PerturbationRecord:
    settings = experiment.explanation
    own = experiment.models.get(network)
    name = f"{network}_{fold}"
    return make_record(
        model,
        datasets.read_faces(experiment, [image_id], experiment.side(network))[0],
        # From the names alone: order, workers and interruptions change nothing.
        seed=generator(experiment.seed, "lime", name, image_id),
        image_id=image_id,
        name=name,
        segments=settings.segments,
        compactness=settings.compactness,
        samples=settings.samples,
        hidden=settings.hidden,
        batch_size=settings.batch_size,
        classes=len(own.classes) if own else len(EXPRESSIONS),
    )


def _is_done(experiment: Experiment, network: str, fold: str, image_id: str) -> bool:
    path = experiment.record_path(network, fold, image_id)
    if not path.exists():
        return False
    try:
        found = PerturbationRecord.load(path)
    except DataError:
        return False
    return (found.image_id, found.model) == (image_id, f"{network}_{fold}")


def _is_estimated(path: Path, estimator: dict[str, float]) -> bool:
    if not path.exists():
        return False
    table = read_csv(path, (*COLUMNS, *estimator))
    return all((table[name] == value).all() for name, value in estimator.items())


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
