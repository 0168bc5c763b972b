"""The steps "scores" and "barplots": the heatmaps of an experiment against the Ekman masks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import read_csv, require
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.scores import AVERAGE, METRICS, _score_heatmaps, layout, summarise
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

_BASELINE = "all-white mask (no information)"
_LAYOUTS = {
    "table_iou_f1": ("iou", "f1_score"),
    "table_precision_recall": ("precision", "recall"),
}


def _nothing_masked(experiment: Experiment) -> str:
    """Say why there is nothing to score; an empty text if there is."""
    return "" if experiment.mask_regions else "no class has a mask: heatmaps are shown, but not scored"


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

    if without := [name for name in experiment.expressions if name not in experiment.mask_regions]:
        run.note(f"classes without a mask, which are not scored: {', '.join(without)}")
    folder = experiment.heatmaps_folder
    masks = {
        expression: read_mask(experiment.masks_folder, expression) for expression in experiment.mask_regions
    }
    models = tqdm(experiment.pairs, desc="Scoring", unit="model")
    by_fold = _score_heatmaps(folder, models, masks, omit)
    pooled = _score_heatmaps(folder, [(name, None) for name in experiment.networks], masks, omit)
    table = summarise(by_fold)
    tables = {"scores": table, "scores_pooled": summarise(pooled), "scores_by_fold": by_fold}
    for name, metrics in _LAYOUTS.items():
        wide = layout(table, metrics)
        tables[name] = wide.set_axis(wide.columns.map(" ".join), axis="columns").reset_index()
    run.write(experiment.scores_folder, tables)
    run.done = int(by_fold["iou"].notna().sum() + pooled["iou"].notna().sum())


def barplots(experiment: Experiment, run: Run) -> None:
    """Draw the scores of heatmaps against Ekman masks as sorted bars.

    ``IoU_by_net.png``, ``Precision_by_net.png`` and ``Recall_by_net.png`` have a panel for each expression
    and one for their average: bars of the networks, means over folds, with the folds as points. F1, which
    is 2 IoU / (1 + IoU) of each heatmap, would show the same. In the average, an expression that a fold lacks
    counts as in the other folds. ``By_expression.png`` has the mean IoU over
    networks. All show what an all-white mask would score.
    """
    for file, table, value, options in tqdm(list(_bars(experiment)), desc="Drawing barplots", unit="figure"):
        path = experiment.barplots_folder / file
        if table[value].notna().any():
            figure = figures.barplot(table, value=value, **options)
            caption = f"Bars: means. Points: {options.get('points', 'fold')}s."
            figures.save(figure, path, caption=caption)
            run.made(path)
        else:
            run.omit(file, "there is no score to draw", path)


def _bars(experiment: Experiment) -> Iterator[tuple[str, pd.DataFrame, str, dict]]:
    """Yield of each barplot its file name, its table, and the value and options of `figures.barplot`."""
    table = read_scores_by_fold(experiment)
    table = table[table["network"].isin(experiment.networks) & table["fold"].isin(experiment.folds)]
    table = table.assign(expression=table["expression"].map(title))
    area = {title(name): read_mask(experiment.masks_folder, name).mean() for name in experiment.mask_regions}
    area[AVERAGE] = sum(area.values()) / len(area)
    mask = "mask" if experiment.masks else "Ekman mask"
    white = {"iou": area, "precision": area, "recall": 1.0}
    # An expression that a fold lacks counts as in the other folds, so that bars are the averages of the tables.
    known = table.fillna(table.groupby(["network", "expression"])[list(white)].transform("mean"))
    average = known.groupby(["network", "fold"], sort=False)[list(white)].mean().reset_index()
    both = pd.concat([average.assign(expression=AVERAGE), table])
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    for value, reference in white.items():
        name = "IoU" if value == "iou" else value.capitalize()
        options = {
            "label": "network",
            "panels": "expression",
            "groups": kinds,
            "references": {_BASELINE: reference},
            "title": f"{name} of networks, mean over {len(experiment.folds)} folds",
            "axis_label": f"{name} of heatmap (Otsu) and {mask}",
        }
        yield f"{name}_by_net.png", both, value, options
    # Folds first, then networks: the averages of the published table.
    means = table.groupby(["expression", "network"], sort=False)["iou"].mean().reset_index()
    options = {"label": "expression", "points": "network", "title": "IoU of expressions, mean over networks"}
    options |= {"references": {_BASELINE: area}, "axis_label": f"IoU of heatmap (Otsu) and {mask}"}
    yield "By_expression.png", means, "iou", options


def read_scores(experiment: Experiment, *, pooled: bool = False) -> pd.DataFrame:
    """Read the scores in the published layout: means over folds, or of pooled heatmaps."""
    name = "scores_pooled.csv" if pooled else "scores.csv"
    path = require(experiment.scores_folder / name, "scores")
    return read_csv(path, ("network", "expression", *METRICS))


def read_scores_by_fold(experiment: Experiment) -> pd.DataFrame:
    """Read the scores of every fold's heatmap; NaN where there was none to score."""
    path = require(experiment.scores_folder / "scores_by_fold.csv", "scores")
    return read_csv(path, ("network", "fold", "expression", *METRICS))
