"""Pictures of the causal masks: their means beside the Ekman masks, and the layers of one face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError
from ekman_expressions.figures.faces import show
from ekman_expressions.figures.style import PAGE, bare, new_figure, styled

_COLOUR_MAP = "inferno"
_OUTLINE = "#00E5FF"


@styled
def causal_wall(
    faces: Mapping[str, np.ndarray],
    maps: Mapping[str, np.ndarray],
    outlines: Mapping[str, np.ndarray],
    ious: Mapping[str, float],
    *,
    label: str = "displacement (mm)",
    title: str = "",
) -> Figure:
    """Draw, for each expression, the mean face, the mean causal map, and the outline of the Ekman mask.

    The upper picture shows both on the face: lit is the part of the face that moves most, as
    large as the mask, which the line surrounds. The lower one shows the map itself.

    Parameters
    ----------
    faces : dict of name to (275, 224, 3) ndarray of float, range [0, 1]
        Mean faces in face space, RGB.
    maps : dict of name to (275, 224) ndarray of float, >= 0
        Mean causal maps; all are drawn in one scale from 0.
    outlines : dict of name to (275, 224) ndarray of bool
        Masks.
    ious : dict of name to float
        Written into the titles.
    label : str
        What the maps measure.
    title : str

    Raises
    ------
    DataError
        If there is nothing to draw, a name is missing somewhere, or shapes differ.
    """
    if not maps:
        raise DataError("There are no causal maps to draw.")
    shape = next(iter(maps.values())).shape
    for kind, others in (("face", faces), ("map", maps), ("outline", outlines), ("IoU", ious)):
        for name in maps:
            if name not in others:
                raise DataError(f"There is no {kind} of {name}; there are {', '.join(others) or 'none'}.")
            if kind != "IoU" and others[name].shape[:2] != shape:
                raise DataError(f"The {kind} of {name} has shape {others[name].shape}, maps have {shape}.")
    high, wide = shape
    side = (PAGE - 0.7) / max(len(maps), 3)
    figure = new_figure(
        side * len(maps) + 0.7, 2 * side * high / wide + 0.45 + (0.25 if title else 0), layout="compressed"
    )
    grid = figure.subplots(2, len(maps), squeeze=False)
    highest = max(float(causal_map.max()) for causal_map in maps.values())
    middles = np.arange(wide) + 0.5, np.arange(high) + 0.5
    shown = None
    for (upper, lower), (name, causal_map) in zip(grid.T, maps.items(), strict=True):
        show(upper, _lit(faces[name], causal_map, outlines[name]))
        upper.set_title(f"{name}\nIoU {ious[name]:.2f}", fontsize=7)
        shown = lower.imshow(
            causal_map, cmap=_COLOUR_MAP, vmin=0, vmax=highest or 1, extent=(0, wide, high, 0)
        )
        bare(lower)
        for axes in (upper, lower):
            axes.contour(*middles, outlines[name], levels=[0.5], colors=_OUTLINE, linewidths=0.9)
    bar = figure.colorbar(shown, ax=grid[1], pad=0.02, aspect=14, label=label)
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title)
    return figure


@styled
def causal_layers(
    neutral: np.ndarray,
    face: np.ndarray,
    layers: Mapping[str, np.ndarray],
    *,
    title: str = "",
    columns: int = 6,
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
    title : str
    columns : int
        Pictures side by side.

    Raises
    ------
    DataError
        If there are no layers.
    """
    from matplotlib.colors import PowerNorm

    if not layers:
        raise DataError("There are no layers to draw: neutral faces have none.")
    pictures = {"neutral": neutral, "expression": face, **layers}
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    side = (PAGE - 0.9) / columns
    figure = new_figure(PAGE, rows * (side + 0.3) + (0.3 if title else 0.05), layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(pictures) :]:
        axes.set_visible(False)
    displacements = [layer.max() for name, layer in layers.items() if name != "photometric"]
    highest = max(displacements, default=0) or 1
    displacement = None
    for axes, (name, picture) in zip(grid.flat, pictures.items(), strict=False):
        label = name.upper() if name.startswith("au") else name
        if name in ("neutral", "expression"):
            show(axes, picture, label)
            continue
        high, wide = picture.shape
        photometric = name == "photometric"
        limit = float(picture.max()) or 1 if photometric else highest
        shown = axes.imshow(
            picture, cmap=_COLOUR_MAP, norm=PowerNorm(0.5, 0, limit), extent=(0, wide, high, 0)
        )
        axes.set_title(label)
        bare(axes)
        if photometric:
            axes.set_xlabel(f"0 to {limit:.2f} of RGB", fontsize=7, labelpad=2)
        else:
            displacement = shown
    if displacement is not None:
        bar = figure.colorbar(displacement, ax=grid, pad=0.02, aspect=16, label="displacement (mm)")
        bar.outline.set_visible(False)
    if title:
        figure.suptitle(title)
    return figure


def _lit(face: np.ndarray, causal_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Darken a face but where its causal map is highest, on as many pixels as a mask has."""
    area = max(int(mask.sum()), 1)
    lit = causal_map >= np.partition(causal_map, -area, axis=None)[-area]
    pale = 0.35 * face.mean(axis=2, keepdims=True)
    return np.where(lit[..., None], np.clip(face * 1.1, 0, 1), pale)
