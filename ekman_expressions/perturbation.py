"""Superpixels, random samples of them, and what a model answers when the others are hidden.

A `PerturbationRecord` is all of an explanation that costs model calls. Every estimate (LIME
for any class, its standard error) is a cheap function of it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ekman_expressions.errors import DataError, ModelError, SettingsError, check_range
from ekman_expressions.startup import silent_stderr
from ekman_expressions.storage import read_arrays, write_arrays

GROUP = 32
"""Images in each call of a Keras model: always so many, the last call filled up.

Libraries choose their algorithms by the shape of a batch, so the last bits of an answer depend
on the batch size (seen: up to 5e-7 between calls of 1 and of 24 images). With one fixed shape
they depend on the image alone. 32 was within 2 % of the best size on all networks tried.
"""

# Compiled functions by model, so that all faces of one size share one; gone with the model.
_compiled: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbationRecord:
    """For one image and one model: what was hidden in each sample, and what the model answered.

    Attributes
    ----------
    image_id, model : str
        Which image, which model (``SongNet_CV3``).
    segments : (H, W) ndarray of int
        The superpixel of each pixel: 0 ... S - 1.
    samples : (n, S) ndarray of bool
        Which superpixels were kept in each sample.
    answers : (n, C) ndarray of float32, range [0, 1]
        The model's probabilities for each sample and class.
    hidden : float, range [0, 1]
        Gray value of hidden superpixels.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """

    image_id: str
    model: str
    segments: np.ndarray
    samples: np.ndarray
    answers: np.ndarray
    hidden: float = 0.0

    def __post_init__(self) -> None:
        check_segments(self.segments)
        check_samples(self.samples, self.segments)
        answers = np.asarray(self.answers)
        if answers.dtype != np.float32 or answers.ndim != 2 or len(answers) != len(self.samples):
            raise DataError(
                f"'answers' must be float32 of shape ({len(self.samples)}, classes), "
                f"but got {answers.dtype} of shape {answers.shape}."
            )
        if not np.isfinite(answers).all():
            raise DataError("'answers' must be finite, but some are NaN or infinite.")

    def save(self, path: Path) -> None:
        """Write the record as ``.npz``: samples as bits, segments in the smallest type."""
        small = np.uint8 if self.samples.shape[1] <= 256 else np.uint16
        write_arrays(
            path,
            {
                "image_id": np.array(self.image_id),
                "model": np.array(self.model),
                "segments": self.segments.astype(small),
                "samples": np.packbits(self.samples, axis=1),
                "answers": self.answers,
                "hidden": np.array(self.hidden, np.float64),
            },
        )

    @classmethod
    def load(cls, path: Path) -> PerturbationRecord:
        """Read a record.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DataError
            If the file is truncated, damaged, or no record.
        """
        arrays = read_arrays(path, ("image_id", "model", "segments", "samples", "answers", "hidden"))
        try:
            segments = check_segments(arrays["segments"])
            count = int(segments.max()) + 1
            packed = arrays["samples"]
            if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-count // 8):
                raise DataError(f"the samples do not fit {count} superpixels")
            return cls(
                image_id=str(arrays["image_id"]),
                model=str(arrays["model"]),
                segments=segments.astype(np.int32),
                samples=np.unpackbits(packed, axis=1, count=count).astype(bool),
                answers=arrays["answers"],
                hidden=float(arrays["hidden"]),
            )
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path} is no perturbation record ({error}). "
                "Delete it and run the step 'explanations' again."
            ) from error


def superpixels(image: np.ndarray, *, segments: int = 30, compactness: float = 20.0) -> np.ndarray:
    """Divide an image into SLIC superpixels.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    segments : int
        Superpixels asked for; there will be about so many.
    compactness : float
        Weight of nearness against likeness of colour (in CIELAB units); larger is squarer.

    Returns
    -------
    (H, W) ndarray of int32
        The superpixel of each pixel, 0 ... S - 1, each occurring.

    Raises
    ------
    DataError
        If the image is no RGB image in [0, 1], or has fewer pixels than superpixels asked for.

    References
    ----------
    Achanta et al. (2012), SLIC superpixels, doi:10.1109/TPAMI.2012.120.
    """
    from skimage.segmentation import slic

    image = check_image(image)
    check_range(segments, "segments", 1, integer=True)
    check_range(compactness, "compactness", 1e-6)
    if image.shape[0] * image.shape[1] < segments:
        raise DataError(
            f"An image of {image.shape[0]} x {image.shape[1]} pixels cannot be divided into {segments} "
            "superpixels. Ask for fewer segments, or use a larger image."
        )
    labels = slic(image, n_segments=segments, compactness=compactness, start_label=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def draw_samples(n_superpixels: int, n_samples: int, seed: int | np.random.Generator) -> np.ndarray:
    """Draw which superpixels are kept: each with probability 1/2, in the first sample all.

    The first rows stay the same when more are drawn from the same seed.

    Returns
    -------
    (n_samples, n_superpixels) ndarray of bool
    """
    check_range(n_superpixels, "n_superpixels", 1, integer=True)
    check_range(n_samples, "n_samples", 1, integer=True)
    samples = np.random.default_rng(seed).random((n_samples, n_superpixels)) < 0.5
    samples[0] = True
    return samples


def perturb(
    model: Any,
    image: np.ndarray,
    segments: np.ndarray,
    samples: np.ndarray,
    *,
    hidden: float = 0.0,
    batch_size: int = 64,
    classes: int | None = None,
) -> np.ndarray:
    """Ask a model about copies of an image in which superpixels are hidden.

    Parameters
    ----------
    model : keras.Model or callable
        Takes images (N, H, W, 3) float32 in [0, 1], answers probabilities (N, C). Keras models
        run in a compiled function that masks on the device, made once per model and image size.
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    segments : (H, W) ndarray of int
        The superpixel of each pixel, 0 ... S - 1.
    samples : (n, S) ndarray of bool
        The superpixels that each copy keeps.
    hidden : float, range [0, 1]
        Gray value of hidden superpixels.
    batch_size : int
        Copies per call of a model that is not a Keras model; the last call may have fewer.
        Keras models get `GROUP` at a time, so that answers depend neither on this nor on order.
    classes : int or None
        How many classes the model must answer; None takes any number.

    Returns
    -------
    (n, C) ndarray of float32, range [0, 1]
        The model's answers.

    Raises
    ------
    DataError
        If image, segments and samples do not fit each other.
    ModelError
        If the answers are no probabilities: wrong number, NaN, infinite, or not summing to 1.
    """
    image = check_image(image)
    segments = check_segments(segments)
    samples = check_samples(samples, segments)
    if segments.shape != image.shape[:2]:
        raise DataError(f"'segments' has shape {segments.shape}, but the image has {image.shape[:2]}.")
    check_range(hidden, "hidden", 0, 1)
    check_range(batch_size, "batch_size", 1, integer=True)
    if _is_keras(model):
        answers = _ask_keras(model, image, segments, samples, hidden)
    elif callable(model):
        answers = _ask_callable(model, image, segments, samples, hidden, batch_size)
    else:
        raise SettingsError(
            "'model' must be a Keras model or a callable images -> probabilities, "
            f"but got {type(model).__name__}."
        )
    return _check_answers(answers, samples, classes)


def check_image(image: Any) -> np.ndarray:
    """Return an image as contiguous float32, or raise `DataError` unless it is RGB in [0, 1]."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != "f":
        raise DataError(
            "An image must be RGB of shape (H, W, 3), float in [0, 1], "
            f"but got {image.dtype} of shape {image.shape}."
        )
    if not (image.size and image.min() >= 0 and image.max() <= 1):
        raise DataError(
            f"An image must lie in [0, 1], but got {image.min(initial=np.inf)} ... "
            f"{image.max(initial=-np.inf)}. Divide 8-bit images by 255."
        )
    return np.ascontiguousarray(image, np.float32)


