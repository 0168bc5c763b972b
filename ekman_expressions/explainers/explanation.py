"""One form of an explanation, and one form of an explainer, whichever method it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, check_option, check_range, check_type
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.explainers.record import _SAMPLERS, Stored, StoredMap
from ekman_expressions.zoo.model import _check_image, as_model, check_hidden


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """What an explainer says of one image, one model and one class.

    Attributes
    ----------
    image_id, model, explainer : str
        Which image, which model (``SongNet_CV3``), and the explainer's name in `EXPLAINERS`.
    target : int
        The class explained.
    weights : (S,) or (H, W) ndarray of float
        How much each superpixel, or each pixel where there are no superpixels, speaks for the class;
        negative: against it. In which unit depends on the explainer.
    segments : (H, W) ndarray of int or None
        The superpixel of each pixel, 0 ... S - 1; None where `weights` are those of pixels.
    standard_errors : (S,) ndarray of float or None
        How much the weights would vary if other samples had been drawn; None if the explainer does not
        estimate it.
    intercept : float
        The surrogate's prediction when all superpixels are hidden; NaN without a surrogate.
    r2 : float
        Weighted share of the predictions' variance that the surrogate explains; NaN without one, or
        when the model predicted the same for all samples, so that there is nothing to explain.
    passes : int
        Images that went through the model for what this was estimated from.
    completeness : float
        By how much a map misses what it should sum to, as a share of it (integrated gradients); else NaN.

    Raises
    ------
    DataError
        If there is not one weight per superpixel, or a map is not (H, W).

    Examples
    --------
    >>> halves = np.array([[0, 0, 1, 1]])
    >>> found = Explanation(explainer="lime", target=0, weights=np.array([0.5, -0.25]), segments=halves)
    >>> found.map.tolist()
    [[0.5, 0.5, -0.25, -0.25]]
    """

    explainer: str
    target: int
    weights: np.ndarray
    segments: np.ndarray | None = None
    standard_errors: np.ndarray | None = None
    intercept: float = float("nan")
    r2: float = float("nan")
    passes: int = 0
    completeness: float = float("nan")
    image_id: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        shape = np.shape(self.weights)
        if self.segments is None and len(shape) != 2:
            raise DataError(f"'weights' of pixels must have shape (H, W), but got {shape}.")
        if self.segments is not None and shape != (int(np.max(self.segments)) + 1,):
            count = int(np.max(self.segments)) + 1
            raise DataError(f"'weights' must have shape ({count},), one per superpixel, but got {shape}.")

    @property
    def map(self) -> np.ndarray:
        """Each pixel's weight, with its sign and not stretched: (H, W) float32."""
        weights = np.asarray(self.weights, np.float32)
        return weights if self.segments is None else weights[self.segments]

    @property
    def weighted_flip_rate(self) -> float:
        """Which share of the weights' size has probably another sign than it would have with endless samples.

        Each weight is taken to lie normally about the true one by its standard error. Small weights, near 0,
        flip easily and count little. NaN where all weights are 0, or standard errors are not known.
        """
        from scipy.stats import norm

        sizes = np.abs(self.weights)
        if self.standard_errors is None or not sizes.any():
            return float("nan")
        flips = norm.sf(sizes / np.maximum(self.standard_errors, 1e-300))
        return float(sizes @ flips / sizes.sum())

    def to_lime(self, image: np.ndarray) -> Any:
        """Return it as the package `lime` would have, for code that is written for that package.

        Parameters
        ----------
        image : (H, W, 3) ndarray
            The image that was explained.

        Returns
        -------
        lime.lime_image.ImageExplanation

        Raises
        ------
        DataError
            If it is an explanation of pixels, or of an image of another size.
        """
        from lime.lime_image import ImageExplanation

        if self.segments is None:
            raise DataError(f"An explanation by {self.explainer!r} has no superpixels, which lime needs.")
        if np.shape(image)[:2] != self.segments.shape:
            raise DataError(f"The explanation is of an image of {self.segments.shape}, but got {np.shape(image)[:2]}.")
        found = ImageExplanation(np.asarray(image), self.segments)
        order = np.argsort(-np.abs(self.weights), kind="stable")
        found.top_labels = [self.target]
        found.local_exp[self.target] = [(int(place), float(self.weights[place])) for place in order]
        found.intercept[self.target] = self.intercept
        found.score = {self.target: self.r2}
        found.local_pred = {self.target: np.array([self.intercept + np.sum(self.weights)])}
        return found


