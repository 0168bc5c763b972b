"""Training of one model: batches, learning, what stops it, and a checkpoint after each epoch."""

from __future__ import annotations

import hashlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

from ekman_expressions.core.errors import DataError, ModelError, check_option, check_range
from ekman_expressions.core.expressions import EXPRESSIONS, parse_expression
from ekman_expressions.core.files import hash_of
from ekman_expressions.core.runtime import derive_seed, generator, start_tensorflow
from ekman_expressions.zoo import saving
from ekman_expressions.zoo.backends import _fused_adam, _given_seed, _keras_seeded
from ekman_expressions.zoo.networks import NETWORKS

_HISTORY = ("epoch", "loss", "accuracy")

_TURN, _SHIFT, _CONTRAST = 0.03, 0.05, 0.1
"""Augmentation: largest rotation to either side, in full turns; largest shift along each axis, as a share of
the side; largest relative change of the contrast."""


@dataclass(frozen=True, eq=False)
class _Trained:
    """What `train` returns."""

    model: keras.Model
    curve: pd.DataFrame
    seconds: float


def train(
    network: str,
    images: np.ndarray,
    labels: Sequence[str],
    *,
    classes: Sequence[str] = EXPRESSIONS,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    schedule: str = "constant",
    warmup: int = 0,
    epochs: int | None = None,
    batch_norm_momentum: float | None = None,
    side: int | None = None,
    batch_size: int = 128,
    augment: str = "none",
    weights: str = "none",
    preprocessing: str = "paper",
    seed: int = 0,
    fold: str = "CV1",
    checkpoint: Path | None = None,
    note: Callable[[str], None] | None = None,
) -> _Trained:
    """Train one network of `NETWORKS`.

    Weights, dropout, the order of the images and their augmentation come from seed, network and fold, so
    that the model has the same bytes whenever, and after whatever else, it is trained on one machine. For
    that, Keras' global state (layer names, random seeds) is reset, and TensorFlow's deterministic
    operations are switched on for the rest of the process.

    Parameters
    ----------
    network : str
        One of `NETWORKS`.
    images : (N, side, side, 3) ndarray of uint8
        RGB, of the side that the model takes.
    labels : sequence of str
        Each image's expression.
    classes : sequence of str
        The names of the outputs, in their order: by default the six expressions.
    optimizer : {'adam', 'rmsprop'}, optional
        By default the study's, like `learning_rate` and `epochs`.
    learning_rate : float, optional
    schedule : {'constant', 'cosine'}
        ``cosine`` lets the rate fall to 0 at the last step.
    warmup : int
        Steps in which the rate first rises from 0.
    side : int, pixels, optional
        Side of the images; by default the network's in the study.
    epochs, batch_size : int
        Passes over the images; images per step.
    augment : {'none', 'flips', 'all'}
        Flip images at random; with ``'all'``, turn and shift them and change their contrast, too.
    weights, preprocessing, batch_norm_momentum
        See `NetSpec.build`.
    seed, fold : int, str
        All randomness comes from them and the network; messages name the model by its fold (``WeiNet_CV1``).
    checkpoint : path, optional
        File that keeps the last finished epoch, from which an interrupted training resumes to the same bytes.
        It stays at the end, for the model to be saved first.
    note : callable, optional
        Takes remarks: that a training resumes, or that its checkpoint cannot be used. By default they
        become warnings.

    Returns
    -------
    object
        With the attributes ``model``: a Keras model in float32, not compiled; ``curve``: a DataFrame with, per
        epoch, ``epoch`` (from 1), ``loss`` and ``accuracy`` (means over the training images during the epoch,
        dropout included); ``seconds``: what all epochs took, in all runs together, compiling included.

    Raises
    ------
    DataError, ModelError, OSError
        If images and labels do not fit; if the loss or a weight becomes NaN or infinite (the
        checkpoint of the last good epoch stays); if the disk is full (the last checkpoint is whole).

    Examples
    --------
    >>> trained = train("WeiNet", faces, labels, epochs=4, seed=0)  # doctest: +SKIP
    >>> saving.save(trained.model, "WeiNet.keras")  # doctest: +SKIP
    """
    start_tensorflow()
    import keras
    import tensorflow as tf

    check_option(network, "network", NETWORKS)
    check_range(batch_size, "batch_size", 1, integer=True)
    note = note or (lambda text: warnings.warn(text, stacklevel=3))
    spec, name = NETWORKS[network], f"{network}_{fold}"
    check_option(augment, "augment", ("none", "flips", "all"))
    check_range(warmup, "warmup", 0, integer=True)
    epochs, side = epochs or spec.epochs, side or spec.side
    targets = _one_hot(images, labels, side, name, classes)
    keras.backend.clear_session()
    tf.config.experimental.enable_op_determinism()
    steps = math.ceil(len(images) / batch_size)
    settings = {
        "weights": weights,
        "preprocessing": preprocessing,
        "classes": len(classes),
        "batch_norm_momentum": batch_norm_momentum,
        "side": side,
        "optimizer": optimizer or spec.optimizer,
        "learning_rate": spec.learning_rate if learning_rate is None else learning_rate,
        "schedule": schedule,
        "warmup": warmup,
    }
    fingerprint = hash_of(
        {
            "model": [network, fold, seed],
            "settings": settings,
            "epochs": [epochs, batch_size, augment],
            "images": hashlib.sha256(np.ascontiguousarray(images)).hexdigest() + hash_of(targets.tolist()),
            "libraries": [metadata.version(name) for name in ("tensorflow", "keras", "numpy")],
        }
    )
    progress: dict[str, Any] = {"curve": [], "seconds": 0.0}
    with _keras_seeded(derive_seed(seed, "training", network, fold) % 2**32):
        model, learner = _build_learner(network, steps * epochs, **settings)
        if checkpoint is not None and Path(checkpoint).exists():
            try:
                progress = saving._read_checkpoint(checkpoint, fingerprint, learner)
                note(f"{Path(checkpoint).name}: the training resumes after epoch {len(progress['curve'])}")
            except DataError as error:
                note(f"{error} It is not used: the training starts at the first epoch.")
    done = len(progress["curve"])
    if done < epochs:
        with tqdm(total=epochs, initial=done, desc=f"Training {name}", unit="epoch", leave=False) as bar:
            learner.fit(
                _batches(images, targets, range(done, epochs), batch_size, augment, seed, network, fold),
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=epochs,
                shuffle=False,
                verbose=0,
                callbacks=[_watch(learner, name, progress, checkpoint, fingerprint, bar)],
            )
    return _Trained(model, pd.DataFrame(progress["curve"], columns=list(_HISTORY)), progress["seconds"])


