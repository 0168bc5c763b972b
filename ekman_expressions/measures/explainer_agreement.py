"""How far explainers agree: on the order of networks, and on heatmaps. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures.scores import AVERAGE


def rank_networks(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rank the networks by the mean IoU of each explainer's heatmaps.

    Parameters
    ----------
    scores : dict of str to DataFrame
        By explainer, the table of `ekman_expressions.study.scores.read_scores`.

    Returns
    -------
    DataFrame
        ``explainer, network, iou, rank``: rank 1 for the highest mean IoU over folds and
        expressions, ties share their mean rank; NaN where an explainer has no score.
    """
    tables = []
    for explainer, table in scores.items():
        means = table[(table["expression"] == AVERAGE) & (table["network"] != AVERAGE)]
        ranks = means["iou"].rank(ascending=False)
        tables.append(means[["network", "iou"]].assign(explainer=explainer, rank=ranks))
    return pd.concat(tables, ignore_index=True)[["explainer", "network", "iou", "rank"]]


def rank_correlations(ranking: pd.DataFrame) -> pd.DataFrame:
    """Correlate the orders of networks of each two explainers.

    Parameters
    ----------
    ranking : DataFrame
        As from `rank_networks`.

    Returns
    -------
    DataFrame
        ``first, second, networks, spearman``: Spearman's rank correlation over the networks
        that both have scores of; NaN for fewer than two, or when one ranks all alike.
    """
    wide = ranking.pivot(index="network", columns="explainer", values="iou")
    rows = []
    for first, second in combinations(dict.fromkeys(ranking["explainer"]), 2):
        both = wide[[first, second]].dropna()
        rows.append((first, second, len(both), _pearson(*both.rank().to_numpy().T)))
    return pd.DataFrame(rows, columns=["first", "second", "networks", "spearman"])


def heatmap_correlations(heatmaps: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Correlate the heatmaps of each two explainers, of one network and expression.

    Parameters
    ----------
    heatmaps : dict of str to (H, W) ndarray
        By explainer, means over the same faces.

    Returns
    -------
    DataFrame
        ``first, second, correlation``: Pearson's r over all pixels; NaN where a heatmap is constant.

    Raises
    ------
    DataError
        If the heatmaps differ in shape.
    """
    shapes = {name: np.shape(image) for name, image in heatmaps.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"Heatmaps must have one shape to be compared, but got {shapes}.")
    rows = [
        (first, second, _pearson(np.ravel(heatmaps[first]), np.ravel(heatmaps[second])))
        for first, second in combinations(heatmaps, 2)
    ]
    return pd.DataFrame(rows, columns=["first", "second", "correlation"])


def matrix(pairs: pd.DataFrame, value: str) -> pd.DataFrame:
    """Lay a table of pairs out as a symmetric matrix with ones on its diagonal; several rows are averaged."""
    names = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    means = pairs.groupby(["first", "second"])[value].mean()
    table = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
    for (first, second), mean in means.items():
        table.loc[first, second] = table.loc[second, first] = mean
    return table


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    first, second = (np.asarray(values, np.float64) for values in (first, second))
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
