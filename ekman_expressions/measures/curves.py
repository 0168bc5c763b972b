"""Deletion and insertion: how a model's answer changes as parts are hidden in the order of an explanation.

Petsiuk et al. (2018), RISE: Randomized Input Sampling for Explanation of Black-box Models,
arXiv:1806.07421. A good explanation names first what the model needs: when it is hidden first,
the answer falls early and the area under the deletion curve is small; when it is shown first,
the answer rises early and the area under the insertion curve is large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.zoo.asking import Asker

FEWEST, MOST = 7, 19
"""Steps of a curve: fewer show no curve; more cost passes and show nothing new.

With 7 steps the curves of one explanation and of its controls take 32 passes, with 19 they take 92.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """A model's answer along an order of the parts of an image.

    Attributes
    ----------
    shares : (k,) ndarray of float64, range [0, 1]
        Share of the pixels that are hidden (deletion) or shown (insertion): from 0 to 1.
    answers : (k,) ndarray of float64, range [0, 1]
        The probability of the class explained.
    """

    shares: np.ndarray
    answers: np.ndarray

    @property
    def area(self) -> float:
        """The area under the curve by the trapezoidal rule: its mean over the share of pixels."""
        return float(np.trapezoid(self.answers, self.shares))

    def at(self, shares: np.ndarray) -> np.ndarray:
        """Return the answers at other shares, interpolated linearly."""
        return np.interp(shares, self.shares, self.answers)

    def reverse(self) -> Curve:
        """Return the other kind of curve for the reverse order, whose images are the same.

        To have hidden the first parts of an order is to show the first of its reverse.
        """
        return Curve(shares=1 - self.shares[::-1], answers=self.answers[::-1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """The parts of an image in an order.

    Attributes
    ----------
    parts : (H, W) ndarray of int
        The part of each pixel, 0 ... P - 1: superpixels, or quantiles of a map.
    order : (P,) ndarray of int
        The parts, the most important first.
    """

    parts: np.ndarray
    order: np.ndarray

    def __post_init__(self) -> None:
        count = int(np.max(self.parts)) + 1
        if not np.array_equal(np.sort(self.order), np.arange(count)):
            raise DataError(f"'order' must name each of {count} parts once, but got {self.order}.")


def by_weights(segments: np.ndarray, weights: np.ndarray, random: np.random.Generator) -> Ranking:
    """Rank superpixels by their weights, the largest first, equal ones at random.

    Parameters
    ----------
    segments : (H, W) ndarray of int
        The superpixel of each pixel, 0 ... S - 1.
    weights : (S,) ndarray of float
    random : numpy.random.Generator
    """
    weights = np.asarray(weights)
    return Ranking(parts=segments, order=np.lexsort((random.random(len(weights)), -weights)))


def by_map(values: np.ndarray, parts: int, random: np.random.Generator) -> Ranking:
    """Rank pixels by a map and divide them into equally large quantiles, the highest first.

    Parameters
    ----------
    values : (H, W) ndarray of float
        The map; equal values, such as all the zeros of a rectified map, are ranked at random.
    parts : int, >= 2
        Quantiles.
    random : numpy.random.Generator
    """
    values = np.asarray(values)
    check_range(parts, "parts", 2, values.size, integer=True)
    order = np.lexsort((random.random(values.size), -values.ravel()))
    quantiles = np.empty(values.size, np.int32)
    quantiles[order] = np.arange(values.size) * parts // values.size
    return Ranking(parts=quantiles.reshape(values.shape), order=np.arange(parts))


def at_random(segments: np.ndarray, random: np.random.Generator) -> Ranking:
    """Rank superpixels at random: a control."""
    return Ranking(parts=segments, order=random.permutation(int(segments.max()) + 1))


def centre_first(segments: np.ndarray) -> Ranking:
    """Rank superpixels by the distance of their centroids from the image's centre: a control.

    Faces are cropped so that the middle holds eyes, nose and mouth: an explanation that says
    no more than "the middle" does no better than this.
    """
    rows, columns = np.indices(segments.shape).reshape(2, -1)
    labels = segments.ravel()
    areas = np.bincount(labels)
    height, width = segments.shape
    down = np.bincount(labels, rows) / areas - (height - 1) / 2
    right = np.bincount(labels, columns) / areas - (width - 1) / 2
    return Ranking(parts=segments, order=np.argsort(np.hypot(down, right), kind="stable"))


def steps_for(passes: float, explainers: int = 1) -> int:
    """Return how many steps the curves of some explainers and of the controls may have for so many passes.

    All curves share their two ends. Besides there are deletion and insertion of each explanation and
    of the order from the centre, and the random order, whose deletion is the insertion of its
    reverse. At least `FEWEST`, at most `MOST`.
    """
    return int(np.clip((passes - 2) // _curves(explainers) + 1, FEWEST, MOST))


def passes_of(steps: int, explainers: int = 1) -> int:
    """Return the passes that the curves of some explainers and of the controls take at most."""
    return _curves(explainers) * (steps - 1) + 2


def _curves(explainers: int) -> int:
    return 2 * explainers + 3


def deletion_insertion(
    model: Any,
    image: np.ndarray,
    target: int,
    rankings: Mapping[str, Ranking],
    *,
    steps: int,
    hidden: float | str | np.ndarray = 0.0,
    random: tuple[str, ...] = ("random",),
) -> tuple[dict[tuple[str, str], Curve], int]:
    """Draw the deletion and the insertion curve of each ranking of an image.

    Parts are hidden in about `steps` equal steps of area, each of one or more parts. Images
    that several curves have in common are shown to the model once, and all in one call.

    Parameters
    ----------
    model : keras.Model, callable or Asker
        See `ekman_expressions.zoo.asking.Asker`.
    image, hidden
        See `ekman_expressions.zoo.asking.perturb`. What is hidden looks the same in both
        kinds of curve, so insertion starts where deletion ends.
    target : int
        The class explained.
    rankings : dict of str to Ranking
        By a name, e.g. ``"explanation"``, ``"random"``, ``"centre"``.
    steps : int, >= 2
        Steps of each curve.
    random : tuple of str
        Rankings that are random: their insertion is that of the reverse order, which is as
        random and costs no pass.

    Returns
    -------
    dict of (name, {'deletion', 'insertion'}) to Curve
    int
        The passes that it took.
    """
    check_range(steps, "steps", 2, integer=True)
    joint, members = _joint([ranking.parts for ranking in rankings.values()])
    rows, shares, keys = [], [], []
    for (name, ranking), part_of in zip(rankings.items(), members, strict=True):
        hides, covered = _stages(ranking, steps)
        for kind in ("deletion", "insertion"):
            if kind == "insertion" and name in random:
                continue
            kept = ~hides if kind == "deletion" else hides
            rows.append(kept[:, part_of])
            shares.append(covered)
            keys.append((name, kind))
    samples, place = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    asker = model if isinstance(model, Asker) else Asker(model)
    answers = asker.ask(image, joint, samples, hidden=hidden)
    check_range(target, "target", 0, answers.shape[1] - 1, integer=True)
    values = answers[:, target].astype(np.float64)[place.ravel()]
    ends = np.cumsum([len(part) for part in rows])[:-1]
    drawn = {
        key: Curve(shares=covered, answers=part)
        for key, covered, part in zip(keys, shares, np.split(values, ends), strict=True)
    }
    for name in random:
        if (name, "deletion") in drawn:
            drawn[name, "insertion"] = drawn[name, "deletion"].reverse()
    return drawn, len(samples)


def _stages(ranking: Ranking, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which parts each stage has reached (k, P), none first, all last, and their share of pixels."""
    areas = np.bincount(ranking.parts.ravel())[ranking.order]
    reached = np.concatenate([[0], np.cumsum(areas)]) / areas.sum()
    wanted = np.arange(steps + 1) / steps
    cuts = np.unique(np.abs(reached[:, None] - wanted).argmin(axis=0))
    position = np.empty(len(ranking.order), int)
    position[ranking.order] = np.arange(len(ranking.order))
    return position < cuts[:, None], reached[cuts]


def _joint(partitions: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cut an image by several partitions at once: the pieces, and the part that each lies in."""
    shape = partitions[0].shape
    if any(parts.shape != shape for parts in partitions):
        raise DataError(f"Rankings must be of one image, but have {[p.shape for p in partitions]}.")
    key = np.zeros(shape, np.int64)
    for parts in partitions:
        key = key * (int(parts.max()) + 1) + parts
        # Numbered anew, so that the numbers stay small.
        _, first, labels = np.unique(key, return_index=True, return_inverse=True)
        key = labels.reshape(shape).astype(np.int64)
    return key.astype(np.int32), [parts.ravel()[first] for parts in partitions]
