"""The table of baselines: what maps score that know nothing of the network, or of the expression."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.seeds import generator
from ekman_expressions.facespace.heatmaps import to_uint8
from ekman_expressions.measures import baselines
from ekman_expressions.measures.bootstrap import LEVEL
from ekman_expressions.measures.heatmap_set import SCORES, HeatmapSet
from ekman_expressions.measures.known_figures import ELLIPSES
from ekman_expressions.measures.means import mean_known
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.measures.threshold_free import auc

COLUMNS: tuple[str, ...] = ("baseline", "meaning", "expression", "score", "value", "low", "high")

HEATMAPS = "heatmaps"
"""The row of the heatmaps themselves, beside the baselines."""

MEANINGS: dict[str, str] = {
    HEATMAPS: "the heatmaps with the mask of their own expression",
    "white": "a map that is white everywhere",
    "random_pixels": "random pixels, as many as each heatmap marks (expected)",
    "random_pixels_simulated": "the same, simulated",
    "shifts": "the heatmaps after all circular shifts",
    "other_masks": "the heatmaps with the masks of the other expressions",
    **{
        f"ellipse_{round(100 * share):02d}": f"a centred ellipse over {round(100 * share)} % of the canvas"
        for share in ELLIPSES
    },
    "centre_prior": "a map that falls off from the middle",
    "mean_of_masks": "the mean of all masks",
    "face_prior": "the mean of all heatmaps",
}
"""The baselines, in the order of the table."""

DRAWS = 1000
"""How many sets of random pixels are drawn per heatmap."""


def baseline_table(found: HeatmapSet, shifts: np.ndarray, *, seed: int) -> pd.DataFrame:
    """Return what each baseline scores, per expression and on average.

    Parameters
    ----------
    found : HeatmapSet
        The heatmaps and masks.
    shifts : (S, N * E) ndarray of float
        See `draws.shift_null`.
    seed : int
        The experiment's.

    Returns
    -------
    DataFrame
        `COLUMNS`. ``value`` is the mean over the cells there are (folds, then networks), its
        average that over expressions. `low` and `high` hold 95 % of the draws, or shifts, of
        that mean, where there are several. NaN where a baseline has no such score.
    """
    rows: list[dict] = []

    def add(name: str, score: str, values: np.ndarray, drawn: np.ndarray | None = None) -> None:
        """Add a baseline's (E,) values, and its (draws, E) values of which they are the mean."""
        values = np.append(values, mean_known(values, axis=0))
        ends = np.full((2, values.size), np.nan)
        if drawn is not None:
            drawn = np.column_stack([drawn, mean_known(drawn, axis=1)])
            known = np.isfinite(drawn).all(axis=0)
            quantiles = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
            ends[:, known] = np.quantile(drawn[:, known], quantiles, axis=0)
        for place, expression in enumerate([*map(title, EXPRESSIONS), AVERAGE]):
            rows.append(
                dict(
                    zip(
                        COLUMNS,
                        (name, MEANINGS[name], expression, score, values[place], *ends[:, place]),
                        strict=True,
                    )
                )
            )

    expressions = len(found.masks)
    for score, table in found.tables.items():
        cells = mean_known(mean_known(table, axis=1), axis=0)
        add(HEATMAPS, score, np.diagonal(cells))
        others = np.where(np.eye(expressions, dtype=bool), np.nan, cells)
        add("other_masks", score, mean_known(others, axis=1))
    expected, drawn = _random_pixels(found, seed)
    add("random_pixels", "iou", expected)
    add("random_pixels_simulated", "iou", mean_known(drawn, axis=0), drawn)
    by_shift = mean_known(shifts.reshape(len(shifts), len(found.networks), expressions), axis=1)
    add("shifts", "iou", mean_known(by_shift, axis=0), by_shift)
    for name, gray in _maps(found).items():
        for score, values in _score(gray, found).items():
            add(name, score, values)
    table = pd.DataFrame(rows, columns=COLUMNS)
    order = {name: place for place, name in enumerate(MEANINGS)}
    return table.sort_values("baseline", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def random_pixel_cells(found: HeatmapSet) -> np.ndarray:
    """Return the expected IoU of random pixels of each heatmap's area, (N, F, E); NaN where there is none."""
    areas, sizes = found.marked.sum(axis=(-2, -1)), found.masks.sum(axis=(1, 2))
    expected = np.full(areas.shape, np.nan)
    for place in map(tuple, np.argwhere(found.present)):
        expected[place] = baselines.random_pixels(
            int(areas[place]), int(sizes[place[2]]), found.masks[0].size
        )
    return expected


def _random_pixels(found: HeatmapSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected (E,) and `DRAWS` simulated (draws, E) means over folds and networks."""
    areas, sizes = found.marked.sum(axis=(-2, -1)), found.masks.sum(axis=(1, 2))
    total = found.masks[0].size
    expected = mean_known(mean_known(random_pixel_cells(found), axis=1), axis=0)
    drawn = np.full((DRAWS, *found.present.shape), np.nan)
    random = generator(seed, "random pixels")
    for n, f, e in np.argwhere(found.present):
        overlap = random.hypergeometric(sizes[e], total - sizes[e], areas[n, f, e], size=DRAWS)
        drawn[:, n, f, e] = overlap / (areas[n, f, e] + sizes[e] - overlap)
    return expected, mean_known(mean_known(drawn, axis=2), axis=1)


def _maps(found: HeatmapSet) -> dict[str, np.ndarray]:
    """Return the baselines that are maps themselves, as 8-bit heatmaps."""
    shape = found.masks.shape[1:]
    maps = {"white": np.full(shape, 255, np.uint8)}
    for share in ELLIPSES:
        ellipse = baselines.centre_ellipse(share, shape)
        maps[f"ellipse_{round(100 * share):02d}"] = ellipse.astype(np.uint8) * 255
    maps["centre_prior"] = to_uint8(-baselines.centre_distance(shape))
    maps["mean_of_masks"] = baselines.mean_of_masks(found.masks)
    if found.present.any():
        maps["face_prior"] = baselines.face_prior(found.maps[found.present])
    return maps


def _score(gray: np.ndarray, found: HeatmapSet) -> dict[str, np.ndarray]:
    """Score one map with every mask: per score, (E,)."""
    # A map of one value marks all of the canvas here, as its name says, and not nothing.
    marked = baselines.otsu(gray) if gray.min() < gray.max() else gray > 0
    within = dict(zip(SCORES[1:], (None, found.hull), strict=True))
    scores = {SCORES[0]: baselines.iou_table(marked, found.masks)}
    for name, area in within.items():
        scores[name] = np.array([auc(gray, mask, area) for mask in found.masks])
    return scores
