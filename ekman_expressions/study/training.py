"""The step "training": all models of an experiment, each trained on all folds but one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_csv, write_json
from ekman_expressions.core.seeds import generator
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.study import prepared, released
from ekman_expressions.study.execution import Task, run_tasks
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.model_files import (
    check_model,
    checkpoint_path,
    effort_path,
    history_path,
    initial_weights,
)
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.training_table import write_training_table
from ekman_expressions.zoo import NETWORKS, preprocessing_warning, saving, train
from ekman_expressions.zoo.training import HISTORY, device_notes, effort, stack_images

_CHUNK = 64


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


def train_model(
    experiment: Experiment, network: str, fold: str, note: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Train one network on all folds but one, and write the model and its learning curve.

    The images of `fold` are not even read, unless ``validation = "test"`` asks for a log of how
    the model does on them, which decides nothing. See `ekman_expressions.zoo.training.train`.

    Parameters
    ----------
    experiment : Experiment
        Settings and folders.
    network, fold : str
        Which model.
    note : callable, optional
        Takes remarks: that an interrupted training resumes, or that its checkpoint cannot be
        used. By default they become warnings.

    Returns
    -------
    DataFrame
        The learning curve; no rows with released weights, which are only fetched and loaded.

    Raises
    ------
    DataError
        If there is no image to train on.
    ModelError
        If the loss or a weight becomes NaN or infinite. No model is written then; the
        checkpoint of the last good epoch stays (`load_last_epoch` reads it).
    SavingError
        If the disk is full. What was written before is whole, and the training can resume.
    """
    check_model(experiment, network, fold)
    settings = experiment.training
    path = checkpoint_path(experiment, network, fold)
    if settings.weights == "released":
        model, curve = released.model(experiment, network, fold), pd.DataFrame(columns=HISTORY)
    else:
        try:
            rows, watched = split(experiment, prepared.read_manifest(experiment), fold)
        except DataError as error:
            raise DataError(f"{network}_{fold} cannot be trained: {error}") from error
        side = NETWORKS[network].side
        trained = train(
            network,
            _faces(experiment, rows, side),
            list(rows["expression"]),
            validation=(_faces(experiment, watched, side), list(watched["expression"]))
            if len(watched)
            else None,
            patience=settings.patience if settings.validation == "subjects" else None,
            **settings.of(network),
            batch_size=settings.batch_size,
            augment=settings.augment,
            weights=initial_weights(experiment, network),
            preprocessing=settings.preprocessing,
            precision=settings.precision,
            devices=settings.devices,
            seed=experiment.seed,
            fold=fold,
            checkpoint=path,
            note=note,
        )
        model, curve, seconds = trained.model, trained.curve, trained.seconds
        taken = {
            "images": len(rows),
            "held_out_images": len(watched),
            "best_epoch": trained.best_epoch,
            "seconds": round(seconds, 3),
            "images_per_second": round(len(rows) * len(curve) / seconds, 1) if seconds else None,
        }
        with saving.disk_errors(effort_path(experiment, network, fold)):
            write_json(effort_path(experiment, network, fold), taken | effort())
    # The model comes last: where it is, all is there.
    history = history_path(experiment, network, fold)
    with saving.disk_errors(history):
        write_csv(history, curve)
    saving.save(model, experiment.model_path(network, fold))
    saving.remove_checkpoint(path)
    return curve


def split(experiment: Experiment, manifest: pd.DataFrame, fold: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose the images of one fold's models.

    The test fold is never trained on. With ``validation = "subjects"`` some of the other
    subjects are held out, the same for all networks; drawn by the experiment's seed.

    Parameters
    ----------
    experiment : Experiment
        Its seed and training settings count.
    manifest : DataFrame
        One row per face, in any order.
    fold : str
        The test fold.

    Returns
    -------
    (DataFrame, DataFrame)
        Rows to train on, and rows to watch: none, those of the test fold, or those of the
        subjects held out. Sorted by image.

    Raises
    ------
    DataError
        If there is no image to train on, or (with ``"subjects"``) only one subject, or
        (with ``"test"``) no image in the test fold.
    """
    # Sorted, so that the order of the manifest's rows changes nothing.
    rows = manifest.sort_values("image_id")
    test, others = rows[rows["fold"] == fold], rows[rows["fold"] != fold]
    if others.empty:
        raise DataError(
            f"{fold} has no image to train on: all {len(manifest)} are in {fold}. Use more subjects."
        )
    settings = experiment.training
    if settings.validation == "none":
        return others, others.iloc[:0]
    if settings.validation == "test":
        if test.empty:
            raise DataError(f'{fold} has no image to watch. Set training.validation = "none".')
        return others, test
    subjects = sorted(others["subject"].unique())
    if len(subjects) < 2:
        raise DataError(
            f"{fold} has only one subject to train on, {subjects[0]}: none can be held out. Use more "
            'subjects, or set training.validation = "none".'
        )
    count = min(max(1, round(settings.validation_fraction * len(subjects))), len(subjects) - 1)
    chosen = generator(experiment.seed, "validation", fold).choice(len(subjects), count, replace=False)
    held_out = others["subject"].isin([subjects[number] for number in chosen])
    return others[~held_out], others[held_out]


def _faces(experiment: Experiment, rows: pd.DataFrame, side: int) -> np.ndarray:
    """Read faces at the size of a network once, so that an epoch decodes nothing."""
    names = list(rows["image_id"])
    chunks = (
        prepared.read_faces(experiment, names[start : start + _CHUNK], side)
        for start in range(0, len(names), _CHUNK)
    )
    return stack_images(chunks, (len(names), side, side, 3), experiment.models_folder)


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
