"""How alike heatmaps are: correlation distances between them, and the trees made of these."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import write_csv
from ekman_expressions.facespace import heatmaps
from ekman_expressions.measures import trees
from ekman_expressions.measures.trees import distances, linkage, pair_table
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.tree_statistics import tree_statistics, tree_support

COLUMNS = ("level", "expression", "first", "second", "distance")
"""The columns of ``distances.csv``: one row per pair of leaves of one tree."""

BRANCHES = ("level", "expression", "leaves", "height", "support")
"""The columns of ``branches.csv``: one row per branch of a tree; see `statistics.trees.branch_support`."""

STATISTICS = ("level", "expression", "statistic", "value", "chance", "p", "n")
"""The columns of ``statistics.csv``: how far the trees can be believed.

``cophenetic_correlation`` of each tree (`n` leaves); at the level ``by_cv`` the ``reliability_auc``
(`n` pairs of one network; with the mean distances ``same_network`` and ``different_networks``); at
the level ``by_net`` the ``split_difference`` between networks that were pre-trained and those from
scratch (`n` relabelings), also of all expressions together.
"""

_CAPTION = (
    "1 − Pearson's r between 8-bit heatmaps, average linkage: 0 is the same pattern, 1 unrelated. Numbers at "
    "branches: how often each appears in resamples of the folds."
)


def dendrograms(experiment: Experiment, run: Run) -> None:
    """Draw which heatmaps are alike.

    Per expression over networks (``Anger_by_net.png``) and over networks and folds
    (``Anger_by_CV.png``), and over expressions (``By_expression.png``); all distances
    are written to ``distances.csv`` with the `COLUMNS`. How far the trees can be believed is
    written to ``branches.csv`` (`BRANCHES`) and ``statistics.csv`` (`STATISTICS`), and the support
    of each branch over folds is drawn at it.
    """
    folder = experiment.dendrograms_folder
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    leaf_kinds = kinds | {f"{network}_{fold}": kinds[network] for network, fold in experiment.pairs}
    pairs, branches, matrices = [], [], {}
    for file, tree_title, level, expression, leaves in tqdm(
        list(_trees(experiment)), desc="Drawing dendrograms", unit="figure"
    ):
        maps = _read_leaves(experiment, file, leaves, run)
        if len(maps) < 2:
            run.omit(file, f"a tree needs at least 2 heatmaps, but there are {len(maps)}", folder / file)
            continue
        names = list(maps)
        matrix = distances(list(maps.values()), names)
        tree = linkage(matrix)
        support = tree_support(experiment, level, [leaves[name] for name in names], tree)
        figure = figures.dendrogram(
            tree,
            names,
            groups=None if level == "by_expression" else leaf_kinds,
            support=support,
            title=tree_title,
        )
        where = {"level": level, "expression": expression}
        leaf_pairs = pair_table(matrix, names).sort_values("distance", kind="stable")
        near, far = leaf_pairs.iloc[0], leaf_pairs.iloc[-1]
        alt = (
            f"Dendrogram of {len(maps)} heatmaps. Most alike: {near['first']} and {near['second']} "
            f"({near['distance']:.3f}); least: {far['first']} and {far['second']} ({far['distance']:.3f})."
        )
        figures.save(figure, folder / file, caption=_CAPTION, alt=alt)
        pairs.append(leaf_pairs.sort_index().assign(**where))
        if support is not None:
            branches.append(trees.branch_table(tree, names, support).assign(**where))
        matrices[level, expression] = (matrix, [leaves[name] for name in names], tree)
        run.made(folder / file)
    for name, tables, columns in (
        ("distances.csv", pairs, COLUMNS),
        ("branches.csv", branches, BRANCHES),
        ("statistics.csv", [tree_statistics(matrices, kinds, seed=experiment.seed)], STATISTICS),
    ):
        table = pd.concat(tables) if tables else pd.DataFrame(columns=columns)
        write_csv(folder / name, table[list(columns)])
        run.made(folder / name, items=0)


def _trees(experiment: Experiment) -> Iterator[tuple[str, str, str, str, dict]]:
    """Yield file name, title, level, expression, and per leaf its name and which heatmap it is."""
    by_net = {network: (network, None) for network in experiment.networks}
    by_fold = {f"{network}_{fold}": (network, fold) for network, fold in experiment.pairs}
    for expression in EXPRESSIONS:
        for level, leaves, what in (("by_net", by_net, "networks"), ("by_CV", by_fold, "networks and folds")):
            yield (
                f"{title(expression)}_{level}.png",
                f"{title(expression)}: likeness of heatmaps of {what}",
                level.lower(),
                expression,
                {name: (expression, *model) for name, model in leaves.items()},
            )
    totals = {title(expression): (expression, None, None) for expression in EXPRESSIONS}
    yield "By_expression.png", "Likeness of heatmaps of expressions", "by_expression", "all", totals


def _read_leaves(experiment: Experiment, tree: str, leaves: dict, run: Run) -> dict[str, np.ndarray]:
    """Read the heatmaps that can be leaves of a tree; the others are listed in `run`."""
    maps = {}
    for name, (expression, network, fold) in leaves.items():
        if not heatmaps.heatmap_path(experiment.heatmaps_folder, expression, network, fold).exists():
            run.omit(f"{name} in {tree}", "there is no such heatmap; the step 'heatmaps' says why")
            continue
        gray = heatmaps.read_gray(experiment.heatmaps_folder, expression, network, fold)
        if gray.min() == gray.max():
            run.omit(f"{name} in {tree}", "the heatmap is constant and correlates with nothing")
            continue
        maps[name] = gray
    return maps
