"""Bars, dots with their intervals, curves and boxes, each beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures import _style as style

_FOLD = {
    "marker": "o",
    "linestyle": "none",
    "markersize": 3,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.6,
}
_BASELINES = tuple(
    {"color": colour, "linestyle": style._DASHES[place]}
    for place, colour in enumerate(("black", style.PALETTE[3], "black", style.PALETTE[2]))
)
_RANKINGS = [{"color": colour, "linestyle": dashes} for dashes in ("-", "-.", (0, (1, 1))) for colour in style.PALETTE]
_CONTROLS = {
    "random": {"color": "#777777", "linestyle": "--"},
    "centre": {"color": "#777777", "linestyle": ":"},
}
_RELIABILITY = {
    "r2": "R² of the\nsurrogate",
    "r2_unseen": "R² on unseen\nsamples",
    "mean_standard_error": "std. error\nof a weight",
    "weighted_flip_rate": "sign flips, by\nsize of weight",
}


@style._styled
def barplot(
    table: pd.DataFrame,
    *,
    label: str,
    value: str,
    panels: str = "",
    title: str = "",
    axis_label: str | None = None,
    points: str = "fold",
    groups: Mapping[str, str] | None = None,
    references: Mapping[str, float | Mapping[str, float]] | None = None,
) -> Figure:
    """Draw one horizontal bar per label, sorted by its mean; labels never overlap.

    Parameters
    ----------
    table : DataFrame
        Columns `label` and `value`; several rows of one label (its folds) are averaged and
        also drawn as points, which the legend calls `points`. Missing values (NaN) are left out of
        the mean, which then has a star; a label without any value comes last, with the words "no data".
    panels : str
        A column: a panel for each of its values, which share the axis and the order of the labels, that
        of the means over all panels.
    groups : dict of label to group, optional
        Colours the bars and adds a legend.
    references : dict of name to value, optional
        Lines across all bars, named in the legend, such as a chance baseline; where the value
        is a dict, every panel, or without panels every bar, has its own.
    """
    style._require(table, f"'{value}'")
    parts = dict(list(table.groupby(panels, sort=False))) if panels else {"": table}
    grouped = {name: part.groupby(label, sort=False, observed=True)[value] for name, part in parts.items()}
    # Stable: equal bars keep the order of the table.
    means = pd.DataFrame({name: part.mean() for name, part in grouped.items()}).mean(axis=1)
    order = means.sort_values(ascending=False, kind="stable", na_position="last").index
    several, references = any(part.size().max() > 1 for part in grouped.values()), references or {}
    columns = -(-len(parts) // 2) if len(parts) > 3 else len(parts)
    rows = -(-len(parts) // columns)
    # In many panels, ticks and titles are between the rows.
    height = rows * (0.17 * len(order) + (0.45 if panels else 0)) + 0.7
    figure = style._new_figure(style.PAGE, height + (0.25 if groups or references else 0), title)
    grid = style._panels(figure, len(parts), columns, sharex=True)
    looks = {
        name: {"linestyle": "none", "marker": "|", "markersize": 10, "markeredgewidth": 2.2}
        if isinstance(reference, Mapping) and not panels
        else {"linestyle": style._DASHES[place % len(style._DASHES)]}
        for place, (name, reference) in enumerate(references.items(), start=1)
    }
    places = np.arange(len(order))
    for number, (axes, (panel, values)) in enumerate(zip(grid, grouped.items(), strict=True)):
        _draw_bars(axes, values, order, groups, several)
        axes.set_title(panel)
        for name, reference in references.items():
            own = isinstance(reference, Mapping)
            if own and not panels:
                at = [reference.get(one, np.nan) for one in order]
                axes.vlines(at, places - 0.48, places + 0.48, color="black", linewidth=2.2)
            else:
                at = reference.get(panel, np.nan) if own else reference
                axes.axvline(at, color="black", **looks[name])
        _name_rows(axes, order if number % columns == 0 else [""] * len(order))
    if several and not panels:
        _beside(grid[0], "mean", -1.1)
    ends = 1.05 * np.array([axes.dataLim.intervalx for axes in grid])
    grid[0].set_xlim(min(0, ends.min()), ends.max() if ends.max() > 0 else 1)
    entries = style._group_entries(groups, order, marker="s", linestyle="none", markersize=8)
    entries += [style._line(f"one {points}", **_FOLD)] if several else []
    entries += [style._line(name, **look) for name, look in looks.items()]
    if any(part.count().between(1, part.size() - 1).any() for part in grouped.values()):
        entries.append(style._line(f"mean of some {points}s only", marker="$*$", linestyle="none"))
    if len(parts) == 1 or not entries:
        grid[0].set_xlabel(axis_label or value)
    # The legend's title stands for a label of all horizontal axes, which it would lie over.
    style._legend(figure, entries, title=None if len(parts) == 1 else axis_label or value, title_fontsize=10)
    return figure


def _draw_bars(
    axes: Axes, by_label: Any, order: Sequence[str], groups: Mapping[str, str] | None, several: bool
) -> None:
    """Draw means in an order, and what they are means of."""
    means = by_label.mean().reindex(order)
    colours = [style._group_colour(groups, name) for name in order]
    axes.barh(range(len(order)), means.fillna(0), height=0.72, color=colours, alpha=0.85)
    partial = by_label.count() < by_label.size()
    for place, (name, mean) in enumerate(means.items()):
        if several and np.isfinite(mean):
            known = by_label.get_group(name)
            axes.plot(known, np.full(len(known), place), zorder=3, **_FOLD)
        # In a column of their own: at the bars' ends they would lie on points and lines.
        text = f"{mean:.3f}{'*' if partial[name] else ''}" if np.isfinite(mean) else "no data"
        _beside(axes, text, place, style="normal" if np.isfinite(mean) else "italic")


@style._styled
def score_intervals(
    table: pd.DataFrame,
    *,
    low: str = "fold_low",
    high: str = "fold_high",
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
        ``network, estimate`` and the columns `low` and `high` of the interval's ends (NaN: none).
    baselines : dict of name to value, optional
        At most four lines across all rows; their values stand in the legend.
    groups : dict of label to group, optional
        Colours the points.
    interval : str
        Says in the legend what the bars are, and of how many: "95 %, n = 5 folds".
    """
    style._require(table, "intervals")
    baselines = baselines or {}
    if len(baselines) > len(_BASELINES):
        raise DataError(f"At most {len(_BASELINES)} baselines can be told apart, but got {len(baselines)}.")
    looks = dict(zip(baselines, _BASELINES, strict=False))
    table = table.sort_values("estimate", ascending=False, kind="stable", na_position="last")
    entries = [style._line(f"mean and {interval}", "#444444", marker="o", linewidth=2)]
    entries += [style._line(f"{name} ({baselines[name]:.3f})", **look) for name, look in looks.items()]
    entries += style._group_entries(groups, table["network"], marker="o", linestyle="none")
    figure = style._new_figure(style.PAGE, 0.9 + 0.2 * len(table) + 0.16 * -(-len(entries) // 2), title)
    axes = figure.add_subplot()
    for place, row in enumerate(table.to_dict("records")):
        if np.isfinite(row["estimate"]):
            colour = style._group_colour(groups, row["network"])
            _dot(axes, place, row["estimate"], row[low], row[high], colour)
        else:
            axes.text(0.01, place, "no data", transform=axes.get_yaxis_transform(), va="center")
    for name, look in looks.items():
        axes.axvline(baselines[name], **look, zorder=0)
    _name_rows(axes, table["network"])
    axes.set_xlabel(axis_label or "estimate")
    style._legend(figure, entries, 2)
    return figure


@style._styled
def interval_dots(
    table: pd.DataFrame,
    *,
    panels: Mapping[str, str],
    row: str,
    colour: str,
    chance: Mapping[str, float] | None = None,
    bands: Mapping[tuple[str, str], tuple[float, float]] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw values with their intervals as dots: rows share their names, each panel has its own scale.

    Parameters
    ----------
    table : DataFrame
        Long: ``panel``, `row`, `colour`, ``value, low, high``.
    panels : dict of panel to label
        Side by side, in this order, with the label of their axis.
    row, colour : str
        The columns that name the rows, and the colours within a row; both in the order in
        which they first occur.
    chance : dict of panel to float, optional
        What chance gives: a dashed line.
    bands : dict of (panel, label) to (low, high), optional
        Baselines as shaded bands, named in the legend.
    note : str
        Below: n, the unit and level of the intervals.
    """
    style._require(table, "values")
    rows, names = (list(dict.fromkeys(table[name])) for name in (row, colour))
    bands, chance = bands or {}, chance or {}
    labels = dict.fromkeys([*names, *(label for _, label in bands)])
    colours = dict(zip(labels, 4 * style.PALETTE, strict=False))
    # More names than colours differ in the form of their dots as well.
    markers = {name: "os^D"[place // len(style.PALETTE) % 4] for place, name in enumerate(names)}
    entries = [style._line(name, colours[name], marker=markers[name], linewidth=2) for name in names]
    entries += [style._patch(name, colours[name], alpha=0.3) for name in colours if name not in names]
    if chance:
        entries.append(style._line("chance", "#555555", linestyle="--"))
    height = 0.7 + max(0.3, 0.09 * len(names) + 0.08) * len(rows) + 0.2 * -(-len(entries) // 4)
    figure = style._new_figure(style.PAGE, height + (0.17 * (note.count("\n") + 1) if note else 0), title)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    step = min(0.22, 0.7 / len(names))
    for axes, (panel, label) in zip(grid, panels.items(), strict=True):
        for (place, name), (low, high) in bands.items():
            if place == panel:
                axes.axvspan(low, high, color=colours[name], alpha=0.3, linewidth=0)
        if panel in chance:
            axes.axvline(chance[panel], color="#555555", linestyle="--")
        for found in table[table["panel"] == panel].to_dict("records"):
            name = found[colour]
            at = rows.index(found[row]) + step * (names.index(name) - (len(names) - 1) / 2)
            _dot(axes, at, found["value"], found["low"], found["high"], colours[name], markers[name])
        axes.set_xlabel(label)
        axes.grid(axis="x")
    grid[0].set_yticks(range(len(rows)), rows)
    grid[0].set_ylim(len(rows) - 0.5, -0.5)
    # The note stands above the entries: two things outside the axes would lie over each other.
    style._legend(figure, entries, title=note or None)
    # Long names of rows are wider in files than on the screen, for which the layout is made.
    figure.get_layout_engine().set(w_pad=0.1)
    return figure


@style._styled
def learning_curves(table: pd.DataFrame, *, measure: str = "accuracy", title: str = "") -> Figure:
    """Draw a panel per network: what the training faces show by epoch, a line per fold.

    Parameters
    ----------
    table : DataFrame
        Columns network, fold, epoch and `measure`; see `ekman_expressions.study.training.learning_curves`.
    measure : {'accuracy', 'loss'}
    """
    style._require(table, "learning curves")
    if measure not in table:
        raise DataError(f"The learning curves lack '{measure}'; they have {', '.join(table)}.")
    networks = dict(list(table.groupby("network", sort=False)))
    columns = min(4, len(networks))
    rows = -(-len(networks) // columns)
    figure = style._new_figure(max(style.COLUMN, columns * style.PAGE / 4), 0.8 + 1.5 * rows, title)
    grid = style._panels(figure, len(networks), columns, sharey=True)
    for axes, (network, curves) in zip(grid, networks.items(), strict=True):
        for _, curve in curves.groupby("fold", sort=False):
            # A single epoch has no line.
            marker = "o" if len(curve) == 1 else None
            look = {"color": style.PALETTE[0], "marker": marker, "markersize": 4, "alpha": 0.8}
            axes.plot(curve["epoch"], curve[measure], **look)
        axes.set_title(network)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.set_xlim(0.7, curves["epoch"].max() + 0.3)
        axes.grid()
    entries = [style._line("training faces (one line per fold)", style.PALETTE[0])]
    # The legend's title stands for a label of all horizontal axes, which it would lie over.
    style._legend(figure, entries, 1 if columns < 3 else 3, title="epoch", title_fontsize=10)
    figure.supylabel(measure)
    return figure


@style._styled
def erasure_curves(
    curves: Mapping[str, Mapping[str, np.ndarray]],
    shares: np.ndarray,
    *,
    titles: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw deletion and insertion curves, a panel of each for each network, against the controls.

    Parameters
    ----------
    curves : dict of network to dict of ranking to (N, 2, G) ndarray of float
        The predictions for N faces, of deletion and of insertion. The line is their mean, the band
        ± one standard error of it. Where rankings differ in N, the heading says from how many to how many.
    shares : (G,) ndarray of float, range [0, 1]
        The shares of the pixels.
    titles : dict of ranking to str, optional
        What rankings are called in the legend.
    """
    style._require(curves, "curves")
    rankings = list(dict.fromkeys(name for cell in curves.values() for name in cell))
    # No two explainers look alike.
    looks = dict(zip([name for name in rankings if name not in _CONTROLS], cycle(_RANKINGS), strict=False))
    looks |= {name: _CONTROLS[name] for name in rankings if name in _CONTROLS}
    entries = [style._line((titles or {}).get(name, name), **look) for name, look in looks.items()]
    columns, blocks = min(len(curves), 4), -(-len(curves) // 4)
    size = max(style.PAGE * columns / 4, style.COLUMN), 3.1 * blocks + 0.2 + 0.15 * -(-len(entries) // 4)
    figure = style._new_figure(*size, title)
    grid = figure.subplots(2 * blocks, columns, squeeze=False)
    # Ticks that are given: those that are found while the layout is made may change it.
    scale = {"ticks": [0, 0.5, 1], "labels": ["0", "½", "1"]}
    for axes in grid[-2:, len(curves) - columns * (blocks - 1) :].ravel():
        axes.set_axis_off()
    for place, (network, of_network) in enumerate(curves.items()):
        block, column = divmod(place, columns)
        faces = style.span(map(len, of_network.values())) if of_network else "0"
        for row, (kind, verb) in enumerate((("deletion", "hidden"), ("insertion", "shown"))):
            axes = grid[2 * block + row, column]
            axes.set(xlim=(0, 1), ylim=(0, 1))
            axes.set_xticks(**scale)
            axes.set_yticks(**scale)
            axes.set_xlabel(f"share of pixels {verb}", fontsize=9)
            axes.tick_params(labelleft=column == 0)
            if row == 0:
                axes.set_title(f"{network}\n{faces} face{'s' * (faces != '1')}", fontsize=9)
            if column == 0:
                axes.set_ylabel(f"{kind}\nprobability")
            for name, found in of_network.items():
                mean = found[:, row].mean(axis=0)
                axes.plot(shares, mean, **looks[name])
                if len(found) > 1:
                    error = found[:, row].std(axis=0, ddof=1) / np.sqrt(len(found))
                    band = {"color": looks[name]["color"], "alpha": 0.2, "linewidth": 0}
                    axes.fill_between(shares, mean - error, mean + error, **band)
    style._legend(figure, entries)
    return figure


@style._styled
def reliability_boxes(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw, per network and expression, how R², standard errors and sign flips spread over faces.

    Boxes go from quartile to quartile, whiskers to the 5th and the 95th percentile.

    Parameters
    ----------
    table : DataFrame
        ``network, expression, r2, r2_unseen, mean_standard_error, weighted_flip_rate``, a row per face;
        NaN is left out.
    """
    style._require(table, "explanations")
    networks, expressions = (list(dict.fromkeys(table[name])) for name in ("network", "expression"))
    wide = max(5.4, min(style.PAGE, 1.2 + 1.5 * len(networks)))
    figure = style._new_figure(wide, 1.25 * len(_RELIABILITY) + 1, title)
    colours = dict(zip(expressions, 4 * style.PALETTE, strict=False))
    step, thin = 1 / (len(expressions) + 1), {"linewidth": 0.6}
    grid = style._panels(figure, len(_RELIABILITY), 1, sharex=True)
    for axes, (column, label) in zip(grid, _RELIABILITY.items(), strict=True):
        known = table.dropna(subset=column)
        for (network, expression), values in known.groupby(["network", "expression"])[column]:
            place = expressions.index(expression) - (len(expressions) - 1) / 2
            axes.boxplot(
                values.to_numpy(),
                positions=[networks.index(network) + place * step],
                widths=0.8 * step,
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                manage_ticks=False,
                boxprops={"facecolor": colours[expression]} | thin,
                medianprops={"color": "black", "linewidth": 1.3},
                whiskerprops=thin,
                capprops=thin,
            )
        axes.set_ylabel(label)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.yaxis.get_major_locator().set_params(nbins=4)
    grid[-1].set_xticks(range(len(networks)), networks, rotation=90 if len(networks) > 5 else 0)
    figure.align_ylabels()
    grid[-1].set_xlim(-0.5, len(networks) - 0.5)
    entries = [style._patch(name, colour, edgecolor="black") for name, colour in colours.items()]
    style._legend(figure, entries, 6)
    return figure


@style._styled
def area_curves(table: pd.DataFrame, *, folds: int, title: str = "") -> Figure:
    """Draw the IoU of the hottest pixels against the area they cover, one panel per expression.

    Parameters
    ----------
    table : DataFrame
        ``kind, name, expression, share, iou``; see the table ``area_curves`` of the step
        "statistics". Networks are a band from the lowest to the highest, and their mean.
    folds : int
        Over how many folds each network's curve is a mean, for the legend.
    """
    style._require(table, "curves")
    names = list(dict.fromkeys(table["expression"]))
    columns = min(3, len(names))
    figure = style._new_figure(style.PAGE, 1.1 + 1.75 * -(-len(names) // columns), title)
    grid = style._panels(figure, len(names), columns, sharex=True, sharey=True)
    networks = table[table["kind"] == "network"]["name"].nunique()
    baselines = {"centre_prior": _BASELINES[1], "random_pixels": _BASELINES[2]}
    for axes, expression in zip(grid, names, strict=True):
        part = table[table["expression"] == expression]
        curves = part[part["kind"] == "network"].pivot(index="share", columns="name", values="iou")
        band = curves.min(axis=1), curves.max(axis=1)
        axes.fill_between(curves.index, *band, color=style.PALETTE[0], alpha=0.25, linewidth=0)
        axes.plot(curves.index, curves.mean(axis=1), color=style.PALETTE[0])
        for name, look in baselines.items():
            of_baseline = part[part["name"] == name]
            axes.plot(of_baseline["share"], of_baseline["iou"], **look)
        axes.set_title(expression)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    grid[0].set_ylim(bottom=0)
    figure.supylabel("IoU")
    entries = [
        style._patch(f"lowest to highest of {networks} networks, means of up to {folds} folds", "#BFDBEB"),
        style._line("mean of the networks", style.PALETTE[0]),
        style._line("centre prior: centred ellipse", **baselines["centre_prior"]),
        style._line("baseline: random pixels", **baselines["random_pixels"]),
    ]
    style._legend(figure, entries, 2, title="share of the canvas that is marked (1: all-white mask)")
    return figure


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write names at the left, the first on top, with light lines of the values behind the data."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _beside(axes: Axes, text: str, place: float, **style: Any) -> None:
    """Write at the right of the axes, at a place of the vertical axis, where nothing else lies."""
    where = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, (1, place), (5, 0), va="center", annotation_clip=False, **where, **style)


def _dot(axes: Axes, place: float, value: float, low: float, high: float, colour: str, marker: str = "o") -> None:
    """Draw a value as a dot on the line of its interval, if it has one."""
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
    axes.plot(value, place, marker, color=colour)
