"""The step "statistics": chance, tests, intervals and scores without a threshold, as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import heatmaps
from ekman_expressions.errors import DataError, MissingError
from ekman_expressions.experiment import Experiment
from ekman_expressions.expressions import EXPRESSIONS, title
from ekman_expressions.masks import mask_path
from ekman_expressions.provenance import Run, record, require_finished, settings_of
from ekman_expressions.statistics import baselines, chance, draws, ranking, summary, testing
from ekman_expressions.statistics.heatmap_set import SCORES, HeatmapSet, read
from ekman_expressions.statistics.means import mean_known
from ekman_expressions.statistics.subjects import SubjectReplicates, over_subjects
from ekman_expressions.statistics.threshold_free import SCORES_WITHOUT_THRESHOLD, scores
from ekman_expressions.statistics.thresholds import THRESHOLDS, area_curve, iou_by_threshold
from ekman_expressions.storage import read_csv, require, write_csv

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

RESAMPLES = 400
"""How many resamples of subjects are scored. For each, all heatmaps are made anew."""

_STEP = "statistics"


def analyse(experiment: Experiment, *, resamples: int = RESAMPLES) -> Run:
    """Say what the scores of an experiment are worth (step "statistics").

    Parameters
    ----------
    experiment : Experiment
        Of any explainer; see `Experiment.explained_by`.
    resamples : int
        Resamples of subjects; 0 leaves the intervals over subjects out.

    Raises
    ------
    MissingError
        If the step "heatmaps" or "masks" has not come to its end.
    """
    folder = statistics_folder(experiment)
    inputs = {
        "heatmaps": require_finished(experiment.heatmaps_folder, "heatmaps"),
        "masks": require_finished(mask_path(experiment, EXPRESSIONS[0]).parent, "masks"),
    }
    settings = settings_of(experiment, "faces", "training", "models", "explanation")
    settings["statistics"] = {"resamples": resamples}
    with record(
        folder, _STEP, settings, inputs=inputs, upstream=[experiment.heatmaps_folder], redo=True
    ) as run:
        if run.finished_before and _covers(experiment):
            run.skipped = len(TABLES)
            return run
        run.begin()
        found = read(experiment, run.omit)
        if not found.present.any():
            run.note("There is no heatmap to score: the tables hold the baselines that need none.")
        subjects = _resample(experiment, found, run, resamples)
        tables = _tables(experiment, found, subjects)
        for name in TABLES:
            write_csv(folder / f"{name}.csv", tables[name])
            run.done += 1
    return run


def statistics_folder(experiment: Experiment) -> Path:
    """Return the folder of the tables, beside the scores of the same explainer."""
    return experiment.scores_folder.with_name("statistics")


def read_table(experiment: Experiment, name: str) -> pd.DataFrame:
    """Read one of `TABLES`."""
    path = require(statistics_folder(experiment) / f"{name}.csv", _STEP)
    return read_csv(path)


def _tables(
    experiment: Experiment, found: HeatmapSet, subjects: SubjectReplicates | None
) -> dict[str, pd.DataFrame]:
    seed, networks = experiment.seed, found.networks
    shifts = draws.shift_null(found.marked & found.present[..., None, None], found.masks)
    half = np.where(found.present, 0.5, np.nan)
    by_score = testing.score_tables(found)
    own = {score: np.diagonal(table, axis1=-2, axis2=-1) for score, table in by_score.items()}
    by_chance = dict.fromkeys(by_score, half - 0.5)
    by_chance |= dict(zip(SCORES, (chance.random_pixel_cells(found), half, half), strict=True))
    tests, null = testing.relabelling_tests(found, by_score)
    by_fold = _by_fold(experiment, found)
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


def _resample(
    experiment: Experiment, found: HeatmapSet, run: Run, resamples: int
) -> SubjectReplicates | None:
    if not resamples:
        return None
    try:
        return over_subjects(experiment, found.masks, found.hull, run, resamples=resamples)
    except MissingError as error:
        run.note(f"No intervals over subjects: {error}")
        return None


def _by_fold(experiment: Experiment, found: HeatmapSet) -> pd.DataFrame:
    """Score every fold heatmap without a threshold and at several, over the canvas and within the hull."""
    rows = []
    for n, f, e in tqdm(np.argwhere(found.present), desc="Scoring heatmaps", unit="heatmap"):
        network, fold, expression = found.networks[n], found.folds[f], EXPRESSIONS[e]
        gray, mask = found.maps[n, f, e], found.masks[e]
        try:
            # The mass of a heatmap is that before it was stretched.
            heatmap = heatmaps.read_float(experiment, expression, network, fold)
        except (MissingError, DataError):
            heatmap = gray
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


def _covers(experiment: Experiment) -> bool:
    """Whether the tables on disk are there and of exactly this experiment's networks."""
    folder = statistics_folder(experiment)
    if not all((folder / f"{name}.csv").exists() for name in TABLES):
        return False
    known = dict.fromkeys(read_table(experiment, "intervals")["network"])
    return tuple(known) == (*experiment.networks, summary.AVERAGE)