def _build_learner(
    network: str,
    steps: int,
    *,
    optimizer: str = "adam",
    learning_rate: float = 1e-4,
    schedule: str = "constant",
    warmup: int = 0,
    **built: Any,
) -> tuple[keras.Model, keras.Model]:
    """Build a network by `NetSpec.build`, and the compiled model around its layers that learns for it."""
    import keras

    check_option(optimizer, "optimizer", ("adam", "rmsprop"))
    model = NETWORKS[network].build(**built)
    if schedule == "cosine" or warmup:
        rate, warmup = float(learning_rate), min(warmup, steps - 1)
        # With alpha = 1 nothing falls: the rate is constant after the warm-up.
        learning_rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(steps - warmup, 1),
            alpha=0.0 if schedule == "cosine" else 1.0,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    # The fused Adam, since SilNet at batch 16 takes 4.1 GB with it and 6.6 GB with that of Keras.
    made: Any = (_fused_adam() if optimizer == "adam" else keras.optimizers.RMSprop)(learning_rate)
    learner = keras.Model(model.input, model.output)
    learner.compile(optimizer=made, loss="categorical_crossentropy", metrics=["accuracy"])
    # Its variables are there from now on, for a checkpoint to be read into.
    made.build(learner.trainable_variables)
    # So are those of the metrics: made within the training step, they would have it traced twice.
    nothing = np.zeros((1, model.output_shape[-1]), np.float32)
    learner.compute_metrics(None, nothing, nothing)
    learner.reset_metrics()
    return model, learner


def _watch(
    learner: keras.Model, name: str, progress: dict[str, Any], path: Path | None, fingerprint: str, bar: tqdm
) -> keras.callbacks.Callback:
    """Return what happens after each step and epoch: bad numbers stop the training, good epochs are kept."""
    # Keras' BackupAndRestore does not know the curve, and would need other dropout seeds.
    import keras
    import tensorflow as tf

    started = [time.perf_counter()]

    def stop(what: str, where: str) -> None:
        good = len(progress["curve"])
        rate = float(learner.optimizer.learning_rate)
        kept = f"What it was after epoch {good} is kept in {path}. " if good and path else ""
        raise ModelError(
            f"{what} in epoch {good + 1}, {where}, at learning rate {rate:g}. {kept}Lower the rate (with the "
            "same settings it would happen again), or check the images and the initial weights."
        )

    def after_batch(batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            stop(f"The loss of {name} became {float(logs['loss'])}", f"step {batch + 1}")

    def after_epoch(epoch: int, logs: dict[str, float]) -> None:
        for weight in learner.weights:
            # The last step's gradient may have been bad although its loss, taken before, was not.
            if not tf.reduce_all(tf.math.is_finite(weight.value)):
                stop(f"Weights of {name} ({weight.path}) became NaN or infinite", "its last step")
        progress["curve"].append({"epoch": epoch + 1} | {name: float(logs[name]) for name in _HISTORY[1:]})
        progress["seconds"] += time.perf_counter() - started[0]
        if path is not None:
            saving._write_checkpoint(path, fingerprint, learner, progress)
        # Writing the checkpoint is no training.
        started[0] = time.perf_counter()
        bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['accuracy']:.3f}", refresh=False)
        bar.update()

    return keras.callbacks.LambdaCallback(on_train_batch_end=after_batch, on_epoch_end=after_epoch)


