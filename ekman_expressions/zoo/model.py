"""The one port to a model: predictions for images and for copies with parts hidden, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, ModelError, SettingsError, check_option, check_range
from ekman_expressions.zoo import backends, saving
from ekman_expressions.zoo.own_settings import OwnModel
from ekman_expressions.zoo.torch_backend import _TorchBackend

GROUP = 25
"""Images in each forward pass: always so many, the last batch filled up. The usual numbers of samples
(1,000; 125) are multiples of it.

Libraries choose their algorithms by the shape of a batch, so the last bits of a prediction depend on the
batch size (seen: up to 5e-7 between batches of 1 and of 24 images). With one fixed shape they depend on the
image alone.
"""

_GRADIENT_GROUP = 8
"""Images in each backward pass: fewer, since the activations of all layers are kept in memory."""

_PRECISIONS: tuple[str, ...] = ("float32", "bfloat16", "float16")

_GRADIENT_SCORES = ("probability", "logit", "contrast")
"""What gradients are taken of; see `Model.gradients`."""

_HIDDEN = ("mean", "blur", "superpixel_mean", "neutral")
"""What hidden parts may look like, besides a gray value; see `background`. ``neutral``: the same person's
neutral face, which whoever explains puts in the place of the word."""

_BLUR = 1 / 20
"""Standard deviation of the blur in units of the image's shorter side: 11 pixels of 224.

