"""The template: the canvas and the 89 points on which all faces lie alike, and their triangles."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

SHAPE = (275, 224)
"""Rows and columns of face space."""

LANDMARKS = 68
"""The first so many points are a face's landmarks, in iBUG order."""

JAW = slice(0, 17)
"""The landmarks of the jaw; copied to row 0 they are the points that follow the landmarks."""


def _points() -> np.ndarray:
    with resources.files("ekman_expressions").joinpath("data/template_landmarks.csv").open() as file:
        points = pd.read_csv(file).sort_values("index")[["x", "y"]].to_numpy(np.float64)
    points.flags.writeable = False
    return points


POINTS = _points()
"""(89, 2) continuous x and y: 68 landmarks, the jaw's copies on row 0, the 4 corners."""


@cache
def triangles() -> np.ndarray:
    """Return the Delaunay triangles of `POINTS`, (T, 3) indices; they cover the canvas."""
    return _delaunay().simplices


@cache
def pixels() -> tuple[np.ndarray, np.ndarray]:
    """Return in which triangle the centre of each pixel of face space lies, and where in it.

    Returns
    -------
    vertices : (275 * 224, 3) ndarray of int
        The points at the triangle's corners, per pixel in row order.
    barycentric : (275 * 224, 3) ndarray of float64, range [0, 1]
        The corners' shares in the pixel's centre: ``centre = barycentric @ POINTS[vertices]``.
    """
    mesh = _delaunay()
    rows, columns = np.indices(SHAPE).reshape(2, -1)
    centres = np.column_stack([columns + 0.5, rows + 0.5])
    simplex = mesh.find_simplex(centres)
    # The first two coordinates by scipy's affine maps; the three sum to 1.
    transform = mesh.transform[simplex]
    first = np.einsum("pij,pj->pi", transform[:, :2], centres - transform[:, 2])
    barycentric = np.column_stack([first, 1 - first.sum(axis=1)]).clip(0, 1)
    return mesh.simplices[simplex], barycentric


@cache
def _delaunay() -> Any:
    from scipy.spatial import Delaunay

    return Delaunay(POINTS)