# --- batches


def _batches(
    images: np.ndarray,
    targets: np.ndarray,
    epochs: range,
    batch_size: int,
    augment: str,
    seed: int,
    network: str,
    fold: str,
) -> tf.data.Dataset:
    """Return the batches of some epochs, uint8 made [0, 1], and their targets (N, classes)."""
    import tensorflow as tf

    change = None if augment == "none" else _augmentation(augment)
    starts = range(0, len(images), batch_size)

    def gathered() -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        for epoch in epochs:
            # What an epoch holds depends on nothing that came before.
            order = generator(seed, "order", network, fold, epoch).permutation(len(images))
            for start in starts:
                places = order[start : start + batch_size]
                drawn = derive_seed(seed, "augmentation", network, fold, epoch, start) % 2**31
                yield images[places], targets[places], drawn

    def ready(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(images, tf.float32) / 255
        return (images if change is None else change(images, seed)), targets

    signature = (
        tf.TensorSpec((None, *images.shape[1:]), tf.uint8),
        tf.TensorSpec((None, targets.shape[1]), tf.float32),
        tf.TensorSpec((), tf.int64),
    )
    dataset = tf.data.Dataset.from_generator(gathered, output_signature=signature).map(ready)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(starts) * len(epochs)))
    # There is nothing to tune, and at its end a training would wait for the tuner, which sleeps up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.with_options(options)
    # A GPU uses one batch while the CPU gathers the next. A CPU's own step needs all cores, and
    # waits for the one that gathering takes: 13 % longer for WeiNet on two cores, in batches of 16.
    return dataset.prefetch(2) if tf.config.list_physical_devices("GPU") else dataset


def _augmentation(which: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return a function (images, seed) that changes a batch; what comes in from outside is white."""
    import keras

    fill = {"fill_mode": "constant", "fill_value": 1.0}
    # Their own seeds are never used, but would be drawn from the global generator if absent.
    layers = [
        keras.layers.RandomFlip("horizontal", seed=0),
        keras.layers.RandomRotation(_TURN, seed=0, **fill),
        keras.layers.RandomTranslation(_SHIFT, _SHIFT, seed=0, **fill),
        # A single number would mean 1 ... 1.1 to Keras 3, not 0.9 ... 1.1 as in its documentation.
        keras.layers.RandomContrast((_CONTRAST, _CONTRAST), value_range=(0, 1), seed=0),
    ]
    layers = layers[:1] if which == "flips" else layers

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        source = _given_seed(seed)
        for layer in layers:
            drawn = layer.get_random_transformation(images, training=True, seed=source)
            images = layer.transform_images(images, drawn, training=True)
        return images

    return change


def _one_hot(images: np.ndarray, labels: Sequence[str], side: int, name: str, classes: Sequence[str]) -> np.ndarray:
    if images.shape[1:] != (side, side, 3) or images.dtype != np.uint8 or len(images) != len(labels):
        raise DataError(
            f"{name} is trained on images (N, {side}, {side}, 3) of uint8 with a label each, but got "
            f"{images.dtype} of shape {images.shape} and {len(labels)} labels."
        )
    known = [label if label in classes else parse_expression(label) for label in labels]
    if strange := set(known) - set(classes):
        raise DataError(f"{name} is trained on {', '.join(classes)}, but got the labels {', '.join(strange)}.")
    return np.eye(len(classes), dtype=np.float32)[[classes.index(label) for label in known]]


def _effort() -> dict[str, float | None]:
    """Return the largest memory of this process and of any one GPU, in MB (10^6 bytes), and its threads."""
    import tensorflow as tf

    gpus = [gpu.name.removeprefix("/device:") for gpu in tf.config.list_logical_devices("GPU")]
    taken = [tf.config.experimental.get_memory_info(name)["peak"] / 1e6 for name in gpus]
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return {
        "peak_memory_mb": _peak_memory(),
        "gpu_memory_mb": max(taken) if taken else None,
        "threads": threads or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or os.cpu_count() or 1,
    }


def _peak_memory() -> float | None:
    """Return the largest memory of this process since its start, in MB (10^6 bytes); None but on Linux."""
    status = Path("/proc/self/status")
    # The resource module would count in the process that started this one.
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else ()
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if "VmHWM" in line), None)
