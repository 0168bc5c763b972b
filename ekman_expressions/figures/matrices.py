"""Coloured matrices: correlations, tests, confusions, and how alike explanations of other settings are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.expressions import title as title_of
from ekman_expressions.figures import _style as style


@style.styled
def annotated_matrix(
    table: pd.DataFrame,
    label: str,
    *,
    limits: tuple[float, float] | None = None,
    signed: bool = True,
    p: pd.DataFrame | None = None,
    frame_own: bool = False,
    names: Mapping[str, str] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw a table in colours, with its values in the cells.

    Parameters
    ----------
    table : (R, C) DataFrame
        NaN is gray. The names of its index and columns, if it has any, are written at the axes.
    label : str
        What the values are, at the scale.
    limits : (float, float), optional
        The ends of the scale; by default as far as the values reach, from 0 if they are not `signed`.
    signed : bool
        Red and blue around 0, with the sign written; else viridis.
    p : (R, C) DataFrame, optional
        Corrected p-values: cells below 0.05 are bold and have a star, which `note` should explain.
    frame_own : bool
        Frame the cells whose row and column have the same name.
    names : dict, optional
        What to call rows and columns.
    title, note : str
    """
    from matplotlib.patches import Rectangle

    values = table.to_numpy(float)
    if not np.isfinite(values).any():
        raise DataError("There is no value to draw.")
    if limits is None:
        largest = max(float(np.nanmax(np.abs(values))), 1e-9)
        limits = (-largest, largest) if signed else (0, float(np.nanmax(values)) or 1)
    rows, columns = ([(names or {}).get(name, str(name)) for name in axis] for axis in table.axes)
    longest = 0.062 * max(map(len, rows))
    cell = 0.62 if p is not None else 0.5
    turned = 0.062 * max(map(len, columns)) > cell + 0.25
    wide = max(style.COLUMN, min(style.PAGE, longest + 1.3 + max(cell, 0 if turned else 0.8) * len(columns)))
    high = 0.5 + 0.24 * len(rows) + (0.062 * max(map(len, columns)) if turned else 0.2)
    high += 0.17 * (note.count("\n") + 1) * bool(note) + 0.2 * bool(table.columns.name)
    figure = style.new_figure(wide, max(high, 1.9), title)
    axes = figure.add_subplot()
    stars = None if p is None else p.to_numpy(float) < 0.05
    shown = style.annotated(
        axes,
        values,
        rows,
        columns,
        lambda value: f"{round(value, 2) + 0:+.2f}" if signed else f"{value:.2f}",
        limits=limits,
        signed=signed,
        bold=stars,
        turned=turned,
    )
    for text, (row, column) in zip(list(axes.texts), np.ndindex(values.shape), strict=True):
        if stars is not None and stars[row, column]:
            text.set_text(f"{text.get_text()} *")
        if frame_own and rows[row] == columns[column]:
            frame = {"edgecolor": style.PALETTE[5], "linewidth": 2.5, "fill": False}
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **frame))
    axes.set(xlabel=table.columns.name or "", ylabel=table.index.name or "")
    style.colour_bar(figure, shown, axes, label)
    if note:
        figure.supxlabel(note, fontsize=9)
    return figure


