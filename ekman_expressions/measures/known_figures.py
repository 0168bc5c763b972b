"""What is known of the released heatmaps beyond their published scores: chance, relabelling, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv
from ekman_expressions.facespace.heatmaps import read_gray
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures import baselines, permutation, ranking
from ekman_expressions.measures.thresholds import AREAS, top

ELLIPSES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
"""Shares of the canvas that centred ellipses cover."""


@dataclass(frozen=True)
class _Heatmaps:
    """Heatmaps (N, F, E, H, W) uint8, what they mark, the masks, and the IoU of all with all."""

    maps: np.ndarray
    marked: np.ndarray
    masks: np.ndarray
    table: np.ndarray


def known() -> pd.DataFrame:
    """Return the figures that are known: ``figure, meaning, known, low, high``.

    ``known`` is as printed; a figure agrees with it from `low` to `high`, half a unit of the
    last printed digit on either side, or what the range says.
    """
    with resources.as_file(
        resources.files("ekman_expressions").joinpath("data", "known_figures.csv")
    ) as path:
        return read_csv(path, ("figure", "meaning", "known", "low", "high"), dtype={"known": str})


def recompute(folder: Path, networks: Sequence[str], folds: Sequence[str]) -> pd.DataFrame:
    """Recompute the known figures from the released heatmaps and masks.

    Parameters
    ----------
    folder : Path
        With ``GRAY/heatmaps_by_cv`` and ``GROUND_TRUTH``.
    networks, folds : sequence of str
        Which heatmaps.

    Returns
    -------
    DataFrame
        The table of `known` with ``obtained`` and ``agrees``.

    Raises
    ------
    MissingError, DataError
        If a file is not there, damaged or of another size.
    """
    masks = np.array([read_mask(folder / "GROUND_TRUTH", expression) for expression in EXPRESSIONS])
    maps = np.array(
        [
            [[read_gray(folder, expression, network, fold) for expression in EXPRESSIONS] for fold in folds]
            for network in networks
        ]
    )
    marked = baselines.otsu(maps)
    obtained = figures(_Heatmaps(maps, marked, masks, baselines.iou_table(marked, masks)))
    table = known()
    table["obtained"] = table["figure"].map(obtained)
    table["agrees"] = table["obtained"].between(table["low"], table["high"])
    return table


def figures(found: _Heatmaps) -> dict[str, float]:
    """Compute each known figure by its name."""
    size = found.masks[0].size
    own = np.diagonal(found.table, axis1=-2, axis2=-1)
    cells = permutation.cell_table(found.table)
    relabelled = permutation.relabelling_test(cells)
    white = found.masks.mean(axis=(1, 2))
    areas = found.marked.sum(axis=(-2, -1))
    sizes = found.masks.sum(axis=(1, 2))
    values = {
        "white": white.mean(),
        "own": own.mean(),
        "others": (found.table.sum(axis=-1) - own).mean() / (len(EXPRESSIONS) - 1),
        "own_is_best": permutation.own_is_best(found.table),
        "relabelling_p": relabelled.p,
        "relabelling_mean": relabelled.null.mean(),
        "relabelling_max": relabelled.null.max(),
        "random_pixels": _random(areas.mean(axis=(0, 1)), sizes, size),
        "random_pixels_each": _random(areas, sizes, size),
    }
    by_area = {area: _own_iou(found, area) for area in AREAS}
    values |= {f"area_{round(100 * area):02d}": table.mean() for area, table in by_area.items()}
    ellipses = np.array([baselines.centre_ellipse(share, found.masks[0].shape) for share in ELLIPSES])
    scores = baselines.iou_table(ellipses, found.masks).mean(axis=1)
    values |= {
        f"ellipse_{round(100 * share):02d}": score for share, score in zip(ELLIPSES, scores, strict=True)
    }
    networks = pd.DataFrame({"otsu": own.mean(axis=(1, 2))} | _network_means(by_area))
    correlations = ranking.rank_correlations(networks)["otsu"]
    values |= {f"spearman_otsu_{name}": correlations[name] for name in ("area_10", "area_20", "area_30")}
    return {name: float(value) for name, value in values.items()}


def render(table: pd.DataFrame) -> list[str]:
    """Write the lines of a report for a terminal: known against obtained."""
    width = max(map(len, table["meaning"]))
    lines = ["Chance and tests, mean IoU unless another is named: known / obtained; ! = does not agree"]
    for row in table.itertuples():
        sign = "" if row.agrees else " !"
        lines.append(f"  {row.meaning:<{width}}  {row.known:>9} / {row.obtained:.4f}{sign}")
    lines.append(f"{int(table['agrees'].sum())} of {len(table)} agree to the printed precision.")
    return lines


def _random(areas: np.ndarray, sizes: np.ndarray, size: int) -> float:
    """Return the mean IoU of random pixels of areas (..., E) with the masks of E sizes."""
    pairs = np.broadcast_arrays(np.rint(areas).astype(int), sizes)
    found = [baselines.random_pixels(*pair, size) for pair in zip(*(a.flat for a in pairs), strict=True)]
    return np.mean(found)


def _own_iou(found: _Heatmaps, area: float) -> np.ndarray:
    """Return the IoU of the hottest pixels of each heatmap with its own mask, (N, F, E)."""
    scores = np.empty(found.maps.shape[:3])
    for place in np.ndindex(scores.shape):
        marked = top(found.maps[place], area)
        scores[place] = baselines.iou_table(marked, found.masks[place[2]][None])[0]
    return scores


def _network_means(by_area: dict[float, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"area_{round(100 * area):02d}": table.mean(axis=(1, 2)) for area, table in by_area.items()}
