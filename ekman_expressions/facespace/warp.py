"""Face space: the template on which all faces lie alike, the warp of an image into it and back, and how a face moved.

The template is a canvas with 89 points and the Delaunay triangles between them. The warp is piecewise
affine: each triangle of the template takes its pixels from the triangle between the same three points
of the image. Coordinates are continuous, x to the right and y down; pixel (r, c) covers
[c, c + 1] x [r, r + 1], so its centre has x = c + 0.5, y = r + 0.5.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces.cropping import _crop_transform
from ekman_expressions.faces.landmarks import _eye_distance, _mesh_indices, turned_like

SHAPE = (275, 224)
"""Rows and columns of face space."""

with resources.files("ekman_expressions").joinpath("data/template_landmarks.csv").open() as _file:
    POINTS = pd.read_csv(_file).sort_values("index")[["x", "y"]].to_numpy(np.float64)
"""(89, 2) continuous x and y: 68 landmarks, the jaw's copies on row 0, the 4 corners."""

POINTS.flags.writeable = False
# How far a landmark may lie from the middle of the image, in units of its sides.
_FARTHEST = 2.0


def triangles() -> np.ndarray:
    """Return the Delaunay triangles of `POINTS`, (T, 3) indices; they cover the canvas."""
    return _delaunay().simplices


@cache
def _corner_shares() -> Any:
    """Return the barycentric coordinates of the pixels' centres in their triangles, as a sparse matrix
    (275 * 224, 89): ``centres = shares @ POINTS``.
    """
    from scipy.sparse import csr_array

    mesh = _delaunay()
    rows, columns = np.indices(SHAPE).reshape(2, -1)
    centres = np.column_stack([columns + 0.5, rows + 0.5])
    simplex = mesh.find_simplex(centres)
    # The first two coordinates by scipy's affine maps; the three sum to 1.
    transform = mesh.transform[simplex]
    first = np.einsum("pij,pj->pi", transform[:, :2], centres - transform[:, 2])
    barycentric = np.column_stack([first, 1 - first.sum(axis=1)]).clip(0, 1)
    starts = np.arange(0, barycentric.size + 1, 3)
    parts = barycentric.ravel(), mesh.simplices[simplex].ravel(), starts
    return csr_array(parts, shape=(len(centres), len(POINTS)))


@cache
def _delaunay() -> Any:
    from scipy.spatial import Delaunay

    return Delaunay(POINTS)


