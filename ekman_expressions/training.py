"""k-fold training: one model per network and fold, the same bytes whenever it is made again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import datasets
from ekman_expressions.errors import DataError, ModelError, check_option
from ekman_expressions.experiment import Experiment
from ekman_expressions.expressions import EXPRESSIONS
from ekman_expressions.provenance import Run, record, settings_of
from ekman_expressions.randomness import derive_seed, generator
from ekman_expressions.startup import start_tensorflow
from ekman_expressions.storage import read_csv, require, write_csv
from ekman_expressions.zoo import NETWORKS, saving
from ekman_expressions.zoo.applications import weights_file

if TYPE_CHECKING:
    import keras

HISTORY = ("epoch", "loss", "accuracy")
"""Columns of the learning curve that is kept of each model."""


def train(experiment: Experiment) -> Run:
    """Train each network of an experiment on each fold; models that are there are skipped.

    Writes ``<network>_<fold>.keras`` (without optimiser state) and
    ``<network>_<fold>_history.csv`` into ``experiment.models_folder``. A model whose loss
    becomes NaN is left out, with the reason.

    Returns
    -------
    Run
        Models trained and skipped, those left out, and which training sets lack an expression.

    Raises
    ------
    MissingError
        If the step 'faces' has not run, or weights to start from are not there.
    """
    manifest = datasets.read_manifest(experiment)
    inputs = {"manifest": experiment.manifest_path}
    for network in experiment.networks:
        weights = initial_weights(experiment, network)
        if weights not in ("none", "imagenet"):
            inputs[f"weights of {network}"] = Path(weights)
    with record(
        experiment.models_folder,
        "training",
        settings_of(experiment, "faces", "training"),
        inputs=inputs,
        upstream=[experiment.faces_folder],
    ) as run:
        for fold in experiment.folds:
            lacking = set(EXPRESSIONS) - set(manifest.loc[manifest["fold"] != fold, "expression"])
            if lacking:
                run.note(f"{fold}: no image of {', '.join(sorted(lacking))} to train on")
        for network, fold in tqdm(experiment.models, desc="Training", unit="model"):
            if experiment.model_path(network, fold).exists():
                run.skipped += 1
                continue
            try:
                train_model(experiment, network, fold)
                run.done += 1
            except ModelError as error:
                run.omit(f"{network}_{fold}", error)
    return run


def train_model(experiment: Experiment, network: str, fold: str) -> pd.DataFrame:
    """Train one network on all folds but one, and write the model and its learning curve.

    The images of `fold` are not even read. Weights, dropout and the order of the images come
    from the experiment's seed, the network and the fold, so that the files have the same bytes
    whenever, and after whatever else, they are made on one machine. For that, Keras' global
    state (layer names, random seeds) is reset, and TensorFlow's deterministic operations are
    switched on for the rest of the process.

    Returns
    -------
    DataFrame
        The learning curve: columns `HISTORY`, measured on the training images.

    Raises
    ------
    DataError
        If there is no image to train on.
    ModelError
        If the loss becomes NaN; nothing is written then.
    """
    start_tensorflow()
    import keras
    import tensorflow as tf

    _check_model(experiment, network, fold)
    numbers = experiment.training.of(network)
    manifest = datasets.read_manifest(experiment)
    # Sorted, so that the order of the manifest's rows changes nothing.
    rows = manifest[manifest["fold"] != fold].sort_values("image_id")
    if rows.empty:
        raise DataError(
            f"{network}_{fold} has no image to train on: all {len(manifest)} are in {fold}. "
            "Use more subjects."
        )
    images = datasets.read_faces(experiment, rows["image_id"], NETWORKS[network].side)
    classes = [EXPRESSIONS.index(expression) for expression in rows["expression"]]
    targets = np.eye(len(EXPRESSIONS), dtype=np.float32)[classes]

    keras.backend.clear_session()
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(derive_seed(experiment.seed, "training", network, fold) % 2**32)
    model = NETWORKS[network].build(
        initial_weights(experiment, network),
        experiment.training.preprocessing,
        len(EXPRESSIONS),
        numbers["batch_norm_momentum"],
    )
    batch_size, epochs = experiment.training.batch_size, numbers["epochs"]
    steps = math.ceil(len(images) / batch_size)
    rate = float(numbers["learning_rate"])
    if numbers["schedule"] == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps * epochs)
    # A second model around the same layers is compiled: what is saved stays without optimiser.
    learner = keras.Model(model.input, model.output)
    optimizers = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    learner.compile(
        optimizer=optimizers[numbers["optimizer"]](rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    with tqdm(total=epochs, desc=f"Training {network}_{fold}", unit="epoch", leave=False) as bar:
        history = learner.fit(
            _batches(experiment, network, fold, images, targets),
            steps_per_epoch=steps,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[_watch(f"{network}_{fold}", numbers["learning_rate"], bar)],
        ).history
    curve = pd.DataFrame({"epoch": range(1, epochs + 1), **{name: history[name] for name in HISTORY[1:]}})
    # The model comes last: where it is, all is there.
    write_csv(history_path(experiment, network, fold), curve)
    saving.save(model, experiment.model_path(network, fold))
    return curve


def load_model(experiment: Experiment, network: str, fold: str) -> keras.Model:
    """Load a trained model.

    Returns
    -------
    keras.Model
        ``(N, side, side, 3)`` float32 RGB images in [0, 1] to ``(N, 6)`` probabilities in
        the order of `EXPRESSIONS`. Not compiled. Code inside the file is not run.

    Raises
    ------
    SettingsError
        If the experiment has no such network or fold.
    MissingError
        If the model has not been trained.
    ModelError
        If the file is damaged.
    """
    _check_model(experiment, network, fold)
    path = require(experiment.model_path(network, fold), "training")
    try:
        model = saving.load(path)
    except ModelError as error:
        raise ModelError(f"{error} Delete it and run the step 'training' again.") from error
    wanted = (NETWORKS[network].side, NETWORKS[network].side, 3)
    received = model.input_shape[1:]
    if len(received) != 3 or any(
        has not in (None, side) for has, side in zip(received, wanted, strict=True)
    ):
        raise ModelError(
            f"{path} takes images of shape {received}, but {network} takes {wanted}: it is another network. "
            "Delete it and run the step 'training' again."
        )
    return model


def initial_weights(experiment: Experiment, network: str) -> str:
    """Say where a network's weights start: ``"none"``, ``"imagenet"`` or the path of a file.

    The networks that are trained from scratch always start at random.
    """
    weights = experiment.training.weights
    if not NETWORKS[network].pretrained or weights == "none":
        return "none"
    return weights if weights == "imagenet" else str(weights_file(weights, network))


def history_path(experiment: Experiment, network: str, fold: str) -> Path:
    """The file of one model's learning curve."""
    return experiment.models_folder / f"{network}_{fold}_history.csv"


