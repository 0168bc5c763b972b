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
from ekman_expressions.study.fit import split, train_model
from ekman_expressions.study.model_files import checkpoint_path, effort_path, history_path, initial_weights
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.training_table import write_training_table
from ekman_expressions.zoo import preprocessing_warning, saving
from ekman_expressions.zoo.training import device_notes


def training(experiment: Experiment, run: Run) -> None:
    """Train each network of an experiment on each fold; models that are there are skipped.

    Writes ``<network>_<fold>.keras`` (without optimiser state), ``<network>_<fold>_history.csv``
    and ``<network>_<fold>_training.json`` (time and memory) into ``experiment.models_folder``,
    and ``training.csv``, see `training_table`. A training that was interrupted resumes after
    its last finished epoch. A model whose loss becomes NaN is left out, with the reason.

    Raises
    ------
    MissingError
        If weights to start from are not there.
    DataError
        If a fold leaves no image to train on: before anything is trained.
    SavingError
        If the disk is full.
    """
    trained = [pair for pair in experiment.pairs if pair[0] in experiment.trained_networks]
    if experiment.training.weights == "released":
        released.check(experiment)
    else:
        _look_ahead(experiment, prepared.read_manifest(experiment), run)
    for network in experiment.trained_networks:
        settings = experiment.training
        if warning := preprocessing_warning(network, settings.preprocessing, settings.weights):
            run.note(warning)
    tasks = [
        Task(name="_".join(pair), function=_train_one, arguments=(experiment, *pair)) for pair in trained
    ]
    run_tasks(tasks, run, desc="Training", unit="model")
    # What an interrupted or failed training can resume from.
    checkpoints = [checkpoint_path(experiment, *pair) for pair in trained]
    run.kept(*(path for path in checkpoints if path.exists()), items=0)
    run.made(write_training_table(experiment), items=0)
    for note in released.notes(experiment):
        run.note(note)


def weight_files(experiment: Experiment) -> dict[str, Path]:
    """Return the files of weights from which the networks of an experiment start, by name."""
    weights = {name: initial_weights(experiment, name) for name in experiment.trained_networks}
    return {
        f"weights of {name}": Path(path)
        for name, path in weights.items()
        if path not in ("none", "imagenet", "released")
    }


def nothing_to_train(experiment: Experiment) -> str:
    """Say why there is nothing to train; an empty text if there is."""
    return "" if experiment.trained_networks else "all models are the user's own: nothing to train"


def _train_one(experiment: Experiment, network: str, fold: str) -> Run:
    """Train one model, unless it is there."""
    run = Run()
    place = experiment, network, fold
    if experiment.model_path(network, fold).exists():
        register = run.kept
        # Left when the process was killed between the model and the end.
        saving.remove_checkpoint(checkpoint_path(*place))
    else:
        train_model(*place, run.note)
        register = run.made
    beside = (history_path(*place), effort_path(*place), released.source_path(*place))
    register(experiment.model_path(network, fold), *(path for path in beside if path.exists()))
    return run


def _look_ahead(experiment: Experiment, manifest: pd.DataFrame, run: Run) -> None:
    """Find what would stop the last of the models now, and note what does not."""
    start_tensorflow()
    for note in device_notes(experiment.training.devices, experiment.training.precision):
        run.note(note)
    for fold in experiment.folds:
        try:
            rows, _ = split(experiment, manifest, fold)
        except DataError as error:
            raise DataError(f"No model of {experiment.name} was trained: {error}") from error
        lacking = set(EXPRESSIONS) - set(rows["expression"])
        if lacking:
            run.note(f"{fold}: no image of {', '.join(sorted(lacking))} to train on")
