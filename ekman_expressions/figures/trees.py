"""Dendrograms: leaves from top to bottom, so that sixty names do not overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ekman_expressions.errors import DataError
from ekman_expressions.figures.style import GROUP_COLOURS, PAGE, PALETTE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def dendrogram(
    linkage: np.ndarray,
    labels: Sequence[str],
    *,
    groups: Mapping[str, str] | None = None,
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
    title, axis_label : str

    Raises
    ------
    DataError
        If the number of labels is not that of the leaves.
    """
    from matplotlib.lines import Line2D
    from scipy.cluster import hierarchy

    linkage = np.asarray(linkage)
    if len(labels) != len(linkage) + 1:
        raise DataError(f"The tree has {len(linkage) + 1} leaves, but got {len(labels)} labels.")
    tree = hierarchy.dendrogram(linkage, no_plot=True)
    figure = new_figure(PAGE, 0.9 + 0.165 * len(labels) + (0.25 if groups else 0))
    axes = figure.add_subplot()
    for heights, places in zip(tree["dcoord"], tree["icoord"], strict=True):
        axes.plot(heights, places, color="#333333", solid_joinstyle="miter", solid_capstyle="projecting")
    # SciPy puts leaf number i at 10 i + 5.
    axes.set_yticks(10 * np.arange(len(labels)) + 5, [labels[leaf] for leaf in tree["leaves"]])
    axes.set_ylim(10 * len(labels), 0)
    axes.set_xlim(1.03 * max(linkage[:, 2].max(), 1e-9), 0)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(axis_label)
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    if groups:
        present = sorted({groups[label] for label in labels if label in groups})
        spare = [colour for colour in PALETTE if colour not in GROUP_COLOURS.values()]
        colours = {
            group: GROUP_COLOURS.get(group, spare[place % len(spare)]) for place, group in enumerate(present)
        }
        for text in axes.get_yticklabels():
            text.set_color(colours.get(groups.get(text.get_text()), "black"))
        entries = [
            Line2D([], [], marker="s", linestyle="none", color=colours[group], label=group)
            for group in present
        ]
        figure.legend(handles=entries, loc="outside lower center", ncols=4)
    if title:
        figure.suptitle(title)
    return figure
