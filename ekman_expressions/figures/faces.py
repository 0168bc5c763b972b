"""Pictures of faces: contact sheets, one explanation, one warp into face space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import PAGE, PALETTE, bare, new_figure, styled


@styled
def faces_sheet(
    images: Sequence[np.ndarray],
    landmarks: Sequence[np.ndarray] | None = None,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 6,
) -> Figure:
    """Draw a contact sheet of faces.

    Parameters
    ----------
    images : sequence of (H, W, 3) ndarray of float in [0, 1] or uint8
        RGB.
    landmarks : sequence of (68, 2) ndarray of float, optional
        Points (x, y) of each face in units of its width and height.
    titles : sequence of str, optional
        Above each face.
    columns : int
        Faces side by side.
    """
    if len(images) == 0:
        raise DataError("There are no faces to draw.")
    for name, others in (("landmarks", landmarks), ("titles", titles)):
        if others is not None and len(others) != len(images):
            raise DataError(f"There are {len(images)} faces, but {len(others)} {name}.")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    side = min(PAGE / columns, 1.8)
    figure = new_figure(columns * side, rows * (side + (0.2 if titles is not None else 0.03)))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_visible(False)
    for place, (axes, image) in enumerate(zip(grid.flat, images, strict=False)):
        show(axes, image)
        if landmarks is not None:
            draw_points(axes, landmarks[place], image)
        if titles is not None:
            axes.set_title(titles[place], fontsize=7, weight="normal")
    return figure


@styled
def explanation(
    image: np.ndarray,
    segments: np.ndarray,
    weights: np.ndarray,
    *,
    standard_errors: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw how one face was explained: its superpixels, their weights, and how sure these are.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float in [0, 1] or uint8
    segments : (H, W) ndarray of int
        Superpixel of each pixel, 0 ... S - 1.
    weights : (S,) ndarray of float
        Weight of each superpixel; negative ones speak against the class.
    standard_errors : (S,) ndarray of float, optional
        Adds a panel with the weights in order and ± one standard error.
    title : str

    Raises
    ------
    DataError
        If the sizes do not fit one another.
    """
    segments, weights = np.asarray(segments), np.asarray(weights, dtype=float)
    if segments.shape != image.shape[:2] or segments.max() >= len(weights):
        raise DataError(
            f"The face is {image.shape[:2]}, its superpixels {segments.shape} numbered to {segments.max()}, "
            f"and there are {len(weights)} weights: these do not fit."
        )
    panels = 3 if standard_errors is None else 4
    figure = new_figure(PAGE, PAGE / panels + (0.5 if title else 0.25))
    grid = figure.subplots(1, panels)
    show(grid[0], image, "face")
    show(grid[1], image, "superpixels")
    draw_borders(grid[1], segments, "white")
    limit = max(np.abs(weights).max(), np.finfo(float).tiny)
    # Pale, so that the colours of the weights stay readable on dark skin and in shadow.
    pale = 0.6 + 0.4 * _unit(image).mean(axis=2)
    show(grid[2], pale, "weights", cmap="gray", vmin=0, vmax=1)
    painted = grid[2].imshow(
        weights[segments], cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.7, extent=_extent(segments)
    )
    draw_borders(grid[2], segments, "#444444")
    figure.colorbar(painted, ax=grid[2], shrink=0.8, aspect=14)
    if standard_errors is not None:
        order = np.argsort(-weights, kind="stable")
        grid[3].axhline(0, color="black", linewidth=0.6)
        grid[3].errorbar(
            np.arange(len(order)),
            weights[order],
            np.asarray(standard_errors)[order],
            fmt="o",
            markersize=2,
            color=PALETTE[0],
            ecolor="#888888",
            elinewidth=0.8,
        )
        grid[3].set(title="± standard error", xlabel="superpixel by rank", box_aspect=1)
    if title:
        figure.suptitle(title)
    return figure


@styled
def warp(
    image: np.ndarray,
    source_points: np.ndarray,
    template_points: np.ndarray,
    triangles: np.ndarray,
    normalised: np.ndarray,
    mean_face: np.ndarray | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw how one face is laid into face space.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float in [0, 1] or uint8
    source_points : (89, 2) ndarray of float
        Points (x, y) of the face in units of its width and height.
    template_points : (89, 2) ndarray of float
        The same points in pixels of face space.
    triangles : (T, 3) ndarray of int
        Which three points make each triangle.
    normalised : (275, 224, 3) ndarray
        The face in face space.
    mean_face : (275, 224, 3) ndarray, optional
        The mean of many normalised faces, as a last panel.
    """
    panels = 3 if mean_face is None else 4
    figure = new_figure(PAGE, PAGE / panels * 1.23 + (0.6 if title else 0.35))
    grid = figure.subplots(1, panels)
    height, width = image.shape[:2]
    show(grid[0], image, "face and its triangles")
    _draw_triangles(grid[0], np.asarray(source_points) * (width, height), triangles, PALETTE[6])
    rows, columns = normalised.shape[:2]
    show(grid[1], np.full((rows, columns, 3), 0.95), "template")
    _draw_triangles(grid[1], template_points, triangles, PALETTE[0])
    show(grid[2], normalised, "in face space")
    if mean_face is not None:
        show(grid[3], mean_face, "mean face")
    if title:
        figure.suptitle(title)
    return figure


def _extent(image: np.ndarray) -> tuple[float, float, float, float]:
    # Pixel (row r, column c) covers [c, c + 1] x [r, r + 1], as everywhere in the package.
    return (0, image.shape[1], image.shape[0], 0)


def _unit(image: np.ndarray) -> np.ndarray:
    """Return 8-bit or float pixels as float in [0, 1]."""
    return image / 255 if image.dtype == np.uint8 else np.clip(image, 0, 1)


def show(axes: Axes, image: np.ndarray, title: str = "", **options) -> None:
    """Show an image on bare axes whose units are its pixels."""
    axes.imshow(_unit(image), extent=_extent(image), **options)
    axes.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0), title=title)
    bare(axes)


def draw_points(axes: Axes, landmarks: np.ndarray, image: np.ndarray) -> None:
    """Draw landmarks, given in units of the image's width and height, over an image."""
    height, width = image.shape[:2]
    axes.plot(*(np.asarray(landmarks) * (width, height)).T, ".", color=PALETTE[4], markersize=1.5)


def _draw_triangles(axes: Axes, points: np.ndarray, triangles: np.ndarray, colour: str) -> None:
    axes.triplot(*np.asarray(points).T, triangles, color=colour, linewidth=0.5)


def draw_borders(axes: Axes, segments: np.ndarray, colour: str) -> None:
    """Draw the border lines between superpixels exactly on the pixels' edges."""
    from matplotlib.collections import LineCollection

    rows, columns = np.nonzero(segments[:, 1:] != segments[:, :-1])
    upright = [((c + 1, r), (c + 1, r + 1)) for r, c in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(segments[1:] != segments[:-1])
    level = [((c, r + 1), (c + 1, r + 1)) for r, c in zip(rows, columns, strict=True)]
    axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=0.6))
