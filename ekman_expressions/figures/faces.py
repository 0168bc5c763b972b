"""Pictures of faces: landmarks, explanations, one warp into face space, and the layers of a movement mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures import _style as style

_CONTOURS = {
    "jaw": [range(0, 17)],
    "brows": [range(17, 22), range(22, 27)],
    "nose": [range(27, 31), range(31, 36)],
    "eyes": [(*range(36, 42), 36), (*range(42, 48), 42)],
    "mouth": [(*range(48, 60), 48), (*range(60, 68), 60)],
}
"""The lines through the landmarks (iBUG order) of each part, closed round eyes and lips."""

_COLOURS = dict(zip(_CONTOURS, [style.PALETTE[place] for place in (2, 1, 6, 4, 3)], strict=True))


@style._styled
def alignment_page(
    faces: Sequence[np.ndarray],
    points: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    outliers: Sequence[float] | None = None,
    title: str = "",
) -> Figure:
    """Draw cropped faces with the contours of their 68 landmarks, to see at a glance which are wrong.

    Parameters
    ----------
    faces : sequence of (H, W, 3) ndarray of float in [0, 1] or uint8
        RGB.
    points : sequence of (68, 2) ndarray of float
        Landmarks (x, y) of each face in units of its width and height.
    titles : sequence of str
        Above each face.
    outliers : sequence of float, optional
        Landmark outlier scores (`ekman_expressions.faces.landmark_outliers`): shown above the faces,
        which come in this order, the highest first.
    """
    style._require(faces, "faces")
    for name, others in (("landmarks", points), ("titles", titles), ("outliers", outliers)):
        if others is not None and len(others) != len(faces):
            raise DataError(f"There are {len(faces)} faces, but {len(others)} {name}.")
    order = np.arange(len(faces))
    if outliers is not None:
        order = np.argsort(-np.asarray(outliers, dtype=float), kind="stable")
        titles = [f"{text}\noutlier {value:.3f}" for text, value in zip(titles, outliers, strict=True)]
    lines = 1 + max(text.count("\n") for text in titles)
    columns = min(6, len(order))
    rows, side = -(-len(order) // columns), min(style.PAGE / columns, 2.4)
    figure = style._new_figure(max(columns * side, 2.8), rows * (side + 0.13 * lines + 0.03) + 0.3, title)
    grid = style._panels(figure, len(order), columns)
    for axes, place in zip(grid, order, strict=True):
        style._show(axes, faces[place])
        axes.set_title(titles[place], fontsize=9, weight="normal", pad=2)
        _draw_contours(axes, points[place], faces[place].shape)
    handles, _ = grid[0].get_legend_handles_labels()
    style._legend(figure, handles, len(_CONTOURS), handlelength=1.2, columnspacing=1)
    return figure


@style._styled
def explanation(
    image: np.ndarray,
    segments: np.ndarray,
    weights: np.ndarray,
    standard_errors: np.ndarray,
    *,
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
    standard_errors : (S,) ndarray of float
        Of the weights, which the last panel shows in order.
    """
    segments, weights = np.asarray(segments), np.asarray(weights, dtype=float)
    if segments.shape != image.shape[:2] or segments.max() >= len(weights):
        raise DataError(
            f"The face is {image.shape[:2]}, its superpixels {segments.shape} numbered to {segments.max()}, "
            f"and there are {len(weights)} weights: these do not fit."
        )
    figure = style._new_figure(style.PAGE, style.PAGE / 4 + 0.25, title)
    grid = style._panels(figure, 4, 4)
    style._show(grid[0], image, "face")
    style._show(grid[1], image, "superpixels")
    _draw_borders(grid[1], segments, "white")
    _draw_explained(grid[2], image, weights[segments], segments, "weights")
    order = np.argsort(-weights, kind="stable")
    errors = np.asarray(standard_errors)[order]
    grid[3].axhline(0, color="black", linewidth=0.8)
    look = {"color": style.PALETTE[0], "markersize": 2.5, "ecolor": "#888888", "elinewidth": 1}
    grid[3].errorbar(range(len(order)), weights[order], errors, fmt="o", **look)
    grid[3].set(title="± standard error", xlabel="superpixel by rank", box_aspect=1)
    return figure