def learning_curves(experiment: Experiment) -> pd.DataFrame:
    """Read the learning curves of all models that have been trained.

    Returns
    -------
    DataFrame
        Columns ``network, fold, epoch, loss, accuracy``: means over the training images
        during each epoch, dropout included.

    Raises
    ------
    MissingError
        If the step 'training' has not run.
    """
    require(experiment.models_folder / "run.json", "training")
    curves = [
        read_csv(history_path(experiment, network, fold), HISTORY).assign(network=network, fold=fold)
        for network, fold in experiment.models
        if experiment.model_path(network, fold).exists()
    ]
    columns = ["network", "fold", *HISTORY]
    return pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)


def _check_model(experiment: Experiment, network: str, fold: str) -> None:
    check_option(network, "network", experiment.networks)
    check_option(fold, "fold", experiment.folds)


def _batches(
    experiment: Experiment, network: str, fold: str, images: np.ndarray, targets: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the batches of one epoch after the other, each epoch in an order of its own."""
    size = experiment.training.batch_size
    for epoch in range(experiment.training.of(network)["epochs"]):
        order = generator(experiment.seed, "order", network, fold, epoch).permutation(len(images))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield images[chosen], targets[chosen]


def _watch(model: str, learning_rate: float, bar: tqdm) -> keras.callbacks.Callback:
    """Move the bar with each epoch, and stop as soon as the loss is NaN."""
    import keras

    def after_batch(batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise ModelError(
                f"The loss of {model} became {float(logs['loss'])} in epoch {bar.n + 1}, step {batch + 1}, "
                f"at learning rate {learning_rate:g}. Lower the rate, or check the images and the "
                "initial weights."
            )

    def after_epoch(epoch: int, logs: dict[str, float]) -> None:
        bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['accuracy']:.3f}", refresh=False)
        bar.update()

    return keras.callbacks.LambdaCallback(on_train_batch_end=after_batch, on_epoch_end=after_epoch)
