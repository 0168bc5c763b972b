"""The warp backwards: where in face space each pixel of an image lies."""

from __future__ import annotations

import numpy as np

from ekman_expressions.facespace.template import POINTS, triangles
from ekman_expressions.facespace.warp import source_points


def template_points(landmarks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return where in face space each pixel of an image lies.

    The inverse of `ekman_expressions.facespace.warp.normalise`: by the same triangles, a pixel's centre
    in an image triangle goes to the point of the template triangle with the same barycentric
    coordinates. Where triangles of the image overlap (an odd face), the one listed first counts.

    Parameters
    ----------
    landmarks : (68, 2) array_like
        x and y in units of the image's sides.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    (H, W, 2) ndarray of float64
        Continuous x and y in face space; NaN where no triangle covers the pixel.

    Raises
    ------
    DataError
        If the landmarks cannot be used; see `ekman_expressions.facespace.warp.source_points`.
    """
    height, width = shape
    points = source_points(landmarks) * (width, height)
    places = np.full((height, width, 2), np.nan)
    for corners in triangles()[::-1]:
        image, template = points[corners], POINTS[corners]
        low = np.floor(image.min(axis=0)).astype(int).clip(0, (width, height))
        high = np.ceil(image.max(axis=0)).astype(int).clip(0, (width, height))
        edges = image[:2] - image[2]
        # A triangle without area, or beside the image, covers no pixel's centre.
        if (low >= high).any() or abs(np.linalg.det(edges)) < 1e-9:
            continue
        rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
        first = (np.stack([columns, rows], axis=-1) - image[2]) @ np.linalg.inv(edges)
        shares = np.concatenate([first, 1 - first.sum(axis=-1, keepdims=True)], axis=-1)
        inside = (shares >= -1e-9).all(axis=-1)
        places[low[1] : high[1], low[0] : high[0]][inside] = shares[inside] @ template
    return places
