"""Two studies of the same networks beside each other: do they rank, look and group alike? For `draw_resources`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures import _style as style
from ekman_expressions.figures import tables
from ekman_expressions.measures.trees import _as_distances
from ekman_expressions.measures.uncertainty import _mean_known

EXCHANGES = 20_000


class Correspondence(NamedTuple):
    """How alike two sets of heatmaps of the same networks are; see `correspondence`."""

    own: pd.DataFrame
    """Pearson's r between the two heatmaps of each network (row) and expression; NaN where one is missing."""
    distances: tuple[np.ndarray, np.ndarray]
    """1 - r between the networks within each set, (N, N), means over expressions, in the order of `own`."""
    statistics: dict[str, float]
    """``own``: mean r; ``others``: mean r of two networks; ``own_p``; ``trees``: r of the distances; ``trees_p``."""


def correspondence(
    first: Mapping[tuple[str, str], np.ndarray],
    second: Mapping[tuple[str, str], np.ndarray],
    *,
    seed: int = 0,
) -> Correspondence:
    """Compare the heatmaps of two studies: does a network look at the same places in both?

    All heatmaps of faces are somewhat alike, so that r between those of one network says little beside r
    between those of two networks. Its p values come from exchanging the networks' names in one study, the
    same way in all expressions: 20,000 random exchanges, and the names as they are.

    Parameters
    ----------
    first, second : dict of (network, expression) to (H, W) ndarray
        Networks that have a heatmap in both, at least three, are compared; constant ones count as missing.
    seed : int
        For the exchanges.

    References
    ----------
    Mantel (1967), Cancer Research 27, 209-220.
    """
    shared = [key for key in first if key in second]
    networks, expressions = (list(dict.fromkeys(key[axis] for key in shared)) for axis in (0, 1))
    if len(networks) < 3:
        raise DataError(f"Three networks or more must be in both sets, but got {', '.join(networks) or 'none'}.")
    size = np.size(first[shared[0]])
    units = np.full((2, len(expressions), len(networks), size), np.nan)
    for which, maps in enumerate((first, second)):
        for network, expression in shared:
            flat = np.ravel(maps[network, expression]).astype(float)
            if flat.size != size:
                raise DataError(f"All heatmaps must have {size} pixels, but one has {flat.size}.")
            if np.ptp(flat):
                flat -= flat.mean()
                place = expressions.index(expression), networks.index(network)
                units[(which, *place)] = flat / np.linalg.norm(flat)
    across = np.clip(units[0] @ units[1].swapaxes(1, 2), -1, 1)
    own = pd.DataFrame(across.diagonal(axis1=1, axis2=2).T, networks, expressions)
    mean = _mean_known(across, axis=0)
    apart = tuple(_as_distances(_mean_known(maps @ maps.swapaxes(1, 2), axis=0)) for maps in units)
    if not np.isfinite([mean, *apart]).all():
        raise DataError("Two networks have no expression in which both have a heatmap.")
    rows, columns = np.triu_indices(len(networks), k=1)
    random = np.random.default_rng(seed)
    orders = [
        np.arange(len(networks)),
        *(random.permutation(len(networks)) for _ in range(EXCHANGES)),
    ]
    fits = np.array([mean[orders[0], order].mean() for order in orders])
    trees = np.array([apart[1][order[rows], order[columns]] for order in orders])
    trees = (trees - trees[0].mean()) @ (apart[0][rows, columns] - apart[0][rows, columns].mean())
    spread = len(rows) * apart[0][rows, columns].std() * apart[1][rows, columns].std()
    statistics = {
        "own": fits[0],
        "others": (mean.sum() - np.trace(mean)) / (mean.size - len(mean)),
        "own_p": (fits >= fits[0] - 1e-12).mean(),
        "trees": trees[0] / spread if spread > 1e-12 else np.nan,
        "trees_p": (trees >= trees[0] - 1e-12).mean(),
    }
    return Correspondence(own, apart, {name: float(value) for name, value in statistics.items()})


@style._styled
def two_studies(
    scores: pd.DataFrame,
    correlations: pd.DataFrame,
    trees: Mapping[str, np.ndarray],
    *,
    groups: Mapping[str, str] | None = None,
    notes: Sequence[str] = ("", "", ""),
    title: str = "",
) -> Figure:
    """Draw two studies of the same networks beside each other: their order, their heatmaps and their trees.

    Parameters
    ----------
    scores : (N, 2) DataFrame
        The score of each network (index) in each study (columns): a line from rank to rank.
    correlations : (R, C) DataFrame, range [-1, 1]
        Pearson's r between the two studies' heatmaps, such as networks and all of them × expressions.
    trees : dict of study to (N - 1, 4) ndarray
        The linkages, leaves in the order of `scores`; see `correspondence`.
    groups : dict of network to group, optional
        Colours the networks and adds a legend.
    notes : sequence of 3 str
        Below the order, the heatmaps and the trees: what the correlations of the studies are.
    """
    labels = list(scores.index)
    style._require(labels, "networks")
    if scores.shape[1] != 2 or any(np.shape(tree) != (len(labels) - 1, 4) for tree in trees.values()):
        raise DataError(f"There must be two scores of each of {len(labels)} networks, and trees of all.")
    high = 0.17 * max(len(labels), len(correlations))
    figure = style._new_figure(style.PAGE, 2 * high + 2.2, title)
    upper, lower = figure.subfigures(2, 1, height_ratios=(high + 1.1, high + 0.9))
    left, right = upper.subplots(1, 2)
    _draw_order(left, scores, groups)
    left.set(title="Order by IoU", xlabel=notes[0])
    values = correlations.to_numpy(float)
    columns = [str(name) for name in correlations]
    shown = tables._annotated(right, values, list(correlations.index), columns, limits=(-1, 1), signed=True)
    right.set(title="Their heatmaps: Pearson's r", xlabel=notes[1])
    style._colour_bar(figure, shown, right)
    for axes, (name, linkage) in zip(lower.subplots(1, len(trees)), trees.items(), strict=True):
        tables._draw_tree(axes, np.asarray(linkage), labels, groups)
        axes.set(title=f"Tree: {name}", xlabel="1 − r")
    lower.supxlabel(notes[2])
    style._legend(figure, style._group_entries(groups, labels, marker="s", linestyle="none"))
    return figure


def _draw_order(axes, scores: pd.DataFrame, groups: Mapping[str, str] | None) -> None:
    """Draw a line from each network's rank by the first column to that by the second, named at both ends."""
    ranks = scores.rank(ascending=False, method="first")
    for name, (first, second) in ranks.iterrows():
        axes.plot([0, 1], [first, second], "o-", color=style._group_colour(groups, name), markersize=4)
    for side, column in enumerate(scores):
        for name, value in scores[column].items():
            text = f"{name}  {value:.3f}" if side == 0 else f"{value:.3f}  {name}"
            at = (side, ranks.loc[name, column])
            offset = {"xytext": (8 * (2 * side - 1), 0), "textcoords": "offset points"}
            axes.annotate(text, at, ha="left" if side else "right", va="center", **offset)
    axes.set(xlim=(-0.05, 1.05), ylim=(len(scores) + 0.6, 0.4), xticks=(0, 1), yticks=())
    axes.set_xticklabels(scores.columns)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
