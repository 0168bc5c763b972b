"""Bars, and dots with their intervals: scores, ranks, costs and regions, each beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    _bare,
    _group_colour,
    _group_entries,
    _legend,
    _line,
    _mark_missing,
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
_EFFORT = {
    "test_accuracy": "accuracy,\ntest faces",
    "accuracy": "accuracy,\ntraining faces",
    "seconds": "seconds\nper model",
    "peak_memory_mb": "peak memory,\nMB",
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
def rank_intervals(
    table: pd.DataFrame, *, groups: Mapping[str, str] | None = None, title: str = "", units: str = "folds"
) -> Figure:
    """Draw each network's rank and the set of ranks that it may have.

    Parameters
    ----------
    table : DataFrame
        ``network, rank, low, high``; see `uncertainty.rank_sets`.
    groups : dict of network to group, optional
        Colours the networks and adds a legend.
    units : str
        What varies, and how many: "5 folds".
    """
    _require(table, "ranks")
    entries = _group_entries(groups, table["network"], marker="o", linewidth=2)
    figure = _new_figure(PAGE, 1.0 + 0.2 * len(table) + (0.2 if entries else 0), title)
    axes = figure.add_subplot()
    for place, row in enumerate(table.to_dict("records")):
        colour = _group_colour(groups, row["network"])
        _dot(axes, place, row["rank"], row["low"], row["high"], colour, linewidth=6, alpha=0.35)
    _name_rows(axes, table["network"])
    axes.set_xlim(0.5, len(table) + 0.5)
    axes.set_xticks(range(1, len(table) + 1))
    axes.set_xlabel(f"rank and the ranks that are possible (95 % for all networks at once), {units}")
    _legend(figure, entries)
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
            offset = step * (names.index(found[colour]) - (len(names) - 1) / 2)
            at = rows.index(found[row]) + offset
            name = found[colour]
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
def training_effort(table: pd.DataFrame) -> Figure:
    """Draw a panel each for accuracy, seconds and peak memory: a row per network, a point per fold.

    Parameters
    ----------
    table : DataFrame
        One row per model: columns network, fold, and any of test_accuracy, accuracy, seconds
        and peak_memory_mb, as from `ekman_expressions.study.training.training_table`. Bars are
        means over folds, whiskers standard deviations (n - 1). Missing values have no point.
    """
    measures = {name: text for name, text in _EFFORT.items() if name in table and table[name].notna().any()}
    if table.empty or not measures:
        raise DataError(f"There is nothing to draw: the table needs rows, and any of {', '.join(_EFFORT)}.")
    networks = list(dict.fromkeys(table["network"]))
    groups = table.groupby("network", sort=False)
    title = f"Mean ± standard deviation, n = {span(groups.size())} models"
    figure = _new_figure(PAGE, 0.95 + 0.2 * len(networks), title)
    grid = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, (name, label) in zip(grid, measures.items(), strict=True):
        means, spreads = groups[name].mean()[networks], groups[name].std()[networks].fillna(0)
        axes.barh(range(len(networks)), means, xerr=spreads, height=0.6, color=PALETTE[4], ecolor="#555555")
        axes.plot(table[name], table["network"].map(networks.index), **_FOLD)
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=3)
        _name_rows(axes, networks)
    return figure


@_styled
def cost_bars(cost: pd.DataFrame, names: Mapping[str, str] | None = None) -> Figure:
    """Draw what an explanation costs as bars: images through the model, and seconds, per network.

    Parameters
    ----------
    cost : DataFrame
        ``explainer, network, passes, gradients, seconds``; see `ekman_expressions.study.explainers.TABLES`.
    names : dict, optional
        What to call the explainers.
    """
    _require(cost, "cost")
    explainers, networks = (list(dict.fromkeys(cost[column])) for column in ("explainer", "network"))
    figure = _new_figure(PAGE, 1.2 + 0.28 * len(explainers))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(explainers))
    calls = cost.groupby("explainer")[["passes", "gradients"]].max().loc[explainers]
    entries = []
    for needed, text, colour in ((False, "predictions only", 0), (True, "with gradients", 5)):
        of_kind = calls["gradients"] == needed
        left.barh(places[of_kind], calls["passes"][of_kind], color=PALETTE[colour])
        entries += [_patch(text, PALETTE[colour])] if of_kind.any() else []
    # Bars of one model call and of none would look alike on a logarithmic axis.
    left.set_xscale("symlog", linthresh=1)
    left.set_xlim(0, max(10, calls["passes"].max() * 10))
    for place, passes in enumerate(calls["passes"]):
        left.text(passes, place, f" {passes:,}", va="center")
    left.set(xlabel="images through the model", title="Model calls")
    seconds = cost.pivot(index="explainer", columns="network", values="seconds").loc[explainers, networks]
    few = len(networks) <= 4
    for number, network in enumerate(networks):
        look = {
            "color": PALETTE[(1, 2, 3, 4)[number] if few else 2],
            "marker": "o",
            "linestyle": "none",
        }
        right.plot(seconds[network], places, mfc="none", **look)
        if few or not number:
            entries.append(_line(network if few else "one network", **look))
    if not few:
        median = {"marker": "|", "markersize": 14, "linestyle": "none", "color": "black"}
        right.plot(seconds.median(axis=1), places, **median)
        entries.append(_line("their median", **median))
    # From a power of ten to another: between two of them there would be no tick, or too many.
    powers = np.log10([seconds.min(axis=None), seconds.max(axis=None)])
    right.set_xscale("log")
    right.set_xlim(10 ** np.floor(powers[0]), 10 ** np.ceil(powers[1] + 1e-9))
    right.xaxis.set_minor_formatter("")
    right.set(xlabel="seconds per face", title="Time on this machine")
    _name_rows(left, [(names or {}).get(name, name) for name in explainers])
    right.grid(axis="x")
    _legend(figure, entries, 5)
    return figure


@_styled
def hidden_colours(table: pd.DataFrame, *, enough: float = 0.5, title: str = "") -> Figure:
    """Draw how well LIME describes each network, by what hidden superpixels look like.

    Parameters
    ----------
    table : DataFrame
        ``network, hidden, r2, r2_unseen``: the R² of the fit, a ring, and on samples that it has not seen, a
        dot. What lies below -1 is drawn at -1.
    enough : float
        R² on unseen samples from which a network counts as described, a line.
    """
    _require(table, "R²")
    networks, kinds = (list(dict.fromkeys(table[name])) for name in ("network", "hidden"))
    step = 0.8 / len(kinds)
    figure = _new_figure(COLUMN + 1.5, 1.3 + (0.16 * len(kinds) + 0.1) * len(networks), title)
    axes = figure.subplots()
    for row in table.itertuples():
        place = networks.index(row.network) + (kinds.index(row.hidden) - (len(kinds) - 1) / 2) * step
        fit, unseen = np.maximum([row.r2, row.r2_unseen], -1)
        colour = PALETTE[kinds.index(row.hidden) % len(PALETTE)]
        axes.plot([unseen, fit], [place, place], color=colour, linewidth=1)
        axes.plot(fit, place, "o", color=colour, markerfacecolor="white", markersize=5)
        axes.plot(unseen, place, "o", color=colour, markersize=5)
    axes.axvline(enough, color="#777777", linestyle="--", linewidth=1)
    axes.axvline(0, color="#777777", linewidth=0.6)
    axes.set(xlim=(-1.05, 1.05), xlabel="R² of LIME's fit")
    _name_rows(axes, networks)
    entries = [_patch(name, PALETTE[place % len(PALETTE)]) for place, name in enumerate(kinds)]
    look = {"color": "black", "marker": "o", "linestyle": "none"}
    entries += [_line("of the fit", mfc="white", **look), _line("on unseen samples", **look)]
    _legend(figure, entries, 3)
    return figure


@_styled
def region_bars(table: pd.DataFrame, expressions: Sequence[str], *, title: str = "") -> Figure:
    """Draw the ten most important facial regions of each expression with their standard errors.

    Parameters
    ----------
    table : DataFrame
        ``expression, region, importance, standard_error``, one row per region and expression.
    expressions : sequence of str
        Which panels, three side by side.
    """
    most = 10
    figure = _new_figure(PAGE, 0.5 + -(-len(expressions) // 3) * (0.5 + 0.155 * most), title)
    for axes, expression in zip(_panels(figure, len(expressions), 3), expressions, strict=True):
        axes.set_title(expression)
        part = table[table["expression"] == expression].nlargest(most, "importance")
        if part.empty:
            _bare(axes)
            _mark_missing(axes)
            continue
        errors = part["standard_error"].fillna(0)
        axes.barh(range(len(part)), part["importance"], xerr=errors, color=PALETTE[0], ecolor="#555555")
        _name_rows(axes, part["region"].str.replace("_", " "))
        axes.set_ylim(most - 0.5, -0.5)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.locator_params(axis="x", nbins=4)
    figure.supxlabel("mean importance ± standard error over faces")
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
    axes: Axes,
    place: float,
    value: float,
    low: float,
    high: float,
    colour: str,
    marker: str = "o",
    **bar: Any,
) -> None:
    """Draw a value as a dot on the line of its interval, if it has one."""
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [place, place], color=colour, **{"linewidth": 2} | bar)
    axes.plot(value, place, marker, color=colour)
