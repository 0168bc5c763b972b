"""Gradients of a model's answer with respect to its input, in groups of fixed size."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ekman_expressions.core.errors import ModelError, check_range
from ekman_expressions.core.startup import silent_stderr
from ekman_expressions.zoo.checks import check_probabilities
from ekman_expressions.zoo.compiled import is_keras
from ekman_expressions.zoo.masked import check_input, compiled, halving

GRADIENT_GROUP = 8
"""Images in each call: always so many, the last call filled up, as in `ekman_expressions.explainers`.

Fewer than there, since for gradients the activations of all layers are kept in memory.
"""

_SMALLEST = 1e-30


def input_gradients(
    model: Any, images: np.ndarray, target: int, *, score: str = "probability"
) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's answers and the gradients of one class' score at the images.

    Parameters
    ----------
    model : keras.Model
        Takes images (N, H, W, 3) float32, answers probabilities (N, C).
    images : (n, H, W, 3) ndarray of float32
        Where the gradients are taken.
    target : int
        The class, 0 ... C - 1.
    score : {'probability', 'logit'}
        ``probability``: the answer. ``logit``: the logarithm of the answer less the mean of the
        logarithms of all classes' answers, which for a softmax is the class' logit less the mean
        logit: unlike the probability it does not saturate where the model is sure.

    Returns
    -------
    answers : (n, C) ndarray of float32
    gradients : (n, H, W, 3) ndarray of float32

    Raises
    ------
    ModelError
        If the model has no gradients, its answers are no probabilities, or there is not enough memory
        for one image.
    """
    check_differentiable(model)
    check_input(model, images[0])
    shape = images.shape[1:]

    def ask_all(group: int) -> tuple[np.ndarray, np.ndarray]:
        key = ("gradients", shape, score, group)
        ask = compiled(model, key, lambda: _compile(model, shape, score, group))
        filled = np.concatenate([images, np.repeat(images[-1:], -len(images) % group, axis=0)])
        answers, gradients = [], []
        for start in range(0, len(filled), group):
            with silent_stderr():
                answer, gradient = ask(filled[start : start + group], np.int32(target))
            answers.append(answer.numpy())
            gradients.append(gradient.numpy())
            # Before the next call: an index out of range was clipped, see `_compile`.
            check_range(target, "target", 0, answers[0].shape[1] - 1, integer=True)
        return np.concatenate(answers)[: len(images)], np.concatenate(gradients)[: len(images)]

    answers, gradients = halving(model, "gradients", GRADIENT_GROUP, ask_all)
    return check_probabilities(answers), check_gradients(gradients)


def check_differentiable(model: Any) -> None:
    """Raise `ModelError` unless the model is a Keras model."""
    if not is_keras(model):
        raise ModelError(
            "This explainer needs gradients, and so a Keras model, but the model is a "
            f"{type(model).__name__} that only answers. Use an explainer that asks, such as 'lime', 'rise' "
            "or 'occlusion', or give the model as a Keras model."
        )


def check_gradients(gradients: np.ndarray) -> np.ndarray:
    """Return gradients, or raise `ModelError` unless they are finite."""
    if not np.isfinite(gradients).all():
        raise ModelError(
            f"{np.count_nonzero(~np.isfinite(gradients))} of the model's {gradients.size} gradients are NaN "
            "or infinite."
        )
    return gradients


def score_of(answers: Any, target: Any, score: str) -> Any:
    """Return a class' score from a tensor of probabilities (n, C): see `input_gradients`; (n,)."""
    import tensorflow as tf

    if score == "probability":
        return tf.gather(answers, target, axis=1)
    logarithms = tf.math.log(tf.maximum(answers, _SMALLEST))
    return tf.gather(logarithms, target, axis=1) - tf.reduce_mean(logarithms, axis=1)


def _compile(model: Any, shape: tuple[int, ...], score: str, group: int) -> Callable:
    import tensorflow as tf

    # A strong reference would keep the model, key of the cache, alive for ever.
    reference = weakref.ref(model)

    def ask(images: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            answers = tf.cast(reference()(images, training=False), tf.float32)
            # An index out of range would be an error on the CPU; it is reported in our words instead.
            within = tf.clip_by_value(target, 0, tf.shape(answers)[1] - 1)
            value = tf.reduce_sum(score_of(answers, within, score))
        gradient = tape.gradient(value, images)
        if gradient is None:
            raise ModelError("The model's answer does not depend on its input by differentiable steps.")
        return answers, gradient

    signature = [
        tf.TensorSpec((group, *shape), tf.float32),
        tf.TensorSpec((), tf.int32),
    ]
    # Traced by name: after five first calls, of five models, TensorFlow would warn of retracing.
    with silent_stderr():
        return tf.function(ask, input_signature=signature, autograph=False).get_concrete_function()
