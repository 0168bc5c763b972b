"""From our images to a model's own, and from its answers to ours.

All else in the package sees one kind of model: RGB images (N, side, side, 3) in [0, 1] to
probabilities (N, C), the six expressions first in the order of `EXPRESSIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import DataError, EkmanExpressionsError, ModelError
from ekman_expressions.zoo.asking import GROUP
from ekman_expressions.zoo.own_checks import check_raw, check_shape, probe
from ekman_expressions.zoo.own_settings import OwnModel

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R BT.601), as Pillow and OpenCV use them."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1], as torchvision's models were trained with."""

CAFFE_MEAN = (123.68, 116.779, 103.939)
"""Of red, green and blue in [0, 255], as the first VGG and ResNet models were trained with."""

# Scale and shift of red, green and blue.
_RANGES: dict[str, tuple[Any, Any]] = {
    "unit": (1, 0),
    "255": (255, 0),
    "minus_one_one": (2, -1),
    "imagenet": (1 / np.array(IMAGENET_STD), -np.array(IMAGENET_MEAN) / IMAGENET_STD),
    "caffe": (255, -np.array(CAFFE_MEAN)),
}


class Adapter:
    """A model that is no Keras model, in our form.

    Parameters
    ----------
    name : str
        What it is called in messages.
    own : OwnModel
        What it takes and answers.
    ask : callable
        From images in the model's own form to its raw answers.
    group : int
        Images per call: always so many, the last call filled up, so that answers do not depend
        on how many images there are (see `ekman_expressions.zoo.asking.GROUP`).
    """

    def __init__(self, name: str, own: OwnModel, ask: Callable, group: int = GROUP) -> None:
        self.name, self.own, self._ask, self._group = name, own, ask, group
        check_raw(probe(own, self.raw), name, own)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Answer (N, side, side, 3) images in [0, 1] with (N, C) float32 probabilities, in our order.

        Raises
        ------
        DataError
            If the images have another shape.
        ModelError
            If the model fails, or answers nonsense.
        """
        from scipy.special import softmax

        images = np.asarray(images, np.float32)
        if images.ndim != 4 or images.shape[1:] != (self.own.side, self.own.side, 3):
            raise DataError(
                f"{self.name} takes images of shape (N, {self.own.side}, {self.own.side}, 3), "
                f"but got {images.shape}."
            )
        answers = self.raw(images)
        if answers.shape != (len(images), len(self.own.classes)):
            check_raw(answers, self.name, self.own)
        if self.own.output == "logits":
            answers = softmax(answers, axis=1)
        return answers[:, list(self.own.order)]

    def raw(self, images: np.ndarray) -> np.ndarray:
        """Return what the model itself answers to images in our form, as float32."""
        answers = []
        for start in range(0, len(images), self._group):
            chunk = images[start : start + self._group]
            filled = np.concatenate([chunk, np.repeat(chunk[-1:], self._group - len(chunk), axis=0)])
            given = np.ascontiguousarray(self._arrange(preprocess(filled, self.own)), np.float32)
            try:
                answer = np.asarray(self._ask(given))
            except EkmanExpressionsError:
                raise
            except Exception as error:
                # Whatever the user's code or a library raises: one model must not stop the others.
                raise ModelError(
                    f"{self.name} failed on float32 images of shape {given.shape} "
                    f"({type(error).__name__}: {error})."
                ) from error
            if answer.ndim == 0 or len(answer) != self._group or answer.dtype.kind not in "fiu":
                raise ModelError(
                    f"{self.name} was given {self._group} images and must answer numbers of shape "
                    f"({self._group}, {len(self.own.classes)}), but answered {answer.dtype} of shape "
                    f"{answer.shape}."
                )
            answers.append(answer[: len(chunk)].astype(np.float32))
        return np.concatenate(answers)

    def _arrange(self, images: np.ndarray) -> np.ndarray:
        return images.transpose(0, 3, 1, 2) if self.own.layout == "NCHW" else images


def preprocess(images: Any, own: OwnModel) -> Any:
    """Turn images into the colours and range that a model takes; the layout stays NHWC.

    Parameters
    ----------
    images : (N, H, W, 3) ndarray or Keras tensor, range [0, 1]
        RGB. Only operators are used, so that one definition serves both.
    own : OwnModel
        What it takes.

    Returns
    -------
    (N, H, W, C) of the same kind
        C is 1 for gray, else 3.
    """
    scale, shift = (np.broadcast_to(np.float32(values), 3) for values in _RANGES[own.preprocessing])
    if own.channels.startswith("gray"):
        weights = np.float32(LUMINANCE)
        images = sum(images[..., place : place + 1] * weights[place] for place in range(3))
    if own.channels == "gray":
        scale, shift = scale[:1], shift[:1]
    # Gray values are copied by being scaled three times.
    images = images * scale if own.preprocessing != "unit" or own.channels == "gray3" else images
    images = images + shift if np.any(shift) else images
    return images[..., ::-1] if own.channels == "bgr" else images


def adapt_keras(name: str, own: OwnModel, model: keras.Model) -> keras.Model:
    """Wrap a Keras model into one of our form, all in one graph.

    Returns
    -------
    keras.Model
        (N, side, side, 3) in [0, 1] to (N, C) float32 probabilities, in our order.

    Raises
    ------
    ModelError
        If the model takes or answers something else than `own` says.
    """
    import keras

    _check_input_shape(name, own, model)
    images = keras.Input((own.side, own.side, 3), name="faces")
    given = preprocess(images, own)
    if own.layout == "NCHW":
        given = keras.ops.transpose(given, (0, 3, 1, 2))
    try:
        raw = model(given, training=False)
    except Exception as error:
        # Keras raises errors of many kinds where shapes do not fit.
        raise ModelError(f"{name} does not take images as described ({error}).") from error
    outputs = keras.tree.flatten(raw)
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise ModelError(
            f"{name} must have one output (N, classes), but has {len(outputs)}, of shape {shapes}."
        )
    raw = keras.ops.cast(outputs[0], "float32")
    check_raw(probe(own, keras.Model(images, raw)), name, own)
    answers = keras.ops.softmax(raw, axis=-1) if own.output == "logits" else raw
    return keras.Model(images, keras.ops.take(answers, list(own.order), axis=-1), name=name)


def _check_input_shape(name: str, own: OwnModel, model: keras.Model) -> None:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return  # A subclassed model may not know its input before it is called.
    if len(inputs) != 1:
        raise ModelError(f"{name} must have one input, images, but has {len(inputs)}.")
    check_shape(name, own, tuple(inputs[0].shape))
