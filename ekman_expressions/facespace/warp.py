"""The warp of an image, or of a map of it, into face space.

Piecewise affine: each triangle of the template takes its pixels from the triangle between the
same three points of the image. Coordinates are continuous, x to the right and y down; pixel
(r, c) covers [c, c + 1] x [r, r + 1], so its centre has x = c + 0.5, y = r + 0.5.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.facespace.template import JAW, LANDMARKS, POINTS, SHAPE, pixels

_FARTHEST = 2.0
# OpenCV's remap takes no longer sides.
_LONGEST = 32_767
_CORNERS = POINTS[-4:] / (SHAPE[1], SHAPE[0])


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
    if landmarks.shape != (LANDMARKS, 2):
        raise DataError(f"Landmarks must have shape ({LANDMARKS}, 2), but got {landmarks.shape}.")
    if not np.isfinite(landmarks).all():
        bad = np.flatnonzero(~np.isfinite(landmarks).all(axis=1))
        raise DataError(f"Landmarks must be finite, but these are not: {', '.join(map(str, bad))}.")
    if np.abs(landmarks - 0.5).max() > _FARTHEST:
        raise DataError(
            f"Landmarks must be in units of the image's sides, about [0, 1], but they reach from "
            f"{landmarks.min():.4g} to {landmarks.max():.4g}. Divide pixels by width and height."
        )
    spread = np.linalg.svd(landmarks - landmarks.mean(axis=0), compute_uv=False)
    if spread[1] <= 1e-6:
        raise DataError(
            "Landmarks must span a face, but all lie on one point or line near "
            f"{landmarks.mean(axis=0).round(4)}."
        )
    top = landmarks[JAW] * (1, 0)
    return np.concatenate([landmarks, top, _CORNERS])


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
    if max(height, width) < _LONGEST and _remap_is_exact():
        values = image.reshape(height, width, -1).astype(np.float32, copy=False)
        # One by one: of several channels at once OpenCV is not exact.
        warped = [_remap(values[..., place], x, y) for place in range(values.shape[2])]
        whole = warped[0] if len(warped) == 1 else np.stack(warped, axis=-1)
        return whole.reshape(*SHAPE, *image.shape[2:])
    return _sample(image, x, y).reshape(*SHAPE, *image.shape[2:])


def _remap(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    import cv2

    maps = x.reshape(SHAPE), y.reshape(SHAPE)
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@cache
def _remap_is_exact() -> bool:
    """Say whether OpenCV interpolates at the place asked for: before version 5, at the next 1/32 pixel."""
    x, y = np.random.default_rng(0).uniform(0, 9, (2, SHAPE[0] * SHAPE[1])).astype(np.float32)
    image = np.random.default_rng(1).random((10, 10), np.float32)
    return bool(np.abs(_remap(image, x, y).ravel() - _sample(image, x, y)).max() < 1e-5)


def _sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate at the positions, in NumPy: (pixels[, C])."""
    height, width = image.shape[:2]
    column, right = _split(x, width)
    row, down = _split(y, height)
    at = row * width + column
    # A side of one pixel has no second neighbour; its share is 0 then.
    next_column, next_row = min(1, width - 1), min(1, height - 1) * width
    values = image.reshape(height * width, -1).astype(np.float32, copy=False)
    if values.shape[1] == 1:
        values = values[:, 0]
    else:
        right, down = right[:, None], down[:, None]
    upper = _between(values, at, next_column, right)
    lower = _between(values, at + next_row, next_column, right)
    return upper + down * (lower - upper)


@cache
def _corner_shares() -> Any:
    """The pixels' barycentric coordinates as a sparse matrix: pixels x points."""
    from scipy.sparse import csr_array

    vertices, barycentric = pixels()
    starts = np.arange(0, vertices.size + 1, 3)
    return csr_array((barycentric.ravel(), vertices.ravel(), starts), shape=(len(vertices), len(POINTS)))


def _split(position: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Split positions on the grid of pixel centres into a pixel and the share of the next one."""
    position = np.clip(position, 0, size - 1)
    pixel = np.minimum(position.astype(np.intp), max(size - 2, 0))
    return pixel, (position - pixel).astype(np.float32)


def _between(values: np.ndarray, at: np.ndarray, step: int, share: np.ndarray) -> np.ndarray:
    first = values.take(at, axis=0)
    return first + share * (values.take(at + step, axis=0) - first)
