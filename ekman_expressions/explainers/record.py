"""What is kept of the queries of a model about one image: a perturbation record, or a map.

A `PerturbationRecord` (superpixels, which were kept in each sample, predictions) holds for every
class and every estimate from it; a `StoredMap` is the map of an explainer that needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ekman_expressions.core.errors import DataError, check_option, check_range
from ekman_expressions.core.files import read_arrays, write_arrays
from ekman_expressions.zoo.model import _check_image, _check_samples, _check_segments, as_model

_FEWEST_PER_SUPERPIXEL = 6
"""Samples per superpixel below which R² says little: 100 of 50 superpixels have an R² of 0.5 by chance."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored:
    """What an explainer keeps of its queries of one model about one image; an ``.npz`` file.

    Attributes
    ----------
    image_id, model : str
        Which image, which model (``SongNet_CV3``).
    note : str
        What is to be known before the explanation is used; mostly empty.
    """

    image_id: str = ""
    model: str
    note: ClassVar[str] = ""

    def save(self, path: Path) -> None:
        """Write it as a compressed ``.npz``."""
        write_arrays(path, {"image_id": self.image_id, "model": self.model} | self._packed())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file, whichever kind it is; called on a kind, only that kind.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DataError
            If the file is truncated, damaged, or holds something else.
        """
        arrays = read_arrays(path)
        kind = StoredMap if "map" in arrays else PerturbationRecord
        try:
            if not issubclass(kind, cls):
                raise DataError(f"it is a {kind.__name__}")
            about = {name: arrays.pop(name).item() for name in ("image_id", "model")}
            return kind(**about, **kind._unpacked(arrays))
        except (KeyError, ValueError, TypeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(
                f"{path} is no perturbation record ({reason}). Delete it and run the step 'explanations' again."
            ) from error


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbationRecord(Stored):
    """For one image and one model: what was hidden in each sample, and what the model predicted.

    Attributes
    ----------
    segments : (H, W) ndarray of int
        The superpixel of each pixel: 0 ... S - 1.
    samples : (n, S) ndarray of bool
        Which superpixels were kept in each sample.
    predictions : (n, C) ndarray of float32, range [0, 1]
        The model's probabilities for each sample and class.
    hidden : float or str
        What hidden superpixels looked like; see `ekman_expressions.zoo.model.background`. ``'image'``: a
        picture that was given.
    sampler : str
        How the samples were drawn, and so which of them depend on each other; see `query`.
    none : (C,) ndarray of float32 or None
        The prediction for the image with all superpixels hidden, which is no sample; None: not known.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """

    segments: np.ndarray
    samples: np.ndarray
    predictions: np.ndarray
    hidden: float | str = 0.0
    sampler: str = "iid"
    none: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_segments(self.segments)
        _check_samples(self.samples, self.segments)
        check_option(self.sampler, "sampler", (*_SAMPLERS, "paired"))
        predictions = np.asarray(self.predictions)
        if predictions.dtype != np.float32 or predictions.ndim != 2 or len(predictions) != len(self.samples):
            raise DataError(
                f"'predictions' must be float32 of shape ({len(self.samples)}, classes), "
                f"but got {predictions.dtype} of shape {predictions.shape}."
            )
        if not np.isfinite(predictions).all():
            raise DataError("'predictions' must be finite, but some are NaN or infinite.")
        if self.none is not None and np.shape(self.none) != predictions.shape[1:]:
            raise DataError(f"'none' must have shape {predictions.shape[1:]}, but got {np.shape(self.none)}.")

    @classmethod
    def query(
        cls,
        model: Any,
        image: np.ndarray,
        segments: np.ndarray,
        *,
        samples: int = 1000,
        seed: int | np.random.Generator,
        sampler: str = "iid",
        hidden: Any = 0.0,
    ) -> PerturbationRecord:
        """Query a model about copies of an image in which random superpixels are hidden.

        Parameters
        ----------
        model : Model, keras.Model, torch.nn.Module or callable
            See `ekman_expressions.zoo.model.as_model`.
        image : (H, W, 3) ndarray of float, range [0, 1]
            RGB.
        segments : (H, W) ndarray of int
            The superpixel of each pixel, 0 ... S - 1; see `superpixels`.
        samples : int, >= 1
            How many copies: so many forward passes, and one of the image with all hidden.
        seed : int or Generator
            Decides which superpixels each copy keeps.
        sampler : {'iid', 'orthogonal', 'paired'}
            Each superpixel kept with probability 1/2; the same, balanced, which few samples profit from; or as
            Shapley values want them, a sample and its complement, all samples where there are no more.
        hidden : float, {'mean', 'blur', 'superpixel_mean'}, (H, W, 3) ndarray or callable
            What hidden superpixels look like: a gray value in [0, 1], the image's mean colour, the image
            blurred, each superpixel's own mean colour, or a picture; see
            `ekman_expressions.zoo.model.background`.

        Returns
        -------
        PerturbationRecord
            From which any class is explained: by `lime`, or the ``estimate`` of a row of `EXPLAINERS`.

        Raises
        ------
        DataError
            If image and superpixels do not fit each other.
        ModelError
            If the model's predictions are no probabilities.
        """
        model = as_model(model)
        kept = _draw_samples(int(np.max(segments)) + 1, samples, seed, sampler)
        none = None
        if sampler != "paired":
            none = model.predict_hidden(image, segments, np.zeros_like(kept[:1]), hidden, singly=True)[0]
        predictions = model.predict_hidden(image, segments, kept, hidden)
        return cls(
            model=model.name,
            segments=segments,
            samples=kept,
            predictions=predictions,
            hidden="image" if callable(hidden) or np.ndim(hidden) else hidden,
            sampler=sampler,
            none=predictions[np.flatnonzero(~kept.any(axis=1))[0]] if none is None else none,
        )

    @property
    def passes(self) -> int:
        """Forward passes that it took: the number of samples."""
        return len(self.samples)

    @property
    def pairs(self) -> np.ndarray:
        """Which samples were drawn together, (n,) int: those that share a number are not independent.

        To be resampled, or their influences summed, as one: 0, 1, 2, 3, ... for the sampler ``'iid'``, and
        0, 1, 1, 2, 2, ... for ``'orthogonal'``, which draws complements.
        """
        check_option(self.sampler, "sampler", _SAMPLERS)
        places = np.arange(len(self.samples))
        return places if self.sampler == "iid" else (places + 1) // 2

    @property
    def note(self) -> str:  # type: ignore[override]
        """Whether there are too few samples for what R² says of the fit."""
        if len(self.samples) >= _FEWEST_PER_SUPERPIXEL * self.samples.shape[1]:
            return ""
        return (
            f"fewer than {_FEWEST_PER_SUPERPIXEL} samples per superpixel: the weights fit noise too, so that "
            "R² is to be read beside that on unseen samples"
        )

    def _packed(self) -> dict[str, Any]:
        # Samples as bits, segments in the smallest type.
        small = np.uint8 if self.samples.shape[1] <= 256 else np.uint16
        return {
            "segments": self.segments.astype(small),
            "samples": np.packbits(self.samples, axis=1),
            "predictions": self.predictions,
            "hidden": self.hidden if isinstance(self.hidden, str) else float(self.hidden),
            "sampler": self.sampler,
        } | ({} if self.none is None else {"none": np.float32(self.none)})

    @staticmethod
    def _unpacked(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        segments = _check_segments(arrays["segments"])
        count, packed = int(segments.max()) + 1, arrays["samples"]
        if packed.shape[1:] != (-(-count // 8),):
            raise DataError(f"the samples do not fit {count} superpixels")
        return arrays | {
            "segments": segments.astype(np.int32),
            "samples": np.unpackbits(packed, axis=1, count=count).astype(bool),
            "hidden": arrays["hidden"].item(),
            "sampler": arrays["sampler"].item(),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredMap(Stored):
    """The map of one image and one class by an explainer that keeps no perturbation record.

    Attributes
    ----------
    target : int
        The class explained.
    map : (H, W) ndarray of float32
        How much each pixel speaks for the class; negative: against it.
    passes : int
        Images that went through the model.
    completeness : float
        By how much the map misses what it should sum to, as a share of it; NaN where there is no such sum.

    Raises
    ------
    DataError
        If the map is not (H, W).
    """

    target: int
    map: np.ndarray
    passes: int
    completeness: float = float("nan")
    note: str = ""  # type: ignore[misc]

    def __post_init__(self) -> None:
        if np.ndim(self.map) != 2:
            raise DataError(f"'map' must have shape (H, W), but got {np.shape(self.map)}.")

    def _packed(self) -> dict[str, Any]:
        names = ("target", "passes", "completeness", "note")
        return {"map": np.float32(self.map)} | {name: getattr(self, name) for name in names}

    @staticmethod
    def _unpacked(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        return {name: array if name == "map" else array.item() for name, array in arrays.items()}


def _iid(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    samples = random.random((n_samples, n_superpixels)) < 0.5
    samples[0] = True
    return samples


def _orthogonal(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    """Draw pairs of a row and its complement, the rows those of a Hadamard matrix: a design of resolution IV
    (Hammersley and Morton 1956, doi:10.1017/S0305004100031455; Box and Hunter 1961,
    doi:10.1080/00401706.1961.10489951).
    """
    from scipy.linalg import hadamard

    order = 1 << (n_superpixels - 1).bit_length()
    matrix = hadamard(order, dtype=np.int8) > 0
    blocks = [np.empty((0, n_superpixels), bool)]
    for _ in range(-(-(n_samples // 2) // order)):
        columns = random.permutation(order)[:n_superpixels]
        # A column turned over by the toss of a coin: with it, every row alone is uniform.
        turned = random.random(n_superpixels) < 0.5
        blocks.append(matrix[random.permutation(order)][:, columns] ^ turned)
    rows = np.concatenate(blocks)
    # After each row its complement.
    together = np.stack([rows, ~rows], axis=1).reshape(-1, n_superpixels)
    return np.concatenate([np.ones((1, n_superpixels), bool), together])[:n_samples]


def _paired(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    """Draw samples as the Shapley kernel wants them, each with its complement; an even number.

    The first two keep all and none. Then sizes are drawn with probability
    ``∝ 1 / (k (S - k))`` and superpixels uniformly; a sample and its complement together
    vary less than two that are independent (Covert and Lee 2021, arXiv:2012.01536, section 4.2). When all
    samples are no more than `n_samples`, they are returned instead.
    """
    if n_superpixels <= 16 and 2**n_superpixels <= n_samples:
        return np.array(list(product([True, False], repeat=n_superpixels)))
    sizes = np.arange(1, n_superpixels)
    odds = 1 / (sizes * (n_superpixels - sizes))
    drawn = random.choice(sizes, n_samples // 2 - 1, p=odds / odds.sum())
    ranks = random.random((len(drawn), n_superpixels)).argsort(axis=1)
    half = np.concatenate([np.ones((1, n_superpixels), bool), ranks < drawn[:, None]])
    return np.stack([half, ~half], axis=1).reshape(-1, n_superpixels)


_SAMPLERS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "iid": _iid,
    "orthogonal": _orthogonal,
}
"""Uniform samplers by the name that ``explanation.sampler`` in the settings takes."""


def _draw_samples(
    n_superpixels: int, n_samples: int, seed: int | np.random.Generator, sampler: str = "iid"
) -> np.ndarray:
    """Draw which superpixels are kept, (n_samples, n_superpixels) bool; the first sample keeps all. By
    `_SAMPLERS` the first rows stay the same when more are drawn from one seed.
    """
    samplers = {**_SAMPLERS, "paired": _paired}
    check_option(sampler, "sampler", samplers)
    check_range(n_samples, "samples", 2 if sampler == "paired" else 1, integer=True)
    return samplers[sampler](n_superpixels, int(n_samples), np.random.default_rng(seed))


def superpixels(image: np.ndarray, *, segments: int = 30, compactness: float = 20.0) -> np.ndarray:
    """Divide an image into SLIC superpixels.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    segments : int
        The number wanted; there will be about so many.
    compactness : float
        Weight of nearness against likeness of colour (in CIELAB units); larger is squarer.

    Returns
    -------
    (H, W) ndarray of int32
        The superpixel of each pixel, 0 ... S - 1, each occurring.

    Raises
    ------
    DataError
        If the image is no RGB image in [0, 1], or has fewer pixels than `segments`.

    References
    ----------
    Achanta et al. (2012), SLIC superpixels, doi:10.1109/TPAMI.2012.120.
    """
    from skimage.segmentation import slic

    image = _check_image(image)
    check_range(segments, "segments", 1, integer=True)
    check_range(compactness, "compactness", 1e-6)
    if image.shape[0] * image.shape[1] < segments:
        raise DataError(
            f"An image of {image.shape[0]} x {image.shape[1]} pixels cannot be divided into {segments} "
            "superpixels. Ask for fewer segments, or use a larger image."
        )
    labels = slic(image, n_segments=segments, compactness=compactness, start_label=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
