"""Where the mass of heatmaps lies: shares and densities of the named regions of the face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_option
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.bootstrap import LEVEL, RESAMPLES, interval_of, resample_counts

LEVELS: tuple[str, ...] = ("group", "region")
"""What counts as a region: the atlas' 11 groups, such as the brows, or its 49 single regions."""

ELSEWHERE = "elsewhere"
"""The name of all pixels that are in no region."""

COLUMNS = (
    "region",
    "area",
    "share",
    "share_low",
    "share_high",
    "density",
    "density_low",
    "density_high",
    "maps",
    "units",
)
"""The columns of `region_shares`."""


def region_names(level: str = "group") -> tuple[str, ...]:
    """Return the names of the regions from the forehead down, `ELSEWHERE` last."""
    check_option(level, "level", LEVELS)
    return (*(atlas().groups if level == "group" else atlas().names), ELSEWHERE)


def region_masses(maps: np.ndarray, level: str = "group") -> np.ndarray:
    """Add up the mass of maps in each region.

    Parameters
    ----------
    maps : (N, 275, 224) ndarray
        Heatmaps or explanations in face space; negative values hold no mass.
    level : {'group', 'region'}

    Returns
    -------
    (N, R) ndarray of float64
        In the order of `region_names`; a row adds up to the map's whole mass.

    Raises
    ------
    DataError
        If maps are not in face space, or not finite.
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.shape[1:] != SHAPE or not np.isfinite(maps).all():
        raise DataError(
            f"Maps must be finite and of shape (N, {SHAPE[0]}, {SHAPE[1]}), but got {maps.shape}."
        )
    places = _places(level).ravel()
    count = len(region_names(level))
    flat = np.maximum(maps, 0).reshape(len(maps), -1)
    return np.array([np.bincount(places, one, count) for one in flat]).reshape(len(maps), count)


def region_shares(
    masses: np.ndarray,
    clusters: Sequence[object],
    *,
    seed: int,
    level: str = "group",
    weights: Sequence[float] | None = None,
    confidence: float = LEVEL,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Return the share of each region in the mass of the mean map, with intervals.

    Parameters
    ----------
    masses : (N, R) ndarray
        From `region_masses`.
    clusters : sequence of N
        The unit that varies: the subject of each explanation, or the fold of each heatmap.
    seed : int
        For the resamples.
    level : {'group', 'region'}
    weights : sequence of N float, optional
        What each map counts in the mean, such as the faces that it is a mean of.
    confidence : float, range (0, 1)
        Level of the intervals; see `bootstrap.interval_of`.
    resamples : int

    Returns
    -------
    DataFrame
        One row per region, in the order of `region_names`: ``area``, its share of the canvas;
        ``share`` of the mass; ``density``, share over area, 1 for a map that is the same
        everywhere; the ends of both intervals (NaN with fewer than two units; never beyond the
        possible values); and how many ``maps`` and ``units`` there were.

    Raises
    ------
    DataError
        If the arguments do not fit each other, or the maps have no mass.
    """
    masses = np.asarray(masses, float)
    names = region_names(level)
    weights = np.ones(len(masses)) if weights is None else np.asarray(weights, float)
    codes = pd.factorize(np.asarray(clusters))[0]
    if masses.ndim != 2 or masses.shape[1] != len(names) or not len(masses) == len(codes) == len(weights):
        raise DataError(
            f"There must be masses of {len(names)} regions, a cluster and a weight for each map, but got "
            f"{masses.shape}, {len(codes)} and {len(weights)}."
        )
    units = int(codes.max()) + 1 if len(codes) else 0
    sums = np.zeros((units, len(names)))
    np.add.at(sums, codes, masses * weights[:, None])
    if not sums.sum() > 0:
        raise DataError(f"The {len(masses)} maps have no mass to share out.")
    share = sums.sum(axis=0) / sums.sum()
    drawn = resample_counts(units, resamples, seed=seed) @ sums
    with np.errstate(invalid="ignore"):
        drawn = drawn / drawn.sum(axis=1, keepdims=True)
    area = np.bincount(_places(level).ravel(), minlength=len(names)) / np.prod(SHAPE)
    rows = []
    for place, name in enumerate(names):
        found = interval_of(float(share[place]), drawn[:, place], units, level=confidence)
        low, high = np.clip([found.low, found.high], 0, 1)
        densities = (value / area[place] for value in (share[place], low, high))
        rows.append((name, area[place], share[place], low, high, *densities, len(masses), units))
    return pd.DataFrame(rows, columns=COLUMNS)


def _places(level: str) -> np.ndarray:
    """Return the place in `region_names` of each pixel, (275, 224) int."""
    names = region_names(level)
    places = np.full(SHAPE, len(names) - 1)
    for place, name in enumerate(names[:-1]):
        places[atlas().group(name) if level == "group" else atlas().region(name)] = place
    return places
