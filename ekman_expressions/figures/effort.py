"""What training reached and what it took: accuracy, seconds and memory of each network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import PAGE, PALETTE, new_figure, styled

_MEASURES = {
    "test_accuracy": "accuracy, test faces",
    "accuracy": "accuracy, training faces",
    "seconds": "seconds per model",
    "peak_memory_mb": "peak memory, MB",
}


@styled
def training_effort(table: pd.DataFrame) -> Figure:
    """Draw a panel each for accuracy, seconds and peak memory: a row per network, a point per fold.

    Parameters
    ----------
    table : DataFrame
        One row per model: columns network, fold, and any of test_accuracy, accuracy, seconds
        and peak_memory_mb, as from `ekman_expressions.study.training_table.training_table`.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are means over folds, whiskers standard deviations (n - 1). Missing values have no
        point.

    Raises
    ------
    DataError
        If the table has no row, or none of the measures.
    """
    known = [name for name in _MEASURES if name in table and table[name].notna().any()]
    measures = {name: _MEASURES[name] for name in known}
    if table.empty or not measures:
        raise DataError(f"There is nothing to draw: the table needs rows, and any of {', '.join(_MEASURES)}.")
    networks = list(dict.fromkeys(table["network"]))
    figure = new_figure(PAGE, 0.9 + 0.2 * len(networks))
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    groups = table.groupby("network", sort=False)
    for axes, (name, label) in zip(panels, measures.items(), strict=True):
        means, spreads = groups[name].mean()[networks], groups[name].std()[networks].fillna(0)
        axes.barh(range(len(networks)), means, xerr=spreads, height=0.6, color=PALETTE[4], ecolor="#555555")
        places = table["network"].map(networks.index)
        axes.plot(table[name], places, "o", markersize=2.4, markerfacecolor="white", markeredgecolor="black")
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    panels[0].set_yticks(range(len(networks)), networks)
    panels[0].invert_yaxis()
    return figure