@style.styled
def confusion_matrices(
    matrices: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] | None = None,
    other: str = "None of them",
    columns: int = 3,
    title: str = "",
) -> Figure:
    """Draw confusion matrices, each row in percent of the faces of that expression.

    Parameters
    ----------
    matrices : dict of network to (C, C) or (C, C + 1) ndarray of int
        Counts, true expression by row, predicted by column. A last column beyond the classes:
        taken for none of them.
    names : sequence of C str
        Names of the classes; the six expressions by default.
    other : str
        Name of that last column, which is drawn for all networks if one has it.
    columns : int
        Matrices side by side.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        A row without any face is gray with dashes.
    """
    names = [title_of(expression) for expression in EXPRESSIONS] if names is None else list(names)
    if not matrices:
        raise DataError("There are no confusion matrices to draw.")
    classes = len(names)
    matrices = {network: np.asarray(counts, float) for network, counts in matrices.items()}
    for network, counts in matrices.items():
        if counts.shape not in ((classes, classes), (classes, classes + 1)):
            raise DataError(
                f"The matrix of {network} has shape {counts.shape}, but there are {classes} classes."
            )
    width = max(counts.shape[1] for counts in matrices.values())
    predicted = names if width == classes else [*names, other]
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = style.new_figure(min(style.PAGE + 0.2, 1.5 + 1.9 * columns), 1.1 + 1.75 * rows, title)
    grid = style.panels(figure, len(matrices), columns, sharex=True, sharey=True)
    for place, (axes, (network, counts)) in enumerate(zip(grid, matrices.items(), strict=True)):
        counts = np.pad(counts, ((0, 0), (0, width - counts.shape[1])))
        sums = counts.sum(axis=1, keepdims=True)
        percent = np.divide(100 * counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)
        shown = style.annotated(axes, percent, names, predicted, "{:.0f}".format, limits=(0, 100))
        axes.set_title(network)
        # The lowest matrix of each column carries the names, also where the last row is short.
        axes.tick_params(labelbottom=place + columns >= len(matrices))
    style.colour_bar(figure, shown, grid, "% of the row")
    figure.supxlabel("predicted")
    figure.supylabel("true")
    return figure


@style.styled
def sensitivity_matrices(
    matrices: Mapping[tuple[str, str], np.ndarray], variants: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw the correlations of maps that were made in different ways, as a grid of matrices.

    Parameters
    ----------
    matrices : dict of (row, column) to (V, V) ndarray of float, range [-1, 1]
        E.g. by network and expression; NaN where there is none.
    variants : sequence of V str
        The ways; they are numbered at the axes, and named beside the first matrix of each row.
    title : str
    """
    if not matrices:
        raise DataError("There are no correlations to draw.")
    rows, columns = (list(dict.fromkeys(key[axis] for key in matrices)) for axis in (0, 1))
    count = len(variants)
    for matrix in matrices.values():
        if matrix.shape != (count, count):
            raise DataError(f"A matrix of {count} variants must be square, but got {matrix.shape}.")
    named = 0.062 * (max(map(len, variants)) + 4) + 0.7
    side = min(max(0.14 * count, 0.8), (style.PAGE - named - 0.3) / len(columns))
    # Names and numbers of variants are in letters of 9 points: rows are as high as these need.
    high = max(side, 0.14 * count)
    figure = style.new_figure(side * len(columns) + named + 0.6, (high + 0.1) * len(rows) + 0.6, title)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    shown = None
    numbers = [str(number) for number in range(1, count + 1)]
    every = max(1, int(np.ceil(0.16 * style.SCALE * count / (side * style.SCALE))))
    for (r, c), axes in np.ndenumerate(grid):
        matrix = matrices.get((rows[r], columns[c]))
        style.bare(axes)
        if r == 0:
            axes.set_title(columns[c], fontsize=9)
        if c == 0:
            axes.set_ylabel(rows[r], fontweight="bold")
            axes.set_ylim(count - 0.5, -0.5)
            axes.set_yticks(range(count), [f"{n}  {text}" for n, text in zip(numbers, variants, strict=True)])
            axes.tick_params(length=0)
        if matrix is None:
            style.mark_missing(axes)
            continue
        axes.set_facecolor(style.MISSING)
        shown = axes.imshow(matrix, vmin=0, vmax=1, aspect="auto")
        if r == len(rows) - 1:
            axes.set_xticks(range(0, count, every), numbers[::every])
        axes.tick_params(length=0)
    if shown is not None:
        style.colour_bar(figure, shown, grid, "correlation of the maps")
    return figure
