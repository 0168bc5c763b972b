"""How good explanations are: deletion and insertion, untrained copies, likeness of maps, R² of LIME's fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ekman_expressions.core.errors import ModelError, check_range
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.explainers import PerturbationRecord, lime
from ekman_expressions.explainers.lime import _sample_weights
from ekman_expressions.zoo.model import Model, as_model


@dataclass(frozen=True, eq=False)
class _Curve:
    """The prediction, (k,), while `shares` of the pixels are hidden (deletion) or shown (insertion)."""

    shares: np.ndarray
    probabilities: np.ndarray

    @property
    def area(self) -> float:
        """The area under the curve (trapezoidal rule): the mean probability over the share of pixels."""
        return float(np.trapezoid(self.probabilities, self.shares))

    def at(self, shares: np.ndarray) -> np.ndarray:
        """Return the probabilities at other shares, interpolated linearly."""
        return np.interp(shares, self.shares, self.probabilities)


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """The parts of an image in an order.

    `parts`, (H, W) int, is the part of each pixel, 0 ... P - 1: superpixels, or quantiles of a map; `order`,
    (P,), the parts, the most important first.

    Examples
    --------
    >>> segments = np.array([[0, 0, 1, 2]])
    >>> Ranking.by_weights(segments, [0.1, -0.2, 0.7], np.random.default_rng(0)).order.tolist()
    [2, 0, 1]
    """

    parts: np.ndarray
    order: np.ndarray

    @classmethod
    def by_weights(cls, segments: np.ndarray, weights: np.ndarray, random: np.random.Generator) -> Ranking:
        """Rank superpixels (H, W) by their weights (S,), the largest first, equal ones at random."""
        weights = np.asarray(weights)
        return cls(parts=segments, order=np.lexsort((random.random(len(weights)), -weights)))

    @classmethod
    def by_map(cls, values: np.ndarray, parts: int, random: np.random.Generator) -> Ranking:
        """Rank pixels by a map (H, W), in so many equally large quantiles, the highest first, equal ones
        (all the zeros of a rectified map) at random."""
        values = np.asarray(values)
        check_range(parts, "parts", 2, values.size, integer=True)
        order = np.lexsort((random.random(values.size), -values.ravel()))
        quantiles = np.empty(values.size, np.int32)
        quantiles[order] = np.arange(values.size) * parts // values.size
        return cls(parts=quantiles.reshape(values.shape), order=np.arange(parts))

    @classmethod
    def at_random(cls, segments: np.ndarray, random: np.random.Generator) -> Ranking:
        """Rank superpixels at random: a control."""
        return cls(parts=segments, order=random.permutation(int(segments.max()) + 1))

    @classmethod
    def like_map(cls, values: np.ndarray, parts: int, random: np.random.Generator) -> Ranking:
        """Rank pixels by a random field with the spectrum of a map: a control of the same grain.

        The map's Fourier transform, its phases replaced by those of white noise (Theiler et al. 1992,
        doi:10.1016/0167-2789(92)90102-S).
        """
        noise = np.fft.rfft2(random.standard_normal(np.shape(values)))
        sizes = np.abs(np.fft.rfft2(values - np.mean(values)))
        field = np.fft.irfft2(sizes * noise / np.maximum(np.abs(noise), 1e-30), np.shape(values))
        return cls.by_map(field, parts, random)

    @classmethod
    def from_centre(cls, segments: np.ndarray) -> Ranking:
        """Rank superpixels by the distance of their centroids from the image's centre: a control, since the
        middle of a crop holds eyes, nose and mouth."""
        from scipy.ndimage import center_of_mass

        centroids = center_of_mass(np.ones(segments.shape), segments, np.arange(segments.max() + 1))
        away = centroids - (np.array(segments.shape) - 1) / 2
        return cls(parts=segments, order=np.argsort(np.hypot(*away.T), kind="stable"))


def deletion_insertion(
    model: Any,
    image: np.ndarray,
    target: int,
    rankings: Mapping[str, Ranking],
    *,
    steps: int,
    hidden: float | str | np.ndarray = 0.0,
    random: tuple[str, ...] = ("random",),
) -> tuple[dict[tuple[str, str], _Curve], int]:
    """Draw the deletion and the insertion curve [1]_ of each ranking of an image.

    A good explanation names first what the model needs: hidden first, the probability falls early and
    the deletion area is small; shown first, it rises early and the insertion area is large. Parts are
    hidden in about `steps` equal steps of area. Images that curves share go through the model once.

    Parameters
    ----------
    model : Model, keras.Model, torch.nn.Module or callable
        See `ekman_expressions.zoo.model.as_model`.
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    target : int
        The class explained.
    rankings : dict of str to Ranking
        By a name, e.g. ``"explanation"``, ``"random"``, ``"centre"``.
    steps : int, >= 2
    hidden : float, {'mean', 'blur'} or (H, W, 3) ndarray
        What hidden parts look like, the same in both kinds of curve: insertion starts where deletion ends.
    random : tuple of str
        Random rankings: their insertion is that of the reverse order, which costs no forward pass.

    Returns
    -------
    dict of (name, {'deletion', 'insertion'}) to a curve
        With ``shares``, ``probabilities``, ``area`` and ``at(shares)``.
    int
        The forward passes that it took.

    References
    ----------
    .. [1] Petsiuk et al. (2018), RISE, arXiv:1806.07421.
    """
    check_range(steps, "steps", 2, integer=True)
    partitions = np.array([ranking.parts for ranking in rankings.values()])
    # The pieces into which all partitions together cut the image, and the part of each that a piece lies in.
    parts_of, joint = np.unique(partitions.reshape(len(partitions), -1), axis=1, return_inverse=True)
    joint = joint.reshape(partitions.shape[1:]).astype(np.int32)
    kept, shares = {}, {}
    for (name, ranking), part_of in zip(rankings.items(), parts_of, strict=True):
        reached, shares[name] = _stages(ranking, steps)
        kept[name, "deletion"] = ~reached[:, part_of]
        if name not in random:
            kept[name, "insertion"] = reached[:, part_of]
    samples, place = np.unique(np.concatenate(list(kept.values())), axis=0, return_inverse=True)
    predictions = as_model(model).predict_hidden(image, joint, samples, behind=hidden)
    check_range(target, "target", 0, predictions.shape[1] - 1, integer=True)
    values = predictions[:, target].astype(np.float64)[place.ravel()]
    parts = np.split(values, np.cumsum([len(rows) for rows in kept.values()])[:-1])
    curves = {key: _Curve(shares[key[0]], part) for key, part in zip(kept, parts, strict=True)}
    for name in [name for name in random if name in rankings]:
        # To hide the first parts of an order is to show the first of its reverse.
        curve = curves[name, "deletion"]
        curves[name, "insertion"] = _Curve(1 - curve.shares[::-1], curve.probabilities[::-1])
    return curves, len(samples)


def _stages(ranking: Ranking, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which parts each stage has reached (k, P), none first, all last, and their share of pixels."""
    areas = np.bincount(ranking.parts.ravel())[ranking.order]
    reached = np.concatenate([[0], np.cumsum(areas)]) / areas.sum()
    wanted = np.arange(steps + 1) / steps
    cuts = np.unique(np.abs(reached[:, None] - wanted).argmin(axis=0))
    return np.argsort(ranking.order) < cuts[:, None], reached[cuts]


