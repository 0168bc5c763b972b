"""Pictures of how good explanations are: curves, spreads, untrained networks, other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import PAGE, PALETTE, bare, mark_missing, new_figure, styled

_CONTROLS = {"random": ("#777777", "--"), "centre": ("#777777", ":")}
_KINDS = ("deletion", "insertion")


@styled
def erasure_curves(
    curves: Mapping[str, Mapping[str, np.ndarray]],
    shares: np.ndarray,
    *,
    titles: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw a network's deletion and insertion curves for each expression, against the controls.

    Parameters
    ----------
    curves : dict of expression to dict of ranking to (N, 2, G) ndarray of float
        The answers for N faces, of deletion and of insertion, such as `quality.read_curves` returns
        for each network. The line is their mean, the band ± one standard error of it. Where rankings
        differ in N, the heading says from how many to how many.
    shares : (G,) ndarray of float, range [0, 1]
        The shares of the pixels.
    titles : dict of ranking to str, optional
        What rankings are called in the legend.
    title : str

    Raises
    ------
    DataError
        If there are no curves, or their lengths differ from that of `shares`.
    """
    if not curves:
        raise DataError("There are no curves to draw.")
    rankings = list(dict.fromkeys(name for cell in curves.values() for name in cell))
    colours = _colours(rankings)
    columns = len(curves)
    figure = new_figure(max(PAGE * columns / 6, 3.5), 3.5 + (0.25 if title else 0))
    grid = figure.subplots(2, columns, squeeze=False, sharex=True, sharey=True)
    for column, (expression, cell) in enumerate(curves.items()):
        for row in range(len(_KINDS)):
            axes = grid[row, column]
            for name, answers in cell.items():
                if answers.ndim != 3 or answers.shape[1:] != (2, len(shares)):
                    raise DataError(
                        f"Curves must have shape (N, 2, {len(shares)}), but {name} has {answers.shape}."
                    )
                _band(axes, shares, answers[:, row], *colours[name])
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "½", "1"])
            if row == 0:
                axes.set_title(f"{expression}\n{_faces(cell)}", fontsize=7)
    for row, kind in enumerate(_KINDS):
        grid[row, 0].set_ylabel(f"{kind}\nprobability")
    for axes, kind in ((grid[0, columns // 2], "hidden"), (grid[1, columns // 2], "shown")):
        axes.set_xlabel(f"share of the pixels that are {kind}")
    lines = [grid[0, 0].plot([], [], color=colours[name][0], ls=colours[name][1])[0] for name in rankings]
    names = [(titles or {}).get(name, name) for name in rankings]
    figure.legend(lines, names, loc="outside lower center", ncols=min(len(names), 6))
    if title:
        figure.suptitle(title)
    return figure


@styled
def reliability_boxes(
    table: pd.DataFrame, measures: Mapping[str, str] | None = None, *, title: str = ""
) -> Figure:
    """Draw, per network and expression, how R², standard errors and sign flips spread over faces.

    Boxes go from quartile to quartile, whiskers to the 5th and the 95th percentile.

    Parameters
    ----------
    table : DataFrame
        ``network, expression`` and the measures, a row per face; NaN is left out.
    measures : dict of column to str, optional
        What is drawn, and how it is called.
    title : str

    Raises
    ------
    DataError
        If the table is empty.
    """
    measures = measures or {
        "r2": "R² of the\nsurrogate",
        "mean_standard_error": "standard error\nof a weight",
        "weighted_flip_rate": "sign flips, by\nsize of weight",
    }
    if table.empty:
        raise DataError("There are no explanations to draw.")
    networks = list(dict.fromkeys(table["network"]))
    expressions = list(dict.fromkeys(table["expression"]))
    colours = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(expressions)}
    figure = new_figure(max(5.4, min(PAGE, 1.2 + 1.5 * len(networks))), 1.25 * len(measures) + 0.6)
    grid = figure.subplots(len(measures), 1, squeeze=False, sharex=True)[:, 0]
    step = 1 / (len(expressions) + 1)
    for axes, (column, label) in zip(grid, measures.items(), strict=True):
        for number, network in enumerate(networks):
            for place, expression in enumerate(expressions):
                rows = (table["network"] == network) & (table["expression"] == expression)
                values = table.loc[rows, column].dropna().to_numpy()
                if len(values):
                    at = number + (place - (len(expressions) - 1) / 2) * step
                    _box(axes, values, at, 0.8 * step, colours[expression])
        axes.set_ylabel(label)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    grid[-1].set_xticks(range(len(networks)), networks, rotation=45 if len(networks) > 6 else 0)
    grid[-1].set_xlim(-0.5, len(networks) - 0.5)
    handles = [_patch(colour) for colour in colours.values()]
    figure.legend(handles, expressions, loc="outside lower center", ncols=min(len(expressions), 6))
    if title:
        figure.suptitle(title)
    return figure


@styled
def untrained_wall(
    heatmaps: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
    notes: Mapping[tuple[str, str], str] | None = None,
    *,
    trained: str = "as set",
    untrained: str = "untrained",
    title: str = "",
) -> Figure:
    """Draw the heatmaps of networks above those of their untrained copies, for each expression.

    Each heatmap has a scale of its own, from its lowest to its highest value.

    Parameters
    ----------
    heatmaps : dict of (network, expression) to dict of variant to (H, W) ndarray of float
        Such as `quality.read_heatmaps` returns.
    notes : dict of (network, expression) to str, optional
        Written below each pair, e.g. how alike they are.
    trained, untrained : str
        The two variants.
    title : str

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    if not heatmaps:
        raise DataError("There are no heatmaps to draw.")
    networks = list(dict.fromkeys(network for network, _ in heatmaps))
    expressions = list(dict.fromkeys(expression for _, expression in heatmaps))
    high, wide = next(iter(next(iter(heatmaps.values())).values())).shape
    side = (PAGE - 0.5) / max(len(expressions), 4)
    height = 2 * len(networks) * (side * high / wide + 0.13) + 0.4 + (0.25 if title else 0)
    figure = new_figure(side * len(expressions) + 0.5, height)
    grid = figure.subplots(2 * len(networks), len(expressions), squeeze=False)
    for number, network in enumerate(networks):
        for column, expression in enumerate(expressions):
            cell = heatmaps.get((network, expression), {})
            for row, variant in enumerate((trained, untrained)):
                axes = grid[2 * number + row, column]
                bare(axes)
                if column == 0:
                    axes.set_ylabel(f"{network}\n{'trained' if variant == trained else 'untrained'}")
                if variant not in cell:
                    axes.set(xlim=(0, wide), ylim=(high, 0), aspect="equal")
                    mark_missing(axes)
                    continue
                axes.imshow(cell[variant], cmap="viridis")
            grid[2 * number + 1, column].set_xlabel((notes or {}).get((network, expression), ""), fontsize=7)
    for axes, expression in zip(grid[0], expressions, strict=True):
        axes.set_title(expression)
    if title:
        figure.suptitle(title)
    return figure


@styled
def sensitivity_matrices(
    matrices: Mapping[tuple[str, str], np.ndarray], variants: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw the correlations of maps that were made in different ways, as a grid of matrices.

    Parameters
    ----------
    matrices : dict of (row, column) to (V, V) ndarray of float, range [-1, 1]
        E.g. by network and expression; NaN where there is none.
    variants : sequence of V str
        The ways.
    title : str

    Raises
    ------
    DataError
        If there is nothing to draw, or a matrix has another shape.
    """
    if not matrices:
        raise DataError("There are no correlations to draw.")
    rows = list(dict.fromkeys(row for row, _ in matrices))
    columns = list(dict.fromkeys(column for _, column in matrices))
    count = len(variants)
    side = max(0.115 * count, 0.95)
    figure = new_figure(side * len(columns) + 2.7, side * len(rows) + 1.6 + (0.25 if title else 0))
    # The turned labels reach beyond what the layout reckons with.
    figure.get_layout_engine().set(rect=(0.015, 0.03, 0.97, 0.96))
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    shown = None
    for number, row in enumerate(rows):
        for place, column in enumerate(columns):
            axes, matrix = grid[number, place], matrices.get((row, column))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if number == 0:
                axes.set_title(column)
            if matrix is None:
                mark_missing(axes)
                continue
            if matrix.shape != (count, count):
                raise DataError(f"A matrix of {count} variants must be square, but got {matrix.shape}.")
            axes.set_facecolor("#DDDDDD")
            shown = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
            if place == 0:
                axes.set_yticks(range(count), variants)
                axes.set_ylabel(row, fontweight="bold")
            if number == len(rows) - 1:
                axes.set_xticks(range(count), variants, rotation=90)
            axes.tick_params(length=0)
    if shown is not None:
        bar = figure.colorbar(
            shown, ax=grid, shrink=min(1, 1.6 / figure.get_figheight()), aspect=12, pad=0.02
        )
        bar.set_label("correlation of the maps")
        bar.outline.set_visible(False)
    if title:
        figure.suptitle(title)
    return figure


def _colours(rankings: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return the colour and the dashes of each ranking; no two explainers look alike."""
    explainers = [name for name in rankings if name not in _CONTROLS]
    rounds = ("-", "-.", (0, (1, 1)))
    found = {}
    for place, name in enumerate(explainers):
        again, colour = divmod(place, len(PALETTE))
        found[name] = PALETTE[colour], rounds[again % len(rounds)]
    return found | {name: _CONTROLS[name] for name in rankings if name in _CONTROLS}


def _faces(cell: Mapping[str, np.ndarray]) -> str:
    counts = sorted({len(answers) for answers in cell.values()} or {0})
    if len(counts) > 1:
        return f"{counts[0]} to {counts[-1]} faces"
    return f"{counts[0]} face{'s' * (counts[0] != 1)}"


def _band(axes: Axes, shares: np.ndarray, answers: np.ndarray, colour: str, style: Any) -> None:
    mean = answers.mean(axis=0)
    axes.plot(shares, mean, color=colour, ls=style)
    if len(answers) > 1:
        error = answers.std(axis=0, ddof=1) / np.sqrt(len(answers))
        axes.fill_between(shares, mean - error, mean + error, color=colour, alpha=0.2, lw=0)


def _box(axes: Axes, values: np.ndarray, at: float, width: float, colour: str) -> None:
    axes.boxplot(
        values,
        positions=[at],
        widths=width,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "linewidth": 0.5},
        medianprops={"color": "black", "linewidth": 1},
        whiskerprops={"linewidth": 0.5},
        capprops={"linewidth": 0.5},
    )


def _patch(colour: str):
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, edgecolor="black", linewidth=0.5)
