"""One model of an experiment: trained on all folds but one, and written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import write_csv, write_json
from ekman_expressions.core.seeds import generator
from ekman_expressions.study import prepared, released
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.model_files import (
    check_model,
    checkpoint_path,
    effort_path,
    history_path,
    initial_weights,
)
from ekman_expressions.zoo import NETWORKS, saving, train
from ekman_expressions.zoo.training import HISTORY, effort, stack_images

_CHUNK = 64


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
