"""How networks learnt and what they confuse: learning curves and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.figures.style import COLUMN, MISSING, PAGE, PALETTE, new_figure, styled


@styled
def learning_curves(table: pd.DataFrame, *, measure: str = "accuracy", columns: int = 4) -> Figure:
    """Draw a panel per network: training (solid) and held-out (dashed) by epoch, a line per fold.

    Parameters
    ----------
    table : DataFrame
        Columns network, fold, epoch, `measure` and, if the training was watched on held-out
        faces, ``val_<measure>``; as from `ekman_expressions.study.training_table.learning_curves`. Where
        ``chosen`` is true, a dot marks the epoch that the model is of.
    measure : str
        ``"accuracy"`` or ``"loss"``.
    columns : int
        Panels side by side.

    Raises
    ------
    DataError
        If the table has no row, or lacks the measure.
    """
    from matplotlib.lines import Line2D

    if table.empty:
        raise DataError("There are no learning curves to draw.")
    if measure not in table:
        raise DataError(f"The learning curves lack '{measure}'; they have {', '.join(table)}.")
    networks = list(dict.fromkeys(table["network"]))
    columns = min(columns, len(networks))
    rows = -(-len(networks) // columns)
    figure = new_figure(max(COLUMN, columns * PAGE / 4), 0.5 + 1.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(networks) :]:
        axes.set_visible(False)
    styles = {
        measure: {"linestyle": "-", "color": PALETTE[0], "label": "training faces"},
        f"val_{measure}": {"linestyle": "--", "color": PALETTE[5], "label": "held-out faces"},
    }
    styles = {column: style for column, style in styles.items() if column in table}
    # Chosen by the loss on held-out faces: where that is lowest is what their curve shows.
    chosen = None
    if "chosen" in table and f"val_{measure}" in table:
        chosen = {"linestyle": "None", "marker": "o", "markersize": 4, "color": PALETTE[5], "label": "chosen"}
    for axes, network in zip(grid.flat, networks, strict=False):
        for _, curve in table[table["network"] == network].groupby("fold", sort=False):
            # A single epoch has no line.
            marker = "o" if len(curve) == 1 else None
            for column, style in styles.items():
                axes.plot(curve["epoch"], curve[column], marker=marker, markersize=3, alpha=0.8, **style)
            if chosen is not None:
                point = curve[curve["chosen"].astype(bool)]
                axes.plot(point["epoch"], point[f"val_{measure}"], **chosen)
        axes.set_title(network)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.grid(color="#E5E5E5", linewidth=0.6)
    entries = [
        Line2D([], [], **style | {"label": f"{style['label']} (one line per fold)"})
        for style in styles.values()
    ]
    if chosen is not None:
        entries.append(Line2D([], [], **chosen | {"label": "epoch that is kept"}))
    figure.legend(handles=entries, loc="outside upper center", ncols=1 if columns < 3 else 2)
    figure.supxlabel("epoch", fontsize=8)
    figure.supylabel(measure, fontsize=8)
    return figure


@styled
def confusion_matrices(
    matrices: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] | None = None,
    other: str = "None of them",
    columns: int = 3,
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

    Returns
    -------
    matplotlib.figure.Figure
        A row without any face is gray with dashes.
    """
    names = [title(expression) for expression in EXPRESSIONS] if names is None else list(names)
    if not matrices:
        raise DataError("There are no confusion matrices to draw.")
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    classes, matrices = len(names), {net: np.asarray(counts, float) for net, counts in matrices.items()}
    for network, counts in matrices.items():
        if counts.shape not in ((classes, classes), (classes, classes + 1)):
            raise DataError(
                f"The matrix of {network} has shape {counts.shape}, but there are {classes} classes."
            )
    width = max(counts.shape[1] for counts in matrices.values())
    answers = names if width == classes else [*names, other]
    figure = new_figure(max(COLUMN, 0.8 + 2.1 * columns), 0.8 + 2.15 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(matrices) :]:
        axes.set_visible(False)
    for axes, (network, counts) in zip(grid.flat, matrices.items(), strict=False):
        counts = np.pad(counts, ((0, 0), (0, width - counts.shape[1])))
        shown = _draw_confusion(axes, counts)
        axes.set_title(network)
        axes.set_yticks(range(len(names)), names)
    # The lowest matrix of each column carries the names, also where the last row is short.
    for place, axes in enumerate(grid.flat[: len(matrices)]):
        axes.set_xticks(range(width), answers, rotation=90)
        axes.tick_params(length=0, labelbottom=place + columns >= len(matrices))
    figure.colorbar(
        shown, ax=grid, shrink=min(1, 1.8 / figure.get_figheight()), aspect=14, label="% of the row"
    )
    figure.supxlabel("predicted", fontsize=8)
    figure.supylabel("true", fontsize=8)
    return figure


def _draw_confusion(axes: Axes, counts: np.ndarray) -> AxesImage:
    from matplotlib import colormaps

    sums = counts.sum(axis=1, keepdims=True)
    percent = np.divide(100 * counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)
    shown = axes.imshow(percent, cmap=colormaps["Blues"].with_extremes(bad=MISSING), vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(percent):
        text = "–" if np.isnan(value) else f"{value:.0f}"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=7, color="white" if value > 55 else "black"
        )
    axes.spines[:].set_visible(False)
    return shown
