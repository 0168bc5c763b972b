"""The step 'training': all models of an experiment, those that are there skipped."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.study import prepared, released
from ekman_expressions.study.execution import Task, run_tasks
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.fit import train_model
from ekman_expressions.study.locks import locked
from ekman_expressions.study.model_files import checkpoint_path, initial_weights
from ekman_expressions.study.provenance import Run, record, settings_of
from ekman_expressions.study.training_table import write_training_table
from ekman_expressions.study.validation import split
from ekman_expressions.zoo import checkpoint, hardware, preprocessing_warning


@locked
def train(experiment: Experiment) -> Run:
    """Train each network of an experiment on each fold; models that are there are skipped.

    Writes ``<network>_<fold>.keras`` (without optimiser state), ``<network>_<fold>_history.csv``
    and ``<network>_<fold>_training.json`` (time and memory) into ``experiment.models_folder``,
    and ``training.csv``, see `training_table`. A training that was interrupted goes on after
    its last finished epoch. A model whose loss becomes NaN is left out, with the reason.

    Returns
    -------
    Run
        Models trained and skipped, those left out, which were interrupted before, and which
        training sets lack an expression.

    Raises
    ------
    MissingError
        If the step 'faces' has not run, or weights to start from are not there.
    DataError
        If a fold leaves no image to train on: before anything is trained.
    SavingError
        If the disk is full.
    """
    manifest = prepared.read_manifest(experiment)
    inputs = {"manifest": experiment.manifest_path}
    if experiment.training.weights == "released":
        released.check(experiment)
    for network in experiment.trained_networks:
        weights = initial_weights(experiment, network)
        if weights not in ("none", "imagenet", "released"):
            inputs[f"weights of {network}"] = Path(weights)
    with record(
        experiment.models_folder,
        "training",
        settings_of(experiment, "faces", "training"),
        inputs=inputs,
        upstream=[experiment.faces_folder],
    ) as run:
        trained = [pair for pair in experiment.pairs if pair[0] in experiment.trained_networks]
        if trained and experiment.training.weights != "released":
            _look_ahead(experiment, manifest, run)
        for network in experiment.trained_networks:
            settings = experiment.training
            if warning := preprocessing_warning(network, settings.preprocessing, settings.weights):
                run.note(warning)
        tasks = [
            Task(name="_".join(pair), function=_train_one, arguments=(experiment, *pair)) for pair in trained
        ]
        run_tasks(tasks, run, desc="Training", unit="model")
        # A run that was killed may have made the last model, but not the table.
        if run.done or (run.skipped and not run.finished_before):
            write_training_table(experiment)
        for note in released.notes(experiment):
            run.note(note)
    return run


def _train_one(experiment: Experiment, network: str, fold: str) -> Run:
    """Train one model, unless it is there."""
    run = Run()
    if experiment.model_path(network, fold).exists():
        run.skipped += 1
        # Left when the process was killed between the model and the end.
        checkpoint.remove(checkpoint_path(experiment, network, fold))
        return run
    train_model(experiment, network, fold, run.note)
    run.done += 1
    return run


def _look_ahead(experiment: Experiment, manifest: pd.DataFrame, run: Run) -> None:
    """Find what would stop the last of the models now, and note what does not."""
    start_tensorflow()
    for note in hardware.notes_on(experiment.training.devices, experiment.training.precision):
        run.note(note)
    for fold in experiment.folds:
        try:
            rows, _ = split(experiment, manifest, fold)
        except DataError as error:
            raise DataError(f"No model of {experiment.name} was trained: {error}") from error
        lacking = set(EXPRESSIONS) - set(rows["expression"])
        if lacking:
            run.note(f"{fold}: no image of {', '.join(sorted(lacking))} to train on")
