"""Asking Keras models: compiled functions that hide superpixels on the device."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ekman_expressions.errors import ModelError
from ekman_expressions.startup import silent_stderr

GROUP = 32
"""Images in each call of a Keras model: always so many, the last call filled up.

Libraries choose their algorithms by the shape of a batch, so the last bits of an answer depend
on the batch size (seen: up to 5e-7 between calls of 1 and of 24 images). With one fixed shape
they depend on the image alone. 32 was within 2 % of the best size on all networks tried.
"""

# Compiled functions by model, so that all faces of one size share one; gone with the model.
_compiled: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()


def is_keras(model: Any) -> bool:
    """Say whether a model is a Keras model, without importing Keras."""
    # A Keras model cannot exist unless somebody imported Keras, which takes seconds.
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.Model)


def ask_keras(
    model: Any, image: np.ndarray, segments: np.ndarray, samples: np.ndarray, behind: np.ndarray
) -> np.ndarray:
    """Return what a Keras model answers; arguments as in `perturb`, checked before; `behind` (H, W, 3)."""
    wanted = getattr(model, "input_shape", None)
    if isinstance(wanted, tuple) and any(
        side not in (None, have) for side, have in zip(wanted[1:], image.shape, strict=False)
    ):
        raise ModelError(f"The model takes images of shape {wanted[1:]}, but the image has {image.shape}.")
    functions = _compiled.setdefault(model, {})
    count = len(samples)
    filled = np.concatenate([samples, np.ones((-count % GROUP, samples.shape[1]), bool)])
    segments = segments.astype(np.int32)
    if image.shape not in functions:
        functions[image.shape] = _compile(model, image.shape)
        # While it traces, TensorFlow notes on standard error which types oneDNN leaves to it.
        with silent_stderr():
            functions[image.shape](image, segments, filled[:GROUP], behind)
    ask = functions[image.shape]
    groups = range(0, len(filled), GROUP)
    answers = [ask(image, segments, filled[at : at + GROUP], behind).numpy() for at in groups]
    return np.concatenate(answers)[:count]


def _compile(model: Any, shape: tuple[int, ...]) -> Callable:
    import tensorflow as tf

    # A strong reference would keep the model, key of the cache, alive for ever.
    reference = weakref.ref(model)

    def ask(image: Any, segments: Any, samples: Any, behind: Any) -> Any:
        # Rows are gathered, then transposed: much faster than gathering single bits.
        kept = tf.transpose(tf.gather(tf.transpose(samples), segments), (2, 0, 1))
        answer = reference()(tf.where(kept[..., None], image, behind), training=False)
        if not tf.is_tensor(answer) or answer.shape.rank != 2:
            received = answer.shape if tf.is_tensor(answer) else type(answer).__name__
            raise ModelError(f"The model must answer one array (N, classes), but answered {received}.")
        return tf.cast(answer, tf.float32)

    # The number of superpixels differs between images: left open, it does not trace again.
    signature = [
        tf.TensorSpec(shape, tf.float32),
        tf.TensorSpec(shape[:2], tf.int32),
        tf.TensorSpec((GROUP, None), tf.bool),
        tf.TensorSpec(shape, tf.float32),
    ]
    return tf.function(ask, input_signature=signature, autograph=False)