def source_points(landmarks: np.ndarray) -> np.ndarray:
    """Return an image's points in the order of the template's.

    Parameters
    ----------
    landmarks : (68, 2) array_like
        x and y in units of the image's sides, [0, 1] or slightly outside, iBUG order.

    Returns
    -------
    (89, 2) ndarray of float64
        The landmarks, the jaw's copies at y = 0, the image's corners; in the same units.

    Raises
    ------
    DataError
        If the landmarks have another shape, are not finite, are far outside the image (in
        pixels rather than units?), or lie on one line.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape != (68, 2) or not np.isfinite(landmarks).all():
        bad = np.argwhere(~np.isfinite(landmarks))[:5].tolist()
        raise DataError(f"Landmarks must be finite, of shape (68, 2), but got {landmarks.shape}; not finite: {bad}.")
    if np.abs(landmarks - 0.5).max() > _FARTHEST:
        raise DataError(
            f"Landmarks must be in units of the image's sides, about [0, 1], but they reach from "
            f"{landmarks.min():.4g} to {landmarks.max():.4g}. Divide pixels by width and height."
        )
    spread = np.linalg.svd(landmarks - landmarks.mean(axis=0), compute_uv=False)
    if spread[1] <= 1e-6:
        raise DataError(
            f"Landmarks must span a face, but all lie on one point or line near {landmarks.mean(axis=0).round(4)}."
        )
    jaw_at_top = landmarks[:17] * (1, 0)
    return np.concatenate([landmarks, jaw_at_top, POINTS[-4:] / (SHAPE[1], SHAPE[0])])


def normalise(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Warp an image or map into face space, sampled bilinearly.

    Parameters
    ----------
    image : (H, W[, C]) ndarray
        An image, or a map of it such as an explanation.
    landmarks : (68, 2) array_like
        x and y in units of the image's sides; see `source_points`.

    Returns
    -------
    (275, 224[, C]) ndarray of float32
        Beyond the centres of the border pixels their values are continued.

    Raises
    ------
    DataError
        If the landmarks or the shape of the image cannot be used.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise DataError(f"An image or map must have shape (H, W) or (H, W, C), but got {image.shape}.")
    height, width = image.shape[:2]
    points = source_points(landmarks)
    # From the centre of the first pixel, in pixels; columns apart are twice as fast as together.
    x, y = (
        (_corner_shares() @ (points[:, axis] * side - 0.5)).astype(np.float32)
        for axis, side in enumerate((width, height))
    )
    sample = _remap if _remap_is_exact() else _sample
    values = image.reshape(height, width, -1).astype(np.float32, copy=False)
    # One by one: of several channels at once OpenCV is not exact.
    warped = [sample(values[..., place], x, y) for place in range(values.shape[2])]
    return np.stack(warped, axis=-1).reshape(*SHAPE, *image.shape[2:])


def template_points(landmarks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return where in face space each pixel of an image lies.

    The inverse of `normalise`: by the same triangles, a pixel's centre
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
        If the landmarks cannot be used; see `source_points`.
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


def _remap(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    import cv2

    maps = x.reshape(SHAPE), y.reshape(SHAPE)
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@cache
def _remap_is_exact() -> bool:
    """Say whether OpenCV interpolates at the exact place: before version 5, at the next 1/32 pixel."""
    x, y = np.random.default_rng(0).uniform(0, 9, (2, SHAPE[0] * SHAPE[1])).astype(np.float32)
    image = np.random.default_rng(1).random((10, 10), np.float32)
    return bool(np.abs(_remap(image, x, y) - _sample(image, x, y)).max() < 1e-5)


def _sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As `_remap`, in SciPy."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(image, (y, x), order=1, mode="nearest").reshape(SHAPE)


# The last ten points are those of the irises, which look about without an expression.
_SKIN = slice(468)


def movement(mesh: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Return how far each place of a face moved in the picture from the same person's neutral face.

    The neutral mesh is turned, scaled and moved in space until landmarks that expressions hardly move lie as
    the face's (`turned_like`), so that the head's pose counts for nothing. What is left between the points
    of both meshes is interpolated linearly between them.

    Parameters
    ----------
    mesh, neutral : (478, 3) ndarray of float
        Of the face and of the neutral face, as `LandmarkDetector` finds them in the whole pictures; see
        `FaceLandmarks`.

    Returns
    -------
    (275, 224) ndarray of float32
        In face space, in units of the distance between the eyes' outer corners; 0 outside the mesh.

    Raises
    ------
    DataError
        If a mesh has another shape, is not finite, or is no face.

    Examples
    --------
    >>> from ekman_expressions.core.files import read_image
    >>> from ekman_expressions.faces import LandmarkDetector, synthetic
    >>> names = [synthetic.folder() / "images" / f"id03_{name}_0.webp" for name in ("surprise", "neutral")]
    >>> with LandmarkDetector() as detector:
    ...     face, neutral = (detector.detect(read_image(name)).mesh for name in names)
    >>> moved = movement(face, neutral)
    >>> bool(moved[240].max() > 4 * moved[90].max())  # the chin, and the bridge of the nose
    True
    """
    from scipy.interpolate import LinearNDInterpolator

    for each in (mesh, neutral):
        if np.shape(each) != (478, 3) or not np.isfinite(each).all():
            raise DataError(f"A mesh has 478 finite points in space, but got an array of {np.shape(each)}.")
    mesh, neutral = np.float64(mesh), np.float64(neutral)
    transform = _crop_transform(mesh[_mesh_indices(), :2], 1)
    in_crop = mesh[:, :2] @ transform[:, :2].T + transform[:, 2]
    turned, _ = turned_like(neutral, mesh)
    moved = np.linalg.norm((mesh - turned)[:, :2], axis=1) / _eye_distance(mesh)
    places = _corner_shares() @ source_points(in_crop[_mesh_indices()])
    found = LinearNDInterpolator(in_crop[_SKIN], moved[_SKIN], fill_value=0)(places)
    return np.float32(found.reshape(SHAPE))
