"""Square crops by landmarks: eyes level, forehead to chin, alike on all faces."""

from __future__ import annotations

import math

import numpy as np

from ekman_expressions.core.errors import DataError, check_range

# Landmarks (iBUG order) of the eye at the image's left, of the one at its right, and of the mouth.
_EYES, _MOUTH = (slice(36, 42), slice(42, 48)), slice(48, 68)
_WIDTH = 2.6  # side of the crop, in units of the distance from the eyes' to the mouth's centre
_EYE_LINE = 0.38  # height of the eyes in the crop, from its top, in units of its side


def _crop_transform(points: np.ndarray, size: int) -> np.ndarray:
    """Return the similarity (2, 3) that takes source coordinates to those of the crop."""
    points = np.asarray(points, np.float64)
    left, right = (points[eye].mean(axis=0) for eye in _EYES)
    eyes = (left + right) / 2
    along = right - left
    distance = math.dist(eyes, points[_MOUTH].mean(axis=0))
    if not (distance > 1e-6 and math.hypot(*along) > 1e-6):
        raise DataError("the landmarks of eyes and mouth coincide, so there is no face to cut out")
    scale = size / (_WIDTH * distance)
    cosine, sine = along / math.hypot(*along)
    turn = scale * np.array([[cosine, sine], [-sine, cosine]])
    target = np.array([size / 2, _EYE_LINE * size])
    return np.column_stack([turn, target - turn @ eyes])


def crop_face(image: np.ndarray, points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut out a face: eyes level and horizontally centred, borders reflected.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB.
    points : (68, 2) ndarray
        Landmarks in continuous pixel coordinates of `image` (pixel (r, c) covers [c, c + 1] x [r, r + 1]).
    size : int, pixels
        Side of the crop.

    Returns
    -------
    crop : (size, size, 3) ndarray of uint8
        The face.
    landmarks : (68, 2) ndarray of float32
        The landmarks in units of the crop's side.
    transform : (2, 3) ndarray of float64
        ``crop = A[:, :2] @ source + A[:, 2]``, both continuous pixel coordinates.

    Raises
    ------
    DataError
        If the landmarks leave no distance from eyes to mouth, or between the eyes.
    """
    import cv2

    check_range(size, "size", 1, integer=True)
    transform = _crop_transform(points, size)
    window, corner, shrink = _window(image, transform, size)
    # From coordinates of the shrunk window to those of the source, then to those of the crop.
    local = np.column_stack([transform[:, :2] * shrink, transform[:, :2] @ corner + transform[:, 2]])
    # A crop smaller than its source is sampled finer than needed and averaged, against aliasing.
    fine = max(1, math.ceil(1 / math.hypot(*local[:, 0])))
    wide = local * fine
    # OpenCV's coordinates are 0 at the middle of the first pixel, ours are 0.5 there.
    wide[:, 2] += wide[:, :2].sum(axis=1) / 2 - 0.5
    face = cv2.warpAffine(
        np.float32(window),
        wide,
        (size * fine, size * fine),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if fine > 1:
        face = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
    crop = np.rint(face).clip(0, 255).astype(np.uint8)
    landmarks = (np.asarray(points, np.float64) @ transform[:, :2].T + transform[:, 2]) / size
    return crop, landmarks.astype(np.float32), transform


def _window(image: np.ndarray, transform: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the part of an image that a crop needs, its upper left corner, and how often it was shrunk.

    Reflected at the image's borders. Most of a large image is never touched, and what would be
    shrunk to a half or less is averaged over whole pixels here, which is fast.
    """
    import cv2

    shrink = max(1, math.floor(1 / math.hypot(*transform[:, 0])))
    turn, shift = transform[:, :2], transform[:, 2]
    corners = np.linalg.solve(turn, (np.array([[0, 0, size, size], [0, size, 0, size]]).T - shift).T).T
    # Cubic interpolation reaches 2 pixels out.
    low = np.floor(corners.min(axis=0)).astype(int) - 3 * shrink
    sides = -(-(np.ceil(corners.max(axis=0)).astype(int) + 3 * shrink - low) // shrink)
    high, wide = image.shape[:2]
    window = image[_reflected(np.arange(low[1], low[1] + sides[1] * shrink), high)]
    columns = np.arange(low[0], low[0] + sides[0] * shrink)
    # Copied as blocks where they are not reflected, since picking pixels one by one is slow.
    left, right = np.searchsorted(columns, (0, wide))
    window = np.concatenate(
        [
            window[:, _reflected(columns[:left], wide)],
            window[:, max(low[0], 0) : max(low[0], 0) + right - left],
            window[:, _reflected(columns[right:], wide)],
        ],
        axis=1,
    )
    if shrink > 1:
        window = cv2.resize(window, tuple(map(int, sides)), interpolation=cv2.INTER_AREA)
    return window, low, shrink


def _reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Return the index in a row of `length` pixels at each place, reflected about the outer pixels."""
    period = max(2 * (length - 1), 1)
    places = places % period
    return np.where(places < length, places, period - places)