def check_segments(segments: Any) -> np.ndarray:
    """Return superpixels, or raise `DataError` unless they are labels 0 ... S - 1, each occurring."""
    segments = np.asarray(segments)
    if segments.ndim != 2 or segments.size == 0 or segments.dtype.kind not in "iu":
        raise DataError(
            "'segments' must be whole numbers of shape (H, W), "
            f"but got {segments.dtype} of shape {segments.shape}."
        )
    low, high = int(segments.min()), int(segments.max())
    if low != 0 or high >= segments.size or not np.bincount(segments.ravel()).all():
        raise DataError(
            f"'segments' must be labelled 0 ... S - 1 without gaps, but the labels go from {low} to {high} "
            f"and {np.unique(segments).size} of them occur."
        )
    return segments


def check_samples(samples: Any, segments: np.ndarray) -> np.ndarray:
    """Return samples, or raise `DataError` unless they are bool with a column per superpixel."""
    samples = np.asarray(samples)
    count = int(np.max(segments)) + 1
    if samples.dtype != bool or samples.ndim != 2 or samples.shape[1] != count or not len(samples):
        raise DataError(
            f"'samples' must be bool of shape (n, {count}), a column per superpixel, "
            f"but got {samples.dtype} of shape {samples.shape}."
        )
    return samples


