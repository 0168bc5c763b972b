"""All that this package uses of Keras beyond its public interface; tests/test_train.py notices a change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def _output_operations(model: Any) -> list[Any]:
    """Return the layers or operations that make a functional model's outputs."""
    return [output._keras_history.operation for output in getattr(model, "outputs", None) or []]


@contextmanager
def _keras_seeded(seed: int) -> Iterator[None]:
    """Let layers made within the block draw their seeds from `seed`, in [0, 2**32), alone: Keras takes them
    from Python's global generator, as do other threads.
    """
    import keras
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(seed)
    shared = seed_generator.python_random
    # The numbers that the global one would give if nobody else drew from it.
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = shared


def _given_seed(seed: tf.Tensor) -> keras.random.SeedGenerator:
    """Return a seed generator that counts from a given seed, without a variable."""
    import keras
    import tensorflow as tf

    class GivenSeed(keras.random.SeedGenerator):
        def __init__(self) -> None:
            self.draws = 0

        def next(self, ordered: bool = True) -> tf.Tensor:
            self.draws += 1
            return tf.stack([seed, tf.constant(self.draws, seed.dtype)])

    return GivenSeed()


def _fused_adam() -> type[keras.optimizers.Adam]:
    """Return an Adam that updates each weight where it lies, in one pass and without copies.

    Kingma & Ba (2015), arXiv 1412.6980: in the order of its section 2, as in Keras and TensorFlow.
    """
    import keras
    import tensorflow as tf

    class Adam(keras.optimizers.Adam):
        # Keras makes up to five temporary arrays of a weight's size for each update, SilNet's of
        # 0.7 GB each; the kernel of TensorFlow makes none.
        def apply(self, grads: list[tf.Tensor], trainable_variables: list[Any] | None = None) -> Any:
            # A weight that backpropagation still has to read would be copied before its update.
            with tf.control_dependencies(grads):
                return super().apply(grads, trainable_variables)

        def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: Any) -> None:
            place = self._get_variable_index(variable)
            step = tf.cast(self.iterations + 1, variable.dtype)
            beta_1, beta_2 = (tf.constant(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[place].value.handle,
                v=self._velocities[place].value.handle,
                beta1_power=beta_1**step,
                beta2_power=beta_2**step,
                lr=tf.cast(learning_rate, variable.dtype),
                beta1=beta_1,
                beta2=beta_2,
                epsilon=tf.constant(self.epsilon, variable.dtype),
                grad=tf.cast(gradient, variable.dtype),
            )

    return Adam
