"""From a picture to a face: read, found, cropped, aligned with the same person's neutral face."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import decode_image
from ekman_expressions.faces.landmarks import _STILL, FaceLandmarks

_Detect = Callable[[np.ndarray], FaceLandmarks | None]

# Landmarks (iBUG order) of the eye at the image's left, of the one at its right, and of the mouth.
_EYES, _MOUTH = (slice(36, 42), slice(42, 48)), slice(48, 68)
_WIDTH = 2.6  # side of the crop, in units of the distance from the eyes' to the mouth's centre
_EYE_LINE = 0.38  # height of the eyes in the crop, from its top, in units of its side


def resize_face(image: np.ndarray, side: int | tuple[int, int]) -> np.ndarray:
    """Return an image (H, W, 3) of uint8 as float32 in [0, 1], of another side (or height and width)."""
    import cv2

    height, width = np.broadcast_to(side, 2).tolist()
    resized = np.float32(image) / 255
    if resized.shape[:2] == (height, width):
        return resized
    shrinks = height * width < resized.shape[0] * resized.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(resized, (width, height), interpolation=interpolation).clip(0, 1)


class UnusableImage(DataError):
    """An image that is left out: not there, not readable, or without a face. No message has its path."""


def on_all_cores(function: Callable[[Any], Any], items: Sequence[Any], desc: str, unit: str = "image") -> Iterator[Any]:
    """Yield ``function(item)``, or the `UnusableImage` that it raises, for each item in order, with a bar.

    One thread runs for each core; whoever stops early stops what has not begun.
    """
    from tqdm import tqdm

    def outcome(item: Any) -> Any:
        try:
            return function(item)
        except UnusableImage as error:
            return error

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = ThreadPoolExecutor(cores)
    try:
        yield from tqdm(threads.map(outcome, items), desc=desc, unit=unit, total=len(items), delay=1)
    finally:
        threads.shutdown(cancel_futures=True)


def read_pixels(source: Any) -> np.ndarray:
    """Return an image file (see `read_source`), or an array (see `_as_rgb`), as RGB (H, W, 3) of uint8."""
    if not isinstance(source, (str, os.PathLike)):
        return _as_rgb(source)
    data = read_source(source)
    try:
        return decode_image(data)
    except DataError as error:
        raise UnusableImage(f"the image cannot be read: {error}") from error


def read_source(path: Path | str) -> bytes:
    """Return an image file's bytes; of ``fer2013.csv#815``, the row that begins at byte 815 as a PGM file."""
    table, _, place = str(path).rpartition("#")
    try:
        return _read_row(table, int(place)) if table.endswith(".csv") else Path(path).read_bytes()
    except FileNotFoundError:
        raise UnusableImage("there is no such image") from None
    except OSError as error:
        # Not the error itself: it holds the path, which may say who is seen.
        raise UnusableImage(f"the image cannot be opened: {error.strerror}") from None


def _read_row(table: str, place: int) -> bytes:
    with open(table, "rb") as file:
        file.seek(place)
        # The pixels are by far the longest cell.
        cell = max(file.readline().split(b","), key=len)
    try:
        pixels = bytes(map(int, cell.strip(b' "\r\n').split()))
    except ValueError:
        raise UnusableImage("its row holds something else than pixels from 0 to 255") from None
    side = math.isqrt(len(pixels))
    if not side or side * side != len(pixels):
        raise UnusableImage(f"its row has {len(pixels)} pixels, which make no square")
    return b"P5 %d %d 255\n" % (side, side) + pixels


def prepare_face(
    source: Any, detect: _Detect | FaceLandmarks | None, size: int, *, crop: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, FaceLandmarks]:
    """Find the largest face in an image (see `read_pixels`), and cut it out, unless `crop` is False.

    Returns crop, landmarks and transform as `_crop_face`, and what `detect` (`LandmarkDetector.detect`, or
    landmarks that are known) found in the whole image.
    """
    image = read_pixels(source)
    found = detect(image) if callable(detect) else detect
    if found is None:
        reason = "no face found" if callable(detect) else "no landmarks are given for it"
        raise UnusableImage(reason if crop else f"{reason}: without landmarks it has no place in face space")
    if crop:
        return *_crop_face(image, found.points, size), found
    height, width = image.shape[:2]
    if height != width:
        raise UnusableImage(f"it is {width} x {height}: images that are not cropped must be square")
    whole = np.rint(resize_face(image, size) * 255).astype(np.uint8)
    transform = np.array([[size / width, 0, 0], [0, size / width, 0]])
    return whole, np.float32(found.points / width), transform, found


def _as_rgb(array: Any) -> np.ndarray:
    """Return gray (H, W[, 1]) or RGB pixels of uint8, or of floats in [0, 1], as RGB of uint8."""
    array = np.asarray(array)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise UnusableImage(f"an array of shape {array.shape} is no gray (H, W) or RGB (H, W, 3) image")
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UnusableImage(f"its pixels must be uint8, or floats in [0, 1], but are {array.dtype}")
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


# Square crops: eyes level, forehead to chin, alike on all faces


