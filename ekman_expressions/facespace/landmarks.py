"""Facial landmarks: MediaPipe's face mesh, reduced to the 68 points that face space is built on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from ekman_expressions.errors import DataError
from ekman_expressions.facespace.landmark_model import find_model
from ekman_expressions.startup import silent_stderr

SMALLEST = 256
"""Images whose shorter side is below this many pixels are enlarged before faces are looked for."""

MOST_FACES = 5
"""Faces looked for in an image, of which the largest counts."""


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
        How many faces the image shows (no more than `MOST_FACES` are looked for).
    """

    points: np.ndarray
    faces: int


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
        if self._landmarker is None:
            self._landmarker = _create(find_model(self._model))
        height, width = image.shape[:2]
        faces = self._landmarker.detect(_as_mediapipe(image)).face_landmarks
        if not faces:
            return None
        meshes = np.array([[(point.x, point.y) for point in face] for face in faces]) * (width, height)
        largest = np.argmax(np.prod(np.ptp(meshes, axis=1), axis=1))
        return FaceLandmarks(points=meshes[largest][mesh_indices()], faces=len(faces))


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
