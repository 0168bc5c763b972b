"""The steps "scores" and "barplots": the heatmaps of an experiment against the Ekman masks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_csv, require, write_csv
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.scores import METRICS, layout, score_heatmaps, summarise
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

_AXIS = "IoU of heatmap (Otsu) and Ekman mask"
_BASELINE = "all-white mask (no information)"
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

    folder = experiment.heatmaps_folder
    masks = {expression: read_mask(experiment.masks_folder, expression) for expression in EXPRESSIONS}
    models = tqdm(experiment.pairs, desc="Scoring", unit="model")
    by_fold = score_heatmaps(folder, models, masks, omit)
    pooled = score_heatmaps(folder, [(name, None) for name in experiment.networks], masks, omit)
    table = summarise(by_fold)
    tables = {"scores": table, "scores_pooled": summarise(pooled), "scores_by_fold": by_fold}
    for name, metrics in _LAYOUTS.items():
        wide = layout(table, metrics)
        tables[name] = wide.set_axis(wide.columns.map(" ".join), axis="columns").reset_index()
    for name, table in tables.items():
        path = experiment.scores_folder / f"{name}.csv"
        write_csv(path, table)
        run.made(path, items=0)
    run.done = int(by_fold["iou"].notna().sum() + pooled["iou"].notna().sum())


def barplots(experiment: Experiment, run: Run) -> None:
    """Draw the IoU of heatmaps and Ekman masks as sorted bars.

    Per expression by network (``Anger_by_net.png``: mean over folds, folds as points) and by
    fold (``Anger_by_CV.png``), and ``By_expression.png`` (mean over networks). Each shows what
    an all-white mask would score, which is the area of the mask.
    """
    for file, table, options in tqdm(list(_bars(experiment)), desc="Drawing barplots", unit="figure"):
        path = experiment.barplots_folder / file
        if table["iou"].notna().any():
            figure = figures.barplot(table, value="iou", axis_label=_AXIS, **options)
            means = table.groupby(options["label"], sort=False)["iou"].mean().sort_values(ascending=False)
            alt = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            caption = f"Bars: means. Points: {options.get('points', 'fold')}s."
            figures.save(figure, path, caption=caption, alt=f"Bars of IoU: {alt}.")
            run.made(path)
        else:
            run.omit(file, "there is no score to draw", path)


def _bars(experiment: Experiment) -> Iterator[tuple[str, pd.DataFrame, dict]]:
    """Yield of each barplot its file name, its table, and the options of `figures.barplot`."""
    table = read_scores_by_fold(experiment)
    table = table[table["network"].isin(experiment.networks) & table["fold"].isin(experiment.folds)]
    table = table.assign(model=table["network"] + "_" + table["fold"])
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    of_models = {f"{network}_{fold}": kinds[network] for network, fold in experiment.pairs}
    white = {title(name): read_mask(experiment.masks_folder, name).mean() for name in EXPRESSIONS}
    for name in EXPRESSIONS:
        rows = table[table["expression"] == name]
        name = title(name)
        for level, label, groups, what in (
            ("by_net", "network", kinds, "networks, mean over folds"),
            ("by_CV", "model", of_models, "networks and folds"),
        ):
            options = {"label": label, "groups": groups, "title": f"{name}: {what}"}
            yield f"{name}_{level}.png", rows, {**options, "references": {_BASELINE: white[name]}}
    # Folds first, then networks: the averages of the published table.
    means = table.groupby(["expression", "network"], sort=False)["iou"].mean().reset_index()
    means["expression"] = means["expression"].map(title)
    options = {"label": "expression", "points": "network", "title": "Expressions, mean over networks"}
    yield "By_expression.png", means, {**options, "references": {_BASELINE: white}}


def read_scores(experiment: Experiment, *, pooled: bool = False) -> pd.DataFrame:
    """Read the scores in the published layout: means over folds, or of pooled heatmaps."""
    name = "scores_pooled.csv" if pooled else "scores.csv"
    path = require(experiment.scores_folder / name, "scores")
    return read_csv(path, ("network", "expression", *METRICS))


def read_scores_by_fold(experiment: Experiment) -> pd.DataFrame:
    """Read the scores of every fold's heatmap; NaN where there was none to score."""
    path = require(experiment.scores_folder / "scores_by_fold.csv", "scores")
    return read_csv(path, ("network", "fold", "expression", *METRICS))
