"""Explainers side by side: one face, their agreement, their cost, and the importance of facial regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import PAGE, PALETTE, bare, mark_missing, new_figure, styled


@styled
def explained_faces(
    faces: Mapping[str, np.ndarray],
    maps: Mapping[tuple[str, str], np.ndarray | None],
    *,
    title: str = "",
) -> Figure:
    """Draw faces × explainers: each map laid over its face.

    Parameters
    ----------
    faces : dict of row to (H, W, 3) ndarray of float, range [0, 1]
        The images, by the label of their row.
    maps : dict of (row, column) to (H, W) ndarray of float, >= 0
        Explanations. Each is stretched to its own maximum, since units differ between
        explainers; what is absent or None is marked as missing.
    title : str

    Raises
    ------
    DataError
        If there is nothing to draw, or a map has another shape than its face.
    """
    columns = list(dict.fromkeys(column for _, column in maps))
    if not faces or not columns:
        raise DataError("There are no explained faces to draw.")
    side = PAGE / (len(columns) + 1)
    figure = new_figure(PAGE, 0.5 + (side + 0.22) * len(faces))
    grid = figure.subplots(len(faces), len(columns) + 1, squeeze=False)
    for row_axes, (row, face) in zip(grid, faces.items(), strict=True):
        row_axes[0].imshow(face)
        label = row_axes[0].text(0, -0.05, row, transform=row_axes[0].transAxes, va="top", fontsize=7)
        # It may reach below the maps beside the face, and must not push them aside.
        label.set_in_layout(False)
        for axes, column in zip(row_axes[1:], columns, strict=True):
            found = maps.get((row, column))
            if found is None:
                mark_missing(axes)
                axes.set_box_aspect(face.shape[0] / face.shape[1])
                continue
            if found.shape != face.shape[:2]:
                raise DataError(
                    f"The map {(row, column)} has shape {found.shape}, its face {face.shape[:2]}."
                )
            _lay_over(axes, face, found)
    for axes, name in zip(grid[0], ["face", *columns], strict=True):
        axes.set_title(name.replace(" ", "\n", 1), fontsize=7, fontweight="normal")
    for axes in grid.flat:
        bare(axes)
    figure.suptitle(title)
    return figure


@styled
def agreement(matrices: Mapping[str, pd.DataFrame], names: Mapping[str, str] | None = None) -> Figure:
    """Draw how far explainers agree as matrices of correlations, with their values.

    Parameters
    ----------
    matrices : dict of str to DataFrame
        By title, square tables as from `ekman_expressions.measures.explainer_agreement.matrix`; range
        [-1, 1], NaN where there is no correlation.
    names : dict, optional
        What to call the explainers.
    """
    if not matrices:
        raise DataError("There are no correlations to draw.")
    names = names or {}
    wide = max(len(table) for table in matrices.values()) > 6
    shape = (len(matrices), 1) if wide else (1, len(matrices))
    figure = new_figure(PAGE * (0.75 if wide else 1), (4.6 if wide else 3.0) * shape[0])
    grid = figure.subplots(*shape, squeeze=False)
    for axes, (title, table) in zip(grid.flat, matrices.items(), strict=True):
        values = table.to_numpy()
        shown = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
        labels = [names.get(name, name) for name in table.index]
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title)
        for (row, column), value in np.ndenumerate(values):
            text = "–" if np.isnan(value) else f"{value:.2f}"
            colour = "white" if abs(value) > 0.65 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    bar = figure.colorbar(shown, ax=grid, shrink=0.6, aspect=20, label="correlation")
    bar.outline.set_visible(False)
    return figure


@styled
def cost_bars(cost: pd.DataFrame, names: Mapping[str, str] | None = None) -> Figure:
    """Draw what an explanation costs as bars: images through the model, and seconds, per network.

    Parameters
    ----------
    cost : DataFrame
        ``explainer, network, passes, gradients, seconds``; see `ekman_expressions.study.cost`.
    names : dict, optional
        What to call the explainers.
    """
    if cost.empty:
        raise DataError("There is no cost to draw.")
    names = names or {}
    explainers, networks = (list(dict.fromkeys(cost[column])) for column in ("explainer", "network"))
    few = len(networks) <= 3
    figure = new_figure(PAGE, 0.9 + len(explainers) * (max(0.24, 0.11 * len(networks)) if few else 0.28))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(explainers))
    calls = cost.groupby("explainer")[["passes", "gradients"]].max().loc[explainers]
    # Bars of one model call and of none would look alike on a logarithmic axis.
    left.barh(places, calls["passes"], color=[PALETTE[5 if flag else 0] for flag in calls["gradients"]])
    left.set_xscale("symlog", linthresh=1)
    left.set_xlim(0, max(10, calls["passes"].max() * 3))
    for place, (passes, flag) in enumerate(calls.itertuples(index=False)):
        text = f" {passes}" + (" (with gradients)" if flag else "")
        left.text(passes, place, text, va="center", fontsize=7)
    left.set(xlabel="images through the model", title="Model calls")
    seconds = cost.pivot(index="explainer", columns="network", values="seconds").loc[explainers, networks]
    height = 0.8 / len(networks)
    for number, network in enumerate(networks):
        if few:
            at = places + (number - (len(networks) - 1) / 2) * height
            right.barh(at, seconds[network], height, label=network, color=PALETTE[number])
        else:
            label = None if number else "one network"
            right.plot(seconds[network], places, "o", ms=3.5, mfc="none", color=PALETTE[0], label=label)
    if not few:
        right.plot(seconds.median(axis=1), places, "|", ms=12, color="black", label="their median")
    right.set_xscale("log")
    right.set(xlabel="seconds per face", title="Time on this machine")
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    left.set_yticks(places, [names.get(name, name) for name in explainers])
    left.set_ylim(len(explainers) - 0.5, -0.5)
    return figure


@styled
def region_maps(
    importance: Mapping[str, Mapping[str, float]],
    regions: Mapping[str, np.ndarray],
    *,
    outlines: Mapping[str, np.ndarray] | None = None,
    title: str = "",
) -> Figure:
    """Draw the mean importance of facial regions in face space, a panel per expression.

    Parameters
    ----------
    importance : dict of str to (dict of str to float)
        By expression, the mean weight of each region; red speaks for the expression, blue against.
        Weights of regions that are not in `regions` (the background) are not drawn. All panels have
        one scale.
    regions : dict of str to (H, W) ndarray of bool
        Where each region is; what no weight is given for stays gray.
    outlines : dict of expression to (H, W) ndarray of bool, optional
        Masks whose borders are drawn, such as the Ekman masks.
    title : str
    """
    if not importance:
        raise DataError("There are no importances of regions to draw.")
    pictures = {
        expression: _painted(regions, {key: value for key, value in weights.items() if key in regions})
        for expression, weights in importance.items()
    }
    limit = max((float(np.nanmax(np.abs(picture))) for picture in pictures.values()), default=0) or 1.0
    columns = min(len(pictures), 6)
    rows = -(-len(pictures) // columns)
    high, wide = next(iter(pictures.values())).shape
    figure = new_figure(PAGE, 0.5 + rows * (0.25 + (PAGE - 0.9) / columns * high / wide))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(pictures) :]:
        axes.set_visible(False)
    for axes, (expression, picture) in zip(grid.flat, pictures.items(), strict=False):
        axes.set_facecolor("#EEEEEE")
        shown = axes.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
        outline = (outlines or {}).get(expression)
        if outline is not None:
            axes.contour(outline, [0.5], colors="black", linewidths=0.7)
        axes.set_title(expression, fontsize=8)
        bare(axes)
    bar = figure.colorbar(shown, ax=grid, shrink=0.7, aspect=18, label="weight")
    bar.outline.set_visible(False)
    figure.suptitle(title)
    return figure


@styled
def region_bars(
    table: pd.DataFrame, expressions: Sequence[str], *, most: int = 10, title: str = ""
) -> Figure:
    """Draw the most important facial regions of each expression with their standard errors.

    Parameters
    ----------
    table : DataFrame
        ``expression, region, importance, standard_error``, one row per region and expression.
    expressions : sequence of str
        Which panels, three side by side.
    most : int
        Regions per panel: those with the largest importance.
    title : str
    """
    columns = min(3, len(expressions))
    rows = -(-len(expressions) // columns)
    figure = new_figure(PAGE, 0.5 + rows * (0.5 + 0.155 * most))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(expressions) :]:
        axes.set_visible(False)
    for axes, expression in zip(grid.flat, expressions, strict=False):
        axes.set_title(expression)
        part = table[table["expression"] == expression].nlargest(most, "importance")
        if part.empty:
            bare(axes)
            mark_missing(axes)
            continue
        names = part["region"].str.replace("_", " ")
        errors = part["standard_error"].fillna(0)
        axes.barh(range(len(part)), part["importance"], xerr=errors, color=PALETTE[0], error_kw={"lw": 0.8})
        axes.set_yticks(range(len(part)), names)
        axes.set_ylim(most - 0.5, -0.5)
        axes.axvline(0, color="black", lw=0.6)
        axes.locator_params(axis="x", nbins=4)
    figure.supxlabel("mean importance ± standard error over faces", fontsize=8)
    figure.suptitle(title)
    return figure


def _lay_over(axes: Axes, face: np.ndarray, found: np.ndarray) -> None:
    from matplotlib import colormaps

    gray = face.mean(axis=-1, keepdims=True) * np.ones(3)
    share = found / found.max() if found.max() > 0 else np.zeros_like(found)
    axes.imshow(np.clip(0.45 * gray + 0.55 * colormaps["inferno"](share)[..., :3], 0, 1))


def _painted(regions: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    shape = next(iter(regions.values())).shape
    picture = np.full(shape, np.nan)
    for name, weight in weights.items():
        picture[regions[name]] = weight
    return picture
