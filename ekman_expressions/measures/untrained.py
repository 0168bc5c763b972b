"""An untrained copy of a network: the same layers, other weights.

Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv:1810.03292: an explanation that is
the same for a trained network and for one with random weights says nothing of what was learned.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.zoo.compiled import is_keras


def untrained_copy(model: Any, images: np.ndarray, *, seed: int) -> Any:
    """Return a copy of a Keras model whose weights are drawn anew by its layers' initialisers.

    The seed of each initialiser is derived from `seed` and its layer's place, so that the copy is the
    same each time, and no global generator is touched. The statistics of `Normalization`
    layers are kept: they belong to the preprocessing. Batch normalisations get the statistics of
    `images`, as in a first step of training: with those that they start from, mean 0 and
    variance 1, the signal dies out in deep networks, and all images have the same answer.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential; models within it are copied too.
    images : (N, H, W, 3) ndarray of float, range [0, 1]
        Some faces.
    seed : int

    Returns
    -------
    keras.Model
        Not compiled.

    Raises
    ------
    ModelError
        If the model is no Keras model, or cannot be built again from its configuration.
    """
    if not is_keras(model):
        raise ModelError(
            f"A {type(model).__name__} has no weights that could be drawn anew: only Keras models "
            "can be checked against an untrained copy."
        )
    import keras

    # Not by name: names are numbered through a whole process, and differ between models of one architecture.
    places = itertools.count()

    def made_again(layer: Any) -> Any:
        return type(layer).from_config(_seeded(layer.get_config(), seed, str(next(places))))

    try:
        copy = keras.models.clone_model(model, clone_function=made_again, recursive=True)
    except Exception as error:
        # Depending on what a user's layers lack, Keras raises errors of many kinds.
        raise ModelError(
            f"The model cannot be built again from its configuration ({error}), so that there is no "
            "untrained copy to compare it with."
        ) from error
    for before, after in zip(_layers(model), _layers(copy), strict=True):
        if isinstance(before, keras.layers.Normalization):
            after.set_weights(before.get_weights())
    _settle(copy, images)
    return copy


def _settle(model: Any, images: np.ndarray) -> None:
    """Give batch normalisations the statistics of a batch."""
    import keras

    kinds = keras.layers.BatchNormalization
    before = {
        layer: (layer.momentum, layer.trainable) for layer in _layers(model) if isinstance(layer, kinds)
    }
    if not before:
        return
    for layer in before:
        # One that is frozen would use, and keep, the statistics that it starts from.
        layer.momentum, layer.trainable = 0.0, True
    model(np.asarray(images, np.float32), training=True)
    for layer, (momentum, trainable) in before.items():
        layer.momentum, layer.trainable = momentum, trainable


def _seeded(value: Any, seed: int, name: str) -> Any:
    """Give everything random in a layer's configuration, initialisers above all, a seed of its own."""
    if isinstance(value, list | tuple):
        return type(value)(_seeded(item, seed, f"{name}.{place}") for place, item in enumerate(value))
    if not isinstance(value, dict):
        return value
    return {
        key: derive_seed(seed, "untrained", name) % 2**31
        if key == "seed"
        else _seeded(item, seed, f"{name}.{key}")
        for key, item in value.items()
    }


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))