About that of Fong and Vedaldi (2017), 10 pixels of 224: what remains are patches of colour.
"""


class Model:
    """A classifier of images in one form, whatever library it comes from.

    Images are RGB, float32 in [0, 1]; predictions are probabilities (N, C). Every batch has the same
    size, so that a prediction depends neither on how many images there are nor on their order. When memory
    is short, batches are halved, and stay so. Made by `as_model`, `load_model` or `example_model`.

    Attributes
    ----------
    name : str
        What messages and tables call it.
    classes : tuple of str
        Names of its outputs, in order; empty where they are not known.
    masks : dict of str to sequence of str
        The regions of the atlas where classes show, other than the Ekman masks; see `load_model`.
    side : tuple of int, or None
        Height and width of the images that it takes, in pixels; None where it takes any.
    source : object
        The Keras model, torch module or function inside.
    has_gradients : bool
        Whether `gradients` and `features` can be used.
    notes : list of str
        What was done about a lack of memory, and where a score or a layer is not what it should be.

    Examples
    --------
    >>> import numpy as np
    >>> model = as_model(lambda images: np.full((len(images), 2), 0.5))
    >>> model.predict(np.zeros((3, 8, 8, 3), np.float32)).shape
    (3, 2)
    """

    def __init__(
        self,
        backend: Any,
        name: str,
        classes: Sequence[str] = (),
        *,
        group: int = GROUP,
        masks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        check_range(group, "group", 1, integer=True)
        self._backend = backend
        self.name, self.classes, self.masks = name, tuple(classes), masks
        self.side, self.source, self.has_gradients = backend.side, backend.model, backend.has_gradients
        self.notes: list[str] = backend.notes
        self._groups = {"predictions": group, "single predictions": 1, "gradients": _GRADIENT_GROUP}

    def __repr__(self) -> str:
        return f"Model({self.name!r}, side={self.side}, classes={self.classes})"

    @property
    def is_keras(self) -> bool:
        """Whether it is a Keras model inside."""
        return backends._is_a(self.source, "keras.Model")

    @property
    def group(self) -> int:
        """Images in each forward pass; halved where memory is short."""
        return self._groups["predictions"]

    def predict(self, images: Any) -> np.ndarray:
        """Predict the classes of images.

        Parameters
        ----------
        images : (N, H, W, 3) array_like of float, range [0, 1]
            RGB.

        Returns
        -------
        (N, C) ndarray of float32, range [0, 1]

        Raises
        ------
        DataError
            If these are no such images.
        ModelError
            If the model takes another size, fails, or predicts no probabilities; or memory is too short.
        """
        images = np.asarray(images)
        if images.ndim != 4 or not len(images):
            raise DataError(f"'images' must have shape (N, H, W, 3), N >= 1, but got {images.shape}.")
        images = _check_image(images.reshape(-1, *images.shape[2:])).reshape(images.shape)
        self._check_size(images.shape[1:])
        (found,) = self._in_groups("predictions", self._backend.predict, images)
        return self._check(found)

    def predict_hidden(
        self, image: Any, segments: Any, samples: Any, behind: Any = 0.0, *, singly: bool = False
    ) -> np.ndarray:
        """Predict the classes of copies of an image in which superpixels are hidden.

        Parameters
        ----------
        image : (H, W, 3) ndarray of float, range [0, 1]
            RGB.
        segments : (H, W) ndarray of int
            The superpixel of each pixel, 0 ... S - 1.
        samples : (n, S) ndarray of bool
            The superpixels that each copy keeps.
        behind : float, str, (H, W, 3) ndarray or callable
            What hidden superpixels look like; see `background`.
        singly : bool
            Whether copies go through the model one by one: for few of them, a batch that is filled up
            costs more.

        Returns
        -------
        (n, C) ndarray of float32, range [0, 1]

        Raises
        ------
        DataError, ModelError
            If the arguments do not fit each other; or as for `predict`.
        """
        image = _check_image(image)
        segments = _check_segments(segments)
        samples = _check_samples(samples, segments)
        if segments.shape != image.shape[:2]:
            raise DataError(f"'segments' has shape {segments.shape}, but the image has {image.shape[:2]}.")
        behind = background(image, behind, segments)
        self._check_size(image.shape)
        kind = "single predictions" if singly else "predictions"
        (found,) = self._in_groups(kind, self._backend.hider(image, segments, behind), samples)
        return self._check(found, lambda row: f" ({samples[row].sum()} of {samples.shape[1]} superpixels kept)")

    def predict_masked(self, image: Any, masks: np.ndarray, behind: Any = 0.0) -> np.ndarray:
        """Predict the classes of copies of an image, each seen through a soft mask.

        Parameters
        ----------
        image : (H, W, 3) ndarray of float, range [0, 1]
            RGB.
        masks : (n, H, W) ndarray of float32, range [0, 1]
            How much of each pixel is kept; the rest is that of `behind`.
        behind : float, str, (H, W, 3) ndarray or callable
            What is seen where the image is hidden; see `background`.

        Returns
        -------
        (n, C) ndarray of float32, range [0, 1]
        """
        image, masks = _check_image(image), np.asarray(masks, np.float32)
        if masks.shape[1:] != image.shape[:2] or not len(masks):
            raise DataError(f"'masks' must have shape (n, {image.shape[0]}, {image.shape[1]}), but got {masks.shape}.")
        behind = background(image, behind)
        self._check_size(image.shape)
        (found,) = self._in_groups("predictions", self._backend.masker(image, behind), masks)
        return self._check(found)

    def gradients(self, images: np.ndarray, target: int, score: str = "probability") -> tuple[np.ndarray, np.ndarray]:
        """Return predictions, and the gradients of one class' score with respect to the images, in float32.

        Parameters
        ----------
        images : (n, H, W, 3) ndarray of float32
            Where the gradients are taken; values outside [0, 1] are allowed.
        target : int
            The class, 0 ... C - 1.
        score : {'probability', 'logit', 'contrast'}
            ``probability``: the prediction. ``logit``: what goes into the softmax at the model's end; where
            there is none, the contrast, and `notes` say so. ``contrast``: the logarithm of the prediction
            minus the mean of the logarithms of all classes' predictions, for a softmax the class' logit minus
            the mean logit. Neither saturates where the model is certain.

        Returns
        -------
        predictions : (n, C) ndarray of float32
        gradients : (n, H, W, 3) ndarray of float32

        Raises
        ------
        ModelError
            If the model has no gradients, or as for `predict`.
        """
        self._check_differentiable(score)
        images = np.asarray(images, np.float32)
        self._check_size(images.shape[1:])
        found, gradients = self._in_groups(
            "gradients", lambda batch: self._backend.gradients(batch, int(target), score), images
        )
        return self._check(found, target=target), _finite(gradients)

    def features(
        self, image: Any, target: int, layer: str | None = None, score: str = "logit"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what a convolutional layer finds in an image, and the gradients of one class' score there.

        Parameters
        ----------
        image : (H, W, 3) ndarray of float, range [0, 1]
            RGB.
        target : int
            The class, 0 ... C - 1.
        layer : str, optional
            Name of the layer, also one inside a nested model (torch: ``"layer4.2.relu"``). By default
            the last one, at or after the last convolution, whose output has a height and a width of
            more than one pixel each, not counting pooling, dropout, cropping and the like: the
            activation behind the last convolution, or what joins several branches.
        score : {'probability', 'logit', 'contrast'}
            See `gradients`.

        Returns
        -------
        activations, gradients : (h, w, c) ndarray of float32

        Raises
        ------
        SettingsError, ModelError
            If there is no such layer; if the model has no gradients or no convolution that can be seen.
        """
        self._check_differentiable(score)
        image = _check_image(image)
        self._check_size(image.shape)
        # Copies fill the batch. For a single image, the last bits would depend on the number of threads.
        found, activations, gradients = self._in_groups(
            "gradients",
            lambda batch: self._backend.features(batch, int(target), layer or "", score),
            image[None],
        )
        self._check(found, target=target)
        gradients = _finite(gradients[0].astype(np.float32))
        # A mean over all places gives the same gradient at each.
        if layer is None and np.ptp(gradients, axis=(0, 1)).max() > 1e-3 * np.abs(gradients).max():
            note = (
                "no global pooling follows the last features: the classes depend on where these are, of "
                "which Grad-CAM's one weight per feature map knows nothing"
            )
            backends._say(self, note)
        return activations[0].astype(np.float32), gradients

    def _in_groups(self, kind: str, call: Callable, items: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what `call` makes of all items, so many at a time; half as many when memory is short."""
        while True:
            group = self._groups[kind]
            try:
                found = []
                for start in range(0, len(items), group):
                    batch = items[start : start + group]
                    filling = np.repeat(batch[-1:], group - len(batch), axis=0)
                    results = call(np.concatenate([batch, filling]))
                    results = results if isinstance(results, tuple) else (results,)
                    if results[0].ndim != 2 or len(results[0]) != group:
                        raise ModelError(
                            f"{self.name} was given {group} images and must return ({group}, classes), but "
                            f"returned shape {results[0].shape}."
                        )
                    found.append(results)
                return tuple(np.concatenate(parts)[: len(items)] for parts in zip(*found, strict=True))
            except Exception as error:
                if not backends._is_out_of_memory(error):
                    raise
                if group == 1:
                    raise ModelError(
                        f"There is not enough memory for {kind} of {self.name} for a single image "
                        f"({type(error).__name__})."
                    ) from error
                self.notes.append(f"out of memory with {group} images at a time, so from there on {group // 2}")
                self._groups[kind] = group // 2

    def _check_size(self, shape: tuple[int, ...]) -> None:
        side = self.side
        if len(shape) != 3 or shape[2] != 3:
            raise DataError(f"Images must be RGB of shape (H, W, 3), but got {shape}.")
        if side and any(want not in (None, have) for want, have in zip(side, shape, strict=False)):
            raise ModelError(f"{self.name} takes images of shape {(*side, 3)}, but the image has {shape}. Resize it.")

    def _check(self, found: np.ndarray, describe: Callable[[int], str] = lambda row: "", target: int = 0) -> np.ndarray:
        """Return predictions as float32, or raise unless they are probabilities; `describe` names a row."""
        found = found.astype(np.float32)
        count, known = found.shape[1], len(self.classes)
        if not count or known not in (0, count):
            raise ModelError(
                f"{self.name} must predict {known or 'some'} classes ({', '.join(self.classes)}). Received: {count}."
            )
        bad = ~np.isfinite(found)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ModelError(
                f"{self.name} predicted NaN or infinity for {bad.any(axis=1).sum()} of {len(found)} samples, "
                f"first for sample {row}{describe(row)}, class {column}."
            )
        sums = found.sum(axis=1)
        # Half-precision softmax sums to 1 within this.
        if found.min() < -1e-3 or np.abs(sums - 1).max() > 1e-2:
            row = int(np.abs(sums - 1).argmax())
            raise ModelError(
                f"The predictions of {self.name} are no probabilities (logits?): those for sample {row} sum "
                f"to {sums[row]:.6g}, and all lie in [{found.min():.6g}, {found.max():.6g}]. Add a softmax "
                "to the model, or wrap it by as_model(model, output='logits')."
            )
        check_range(target, "target", 0, count - 1, integer=True)
        return found

    def _check_differentiable(self, score: str) -> None:
        check_option(score, "score", _GRADIENT_SCORES)
        if not self.has_gradients:
            raise ModelError(
                f"{self.name} only predicts, but this explainer needs gradients, and so a Keras model or "
                "torch module. Give the model as one, or use an explainer that only queries, such as 'lime', "
                "'rise' or 'occlusion'."
            )


def as_model(
    model: Any,
    *,
    name: str | None = None,
    classes: Sequence[str] = (),
    output: str = "probabilities",
    group: int = GROUP,
    precision: str = "float32",
) -> Model:
    """Wrap a model in memory as it is, without adapting colours, range or order of classes.

    Parameters
    ----------
    model : keras.Model, torch.nn.Module, callable or Model
        From RGB images in [0, 1], (N, H, W, 3), for a torch module (N, 3, H, W), to probabilities (N, C).
        A torch module may also return an object with ``.logits``, as the image classifiers of Hugging
        Face's transformers do. A `Model` is returned as it is.
    name : str, optional
        What messages and tables call it.
    classes : sequence of str
        Names of its outputs, where known.
    output : {'probabilities', 'logits'}
        What it returns; a softmax is applied to logits.
    group : int, >= 1
        Images per batch.
    precision : {'float32', 'bfloat16', 'float16'}
        In which a Keras model or torch module computes predictions. bfloat16 has 8 significant bits;
        float16 has 11, but ends at 65504. The last layer of a Keras model stays in float32.

    Raises
    ------
    SettingsError
        If it is no model, or cannot be used so. Files, and models that take other images: see `load_model`.
    """
    if isinstance(model, Model):
        return model
    check_option(output, "output", ("probabilities", "logits"))
    model = saving._from_keras_2(model)
    if not callable(model):
        raise SettingsError(
            "'model' must be a Keras model, a torch module or a callable images -> probabilities, "
            f"but got {type(model).__name__}. Files are read by load_model."
        )
    name = name or getattr(model, "name", None) or getattr(model, "__name__", None) or type(model).__name__
    return Model(_backend(model, precision, output), str(name), classes, group=group)


def _backend(model: Any, precision: str, output: str, own: OwnModel | None = None) -> Any:
    """Return what computes with a Keras model as it is, or with another as `own`, if there, describes it."""
    check_option(precision, "precision", _PRECISIONS)
    if backends._is_a(model, "keras.Model"):
        return backends._KerasBackend(model, precision, output)
    if backends._is_a(model, "torch.nn.Module"):
        return _TorchBackend(model, precision, output, own)
    if precision != "float32":
        raise SettingsError(
            f"'precision' = {precision!r} needs a Keras model or torch module, but got "
            f"{type(model).__name__}. Use 'float32', or let the function itself compute so."
        )
    return backends._FunctionBackend(model, output, own)


def check_hidden(hidden: Any, name: str) -> None:
    """Raise `SettingsError` unless `hidden` is a gray value in [0, 1] or one of `_HIDDEN`."""
    if isinstance(hidden, Real) and not isinstance(hidden, bool):
        check_range(hidden, name, 0, 1)
    elif not isinstance(hidden, str) or hidden not in _HIDDEN:
        known = ", ".join(map(repr, _HIDDEN))
        raise SettingsError(f"'{name}' must be a gray value in [0, 1] or one of {known}, but got {hidden!r}.")


def background(image: np.ndarray, hidden: Any, segments: np.ndarray | None = None) -> np.ndarray:
    """Return what hidden parts of an image look like, as contiguous (H, W, 3) float32.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    hidden : float, {'mean', 'blur', 'superpixel_mean'}, (H, W, 3) ndarray or callable
        A gray value (0: black); the mean of each channel; the image after a Gaussian blur
        (see `_BLUR`; Fong and Vedaldi, 2017, doi:10.1109/ICCV.2017.371); each superpixel's own mean colour,
        as the package `lime` has it; the background itself, in [0, 1]; or a function from the image to it.
    segments : (H, W) ndarray of int, optional
        The superpixels, 0 ... S - 1, which ``'superpixel_mean'`` needs.
    """
    image = np.asarray(image)
    if callable(hidden) or (isinstance(hidden, np.ndarray) and hidden.ndim):
        hidden = np.asarray(hidden(image) if callable(hidden) else hidden)
        if hidden.shape != image.shape or not (hidden.min() >= 0 and hidden.max() <= 1):
            raise DataError(
                f"A background must have the image's shape {image.shape} and lie in [0, 1], but got "
                f"{hidden.shape} in [{hidden.min(initial=np.inf):g}, {hidden.max(initial=-np.inf):g}]."
            )
        return np.ascontiguousarray(hidden, np.float32)
    check_hidden(hidden, "hidden")
    if hidden == "neutral":
        raise SettingsError(
            "hidden = 'neutral' needs the same person's neutral face, which this call was not given. Explain "
            "faces that have one (Faces.neutrals), or give the picture itself as 'hidden'."
        )
    if hidden == "superpixel_mean":
        if segments is None:
            raise SettingsError(
                "hidden = 'superpixel_mean' needs superpixels, but this explainer has none. Use 'blur' or 'mean'."
            )
        flat, labels = image.reshape(-1, image.shape[2]), np.ravel(segments)
        sums = np.stack([np.bincount(labels, channel) for channel in flat.T], axis=-1)
        return np.float32(sums / np.bincount(labels)[:, None])[segments]
    if hidden == "mean":
        return np.broadcast_to(image.mean(axis=(0, 1), dtype=np.float64), image.shape).astype(np.float32)
    if hidden == "blur":
        from scipy.ndimage import gaussian_filter

        sigma = _BLUR * min(image.shape[:2])
        blurred = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest")
        return np.clip(blurred, 0, 1).astype(np.float32)
    return np.full(image.shape, hidden, np.float32)


def _check_image(image: Any) -> np.ndarray:
    """Return an image as contiguous float32, or raise `DataError` unless it is RGB in [0, 1]."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != "f":
        raise DataError(
            f"An image must be RGB of shape (H, W, 3), float in [0, 1], but got {image.dtype} of shape {image.shape}."
        )
    if not (image.size and image.min() >= 0 and image.max() <= 1):
        raise DataError(
            f"An image must lie in [0, 1], but got {image.min(initial=np.inf)} ... "
            f"{image.max(initial=-np.inf)}. Divide 8-bit images by 255."
        )
    return np.ascontiguousarray(image, np.float32)


def _check_segments(segments: Any) -> np.ndarray:
    """Return superpixels, or raise `DataError` unless they are labels 0 ... S - 1, each occurring."""
    segments = np.asarray(segments)
    whole = segments.ndim == 2 and segments.size and segments.dtype.kind in "iu"
    if not (whole and 0 <= segments.min() <= segments.max() < segments.size and np.bincount(segments.ravel()).all()):
        raise DataError(
            "'segments' must be whole numbers of shape (H, W), labelled 0 ... S - 1 without gaps, but got "
            f"{segments.dtype} of shape {segments.shape}."
        )
    return segments


def _check_samples(samples: Any, segments: np.ndarray) -> np.ndarray:
    """Return samples, or raise `DataError` unless they are bool with a column per superpixel."""
    samples = np.asarray(samples)
    count = int(np.max(segments)) + 1
    if samples.dtype != bool or samples.ndim != 2 or samples.shape[1] != count or not len(samples):
        raise DataError(
            f"'samples' must be bool of shape (n, {count}), a column per superpixel, "
            f"but got {samples.dtype} of shape {samples.shape}."
        )
    return samples


def _finite(gradients: np.ndarray) -> np.ndarray:
    wrong = np.count_nonzero(~np.isfinite(gradients))
    if wrong:
        raise ModelError(f"{wrong} of the model's {gradients.size} gradients are NaN or infinite.")
    return gradients
