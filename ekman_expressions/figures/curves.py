"""Curves and distributions: learning, erasing, marked areas, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures._style import (
    _DASHES,
    COLUMN,
    PAGE,
    PALETTE,
    _legend,
    _line,
    _new_figure,
    _panels,
    _patch,
    _require,
    _styled,
)

_CONTROLS = {"random": ("#777777", "--"), "centre": ("#777777", ":")}
_RELIABILITY = {
    "r2": "R² of the\nsurrogate",
    "r2_unseen": "R² on unseen\nsamples",
    "mean_standard_error": "std. error\nof a weight",
    "weighted_flip_rate": "sign flips, by\nsize of weight",
}


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
    """Draw a network's deletion and insertion curves for each expression, against the controls.

    Parameters
    ----------
    curves : dict of expression to dict of ranking to (N, 2, G) ndarray of float
        The predictions for N faces, of deletion and of insertion. The line is their mean, the band
        ± one standard error of it. Where rankings differ in N, the heading says from how many to how many.
    shares : (G,) ndarray of float, range [0, 1]
        The shares of the pixels.
    titles : dict of ranking to str, optional
        What rankings are called in the legend.
    """
    _require(curves, "curves")
    styles = _ranking_styles(list(dict.fromkeys(name for cell in curves.values() for name in cell)))
    columns = len(curves)
    entries = [_line((titles or {}).get(name, name), colour, ls=ls) for name, (colour, ls) in styles.items()]
    size = max(PAGE * columns / 6, COLUMN), 3.3 + 0.15 * -(-len(entries) // 4)
    figure = _new_figure(*size, title)
    grid = figure.subplots(2, columns, squeeze=False, sharex=True, sharey=True)
    for upper, (expression, cell) in zip(grid[0], curves.items(), strict=True):
        counts = sorted({len(predictions) for predictions in cell.values()} or {0})
        faces = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
        upper.set_title(f"{expression}\n{faces} face{'s' * (faces != 1)}", fontsize=9)
        upper.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "½", "1"])
    for row, (kind, verb) in enumerate((("deletion", "hidden"), ("insertion", "shown"))):
        grid[row, 0].set_ylabel(f"{kind}\nprobability")
        grid[row, columns // 2].set_xlabel(f"share of pixels {verb}")
        for axes, cell in zip(grid[row], curves.values(), strict=True):
            for name, found in cell.items():
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


def _ranking_styles(rankings: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return the colour and the dashes of each ranking; no two explainers look alike."""
    explainers = [name for name in rankings if name not in _CONTROLS]
    rounds = ("-", "-.", (0, (1, 1)))
    styles = {
        name: (PALETTE[place % len(PALETTE)], rounds[place // len(PALETTE) % len(rounds)])
        for place, name in enumerate(explainers)
    }
    return styles | {name: _CONTROLS[name] for name in rankings if name in _CONTROLS}
