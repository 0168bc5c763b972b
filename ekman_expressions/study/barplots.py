"""Barplots of the scores: per expression by network and by fold, and by expression."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.scores import read_scores_by_fold

AXIS = "IoU of heatmap (Otsu) and Ekman mask"
"""What the axis of values is called."""

_BASELINE = "white everywhere (no information)"


def barplots(experiment: Experiment, run: Run) -> None:
    """Draw the IoU of heatmaps and Ekman masks as sorted bars.

    Per expression by network (``Anger_by_net.png``: mean over folds, folds as points) and by
    fold (``Anger_by_CV.png``), and ``By_expression.png`` (mean over networks). Each shows what
    a heatmap that is white everywhere would score, which is the area of the mask.
    """
    for file, table, options in tqdm(list(plots(experiment)), desc="Drawing barplots", unit="figure"):
        path = experiment.barplots_folder / file
        if table["iou"].notna().any():
            figure = figures.barplot(table, value="iou", axis_label=AXIS, **options)
            means = table.groupby(options["label"], sort=False)["iou"].mean().sort_values(ascending=False)
            alt = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            caption = f"Bars: means. Points: {options.get('points', 'fold')}s."
            figures.save(figure, path, caption=caption, alt=f"Bars of IoU: {alt}.")
            run.made(path)
        else:
            run.omit(file, "there is no score to draw", path)


def plots(experiment: Experiment) -> Iterator[tuple[str, pd.DataFrame, dict]]:
    """Yield of each barplot its file name, its table, and the options of `figures.barplot`."""
    scores = read_scores_by_fold(experiment)
    scores = scores[scores["network"].isin(experiment.networks) & scores["fold"].isin(experiment.folds)]
    scores = scores.assign(model=scores["network"] + "_" + scores["fold"])
    groups = figures.network_kinds(experiment.networks, experiment.training.weights)
    by_model = {f"{network}_{fold}": groups[network] for network, fold in experiment.pairs}
    white = {expression: read_mask(experiment.masks_folder, expression).mean() for expression in EXPRESSIONS}
    for expression in EXPRESSIONS:
        name = title(expression)
        table = scores[scores["expression"] == expression]
        options = {"references": {_BASELINE: white[expression]}}
        yield (
            f"{name}_by_net.png",
            table,
            {"label": "network", "groups": groups, "title": f"{name}: networks, mean over folds", **options},
        )
        yield (
            f"{name}_by_CV.png",
            table,
            {"label": "model", "groups": by_model, "title": f"{name}: networks and folds", **options},
        )
    # Folds first, then networks: the averages of the published table.
    means = scores.groupby(["expression", "network"], sort=False)["iou"].mean().reset_index()
    means["expression"] = means["expression"].map(title)
    yield (
        "By_expression.png",
        means,
        {
            "label": "expression",
            "points": "network",
            "title": "Expressions, mean over networks",
            "references": {_BASELINE: {title(name): share for name, share in white.items()}},
        },
    )