def untrained_copy(model: Any, images: np.ndarray, *, seed: int) -> Any:
    """Return a copy of a Keras model whose weights are drawn anew by its layers' initialisers.

    An explanation that is the same for a trained network and for one with random weights says nothing
    of what was learned [1]_. Seeds are derived from `seed` and each layer's place, and no global generator
    is touched. `Normalization` layers, which belong to the preprocessing, are kept. Batch normalisations get
    the statistics of `images`, (N, H, W, 3) in [0, 1], as in a first step of training: with mean 0 and
    variance 1, the signal dies out in deep networks. `ModelError` if the model is no Keras model, or cannot
    be built again from its configuration.

    References
    ----------
    .. [1] Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv:1810.03292.
    """
    import keras

    model = model.source if isinstance(model, Model) else model
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"A {type(model).__name__} has no weights that could be drawn anew: only Keras models "
            "can be checked against an untrained copy."
        )

    # Not by name: names are numbered through a whole process, and differ between models of one architecture.
    places = itertools.count()

    def build_again(layer: Any) -> Any:
        return type(layer).from_config(_seeded(layer.get_config(), seed, str(next(places))))

    try:
        copy = keras.models.clone_model(model, clone_function=build_again, recursive=True)
    except Exception as error:
        # Depending on what a user's layers lack, Keras raises errors of many kinds.
        raise ModelError(
            f"The model cannot be built again from its configuration ({error}), so that there is no "
            "untrained copy to compare it with."
        ) from error
    for before, after in zip(_layers(model), _layers(copy), strict=True):
        if isinstance(before, keras.layers.Normalization):
            after.set_weights(before.get_weights())
    normalisations = [layer for layer in _layers(copy) if isinstance(layer, keras.layers.BatchNormalization)]
    before = [(layer, layer.momentum, layer.trainable) for layer in normalisations]
    for layer in normalisations:
        # One that is frozen would use, and keep, the statistics that it starts from.
        layer.momentum, layer.trainable = 0.0, True
    if normalisations:
        copy(np.asarray(images, np.float32), training=True)
    for layer, momentum, trainable in before:
        layer.momentum, layer.trainable = momentum, trainable
    return copy


