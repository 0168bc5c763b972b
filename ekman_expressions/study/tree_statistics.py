"""What the step "dendrograms" says of its trees: support of branches, reliability, the split of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures import trees
from ekman_expressions.study import heatmaps as heatmaps_step
from ekman_expressions.study.experiment import Experiment

Leaf = tuple[str, str | None, str | None]
"""Expression, network and fold of a heatmap; None: over all."""

Tree = tuple[np.ndarray, Sequence[Leaf], np.ndarray]
"""Distances, leaves and linkage of a tree."""

SPLIT = ("pre-trained", "from scratch")
"""The two groups of networks whose split is tested; models of one's own are in neither."""


def tree_support(
    experiment: Experiment, level: str, leaves: Sequence[Leaf], tree: np.ndarray
) -> np.ndarray | None:
    """Return the support over folds of each branch of a tree.

    Parameters
    ----------
    experiment : Experiment
        Whose heatmaps of folds to read.
    level : {'by_net', 'by_cv', 'by_expression'}
        What the leaves are: a leaf that is of one fold cannot be made from other folds.
    leaves : sequence of N (expression, network, fold)
    tree : (N - 1, 4) ndarray

    Returns
    -------
    (N - 1,) ndarray of float or None
        See `statistics.trees.branch_support`; None for leaves of one fold.
    """
    if level == "by_cv":
        return None
    counts = heatmaps_step.read_counts(experiment).set_index(["network", "fold", "expression"])["images"]
    maps, weights = [], []
    for expression, network, _ in leaves:
        networks = experiment.networks if network is None else (network,)
        of_leaf = [_mean_of_fold(experiment, counts, expression, networks, fold) for fold in experiment.folds]
        maps.append([found for found, _ in of_leaf])
        weights.append([weight for _, weight in of_leaf])
    return trees.branch_support(
        np.array(maps), tree, weights=np.array(weights), seed=derive_seed(experiment.seed, "trees", level)
    )


def tree_statistics(
    found: Mapping[tuple[str, str], Tree], kinds: Mapping[str, str], *, seed: int
) -> pd.DataFrame:
    """Return the statistics of all trees: ``level, expression, statistic, value, chance, p, n``.

    Parameters
    ----------
    found : dict of (level, expression) to (distances, leaves, linkage)
    kinds : dict of network to group
        See `figures.network_kinds`.
    seed : int
        The experiment's.
    """
    rows = []

    def add(level: str, expression: str, statistic: str, value: float, n: int, **more: float) -> None:
        rows.append(
            {
                "level": level,
                "expression": expression,
                "statistic": statistic,
                "value": value,
                "chance": more.get("chance", np.nan),
                "p": more.get("p", np.nan),
                "n": n,
            }
        )

    for (level, expression), (matrix, leaves, tree) in found.items():
        correlation = trees.cophenetic_correlation(tree, matrix)
        add(level, expression, "cophenetic_correlation", correlation, len(matrix))
        names, folds = [leaf[1] for leaf in leaves], [leaf[2] for leaf in leaves]
        if level == "by_cv" and 1 < len(set(names)) < len(names):
            alike = trees.reliability(matrix, names, folds, seed=derive_seed(seed, "reliability", expression))
            pairs = int(alike["pairs"])
            add(level, expression, "reliability_auc", alike["auc"], pairs, chance=0.5, p=alike["p"])
            add(level, expression, "same_network", alike["same"], pairs)
            add(level, expression, "different_networks", alike["different"], pairs)
    for expression, split in _splits(found, kinds, seed).items():
        n, p = int(split["relabelings"]), split["p"]
        add("by_net", expression, "split_difference", split["difference"], n, chance=0.0, p=p)
    return pd.DataFrame(rows, columns=["level", "expression", "statistic", "value", "chance", "p", "n"])


def _splits(found: Mapping[tuple[str, str], Tree], kinds: Mapping[str, str], seed: int) -> dict[str, dict]:
    """Test the split of networks in each expression, and in those with all networks together."""
    matrices: dict[str, tuple[np.ndarray, list[bool]]] = {}
    for (level, expression), (matrix, leaves, _) in found.items():
        known = [place for place, leaf in enumerate(leaves) if kinds.get(leaf[1]) in SPLIT]
        first = [kinds[leaves[place][1]] == SPLIT[0] for place in known]
        # Two groups, one of them with a pair.
        if level == "by_net" and len(set(first)) == 2 and len(known) > 2:
            matrices[expression] = matrix[np.ix_(known, known)], first
    tests = {
        expression: trees.split_test([matrix], first, seed=derive_seed(seed, "split", expression))
        for expression, (matrix, first) in matrices.items()
    }
    most = max((len(first) for _, first in matrices.values()), default=0)
    whole = [(matrix, first) for matrix, first in matrices.values() if len(first) == most]
    if len(whole) > 1:
        together = [matrix for matrix, _ in whole]
        tests["all"] = trees.split_test(together, whole[0][1], seed=derive_seed(seed, "split", "all"))
    return tests


def _mean_of_fold(
    experiment: Experiment, counts: pd.Series, expression: str, networks: Sequence[str], fold: str
) -> tuple[np.ndarray, float]:
    """Return the mean heatmap of networks in one fold, weighted as the step 'heatmaps' does."""
    mean = heatmaps.RunningMean()
    for network in networks:
        try:
            found = heatmaps.read_float(experiment.heatmaps_folder, expression, network, fold)
        except MissingError:
            continue
        mean.add(found, float(counts[network, fold, expression]))
    return (mean.mean, mean.weight) if mean.weight else (np.zeros(SHAPE), 0.0)
