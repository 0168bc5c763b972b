"""The four networks that the study trained from scratch (DESIGN §3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(name: str, side: int, classes: int) -> keras.Model:
    """Build one of `LAYERS`: its layers between an RGB input and the softmax."""
    import keras

    inputs = keras.Input((side, side, 3), name="image")
    values = inputs
    for layer in LAYERS[name]():
        values = layer(values)
    outputs = keras.layers.Dense(classes, activation="softmax", name="probabilities")(values)
    return keras.Model(inputs, outputs, name=name)


def _conv(filters: int, size: int, **options):
    from keras import layers

    return layers.Conv2D(filters, size, padding="same", activation="relu", **options)


def _pool(size: int, stride: int):
    from keras import layers

    return layers.MaxPooling2D(size, stride, padding="same")


def _weinet() -> list[keras.Layer]:
    from keras import layers

    blocks = [(_conv(filters, 7), _pool(2, 1)) for filters in (32, 32, 64)]
    return [*(layer for block in blocks for layer in block), layers.Flatten()]


def _songnet() -> list[keras.Layer]:
    from keras import layers

    return [
        *(_conv(64, 5), _pool(3, 2)),
        *(_conv(64, 5), _pool(3, 2)),
        *(_conv(32, 3), _pool(3, 2), layers.Dropout(0.5)),
        *(_conv(32, 3), _pool(3, 2), layers.Dropout(0.5)),
        layers.Flatten(),
    ]


def _silnet() -> list[keras.Layer]:
    from keras import layers

    glorot = {"kernel_initializer": "glorot_normal"}
    return [
        *(_conv(32, 11, **glorot), _pool(2, 2)),
        *(_conv(32, 7, **glorot), _conv(32, 7, **glorot), _pool(2, 1)),
        *(_conv(64, 5, **glorot), _conv(64, 5, **glorot), _pool(2, 1)),
        layers.Flatten(),
        layers.Dense(512, activation="relu", **glorot),
        layers.Dropout(0.5),
        layers.Dense(512, activation="relu", **glorot),
    ]


def _alexnet() -> list[keras.Layer]:
    from keras import layers

    return [
        *(_conv(96, 11, strides=4), _pool(3, 2)),
        *(_conv(256, 5), _pool(3, 2)),
        *(_conv(384, 3), _conv(384, 3), _conv(256, 3), _pool(3, 2)),
        layers.Flatten(),
        layers.Dense(4096, activation="relu"),
        layers.Dropout(0.4),
        layers.Dense(4096, activation="relu"),
        layers.Dense(4096, activation="relu"),
        layers.Dropout(0.4),
    ]


LAYERS: dict[str, Callable[[], list[keras.Layer]]] = {
    "SilNet": _silnet,
    "WeiNet": _weinet,
    "AlexNet": _alexnet,
    "SongNet": _songnet,
}
"""The layers of each network between input and softmax, made anew with each call."""
