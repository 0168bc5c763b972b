"""Against what is known of synthetic faces: where they move, whether explanations and Ekman masks find it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.chance import relabelling_test
from ekman_expressions.measures.scores import auc, relevance_mass
from ekman_expressions.measures.uncertainty import _cluster_bootstrap, interval_of, resample_counts

LOCALISATION_SCORES = ("auc", "mass", "density", "over_centre", "over_another")
"""AUC, mass and density: see `localisation_scores`; AUC less that of the centre prior on the same face, and
less that of the same model's explanation of a face with another expression."""

_PART = 0.5
_LEAST_MM = 0.5


def changed_pixels(layers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the pixels that the active action units changed: the reference of the benchmark.

    Each unit counts by its own range, so that a jaw that drops by 12 mm does not hide brows raised by 3.

    Parameters
    ----------
    layers : dict of str to (275, 224) ndarray of float, mm
        Layers of a causal mask in face space; those of action units count.

    Returns
    -------
    (275, 224) ndarray of bool
        The union, over units that move something by 0.5 mm or more, of the pixels that the unit moves by at
        least half of the farthest that it moves any. `DataError` if there is no such unit.

    Examples
    --------
    >>> ramp = np.linspace(0, 4, 275 * 224).reshape(275, 224)
    >>> float(changed_pixels({"au04": ramp, "photometric": 1 - ramp}).mean())
    0.5
    """
    changed = np.zeros(SHAPE, bool)
    for name, layer in layers.items():
        if name.startswith("au") and layer.max() >= _LEAST_MM:
            changed |= layer >= _PART * layer.max()
    if not changed.any():
        raise DataError(f"No action unit moved anything by {_LEAST_MM} mm or more.")
    return changed


def localisation_scores(found: np.ndarray, changed: np.ndarray, within: np.ndarray) -> dict[str, float]:
    """Score a map in face space against the pixels that changed, within the face hull.

    All are (275, 224); see `changed_pixels` and `Atlas.hull`. Errors as of `scores.auc`.

    Returns
    -------
    dict
        ``auc``: see `scores.auc`, 0.5 by chance; ``mass``: the share of the positive mass on changed pixels;
        ``density``: that share over the share of pixels that changed, 1 by chance (both NaN where the map is
        nowhere positive); ``area``: the latter share.
    """
    area = float(changed[within].mean())
    scores = {"auc": auc(found, changed, within), "mass": np.nan, "density": np.nan, "area": area}
    if (found[within] > 0).any():
        scores["mass"] = relevance_mass(found, changed, within)
        scores["density"] = scores["mass"] / area
    return scores


def summarise_localisation(faces: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Average the scores of faces, with 95 % intervals over subjects.

    Parameters
    ----------
    faces : DataFrame
        One row per explained face: ``explainer, network, subject, correct`` and `LOCALISATION_SCORES`.
    seed : int

    Returns
    -------
    DataFrame
        ``explainer, network, faces ('all' or 'correct'), score, value, low, high, count, subjects``: for
        each explainer and network, all faces and those that were classified correctly, and each score.
    """
    rows = []
    for (explainer, network), of_pair in faces.groupby(["explainer", "network"], sort=False):
        for which, chosen in (("all", of_pair), ("correct", of_pair[of_pair["correct"].astype(bool)])):
            for name in LOCALISATION_SCORES:
                known = chosen[np.isfinite(chosen[name].astype(float))]
                if known.empty:
                    continue
                interval = _cluster_bootstrap(
                    known[name].to_numpy(float),
                    known["subject"].to_numpy(),
                    seed=derive_seed(seed, "localisation", explainer, network, which, name),
                )
                ends = (interval.estimate, interval.low, interval.high)
                rows.append((explainer, network, which, name, *ends, len(known), interval.units))
    columns = ["explainer", "network", "faces", "score", "value", "low", "high", "count", "subjects"]
    return pd.DataFrame(rows, columns=columns)


def iou_at_equal_area(causal_map: np.ndarray, mask: np.ndarray) -> float:
    """Return the IoU of a mask with as many pixels of a map as it has, the highest; both (275, 224).

    Pixels that are equal at the threshold each count with the share that still fits, so that no order of
    pixels matters. `DataError` if the mask is empty or full, or the map constant or not finite.

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
        One per expression of `by_subject`, of which there are two or more.
    seed : int
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