@dataclass(frozen=True, kw_only=True)
class Option:
    """A setting of an explainer: its default, and what it may be.

    Attributes
    ----------
    default : bool, int, float or str
        Also says the type: a whole number must stay whole.
    low, high : float or None
        The closed range of a number.
    choices : tuple of str
        The values of a text; empty: any.
    verify : callable or None
        ``verify(value, name)`` raises `SettingsError` unless the value may be given; in place of the above.
    """

    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    verify: Callable[[Any, str], None] | None = None

    def check(self, value: Any, name: str) -> None:
        """Raise `SettingsError` unless `value` may be given."""
        if self.verify is not None:
            self.verify(value, name)
        elif self.choices:
            check_option(value, name, self.choices)
        elif isinstance(self.default, bool | str):
            check_type(value, name, type(self.default))
        else:
            check_range(value, name, self.low, self.high, integer=isinstance(self.default, int))


def _check_hidden_setting(hidden: Any, name: str) -> None:
    """Raise `SettingsError` unless hidden parts may look so; pictures are checked with the image."""
    if not callable(hidden) and not np.ndim(hidden):
        check_hidden(hidden, name)


def _needs_neutral(settings: Mapping[str, Any]) -> bool:
    """Say whether an explainer's settings name the neutral face, which then takes the place of the word."""
    return isinstance(settings.get("hidden"), str) and settings["hidden"] == "neutral"


_SHARED: dict[str, Option] = {
    "segments": Option(default=30, low=1, high=10_000),
    "compactness": Option(default=20.0, low=1e-6),
    "samples": Option(default=1000, low=2),
    "sampler": Option(default="iid", choices=tuple(_SAMPLERS)),
    "hidden": Option(default=0.0, verify=_check_hidden_setting),
    "kernel_width": Option(default=0.25, low=1e-6),
    "alpha": Option(default=1.0, low=0),
}
"""Settings that several explainers share; in a study they stand under ``[explanation]``."""


