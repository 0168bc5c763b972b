"""The step "scores": the heatmaps of an experiment against the Ekman masks."""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, require, write_csv
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.scores import METRICS, layout, score_heatmaps, summarise
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

_STEP = "scores"
_LAYOUTS = {
    "table_iou_f1": ("iou", "f1_score"),
    "table_precision_recall": ("precision", "recall"),
}


def scores(experiment: Experiment, run: Run) -> None:
    """Score an experiment's heatmaps against its masks and write the tables.

    ``scores_by_fold.csv`` has every fold's heatmap; ``scores.csv`` their means, which is the
    reading of the published tables, and ``scores_pooled.csv`` the scores of the networks'
    heatmaps, which pool the folds first: the other reading. ``table_*.csv`` lay out
    ``scores.csv`` as networks × expressions.
    """

    def omit(item: str, error: Exception) -> None:
        missing = isinstance(error, MissingError)
        run.omit(item, "there is no such heatmap; the step 'heatmaps' says why" if missing else error)

    masks = {expression: read_mask(experiment.masks_folder, expression) for expression in EXPRESSIONS}
    models = tqdm(experiment.pairs, desc="Scoring", unit="model")
    by_fold = score_heatmaps(experiment.heatmaps_folder, models, masks, omit)
    pooled = score_heatmaps(
        experiment.heatmaps_folder, [(name, None) for name in experiment.networks], masks, omit
    )
    table = summarise(by_fold)
    tables = {
        "scores": table,
        "scores_pooled": summarise(pooled),
        "scores_by_fold": by_fold,
        **{name: _flat(layout(table, metrics)) for name, metrics in _LAYOUTS.items()},
    }
    for name, table in tables.items():
        path = experiment.scores_folder / f"{name}.csv"
        write_csv(path, table)
        run.made(path, items=0)
    run.done = int(by_fold["iou"].notna().sum() + pooled["iou"].notna().sum())


def read_scores(experiment: Experiment, *, pooled: bool = False) -> pd.DataFrame:
    """Read the scores in the published layout: means over folds, or of pooled heatmaps."""
    name = "scores_pooled.csv" if pooled else "scores.csv"
    path = require(experiment.scores_folder / name, _STEP)
    return read_csv(path, ("network", "expression", *METRICS))


def read_scores_by_fold(experiment: Experiment) -> pd.DataFrame:
    """Read the scores of every fold's heatmap; NaN where there was none to score."""
    return read_csv(
        require(experiment.scores_folder / "scores_by_fold.csv", _STEP),
        ("network", "fold", "expression", *METRICS),
    )


def _flat(wide: pd.DataFrame) -> pd.DataFrame:
    flat = wide.set_axis([f"{name} {metric}" for name, metric in wide.columns], axis="columns")
    return flat.reset_index()
