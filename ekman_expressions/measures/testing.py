"""The tables of tests: own masks against relabelled ones, shifted heatmaps, and random regions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.measures import draws, fold_means, permutation, residuals
from ekman_expressions.measures.heatmap_set import HeatmapSet
from ekman_expressions.measures.means import mean_known

ALL = "all"
"""What a row over all networks is called."""

TESTS: tuple[str, ...] = ("iou", "auc", "auc_hull", "residual", "residual_hull")
"""The scores whose own masks are tested against all relabellings."""

TEST_COLUMNS: tuple[str, ...] = (
    "score",
    "network",
    "observed",
    "chance",
    "largest",
    "own_is_best",
    "relabellings",
    "p",
    "p_holm",
    "heatmaps",
)

REGION_DRAWS = 10_000
"""How many sets of random regions stand in for the masks."""


def score_tables(found: HeatmapSet) -> dict[str, np.ndarray]:
    """Return, per name in `TESTS`, the (N, F, E, E) table of each heatmap with each mask."""
    return found.tables | {
        "residual": residuals.residual_table(found.maps, found.masks, found.present),
        "residual_hull": residuals.residual_table(found.maps, found.masks, found.present, found.hull),
    }


def relabelling_tests(found: HeatmapSet, tables: dict[str, np.ndarray]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test own masks against all relabellings, within each network and over all.

    Returns
    -------
    tests : DataFrame
        `TEST_COLUMNS`: the mean score with the own masks, the mean and the largest of all
        relabellings, the share of fold heatmaps whose own mask is best, p, and p corrected
        (Holm) for the number of networks.
    null : DataFrame
        ``score, mean``: the mean score over all networks of every relabelling, the data first.
    """
    rows, null = [], []
    for score, table in tables.items():
        cells = permutation.cell_table(table)
        tested = [permutation.relabelling_test(of_network) for of_network in cells]
        corrected = fold_means.holm([test.p for test in tested])
        over_all = permutation.relabelling_test(cells)
        null.append(pd.DataFrame({"score": score, "mean": over_all.null}))
        names = [ALL, *found.networks]
        for place, test in enumerate([over_all, *tested]):
            part = table if not place else table[place - 1]
            rows.append(
                (
                    score,
                    names[place],
                    test.observed,
                    test.null.mean(),
                    test.null.max(),
                    permutation.own_is_best(part),
                    test.null.size,
                    test.p,
                    test.p if not place else corrected[place - 1],
                    int(np.isfinite(part).all(axis=-1).sum()),
                )
            )
    return pd.DataFrame(rows, columns=TEST_COLUMNS), pd.concat(null, ignore_index=True)


def cell_tests(found: HeatmapSet, shifts: np.ndarray, *, seed: int) -> pd.DataFrame:
    """Test each network and expression, alone and corrected for all of them at once.

    Parameters
    ----------
    found : HeatmapSet
    shifts : (S, N * E) ndarray of float
        See `draws.shift_null`.
    seed : int
        For random regions.

    Returns
    -------
    DataFrame
        ``network, expression, iou, test, chance, p, p_corrected``, with the tests
        ``relabelling``, ``shifts`` and ``regions``; NaN for a cell without a heatmap.
    """
    marked = found.marked & found.present[..., None, None]
    nulls = {
        "relabelling": permutation.relabelling_null(permutation.cell_table(found.tables["iou"])),
        "shifts": shifts,
        "regions": draws.region_null(marked, found.masks, found.labels, seed=seed, draws=REGION_DRAWS),
    }
    cells = [(network, title(name)) for network in found.networks for name in EXPRESSIONS]
    tables = []
    for test, null in nulls.items():
        p, corrected = permutation.max_statistic(null[0], null)
        table = pd.DataFrame(cells, columns=["network", "expression"])
        tables.append(
            table.assign(iou=null[0], test=test, chance=mean_known(null, axis=0), p=p, p_corrected=corrected)
        )
    return pd.concat(tables, ignore_index=True)
