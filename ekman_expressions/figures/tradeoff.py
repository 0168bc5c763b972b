"""What fewer samples cost: the error of weights, and the likeness of heatmaps, by sampler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import COLUMN, PAGE, PALETTE, new_figure, styled

_STYLES = {
    "iid": {"color": PALETTE[7], "marker": "o"},
    "antithetic": {"color": PALETTE[1], "marker": "s"},
    "orthogonal": {"color": PALETTE[0], "marker": "^"},
}
_NUMBERS = (64, 125, 250, 500, 1000, 2000)
_HEATMAPS = ["level", "network", "sampler", "samples", "correlation"]
_ERRORS = ["network", "sampler", "penalty", "samples", "error"]


@styled
def tradeoff(
    heatmaps: pd.DataFrame, errors: pd.DataFrame | None = None, *, target: float = 0.99, most: int = 1000
) -> Figure:
    """Draw a row per network: the error of weights, then the correlation of heatmaps, by number of samples.

    Parameters
    ----------
    heatmaps : DataFrame
        Columns level (``"fold"`` or ``"network"``), network, sampler, samples and correlation: of a
        heatmap with that of `most` samples. Means over rows are drawn, and their ranges.
    errors : DataFrame, optional
        Columns network, sampler, penalty, samples and error: of weights, squared and relative. Means
        over rows of the first penalty are drawn. Left out, the left panels are too.
    target : float
        Correlation at which a line is drawn.
    most : int
        The number of samples that others are compared with.

    Raises
    ------
    DataError
        If a table has no row or lacks a column.
    """
    _check(heatmaps, _HEATMAPS, "heatmaps")
    if errors is not None:
        _check(errors, _ERRORS, "errors")
    networks = list(dict.fromkeys(heatmaps["network"]))
    columns = 2 if errors is None else 3
    figure = new_figure(max(COLUMN, columns * PAGE / 3), 0.4 + 2.3 * len(networks))
    grid = figure.subplots(len(networks), columns, squeeze=False, sharex="col", sharey="col")
    for row, network in zip(grid, networks, strict=True):
        of_network = heatmaps[heatmaps["network"] == network]
        panels = list(row)
        if errors is not None:
            axes = panels.pop(0)
            rows = errors[(errors["network"] == network) & (errors["penalty"] == errors["penalty"].iloc[0])]
            for sampler, style in _STYLES.items():
                means = rows[rows["sampler"] == sampler].groupby("samples")["error"].mean()
                axes.plot(means.index, means, label=sampler, markersize=3.5, **style)
            axes.set(yscale="log", title=f"{network}\nweights", ylabel="relative squared error")
            _finish(axes)
            # Without references for a network there is nothing to see.
            axes.set_visible(not rows.empty)
        for axes, level in zip(panels, ("fold", "network"), strict=True):
            rows = of_network[of_network["level"] == level]
            for sampler, style in _STYLES.items():
                groups = (1 - rows[rows["sampler"] == sampler].set_index("samples")["correlation"]).groupby(
                    "samples"
                )
                means, low, high = groups.mean(), groups.min(), groups.max()
                axes.plot(means.index, means, label=sampler, markersize=3.5, **style)
                axes.fill_between(means.index, low, high, color=style["color"], alpha=0.12, linewidth=0)
            axes.axhline(1 - target, color=PALETTE[5], linewidth=0.8, linestyle="--")
            axes.text(
                0.98, 1 - target, f"r = {target:g}", color=PALETTE[5], fontsize=7, ha="right", va="bottom",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
            axes.set(
                yscale="log",
                title=f"{network}\nheatmaps of a {level}",
                ylabel=f"1 - r with {most:,} samples",
            )
            _finish(axes)
    for axes in grid[-1]:
        axes.set_xlabel("samples per face")
    entries = {}
    for axes in grid.flat:
        # Of a sampler without a row there is an empty line.
        entries |= {
            line.get_label(): line
            for line in axes.get_lines()
            if line.get_label() in _STYLES and len(line.get_xdata())
        }
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(_STYLES))
    return figure


def _finish(axes: Axes) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xticks([count for count in _NUMBERS if low <= count <= high])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.minorticks_off()
    axes.grid(color="#E5E5E5", linewidth=0.6)


def _check(table: pd.DataFrame, columns: list[str], name: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing or table.empty:
        lacks = f"lacks {', '.join(missing)}" if missing else "has no row"
        raise DataError(f"The table '{name}' {lacks}; it needs {', '.join(columns)}.")
    if not np.isfinite(table[columns[-1]]).all():
        raise DataError(f"The table '{name}' holds values of '{columns[-1]}' that are not finite.")
