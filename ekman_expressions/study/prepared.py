"""The prepared faces of an experiment: where they lie, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import read_arrays, read_csv, read_image, require
from ekman_expressions.faces.cropping import resize_face
from ekman_expressions.faces.faces import Faces
from ekman_expressions.faces.folders import check_ids
from ekman_expressions.facespace.heatmaps import _RunningMean
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.study.experiment import Experiment

_COLUMNS = ("image_id", "path", "dataset", "subject", "expression", "fold")
"""Columns that every prepared manifest has; ``intensity``, ``neutral`` and ``sha256`` may follow."""

_AGAIN = "Delete it and run the step 'faces' again."


def _face_path(experiment: Experiment, image_id: str) -> Path:
    """The cropped face of one image."""
    return experiment.faces_folder / "faces" / f"{image_id}.png"


def _neutral_path(experiment: Experiment, image_id: str) -> Path:
    """The same person's neutral face, aligned to one image's crop."""
    return experiment.faces_folder / "neutrals" / f"{image_id}.png"


def _landmarks_path(experiment: Experiment, image_id: str) -> Path:
    """The landmarks of one image, and how its crop was cut out."""
    return experiment.faces_folder / "landmarks" / f"{image_id}.npz"


def read_manifest(experiment: Experiment) -> pd.DataFrame:
    """Read the manifest: one row per face, sorted by `image_id`, with `_COLUMNS` and more.

    Those are ``intensity`` where a database states it, ``neutral`` (``image_id`` of the same person's neutral
    image, empty without one), and ``sha256`` of the source image. `path` is relative to
    ``experiment.faces_folder``. Raises `MissingError` if the step 'faces' has not run, and `DataError` if the
    table is damaged or does not fit the experiment.
    """
    path = require(experiment.manifest_path, "faces")
    # Texts stay texts: "NA" is a person in JAFFE, and "007" is not 7.
    table = read_csv(path, _COLUMNS, dtype=str, keep_default_na=False)
    check_ids(table["image_id"], path)
    if "intensity" in table:
        table["intensity"] = pd.to_numeric(table["intensity"], errors="coerce")
    for column, allowed in (("expression", experiment.expressions), ("fold", experiment.face_folds)):
        strange = sorted(set(table[column]) - set(allowed))
        if strange:
            raise DataError(
                f"{path} has the {column} {', '.join(strange)}, but the experiment has {', '.join(allowed)}. "
                f"Delete {path.parent} and run the step 'faces' again."
            )
    twice = sorted(table["image_id"][table["image_id"].duplicated()])
    if twice:
        raise DataError(f"{path} lists these images more than once: {', '.join(twice)}.")
    folds = table.groupby("subject")["fold"].nunique()
    if (folds > 1).any():
        raise DataError(f"{path} has subjects in more than one fold: {', '.join(folds.index[folds > 1])}.")
    return table


def prepared_faces(experiment: Experiment, image_ids: Iterable[str] | None = None) -> Faces:
    """Return prepared faces as one object: all, or these in this order."""
    table = read_manifest(experiment).drop(columns="path")
    if image_ids is not None:
        table = table.set_index("image_id").loc[list(image_ids)].reset_index()
    images = np.array([_read_face(experiment, image_id) for image_id in table["image_id"]])
    landmarks = [read_landmarks(experiment, image_id) for image_id in table["image_id"]]
    neutrals = None
    if "neutral" in table:
        neutrals = np.zeros_like(images)
        for place in np.flatnonzero(table["neutral"] != ""):
            neutrals[place] = _read_face(experiment, table["image_id"][place], neutral=True)
    return Faces(images, np.array(landmarks), table, neutrals=neutrals)


def read_faces(
    experiment: Experiment, image_ids: Iterable[str], side: int | tuple[int, int], *, neutral: bool = False
) -> np.ndarray:
    """Read cropped faces at the side, or height and width, that a network wants, (N, h, w, 3) float32 RGB in [0, 1].

    As ``prepared_faces(experiment, image_ids).at(side)``, with less memory; with `neutral`, the same persons'
    neutral faces. Raises `MissingError` if a face has not been prepared, or has no neutral one, and
    `DataError` if it is damaged or not ``experiment.faces.size`` wide.
    """
    image_ids = list(image_ids)
    faces = np.empty((len(image_ids), *np.broadcast_to(side, 2), 3), np.float32)
    for place, image_id in enumerate(image_ids):
        faces[place] = resize_face(_read_face(experiment, image_id, neutral=neutral), side)
    return faces


def _read_face(experiment: Experiment, image_id: str, *, neutral: bool = False) -> np.ndarray:
    path, size = (_neutral_path if neutral else _face_path)(experiment, image_id), experiment.faces.size
    if neutral and not path.exists():
        raise MissingError(
            f"{image_id} has no neutral face of the same person. Databases with neutral images have them; in "
            "a manifest of your own, name it in the column 'neutral', or label it neutral."
        )
    face = read_image(require(path, "faces"))
    if face.shape != (size, size, 3):
        raise DataError(
            f"{path} should be {size} pixels square as the experiment says, but is {face.shape[1]} "
            f"x {face.shape[0]}. {_AGAIN}"
        )
    return face


def _read_found(experiment: Experiment, image_id: str, *names: str) -> dict[str, np.ndarray]:
    """Read what the step 'faces' found of one image, or of these arrays."""
    return read_arrays(require(_landmarks_path(experiment, image_id), "faces"), names)


def read_landmarks(experiment: Experiment, image_id: str) -> np.ndarray:
    """Read the landmarks of one prepared face, (68, 2) float32, in units of the crop's side; see `Faces`."""
    points = _read_found(experiment, image_id, "points")["points"]
    if points.shape != (68, 2) or not np.isfinite(points).all():
        path = _landmarks_path(experiment, image_id)
        raise DataError(f"{path} should hold 68 finite points, but holds an array of {points.shape}. {_AGAIN}")
    return points


def mean_face(experiment: Experiment, image_ids: Iterable[str]) -> _RunningMean:
    """Average faces in face space, to lie under pictures; the steps that need a face name it if it cannot be read."""
    mean = _RunningMean()
    for image_id in image_ids:
        with suppress(DataError, MissingError):
            face = read_faces(experiment, [image_id], SHAPE[1])[0]
            mean.add(normalise(face, read_landmarks(experiment, image_id)))
    return mean


def _read_mesh(experiment: Experiment, image_id: str) -> np.ndarray:
    """Read the mesh of one prepared face, or of a neutral one, in its source image; see `FaceLandmarks`."""
    arrays = _read_found(experiment, image_id)
    if "mesh" not in arrays:
        raise MissingError(f"{image_id} has no mesh: its landmarks were given, or found by an earlier version")
    return arrays["mesh"]


def _read_transform(experiment: Experiment, image_id: str) -> np.ndarray:
    """Read how a crop was cut out of its source image, (2, 3) float64; see `crop_face`."""
    return _read_found(experiment, image_id, "transform")["transform"]


def _source_landmarks(experiment: Experiment, image_id: str) -> np.ndarray:
    """Return the landmarks of a prepared face in its source image, (68, 2) float64 in continuous pixels."""
    transform = _read_transform(experiment, image_id)
    crop = np.float64(read_landmarks(experiment, image_id)) * experiment.faces.size
    return np.linalg.solve(transform[:, :2], (crop - transform[:, 2]).T).T
