"""Sorted bars: scores and accuracies, with the folds behind each mean as points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import COLUMN, GROUP_COLOURS, PAGE, PALETTE, new_figure, styled

_DASHES = ((0, (4, 2)), (0, (1, 1.5)), "-.", "-")
_POINT = {
    "markersize": 2.4,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.5,
    "linestyle": "none",
}


@styled
def barplot(
    table: pd.DataFrame,
    *,
    label: str,
    value: str,
    title: str = "",
    axis_label: str | None = None,
    points: str = "fold",
    groups: Mapping[str, str] | None = None,
    references: Mapping[str, float | Mapping[str, float]] | None = None,
    ascending: bool = False,
    wide: bool = True,
) -> Figure:
    """Draw one horizontal bar per label, sorted by its mean; labels never overlap.

    Parameters
    ----------
    table : DataFrame
        Columns `label` and `value`; several rows of one label (its folds) are averaged and
        also drawn as points. Missing values (NaN) are left out of the mean, and said to be.
    label, value : str
        The columns.
    title, axis_label : str
        Above the figure, and below the axis (the column's name by default).
    points : str
        What a point is called in the legend.
    groups : dict of label to group, optional
        Colours the bars and adds a legend.
    references : dict of name to value, optional
        Lines across all bars, named in the legend, such as a chance baseline; where the value
        is a dict of label to value, every bar has its own.
    ascending : bool
        Whether the smallest comes first.
    wide : bool
        Two printed columns wide, not one.

    Returns
    -------
    matplotlib.figure.Figure
        A label without any value has no bar, but the words "no data", and comes last.

    Raises
    ------
    DataError
        If the table has no row.
    """
    if table.empty:
        raise DataError(f"A barplot of '{value}' needs at least one row, but got none.")
    by_label = table.groupby(label, sort=False, observed=True)[value]
    # Stable: equal bars keep the order of the table.
    means = by_label.mean().sort_values(ascending=ascending, kind="stable", na_position="last")
    has_points = by_label.size().max() > 1
    height = 0.7 + 0.17 * len(means) + (0.2 if title else 0) + (0.25 if groups or references else 0)
    figure = new_figure(PAGE if wide else COLUMN, height)
    axes = figure.add_subplot()
    places = np.arange(len(means))
    colours = [_colour(groups, name) for name in means.index]
    bars = axes.barh(places, means.fillna(0), height=0.72, color=colours, alpha=0.85)
    for bar, (name, mean) in zip(bars, means.items(), strict=True):
        values = by_label.get_group(name)
        _annotate(axes, bar, mean, values)
    for place, reference in enumerate((references or {}).values()):
        if isinstance(reference, Mapping):
            own = [reference.get(name, np.nan) for name in means.index]
            axes.vlines(own, places - 0.48, places + 0.48, color="black", linewidth=1.8)
        else:
            axes.axvline(reference, color="black", linestyle=_DASHES[place % len(_DASHES)], linewidth=0.9)
    axes.set_yticks(places, means.index)
    axes.set_ylim(len(means) - 0.4, -0.6)
    low, high = axes.dataLim.intervalx
    axes.set_xlim(min(0, 1.05 * low), 1.05 * high if high > 0 else 1)
    axes.set_xlabel(axis_label or value)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    if has_points:
        axes.annotate(
            "mean", (1, 1), (4, 1), xycoords="axes fraction", textcoords="offset points", fontsize=7
        )
    _legend(figure, groups, means.index, references, points if has_points else None)
    if title:
        figure.suptitle(title)
    return figure


def accuracy_bars(
    table: pd.DataFrame,
    *,
    value: str = "accuracy",
    groups: Mapping[str, str] | None = None,
    chance: float | None = 1 / 6,
    title: str = "Accuracy on the test folds",
) -> Figure:
    """Draw the accuracy of networks, their folds as points, and the line of guessing.

    Parameters
    ----------
    table : DataFrame
        Columns network, fold and `value`.
    value : str
        The column, between 0 and 1.
    groups : dict of network to group, optional
        Colours the bars.
    chance : float or None
        What guessing would reach: 1/6 for six classes of equal size.
    title : str
    """
    references = None if chance is None else {f"chance ({chance:.3f})": chance}
    return barplot(
        table,
        label="network",
        value=value,
        title=title,
        axis_label=f"{value.replace('_', ' ')} (mean over folds)",
        groups=groups,
        references=references,
    )


def _annotate(axes: Axes, bar: Rectangle, mean: float, values: pd.Series) -> None:
    """Draw the values behind a bar's mean as points, and write the mean at the right."""
    middle = bar.get_y() + bar.get_height() / 2
    known = values.dropna()
    if len(values) > 1:
        axes.plot(known, np.full(len(known), middle), "o", zorder=3, **_POINT)
    text = "no data" if known.empty else f"{mean:.3f}"
    if 0 < len(known) < len(values):
        text += f" ({len(known)} of {len(values)})"
    # In a column of their own: at the bars' ends they would lie on points and lines.
    axes.annotate(
        text,
        (1, middle),
        (4, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=7,
        style="italic" if known.empty else "normal",
    )


def _legend(
    figure: Figure,
    groups: Mapping[str, str] | None,
    labels: Iterable[str],
    references: Mapping[str, float | Mapping[str, float]] | None,
    points: str | None,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    present = sorted({groups[name] for name in labels if name in groups}) if groups else []
    entries = [Patch(color=_group_colour(group, groups), alpha=0.85, label=group) for group in present]
    if points:
        entries.append(Line2D([], [], marker="o", label=f"one {points}", **_POINT))
    for place, (name, reference) in enumerate((references or {}).items()):
        if isinstance(reference, Mapping):
            look = {"linestyle": "none", "marker": "|", "markersize": 8, "markeredgewidth": 1.8}
        else:
            look = {"linestyle": _DASHES[place % len(_DASHES)], "linewidth": 0.9}
        entries.append(Line2D([], [], color="black", label=name, **look))
    if entries:
        columns = 4 if figure.get_figwidth() > COLUMN else 2
        figure.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), columns))


def _colour(groups: Mapping[str, str] | None, name: str) -> str:
    return _group_colour(groups[name], groups) if groups and name in groups else PALETTE[0]


def _group_colour(group: str, groups: Mapping[str, str]) -> str:
    if group in GROUP_COLOURS:
        return GROUP_COLOURS[group]
    return PALETTE[sorted(set(groups.values())).index(group) % len(PALETTE)]
