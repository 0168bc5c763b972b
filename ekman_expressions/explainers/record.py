"""The perturbation record: superpixels, random samples of them, and the predictions when the rest is hidden."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError, check_option, check_range
from ekman_expressions.core.files import read_arrays, write_arrays
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.zoo.asking import GROUP, Asker
from ekman_expressions.zoo.checks import check_image, check_samples, check_segments

_MEMBERS = ("image_id", "model", "segments", "samples", "predictions", "hidden", "sampler")


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbationRecord:
    """For one image and one model: what was hidden in each sample, and what the model predicted.

    Attributes
    ----------
    image_id, model : str
        Which image, which model (``SongNet_CV3``).
    segments : (H, W) ndarray of int
        The superpixel of each pixel: 0 ... S - 1.
    samples : (n, S) ndarray of bool
        Which superpixels were kept in each sample.
    predictions : (n, C) ndarray of float32, range [0, 1]
        The model's probabilities for each sample and class.
    hidden : float or {'mean', 'blur'}
        What hidden superpixels looked like; see `background`.
    sampler : str
        How the samples were drawn, one of `SAMPLERS`: which of them depend on each other.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """

    image_id: str
    model: str
    segments: np.ndarray
    samples: np.ndarray
    predictions: np.ndarray
    hidden: float | str = 0.0
    sampler: str = "iid"

    def __post_init__(self) -> None:
        check_segments(self.segments)
        check_samples(self.samples, self.segments)
        if self.sampler not in SAMPLERS:
            raise DataError(f"'sampler' must be one of {', '.join(SAMPLERS)}, but got {self.sampler!r}.")
        predictions = np.asarray(self.predictions)
        if predictions.dtype != np.float32 or predictions.ndim != 2 or len(predictions) != len(self.samples):
            raise DataError(
                f"'predictions' must be float32 of shape ({len(self.samples)}, classes), "
                f"but got {predictions.dtype} of shape {predictions.shape}."
            )
        if not np.isfinite(predictions).all():
            raise DataError("'predictions' must be finite, but some are NaN or infinite.")

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
                "predictions": self.predictions,
                "hidden": np.array(self.hidden if isinstance(self.hidden, str) else float(self.hidden)),
                "sampler": np.array(self.sampler),
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
        arrays = read_arrays(path, _MEMBERS)
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
                predictions=arrays["predictions"],
                hidden=arrays["hidden"].item(),
                sampler=str(arrays["sampler"]),
            )
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path} is no perturbation record ({error}). "
                "Delete it and run the step 'explanations' again."
            ) from error


def _iid(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    samples = random.random((n_samples, n_superpixels)) < 0.5
    samples[0] = True
    return samples


def _antithetic(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    return _with_complements(random.random((n_samples // 2, n_superpixels)) < 0.5, n_samples)


def _orthogonal(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    from scipy.linalg import hadamard

    order = 1 << (n_superpixels - 1).bit_length()
    matrix = hadamard(order, dtype=np.int8) > 0
    rows = [np.empty((0, n_superpixels), bool)]
    for _ in range(-(-(n_samples // 2) // order)):
        columns = random.permutation(order)[:n_superpixels]
        # A column turned over by the toss of a coin: with it, every row alone is uniform.
        turned = random.random(n_superpixels) < 0.5
        rows.append(matrix[random.permutation(order)][:, columns] ^ turned)
    return _with_complements(np.concatenate(rows), n_samples)


SAMPLERS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "iid": _iid,
    "antithetic": _antithetic,
    "orthogonal": _orthogonal,
}
"""Samplers by the name that ``explanation.sampler`` in the settings takes."""


def draw_samples(
    n_superpixels: int, n_samples: int, seed: int | np.random.Generator, sampler: str = "iid"
) -> np.ndarray:
    """Draw which superpixels are kept: each with probability 1/2, in the first sample all.

    The first rows stay the same when more are drawn from the same seed.

    Parameters
    ----------
    n_superpixels, n_samples : int, >= 1
        How many columns and rows.
    seed : int or Generator
        All randomness comes from it.
    sampler : {'iid', 'antithetic', 'orthogonal'}
        How rows depend on each other. ``'iid'``: not at all, as in the study. ``'antithetic'``
        [1]_: after the first row come pairs, a random row and its complement, so that what is even in the
        choice (interactions of two superpixels, say) cancels within the pair. ``'orthogonal'``: the
        first rows of the pairs are those of a Hadamard matrix, its columns drawn at random and each
        turned over at random, its rows shuffled; anew for each block of as many pairs as the
        smallest power of 2 that is not below `n_superpixels`. In a whole block any two superpixels are kept
        together exactly as often as not, as in a two-level design of resolution IV [2]_.

    Returns
    -------
    (n_samples, n_superpixels) ndarray of bool

    References
    ----------
    .. [1] Hammersley and Morton (1956), doi:10.1017/S0305004100031455.
    .. [2] Box and Hunter (1961), doi:10.1080/00401706.1961.10489951.
    """
    check_range(n_superpixels, "n_superpixels", 1, integer=True)
    check_range(n_samples, "n_samples", 1, integer=True)
    check_option(sampler, "sampler", SAMPLERS)
    return SAMPLERS[sampler](int(n_superpixels), int(n_samples), np.random.default_rng(seed))


def pairs(n_samples: int, sampler: str) -> np.ndarray:
    """Return which samples were drawn together: those that share a number are not independent.

    To be resampled, or their influences summed, as one.

    Returns
    -------
    (n_samples,) ndarray of int
        0, 1, 2, 3, ... for ``'iid'``; 0, 1, 1, 2, 2, ... for samplers that draw complements.
    """
    check_option(sampler, "sampler", SAMPLERS)
    places = np.arange(n_samples)
    return places if sampler == "iid" else (places + 1) // 2


def _with_complements(rows: np.ndarray, n_samples: int) -> np.ndarray:
    """Put the row that keeps all first, and after each row its complement, as many as wanted."""
    together = np.stack([rows, ~rows], axis=1).reshape(-1, rows.shape[1])
    return np.concatenate([np.ones((1, rows.shape[1]), bool), together])[:n_samples]


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


ROUND = 64
"""Samples asked about at a time while it is not known how many are enough."""


def make_record(
    model: Any,
    image: np.ndarray,
    *,
    seed: int | np.random.Generator,
    labels: np.ndarray | None = None,
    image_id: str = "",
    name: str = "",
    segments: int = 30,
    compactness: float = 20.0,
    samples: int | str = 1000,
    sampler: str = "iid",
    max_samples: int = 4000,
    enough: Callable[[PerturbationRecord], bool] | None = None,
    hidden: float | str = 0.0,
    batch_size: int = 64,
    group: int = GROUP,
    precision: str = "float32",
    classes: int | None = None,
) -> PerturbationRecord:
    """Ask a model about masked copies of one image.

    Parameters
    ----------
    model : keras.Model, callable or Asker
        See `ekman_expressions.zoo.asking.Asker`; one that is made for many images goes on with
        as many copies at a time as memory was enough for.
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    seed : int or numpy Generator
        Decides which superpixels each copy keeps.
    labels : (H, W) ndarray of int, optional
        The superpixels, 0 ... S - 1; left out, they are made by SLIC.
    image_id, name : str
        What the record says of image and model.
    segments, compactness, samples, sampler, max_samples, hidden
        See `ekman_expressions.study.settings.ExplanationSettings`.
    enough : callable, optional
        With ``samples = "auto"``: whether a record will do. It is asked after four times as many samples
        as there are superpixels, then every `ROUND` samples. The record is the same as if so
        many had been asked for.
    batch_size, group, precision
        See `ekman_expressions.zoo.asking.Asker`.
    classes : int or None
        How many classes the model must answer.
    """
    if samples == "auto" and enough is None:
        raise SettingsError("samples = 'auto' needs 'enough', which says when to stop, but got None.")
    if labels is None:
        labels = superpixels(image, segments=segments, compactness=compactness)
    asker = model
    if not isinstance(model, Asker):
        asker = Asker(model, group=group, batch_size=batch_size, precision=precision)
    count = int(labels.max()) + 1
    most = max_samples if samples == "auto" else samples
    drawn = draw_samples(count, most, seed, sampler)
    first = ROUND * -(-4 * count // ROUND) if samples == "auto" else most
    answers = None
    for stop in (*range(first, most, ROUND), most):
        start = 0 if answers is None else len(answers)
        more = asker.ask(image, labels, drawn[start:stop], hidden=hidden, classes=classes)
        answers = more if answers is None else np.concatenate([answers, more])
        made = PerturbationRecord(
            image_id=image_id,
            model=name,
            segments=labels,
            samples=drawn[:stop],
            predictions=answers,
            hidden=hidden,
            sampler=sampler,
        )
        if stop < most and enough(made):
            break
    return made


def image_seed(seed: int, name: str, image: np.ndarray) -> int:
    """Derive a seed from an image's content: its place among others must not matter."""
    digest = hashlib.sha256(np.ascontiguousarray(image, np.float32)).hexdigest()
    return derive_seed(seed, name, digest)
