"""Against known answers: what moved in a face, and what its parts cause (explainer ``causal``)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.explainers import Explanation
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.scores import auc
from ekman_expressions.measures.uncertainty import (
    _RESAMPLES,
    _cluster_bootstrap,
    _Interval,
    _interval_of,
    _resample_counts,
    relabelling_test,
)

_REFERENCES = ("displacement", "photometric", "landmarks")
"""What explanations are held against: pixels that moved, and pixels whose colour changed most, in synthetic
faces; in others the pixels that moved most from the person's neutral face, by the mesh of landmarks."""

CENTRE, ORACLE = "centre prior", "oracle on superpixels"
"""Baselines between which results are placed: a bell in the middle, and the answer itself in superpixels."""

READINGS = {"positive": lambda found: np.maximum(found, 0), "magnitude": np.abs}
"""How a signed map is read as a map of what matters."""

_PART = 0.5
_LEAST_MM = 0.5
# Shares of the face: the latter is about as much as the pixels that rendered action units move.
_RECOLOURED, _MOVED = 0.2, 1 / 3
_BLUR = SHAPE[1] / 16  # common resolution of all maps: standard deviation in pixels of face space


def changed_pixels(layers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return which pixels of a face changed, by reference of the benchmark: (275, 224) bool each.

    Parameters
    ----------
    layers : dict of str to (275, 224) ndarray
        Of a causal mask in face space, in mm: ``au01`` and so on, and ``photometric``. Or ``landmarks`` alone:
        what `movement` found.

    Returns
    -------
    dict
        ``displacement``: the union, over action units that move something by 0.5 mm or more (else `DataError`),
        of the pixels that the unit moves by at least half of the farthest that it moves any: a jaw that drops by
        12 mm hides no brows raised by 3. ``photometric``: the fifth of the face hull's pixels whose colour
        changed most. ``landmarks``: the third of them that moved most.

    Examples
    --------
    >>> ramp = np.linspace(0, 4, 275 * 224).reshape(275, 224)
    >>> float(changed_pixels({"au04": ramp})["displacement"].mean())
    0.5
    """
    if "landmarks" in layers:
        return {"landmarks": _highest(layers["landmarks"], _MOVED)}
    changed = np.zeros(SHAPE, bool)
    for name, layer in layers.items():
        if name.startswith("au") and layer.max() >= _LEAST_MM:
            changed |= layer >= _PART * layer.max()
    if not changed.any():
        raise DataError(f"No action unit moved anything by {_LEAST_MM} mm or more.")
    found = {"displacement": changed}
    if "photometric" in layers:
        found["photometric"] = _highest(layers["photometric"], _RECOLOURED)
    return found


def _highest(layer: np.ndarray, share: float) -> np.ndarray:
    """Return the `share` of the face hull's pixels that are highest in a layer."""
    hull = atlas().hull
    return hull & (layer > np.quantile(layer[hull], 1 - share))


def localisation_auc(found: np.ndarray, changed: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return how often a changed pixel of the face hull is hotter than another, by reference.

    `found` is a map in face space, (275, 224), and `changed` has such an array of bool for each of the
    `_REFERENCES` that is known. The map is blurred by a Gaussian of 14 pixels, since AUC rewards smooth maps.

    Examples
    --------
    >>> rows = np.indices((275, 224))[0]
    >>> found = localisation_auc(rows, {"displacement": rows > 140, "photometric": rows < 140})
    >>> {name: round(value, 3) for name, value in found.items()}
    {'displacement': 1.0, 'photometric': 0.0}
    """
    import cv2

    hull = atlas().hull
    blurred = cv2.GaussianBlur(np.float32(found), (0, 0), _BLUR)[hull]
    # Sorted once for all references, where `auc` would for each; twice as fast as SciPy's `rankdata`.
    _, place, counts = np.unique(blurred, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    scores = {}
    for name, pixels in changed.items():
        own = ranks[pixels[hull]]
        others = ranks.size - own.size
        if not own.size or not others:
            raise DataError(f"{'No pixel' if others else 'Every pixel'} of the face changed ({name}).")
        scores[name] = float((own.mean() - (own.size + 1) / 2) / others)
    return scores


def _summarise_localisation(faces: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Average the AUCs of faces, a column per known reference, with 95 % intervals over subjects.

    ``fraction`` is the place between centre prior (0) and oracle (1).
    """
    ends = [faces[faces["explainer"] == name].set_index("image_id") for name in (CENTRE, ORACLE)]
    rows = []
    for names, of_cell in faces.groupby(["explainer", "network", "reading"], sort=False):
        codes, subjects = pd.factorize(of_cell["subject"])
        own_seed = derive_seed(seed, "localisation", *names)
        counts = _resample_counts(len(subjects), _RESAMPLES, seed=own_seed)
        # The first row is the data themselves: every subject once.
        counts = np.vstack([np.ones(len(subjects), int), counts])
        for reference in [name for name in _REFERENCES if name in faces]:
            columns = (of_cell[reference], *(end.loc[of_cell["image_id"], reference] for end in ends))
            value, low, high = (
                counts @ np.bincount(codes, column) / (counts @ np.bincount(codes)) for column in columns
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                fraction = (value - low) / (high - low)
            auc_ends, fraction_ends = (
                _interval_of(float(each[0]), each[1:], len(subjects))[:3] for each in (value, fraction)
            )
            rows.append((*names, reference, *auc_ends, *fraction_ends, len(of_cell), len(subjects)))
    columns = ["explainer", "network", "reading", "reference", "value", "low", "high"]
    columns += ["fraction", "fraction_low", "fraction_high", "count", "subjects"]
    return pd.DataFrame(rows, columns=columns)


def _iou_at_equal_area(causal_map: np.ndarray, mask: np.ndarray) -> float:
    """Return the IoU of a mask with as many of a map's highest pixels; of equal ones, the share that fits."""
    area = int(mask.sum())
    level = np.partition(causal_map, -area, axis=None)[-area]
    above, tied = causal_map > level, causal_map == level
    share = (area - above.sum()) / tied.sum()
    both = (above & mask).sum() + share * (tied & mask).sum()
    return float(both / (2 * area - both))


def _masks_against_movement(
    by_subject: Mapping[str, Mapping[str, np.ndarray]],
    masks: Mapping[str, np.ndarray],
    *,
    seed: int,
    resamples: int = 100,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare each mask with the mean causal map of its own and of the other expressions, at equal area.

    `by_subject` has the maps by expression and subject. Returns a row per pair, and one each for the means of
    ``own`` and ``others`` and for their ``difference``, whose exact p is over all relabellings.
    """
    names = list(by_subject)
    if len(names) < 2:
        raise DataError(f"Masks are compared over two expressions or more, but got {', '.join(names) or 'none'}.")
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
                    found[e] = [_iou_at_equal_area(mean, masks[mask_name]) for mask_name in names]
        return found

    observed = table(np.ones(len(subjects)))
    drawn = np.array([table(c) for c in _resample_counts(len(subjects), resamples, seed=seed)])

    def interval(value: float, replicates: np.ndarray, p: float = np.nan) -> _Interval:
        return _interval_of(float(value), replicates, len(subjects))._replace(p=p)

    pairs = [
        (mask_name, map_name, *interval(observed[e, m], drawn[:, e, m]))
        for m, mask_name in enumerate(names)
        for e, map_name in enumerate(names)
    ]
    is_own = np.eye(len(names), dtype=bool)
    own = observed[is_own].mean(), drawn[:, is_own].mean(axis=1)
    others = observed[~is_own].mean(), drawn[:, ~is_own].mean(axis=1)
    difference = interval(own[0] - others[0], own[1] - others[1], p=relabelling_test(observed).p)
    summary = [("own", *interval(*own)), ("others", *interval(*others)), ("difference", *difference)]
    columns = ["low", "high", "p", "subjects"]
    table = pd.DataFrame(pairs, columns=["mask", "causal_map", "iou", *columns]).drop(columns="p")
    return table, pd.DataFrame(summary, columns=["statistic", "value", *columns])


_AGREEMENT = ("spearman", "top", "sign", "auc")
"""What `causal_agreement` returns."""


def causal_agreement(truth: Explanation, values: np.ndarray) -> dict[str, float]:
    """Compare values of the parts of one face, or a map of it, with the causal explainer's.

    Parameters
    ----------
    truth : Explanation
        By the explainer ``causal``: one weight per part.
    values : (S,) or (H, W) array_like
        Of the same parts; or a map, whose values are summed over each part, with their signs.

    Returns
    -------
    dict
        ``spearman``: rank correlation over parts, NaN where either is constant; ``top``: 1 if the part with
        the largest value is the one that causes most, else 0, chance 1/S; ``sign``: the share of the
        truth's total magnitude that lies in parts with the right sign, chance about 0.5; ``auc``: how often a
        part that raises the prediction has a larger value than one that lowers it, NaN where all do the same.

    Examples
    --------
    >>> weights, segments = np.array([0.5, 0.1, -0.2]), np.arange(3)[None]
    >>> truth = Explanation(explainer="causal", target=0, weights=weights, segments=segments)
    >>> causal_agreement(truth, [2.0, 1.0, 3.0])["spearman"]
    -0.5
    >>> causal_agreement(truth, [[2.0, 1.0, 3.0]])["spearman"]
    -0.5
    """
    from scipy.stats import spearmanr

    values, causes = np.asarray(values, np.float64), np.asarray(truth.weights, np.float64)
    shape = truth.segments.shape
    if values.shape == shape:
        values = np.bincount(truth.segments.ravel(), values.ravel())
    if values.shape != causes.shape or not np.isfinite(values).all():
        raise DataError(
            f"There must be {len(causes)} finite values, one per part, or {shape}, one per pixel, "
            f"but got {values.shape}."
        )
    constant = np.ptp(values) == 0 or np.ptp(causes) == 0
    raises, lowers = causes > 0, causes < 0
    both = raises.any() and lowers.any()
    weights = np.abs(causes) / max(np.abs(causes).sum(), 1e-300)
    return {
        "spearman": np.nan if constant else float(spearmanr(values, causes).statistic),
        "top": float(not constant and values.argmax() == causes.argmax()),
        "sign": float(weights[np.sign(values) == np.sign(causes)].sum()),
        "auc": auc(values, raises, raises | lowers) if both else np.nan,
    }


def summarise_agreement(faces: pd.DataFrame) -> pd.DataFrame:
    """Average the agreement of faces per network and method, with 95 % intervals over subjects.

    Parameters
    ----------
    faces : DataFrame
        One row per face and method: ``network, method, subject``, and what `causal_agreement` returns.

    Returns
    -------
    DataFrame
        ``network, method, score, value, low, high, count, subjects``; NaN are left out of the means.
    """
    rows = []
    for names, group in faces.groupby(["network", "method"], sort=False):
        for score in _AGREEMENT:
            known = group[np.isfinite(group[score])]
            if len(known):
                own_seed = derive_seed(0, "agreement", *map(str, names), score)
                found = _cluster_bootstrap(known[score], known["subject"], seed=own_seed)
                rows.append((*names, score, *found[:3], len(known), found.units))
    columns = ["network", "method", "score", "value", "low", "high", "count", "subjects"]
    return pd.DataFrame(rows, columns=columns)
