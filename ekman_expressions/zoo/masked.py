"""Asking a model about an image behind soft masks, in groups of fixed size."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.startup import silent_stderr
from ekman_expressions.zoo.asking import GROUP, is_out_of_memory
from ekman_expressions.zoo.checks import check_probabilities
from ekman_expressions.zoo.compiled import is_keras

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
        What is seen where the image is hidden; see `ekman_expressions.zoo.background`.

    Returns
    -------
    (n, C) ndarray of float32, range [0, 1]
        The answers. The model is always given `GROUP` images, so that they depend neither on n
        nor on order; fewer if memory is short, see `halving`.

    Raises
    ------
    ModelError
        If the answers are no probabilities, or there is not enough memory for one image.
    """
    return halving(model, "behind", GROUP, partial(_ask, model, image, masks, behind))


def _ask(model: Any, image: np.ndarray, masks: np.ndarray, behind: np.ndarray, group: int) -> np.ndarray:
    count = len(masks)
    filled = np.concatenate([masks, np.ones((-count % group, *masks.shape[1:]), np.float32)])
    if is_keras(model):
        check_input(model, image)
        key = ("behind", image.shape, group)
        ask = compiled(model, key, lambda: _compile(model, image.shape, group))
    answers = []
    for start in range(0, len(filled), group):
        part = filled[start : start + group]
        if is_keras(model):
            with silent_stderr():
                answer = ask(image, part, behind).numpy()
        else:
            answer = np.asarray(model(behind + part[..., None] * (image - behind)))
        if answer.ndim != 2 or len(answer) != group:
            raise ModelError(
                f"The model was given {group} images and must answer ({group}, classes), "
                f"but answered shape {answer.shape}."
            )
        answers.append(answer)
    return check_probabilities(np.concatenate(answers)[:count])


def halving(model: Any, what: str, most: int, ask: Callable[[int], Any]) -> Any:
    """Return ``ask(group)`` with `most` images at a time, or half as many for as long as memory is short.

    Each halving is said in a warning; what memory was enough for is kept for a Keras model's next call.

    Raises
    ------
    ModelError
        If there is not enough memory for one image.
    """
    kept = _compiled.setdefault(model, {}) if is_keras(model) else {}
    while True:
        group = kept.get(("group", what), most)
        try:
            return ask(group)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if group == 1:
                raise ModelError(
                    "There is not enough memory to ask the model about a single image "
                    f"({type(error).__name__})."
                ) from error
            kept["group", what] = group // 2
            warnings.warn(
                f"Out of memory with {group} images at a time, so from there on {group // 2}.", stacklevel=2
            )


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


def _compile(model: Any, shape: tuple[int, ...], group: int) -> Callable:
    import tensorflow as tf

    # A strong reference would keep the model, key of the cache, alive for ever.
    reference = weakref.ref(model)

    def ask(image: Any, masks: Any, behind: Any) -> Any:
        return tf.cast(reference()(behind + masks[..., None] * (image - behind), training=False), tf.float32)

    signature = [
        tf.TensorSpec(shape, tf.float32),
        tf.TensorSpec((group, *shape[:2]), tf.float32),
        tf.TensorSpec(shape, tf.float32),
    ]
    # Traced by name: after five first calls, of five models, TensorFlow would warn of retracing.
    with silent_stderr():
        return tf.function(ask, input_signature=signature, autograph=False).get_concrete_function()
