"""Faces drawn in colours: how much of a heatmap's mass each facial region holds for its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import MISSING, PAGE, PAGE_HEIGHT, bare, mark_missing, new_figure, styled

_MOST = 8.0


@styled
def region_faces(
    densities: Mapping[tuple[str, str], Mapping[str, float]],
    regions: Mapping[str, np.ndarray],
    *,
    certain: Mapping[tuple[str, str], Sequence[str]] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw a face per cell, each region in the colour of its density.

    Parameters
    ----------
    densities : dict of (row, column) to dict of region to float, >= 0
        Share of the mass over share of the canvas: 1 (white) as if the map were the same
        everywhere; red is more, blue less, in a logarithmic scale from 1/8 to 8.
    regions : dict of region to (H, W) ndarray of bool
        Where they are.
    certain : dict of (row, column) to sequence of region, optional
        Regions that get a thick outline: those whose interval lies above 1.
    title : str
    note : str
        Below the figure: the unit of the intervals, their number, the baseline.

    Raises
    ------
    DataError
        If there is nothing to draw, or a region has no place.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    rows, columns = (list(dict.fromkeys(key[axis] for key in densities)) for axis in (0, 1))
    unknown = {name for found in densities.values() for name in found} - set(regions)
    if not densities or unknown:
        raise DataError(
            f"There is nothing to draw, or no place for {', '.join(sorted(unknown)) or 'anything'}."
        )
    high, wide = next(iter(regions.values())).shape
    ratio = high / wide
    side = min((PAGE - 1.9) / len(columns) / 1.06, (PAGE_HEIGHT - 1.2) / len(rows) / ratio, 1.6)
    figure = new_figure(
        max(side * len(columns) * 1.06 + 1.9, 3.5),
        len(rows) * (side * ratio + 0.06) + 0.55 + (0.25 if title else 0) + (0.2 if note else 0),
        layout="compressed",
    )
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    colours = ScalarMappable(LogNorm(1 / _MOST, _MOST), colormaps["RdBu_r"])
    for r, row in enumerate(rows):
        grid[r, 0].set_ylabel(row, rotation=0, ha="right", va="center", fontsize=7)
        for c, column in enumerate(columns):
            axes = grid[r, c]
            bare(axes)
            axes.set(xlim=(0, wide), ylim=(high, 0), aspect="equal")
            if r == 0:
                axes.set_title(column, fontsize=7)
            found = densities.get((row, column))
            if found is None:
                mark_missing(axes)
            else:
                _face(axes, found, regions, colours, (certain or {}).get((row, column), ()))
    bar = figure.colorbar(colours, ax=grid, shrink=min(1, 1.9 / figure.get_figheight()), aspect=16, pad=0.02)
    bar.set_ticks([1 / _MOST, 0.5, 1, 2, _MOST], labels=["⅛", "½", "1: even", "2", "8"])
    bar.minorticks_off()
    bar.set_label("density of the mass")
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title)
    if note:
        figure.supxlabel(note, fontsize=7)
    return figure


def _face(
    axes: Axes,
    found: Mapping[str, float],
    regions: Mapping[str, np.ndarray],
    colours: object,
    certain: Sequence[str],
) -> None:
    from matplotlib.colors import to_rgb

    high, wide = next(iter(regions.values())).shape
    canvas = np.ones((high, wide, 3))
    middles = np.arange(wide) + 0.5, np.arange(high) + 0.5
    for name, mask in regions.items():
        value = found.get(name, np.nan)
        if not np.isfinite(value):
            canvas[mask] = to_rgb(MISSING)
            continue
        canvas[mask] = colours.to_rgba(np.clip(value, 1 / _MOST, _MOST))[:3]
    axes.imshow(canvas, extent=(0, wide, high, 0))
    for name, mask in regions.items():
        thick = name in certain
        axes.contour(
            *middles,
            mask,
            levels=[0.5],
            colors="black" if thick else "#888888",
            linewidths=1.1 if thick else 0.3,
        )
