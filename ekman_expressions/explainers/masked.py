"""Asking a model about an image behind soft masks, in groups of fixed size."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ekman_expressions.errors import ModelError
from ekman_expressions.perturbation import GROUP
from ekman_expressions.perturbation.checks import check_probabilities
from ekman_expressions.perturbation.compiled import is_keras
from ekman_expressions.startup import silent_stderr

# Compiled functions by model, then by what they do; gone with the model.
_compiled: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()


def ask_behind(model: Any, image: np.ndarray, masks: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Ask a model about copies of an image, each behind a mask.

    Parameters
    ----------
    model : keras.Model or callable
        Takes images (N, H, W, 3) float32 in [0, 1], answers probabilities (N, C).
    image : (H, W, 3) ndarray of float32, range [0, 1]
        RGB.
    masks : (n, H, W) ndarray of float32, range [0, 1], n <= `GROUP`
        How much of each pixel is kept; the rest is that of `behind`.
    behind : (H, W, 3) ndarray of float32, range [0, 1]
        What is seen where the image is hidden; see `ekman_expressions.perturbation.background`.

    Returns
    -------
    (n, C) ndarray of float32, range [0, 1]
        The answers. The model is always given `GROUP` images, so that they depend neither on n
        nor on order.

    Raises
    ------
    ModelError
        If the answers are no probabilities.
    """
    count = len(masks)
    filled = np.concatenate([masks, np.ones((GROUP - count, *masks.shape[1:]), np.float32)])
    if is_keras(model):
        check_input(model, image)
        ask = compiled(model, ("behind", image.shape), lambda: _compile(model, image.shape))
        with silent_stderr():
            answers = ask(image, filled, behind).numpy()
    else:
        answers = np.asarray(model(behind + filled[..., None] * (image - behind)))
    if answers.ndim != 2 or len(answers) != GROUP:
        raise ModelError(
            f"The model was given {GROUP} images and must answer ({GROUP}, classes), "
            f"but answered shape {answers.shape}."
        )
    return check_probabilities(answers[:count])


def check_input(model: Any, image: np.ndarray) -> None:
    """Raise `ModelError` unless a Keras model takes images of this shape."""
    wanted = getattr(model, "input_shape", None)
    if isinstance(wanted, tuple) and any(
        side not in (None, have) for side, have in zip(wanted[1:], image.shape, strict=False)
    ):
        raise ModelError(f"The model takes images of shape {wanted[1:]}, but the image has {image.shape}.")


def compiled(model: Any, key: tuple, build: Callable[[], Callable]) -> Callable:
    """Return a compiled function of a Keras model, built once for each `key`."""
    functions = _compiled.setdefault(model, {})
    if key not in functions:
        functions[key] = build()
    return functions[key]


def _compile(model: Any, shape: tuple[int, ...]) -> Callable:
    import tensorflow as tf

    # A strong reference would keep the model, key of the cache, alive for ever.
    reference = weakref.ref(model)

    def ask(image: Any, masks: Any, behind: Any) -> Any:
        return tf.cast(reference()(behind + masks[..., None] * (image - behind), training=False), tf.float32)

    signature = [
        tf.TensorSpec(shape, tf.float32),
        tf.TensorSpec((GROUP, *shape[:2]), tf.float32),
        tf.TensorSpec(shape, tf.float32),
    ]
    # Traced by name: after five first calls, of five models, TensorFlow would warn of retracing.
    with silent_stderr():
        return tf.function(ask, input_signature=signature, autograph=False).get_concrete_function()
