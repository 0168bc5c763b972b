"""How well a heatmap finds a mask, whatever the threshold: AUC, average precision, relevance mass and rank.

All take a heatmap of any scale, a mask, and optionally where to look (`within`, such as the
face hull): pixels elsewhere then count for nothing. Pixels of equal value are never put in an
order of our own: each score is what random orders of them would give on average, but for average
precision, which takes them together, as one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ekman_expressions.core.errors import DataError

SCORES_WITHOUT_THRESHOLD: tuple[str, ...] = (
    "auc",
    "average_precision",
    "relevance_mass",
    "relevance_density",
    "relevance_rank",
    "pointing",
)
"""The names of `scores`, in the order of every table."""


@dataclass(frozen=True)
class Levels:
    """The pixels of a heatmap counted by value, from the highest value down.

    Attributes
    ----------
    values : (L,) ndarray
        The distinct values, falling.
    inside, outside : (L,) ndarray of int
        How many pixels of each value lie in the mask, and out of it.
    """

    values: np.ndarray
    inside: np.ndarray
    outside: np.ndarray


def levels(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> Levels:
    """Count the pixels of each value in and out of a mask: all that scores by rank need.

    Parameters
    ----------
    heatmap : (H, W) ndarray of real numbers
        Any range; uint8 is fastest.
    mask : (H, W) ndarray of bool
        The reference.
    within : (H, W) ndarray of bool, optional
        Where to look; by default the whole canvas.

    Returns
    -------
    Levels

    Raises
    ------
    DataError
        If shapes or types do not fit, the heatmap is not finite, or within `within` the mask
        is empty or everything: then nothing can be told apart.
    """
    found, reference = _flat(heatmap, mask, within)
    if found.dtype == np.uint8:
        everything = np.bincount(found, minlength=256)
        inside = np.bincount(found[reference], minlength=256)
        values = np.flatnonzero(everything)
        everything, inside = everything[values], inside[values]
    else:
        values, place = np.unique(found, return_inverse=True)
        everything = np.bincount(place)
        inside = np.bincount(place[reference], minlength=values.size)
    outside = everything - inside
    return Levels(values[::-1], inside[::-1], outside[::-1])


def scores(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> dict[str, float]:
    """Return all scores of this module by their names, `SCORES_WITHOUT_THRESHOLD`; else as `auc`.

    Relevance mass and density are NaN for a heatmap without mass.
    """
    counted = levels(heatmap, mask, within)
    try:
        mass = relevance_mass(heatmap, mask, within)
    except DataError:
        mass = float("nan")
    share = counted.inside.sum() / (counted.inside.sum() + counted.outside.sum())
    values = (
        _auc(counted),
        _average_precision(counted),
        mass,
        float(mass / share),
        _relevance_rank(counted),
        _pointing(counted),
    )
    return dict(zip(SCORES_WITHOUT_THRESHOLD, values, strict=True))


def auc(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Area under the ROC curve: how often a pixel of the mask is hotter than one out of it.

    Parameters
    ----------
    heatmap, mask, within
        As for `levels`.

    Returns
    -------
    float, range [0, 1]
        Equal values count one half. Chance, and any constant heatmap, gives 0.5.

    Raises
    ------
    DataError
        As `levels`.

    References
    ----------
    Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> auc(np.array([[3, 2], [1, 0]]), np.array([[True, False], [True, False]]))
    0.75
    """
    return _auc(levels(heatmap, mask, within))


def _auc(counted: Levels) -> float:
    hotter = np.cumsum(counted.inside) - counted.inside / 2
    return float(hotter @ counted.outside / (counted.inside.sum() * counted.outside.sum()))


