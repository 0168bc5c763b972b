"""Barplots of the scores: per expression by network and by fold, and by expression."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.locks import locked
from ekman_expressions.study.provenance import Run, record, require_finished, settings_of
from ekman_expressions.study.scores import read_scores_by_fold

AXIS = "IoU of heatmap (Otsu) and Ekman mask"
"""What the axis of values is called."""

_BASELINE = "white everywhere (no information)"


@locked
def draw(experiment: Experiment) -> Run:
    """Draw the IoU of heatmaps and Ekman masks as sorted bars (step "barplots").

    Per expression by network (``Anger_by_net.png``: mean over folds, folds as points) and by
    fold (``Anger_by_CV.png``), and ``By_expression.png`` (mean over networks). Each shows what
    a heatmap that is white everywhere would score, which is the area of the mask.

    Raises
    ------
    MissingError
        If the step "scores" or "masks" has not come to its end.
    """
    folder = experiment.barplots_folder
    with record(
        folder,
        "barplots",
        settings_of(experiment, "faces", "training", "models", "explanation"),
        inputs={
            "scores": require_finished(experiment.scores_folder, "scores"),
            "masks": require_finished(experiment.masks_folder, "masks"),
        },
        upstream=[experiment.scores_folder],
        redo=True,
    ) as run:
        wanted = list(plots(experiment))
        drawable = [file for file, table, _ in wanted if table["iou"].notna().any()]
        if run.finished_before and all((folder / file).exists() for file in drawable):
            run.skipped = len(drawable)
            return run
        run.begin()
        for file, table, options in tqdm(wanted, desc="Drawing barplots", unit="figure"):
            if file in drawable:
                figures.save(figures.barplot(table, value="iou", axis_label=AXIS, **options), folder / file)
                run.done += 1
            else:
                (folder / file).unlink(missing_ok=True)
                run.omit(file, "there is no score to draw")
    return run


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
