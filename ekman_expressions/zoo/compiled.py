"""Keras models in compiled functions that hide superpixels on the device."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.startup import silent_stderr
from ekman_expressions.zoo.backends import in_precision

# Compiled functions by model, so that all faces of one size share one; gone with the model.
_compiled: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()


def is_keras(model: Any) -> bool:
    """Say whether a model is a Keras model, without importing Keras."""
    # A Keras model cannot exist unless somebody imported Keras, which takes seconds.
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.Model)


def masked_model(model: Any, shape: tuple[int, ...], precision: str = "float32") -> Callable:
    """Return a model's answers to masked copies of an image as one compiled function.

    Made once for a model, image size and precision; it serves any number of copies and superpixels.

    Parameters
    ----------
    model : keras.Model
        Takes images (N, H, W, 3), answers (N, C).
    shape : tuple of int
        (H, W, 3) of the images.
    precision : {'float32', 'bfloat16', 'float16'}
        In which the model computes.

    Returns
    -------
    callable
        From an image (H, W, 3) float32, its superpixels (H, W) int32, the samples (n, S) bool and the
        background (H, W, 3) float32, all tensors, to the answers (n, C) float32.

    Raises
    ------
    ModelError
        If the model takes images of another shape, has several outputs, or cannot compute in
        that precision.
    """
    wanted = getattr(model, "input_shape", None)
    if isinstance(wanted, tuple) and any(
        side not in (None, have) for side, have in zip(wanted[1:], shape, strict=False)
    ):
        raise ModelError(f"The model takes images of shape {wanted[1:]}, but the image has {shape}.")
    functions = _compiled.setdefault(model, {})
    key = (shape, precision)
    if key not in functions:
        functions[key] = _compile(model, shape, precision)
    return functions[key]


def _compile(model: Any, shape: tuple[int, ...], precision: str) -> Callable:
    import tensorflow as tf

    # A strong reference would keep the model, key of the cache, alive for ever; a clone is this function's.
    clone = model if precision == "float32" else in_precision(model, precision)
    reference = weakref.ref(model) if clone is model else lambda: clone

    def ask(image: Any, segments: Any, samples: Any, behind: Any) -> Any:
        # Rows are gathered, then transposed: much faster than gathering single bits. And all is flat, since
        # choosing between arrays that are repeated along two axes takes three times as long.
        places = tf.repeat(tf.reshape(segments, [-1]), shape[2])
        kept = tf.transpose(tf.gather(tf.transpose(samples), places))
        masked = tf.where(kept, tf.reshape(image, [-1]), tf.reshape(behind, [-1]))
        answer = reference()(tf.reshape(masked, (-1, *shape)), training=False)
        if not tf.is_tensor(answer) or answer.shape.rank != 2:
            received = answer.shape if tf.is_tensor(answer) else type(answer).__name__
            raise ModelError(f"The model must answer one array (N, classes), but answered {received}.")
        return tf.cast(answer, tf.float32)

    # Open sizes are not traced again: the numbers of superpixels and of copies in a call.
    signature = [
        tf.TensorSpec(shape, tf.float32),
        tf.TensorSpec(shape[:2], tf.int32),
        tf.TensorSpec((None, None), tf.bool),
        tf.TensorSpec(shape, tf.float32),
    ]
    # While it traces, TensorFlow notes on standard error which types oneDNN leaves to it. Traced by name,
    # not by a first call: after five first calls (of five models) TensorFlow would warn of retracing.
    with silent_stderr():
        return tf.function(ask, input_signature=signature, autograph=False).get_concrete_function()
