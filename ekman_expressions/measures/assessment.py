"""All tables of statistics of a set of heatmaps, of an experiment or of a folder such as the released one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.measures import baselines, chance, draws, ranking, summary, testing
from ekman_expressions.measures.heatmap_set import SCORES, HeatmapSet
from ekman_expressions.measures.means import mean_known
from ekman_expressions.measures.subjects import SubjectReplicates
from ekman_expressions.measures.threshold_free import SCORES_WITHOUT_THRESHOLD, scores
from ekman_expressions.measures.thresholds import THRESHOLDS, area_curve, iou_by_threshold

Reader = Callable[[str, str, str], np.ndarray]
"""Gives the heatmap of an expression, network and fold before it was stretched to 8 bits."""

TABLES: tuple[str, ...] = (
    "baselines",
    "intervals",
    "tests",
    "relabellings",
    "cells",
    "ranking",
    "differences",
    "by_fold",
    "area_curves",
    "rank_correlations",
)
"""The tables that the step writes, ``results/<experiment>/statistics/<name>.csv``; see docs/statistics.md."""

SHARES: np.ndarray = np.round(np.arange(0.01, 1.005, 0.01), 2)
"""Shares of the canvas at which the IoU is drawn against the marked area."""


def assess(
    found: HeatmapSet,
    *,
    seed: int,
    subjects: SubjectReplicates | None = None,
    unstretched: Reader | None = None,
) -> dict[str, pd.DataFrame]:
    """Return every table of `TABLES`.

    Parameters
    ----------
    found : HeatmapSet
        Heatmaps and masks; see `heatmap_set.read`.
    seed : int
        The experiment's.
    subjects : SubjectReplicates, optional
        Without it there are no intervals over subjects.
    unstretched : callable, optional
        Gives the heatmaps whose mass and order are measured; without it the 8-bit ones are, of
        which the lowest value is 0.
    """
    networks = found.networks
    shifts = draws.shift_null(found.marked & found.present[..., None, None], found.masks)
    half = np.where(found.present, 0.5, np.nan)
    by_score = testing.score_tables(found)
    own = {score: np.diagonal(table, axis1=-2, axis2=-1) for score, table in by_score.items()}
    by_chance = dict.fromkeys(by_score, half - 0.5)
    by_chance |= dict(zip(SCORES, (chance.random_pixel_cells(found), half, half), strict=True))
    tests, null = testing.relabelling_tests(found, by_score)
    by_fold = _by_fold(found, unstretched)
    return {
        "baselines": chance.baseline_table(found, shifts, seed=seed),
        "intervals": summary.interval_table(own, by_chance, networks, subjects, seed=seed),
        "tests": tests,
        "relabellings": null,
        "cells": testing.cell_tests(found, shifts, seed=seed),
        "ranking": summary.ranking_table(found.own, networks, subjects, seed=seed),
        "differences": summary.difference_table(found.own, networks, subjects),
        "by_fold": by_fold,
        "area_curves": _area_curves(found),
        "rank_correlations": _rank_correlations(by_fold),
    }


def _by_fold(found: HeatmapSet, unstretched: Reader | None) -> pd.DataFrame:
    """Score every fold heatmap without a threshold and at several, over the canvas and within the hull."""
    rows = []
    for n, f, e in tqdm(np.argwhere(found.present), desc="Scoring heatmaps", unit="heatmap"):
        network, fold, expression = found.networks[n], found.folds[f], EXPRESSIONS[e]
        gray, mask = found.maps[n, f, e], found.masks[e]
        heatmap = gray if unstretched is None else unstretched(expression, network, fold)
        for area, within in (("canvas", None), ("hull", found.hull)):
            rows.append(
                {
                    "network": network,
                    "fold": fold,
                    "expression": title(expression),
                    "area": area,
                    **scores(heatmap, mask, within),
                    **iou_by_threshold(gray, mask, within),
                }
            )
    names = ["network", "fold", "expression", "area", *SCORES_WITHOUT_THRESHOLD, *THRESHOLDS]
    return pd.DataFrame(rows, columns=names)


def _area_curves(found: HeatmapSet) -> pd.DataFrame:
    """Return IoU against marked area: mean over folds per network and expression, and of baselines."""
    curves = np.full((*found.present.shape, SHARES.size), np.nan)
    for place in map(tuple, np.argwhere(found.present)):
        curves[place] = area_curve(found.maps[place], found.masks[place[2]], SHARES)
    cells = mean_known(curves, axis=1)
    centre = -baselines.centre_distance(found.masks.shape[1:])
    tables = []
    for e, expression in enumerate(EXPRESSIONS):
        mask = found.masks[e]
        random = [
            baselines.random_pixels(round(share * mask.size), int(mask.sum()), mask.size) for share in SHARES
        ]
        lines = {name: cells[n, e] for n, name in enumerate(found.networks)}
        lines |= {"centre_prior": area_curve(centre, mask, SHARES), "random_pixels": np.array(random)}
        for name, values in lines.items():
            kind = "network" if name in found.networks else "baseline"
            columns = {"kind": kind, "name": name, "expression": title(expression)}
            tables.append(pd.DataFrame({**columns, "share": SHARES, "iou": values}))
    return pd.concat(tables, ignore_index=True)


def _rank_correlations(by_fold: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of the networks between all ways to score: first, second, spearman."""
    names = [*SCORES_WITHOUT_THRESHOLD, *THRESHOLDS]
    cells = by_fold.groupby(["area", "network", "expression"], sort=False)[names].mean()
    means = cells.groupby(["area", "network"], sort=False).mean().unstack("area")
    means.columns = [f"{score}_{area}" for score, area in means.columns]
    matrix = ranking.rank_correlations(means.dropna(axis="columns", how="all"))
    table = matrix.rename_axis("first").rename_axis("second", axis="columns").stack(future_stack=True)
    return table.rename("spearman").reset_index().assign(networks=len(means))
