"""Where the mass of heatmaps lies: shares and densities of the named regions of the face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.uncertainty import (
    _RESAMPLES,
    _holm,
    _interval_of,
    _resample_counts,
    centre_distance,
)

# The atlas' 11 groups, such as the brows, and its 49 single regions.
_LEVELS = ("group", "region")

_ELSEWHERE = "elsewhere"
"""The name of all pixels that are in no region."""

_ALL = "all"
"""The name of all networks together."""


def region_masses(maps: np.ndarray, level: str = "region") -> pd.DataFrame:
    """Add up the mass of maps in each region of the atlas.

    Parameters
    ----------
    maps : (N, 275, 224) ndarray
        Heatmaps or explanations in face space; negative values hold no mass.
    level : {'region', 'group'}
        The atlas' 49 single regions, or its 11 groups, such as the brows.

    Returns
    -------
    DataFrame
        N rows, a column for each region from the forehead down, `_ELSEWHERE` last; a row adds up to the map's
        whole mass.

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
    places, columns = atlas().labels.ravel(), [_ELSEWHERE, *atlas().names]
    sums = [np.bincount(places, one.ravel(), len(columns)) for one in np.maximum(maps, 0)]
    masses = pd.DataFrame(np.reshape(sums, (len(maps), len(columns))), columns=columns)
    masses = masses[[*atlas().names, _ELSEWHERE]]
    return _grouped(masses) if level == "group" else masses


def _grouped(masses: pd.DataFrame) -> pd.DataFrame:
    """Return the sums over the regions of each group, which do not overlap."""
    group_of = {region.name: region.group for region in atlas().regions} | {_ELSEWHERE: _ELSEWHERE}
    return masses.T.groupby(group_of, sort=False).sum().T


@cache
def _baselines() -> pd.DataFrame:
    """Return the masses of maps that know nothing: the centre prior, and the same everywhere on the face."""
    return region_masses(np.array([np.exp(-2 * centre_distance() ** 2), np.float64(atlas().hull)]))


def _region_shares(
    masses: pd.DataFrame, clusters: Sequence[object], *, seed: int, level: str = "group"
) -> pd.DataFrame:
    """Return `_region_table`'s rows of a level: `masses`, (N, 50), with intervals over `clusters`, (N,)."""
    codes = pd.factorize(np.asarray(clusters))[0]
    pixels, baselines = region_masses(np.ones((1, *SHAPE))), _baselines()
    if level == "group":
        masses, baselines, pixels = map(_grouped, (masses, baselines, pixels))
    sums = masses.groupby(codes).sum().to_numpy()
    if not sums.sum() > 0:
        raise DataError(f"The {len(masses)} maps have no mass to share out.")
    share = sums.sum(axis=0) / sums.sum()
    drawn = _resample_counts(len(sums), _RESAMPLES, seed=seed) @ sums
    with np.errstate(invalid="ignore"):
        drawn = drawn / drawn.sum(axis=1, keepdims=True)
    centre, hull = (baselines.div(baselines.sum(axis=1), axis=0))[masses.columns].to_numpy()
    # Of the difference to the centre prior, whose p is wanted; the ends are those of the share.
    intervals = [
        _interval_of(one - prior, column - prior, len(sums))
        for one, prior, column in zip(share, centre, drawn.T, strict=True)
    ]
    low, high = np.clip(centre[:, None] + [(found.low, found.high) for found in intervals], 0, 1).T
    p = [found.p for found in intervals]
    area = (pixels[masses.columns].iloc[0] / pixels.iloc[0].sum()).to_numpy()
    table = {"region": masses.columns, "area": area, "share": share, "share_low": low, "share_high": high}
    densities = {"density": share / area, "density_low": low / area, "density_high": high / area}
    chance = {"centre_prior": centre / area, "even_face": hull / area, "p": p, "p_holm": _holm(p)}
    return pd.DataFrame({**table, **densities, **chance, "maps": len(masses), "units": len(sums)})


def _region_table(
    cells: Mapping[tuple[str, str], tuple[pd.DataFrame, Sequence[object]]],
    *,
    seed: int,
    unit: str,
    omit: Callable[[str, object], None] = lambda item, reason: None,
) -> pd.DataFrame:
    """Return the shares of regions, with 95 % intervals over clusters, for networks and expressions and all
    networks.

    `cells` has by (network, expression) the (N, 50) masses of `region_masses`, and what each of the N maps is
    of: its subject, or fold (`unit`). ``area``, ``share`` and ``density`` (share over area) of each region,
    beside the densities of a bell in the middle, ``centre_prior``, and of the same everywhere on the face,
    ``even_face``; ``p`` is that of a density like the centre prior's.
    """
    tables = []
    networks = list(dict.fromkeys(network for network, _ in cells))
    for expression in dict.fromkeys(expression for _, expression in cells):
        parts = {
            network: [cells[network, expression]] for network in networks if (network, expression) in cells
        }
        if len(networks) > 1:
            parts[_ALL] = [part for of_network in parts.values() for part in of_network]
        for network, of_network in parts.items():
            masses = pd.concat([of_cell for of_cell, _ in of_network], ignore_index=True)
            clusters = [cluster for _, of_cell in of_network for cluster in of_cell]
            if not masses.to_numpy().sum() > 0:
                omit(f"{network} {expression}", "no explanation can be used, or none has any mass")
                continue
            for level in _LEVELS:
                of_level = derive_seed(seed, "regions", level, network, expression)
                shares = _region_shares(masses, clusters, seed=of_level, level=level)
                labels = {"level": level, "network": network, "expression": expression}
                tables.append(pd.concat([pd.DataFrame(labels, index=shares.index), shares], axis=1))
    return pd.concat(tables, ignore_index=True).assign(unit=unit) if tables else pd.DataFrame()
