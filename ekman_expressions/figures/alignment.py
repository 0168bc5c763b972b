"""A page of cropped faces with their landmarks drawn, to see at a glance which are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.figures.faces import show
from ekman_expressions.figures.style import PAGE, PALETTE, new_figure, styled

CONTOURS = {
    "jaw": [range(0, 17)],
    "brows": [range(17, 22), range(22, 27)],
    "nose": [range(27, 31), range(31, 36)],
    "eyes": [(*range(36, 42), 36), (*range(42, 48), 42)],
    "mouth": [(*range(48, 60), 48), (*range(60, 68), 60)],
}
"""The lines through the landmarks (iBUG order) of each part, closed round eyes and lips."""

_COLOURS = dict(zip(CONTOURS, (PALETTE[2], PALETTE[1], PALETTE[6], PALETTE[4], PALETTE[3]), strict=True))


@styled
def alignment_page(
    faces: Sequence[np.ndarray],
    points: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    residuals: Sequence[float] | None = None,
    most: int = 30,
    columns: int = 6,
    title: str = "",
) -> Figure:
    """Draw cropped faces with the contours of their 68 landmarks.

    Parameters
    ----------
    faces : sequence of (H, W, 3) ndarray of float in [0, 1] or uint8
        RGB.
    points : sequence of (68, 2) ndarray of float
        Landmarks (x, y) of each face in units of its width and height.
    titles : sequence of str, optional
        Above each face.
    residuals : sequence of float, optional
        How unusual each face's landmarks are (see `ekman_expressions.faces.landmark_outliers`):
        shown above the faces, which come in this order, the worst first.
    most : int
        Faces drawn at most; the title says how many there are.
    columns : int
        Faces side by side.
    title : str

    Raises
    ------
    DataError
        If there are no faces, or their numbers differ.
    """
    check_range(most, "most", 1, integer=True)
    check_range(columns, "columns", 1, integer=True)
    if len(faces) == 0:
        raise DataError("There are no faces to draw.")
    for name, others in (("landmarks", points), ("titles", titles), ("residuals", residuals)):
        if others is not None and len(others) != len(faces):
            raise DataError(f"There are {len(faces)} faces, but {len(others)} {name}.")
    order = np.arange(len(faces))
    if residuals is not None:
        order = np.argsort(-np.asarray(residuals, dtype=float), kind="stable")
    if len(faces) > most:
        title = f"{title} ({most} of {len(faces)})".strip()
    order = order[:most]
    columns = min(columns, len(order))
    rows = -(-len(order) // columns)
    side = min(PAGE / columns, 2.4)
    above = [_above(place, titles, residuals) for place in order]
    lines = max(text.count("\n") + bool(text) for text in above)
    figure = new_figure(
        max(columns * side, 2.6), rows * (side + 0.13 * lines + 0.03) + (0.3 if title else 0.05) + 0.25
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(order) :]:
        axes.set_visible(False)
    for axes, place, text in zip(grid.flat, order, above, strict=False):
        show(axes, faces[place])
        axes.set_title(text, fontsize=7, weight="normal", pad=2)
        _draw_contours(axes, points[place], faces[place].shape)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(CONTOURS), handlelength=1.2)
    if title:
        figure.suptitle(title)
    return figure


def _above(place: int, titles: Sequence[str] | None, residuals: Sequence[float] | None) -> str:
    parts = [] if titles is None else [titles[place]]
    if residuals is not None:
        parts.append(f"residual {residuals[place]:.3f}")
    return "\n".join(parts)


def _draw_contours(axes, points: np.ndarray, shape: tuple[int, ...]) -> None:
    from matplotlib.patheffects import Normal, Stroke

    points = np.asarray(points) * (shape[1], shape[0])
    # A dark rim, so that the lines stand out on light and on dark skin.
    rim = [Stroke(linewidth=1.5, foreground="black", alpha=0.6), Normal()]
    for part, contours in CONTOURS.items():
        for number, contour in enumerate(contours):
            axes.plot(
                *points[list(contour)].T,
                color=_COLOURS[part],
                linewidth=0.7,
                marker=".",
                markersize=1.3,
                path_effects=rim,
                label=None if number else part,
            )
