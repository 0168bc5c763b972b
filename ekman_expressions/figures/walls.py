"""Pictures in face space: heatmaps, Ekman masks, facial regions, and where faces move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError, check_option
from ekman_expressions.figures import _style as style

_MOST_DENSE = 8.0
_OUTLINE = "#00E5FF"


@style._styled
def heatmap_figure(
    heatmap: np.ndarray,
    mask: np.ndarray | None = None,
    face: np.ndarray | None = None,
    *,
    label: str = "",
    title: str = "",
) -> Figure:
    """Draw one heatmap over the mean face, with the outline of a mask and a scale.

    Parameters
    ----------
    heatmap : (H, W) ndarray of uint8 or float
        8-bit heatmaps are drawn from 0 to 255, others from their lowest to their highest value, or, if
        some are negative, in red and blue around 0.
    mask : (H, W) ndarray of bool, optional
        Its border is drawn in white, such as the Ekman mask's.
    face : (H, W[, 3]) ndarray of float in [0, 1] or uint8, optional
        What lies under the heatmap; by default nothing.
    label : str
        What the values are, at the scale.

    Examples
    --------
    >>> import numpy as np
    >>> from ekman_expressions import figures
    >>> figure = figures.heatmap_figure(np.eye(275, 224), title="A diagonal")
    >>> len(figure.axes)
    2
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    heatmap = np.asarray(heatmap)
    for name, other in (("mask", mask), ("face", face)):
        if other is not None and np.shape(other)[:2] != heatmap.shape:
            raise DataError(f"The {name} has shape {np.shape(other)}, but the heatmap {heatmap.shape}.")
    if heatmap.ndim != 2 or not heatmap.size or not np.isfinite(heatmap).all():
        raise DataError(f"A heatmap must be (H, W) and finite, but got shape {heatmap.shape}.")
    colours, low, high = style.UNSIGNED, float(heatmap.min()), float(heatmap.max())
    if heatmap.dtype == np.uint8:
        low, high = 0.0, 255.0
    elif low < 0:
        colours, high = style.SIGNED, max(-low, high)
        low = -high
    scale = ScalarMappable(Normalize(low, high), colours)
    figure = style._new_figure(style.COLUMN, 3.4, title, layout="compressed")
    axes = figure.add_subplot()
    picture = scale.to_rgba(heatmap)[..., :3]
    if face is not None:
        picture = style._lay_over(np.asarray(face), np.asarray(scale.norm(heatmap)), colours)
    style._show(axes, picture)
    if mask is not None:
        style._outline(axes, mask, "white" if colours == style.UNSIGNED else "black", 1.5)
    style._colour_bar(figure, scale, axes, label)
    return figure


@style._styled
def heatmap_wall(
    heatmaps: Mapping[tuple[str, str], np.ndarray | None],
    *,
    outlines: Mapping[str, np.ndarray] | None = None,
    notes: Mapping[tuple[str, str], str] | None = None,
    title: str = "",
) -> Figure:
    """Draw heatmaps as a grid, such as networks × expressions.

    Parameters
    ----------
    heatmaps : dict of (row, column) to (H, W) or (H, W, 3) ndarray
        Rows and columns in the order in which they first occur. What is absent or None is marked as
        missing. 8-bit heatmaps share the scale from 0 to 255; of others each is stretched to its own
        lowest and highest value. Pictures in RGB, such as faces, are drawn as they are, without a scale.
    outlines : dict of column to (H, W) ndarray of bool, optional
        The borders of these masks are drawn in white over every heatmap of the column.
    notes : dict of (row, column) to str, optional
        Written below the heatmaps.
    """
    present = [image for image in heatmaps.values() if image is not None]
    shapes = {image.shape for image in present}
    if len(shapes) != 1:
        raise DataError(f"A wall needs heatmaps of one shape, but got {sorted(shapes) or 'none'}.")
    shape = shapes.pop()
    for column, mask in (outlines or {}).items():
        if mask.shape != shape[:2]:
            raise DataError(f"The outline of {column} has shape {mask.shape}, but its heatmap {shape}.")
    eight_bit = all(image.dtype == np.uint8 for image in present)
    # Pictures are never so narrow that a note of 16 letters would run into the next.
    figure, cells = _wall(heatmaps, shape[:2], title, below=0.28 if notes else 0)
    for (row, column), axes in cells.items():
        image = heatmaps.get((row, column))
        if notes:
            axes.set_xlabel(notes.get((row, column), ""), fontsize=9, labelpad=2)
        if image is None:
            style._mark_missing(axes)
            continue
        limits = (0, 255) if eight_bit else (image.min(), image.max())
        style._show(axes, image, vmin=limits[0], vmax=limits[1])
        if outlines and column in outlines:
            style._outline(axes, outlines[column], "white")
    if len(shape) == 3:
        return figure
    shown = next(axes.images[0] for axes in cells.values() if axes.images)
    ticks = ["0: lowest", "255: highest"] if eight_bit else ["lowest", "highest"]
    style._colour_bar(figure, shown, list(cells.values())).set_ticks(shown.get_clim(), labels=ticks)
    return figure


