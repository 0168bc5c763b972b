"""Dendrograms, with their leaves from top to bottom, so that sixty names do not overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures import _style as style


@style.styled
def dendrogram(
    linkage: np.ndarray,
    labels: Sequence[str],
    *,
    groups: Mapping[str, str] | None = None,
    support: Sequence[float] | None = None,
    title: str = "",
    axis_label: str = "1 − Pearson's r (average linkage)",
) -> Figure:
    """Draw a tree of N leaves.

    Parameters
    ----------
    linkage : (N - 1, 4) ndarray
        As `scipy.cluster.hierarchy.linkage` returns it.
    labels : sequence of N str
        Names of the leaves, in the order of the distances.
    groups : dict of label to group, optional
        Colours the names, and adds a legend.
    support : sequence of N - 1 float, range [0, 1], optional
        How often each branch appears in resamples of the folds, written at it in per cent; the
        root, which always does, has none. See `measures.trees.branch_support`.
    title, axis_label : str
    """
    from scipy.cluster import hierarchy

    linkage = np.asarray(linkage)
    if len(labels) != len(linkage) + 1:
        raise DataError(f"The tree has {len(linkage) + 1} leaves, but got {len(labels)} labels.")
    if support is not None and len(support) != len(linkage):
        raise DataError(f"The tree has {len(linkage)} branches, but got support of {len(support)}.")
    tree = hierarchy.dendrogram(linkage, no_plot=True)
    # Sixty leaves still fit on a page, and letters of 7 printed points into their rows.
    row = np.clip((style.PAGE_HEIGHT - 1.2) / len(labels), 0.125, 0.165) if support is None else 0.21
    figure = style.new_figure(style.PAGE, 0.9 + row * len(labels) + (0.25 if groups else 0), title)
    axes = figure.add_subplot()
    nodes = _nodes(linkage, tree["leaves"])
    for first, second, height, _ in linkage:
        (x0, y0), (x1, y1) = nodes[int(first)], nodes[int(second)]
        axes.plot([x0, height, height, x1], [y0, y0, y1, y1], color="#333333", solid_capstyle="projecting")
    axes.set_yticks(10 * np.arange(len(labels)) + 5, [labels[leaf] for leaf in tree["leaves"]])
    axes.set_ylim(10 * len(labels), 0)
    axes.set_xlim(1.03 * max(linkage[:, 2].max(), 1e-9), 0)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    if groups:
        for text in axes.get_yticklabels():
            text.set_color(style.group_colour(groups, text.get_text()))
        style.legend(figure, style.group_entries(groups, labels, marker="s", linestyle="none"))
    if support is not None:
        _write_support(axes, nodes[len(labels) : -1], support[:-1], row)
        axis_label += "; at the branches: support over folds (%)"
    axes.set_xlabel(axis_label)
    return figure


def _nodes(linkage: np.ndarray, leaves: Sequence[int]) -> list[tuple[float, float]]:
    """Return where the leaves and branches lie: height, and place from the top, 10 a leaf."""
    places = np.empty(len(leaves))
    places[list(leaves)] = 10 * np.arange(len(leaves)) + 5
    nodes = [(0.0, float(place)) for place in places]
    for first, second, height, _ in linkage:
        nodes.append((float(height), (nodes[int(first)][1] + nodes[int(second)][1]) / 2))
    return nodes


def _write_support(
    axes: Axes, nodes: Sequence[tuple[float, float]], support: Sequence[float], row: float
) -> None:
    """Write the support of branches at them, on the side where nothing is written yet."""
    # Printed inches; the axes' width is about the page's without the names of leaves.
    wide, high, scale = 0.24, 0.13, (style.PAGE - 1.4) / axes.get_xlim()[0]
    taken: list[tuple[float, float]] = []
    for (height, place), value in zip(nodes, support, strict=True):
        if not np.isfinite(value):
            continue
        x, y = height * scale, place / 10 * row
        candidates = [(x - wide / 2 - 0.03, y), (x + wide / 2 + 0.03, y)]
        free = [
            (a, b)
            for a, b in candidates
            if a > wide / 2 and all(abs(a - c) >= wide or abs(b - d) >= high for c, d in taken)
        ]
        at = (free or candidates[1:])[0]
        taken.append(at)
        axes.text(
            at[0] / scale,
            place,
            f"{100 * value:.0f}",
            weight="bold",
            ha="center",
            va="center",
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"},
            zorder=4,
        )
