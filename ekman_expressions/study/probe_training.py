"""Training of a probe network: three classes, few faces, from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import ModelError, check_option, check_range
from ekman_expressions.core.seeds import derive_seed, generator, keras_seeded
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.study.probe_faces import ProbeFaces
from ekman_expressions.zoo import NETWORKS


@dataclass(frozen=True, kw_only=True)
class ProbeTraining:
    """How a probe network is trained, by Adam on a rate that falls to 0 along a cosine.

    Attributes
    ----------
    epochs, batch_size : int, >= 1
    learning_rate : float, range (0, 1]
    augment : bool
        Change the training images in all ways of `ekman_expressions.zoo.training.augmentation`. Without,
        they are only mirrored at random: so few faces then need fewer epochs.
    """

    epochs: int = 40
    batch_size: int = 8
    learning_rate: float = 2e-4
    augment: bool = False

    def __post_init__(self) -> None:
        check_range(self.epochs, "epochs", 1, integer=True)
        check_range(self.batch_size, "batch_size", 1, integer=True)
        check_range(self.learning_rate, "learning_rate", 1e-9, 1)


TRAINING: dict[str, ProbeTraining] = {
    "WeiNet": ProbeTraining(),
    "SongNet": ProbeTraining(learning_rate=1e-3),
}
"""The numbers of networks that were tried; others take the defaults."""


@dataclass(frozen=True, eq=False)
class ProbeNetwork:
    """A trained probe network and the same network before training.

    Attributes
    ----------
    trained, untrained : keras.Model
        Images (N, side, side, 3) in [0, 1] to probabilities of the probe's classes.
    accuracy : float, range [0, 1]
        Of the trained one on the faces of persons whom it has not seen.
    training_accuracy : float
        On those that it was trained on, as they are.
    """

    trained: keras.Model
    untrained: keras.Model
    accuracy: float
    training_accuracy: float


def train_probe(
    network: str,
    faces: ProbeFaces,
    test: np.ndarray,
    *,
    seed: int,
    settings: ProbeTraining | None = None,
) -> ProbeNetwork:
    """Train a network from scratch to tell a probe's classes apart.

    Parameters
    ----------
    network : str
        One of `zoo.NETWORKS`.
    faces : ProbeFaces
        Cropped for this network.
    test : (N,) ndarray of bool
        Faces that are kept for testing; see `split_persons`.
    seed : int
        Decides initial weights, order and augmentation. Keras' global state is reset.
    settings : ProbeTraining, optional
        By default those in `TRAINING`.

    Raises
    ------
    SettingsError
        If there is no such network.
    ModelError
        If the loss becomes NaN or infinite.
    """
    check_option(network, "network", NETWORKS)
    start_tensorflow()
    import keras
    import tensorflow as tf

    from ekman_expressions.zoo.training import augmentation

    settings = settings or TRAINING.get(network, ProbeTraining())
    keras.backend.clear_session()
    with keras_seeded(derive_seed(seed, "probe", network, faces.probe) % 2**32):
        trained = NETWORKS[network].build("none", "paper", len(faces.classes))
    untrained = keras.models.clone_model(trained)
    untrained.set_weights(trained.get_weights())
    learning = np.flatnonzero(~test)
    steps = settings.epochs * -(-len(learning) // settings.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    trained.compile(optimizer=keras.optimizers.Adam(rate), loss="categorical_crossentropy")
    targets = np.eye(len(faces.classes), dtype=np.float32)[faces.targets]
    augment = augmentation() if settings.augment else None
    for epoch in tqdm(range(settings.epochs), desc=f"Training {network} on {faces.probe}", unit="epoch"):
        random = generator(seed, "probe order", network, faces.probe, epoch)
        for chosen in np.array_split(random.permutation(learning), steps // settings.epochs):
            images = np.float32(faces.images[chosen]) / 255
            mirrored = random.random(len(chosen)) < 0.5
            images[mirrored] = images[mirrored][:, :, ::-1]
            if augment is not None:
                images = augment(tf.constant(images), tf.constant(int(random.integers(2**31)), tf.int64))
            loss = float(trained.train_on_batch(images, targets[chosen]))
            if not np.isfinite(loss):
                raise ModelError(
                    f"The loss of {network} on the probe {faces.probe} became {loss} in epoch {epoch + 1}. "
                    "Train it at a lower rate."
                )
    right = _answers(trained, faces) == faces.targets
    return ProbeNetwork(trained, untrained, float(right[test].mean()), float(right[~test].mean()))


def _answers(model: keras.Model, faces: ProbeFaces) -> np.ndarray:
    images = np.float32(faces.images) / 255
    found = [model(images[at : at + 16], training=False).numpy() for at in range(0, len(images), 16)]
    return np.concatenate(found).argmax(axis=1)
