"""One model: built, trained epoch by epoch with a checkpoint after each, and written."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import hash_of, sha256, write_csv, write_json
from ekman_expressions.core.seeds import derive_seed, keras_seeded
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.study import pipeline, prepared, released
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.model_files import (
    check_model,
    checkpoint_path,
    effort_path,
    history_path,
    initial_weights,
)
from ekman_expressions.study.provenance import settings_of
from ekman_expressions.study.validation import split
from ekman_expressions.zoo import NETWORKS, checkpoint, hardware, saving
from ekman_expressions.zoo.optimizers import make_optimizer
from ekman_expressions.zoo.watch import HISTORY, Watch


def train_model(
    experiment: Experiment, network: str, fold: str, note: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Train one network on all folds but one, and write the model and its learning curve.

    The images of `fold` are not even read, unless ``validation = "test"`` asks for a log of how
    the model does on them, which decides nothing. Weights, dropout, the order of the images and
    their augmentation come from the experiment's seed, the network and the fold, so that the
    files have the same bytes whenever, and after whatever else, they are made on one machine.
    For that, Keras' global state (layer names, random seeds) is reset, and TensorFlow's
    deterministic operations are switched on for the rest of the process.

    After each epoch a checkpoint is written, from which an interrupted training goes on to the
    same bytes; it is removed at the end.

    Parameters
    ----------
    experiment : Experiment
        Settings and folders.
    network, fold : str
        Which model.
    note : callable, optional
        Takes remarks: that an interrupted training goes on, or that its checkpoint cannot be
        used. By default they become warnings.

    Returns
    -------
    DataFrame
        The learning curve: columns `HISTORY`, measured on the training images, and
        ``val_loss, val_accuracy`` where images are watched. No rows with released weights,
        which are only fetched and loaded.

    Raises
    ------
    DataError
        If there is no image to train on.
    ModelError
        If the loss or a weight becomes NaN or infinite. No model is written then; the
        checkpoint of the last good epoch stays (`load_last_epoch` reads it).
    SavingError
        If the disk is full. What was written before is whole, and the training can go on.
    """
    start_tensorflow()
    import keras
    import tensorflow as tf

    check_model(experiment, network, fold)
    note = note or (lambda text: warnings.warn(text, stacklevel=3))
    if experiment.training.weights == "released":
        keras.backend.clear_session()
        return _write(experiment, network, fold, released.model(experiment, network, fold), [])
    try:
        rows, watched = split(experiment, prepared.read_manifest(experiment), fold)
    except DataError as error:
        raise DataError(f"{network}_{fold} cannot be trained: {error}") from error
    side = NETWORKS[network].side
    faces = pipeline.decoded_faces(experiment, rows["image_id"], side)
    watched_faces = pipeline.decoded_faces(experiment, watched["image_id"], side)

    keras.backend.clear_session()
    tf.config.experimental.enable_op_determinism()
    strategy = hardware.strategy_for(experiment.training.devices)
    replicas = strategy.num_replicas_in_sync
    steps = math.ceil((len(faces) - len(faces) % replicas) / experiment.training.batch_size)
    seeded = keras_seeded(derive_seed(experiment.seed, "training", network, fold) % 2**32)
    with strategy.scope(), seeded:
        model, learner = build_learner(experiment, network, steps)
        fingerprint = _fingerprint(experiment, network, fold, rows, watched, faces, replicas)
        progress = _resume(checkpoint_path(experiment, network, fold), fingerprint, learner, note)
    watch = Watch(
        learner,
        f"{network}_{fold}",
        progress,
        patience=experiment.training.patience if experiment.training.validation == "subjects" else None,
        path=checkpoint_path(experiment, network, fold),
        fingerprint=fingerprint,
    )
    epochs, done = experiment.training.of(network)["epochs"], len(progress.curve)
    if done < epochs and not watch.finished():
        targets = pipeline.one_hot(rows)
        batches, steps = pipeline.training_batches(
            experiment, network, fold, faces, targets, first_epoch=done, replicas=replicas
        )
        validation = None
        if len(watched):
            validation = pipeline.validation_batches(
                watched_faces, pipeline.one_hot(watched), experiment.training.batch_size
            )
        with tqdm(total=epochs, initial=done, desc=watch.title, unit="epoch", leave=False) as bar:
            learner.fit(
                batches,
                validation_data=validation,
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=epochs,
                shuffle=False,
                verbose=0,
                callbacks=[watch.callback(bar, time.perf_counter)],
            )
    with strategy.scope():
        watch.choose_weights(model)
    _write_effort(experiment, network, fold, progress, len(rows), len(watched))
    curve = _write(experiment, network, fold, model, progress.curve)
    checkpoint.remove(checkpoint_path(experiment, network, fold))
    return curve