def average_precision(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Area under the steps of the precision-recall curve.

    Returns
    -------
    float, range (0, 1]
        Chance, and any constant heatmap, gives the mask's share of the area (with few pixels
        chance is a little above it).

    Notes
    -----
    The sum over thresholds of precision times the rise in recall, without interpolation, as in
    `sklearn.metrics.average_precision_score`. Else as `auc`.
    """
    return _average_precision(levels(heatmap, mask, within))


def _average_precision(counted: Levels) -> float:
    inside = np.cumsum(counted.inside)
    marked = inside + np.cumsum(counted.outside)
    return float((counted.inside / inside[-1]) @ (inside / marked))


def relevance_mass(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Relevance mass accuracy: the share of the heatmap's mass that lies in the mask.

    Negative values hold no mass. A uniform heatmap gives the mask's share of the area: divide
    by that share (`relevance_density`) to compare masks of different size.

    Returns
    -------
    float, range [0, 1]

    Raises
    ------
    DataError
        As `levels`; and if the heatmap is nowhere positive, so that it has no mass.

    References
    ----------
    Arras, Osman and Samek (2022), doi:10.1016/j.inffus.2021.11.008.
    """
    found, reference = _flat(heatmap, mask, within)
    mass = np.maximum(found, 0).astype(np.float64)
    total = mass.sum()
    if not total > 0:
        raise DataError("The heatmap is nowhere positive, so it has no mass to share out. Leave it out.")
    return float(mass[reference].sum() / total)


def relevance_density(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Relevance mass in the mask over the mask's share of the area; 1 by chance. Else as `relevance_mass`."""
    share = _flat(heatmap, mask, within)[1].mean()
    return float(relevance_mass(heatmap, mask, within) / share)


def relevance_rank(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Relevance rank accuracy: the share of the K hottest pixels that lie in the mask of K pixels.

    It is precision and recall at once, at a threshold that marks as much as the mask has.

    Returns
    -------
    float, range [0, 1]
        By chance, and for any constant heatmap, the mask's share of the area.

    References
    ----------
    Arras, Osman and Samek (2022), doi:10.1016/j.inffus.2021.11.008. Else as `auc`.
    """
    return _relevance_rank(levels(heatmap, mask, within))


def _relevance_rank(counted: Levels) -> float:
    size = counted.inside.sum()
    return float(hits_among_top(counted, size) / size)


def pointing(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Pointing game: whether the hottest pixel lies in the mask.

    Returns
    -------
    float, range [0, 1]
        1 or 0; of several hottest pixels, the share that does. By chance the mask's share of
        the area. The mean over heatmaps is the accuracy of the pointing game, here without a
        margin around the mask.

    References
    ----------
    Zhang et al. (2018), doi:10.1007/s11263-017-1059-x. Else as `auc`.
    """
    return _pointing(levels(heatmap, mask, within))


def _pointing(counted: Levels) -> float:
    return float(counted.inside[0] / (counted.inside[0] + counted.outside[0]))


def hits_among_top(counted: Levels, count: np.ndarray | float) -> np.ndarray:
    """Count the pixels in the mask among the `count` hottest; of equal values each is taken in part."""
    marked = np.concatenate([[0], np.cumsum(counted.inside + counted.outside)])
    hits = np.concatenate([[0], np.cumsum(counted.inside)])
    return np.interp(count, marked, hits)


def _flat(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the heatmap's and the mask's pixels that count, after looking at both."""
    heatmap, mask = np.asarray(heatmap), np.asarray(mask)
    parts = {"heatmap": heatmap.shape, "mask": mask.shape}
    if within is not None:
        within = np.asarray(within)
        parts["area to look within"] = within.shape
    if len(set(parts.values())) > 1:
        said = ", the ".join(f"{name} has shape {shape}" for name, shape in parts.items())
        raise DataError(f"All must lie in the same face space, but the {said}.")
    for name, array in (("mask", mask), ("area to look within", within)):
        if array is not None and array.dtype != bool:
            raise DataError(f"The {name} must be an array of bool, but got {array.dtype}.")
    if heatmap.dtype.kind not in "uifb" or not np.isfinite(heatmap).all():
        raise DataError(
            f"A heatmap must hold finite real numbers, but got {heatmap.dtype} with values that are not. "
            "Leave it out."
        )
    found = (heatmap if within is None else heatmap[within]).ravel()
    reference = (mask if within is None else mask[within]).ravel()
    count = int(np.count_nonzero(reference))
    if not 0 < count < reference.size:
        what = "empty" if not count else "everything"
        raise DataError(
            f"The mask is {what} where it is looked at ({count} of {reference.size} pixels), so no heatmap "
            "can be told from another by it. Check its file, or look within a larger area."
        )
    return found, reference
