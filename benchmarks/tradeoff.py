"""What fewer samples cost, drawn: the error of weights, and the likeness of heatmaps, by sampler."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from ekman_expressions.figures._style import COLUMN, PAGE, PALETTE, _legend, _line, _new_figure, _styled

STYLES = {
    "iid": {"color": PALETTE[7], "marker": "o"},
    "orthogonal": {"color": PALETTE[0], "marker": "^"},
}
NUMBERS = (64, 125, 250, 500, 1000, 2000)


@_styled
def tradeoff(
    heatmaps: pd.DataFrame, errors: pd.DataFrame | None = None, *, target: float = 0.99, most: int = 1000
) -> Figure:
    """Draw a row per network: the error of weights, then the correlation of heatmaps, by number of samples.

    `heatmaps` has the columns level, network, sampler, samples and correlation (with the heatmap of
    `most` samples); `errors` has network, sampler, penalty, samples and error (relative, squared).
    Lines are means, bands ranges; a dashed line is drawn at the correlation `target`.
    """
    networks = list(dict.fromkeys(heatmaps["network"]))
    columns = 2 if errors is None else 3
    figure = _new_figure(max(COLUMN, columns * PAGE / 3), 0.5 + 2.3 * len(networks))
    grid = figure.subplots(len(networks), columns, squeeze=False, sharex="col", sharey="col")
    for row, network in zip(grid, networks, strict=True):
        panels = list(row)
        if errors is not None:
            of_network = errors[errors["penalty"] == errors["penalty"].iloc[0]]
            of_network = of_network[of_network["network"] == network]
            axes = panels.pop(0)
            _draw(axes, of_network.groupby(["sampler", "samples"])["error"])
            axes.set(title=f"{network}\nweights", ylabel="relative squared error")
            # Without references for a network there is nothing to see.
            axes.set_visible(not of_network.empty)
        for axes, level in zip(panels, ("fold", "network"), strict=True):
            of_level = heatmaps[(heatmaps["network"] == network) & (heatmaps["level"] == level)]
            _draw(axes, (1 - of_level.set_index(["sampler", "samples"])["correlation"]).groupby(level=[0, 1]))
            axes.axhline(1 - target, color=PALETTE[5], linestyle="--")
            where = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
            axes.text(0.98, 1 - target, f"r = {target:g}", color=PALETTE[5], **where)
            axes.set(title=f"{network}\nheatmaps of a {level}", ylabel=f"1 - r with {most:,} samples")
    for axes in grid[-1]:
        axes.set_xlabel("samples per face")
    drawn = set(heatmaps["sampler"]) | (set() if errors is None else set(errors["sampler"]))
    _legend(figure, [_line(name, **style) for name, style in STYLES.items() if name in drawn])
    return figure


def _draw(axes: Axes, groups) -> None:
    means, low, high = groups.mean(), groups.min(), groups.max()
    for sampler, style in STYLES.items():
        if sampler in means.index.get_level_values(0):
            values = means[sampler]
            axes.plot(values.index, values, **style)
            axes.fill_between(values.index, low[sampler], high[sampler], color=style["color"], alpha=0.12, linewidth=0)
    axes.set(xscale="log", yscale="log")
    first, last = axes.get_xlim()
    axes.set_xticks([count for count in NUMBERS if first <= count <= last])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.minorticks_off()
    axes.grid()
