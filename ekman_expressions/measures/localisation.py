"""How well an explanation finds the pixels that the active action units of a synthetic face changed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.chance import centre_distance
from ekman_expressions.measures.scores import auc, relevance_mass
from ekman_expressions.measures.uncertainty import cluster_bootstrap

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
        least half of the farthest that it moves any.

    Raises
    ------
    DataError
        If no action unit moved anything.

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


def centre_prior() -> np.ndarray:
    """Return the map that knows nothing but the middle: (275, 224) float64, (0, 1].

    A normal density with the canvas' proportions; its width is half of the canvas' at one
    standard deviation either side. AUC depends on its order of pixels alone.
    """
    return np.exp(-2 * centre_distance() ** 2)


def localisation_scores(found: np.ndarray, changed: np.ndarray, within: np.ndarray) -> dict[str, float]:
    """Score a map against the pixels that changed, within the face hull.

    Parameters
    ----------
    found : (275, 224) ndarray of float
        An explanation in face space.
    changed, within : (275, 224) ndarray of bool
        See `changed_pixels` and `Atlas.hull`.

    Returns
    -------
    dict
        ``auc``: see `scores.auc`, 0.5 by chance; ``mass``: the share of the positive mass
        on changed pixels; ``density``: that share over the share of pixels that changed, 1 by chance
        (both NaN where the map is nowhere positive); ``area``: the latter share.

    Raises
    ------
    DataError
        As `scores.auc`.
    """
    area = float(changed[within].mean())
    scores = {"auc": auc(found, changed, within), "mass": np.nan, "density": np.nan, "area": area}
    if (found[within] > 0).any():
        scores["mass"] = relevance_mass(found, changed, within)
        scores["density"] = scores["mass"] / area
    return scores


def summarise_localisation(faces: pd.DataFrame, *, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Average the scores of faces, with 95 % intervals over subjects.

    Parameters
    ----------
    faces : DataFrame
        One row per explained face: ``explainer, network, subject, correct`` and `LOCALISATION_SCORES`.
    seed : int
        For the resamples.
    resamples : int, >= 1

    Returns
    -------
    DataFrame
        ``explainer, network, faces ('all' or 'correct'), score, value, low, high, count, subjects``: for
        each explainer and network, all faces and those that were classified correctly, and each score.
    """
    check_range(resamples, "resamples", 1, integer=True)
    rows = []
    for (explainer, network), of_pair in faces.groupby(["explainer", "network"], sort=False):
        for which, chosen in (("all", of_pair), ("correct", of_pair[of_pair["correct"].astype(bool)])):
            for name in LOCALISATION_SCORES:
                known = chosen[np.isfinite(chosen[name].astype(float))]
                if known.empty:
                    continue
                interval = cluster_bootstrap(
                    known[name].to_numpy(float),
                    known["subject"].to_numpy(),
                    seed=derive_seed(seed, "localisation", explainer, network, which, name),
                    resamples=resamples,
                )
                ends = (interval.estimate, interval.low, interval.high)
                rows.append((explainer, network, which, name, *ends, len(known), interval.units))
    columns = ["explainer", "network", "faces", "score", "value", "low", "high", "count", "subjects"]
    return pd.DataFrame(rows, columns=columns)