def _is_keras(model: Any) -> bool:
    # A Keras model cannot exist unless somebody imported Keras, which takes seconds.
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.Model)


def _ask_callable(
    model: Callable,
    image: np.ndarray,
    segments: np.ndarray,
    samples: np.ndarray,
    hidden: float,
    batch_size: int,
) -> np.ndarray:
    answers = []
    for start in range(0, len(samples), batch_size):
        kept = samples[start : start + batch_size].take(segments, axis=1)
        answer = np.asarray(model(np.where(kept[..., None], image, np.float32(hidden))))
        if answer.ndim != 2 or len(answer) != len(kept):
            raise ModelError(
                f"The model was given {len(kept)} images and must answer ({len(kept)}, classes), "
                f"but answered shape {answer.shape}."
            )
        answers.append(answer)
    return np.concatenate(answers)


def _ask_keras(
    model: Any, image: np.ndarray, segments: np.ndarray, samples: np.ndarray, hidden: float
) -> np.ndarray:
    wanted = getattr(model, "input_shape", None)
    if isinstance(wanted, tuple) and any(
        side not in (None, have) for side, have in zip(wanted[1:], image.shape, strict=False)
    ):
        raise ModelError(f"The model takes images of shape {wanted[1:]}, but the image has {image.shape}.")
    functions = _compiled.setdefault(model, {})
    count = len(samples)
    filled = np.concatenate([samples, np.ones((-count % GROUP, samples.shape[1]), bool)])
    segments, hidden = segments.astype(np.int32), np.float32(hidden)
    if image.shape not in functions:
        functions[image.shape] = _compile(model, image.shape)
        # While it traces, TensorFlow notes on standard error which types oneDNN leaves to it.
        with silent_stderr():
            functions[image.shape](image, segments, filled[:GROUP], hidden)
    ask = functions[image.shape]
    groups = range(0, len(filled), GROUP)
    answers = [ask(image, segments, filled[at : at + GROUP], hidden).numpy() for at in groups]
    return np.concatenate(answers)[:count]


def _compile(model: Any, shape: tuple[int, ...]) -> Callable:
    import tensorflow as tf

    # A strong reference would keep the model, key of the cache, alive for ever.
    reference = weakref.ref(model)

    def ask(image: Any, segments: Any, samples: Any, hidden: Any) -> Any:
        # Rows are gathered, then transposed: much faster than gathering single bits.
        kept = tf.transpose(tf.gather(tf.transpose(samples), segments), (2, 0, 1))
        answer = reference()(tf.where(kept[..., None], image, hidden), training=False)
        if not tf.is_tensor(answer) or answer.shape.rank != 2:
            received = answer.shape if tf.is_tensor(answer) else type(answer).__name__
            raise ModelError(f"The model must answer one array (N, classes), but answered {received}.")
        return tf.cast(answer, tf.float32)

    # The number of superpixels differs between images: left open, it does not trace again.
    signature = [
        tf.TensorSpec(shape, tf.float32),
        tf.TensorSpec(shape[:2], tf.int32),
        tf.TensorSpec((GROUP, None), tf.bool),
        tf.TensorSpec((), tf.float32),
    ]
    return tf.function(ask, input_signature=signature, autograph=False)


def _check_answers(answers: np.ndarray, samples: np.ndarray, classes: int | None) -> np.ndarray:
    if classes is not None and answers.shape[1] != classes:
        raise ModelError(f"The model must answer {classes} classes. Received: {answers.shape[1]}.")
    answers = answers.astype(np.float32)
    bad = ~np.isfinite(answers)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ModelError(
            f"The model answered NaN or infinity for {bad.any(axis=1).sum()} of {len(answers)} samples, "
            f"first for sample {row} ({samples[row].sum()} of {samples.shape[1]} superpixels kept), "
            f"class {column}."
        )
    sums = answers.sum(axis=1)
    # Half-precision softmax sums to 1 within this.
    if answers.min() < -1e-3 or np.abs(sums - 1).max() > 1e-2:
        row = int(np.abs(sums - 1).argmax())
        raise ModelError(
            f"The model's answers are no probabilities (logits?): those for sample {row} sum to "
            f"{sums[row]:.6g}, and all lie in [{answers.min():.6g}, {answers.max():.6g}]. "
            "Add a softmax to the model."
        )
    return answers
