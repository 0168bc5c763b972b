"""The study's optimisers; Adam updates each weight where it lies, in one pass and without copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

from ekman_expressions.core.errors import check_option

OPTIMIZERS = ("adam", "rmsprop")


def make_optimizer(name: str, learning_rate: Any) -> keras.optimizers.Optimizer:
    """Return an optimiser with Keras' default numbers.

    Parameters
    ----------
    name : {'adam', 'rmsprop'}
        Which.
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Its rate.

    Raises
    ------
    SettingsError
        If there is no such optimiser.

    References
    ----------
    Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv 1412.6980: the
    order of its section 2, as in Keras and TensorFlow.
    """
    import keras

    check_option(name, "optimizer", OPTIMIZERS)
    if name == "rmsprop":
        return keras.optimizers.RMSprop(learning_rate)
    return _fused_adam()(learning_rate)


def _fused_adam() -> type[keras.optimizers.Adam]:
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
