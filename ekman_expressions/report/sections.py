"""The figures of each section; a section is there when its files are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions import figures
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_csv
from ekman_expressions.facespace import heatmaps
from ekman_expressions.measures import trees
from ekman_expressions.report.atlas import explainer_title
from ekman_expressions.report.plots import Plot
from ekman_expressions.report.source import Source
from ekman_expressions.study import barplots, evaluation, training_table
from ekman_expressions.study.dendrograms import BRANCHES

SCORES = (
    "How far what a heatmap marks above Otsu's threshold overlaps with the Ekman mask. The black line is "
    "what a map that is white everywhere would score: a heatmap below it is not shown to look at the mask."
)
DENDROGRAMS = (
    "Which heatmaps show the same pattern? Leaves are coloured by how the network started. If the folds of "
    "one network are no closer to each other than to other networks, differences between networks are chance."
)
CLASSIFICATION = (
    "How good the networks are on the faces of the fold that they were not trained on. What is explained are "
    "the faces that a network itself predicts as an expression, right or wrong."
)
TRAINING = "How the networks learnt."


def walls(source: Source) -> Iterator[Plot]:
    """Yield the wall of networks × expressions for print, of the explainer that is shown first."""
    outlines = {title(name): mask for name, mask in source.masks.items()}
    images, rows = {}, []
    for network in (*source.networks, None):
        for expression in EXPRESSIONS:
            image = source.read_usable(expression, network)
            images[network or "all networks", title(expression)] = image
            if image is not None:
                level, marked = heatmaps.threshold_otsu(image)
                rows.append((network or "all", expression, level, marked.mean()))
    if rows:
        yield Plot(
            name="wall",
            title=f"{explainer_title(source.explainer)}: networks × expressions",
            caption="Pooled over folds; each is stretched to its own minimum and maximum. "
            "White: the Ekman mask.",
            alt=f"Grid of {len(rows)} heatmaps in face space, a row for each network and a column for each "
            "expression; the live wall on this page names each.",
            draw=partial(figures.heatmap_wall, images, outlines=outlines),
            table=pd.DataFrame(rows, columns=["network", "expression", "otsu_level", "share_above"]),
            vector=(".pdf",),
        )


def scores(source: Source) -> Iterator[Plot]:
    """Yield the bars of IoU, the averages first; those of single folds are as files only."""
    experiment = source.experiment
    if experiment is None or not (experiment.scores_folder / "scores_by_fold.csv").exists():
        return
    drawn = [entry for entry in barplots.plots(experiment) if not entry[0].endswith("_by_CV.png")]
    for file, table, options in (*drawn[-1:], *drawn[:-1]):
        means = table.groupby(options["label"], sort=False)["iou"].mean().sort_values(ascending=False)
        told = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
        yield Plot(
            name=f"bars_{Path(file).stem}",
            title=options["title"],
            caption=f"Bars: means. Points: {options.get('points', 'fold')}s.",
            alt=f"Bars of IoU: {told}.",
            draw=partial(figures.barplot, table, value="iou", axis_label=barplots.AXIS, **options),
            table=table[[name for name in ("network", "fold", "expression", "iou") if name in table]],
        )


def dendrograms(source: Source) -> Iterator[Plot]:
    """Yield the trees of networks, of networks and folds, and of expressions."""
    kinds = dict(source.kinds)
    kinds |= {f"{net}_{fold}": source.kinds[net] for net in source.networks for fold in source.folds}
    totals = {title(name): (name, None, None) for name in EXPRESSIONS}
    yield from _tree(source, "By_expression", "Expressions, all networks together", totals, None)
    for name in EXPRESSIONS:
        by_net = {network: (name, network, None) for network in source.networks}
        yield from _tree(source, f"{title(name)}_by_net", f"{title(name)}: networks", by_net, kinds)
    for name in EXPRESSIONS:
        by_fold = {
            f"{network}_{fold}": (name, network, fold) for network in source.networks for fold in source.folds
        }
        yield from _tree(source, f"{title(name)}_by_CV", f"{title(name)}: networks and folds", by_fold, kinds)


def learning(source: Source) -> Iterator[Plot]:
    """Yield accuracy and loss by epoch, where networks were trained here."""
    experiment = source.experiment
    if experiment is None or not (experiment.models_folder / "run.json").exists():
        return
    table = training_table.learning_curves(experiment)
    if table.empty:
        return
    for measure in ("accuracy", "loss"):
        last = table.groupby(["network", "fold"], sort=False)[measure].last()
        means = last.groupby("network", sort=False).mean()
        told = ", ".join(f"{network} {value:.3g}" for network, value in means.items())
        yield Plot(
            name=f"learning_{measure}",
            title=f"{measure.capitalize()} by epoch",
            caption="A line per fold. Training figures are means during the epoch, dropout included.",
            alt=f"Curves of {measure} by epoch, a panel per network. After the last epoch, mean over folds: "
            f"{told}.",
            draw=partial(figures.learning_curves, table, measure=measure),
            table=table,
        )


def classification(source: Source) -> Iterator[Plot]:
    """Yield accuracies and confusion matrices, where models were evaluated."""
    experiment = source.experiment
    if experiment is None or not (experiment.evaluation_folder / "run.json").exists():
        return
    scores = evaluation.read_accuracy_by_fold(experiment)
    means = scores.groupby("network", sort=False)["accuracy"].mean().sort_values(ascending=False)
    told = ", ".join(f"{network} {value:.1%}" for network, value in means.items())
    yield Plot(
        name="accuracy",
        title="Accuracy on the test folds",
        caption="Bars: mean over folds. Points: folds.",
        alt=f"Bars of the accuracy of each network: {told}.",
        draw=partial(
            figures.barplot,
            scores,
            label="network",
            value="accuracy",
            groups=source.kinds,
            references={"chance (0.167)": 1 / 6},
        ),
        table=scores,
    )
    matrices = {
        network: counts
        for network, counts in evaluation.read_confusion(experiment).items()
        if network in source.networks
    }
    names = pd.MultiIndex.from_product([matrices, EXPRESSIONS, EXPRESSIONS])
    table = pd.DataFrame({"images": np.concatenate([counts.ravel() for counts in matrices.values()])}, names)
    yield Plot(
        name="confusion",
        title="What is taken for what",
        caption="Rows: the expression shown; columns: the predicted one; in percent of the row, all folds "
        "together.",
        alt="Confusion matrices of percentages. " + " ".join(map(_confused, matrices, matrices.values())),
        draw=partial(figures.confusion_matrices, matrices),
        table=table.rename_axis(["network", "expression", "predicted"]).reset_index(),
    )


def _confused(network: str, counts: np.ndarray) -> str:
    """Say how much of a matrix is right, and which confusion is the most frequent."""
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    shown, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    right = np.trace(counts) / max(counts.sum(), 1)
    text = f"{network}: {right:.0%} right"
    if wrong.any():
        text += f", most often wrong {EXPRESSIONS[shown]} taken for {EXPRESSIONS[predicted]} ({wrong.max()})"
    return text + "."


def _tree(source: Source, name: str, what: str, leaves: dict, kinds: dict | None) -> Iterator[Plot]:
    read = {leaf: source.read_usable(*cell) for leaf, cell in leaves.items()}
    maps = {leaf: image for leaf, image in read.items() if image is not None and image.min() < image.max()}
    if len(maps) < 2:
        return
    support = _support(source, name, len(maps) - 1)
    matrix = trees.distances(list(maps.values()), list(maps))
    table = trees.pair_table(matrix, list(maps)).sort_values("distance", kind="stable", ignore_index=True)
    near, far = table.iloc[0], table.iloc[-1]
    yield Plot(
        name=f"dendrogram_{name}",
        title=what,
        caption="1 − Pearson's r between 8-bit heatmaps, average linkage: 0 is the same pattern, 1 unrelated."
        + (" At the branches: how often each comes back when folds are drawn anew." if support else ""),
        alt=f"Dendrogram of {len(maps)} heatmaps. Most alike: {near['first']} and {near['second']} "
        f"({near['distance']:.3f}); least: {far['first']} and {far['second']} ({far['distance']:.3f}).",
        draw=partial(
            figures.dendrogram,
            trees.linkage(matrix),
            list(maps),
            groups=kinds,
            support=support,
            title=what,
        ),
        table=table,
    )


def _support(source: Source, name: str, count: int) -> list[float] | None:
    """Return the support of a tree's branches, if the step "dendrograms" has found it."""
    expression, level = ("all", "by_expression") if name == "By_expression" else name.lower().split("_", 1)
    if source.experiment is None:
        return None
    path = source.experiment.dendrograms_folder / "branches.csv"
    if not path.exists():
        return None
    rows = read_csv(path, BRANCHES)
    rows = rows[(rows["level"] == level) & (rows["expression"] == expression)]
    return rows["support"].tolist() if len(rows) == count else None
