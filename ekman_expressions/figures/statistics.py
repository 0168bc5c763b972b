"""What the scores are worth, drawn: intervals beside baselines, null distributions, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import COLUMN, GROUP_COLOURS, MISSING, PAGE, PALETTE, new_figure, styled

_LINES = (("-", "black"), ((0, (4, 2)), PALETTE[3]), ((0, (1, 1.5)), "black"), ("-.", PALETTE[2]))


@styled
def score_intervals(
    table: pd.DataFrame,
    *,
    value: str = "estimate",
    low: str = "fold_low",
    high: str = "fold_high",
    label: str = "network",
    baselines: Mapping[str, float] | None = None,
    groups: Mapping[str, str] | None = None,
    axis_label: str = "",
    interval: str = "95 % interval",
    title: str = "",
) -> Figure:
    """Draw scores as points with their intervals, best first, and baselines as lines.

    Parameters
    ----------
    table : DataFrame
        A row for each `label`, with its `value` and the ends `low` and `high` (NaN: none).
    baselines : dict of name to value, optional
        At most four lines across all rows; their values stand in the legend.
    groups : dict of label to group, optional
        Colours the points.
    axis_label, interval, title : str
        `interval` says in the legend what the bars are, and of how many: "95 %, n = 5 folds".

    Raises
    ------
    DataError
        If there is no row, or there are more than four baselines.
    """
    from matplotlib.lines import Line2D

    baselines = dict(baselines or {})
    if table.empty or len(baselines) > len(_LINES):
        raise DataError(
            f"Intervals need at least one row and at most {len(_LINES)} baselines, but got {len(table)} and "
            f"{len(baselines)}."
        )
    table = table.sort_values(value, ascending=False, kind="stable", na_position="last")
    legend_rows = -(-(len(baselines) + 1 + len(set((groups or {}).values()))) // 2)
    figure = new_figure(PAGE, 0.9 + 0.2 * len(table) + 0.16 * legend_rows)
    axes = figure.add_subplot()
    for place, row in enumerate(table.to_dict("records")):
        colour = _colour(groups, row[label])
        if np.isfinite(row[value]):
            if np.isfinite(row[low]):
                axes.plot([row[low], row[high]], [place, place], color=colour, linewidth=1.6)
            axes.plot(row[value], place, "o", color=colour, markersize=4.5)
        else:
            axes.text(0.01, place, "no data", transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    handles = [
        Line2D(
            [], [], color="#444444", marker="o", markersize=4.5, linewidth=1.6, label=f"mean and {interval}"
        )
    ]
    for (name, reference), (dashes, colour) in zip(baselines.items(), _LINES, strict=False):
        axes.axvline(reference, color=colour, linestyle=dashes, linewidth=0.9, zorder=0)
        handles.append(
            Line2D([], [], color=colour, linestyle=dashes, linewidth=0.9, label=f"{name} ({reference:.3f})")
        )
    for group in sorted({groups[name] for name in table[label] if name in groups} if groups else []):
        colour = GROUP_COLOURS.get(group, PALETTE[0])
        handles.append(Line2D([], [], color=colour, marker="o", linestyle="none", label=group))
    axes.set_yticks(range(len(table)), table[label])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    axes.set_xlabel(axis_label or value)
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    if title:
        figure.suptitle(title)
    return figure


@styled
def null_distribution(
    null: Sequence[float] | np.ndarray,
    observed: float,
    *,
    p: float,
    axis_label: str = "mean IoU",
    what: str = "relabellings of the masks",
    baselines: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw the statistic under every relabelling as a histogram, and the observed one as a line.

    Parameters
    ----------
    null : (B,) array_like of float
        Of all relabellings, or draws.
    observed, p : float
        The statistic of the data, and the share of `null` that is at least as large.
    axis_label, what, title : str
        What the statistic is, and what was counted.
    baselines : dict of name to value, optional
        Further lines.

    Raises
    ------
    DataError
        If the null has no finite value.
    """
    null = np.asarray(null, dtype=np.float64)
    null = null[np.isfinite(null)]
    if not null.size:
        raise DataError("There is no null distribution to draw: no heatmap could be compared.")
    figure = new_figure(PAGE, 2.4)
    axes = figure.add_subplot()
    bins = np.histogram_bin_edges(null, bins=min(40, max(5, null.size // 10)))
    reached = null >= observed - 1e-12
    axes.hist(
        [null[~reached], null[reached]],
        bins=bins,
        stacked=True,
        color=["#BBBBBB", PALETTE[1]],
        label=[f"{what} (n = {null.size})", f"at least as large: p = {p:.3f}"],
    )
    axes.axvline(observed, color=PALETTE[0], linewidth=1.6, label=f"as observed ({observed:.3f})")
    middle = null.mean()
    axes.axvline(middle, color="black", linestyle=(0, (1, 1.5)), label=f"chance: their mean ({middle:.3f})")
    for (name, value), (dashes, colour) in zip((baselines or {}).items(), _LINES[1:], strict=False):
        axes.axvline(value, color=colour, linestyle=dashes, label=f"{name} ({value:.3f})")
    axes.set(xlabel=axis_label, ylabel="count")
    figure.legend(loc="outside lower center", ncols=2)
    if title:
        figure.suptitle(title)
    return figure


@styled
def area_curves(table: pd.DataFrame, *, folds: int, title: str = "") -> Figure:
    """Draw the IoU of the hottest pixels against the area they cover, one panel per expression.

    Parameters
    ----------
    table : DataFrame
        ``kind, name, expression, share, iou``; see the table ``area_curves`` of the step
        "statistics". Networks are a band from the lowest to the highest, and their mean.
    folds : int
        Over how many folds each network's curve is a mean, for the legend.
    title : str

    Raises
    ------
    DataError
        If the table has no row.
    """
    if table.empty:
        raise DataError("There is no curve to draw.")
    names = list(dict.fromkeys(table["expression"]))
    columns = min(3, len(names))
    figure = new_figure(PAGE, 0.8 + 1.75 * -(-len(names) // columns))
    grid = figure.subplots(-(-len(names) // columns), columns, sharex=True, sharey=True, squeeze=False)
    networks = table[table["kind"] == "network"]["name"].nunique()
    looks = {"centre_prior": (PALETTE[3], (0, (4, 2))), "random_pixels": ("black", (0, (1, 1.5)))}
    labels = {"centre_prior": "baseline: centred ellipse", "random_pixels": "baseline: random pixels"}
    for axes, expression in zip(grid.flat, names, strict=False):
        part = table[table["expression"] == expression]
        by_share = part[part["kind"] == "network"].pivot(index="share", columns="name", values="iou")
        by_share = by_share.dropna(axis="columns", how="all")
        if not by_share.empty:
            axes.fill_between(
                by_share.index,
                by_share.min(axis=1),
                by_share.max(axis=1),
                color=PALETTE[0],
                alpha=0.25,
                linewidth=0,
                label=f"lowest to highest of {networks} networks, each the mean of up to {folds} folds",
            )
            axes.plot(by_share.index, by_share.mean(axis=1), color=PALETTE[0], label="mean of the networks")
        for name, (colour, dashes) in looks.items():
            line = part[part["name"] == name]
            axes.plot(line["share"], line["iou"], color=colour, linestyle=dashes, label=labels[name])
        axes.set_title(expression)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    grid[0, 0].set_ylim(bottom=0)
    for axes in list(grid.flat)[len(names) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("IoU")
    grid[-1, columns // 2 if len(names) == grid.size else 0].set_xlabel(
        "share of the canvas that is marked (1: white everywhere)"
    )
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    if title:
        figure.suptitle(title)
    return figure


@styled
def rank_intervals(
    table: pd.DataFrame, *, groups: Mapping[str, str] | None = None, title: str = "", units: str = "folds"
) -> Figure:
    """Draw each network's rank and the interval of ranks it takes in resamples.

    Parameters
    ----------
    table : DataFrame
        ``network, rank, low, high, first``; see `statistics.ranking.rank_intervals`.
    groups : dict of network to group, optional
        Colours the networks.
    title : str
    units : str
        What was resampled, and how many: "5 folds".

    Raises
    ------
    DataError
        If the table has no row.
    """
    if table.empty:
        raise DataError("There is no network to rank.")
    figure = new_figure(PAGE, 0.95 + 0.2 * len(table))
    axes = figure.add_subplot()
    for place, row in enumerate(table.to_dict("records")):
        colour = _colour(groups, row["network"])
        if np.isfinite(row["low"]):
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=5, alpha=0.35)
        axes.plot(row["rank"], place, "o", color=colour, markersize=4.5)
        text = "–" if np.isnan(row["first"]) else f"{100 * row['first']:.0f} %"
        _beside(axes, text, place)
    _beside(axes, "first", -0.9)
    axes.set_yticks(range(len(table)), table["network"])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(0.5, len(table) + 0.5)
    axes.set_xticks(range(1, len(table) + 1))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(
        f"rank and its 95 % interval, {units} drawn anew; by guessing 1 to {len(table)}, first in "
        f"{100 / len(table):.0f} %"
    )
    if title:
        figure.suptitle(title)
    return figure


@styled
def rank_correlations(matrix: pd.DataFrame, *, networks: int, title: str = "") -> Figure:
    """Draw Spearman's correlations of the networks' ranks between scores as a coloured matrix.

    Parameters
    ----------
    matrix : (S, S) DataFrame
        Symmetric, in [-1, 1]; rows and columns are scores.
    networks : int
        Of how many networks, for the label.
    title : str

    Raises
    ------
    DataError
        If the matrix is empty.
    """
    if matrix.empty:
        raise DataError("There is no score to correlate.")
    side = 0.34 * len(matrix)
    figure = new_figure(min(PAGE, max(COLUMN, side + 2.6)), side + 1.3)
    axes = figure.add_subplot()
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_facecolor(MISSING)
    names = [name.replace("_", " ") for name in matrix]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(matrix.to_numpy()):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.7 else "black"
            text = f"{value:.2f}".replace("0.", ".")
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.6, label=f"Spearman, n = {networks} networks; chance 0")
    if title:
        figure.suptitle(title)
    return figure


@styled
def specific_cells(
    table: pd.DataFrame, *, p: pd.DataFrame | None = None, label: str, test: str = "", title: str = ""
) -> Figure:
    """Draw networks × expressions as a coloured matrix, and mark what a test finds.

    Parameters
    ----------
    table : (N, E) DataFrame
        The value of each cell; 0 is chance. NaN is gray.
    p : (N, E) DataFrame, optional
        Corrected p-values; cells below 0.05 have a star.
    label, test, title : str
        What the values are, which test the stars are of.

    Raises
    ------
    DataError
        If the table is empty.
    """
    if table.empty:
        raise DataError("There is no cell to draw.")
    figure = new_figure(PAGE, 1.2 + 0.24 * len(table))
    axes = figure.add_subplot()
    largest = np.nanmax(np.abs(table.to_numpy()), initial=1e-9)
    image = axes.imshow(
        np.ma.masked_invalid(table), cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto"
    )
    axes.set_facecolor(MISSING)
    axes.set_xticks(range(table.shape[1]), table.columns)
    axes.set_yticks(range(len(table)), table.index)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        star = p is not None and p.iloc[row, column] < 0.05
        text = "no data" if np.isnan(value) else f"{round(value, 2) + 0:+.2f}{' *' if star else ''}"
        colour = "white" if abs(value) > 0.7 * largest else "black"
        weight = "bold" if star else "normal"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour, weight=weight)
    figure.colorbar(image, ax=axes)
    # Below, where there is room for it with few networks too.
    said = f"{label}; chance 0"
    if test:
        cells = int(table.notna().to_numpy().sum())
        said += f"\n* p < 0.05 in {test}, corrected for all {cells} cells (max-statistic)"
    axes.set_xlabel(said)
    if title:
        figure.suptitle(title)
    return figure


def _beside(axes: Axes, text: str, place: float) -> None:
    """Write at the right of the axes, at a place of the vertical axis."""
    where = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, (1, place), (6, 0), va="center", fontsize=7, annotation_clip=False, **where)


def _colour(groups: Mapping[str, str] | None, name: str) -> str:
    if not groups:
        return PALETTE[0]
    # What is of no group is an average of several.
    return GROUP_COLOURS.get(groups[name], PALETTE[0]) if name in groups else "black"
