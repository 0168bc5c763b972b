"""Bars, dots with their intervals, curves and boxes, each beside what chance gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures._style import (
    _DASHES,
    COLUMN,
    PAGE,
    PALETTE,
    _group_colour,
    _group_entries,
    _legend,
    _line,
    _new_figure,
    _panels,
    _patch,
    _require,
    _styled,
    span,
)

_FOLD = {
    "marker": "o",
    "linestyle": "none",
    "markersize": 3,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.6,
}
_BASELINES = tuple(zip(_DASHES, ("black", PALETTE[3], "black", PALETTE[2]), strict=True))
_CONTROLS = {"random": ("#777777", "--"), "centre": ("#777777", ":")}
_RELIABILITY = {
    "r2": "R² of the\nsurrogate",
    "r2_unseen": "R² on unseen\nsamples",
    "mean_standard_error": "std. error\nof a weight",
    "weighted_flip_rate": "sign flips, by\nsize of weight",
}


@_styled
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
    _require(table, f"'{value}'")
    parts = dict(list(table.groupby(panels, sort=False))) if panels else {"": table}
    grouped = {name: part.groupby(label, sort=False, observed=True)[value] for name, part in parts.items()}
    # Stable: equal bars keep the order of the table.
    means = pd.DataFrame({name: part.mean() for name, part in grouped.items()}).mean(axis=1)
    order = means.sort_values(ascending=False, kind="stable", na_position="last").index
    several, references = any(part.size().max() > 1 for part in grouped.values()), references or {}
    columns = -(-len(parts) // 2) if len(parts) > 3 else len(parts)
    rows = -(-len(parts) // columns)
    # In many panels, ticks and titles are between the rows.
    height = (
        rows * (0.17 * len(order) + (0.45 if panels else 0)) + 0.7 + (0.25 if groups or references else 0)
    )
    figure = _new_figure(PAGE, height, title)
    grid = _panels(figure, len(parts), columns, sharex=True)
    looks = {
        name: {"linestyle": "none", "marker": "|", "markersize": 10, "markeredgewidth": 2.2}
        if isinstance(reference, Mapping) and not panels
        else {"linestyle": _DASHES[place % len(_DASHES)]}
        for place, (name, reference) in enumerate(references.items(), start=1)
    }
    places = np.arange(len(order))
    partial = False
    for number, (axes, (panel, values)) in enumerate(zip(grid, grouped.items(), strict=True)):
        partial |= _draw_bars(axes, values, order, groups, several)
        axes.set_title(panel)
        for name, reference in references.items():
            if not isinstance(reference, Mapping):
                axes.axvline(reference, color="black", **looks[name])
            elif panels:
                axes.axvline(reference.get(panel, np.nan), color="black", **looks[name])
            else:
                own = [reference.get(one, np.nan) for one in order]
                axes.vlines(own, places - 0.48, places + 0.48, color="black", linewidth=2.2)
        _name_rows(axes, order if number % columns == 0 else [""] * len(order))
    if several and not panels:
        _beside(grid[0], "mean", -1.1)
    low, high = (
        extreme(axes.dataLim.intervalx[end] for axes in grid) for end, extreme in enumerate((min, max))
    )
    grid[0].set_xlim(min(0, 1.05 * low), 1.05 * high if high > 0 else 1)
    entries = _group_entries(groups, order, marker="s", linestyle="none", markersize=8)
    entries += [_line(f"one {points}", **_FOLD)] if several else []
    entries += [_line(name, **look) for name, look in looks.items()]
    entries += [_line(f"mean of some {points}s only", marker="$*$", linestyle="none")] if partial else []
    if len(parts) == 1 or not entries:
        grid[0].set_xlabel(axis_label or value)
    # The legend's title stands for a label of all horizontal axes, which it would lie over.
    _legend(figure, entries, title=None if len(parts) == 1 else axis_label or value, title_fontsize=10)
    return figure


def _draw_bars(
    axes: Axes, by_label: Any, order: Sequence[str], groups: Mapping[str, str] | None, several: bool
) -> bool:
    """Draw means in an order, and what they are means of; return whether some of that is missing."""
    means = by_label.mean().reindex(order)
    colours = [_group_colour(groups, name) for name in order]
    axes.barh(range(len(order)), means.fillna(0), height=0.72, color=colours, alpha=0.85)
    partial = by_label.count() < by_label.size()
    for place, (name, mean) in enumerate(means.items()):
        if several and np.isfinite(mean):
            known = by_label.get_group(name)
            axes.plot(known, np.full(len(known), place), zorder=3, **_FOLD)
        # In a column of their own: at the bars' ends they would lie on points and lines.
        text = f"{mean:.3f}{'*' if partial[name] else ''}" if np.isfinite(mean) else "no data"
        _beside(axes, text, place, style="normal" if np.isfinite(mean) else "italic")
    return bool((partial & (by_label.count() > 0)).any())


@_styled
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
    baselines = dict(baselines or {})
    if table.empty or len(baselines) > len(_BASELINES):
        raise DataError(
            f"Intervals need at least one row and at most {len(_BASELINES)} baselines, but got {len(table)} "
            f"and {len(baselines)}."
        )
    table = table.sort_values("estimate", ascending=False, kind="stable", na_position="last")
    entries = [_line(f"mean and {interval}", "#444444", marker="o", linewidth=2)]
    for (name, reference), (dashes, colour) in zip(baselines.items(), _BASELINES, strict=False):
        entries.append(_line(f"{name} ({reference:.3f})", colour, linestyle=dashes))
    entries += _group_entries(groups, table["network"], marker="o", linestyle="none")
    figure = _new_figure(PAGE, 0.9 + 0.2 * len(table) + 0.16 * -(-len(entries) // 2), title)
    axes = figure.add_subplot()
    for place, row in enumerate(table.to_dict("records")):
        if np.isfinite(row["estimate"]):
            _dot(axes, place, row["estimate"], row[low], row[high], _group_colour(groups, row["network"]))
        else:
            axes.text(0.01, place, "no data", transform=axes.get_yaxis_transform(), va="center")
    for reference, (dashes, colour) in zip(baselines.values(), _BASELINES, strict=False):
        axes.axvline(reference, color=colour, linestyle=dashes, zorder=0)
    _name_rows(axes, table["network"])
    axes.set_xlabel(axis_label or "estimate")
    _legend(figure, entries, 2)
    return figure


@_styled
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
    _require(table, "values")
    rows, names = (list(dict.fromkeys(table[name])) for name in (row, colour))
    bands, chance = dict(bands or {}), dict(chance or {})
    colours = dict(zip([*names, *dict.fromkeys(label for _, label in bands)], 4 * PALETTE, strict=False))
    # More names than colours differ in the form of their dots as well.
    markers = {name: "os^D"[place // len(PALETTE) % 4] for place, name in enumerate(names)}
    entries = [_line(name, colours[name], marker=markers[name], linewidth=2) for name in names]
    entries += [_patch(name, colours[name], alpha=0.3) for name in colours if name not in names]
    if chance:
        entries.append(_line("chance", "#555555", linestyle="--"))
    height = 0.7 + max(0.3, 0.09 * len(names) + 0.08) * len(rows) + 0.2 * -(-len(entries) // 4)
    figure = _new_figure(PAGE, height + (0.17 * (note.count("\n") + 1) if note else 0), title)
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
    _legend(figure, entries, title=note or None)
    # Long names of rows are wider in files than on the screen, for which the layout is made.
    figure.get_layout_engine().set(w_pad=0.1)
    return figure


@_styled
def learning_curves(table: pd.DataFrame, *, measure: str = "accuracy", title: str = "") -> Figure:
    """Draw a panel per network: what the training faces show by epoch, a line per fold.

    Parameters
    ----------
    table : DataFrame
        Columns network, fold, epoch and `measure`; as from `ekman_expressions.study.training.learning_curves`.
    measure : {'accuracy', 'loss'}
    """
    _require(table, "learning curves")
    if measure not in table:
        raise DataError(f"The learning curves lack '{measure}'; they have {', '.join(table)}.")
    networks = list(dict.fromkeys(table["network"]))
    columns = min(4, len(networks))
    rows = -(-len(networks) // columns)
    figure = _new_figure(max(COLUMN, columns * PAGE / 4), 0.8 + 1.5 * rows, title)
    look = {"linestyle": "-", "color": PALETTE[0]}
    for axes, network in zip(_panels(figure, len(networks), columns, sharey=True), networks, strict=True):
        for _, curve in table[table["network"] == network].groupby("fold", sort=False):
            # A single epoch has no line.
            marker = "o" if len(curve) == 1 else None
            axes.plot(curve["epoch"], curve[measure], marker=marker, markersize=4, alpha=0.8, **look)
        axes.set_title(network)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.set_xlim(0.7, table.loc[table["network"] == network, "epoch"].max() + 0.3)
        axes.grid()
    entries = [_line(label="training faces (one line per fold)", **look)]
    # The legend's title stands for a label of all horizontal axes, which it would lie over.
    _legend(figure, entries, 1 if columns < 3 else 3, title="epoch", title_fontsize=10)
    figure.supylabel(measure)
    return figure


@_styled
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
    _require(curves, "curves")
    styles = _ranking_styles(name for cell in curves.values() for name in cell)
    columns, blocks = min(len(curves), 4), -(-len(curves) // 4)
    entries = [_line((titles or {}).get(name, name), colour, ls=ls) for name, (colour, ls) in styles.items()]
    size = max(PAGE * columns / 4, COLUMN), 3.1 * blocks + 0.2 + 0.15 * -(-len(entries) // 4)
    figure = _new_figure(*size, title)
    grid = figure.subplots(2 * blocks, columns, squeeze=False)
    # Ticks that are given: those that are found while the layout is made may change it.
    scale = {"ticks": [0, 0.5, 1], "labels": ["0", "½", "1"]}
    for axes in grid[-2:, len(curves) - columns * (blocks - 1) :].ravel():
        axes.set_axis_off()
    for place, (network, of_network) in enumerate(curves.items()):
        block, column = divmod(place, columns)
        faces = span(map(len, of_network.values())) if of_network else "0"
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
                colour, dashes = styles[name]
                mean = found[:, row].mean(axis=0)
                axes.plot(shares, mean, color=colour, ls=dashes)
                if len(found) > 1:
                    error = found[:, row].std(axis=0, ddof=1) / np.sqrt(len(found))
                    axes.fill_between(shares, mean - error, mean + error, color=colour, alpha=0.2, lw=0)
    _legend(figure, entries)
    return figure


@_styled
def reliability_boxes(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw, per network and expression, how R², standard errors and sign flips spread over faces.

    Boxes go from quartile to quartile, whiskers to the 5th and the 95th percentile.

    Parameters
    ----------
    table : DataFrame
        ``network, expression, r2, r2_unseen, mean_standard_error, weighted_flip_rate``, a row per face;
        NaN is left out.
    """
    _require(table, "explanations")
    networks, expressions = (list(dict.fromkeys(table[name])) for name in ("network", "expression"))
    wide = max(5.4, min(PAGE, 1.2 + 1.5 * len(networks)))
    figure = _new_figure(wide, 1.25 * len(_RELIABILITY) + 1, title)
    colours = dict(zip(expressions, 4 * PALETTE, strict=False))
    step = 1 / (len(expressions) + 1)
    grid = _panels(figure, len(_RELIABILITY), 1, sharex=True)
    for axes, (column, label) in zip(grid, _RELIABILITY.items(), strict=True):
        for (network, expression), values in table.groupby(["network", "expression"])[column]:
            values = values.dropna().to_numpy()
            if not len(values):
                continue
            place = expressions.index(expression)
            axes.boxplot(
                values,
                positions=[networks.index(network) + (place - (len(expressions) - 1) / 2) * step],
                widths=0.8 * step,
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                manage_ticks=False,
                boxprops={"facecolor": colours[expression], "linewidth": 0.6},
                medianprops={"color": "black", "linewidth": 1.3},
                whiskerprops={"linewidth": 0.6},
                capprops={"linewidth": 0.6},
            )
        axes.set_ylabel(label)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.yaxis.get_major_locator().set_params(nbins=4)
    grid[-1].set_xticks(range(len(networks)), networks, rotation=90 if len(networks) > 5 else 0)
    figure.align_ylabels()
    grid[-1].set_xlim(-0.5, len(networks) - 0.5)
    entries = [_patch(name, colour, edgecolor="black") for name, colour in colours.items()]
    _legend(figure, entries, 6)
    return figure


