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
    _joined,
    _resample_counts,
    centre_distance,
)

_ELSEWHERE = "elsewhere"  # all pixels that are in no region


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
        raise DataError(f"Maps must be finite and of shape (N, {SHAPE[0]}, {SHAPE[1]}), but got {maps.shape}.")
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
def _chance(level: str) -> pd.DataFrame:
    """Return the shares of maps that know nothing: even on the canvas, the centre prior, even on the face."""
    maps = [np.ones(SHAPE), np.exp(-2 * centre_distance() ** 2), np.float64(atlas().hull)]
    masses = region_masses(np.array(maps), level)
    return masses.div(masses.sum(axis=1), axis=0)


def _region_shares(
    masses: pd.DataFrame, clusters: Sequence[object], *, seed: int, level: str = "group"
) -> pd.DataFrame:
    """Return `_region_table`'s rows of a level: `masses`, (N, 50), with intervals over `clusters`, (N,)."""
    masses = _grouped(masses) if level == "group" else masses
    area, centre, hull = _chance(level)[masses.columns].to_numpy()
    sums = masses.groupby(pd.factorize(np.asarray(clusters))[0]).sum().to_numpy()
    share = sums.sum(axis=0) / sums.sum()
    drawn = _resample_counts(len(sums), _RESAMPLES, seed=seed) @ sums
    with np.errstate(invalid="ignore"):
        drawn = drawn / drawn.sum(axis=1, keepdims=True)
    # Of the difference to the centre prior, whose p is wanted; the ends are those of the share.
    columns = zip(share - centre, (drawn - centre).T, strict=True)
    found = pd.DataFrame(_interval_of(*column, len(sums)) for column in columns)
    low, high = (np.clip(centre + found[end], 0, 1).to_numpy() for end in ("low", "high"))
    table = {"region": masses.columns, "area": area, "share": share, "share_low": low, "share_high": high}
    table |= {"density": share / area, "density_low": low / area, "density_high": high / area}
    table |= {"centre_prior": centre / area, "even_face": hull / area}
    table |= {"p": found["p"], "p_holm": _holm(found["p"]), "maps": len(masses), "units": len(sums)}
    return pd.DataFrame(table)


def _region_table(
    cells: Mapping[tuple[str, str], tuple[pd.DataFrame, Sequence[object]]],
    *,
    seed: int,
    unit: str,
    omit: Callable[[str, object], None] = lambda item, reason: None,
) -> pd.DataFrame:
    """Return the rows of ``regions.csv``: each network and expression, and all networks together.

    `cells` has by (network, expression) the `region_masses` of maps, and each one's subject or fold (`unit`).
    """
    tables = {}
    networks = list(dict.fromkeys(network for network, _ in cells))
    for expression in dict.fromkeys(expression for _, expression in cells):
        there = [network for network in networks if (network, expression) in cells]
        groups = {network: [network] for network in there} | ({"all": there} if len(networks) > 1 else {})
        for name, group in groups.items():
            masses = pd.concat([cells[network, expression][0] for network in group], ignore_index=True)
            clusters = [cluster for network in group for cluster in cells[network, expression][1]]
            if not masses.to_numpy().sum() > 0:
                omit(f"{name} {expression}", "no explanation can be used, or none has any mass")
                continue
            for level in ("group", "region"):
                own_seed = derive_seed(seed, "regions", level, name, expression)
                tables[level, name, expression] = _region_shares(masses, clusters, seed=own_seed, level=level)
    return _joined(tables, "level", "network", "expression").assign(unit=unit) if tables else pd.DataFrame()
