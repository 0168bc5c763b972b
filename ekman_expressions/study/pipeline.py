"""From prepared faces to batches: decoded once, shuffled by the experiment's seed, fed by tf.data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import tensorflow as tf

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.seeds import derive_seed, generator
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.zoo import saving
from ekman_expressions.zoo.augmentation import make_augmentation

IN_MEMORY = 2 * 2**30
"""Bytes of decoded images up to which they are kept in memory; more go to a temporary file."""
_CHUNK = 64


def decoded_faces(experiment: Experiment, image_ids: Iterable[str], side: int) -> np.ndarray:
    """Read faces at the size of a network once, so that an epoch decodes nothing.

    Returns
    -------
    (N, side, side, 3) ndarray of uint8
        RGB, those of `ekman_expressions.study.prepared.read_faces` in 256 steps: a quarter of the
        memory. Beyond `IN_MEMORY` bytes they lie in a file without a name in
        ``experiment.models_folder``, which the system removes with the array.

    Raises
    ------
    MissingError, DataError
        As `ekman_expressions.study.prepared.read_faces`.
    SavingError
        If the disk has no room for the file.
    """
    image_ids = list(image_ids)
    shape = (len(image_ids), side, side, 3)
    chunks = (
        np.rint(255 * prepared.read_faces(experiment, image_ids[start : start + _CHUNK], side))
        for start in range(0, len(image_ids), _CHUNK)
    )
    if np.prod(shape) > IN_MEMORY:
        return _on_disk(chunks, shape, experiment.models_folder)
    faces = np.empty(shape, np.uint8)
    for number, chunk in enumerate(chunks):
        faces[_CHUNK * number : _CHUNK * number + len(chunk)] = chunk
    return faces


def one_hot(rows: pd.DataFrame) -> np.ndarray:
    """Return the (N, 6) float32 targets of a manifest's rows, in the order of `EXPRESSIONS`."""
    classes = [EXPRESSIONS.index(expression) for expression in rows["expression"]]
    return np.eye(len(EXPRESSIONS), dtype=np.float32)[classes]


def training_batches(
    experiment: Experiment,
    network: str,
    fold: str,
    faces: np.ndarray,
    targets: np.ndarray,
    *,
    first_epoch: int = 0,
    replicas: int = 1,
) -> tuple[tf.data.Dataset, int]:
    """Return the batches of all epochs from `first_epoch` on, and the number of batches in one.

    What an epoch holds, in which order and changed in which way, depends on the experiment's
    seed, network, fold and epoch, and not on what came before.

    Parameters
    ----------
    experiment : Experiment
        Its seed, batch size, number of epochs and augmentation count.
    network, fold : str
        Which model.
    faces : (N, side, side, 3) ndarray of uint8
        From `decoded_faces`.
    targets : (N, 6) ndarray of float32
        One-hot.
    first_epoch : int, >= 0
        Epochs that are done.
    replicas : int
        Devices that share each batch. Shares are equal: the few images of an epoch's last
        batch that cannot be dealt out evenly are left out, others in each epoch.

    Raises
    ------
    DataError
        If there are fewer images than devices, or the batch size is no multiple of the devices.
    """
    size, seed = experiment.training.batch_size, experiment.seed
    usable = len(faces) - len(faces) % replicas
    if not usable or size % replicas:
        raise DataError(
            f"{replicas} devices share each batch: the batch size must be a multiple of {replicas}, but is "
            f"{size}, and there must be as many images at least, but there are {len(faces)}. "
            'Change training.batch_size, or set training.devices = "one".'
        )

    def batches() -> Iterator[tuple[np.ndarray, int]]:
        for epoch in range(first_epoch, experiment.training.of(network)["epochs"]):
            order = generator(seed, "order", network, fold, epoch).permutation(len(faces))[:usable]
            for start in range(0, usable, size):
                change = derive_seed(seed, "augmentation", network, fold, epoch, start) % 2**31
                yield order[start : start + size], change

    augment = make_augmentation() if experiment.training.augment else None
    steps = -(-usable // size)
    count = steps * (experiment.training.of(network)["epochs"] - first_epoch)
    return _dataset(faces, targets, batches, count, augment), steps


def validation_batches(faces: np.ndarray, targets: np.ndarray, size: int) -> tf.data.Dataset:
    """Return images and targets in batches of `size`, in their order and unchanged."""

    def batches() -> Iterator[tuple[np.ndarray, int]]:
        for start in range(0, len(faces), size):
            yield np.arange(start, min(start + size, len(faces))), 0

    return _dataset(faces, targets, batches, -(-len(faces) // size), None)


def _dataset(
    faces: np.ndarray,
    targets: np.ndarray,
    batches: Callable[[], Iterator[tuple[np.ndarray, int]]],
    count: int,
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None,
) -> tf.data.Dataset:
    import tensorflow as tf

    def gathered() -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        for chosen, seed in batches():
            yield faces[chosen], targets[chosen], seed

    def ready(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(images, tf.float32) / 255
        return (images if augment is None else augment(images, seed)), targets

    signature = (
        tf.TensorSpec((None, *faces.shape[1:]), tf.uint8),
        tf.TensorSpec((None, targets.shape[1]), tf.float32),
        tf.TensorSpec((), tf.int64),
    )
    dataset = tf.data.Dataset.from_generator(gathered, output_signature=signature).map(ready)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    # A GPU uses one batch while the CPU gathers the next. A CPU's own step needs all cores, and
    # waits for the one that gathering takes: 13 % longer for WeiNet on two cores, in batches of 16.
    return dataset.prefetch(2) if tf.config.list_physical_devices("GPU") else dataset


def _on_disk(chunks: Iterable[np.ndarray], shape: tuple[int, ...], folder: Path) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    # Written rather than mapped for writing: a full disk raises then, and does not end the process.
    with saving.disk_errors(folder / "decoded images"), tempfile.TemporaryFile(dir=folder) as file:
        for chunk in chunks:
            file.write(chunk.astype(np.uint8).tobytes())
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=shape)