def build_learner(experiment: Experiment, network: str, steps: int) -> tuple[keras.Model, keras.Model]:
    """Build a network, and the model that is trained in its place.

    Parameters
    ----------
    experiment : Experiment
        Its training settings count.
    network : str
        Which.
    steps : int
        Training steps in an epoch, for the cosine schedule.

    Returns
    -------
    (keras.Model, keras.Model)
        What is saved in the end: 32 bits, without optimiser. And what learns: compiled, around
        the same layers, or with ``mixed_float16`` a copy.
    """
    import keras

    settings, numbers = experiment.training, experiment.training.of(network)
    model = NETWORKS[network].build(
        initial_weights(experiment, network),
        settings.preprocessing,
        len(EXPRESSIONS),
        numbers["batch_norm_momentum"],
    )
    rate = float(numbers["learning_rate"])
    if numbers["schedule"] == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps * numbers["epochs"])
    optimizer = make_optimizer(numbers["optimizer"], rate)
    if settings.precision == "float32":
        learner = keras.Model(model.input, model.output)
    else:
        learner = hardware.mixed_copy(model)
        # Small gradients vanish in 16 bits unless the loss is scaled up.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    learner.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    # Its variables are there from now on, for a checkpoint to be read into.
    optimizer.build(learner.trainable_variables)
    # So are those of the metrics: made within the training step, they would have it traced twice.
    nothing = np.zeros((1, len(EXPRESSIONS)), np.float32)
    learner.compute_metrics(None, nothing, nothing)
    learner.reset_metrics()
    return model, learner


def _resume(
    path: Path, fingerprint: str, learner: keras.Model, note: Callable[[str], None]
) -> checkpoint.Progress:
    if not path.exists():
        return checkpoint.Progress()
    try:
        progress = checkpoint.restore(path, fingerprint, learner)
    except DataError as error:
        note(f"{error} It is not used: the training starts at the first epoch.")
        return checkpoint.Progress()
    note(f"{path.name}: the training goes on after epoch {len(progress.curve)}")
    return progress


def _fingerprint(
    experiment: Experiment,
    network: str,
    fold: str,
    rows: pd.DataFrame,
    watched: pd.DataFrame,
    faces: np.ndarray,
    replicas: int,
) -> str:
    """Hash all that the bytes of a model depend on."""
    alone = experiment.replace(networks=(network,), models={})
    weights = initial_weights(experiment, network)
    return hash_of(
        {
            "model": [network, fold],
            "settings": settings_of(alone, "faces", "training"),
            "weights": weights if weights in ("none", "imagenet") else sha256(Path(weights)),
            "images": [rows[["image_id", "expression"]].values.tolist(), list(watched["image_id"])],
            "pixels": hashlib.sha256(np.ascontiguousarray(faces)).hexdigest(),
            "libraries": [metadata.version(name) for name in ("tensorflow", "keras", "numpy")],
            "replicas": replicas,
        }
    )


def _write(
    experiment: Experiment, network: str, fold: str, model: keras.Model, rows: list[dict[str, Any]]
) -> pd.DataFrame:
    curve = pd.DataFrame(rows) if rows else pd.DataFrame(columns=HISTORY)
    # The model comes last: where it is, all is there.
    path = history_path(experiment, network, fold)
    with saving.disk_errors(path):
        write_csv(path, curve)
    saving.save(model, experiment.model_path(network, fold))
    return curve


def _write_effort(
    experiment: Experiment, network: str, fold: str, progress: checkpoint.Progress, images: int, watched: int
) -> None:
    path = effort_path(experiment, network, fold)
    seconds = progress.seconds
    with saving.disk_errors(path):
        write_json(
            path,
            {
                "images": images,
                "held_out_images": watched,
                "best_epoch": progress.best_epoch,
                "seconds": round(seconds, 3),
                "images_per_second": round(images * len(progress.curve) / seconds, 1) if seconds else None,
                "peak_memory_mb": hardware.peak_memory(),
                "gpu_memory_mb": hardware.gpu_memory(),
                "threads": hardware.threads(),
            },
        )
