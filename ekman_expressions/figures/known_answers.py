"""Pictures of the known answers: explainers against baselines, probe networks, masks against movement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import PAGE, PALETTE, new_figure, styled


@styled
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
    title, note : str
        Above; and below: n, the unit and level of the intervals.

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    if table.empty:
        raise DataError("There are no values to draw.")
    rows, colours = (list(dict.fromkeys(table[name])) for name in (row, colour))
    bands, chance = dict(bands or {}), dict(chance or {})
    labels = list(dict.fromkeys(label for _, label in bands))
    entries = -(-(len(colours) + len(labels) + bool(chance)) // 4)
    height = 0.7 + max(0.3, 0.14 * len(colours) + 0.1) * len(rows) + 0.2 * entries
    figure = new_figure(PAGE, height + (0.3 if title else 0) + (0.25 if note else 0))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (panel, label) in zip(grid, panels.items(), strict=True):
        of_panel = table[table["panel"] == panel]
        for (place, name), (low, high) in bands.items():
            if place == panel:
                tint = PALETTE[(len(colours) + labels.index(name)) % len(PALETTE)]
                axes.axvspan(low, high, color=tint, alpha=0.3, linewidth=0)
        if panel in chance:
            axes.axvline(chance[panel], color="#555555", linestyle="--", linewidth=0.8)
        _draw_dots(axes, of_panel, (row, rows), (colour, colours))
        axes.set_xlabel(label)
        axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    grid[0].set_yticks(range(len(rows)), rows)
    grid[0].set_ylim(len(rows) - 0.5, -0.5)
    _legend(figure, colours, labels, bool(chance), note)
    if title:
        figure.suptitle(title)
    # Long names of rows are wider in files than on the screen, for which the layout is made.
    figure.get_layout_engine().set(w_pad=0.08)
    return figure


@styled
def pair_table(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_label: str,
    column_label: str,
    label: str,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw a table of values in colours, the pairs of equal names in frames.

    Parameters
    ----------
    values : (R, C) ndarray of float, range [0, 1]
    rows, columns : sequence of str
    row_label, column_label, label : str
        What rows, columns and values are.
    title, note : str
    """
    from matplotlib.patches import Rectangle

    values = np.asarray(values, float)
    if values.shape != (len(rows), len(columns)):
        raise DataError(
            f"The values are {values.shape}, but got {len(rows)} rows and {len(columns)} columns."
        )
    figure = new_figure(5.4, 0.42 * len(rows) + 1.3 + (0.3 if title else 0) + (0.25 if note else 0))
    axes = figure.add_subplot()
    shown = axes.imshow(values, cmap="viridis", vmin=0, aspect="auto")
    middle = np.nanmax(values) / 2
    for r, c in np.ndindex(values.shape):
        dark = values[r, c] < middle
        text = f"{values[r, c]:.2f}"
        axes.text(c, r, text, ha="center", va="center", color="white" if dark else "black")
        if rows[r] == columns[c]:
            axes.add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, fill=False, edgecolor=PALETTE[5], linewidth=2))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.set(xlabel=column_label, ylabel=row_label)
    axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=axes, label=label, pad=0.02).outline.set_visible(False)
    if title:
        figure.suptitle(title)
    if note:
        figure.supxlabel(note, fontsize=7)
    return figure


def _draw_dots(
    axes: Axes, table: pd.DataFrame, by_row: tuple[str, list], by_colour: tuple[str, list]
) -> None:
    (row, rows), (colour, colours) = by_row, by_colour
    step = min(0.22, 0.7 / max(len(colours), 1))
    for line in table.to_dict("records"):
        place = colours.index(line[colour])
        y = rows.index(line[row]) + step * (place - (len(colours) - 1) / 2)
        tint = PALETTE[place % len(PALETTE)]
        if np.isfinite(line["low"]) and np.isfinite(line["high"]):
            axes.plot([line["low"], line["high"]], [y, y], color=tint, linewidth=1.6)
        axes.plot(line["value"], y, marker="o", markersize=4, color=tint, linestyle="none")


def _legend(figure: Figure, colours: list[str], bands: list[str], chance: bool, note: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Line2D([], [], marker="o", markersize=4, color=PALETTE[place % len(PALETTE)], label=name)
        for place, name in enumerate(colours)
    ]
    entries += [
        Patch(color=PALETTE[(len(colours) + place) % len(PALETTE)], alpha=0.3, linewidth=0, label=name)
        for place, name in enumerate(bands)
    ]
    if chance:
        entries.append(Line2D([], [], color="#555555", linestyle="--", linewidth=0.8, label="chance"))
    # The note stands above the entries: two things outside the axes would lie over each other.
    figure.legend(handles=entries, loc="outside lower center", ncols=4, title=note or None, title_fontsize=7)