@_styled
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
    _require(table, "curves")
    names = list(dict.fromkeys(table["expression"]))
    columns = min(3, len(names))
    figure = _new_figure(PAGE, 1.1 + 1.75 * -(-len(names) // columns), title)
    grid = _panels(figure, len(names), columns, sharex=True, sharey=True)
    networks = table[table["kind"] == "network"]["name"].nunique()
    baselines = {
        "centre_prior": ("centre prior: centred ellipse", PALETTE[3], _DASHES[1]),
        "random_pixels": ("baseline: random pixels", "black", _DASHES[2]),
    }
    for axes, expression in zip(grid, names, strict=True):
        part = table[table["expression"] == expression]
        curves = part[part["kind"] == "network"].pivot(index="share", columns="name", values="iou")
        curves = curves.dropna(axis="columns", how="all")
        if not curves.empty:
            band = curves.min(axis=1), curves.max(axis=1)
            axes.fill_between(curves.index, *band, color=PALETTE[0], alpha=0.25, linewidth=0)
            axes.plot(curves.index, curves.mean(axis=1), color=PALETTE[0])
        for name, (_, colour, dashes) in baselines.items():
            of_baseline = part[part["name"] == name]
            axes.plot(of_baseline["share"], of_baseline["iou"], color=colour, linestyle=dashes)
        axes.set_title(expression)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    grid[0].set_ylim(bottom=0)
    figure.supylabel("IoU")
    entries = [
        _patch(f"lowest to highest of {networks} networks, means of up to {folds} folds", "#BFDBEB"),
        _line("mean of the networks", PALETTE[0]),
        *(_line(text, colour, linestyle=dashes) for text, colour, dashes in baselines.values()),
    ]
    _legend(figure, entries, 2, title="share of the canvas that is marked (1: all-white mask)")
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


def _dot(
    axes: Axes, place: float, value: float, low: float, high: float, colour: str, marker: str = "o"
) -> None:
    """Draw a value as a dot on the line of its interval, if it has one."""
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
    axes.plot(value, place, marker, color=colour)


def _ranking_styles(rankings: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Return the colour and the dashes of each ranking; no two explainers look alike."""
    rankings = list(dict.fromkeys(rankings))
    explainers = [name for name in rankings if name not in _CONTROLS]
    rounds = ("-", "-.", (0, (1, 1)))
    styles = {
        name: (PALETTE[place % len(PALETTE)], rounds[place // len(PALETTE) % len(rounds)])
        for place, name in enumerate(explainers)
    }
    return styles | {name: _CONTROLS[name] for name in rankings if name in _CONTROLS}