@style._styled
def agreement_wall(
    marked: Mapping[tuple[str, str], np.ndarray | None],
    masks: Mapping[str, np.ndarray],
    *,
    notes: Mapping[tuple[str, str], str] | None = None,
    title: str = "",
) -> Figure:
    """Draw thresholded heatmaps on their masks: what only one of them marks, and what both do.

    Parameters
    ----------
    marked : dict of (row, column) to (H, W) ndarray of bool
        Where each heatmap is above its threshold; what is None is marked as missing.
    masks : dict of column to (H, W) ndarray of bool
        Such as the Ekman masks.
    notes : dict of (row, column) to str, optional
        Written below, such as the IoU.
    """
    style._require(marked, "thresholded heatmaps")
    pictures = {
        (row, column): None if above is None else _agreement(above, masks[column])
        for (row, column), above in marked.items()
    }
    figure = heatmap_wall.__wrapped__(pictures, notes=notes, title=title)
    style._legend(figure, _agreement_entries())
    return figure


_AGREEMENT = {
    "heatmap above threshold only": (0.34, 0.71, 0.91),
    "mask only": (0.90, 0.62, 0.00),
    "both": (0.15, 0.15, 0.15),
}


def _agreement(above: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3), in [0, 1], of which of two masks marks what."""
    return np.array([(0.96, 0.96, 0.96), *_AGREEMENT.values()])[above + 2 * mask]


def _agreement_entries() -> list[Artist]:
    return [style._patch(label, colour) for label, colour in _AGREEMENT.items()]


@style._styled
def masks_wall(
    masks: Mapping[str, np.ndarray], landmarks: np.ndarray | None = None, *, columns: int = 6, title: str = ""
) -> Figure:
    """Draw masks, with the landmarks of face space over them.

    Parameters
    ----------
    masks : dict of name to (H, W) ndarray of bool
    landmarks : (N, 2) ndarray of float, optional
        Points (x, y) in pixels of face space, pixel c covering [c, c + 1].
    columns : int
        Masks side by side.
    """
    style._require(masks, "masks")
    high, wide = next(iter(masks.values())).shape
    columns = min(columns, len(masks))
    side = min(style.PAGE / columns, 1.6)
    figure = style._new_figure(columns * side, -(-len(masks) // columns) * (side * high / wide + 0.35), title)
    for axes, (name, mask) in zip(style._panels(figure, len(masks), columns), masks.items(), strict=True):
        picture = np.where(mask, 1.0, 0.15)
        style._show(axes, picture, f"{name}\n{np.mean(mask):.1%}", cmap="gray", vmin=0, vmax=1)
        if landmarks is not None:
            axes.plot(*np.asarray(landmarks).T, ".", color=style.PALETTE[5], markersize=2.3)
    return figure


@style._styled
def atlas(
    regions: Mapping[str, np.ndarray], landmarks: np.ndarray | None = None, *, title: str = "Facial regions"
) -> Figure:
    """Draw named facial regions in colours, with a number in every connected part.

    Parameters
    ----------
    regions : dict of name to (H, W) ndarray of bool
        Later regions lie over earlier ones where they overlap.
    landmarks : (N, 2) ndarray of float, optional
        Points (x, y) in pixels of face space.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke

    style._require(regions, "regions")
    canvas = np.full((*next(iter(regions.values())).shape, 3), 0.93)
    # Yellow and black are hard to read under numbers and landmarks.
    colours = [0.45 + 0.55 * np.array(to_rgb(style.PALETTE[place % 6])) for place in range(len(regions))]
    for colour, mask in zip(colours, regions.values(), strict=True):
        canvas[mask] = colour
    columns = -(-len(regions) // 28)
    figure = style._new_figure(style.PAGE * (0.8 if columns == 1 else 1), 5.3, title)
    axes = figure.add_subplot()
    style._show(axes, canvas)
    rim = [withStroke(linewidth=2, foreground="white")]
    entries = []
    for number, (name, mask) in enumerate(regions.items(), start=1):
        style._outline(axes, mask, "black", 0.6)
        for x, y in _inner_points(mask):
            axes.text(x, y, str(number), ha="center", va="center", weight="bold", path_effects=rim)
        text = f"{number}  {name.replace('_', ' ')}"
        entries.append(style._patch(text, colours[number - 1], edgecolor="black", linewidth=0.6))
    if landmarks is not None:
        axes.plot(*np.asarray(landmarks).T, ".", color="#444444", markersize=2.3)
    style._legend(figure, entries, loc="outside right center", ncols=columns)
    return figure


@style._styled
def region_faces(
    values: Mapping[tuple[str, str], Mapping[str, float]],
    regions: Mapping[str, np.ndarray],
    *,
    scale: str = "density",
    certain: Mapping[tuple[str, str], Sequence[str]] | None = None,
    outlines: Mapping[str, np.ndarray] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw a face per cell, each facial region in the colour of its value.

    Parameters
    ----------
    values : dict of (row, column) to dict of region to float
    regions : dict of region to (H, W) ndarray of bool
        Where they are; what has no value is gray.
    scale : {'density', 'weight'}
        Density: share of the mass over share of the canvas, 1 (white) as if the map were the same
        everywhere; red is more, blue less, in a logarithmic scale from 1/8 to 8. Weight: red speaks
        for the expression, blue against, in one linear scale around 0.
    certain : dict of (row, column) to sequence of region, optional
        Regions that get a thick outline, such as those above the centre prior.
    outlines : dict of column to (H, W) ndarray of bool, optional
        Masks whose borders are drawn, such as the Ekman masks.
    note : str
        Below the figure: the unit of the intervals, their number, the baseline.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    check_option(scale, "scale", ("density", "weight"))
    unknown = {name for found in values.values() for name in found} - set(regions)
    if not values or unknown:
        raise DataError(f"There is nothing to draw, or no place for {', '.join(sorted(unknown)) or 'anything'}.")
    shape = next(iter(regions.values())).shape
    norm = LogNorm(1 / _MOST_DENSE, _MOST_DENSE, clip=True)
    if scale == "weight":
        limit = np.nanmax([0, *(abs(value) for found in values.values() for value in found.values())]) or 1
        norm = Normalize(-limit, limit)
    colours = ScalarMappable(norm, colormaps[style.SIGNED].with_extremes(bad=style.MISSING))
    below = 0.1 / len({row for row, _ in values}) if note else 0
    figure, cells = _wall(values, shape, title, below=below)
    for (row, column), axes in cells.items():
        found = values.get((row, column))
        if found is None:
            style._mark_missing(axes)
            continue
        painted = np.full(shape, np.nan)
        for name, mask in regions.items():
            painted[mask] = found.get(name, np.nan)
        canvas = colours.to_rgba(np.ma.masked_invalid(painted))[..., :3]
        canvas[~np.any(list(regions.values()), axis=0)] = 1
        style._show(axes, canvas)
        thick = (certain or {}).get((row, column), ())
        for name, mask in sorted(regions.items(), key=lambda item: item[0] in thick):
            style._outline(axes, mask, *(("black", 1.4) if name in thick else ("#888888", 0.4)))
        if outlines and column in outlines:
            style._outline(axes, outlines[column], "black")
    label = "density of the mass" if scale == "density" else "weight"
    bar = style._colour_bar(figure, colours, list(cells.values()), label)
    if scale == "density":
        ticks = [1 / _MOST_DENSE, 0.5, 1, 2, _MOST_DENSE]
        bar.set_ticks(ticks, labels=["⅛", "½", "1: even", "2", "8"])
        bar.minorticks_off()
    if note:
        figure.supxlabel(note, fontsize=9)
    return figure


@style._styled
def causal_wall(
    faces: Mapping[str, np.ndarray],
    maps: Mapping[str, np.ndarray],
    outlines: Mapping[str, np.ndarray],
    ious: Mapping[str, float],
    *,
    title: str = "",
) -> Figure:
    """Draw, for each expression, the mean face, the mean causal map, and the outline of the Ekman mask.

    The upper picture highlights the part of the face that moves most, as large as the mask, which
    the line surrounds. The lower one shows the map itself.

    Parameters
    ----------
    faces : dict of name to (275, 224, 3) ndarray of float, range [0, 1]
        Mean faces in face space, RGB.
    maps : dict of name to (275, 224) ndarray of float, >= 0
        Mean causal maps, the displacement in mm; all are drawn in one scale from 0.
    outlines : dict of name to (275, 224) ndarray of bool
        Masks.
    ious : dict of name to float
        Written into the titles.
    """
    style._require(maps, "causal maps")
    shape = next(iter(maps.values())).shape
    side = (style.PAGE - 0.8) / max(len(maps), 3)
    size = side * len(maps) + 0.8, 2 * side * shape[0] / shape[1] + 0.45
    figure = style._new_figure(*size, title, layout="compressed")
    grid = figure.subplots(2, len(maps), squeeze=False)
    highest = max(float(found.max()) for found in maps.values()) or 1
    for (upper, lower), (name, found) in zip(grid.T, maps.items(), strict=True):
        style._show(upper, _highlight(faces[name], found, outlines[name]), f"{name}\nIoU {ious[name]:.2f}")
        shown = style._show(lower, found, cmap=style.MOVEMENT, vmin=0, vmax=highest)
        for axes in (upper, lower):
            style._outline(axes, outlines[name], _OUTLINE, 1.2)
    style._colour_bar(figure, shown, grid[1], "displacement (mm)", shrink=1)
    return figure


def _highlight(face: np.ndarray, causal_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Darken a face but where its causal map is highest, on as many pixels as a mask has."""
    area = max(int(mask.sum()), 1)
    moving = causal_map >= np.partition(causal_map, -area, axis=None)[-area]
    face = style._to_unit(face)
    pale = 0.35 * face.mean(axis=2, keepdims=True)
    return np.where(moving[..., None], np.clip(face * 1.1, 0, 1), pale)


def _inner_points(mask: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield, for each connected part that is worth it, the point (x, y) farthest from its border."""
    from scipy import ndimage

    # Pixels that touch at a corner belong together, and crumbs get no number of their own.
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=2)[1:]
    for part in 1 + np.flatnonzero(areas > areas.max() / 5):
        # Padded, so that the canvas' edge counts as a border too.
        depth = ndimage.distance_transform_edt(np.pad(parts == part, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(np.argmax(depth), depth.shape)
        yield column + 0.5, row + 0.5


def _wall(
    keys: Iterable[tuple[str, str]], shape: tuple[int, int], title: str = "", *, below: float = 0
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Return a figure that fits a page, and bare axes by (row, column) for pictures of one shape.

    Rows are named at their left, columns above; `below` is the room under each picture, in inches.
    """
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*keys, strict=True))
    ratio = shape[0] / shape[1]
    wide = min((style.PAGE - 2.0) / 1.06 / len(columns), (style.PAGE_HEIGHT - 0.6) / len(rows) / ratio, 1.6)
    # In a line, names would run into each other where a word is wider than a picture.
    bold, normal = 0.065, 0.055
    longest = max(len(word) for column in columns for word in str(column).split() or " ")
    letter = next((letter for letter in (bold, normal) if longest * letter <= wide), None)
    look = {"fontweight": "bold" if letter == bold else "normal", "rotation": 0 if letter else 90}
    above = 0 if letter else 0.06 * max(len(str(column)) for column in columns)
    high = len(rows) * (wide * ratio + 0.06 + below) + 0.35 + above
    size = max(len(columns) * wide * 1.06 + 2.0, style.COLUMN), high
    figure = style._new_figure(*size, title, layout="compressed")
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    cells = {}
    for (r, c), axes in np.ndenumerate(grid):
        style._bare(axes)
        axes.set(xlim=(0, shape[1]), ylim=(shape[0], 0), aspect="equal")
        if r == 0:
            name = fill(str(columns[c]), int(wide / letter)) if letter else str(columns[c])
            axes.set_title(name, fontsize=9, **look)
        if c == 0:
            axes.set_ylabel(rows[r], rotation=0, ha="right", va="center", fontsize=9)
        cells[rows[r], columns[c]] = axes
    return figure, cells
