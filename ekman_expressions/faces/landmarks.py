"""Facial landmarks: MediaPipe's face mesh, reduced to the 68 points that face space is built on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.startup import silent_stderr
from ekman_expressions.faces.landmark_model import find_model

SMALLEST = 256
"""Images whose shorter side is below this many pixels are enlarged before faces are looked for."""

MOST_FACES = 5
"""Faces looked for in an image, of which the largest counts."""

MARGIN = 0.25
"""Gray border put round an image on the second look, in units of its longer side."""


@dataclass(frozen=True)
class FaceLandmarks:
    """The landmarks of the largest face in an image.

    Attributes
    ----------
    points : (68, 2) ndarray of float64
        x and y in continuous pixel coordinates (pixel (r, c) covers [c, c + 1] x [r, r + 1]),
        iBUG order. As MediaPipe gives them, which counts from the middle of pixels: expect an
        offset of up to half a pixel, or 0.3 % of the face's height.
    faces : int, >= 1
        How many faces the image shows (no more than `MOST_FACES` are looked for at once).
    look : {'whole', 'margin', 'windows'}
        On which look the face was found; see `LandmarkDetector.detect`.
    """

    points: np.ndarray
    faces: int
    look: str = "whole"


@cache
def mesh_indices() -> np.ndarray:
    """Return, for each of the 68 landmarks, its index among MediaPipe's 478 points."""
    text = resources.files("ekman_expressions").joinpath("data/mediapipe_to_68.json").read_text("utf-8")
    return np.array(json.loads(text)["indices"])


class LandmarkDetector:
    """Finds faces and their 68 landmarks; a context manager, made once for many images.

    The model is loaded when the first image comes. Each image is taken for itself: earlier
    ones have no influence.

    Parameters
    ----------
    model : Path or str, optional
        The model file; see `find_model`.

    Examples
    --------
    ::

        with LandmarkDetector() as detector:
            found = detector.detect(image)
    """

    def __init__(self, model: Path | str | None = None) -> None:
        self._model = model
        self._landmarker = None

    def __enter__(self) -> LandmarkDetector:
        return self

    def __exit__(self, *_: object) -> None:
        if self._landmarker is not None:
            self._landmarker.close()
            self._landmarker = None

    def detect(self, image: np.ndarray) -> FaceLandmarks | None:
        """Return the landmarks of the largest face, or None if no face is found.

        The detector wants a face with something round it that is not too small in its image (a
        fifth of the side). So where it finds none, it looks again: with a gray margin round
        the image (for faces cut out too tightly), then in overlapping windows of a half, and of
        a quarter, of the longer side (for small faces in large images).

        Parameters
        ----------
        image : (H, W, 3) ndarray of uint8
            RGB, upright.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise DataError(
                "Faces are looked for in RGB images (H, W, 3) of uint8, but got "
                f"{image.shape} of {image.dtype}."
            )
        looks = {"whole": self._meshes, "margin": self._with_margin, "windows": self._in_windows}
        for name, look in looks.items():
            meshes = look(image)
            if len(meshes):
                largest = np.argmax(_areas(meshes))
                return FaceLandmarks(points=meshes[largest][mesh_indices()], faces=len(meshes), look=name)
        return None

    def _meshes(self, image: np.ndarray) -> np.ndarray:
        """Return the points (faces, 478, 2) of all faces that one look finds, in pixels."""
        if self._landmarker is None:
            self._landmarker = _create(find_model(self._model))
        height, width = image.shape[:2]
        faces = self._landmarker.detect(_as_mediapipe(image)).face_landmarks
        points = [[(point.x, point.y) for point in face] for face in faces]
        return np.array(points).reshape(-1, 478, 2) * (width, height)

    def _with_margin(self, image: np.ndarray) -> np.ndarray:
        import cv2

        margin = math.ceil(MARGIN * max(image.shape[:2]))
        wide = cv2.copyMakeBorder(image, *[margin] * 4, cv2.BORDER_CONSTANT, value=(128, 128, 128))
        return self._meshes(wide) - margin

    def _in_windows(self, image: np.ndarray) -> np.ndarray:
        for part in (2, 4):
            side = max(image.shape[:2]) // part
            if side < SMALLEST:
                break
            found = [
                self._meshes(image[top : top + side, left : left + side]) + (left, top)
                for top in _starts(image.shape[0], side)
                for left in _starts(image.shape[1], side)
            ]
            meshes = np.concatenate(found)
            if len(meshes):
                return _without_repeats(meshes)
        return np.empty((0, 478, 2))


def _starts(length: int, side: int) -> list[int]:
    """Return where windows begin that cover `length` pixels and overlap by half or more."""
    count = max(1, math.ceil((length - side) / (side / 2)) + 1)
    return np.linspace(0, max(length - side, 0), count).astype(int).tolist()


def _areas(meshes: np.ndarray) -> np.ndarray:
    return np.prod(np.ptp(meshes, axis=1), axis=1)


def _without_repeats(meshes: np.ndarray) -> np.ndarray:
    """Keep, of faces that several windows show, the largest mesh of each, largest first."""
    kept: list[np.ndarray] = []
    for mesh in meshes[np.argsort(-_areas(meshes), kind="stable")]:
        middle = mesh.mean(axis=0)
        if not any(((other.min(axis=0) < middle) & (middle < other.max(axis=0))).all() for other in kept):
            kept.append(mesh)
    return np.array(kept)


def _as_mediapipe(image: np.ndarray):
    import cv2
    import mediapipe

    shorter = min(image.shape[:2])
    if shorter < SMALLEST:
        factor = SMALLEST / shorter
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _create(model: Path):
    with silent_stderr():
        from mediapipe.tasks.python import BaseOptions, vision

        return vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                # Read here, since MediaPipe cannot open every path (letters outside ASCII on Windows).
                base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
                num_faces=MOST_FACES,
            )
        )