def _crop_transform(points: np.ndarray, size: int) -> np.ndarray:
    """Return the similarity (2, 3) that takes source coordinates to those of the crop, `size` units wide."""
    points = np.asarray(points, np.float64)
    left, right = (points[eye].mean(axis=0) for eye in _EYES)
    eyes = (left + right) / 2
    apart, distance = math.dist(left, right), math.dist(eyes, points[_MOUTH].mean(axis=0))
    if not (distance > 1e-6 and apart > 1e-6):
        raise UnusableImage("the landmarks of eyes and mouth coincide, so there is no face to cut out")
    scale = size / (_WIDTH * distance)
    cosine, sine = (right - left) / apart
    turn = scale * np.array([[cosine, sine], [-sine, cosine]])
    target = np.array([size / 2, _EYE_LINE * size])
    return np.column_stack([turn, target - turn @ eyes])


def _crop_face(image: np.ndarray, points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut out a face: eyes level and horizontally centred, borders reflected.

    Returns the crop (size, size, 3), the landmarks in units of its side, float32, and the transform (2, 3)
    from source to crop: ``crop = A[:, :2] @ source + A[:, 2]``.
    """
    transform = _crop_transform(points, size)
    landmarks = (np.asarray(points, np.float64) @ transform[:, :2].T + transform[:, 2]) / size
    return _cut(image, transform, size), landmarks.astype(np.float32), transform


def _cut(image: np.ndarray, transform: np.ndarray, size: int) -> np.ndarray:
    """Return the part of an image that a transform (2, 3) takes to a square, (size, size, 3) uint8."""
    import cv2

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
    return np.rint(face).clip(0, 255).astype(np.uint8)


def _window(image: np.ndarray, transform: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the part of an image that a crop needs, its borders reflected, its corner, and how often it was
    shrunk: what would be halved or more is averaged over whole pixels here, which is fast.
    """
    import cv2

    shrink = max(1, math.floor(1 / math.hypot(*transform[:, 0])))
    turn, shift = transform[:, :2], transform[:, 2]
    corners = np.linalg.solve(turn, (np.array([[0, 0, size, size], [0, size, 0, size]]).T - shift).T).T
    # Cubic interpolation reaches 2 pixels out.
    low = np.floor(corners.min(axis=0)).astype(int) - 3 * shrink
    sides = -(-(np.ceil(corners.max(axis=0)).astype(int) + 3 * shrink - low) // shrink)
    high, wide = image.shape[:2]
    left, top = low
    right, bottom = low + sides * shrink
    window = image[_reflected(np.arange(top, bottom), high)]
    # A block where nothing is reflected, since picking pixels one by one is slow.
    inside = left >= 0 and right <= wide
    window = window[:, left:right] if inside else window[:, _reflected(np.arange(left, right), wide)]
    if shrink > 1:
        window = cv2.resize(window, tuple(map(int, sides)), interpolation=cv2.INTER_AREA)
    return window, low, shrink


def _reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Return the index in a row of `length` pixels at each place, reflected about the outer pixels."""
    period = max(2 * (length - 1), 1)
    places = places % period
    return np.where(places < length, places, period - places)


# The same person's neutral face

# How far landmarks that expressions hardly move lie apart, in units of the distance between the eyes: below
# the first the pictures count as one shot; above the second, after the affine map, they cannot be aligned.
# A degree by which the head is turned away adds 0.01 to the latter.
_SAME_SHOT, _FARTHEST = 0.045, 0.35


def align_neutral(
    neutral: np.ndarray, points: np.ndarray, face: np.ndarray, face_points: np.ndarray, transform: np.ndarray
) -> np.ndarray:
    """Cut a whole neutral picture so that it lies under the same person's `face`, a crop (S, S, 3).

    Where landmarks that expressions hardly move coincide, as in one sequence, it is the same cut of both
    pictures. Else the neutral picture is brought there by the affine map between those landmarks, and each
    channel gets the mean and standard deviation of the face's: pose and light are then only alike. `points`
    and `face_points` are in pixels of their pictures; `transform` is how the face was cut out (`_crop_face`).
    """
    start = np.column_stack([points[_STILL], np.ones(len(_STILL))])
    wanted = face_points[_STILL]
    eyes = math.dist(face_points[_EYES[0]].mean(axis=0), face_points[_EYES[1]].mean(axis=0))
    if np.sqrt(((start[:, :2] - wanted) ** 2).sum(axis=1).mean()) < _SAME_SHOT * eyes:
        return _cut(neutral, transform, len(face))
    affine = np.linalg.lstsq(start, wanted, rcond=None)[0].T
    misfit = np.sqrt(((start @ affine.T - wanted) ** 2).sum(axis=1).mean()) / eyes
    if misfit > _FARTHEST:
        raise UnusableImage(
            f"its neutral picture shows the head turned too far away from it (about {100 * misfit:.0f} degrees, "
            f"at most {100 * _FARTHEST:.0f}), or another head"
        )
    to_crop = np.column_stack([transform[:, :2] @ affine[:, :2], transform[:, :2] @ affine[:, 2] + transform[:, 2]])
    cut = np.float64(_cut(neutral, to_crop, len(face)))
    mean, spread = cut.mean(axis=(0, 1)), cut.std(axis=(0, 1))
    matched = (cut - mean) * face.std(axis=(0, 1)) / np.maximum(spread, 1e-6) + face.mean(axis=(0, 1))
    return np.rint(matched).clip(0, 255).astype(np.uint8)
