"""The whole method in one row of pictures: from a face to a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions.figures.faces import draw_borders, draw_points, show
from ekman_expressions.figures.style import PAGE, new_figure, styled


@styled
def overview(
    face: np.ndarray,
    landmarks: np.ndarray,
    segments: np.ndarray,
    weights: np.ndarray,
    normalised: np.ndarray,
    heatmap: np.ndarray,
    above: np.ndarray,
    mask: np.ndarray,
    *,
    iou: float,
    what: str = "",
) -> Figure:
    """Draw face, explanation, face space, heatmap and comparison side by side.

    Parameters
    ----------
    face : (H, W, 3) ndarray of float, range [0, 1]
        A cropped face.
    landmarks : (68, 2) ndarray of float
        Its landmarks in units of its width and height.
    segments : (H', W') ndarray of int
        Its superpixels, at the size of the network.
    weights : (S,) ndarray of float
        The weight of each superpixel.
    normalised : (275, 224) ndarray of float
        The painted explanation in face space.
    heatmap : (275, 224) ndarray of uint8
        The mean of many.
    above, mask : (275, 224) ndarray of bool
        The heatmap above its threshold, and the Ekman mask.
    iou : float
        Their intersection over union.
    what : str
        What is averaged, under the heatmap's title.
    """
    figure = new_figure(PAGE, 2.15)
    panels = figure.subplots(1, 5)
    show(panels[0], face, "1  a face,\nits landmarks")
    draw_points(panels[0], landmarks, face)
    limit = max(np.abs(weights).max(), np.finfo(float).tiny)
    show(panels[1], np.full((*segments.shape, 3), 1.0), "2  where the\nnetwork looks")
    extent = (0, segments.shape[1], segments.shape[0], 0)
    panels[1].imshow(weights[segments], cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent)
    draw_borders(panels[1], segments, "#444444")
    highest = normalised.max() or 1.0
    show(panels[2], normalised / highest, "3  the same in\nface space", cmap="viridis", vmin=0, vmax=1)
    show(panels[3], heatmap, f"4  mean of many:\n{what}", cmap="viridis", vmin=0, vmax=1)
    # Colours by the Okabe-Ito palette: blue heatmap only, orange mask only, black both.
    agreement = np.full((*mask.shape, 3), 1.0)
    for where, colour in (
        (above & ~mask, (0.34, 0.71, 0.91)),
        (mask & ~above, (0.90, 0.62, 0.00)),
        (above & mask, (0.15, 0.15, 0.15)),
    ):
        agreement[where] = colour
    show(panels[4], agreement, f"5  against the Ekman\nmask: IoU {iou:.2f}")
    handles = [
        _patch((0.34, 0.71, 0.91), "heatmap above threshold only"),
        _patch((0.90, 0.62, 0.00), "Ekman mask only"),
        _patch((0.15, 0.15, 0.15), "both"),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=3)
    return figure


def _patch(colour: tuple[float, float, float], label: str):
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)
