"""Where faces move in face space, and whether the Ekman masks describe it: causal maps against masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces.synthetic import PIXELS
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.measures.permutation import relabelling_test
from ekman_expressions.measures.uncertainty import interval_of, resample_counts

_SIDE = 224


def layer_in_face_space(
    layer: np.ndarray, transform: np.ndarray, landmarks: np.ndarray, size: int
) -> np.ndarray:
    """Warp a layer of a causal mask into face space, as explanations of the crop are warped.

    Parameters
    ----------
    layer : (112, 112) ndarray of float32
        See `synthetic.read_layers`.
    transform : (2, 3) ndarray of float64
        From continuous source pixels to those of the crop; see `rendered.read_transform`.
    landmarks : (68, 2) ndarray
        In units of the crop's side.
    size : int, pixels
        Side of the crop.

    Returns
    -------
    (275, 224) ndarray of float32
        In the layer's unit. Where the crop reaches beyond the source image, the layer is
        reflected as the image is.
    """
    import cv2

    # The crop of the layer is always this large: a small crop of faces would lose detail.
    pixels = transform * (_SIDE / size)
    pixels[:, :2] *= PIXELS
    # OpenCV's coordinates are 0 at the middle of the first pixel, ours are 0.5 there.
    pixels[:, 2] += pixels[:, :2].sum(axis=1) / 2 - 0.5
    crop = cv2.warpAffine(
        np.float32(layer), pixels, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return normalise(crop, landmarks)


def iou_at_equal_area(causal_map: np.ndarray, mask: np.ndarray) -> float:
    """Return the IoU of a mask with as many pixels of a map as it has, the highest.

    Pixels that are equal at the threshold each count with the share that still fits, so that no order
    of pixels matters.

    Raises
    ------
    DataError
        If the mask is empty or full, or the map constant or not finite, or shapes are not (275, 224).

    Examples
    --------
    >>> ramp = np.arange(275.0 * 224).reshape(275, 224)
    >>> iou_at_equal_area(ramp, ramp >= 30800)
    1.0
    """
    if mask.shape != SHAPE or causal_map.shape != SHAPE or mask.dtype != bool:
        raise DataError(
            f"Mask and causal map must be (275, 224), the mask of bool, but got {mask.shape} of {mask.dtype} "
            f"and {causal_map.shape}."
        )
    if not mask.any() or mask.all():
        kind = "full" if mask.any() else "empty"
        raise DataError(f"The mask is {kind}, so there is nothing to compare.")
    if not np.isfinite(causal_map).all() or np.ptp(causal_map) == 0:
        raise DataError("The causal map is constant or not finite, so no pixel is higher.")
    area = int(mask.sum())
    level = np.partition(causal_map, -area, axis=None)[-area]
    above, tied = causal_map > level, causal_map == level
    share = (area - above.sum()) / tied.sum()
    both = (above & mask).sum() + share * (tied & mask).sum()
    return float(both / (2 * area - both))


def masks_against_movement(
    by_subject: Mapping[str, Mapping[str, np.ndarray]],
    masks: Mapping[str, np.ndarray],
    *,
    seed: int,
    resamples: int = 100,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare each mask with the mean causal map of its own and of the other expressions, at equal area.

    Parameters
    ----------
    by_subject : dict of expression to dict of subject to (275, 224) ndarray of float
        Causal maps; see `CausalMaps.by_subject`.
    masks : dict of expression to (275, 224) ndarray of bool
        One per expression of `by_subject`.
    seed : int
        For the resamples.
    resamples : int
        Draws of subjects, the same for all expressions; each costs 36 comparisons.

    Returns
    -------
    pairs : DataFrame
        ``mask, causal_map, iou, low, high, subjects``: see `iou_at_equal_area`, with 95 % intervals
        over subjects.
    summary : DataFrame
        ``statistic, value, low, high, p, subjects``: the mean IoU with the map of the ``own`` expression,
        with those of the ``others``, and their ``difference`` with the exact p of all relabellings.

    Raises
    ------
    DataError
        If expressions differ, or there are fewer than two.
    """
    names = list(by_subject)
    if len(names) < 2 or set(names) - set(masks):
        raise DataError(
            f"There must be a mask for each of two or more expressions, but got maps of {', '.join(names)} "
            f"and masks of {', '.join(masks)}."
        )
    subjects = sorted({subject for of_name in by_subject.values() for subject in of_name})
    places = {name: [subjects.index(s) for s in sorted(maps)] for name, maps in by_subject.items()}
    stacks = {name: np.stack([maps[s] for s in sorted(maps)]) for name, maps in by_subject.items()}

    def table(counts: np.ndarray) -> np.ndarray:
        """Return the IoU of each expression's mean map over drawn subjects (rows) with each mask."""
        found = np.full((len(names), len(names)), np.nan)
        for e, name in enumerate(names):
            weights = np.float32(counts[places[name]])
            if weights.sum():
                mean = np.tensordot(weights / weights.sum(), stacks[name], 1)
                if np.ptp(mean) > 0:
                    found[e] = [iou_at_equal_area(mean, masks[mask_name]) for mask_name in names]
        return found

    observed = table(np.ones(len(subjects)))
    drawn = np.array([table(c) for c in resample_counts(len(subjects), resamples, seed=seed)])

    def ends(value: float, replicates: np.ndarray) -> tuple[float, float, float]:
        interval = interval_of(float(value), replicates, len(subjects))
        return interval.estimate, interval.low, interval.high

    pairs = [
        (mask_name, map_name, *ends(observed[e, m], drawn[:, e, m]), len(subjects))
        for m, mask_name in enumerate(names)
        for e, map_name in enumerate(names)
    ]
    is_own = np.eye(len(names), dtype=bool)
    own = observed[is_own].mean(), drawn[:, is_own].mean(axis=1)
    others = observed[~is_own].mean(), drawn[:, ~is_own].mean(axis=1)
    p = relabelling_test(observed).p
    summary = [
        ("own", *ends(*own), np.nan, len(subjects)),
        ("others", *ends(*others), np.nan, len(subjects)),
        ("difference", *ends(own[0] - others[0], own[1] - others[1]), p, len(subjects)),
    ]
    return (
        pd.DataFrame(pairs, columns=["mask", "causal_map", "iou", "low", "high", "subjects"]),
        pd.DataFrame(summary, columns=["statistic", "value", "low", "high", "p", "subjects"]),
    )
