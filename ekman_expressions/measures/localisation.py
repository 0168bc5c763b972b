"""How well one map finds the pixels that the active action units of a face changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.faces.synthetic import is_unit
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.baselines import centre_distance
from ekman_expressions.measures.bootstrap import cluster_bootstrap
from ekman_expressions.measures.threshold_free import auc, relevance_mass

PART = 0.5
"""A pixel counts as changed by a unit that moves it by this part of the farthest it moves any."""

FEEBLE = 0.5
"""Millimetres: a unit that moves nothing by so much in a face is not counted as active there."""

CENTRE, RANDOM, CEILING = "centre prior", "random pixels", "photometric change"
"""Names of the two baselines, and of the map that shows how far the image really changed."""

SCORES: tuple[str, ...] = ("auc", "mass", "density", "over_centre", "over_another")
"""The scores of a map; see `score`."""

SUMMARY = ("explainer", "network", "faces", "score", "value", "low", "high", "count", "subjects")
"""The columns of `summarise`."""


def changed_pixels(layers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the pixels that the active action units changed: the reference of the benchmark.

    Each unit has its say, so that a jaw that drops by 12 mm does not hide brows raised by 3.

    Parameters
    ----------
    layers : dict of str to (275, 224) ndarray of float, mm
        Layers of a causal mask in face space; those of action units count. See `causal.warped_layers`.

    Returns
    -------
    (275, 224) ndarray of bool
        The union, over units, of the pixels that the unit moves by at least `PART` of the
        farthest that it moves any.

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
        if is_unit(name) and layer.max() >= FEEBLE:
            changed |= layer >= PART * layer.max()
    if not changed.any():
        raise DataError(f"No action unit moved anything by {FEEBLE} mm or more.")
    return changed


def centre_prior() -> np.ndarray:
    """Return the map that knows nothing but the middle: (275, 224) float64, (0, 1].

    A normal density with the canvas' proportions; its width is half of the canvas' at one
    standard deviation either side. AUC depends on its order of pixels alone.
    """
    return np.exp(-2 * centre_distance() ** 2)


def random_map(seed: int, image_id: str) -> np.ndarray:
    """Return independent uniform pixels, (275, 224) float64, from a seed and an image's name."""
    return np.random.default_rng(derive_seed(seed, "random pixels", image_id)).random(SHAPE)


def score(found: np.ndarray, changed: np.ndarray, within: np.ndarray) -> dict[str, float]:
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
        ``auc``: see `threshold_free.auc`, 0.5 by chance; ``mass``: the share of the positive mass
        on changed pixels; ``density``: that share over the share of pixels that changed, 1 by chance
        (both NaN where the map is nowhere positive); ``area``: the latter share.

    Raises
    ------
    DataError
        As `threshold_free.auc`.
    """
    area = float(changed[within].mean())
    scores = {"auc": auc(found, changed, within), "mass": np.nan, "density": np.nan, "area": area}
    if (found[within] > 0).any():
        scores["mass"] = relevance_mass(found, changed, within)
        scores["density"] = scores["mass"] / area
    return scores


def summarise(faces: pd.DataFrame, *, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Average the scores of faces, with intervals over subjects.

    Parameters
    ----------
    faces : DataFrame
        One row per explained face: ``explainer, network, subject, correct`` and the `SCORES`.
    seed : int
        For the resamples.
    resamples : int, >= 1

    Returns
    -------
    DataFrame
        The columns `SUMMARY`: for each explainer and network, all faces and those that were
        classified correctly, and each score, the mean and its 95 % interval.
    """
    check_range(resamples, "resamples", 1, integer=True)
    rows = []
    for (explainer, network), of_pair in faces.groupby(["explainer", "network"], sort=False):
        for which, chosen in (("all", of_pair), ("correct", of_pair[of_pair["correct"].astype(bool)])):
            for name in SCORES:
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
    return pd.DataFrame(rows, columns=SUMMARY)


def another(places: Iterable[int], labels: list[str], seed: int) -> dict[int, int]:
    """Give each explanation another of the same model, of a face with another expression.

    Parameters
    ----------
    places : iterable of int
        Of the explanations.
    labels : list of str
        The expression of each.
    seed : int
        Which of the others is taken.

    Returns
    -------
    dict of int to int
        Explanations that have no other are absent.
    """
    random = np.random.default_rng(seed)
    places = list(places)
    partners = {}
    for place in places:
        others = [other for other in places if labels[other] != labels[place]]
        if others:
            partners[place] = others[random.integers(len(others))]
    return partners
