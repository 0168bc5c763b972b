"""Random changes of training images: flipped, turned, shifted, in another contrast.

The study's authors describe such changes; the `paper` preset leaves them out as the study did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


TURN = 0.03
"""Largest rotation, in full turns, to either side."""
SHIFT = 0.05
"""Largest shift along each axis, as a share of the image's side."""
CONTRAST = 0.1
"""Largest relative change of the contrast about each channel's mean."""
WHITE = 1.0
"""What comes in where the image was turned or shifted away."""


def make_augmentation() -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return the function that changes a batch of images at random.

    Returns
    -------
    callable
        ``(images, seed) -> images``: (N, side, side, 3) float32 in [0, 1], and a scalar int64
        on which the result alone depends: nothing is remembered between calls, so that a
        training may go on at any epoch. Each image is changed on its own.
    """
    import keras

    fill = {"fill_mode": "constant", "fill_value": WHITE}
    # Their own seeds are never used, but would be drawn from the global generator if absent.
    layers = [
        keras.layers.RandomFlip("horizontal", seed=0),
        keras.layers.RandomRotation(TURN, seed=0, **fill),
        keras.layers.RandomTranslation(SHIFT, SHIFT, seed=0, **fill),
        # A single number would mean 1 ... 1.1 to Keras 3, not 0.9 ... 1.1 as in its documentation.
        keras.layers.RandomContrast((CONTRAST, CONTRAST), value_range=(0, 1), seed=0),
    ]
    source_of = _stateless_source()

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        source = source_of(seed)
        for layer in layers:
            drawn = layer.get_random_transformation(images, training=True, seed=source)
            images = layer.transform_images(images, drawn, training=True)
        return images

    return augment


def _stateless_source() -> Callable[[Any], Any]:
    """Return the kind of Keras' seed generators that counts from a given seed, without a variable."""
    import keras
    import tensorflow as tf

    class GivenSeed(keras.random.SeedGenerator):
        def __init__(self, seed: tf.Tensor) -> None:
            self.given, self.draws = seed, 0

        def next(self, ordered: bool = True) -> tf.Tensor:
            self.draws += 1
            return tf.stack([self.given, tf.constant(self.draws, self.given.dtype)])

    return GivenSeed
