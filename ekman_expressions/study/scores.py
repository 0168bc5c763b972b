"""The step "scores": the heatmaps of an experiment against the Ekman masks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, require, write_csv
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.scores import METRICS, layout, score_heatmaps, summarise
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.locks import locked
from ekman_expressions.study.provenance import Run, record, require_finished, settings_of

_STEP = "scores"
_LAYOUTS = {
    "table_iou_f1.csv": ("iou", "f1_score"),
    "table_precision_recall.csv": ("precision", "recall"),
}


@locked
def score(experiment: Experiment) -> Run:
    """Score an experiment's heatmaps against its masks and write the tables (step "scores").

    ``scores_by_fold.csv`` has every fold's heatmap; ``scores.csv`` their means, which is the
    reading of the published tables, and ``scores_pooled.csv`` the scores of the networks'
    heatmaps, which pool the folds first: the other reading. ``table_*.csv`` lay out
    ``scores.csv`` as networks × expressions.

    Raises
    ------
    MissingError
        If the step "heatmaps" or "masks" has not come to its end.
    """
    inputs = {
        "heatmaps": require_finished(experiment.heatmaps_folder, "heatmaps"),
        "masks": require_finished(experiment.masks_folder, "masks"),
    }
    settings = settings_of(experiment, "faces", "training", "models", "explanation")
    folder = experiment.scores_folder
    with record(
        folder, _STEP, settings, inputs=inputs, upstream=[experiment.heatmaps_folder], redo=True
    ) as run:
        if run.finished_before and _covers(experiment):
            run.skipped = len(read_scores_by_fold(experiment))
            return run
        run.begin()

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
        write_csv(folder / "scores.csv", table)
        write_csv(folder / "scores_pooled.csv", summarise(pooled))
        for name, metrics in _LAYOUTS.items():
            write_csv(folder / name, _flat(layout(table, metrics)))
        # Last, since its being there says that all are.
        write_csv(_by_fold_path(experiment), by_fold)
        run.done = int(by_fold["iou"].notna().sum() + pooled["iou"].notna().sum())
    return run


def read_scores(experiment: Experiment, *, pooled: bool = False) -> pd.DataFrame:
    """Read the scores in the published layout: means over folds, or of pooled heatmaps."""
    name = "scores_pooled.csv" if pooled else "scores.csv"
    path = require(experiment.scores_folder / name, _STEP)
    return read_csv(path, ("network", "expression", *METRICS))


def read_scores_by_fold(experiment: Experiment) -> pd.DataFrame:
    """Read the scores of every fold's heatmap; NaN where there was none to score."""
    return read_csv(require(_by_fold_path(experiment), _STEP), ("network", "fold", "expression", *METRICS))


def _by_fold_path(experiment: Experiment) -> Path:
    return experiment.scores_folder / "scores_by_fold.csv"


def _covers(experiment: Experiment) -> bool:
    """Whether the tables on disk are those of exactly this experiment's models, in their order."""
    names = ("scores.csv", "scores_pooled.csv", "scores_by_fold.csv", *_LAYOUTS)
    if not all((experiment.scores_folder / name).exists() for name in names):
        return False
    table = read_scores_by_fold(experiment)
    found = dict.fromkeys(zip(table["network"], table["fold"], strict=True))
    # None at all where there was no heatmap to score.
    return not found or tuple(found) == experiment.pairs


def _flat(wide: pd.DataFrame) -> pd.DataFrame:
    flat = wide.set_axis([f"{name} {metric}" for name, metric in wide.columns], axis="columns")
    return flat.reset_index()