def _map_as_it_is(name: str, stored: StoredMap, target: int, settings: Mapping[str, Any]) -> Explanation:
    """The estimate of all explainers that store their map."""
    if stored.target != target:
        raise DataError(
            f"The stored map of {stored.image_id!r} explains class {stored.target}, but the class wanted is "
            f"{target}. Delete it and run its step again."
        )
    return Explanation(
        explainer=name,
        target=target,
        weights=stored.map,
        passes=stored.passes,
        completeness=stored.completeness,
        image_id=stored.image_id,
        model=stored.model,
    )


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A method of explanation: a row of `EXPLAINERS`.

    Attributes
    ----------
    name, title : str
        Its name in settings and folders, and in figures and tables.
    source : str
        The paper that describes it.
    cost : str
        Images that go through the model per face, in words.
    query : callable
        ``query(model, image, target, *, seed, landmarks, settings)`` queries a `Model` about one image
        (H, W, 3) float32 in [0, 1] and returns what is to be kept of it, a `Stored`. It takes from `seed`
        whatever is random, and from `settings` the values of `shared` and `options`.
    estimate : callable
        ``estimate(stored, target, settings)`` makes the `Explanation` of a class of it, without the
        model. Left out: the stored map.
    shared : tuple of str
        Which of the settings `_SHARED` it takes.
    options : dict of str to Option
        Settings of its own; in a study under ``[explanation.options.<name>]``.
    records_of : str
        The explainer from whose stored queries it is estimated; left out: its own.
    gradients, landmarks : bool
        Whether it needs a model with gradients, and the 68 landmarks of each image.
    """

    name: str
    title: str
    source: str
    cost: str
    query: Callable[..., Stored]
    estimate: Callable[..., Explanation] | None = None
    shared: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    records_of: str = ""
    gradients: bool = False
    landmarks: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "records_of", self.records_of or self.name)
        if self.estimate is None:
            object.__setattr__(self, "estimate", partial(_map_as_it_is, self.name))

    @property
    def gives_map(self) -> bool:
        """Whether it explains pixels, not superpixels."""
        return isinstance(self.estimate, partial)

    @property
    def has_surrogate(self) -> bool:
        """Whether it fits LIME's weighted ridge regression, which can be resampled."""
        return "alpha" in self.shared

    def resolve(self, **given: Any) -> dict[str, Any]:
        """Return the defaults of all settings that it takes, with those given laid over them.

        Raises
        ------
        SettingsError
            If it has no such setting, or a value may not be given.
        """
        known = {name: _SHARED[name] for name in self.shared} | dict(self.options)
        for name, value in given.items():
            check_option(name, f"settings of {self.name}", known)
            known[name].check(value, name)
        return {name: option.default for name, option in known.items()} | given

    def explain(
        self,
        model: Any,
        images: Any,
        targets: Any,
        *,
        seed: int,
        landmarks: Any = None,
        neutrals: Any = None,
        **settings: Any,
    ) -> list[Explanation]:
        """Explain images: the same for all explainers.

        Parameters
        ----------
        model : Model, keras.Model, torch.nn.Module or callable
            See `ekman_expressions.zoo.model.as_model`; it gives probabilities (N, C).
        images : (N, H, W, 3) array_like of float, range [0, 1]
            RGB, also as a tensor or a list of images of one size.
        targets : (N,) array_like of int
            The class to explain in each image.
        seed : int
            All randomness comes from it and the image: the same call gives the same explanations, and
            neither the order of the images nor the size of batches matters.
        landmarks : (N, 68, 2) array_like, optional
            x and y in units of the image's sides, of explainers that need them.
        neutrals : (N, H, W, 3) array_like of float, range [0, 1], optional
            The same persons' neutral faces, for ``hidden="neutral"``; see `Faces.neutrals`.
        **settings
            See `shared` and `options`.

        Returns
        -------
        list of N Explanation

        Raises
        ------
        SettingsError, DataError
            If an argument does not fit; the message says which.
        ModelError
            If the model's predictions are no probabilities, it has no gradients and they are needed, or
            memory is too short for one image.
        """
        check_type(seed, "seed", (int, np.integer))
        settings = self.resolve(**settings)
        model, images, targets = as_model(model), _stacked(images), np.asarray(targets)
        if images.ndim != 4 or not len(images):
            raise DataError(f"'images' must have shape (N, H, W, 3), N >= 1, but got {images.shape}.")
        images = _check_image(images.reshape(-1, *images.shape[2:])).reshape(images.shape)
        if targets.shape != (len(images),) or targets.dtype.kind not in "iu":
            raise DataError(
                f"'targets' must be one class index for each of {len(images)} images, "
                f"but got {targets.dtype} of shape {targets.shape}."
            )
        neutral, found = _needs_neutral(settings), []
        for name, needed, given, shape in (
            ("landmarks", self.landmarks, landmarks, (len(images), 68, 2)),
            ("neutrals", neutral, neutrals, images.shape),
        ):
            if needed and _stacked(given).shape != shape:
                raise DataError(
                    f"{self.name!r} with these settings needs '{name}' of shape {shape}, those of each "
                    f"image, but got {np.shape(given)}."
                )
        for place, (image, target) in enumerate(zip(images, targets.tolist(), strict=True)):
            # Of its content: an image's place among others must not matter.
            digest = hashlib.sha256(image).hexdigest()
            stored = self.query(
                model,
                image,
                target,
                seed=derive_seed(int(seed), self.records_of, digest),
                landmarks=np.asarray(landmarks[place]) if self.landmarks else None,
                settings=settings | {"hidden": np.asarray(neutrals[place])} if neutral else settings,
            )
            found.append(self.estimate(stored, target, settings))
        return found


def _stacked(images: Any) -> np.ndarray:
    try:
        return np.asarray(images)
    except ValueError as error:
        raise DataError(
            f"'images' must have shape (N, H, W, 3), all of one size, but they cannot be stacked ({error})."
        ) from error