@style._styled
def explained_face(
    image: np.ndarray,
    points: np.ndarray,
    explained: np.ndarray,
    normalised: np.ndarray,
    mean_face: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    segments: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw one face's way to face space: its landmarks, its explanation, and that over the mean face.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float in [0, 1] or uint8
    points : (68, 2) ndarray of float
        Landmarks (x, y) in units of the image's width and height.
    explained : (H, W) ndarray of float
        The explanation; negative values speak against the class.
    normalised : (275, 224) ndarray of float, >= 0
        What speaks for the class, in face space.
    mean_face : (275, 224, 3) ndarray of float in [0, 1]
    mask : (275, 224) ndarray of bool, optional
        Its border is drawn, such as the Ekman mask's.
    segments : (H, W) ndarray of int, optional
        The superpixel of each pixel, whose borders are drawn.
    """
    if explained.shape != image.shape[:2] or normalised.shape != mean_face.shape[:2]:
        raise DataError(
            f"The explanation has shape {explained.shape}, its face {image.shape[:2]}; in face space "
            f"{normalised.shape} and {mean_face.shape[:2]}: these do not fit."
        )
    figure = style._new_figure(style.PAGE, style.PAGE / 3 + 0.35, title)
    face, weights, common = style._panels(figure, 3, 3)
    style._show(face, image, "face and landmarks")
    _draw_contours(face, points, image.shape)
    bar = _draw_explained(weights, image, explained, segments, "explanation")
    bar.set_ticks([bar.vmin, 0, bar.vmax], labels=["against", "0", "for"])
    style._show(common, style._lay_over(mean_face, normalised / (normalised.max() or 1)), "in face space")
    if mask is not None:
        style._outline(common, mask, "white", 1.5)
        common.set_xlabel("white: Ekman mask", fontsize=9)
    return figure


@style._styled
def explained_faces(
    faces: Mapping[str, np.ndarray], maps: Mapping[tuple[str, str], np.ndarray | None], *, title: str = ""
) -> Figure:
    """Draw faces × explainers: each map laid over its face.

    Parameters
    ----------
    faces : dict of row to (H, W, 3) ndarray of float, range [0, 1]
        The images, by the label of their row.
    maps : dict of (row, column) to (H, W) ndarray of float, >= 0
        Explanations. Each is stretched to its own maximum, since units differ between
        explainers; what is absent or None, and what is 0 everywhere, is marked.
    """
    names = list(dict.fromkeys(column for _, column in maps))
    style._require(faces and names, "explained faces")
    # At most seven beside each other, and as many in each line.
    lines = -(-(len(names) + 1) // 7)
    columns = -(-(len(names) + 1) // lines)
    side = min(style.PAGE / columns, 1.4)
    high = side * max(face.shape[0] / face.shape[1] for face in faces.values()) + 0.3
    figure = style._new_figure(max(side * columns, style.COLUMN), 0.1 + high * lines * len(faces), title)
    grid = figure.subplots(lines * len(faces), columns, squeeze=False)
    for cells, (row, face) in zip(grid.reshape(len(faces), -1), faces.items(), strict=True):
        style._show(cells[0], face)
        cells[0].set_title(row.replace(": ", ":\n"), fontsize=9, fontweight="normal")
        for axes, column in zip(cells[1:], names, strict=False):
            style._bare(axes)
            axes.set_title(column.replace(" ", "\n", 1), fontsize=9, fontweight="normal")
            found = maps.get((row, column))
            if found is None:
                style._mark_missing(axes)
                axes.set_box_aspect(face.shape[0] / face.shape[1])
            elif found.shape != face.shape[:2]:
                raise DataError(f"The map {(row, column)} has shape {found.shape}, its face {face.shape[:2]}.")
            else:
                style._show(axes, style._lay_over(face, found / (found.max() or 1)))
                if found.max() <= 0:
                    axes.text(0.5, 0.05, "all 0", color="white", transform=axes.transAxes, ha="center")
        for axes in cells[1 + len(names) :]:
            axes.set_visible(False)
    return figure


@style._styled
def warp(
    image: np.ndarray,
    source_points: np.ndarray,
    template_points: np.ndarray,
    triangles: np.ndarray,
    normalised: np.ndarray,
    mean_face: np.ndarray,
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
    mean_face : (275, 224, 3) ndarray
        The mean of many normalised faces, as a last panel.
    """
    figure = style._new_figure(style.PAGE, style.PAGE / 4 * 1.23 + 0.35, title)
    grid = style._panels(figure, 4, 4)
    style._show(grid[0], image, "face and its triangles")
    style._show(grid[1], np.full(normalised.shape, 0.95), "template")
    style._show(grid[2], normalised, "in face space")
    style._show(grid[3], mean_face, "mean face")
    in_pixels = np.asarray(source_points) * image.shape[1::-1]
    grid[0].triplot(*in_pixels.T, triangles, color=style.PALETTE[6], linewidth=0.6)
    grid[1].triplot(*np.asarray(template_points).T, triangles, color=style.PALETTE[0], linewidth=0.6)
    return figure


@style._styled
def causal_layers(
    neutral: np.ndarray, face: np.ndarray, layers: Mapping[str, np.ndarray], *, title: str = ""
) -> Figure:
    """Draw one person's neutral face, an expression, and the layers of its causal mask.

    Parameters
    ----------
    neutral, face : (H, W, 3) ndarray of uint8, or of float in [0, 1]
        RGB.
    layers : dict of name to (h, w) ndarray of float
        Such as `synthetic.read_layers` returns: ``"photometric"`` has a scale of its own, written
        below it; all others share one, in mm. Colours go with the square root, so that the weak
        units can be seen beside the strong ones.
    """
    from matplotlib.colors import PowerNorm

    style._require(layers, "layers (neutral faces have none)")
    columns = min(6, len(layers) + 2)
    rows, side = -(-(len(layers) + 2) // columns), (style.PAGE - 0.9) / columns
    figure = style._new_figure(style.PAGE, rows * (side + 0.3) + 0.05, title, layout="compressed")
    grid = style._panels(figure, len(layers) + 2, columns)
    style._show(grid[0], neutral, "neutral")
    style._show(grid[1], face, "expression")
    highest = max((layer.max() for name, layer in layers.items() if name != "photometric"), default=0) or 1
    displacement = None
    for axes, (name, layer) in zip(grid[2:], layers.items(), strict=True):
        label = name.upper() if name.startswith("au") else name
        limit = float(layer.max()) or 1 if name == "photometric" else highest
        shown = style._show(axes, layer, label, cmap=style.MOVEMENT, norm=PowerNorm(0.5, 0, limit))
        if name == "photometric":
            axes.set_xlabel(f"0 to {limit:.2f} of RGB", fontsize=9, labelpad=2)
        else:
            displacement = shown
    if displacement is not None:
        style._colour_bar(figure, displacement, grid, "displacement (mm)")
    return figure


def _draw_contours(axes: Axes, points: np.ndarray, shape: tuple[int, ...]) -> None:
    from matplotlib.patheffects import Normal, Stroke

    points = np.asarray(points) * (shape[1], shape[0])
    # A dark rim, so that the lines stand out on light and on dark skin.
    rim = [Stroke(linewidth=2, foreground="black", alpha=0.6), Normal()]
    look = {"linewidth": 0.9, "marker": ".", "markersize": 1.6, "path_effects": rim}
    for part, contours in _CONTOURS.items():
        for number, contour in enumerate(contours):
            label = f"_{part}" if number else part
            axes.plot(*points[list(contour)].T, color=_COLOURS[part], label=label, **look)


def _draw_explained(
    axes: Axes, image: np.ndarray, weights: np.ndarray, segments: np.ndarray | None, title: str
) -> Colorbar:
    """Paint the weights of pixels over a face, with the borders of superpixels; return their scale."""
    # Pale, so that the colours of the weights stay readable on dark skin and in shadow.
    style._show(axes, 0.6 + 0.4 * style._to_unit(image).mean(axis=2), title, cmap="gray", vmin=0, vmax=1)
    painted = _draw_weights(axes, weights, segments, alpha=0.7)
    return style._colour_bar(axes.figure, painted, axes, shrink=0.8, aspect=14)


def _draw_weights(axes: Axes, weights: np.ndarray, segments: np.ndarray | None, alpha: float = 1):
    limit = np.abs(weights).max() or 1
    painted = style._show(axes, weights, cmap=style.SIGNED, vmin=-limit, vmax=limit, alpha=alpha)
    if segments is not None:
        _draw_borders(axes, segments, "#444444")
    return painted


def _draw_borders(axes: Axes, segments: np.ndarray, colour: str) -> None:
    """Draw the border lines between superpixels exactly on the pixels' edges."""
    from matplotlib.collections import LineCollection

    upright = [((c + 1, r), (c + 1, r + 1)) for r, c in np.argwhere(segments[:, 1:] != segments[:, :-1])]
    level = [((c, r + 1), (c + 1, r + 1)) for r, c in np.argwhere(segments[1:] != segments[:-1])]
    axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=0.8))
