"""Pictures in face space: walls of heatmaps, the Ekman masks, the atlas of regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.style import PAGE, PAGE_HEIGHT, PALETTE, bare, mark_missing, new_figure, styled

# Width in inches of a letter of 7 points, with what must lie between two names.
_LETTERS = {"bold": 0.065, "normal": 0.055}


@styled
def heatmap_wall(
    heatmaps: Mapping[tuple[str, str], np.ndarray | None],
    *,
    outlines: Mapping[str, np.ndarray] | None = None,
    colour_map: str = "viridis",
    title: str = "",
) -> Figure:
    """Draw heatmaps as a grid, such as networks × expressions.

    Parameters
    ----------
    heatmaps : dict of (row, column) to (H, W) ndarray
        8-bit heatmaps; rows and columns in the order in which they first occur. What is
        absent or None is marked as missing. All have the same scale, 0 to 255.
    outlines : dict of column to (H, W) ndarray of bool, optional
        The borders of these masks are drawn in white over every heatmap of the column.
    colour_map : str
        Name of a matplotlib colour map: perceptually uniform by default; ``"jet"`` is the
        study's, whose bands show edges where the data have none.
    title : str

    Raises
    ------
    DataError
        If there is nothing to draw, or an outline has another shape than its heatmap.
    """
    rows, columns = (list(dict.fromkeys(key[axis] for key in heatmaps)) for axis in (0, 1))
    shapes = {image.shape for image in heatmaps.values() if image is not None}
    if len(shapes) != 1:
        raise DataError(f"A wall needs heatmaps of one shape, but got {sorted(shapes) or 'none'}.")
    high, wide = shapes.pop()
    figure, grid = _grid(len(rows), len(columns), high / wide, title)
    shown = None
    for (row, column), axes in _cells(grid, rows, columns):
        image = heatmaps.get((row, column))
        bare(axes)
        axes.set(xlim=(-0.5, wide - 0.5), ylim=(high - 0.5, -0.5), aspect="equal")
        if image is None:
            mark_missing(axes)
        else:
            shown = axes.imshow(image, cmap=colour_map, vmin=0, vmax=255)
            _outline(axes, (outlines or {}).get(column), image.shape, column)
    bar = figure.colorbar(shown, ax=grid, shrink=min(1, 1.9 / figure.get_figheight()), aspect=16, pad=0.02)
    bar.set_ticks([0, 255], labels=["0: lowest", "255: highest"])
    bar.outline.set_visible(False)
    return figure


@styled
def masks_wall(
    masks: Mapping[str, np.ndarray], landmarks: np.ndarray | None = None, *, title: str = "", columns: int = 6
) -> Figure:
    """Draw masks, with the landmarks of face space over them.

    Parameters
    ----------
    masks : dict of name to (H, W) ndarray of bool
    landmarks : (N, 2) ndarray of float, optional
        Points (x, y) in pixels of face space, pixel c covering [c, c + 1].
    title : str
    columns : int
        Masks side by side.
    """
    masks = dict(masks)
    if not masks:
        raise DataError("There are no masks to draw.")
    high, wide = next(iter(masks.values())).shape
    columns = min(columns, len(masks))
    figure, grid = _grid(-(-len(masks) // columns), columns, high / wide, title)
    for axes in grid.flat[len(masks) :]:
        axes.set_visible(False)
    for axes, (name, mask) in zip(grid.flat, masks.items(), strict=False):
        axes.imshow(np.where(mask, 1.0, 0.15), cmap="gray", vmin=0, vmax=1, extent=(0, wide, high, 0))
        axes.set_title(f"{name}\n{np.mean(mask):.1%}", fontsize=7)
        bare(axes)
        if landmarks is not None:
            axes.plot(*np.asarray(landmarks).T, ".", color=PALETTE[5], markersize=1.8)
    return figure


@styled
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
    title : str
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    if not regions:
        raise DataError("There are no regions to draw.")
    high, wide = next(iter(regions.values())).shape
    canvas = np.full((high, wide, 3), 0.93)
    # Yellow and black are hard to read under numbers and landmarks.
    colours = [PALETTE[place % 6] for place in range(len(regions))]
    for colour, mask in zip(colours, regions.values(), strict=True):
        canvas[mask] = 0.45 + 0.55 * np.array(to_rgb(colour))
    columns = -(-len(regions) // 28)
    figure = new_figure(PAGE * (0.8 if columns == 1 else 1), 5.3)
    axes = figure.add_subplot()
    axes.imshow(canvas, extent=(0, wide, high, 0))
    for number, mask in enumerate(regions.values(), start=1):
        middles = np.arange(wide) + 0.5, np.arange(high) + 0.5
        axes.contour(*middles, mask, levels=[0.5], colors="black", linewidths=0.5)
        for x, y in _inner_points(mask):
            axes.text(
                x,
                y,
                str(number),
                ha="center",
                va="center",
                fontsize=7,
                weight="bold",
                path_effects=[withStroke(linewidth=1.6, foreground="white")],
            )
    if landmarks is not None:
        axes.plot(*np.asarray(landmarks).T, ".", color="#444444", markersize=1.8)
    bare(axes)
    entries = [
        Patch(
            facecolor=0.45 + 0.55 * np.array(to_rgb(colour)),
            edgecolor="black",
            linewidth=0.5,
            label=f"{number}  {name.replace('_', ' ')}",
        )
        for number, (name, colour) in enumerate(zip(regions, colours, strict=True), start=1)
    ]
    figure.legend(handles=entries, loc="outside right center", ncols=columns)
    figure.suptitle(title)
    return figure


def _grid(rows: int, columns: int, ratio: float, title: str) -> tuple[Figure, np.ndarray]:
    """Return a figure that fits a page and its axes, for images `ratio` times as high as wide."""
    wide = min((PAGE - 2.2) / columns, (PAGE_HEIGHT - 0.6) / rows / ratio, 1.6)
    figure = new_figure(
        max(columns * wide * 1.06 + 2.0, 3.5),
        rows * (wide * ratio + 0.06) + 0.35 + (0.25 if title else 0),
        layout="compressed",
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    if title:
        figure.suptitle(title)
    return figure, grid


def _cells(
    grid: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[tuple[str, str], Axes]]:
    """Yield every (row, column) with its axes, the outer ones labelled."""
    room = (grid[0, 0].figure.get_figwidth() - 2.0) / len(columns)
    longest = max(len(word) for column in columns for word in str(column).split() or " ")
    # In a line, names would run into each other where a word is wider than a picture.
    weight = next((name for name, letter in _LETTERS.items() if longest * letter <= room), None)
    style = {"rotation": 90} if weight is None else {"fontweight": weight}
    for r, row in enumerate(rows):
        grid[r, 0].set_ylabel(row, rotation=0, ha="right", va="center", fontsize=7)
        for c, column in enumerate(columns):
            if r == 0:
                name = column if weight is None else fill(str(column), int(room / _LETTERS[weight]))
                grid[r, c].set_title(name, fontsize=7, **style)
            yield (row, column), grid[r, c]


def _outline(axes: Axes, mask: np.ndarray | None, shape: tuple[int, ...], name: str) -> None:
    if mask is None:
        return
    if mask.shape != shape:
        raise DataError(f"The outline of {name} has shape {mask.shape}, but its heatmap {shape}.")
    axes.contour(mask, levels=[0.5], colors="white", linewidths=0.7)


def _inner_points(mask: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield, for each connected part that is worth it, the point (x, y) farthest from its border."""
    from scipy import ndimage

    # Pixels that touch at a corner belong together, and crumbs get no number of their own.
    parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=2)[1:]
    for part in range(1, count + 1):
        if areas[part - 1] < areas.max() / 5:
            continue
        # Padded, so that the canvas' edge counts as a border too.
        depth = ndimage.distance_transform_edt(np.pad(parts == part, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(np.argmax(depth), depth.shape)
        yield column + 0.5, row + 0.5
