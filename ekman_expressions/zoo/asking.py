"""Asking a model about copies of an image in which superpixels are hidden."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, ModelError, SettingsError, check_option, check_range
from ekman_expressions.zoo.background import background
from ekman_expressions.zoo.checks import check_answers, check_image, check_samples, check_segments
from ekman_expressions.zoo.compiled import is_keras, masked_model
from ekman_expressions.zoo.model import PRECISIONS

GROUP = 25
"""Images in each call of a Keras model, unless told otherwise: always so many, the last call filled up.
The usual numbers of samples (1,000; 125) are multiples of it, so that none is for nothing.

Libraries choose their algorithms by the shape of a batch, so the last bits of an answer depend
on the batch size (seen: up to 5e-7 between calls of 1 and of 24 images). With one fixed shape
they depend on the image alone.
"""


class Asker:
    """Asks one model about masked copies of images, so many at a time; `perturb` is one question.

    When the device lacks memory for a call, the image's copies are asked about again, half as many at a
    time; so it goes on for the images that follow.

    Parameters
    ----------
    model : keras.Model or callable
        Takes images (N, H, W, 3) float32 in [0, 1], answers probabilities (N, C). Keras models
        run in a compiled function that masks on the device, made once per model and image size.
    group : int, >= 1
        Copies per call of a Keras model: always so many, the last call filled up, so that answers do not
        depend on how many there are or on their order.
    batch_size : int, >= 1
        Copies per call of any other model; the last call may have fewer.
    precision : {'float32', 'bfloat16', 'float16'}
        In which a Keras model computes; see `ekman_expressions.zoo.backends.in_precision`.

    Attributes
    ----------
    at_once : int
        Copies per call now.
    notes : list of str
        What was done about a lack of memory.
    """

    def __init__(
        self, model: Any, *, group: int = GROUP, batch_size: int = 64, precision: str = "float32"
    ) -> None:
        check_range(group, "group", 1, integer=True)
        check_range(batch_size, "batch_size", 1, integer=True)
        check_option(precision, "precision", PRECISIONS)
        if not (is_keras(model) or callable(model)):
            raise SettingsError(
                "'model' must be a Keras model or a callable images -> probabilities, "
                f"but got {type(model).__name__}."
            )
        if precision != "float32" and not is_keras(model):
            raise SettingsError(
                f"'precision' = {precision!r} needs a Keras model, but got {type(model).__name__}. "
                "Use 'float32', or let the model itself compute so."
            )
        self.model, self.precision = model, precision
        self.at_once = group if is_keras(model) else batch_size
        self.notes: list[str] = []

    def ask(
        self,
        image: np.ndarray,
        segments: np.ndarray,
        samples: np.ndarray,
        *,
        hidden: float | str | np.ndarray = 0.0,
        classes: int | None = None,
    ) -> np.ndarray:
        """Return the model's answers; parameters, returns and errors are those of `perturb`."""
        image = check_image(image)
        segments = check_segments(segments)
        samples = check_samples(samples, segments)
        if segments.shape != image.shape[:2]:
            raise DataError(f"'segments' has shape {segments.shape}, but the image has {image.shape[:2]}.")
        behind = background(image, hidden)
        ask = self._ask_keras if is_keras(self.model) else self._ask_callable
        while True:
            try:
                answers = ask(image, segments, samples, behind)
                return check_answers(answers, samples, classes)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)

    def _halve(self, error: Exception) -> None:
        if self.at_once == 1:
            raise ModelError(
                f"There is not enough memory to ask the model about a single image ({type(error).__name__})."
            ) from error
        self.notes.append(
            f"out of memory with {self.at_once} images at a time, so from there on {self.at_once // 2}"
        )
        self.at_once //= 2

    def _ask_callable(
        self, image: np.ndarray, segments: np.ndarray, samples: np.ndarray, behind: np.ndarray
    ) -> np.ndarray:
        answers = []
        for start in range(0, len(samples), self.at_once):
            kept = samples[start : start + self.at_once].take(segments, axis=1)
            answer = np.asarray(self.model(np.where(kept[..., None], image, behind)))
            if answer.ndim != 2 or len(answer) != len(kept):
                raise ModelError(
                    f"The model was given {len(kept)} images and must answer ({len(kept)}, classes), "
                    f"but answered shape {answer.shape}."
                )
            answers.append(answer)
        return np.concatenate(answers)

    def _ask_keras(
        self, image: np.ndarray, segments: np.ndarray, samples: np.ndarray, behind: np.ndarray
    ) -> np.ndarray:
        import tensorflow as tf

        ask = masked_model(self.model, image.shape, self.precision)
        count, group = len(samples), self.at_once
        filled = np.concatenate([samples, np.ones((-count % group, samples.shape[1]), bool)])
        # To the device once, not with every call.
        image, segments = tf.constant(image), tf.constant(segments, tf.int32)
        behind = tf.constant(behind)
        answers = [
            ask(image, segments, tf.constant(filled[at : at + group]), behind)
            for at in range(0, len(filled), group)
        ]
        return np.concatenate([answer.numpy() for answer in answers])[:count]


def perturb(
    model: Any,
    image: np.ndarray,
    segments: np.ndarray,
    samples: np.ndarray,
    *,
    hidden: float | str | np.ndarray = 0.0,
    batch_size: int = 64,
    classes: int | None = None,
    group: int = GROUP,
    precision: str = "float32",
) -> np.ndarray:
    """Ask a model about copies of an image in which superpixels are hidden.

    Parameters
    ----------
    model, group, batch_size, precision
        See `Asker`.
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    segments : (H, W) ndarray of int
        The superpixel of each pixel, 0 ... S - 1.
    samples : (n, S) ndarray of bool
        The superpixels that each copy keeps.
    hidden : float, {'mean', 'blur'} or (H, W, 3) ndarray
        What hidden superpixels look like: a gray value in [0, 1], the image's mean colour, the
        image blurred, or any picture; see `background`.
    classes : int or None
        How many classes the model must answer; None takes any number.

    Returns
    -------
    (n, C) ndarray of float32, range [0, 1]
        The model's answers.

    Raises
    ------
    DataError
        If image, segments, samples and background do not fit each other.
    ModelError
        If the answers are no probabilities: wrong number, NaN, infinite, or not summing to 1; or if
        there is not enough memory for one image.
    """
    asker = Asker(model, group=group, batch_size=batch_size, precision=precision)
    return asker.ask(image, segments, samples, hidden=hidden, classes=classes)


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error, Python's or TensorFlow's, means that memory is too short."""
    tensorflow = sys.modules.get("tensorflow")
    return isinstance(error, MemoryError) or (
        tensorflow is not None and isinstance(error, tensorflow.errors.ResourceExhaustedError)
    )