def _seeded(value: Any, seed: int, name: str) -> Any:
    """Give everything random in a layer's configuration, initialisers above all, a seed of its own."""
    if isinstance(value, list | tuple):
        return type(value)(_seeded(item, seed, f"{name}.{place}") for place, item in enumerate(value))
    if not isinstance(value, dict):
        return value
    found = {key: _seeded(item, seed, f"{name}.{key}") for key, item in value.items()}
    return found | ({"seed": derive_seed(seed, "untrained", name) % 2**31} if "seed" in value else {})


def _layers(model: Any) -> Iterator[Any]:
    """Yield the layers of a model, and those of models and wrapped layers within it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        elif hasattr(layer, "layer"):
            yield layer.layer


def _correlations(maps: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each two of several maps, (N, N); NaN for maps that are constant."""
    flat = np.asarray(maps, np.float64).reshape(len(maps), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("np,np->n", flat, flat))
    scale = np.where(np.ptp(flat, axis=1) > 0, lengths, np.nan)
    return np.clip((flat @ flat.T) / (scale[:, None] * scale), -1, 1)


def _fits(samples: np.ndarray, predictions: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    """Fit a ridge regression for each row of `weights`, (r, n): its coefficients, (r, S)."""
    z = np.column_stack([np.ones(len(samples)), samples, predictions])
    moments = np.stack([(z.T * of_replicate) @ z for of_replicate in weights])
    total = moments[:, 0, 0]
    means = moments[:, 0, 1:] / total[:, None]
    centred = moments[:, 1:, 1:] - total[:, None, None] * means[:, :, None] * means[:, None, :]
    xx, xy = centred[:, :-1, :-1], centred[:, :-1, -1]
    penalised = xx + alpha * np.eye(xx.shape[1])
    if alpha > 0:
        return np.linalg.solve(penalised, xy[:, :, None])[:, :, 0]
    return (np.linalg.pinv(penalised, hermitian=True, rcond=1e-10) @ xy[:, :, None])[:, :, 0]


def permuted_r2(
    record: PerturbationRecord,
    target: int,
    *,
    seed: int,
    permutations: int = 20,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> float:
    """Return the R² that chance gives: the mean over permutations of the predictions over the samples.

    The first sample, which keeps all and weighs most, keeps its prediction: as an outlier at a smaller weight
    it would be fitted less, and chance understated. With equal sample weights and no penalty the expectation
    is about ``S / (n - 1)`` for S superpixels and n samples, if the samples determine all weights. NaN when
    the prediction is the same for all samples.
    """
    check_range(permutations, "permutations", 1, integer=True)
    random, n = np.random.default_rng(seed), len(record.samples)
    found = []
    for _ in range(permutations):
        order = np.r_[0, 1 + random.permutation(n - 1)]
        permuted = replace(record, predictions=record.predictions[order])
        found.append(lime(permuted, target, kernel_width=kernel_width, alpha=alpha).r2)
    return float(np.mean(found))


def cross_validated_r2(
    record: PerturbationRecord,
    target: int,
    *,
    seed: int,
    parts: int = 10,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> float:
    """Return the weighted R², at most 1, on samples that the fit has not seen.

    Samples are divided into parts; the surrogate fitted to the others predicts each part, and is compared
    with the mean of the others, which predicts as well where the R² is 0 or less. Samples that were drawn
    together lie in one part; with fewer samples than `parts`, each is a part.
    NaN when the prediction is the same for all samples.
    """
    groups = record.pairs
    count = int(groups.max()) + 1
    check_range(parts, "parts", 2, integer=True)
    parts = min(parts, count)
    part_of = (np.random.default_rng(seed).permutation(count) % parts)[groups]
    predictions = record.predictions[:, target].astype(np.float64)
    y = predictions - predictions[0]
    weights = _sample_weights(record.samples, kernel_width)
    others = weights * (part_of != np.arange(parts)[:, None])
    slopes = _fits(record.samples, y, others, alpha)
    others /= others.sum(axis=1, keepdims=True)
    mean = (others @ y)[part_of]
    away = record.samples - (others @ record.samples)[part_of]
    total = weights @ (y - mean) ** 2
    residuals = y - mean - np.einsum("ns,ns->n", away, slopes[part_of])
    return float(1 - weights @ residuals**2 / total) if total > 0 else float("nan")
