"""The prepared faces of an experiment: where they lie, and how later steps read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, read_csv, read_image, require
from ekman_expressions.faces.manifest import check_ids
from ekman_expressions.study.experiment import Experiment

COLUMNS = ("image_id", "path", "dataset", "subject", "expression", "fold")
"""Columns that every prepared manifest has; ``intensity`` and ``sha256`` may follow."""


def face_path(experiment: Experiment, image_id: str) -> Path:
    """The cropped face of one image."""
    return experiment.faces_folder / "faces" / f"{image_id}.png"


def landmarks_path(experiment: Experiment, image_id: str) -> Path:
    """The landmarks of one image, and how its crop was cut out."""
    return experiment.faces_folder / "landmarks" / f"{image_id}.npz"


def read_manifest(experiment: Experiment) -> pd.DataFrame:
    """Read the manifest of the prepared faces.

    Returns
    -------
    DataFrame
        One row per face, sorted by `image_id`: ``image_id, path, dataset, subject,
        expression, fold``, ``intensity`` where a database states it, and ``sha256`` of the
        source image. `path` is relative to ``experiment.faces_folder``.

    Raises
    ------
    MissingError
        If the step 'faces' has not run.
    DataError
        If columns are missing, an image is listed twice, a subject is in two folds, or an
        expression or fold is none of the experiment's.
    """
    path = require(experiment.manifest_path, "faces")
    # Texts stay texts: "NA" is a person in JAFFE, and "007" is not 7.
    table = read_csv(path, COLUMNS, dtype=str, keep_default_na=False)
    check_ids(table["image_id"], path)
    if "intensity" in table:
        table["intensity"] = pd.to_numeric(table["intensity"], errors="coerce")
    for column, allowed in (("expression", EXPRESSIONS), ("fold", experiment.folds)):
        strange = sorted(set(table[column]) - set(allowed))
        if strange:
            raise DataError(
                f"{path} has the {column} {', '.join(strange)}, but the experiment has "
                f"{', '.join(allowed)}. Delete {path.parent} and run the step 'faces' again."
            )
    twice = sorted(table["image_id"][table["image_id"].duplicated()])
    if twice:
        raise DataError(f"{path} lists these images more than once: {', '.join(twice)}.")
    folds = table.groupby("subject")["fold"].nunique()
    if (folds > 1).any():
        raise DataError(f"{path} has subjects in more than one fold: {', '.join(folds.index[folds > 1])}.")
    return table


def read_faces(experiment: Experiment, image_ids: Iterable[str], side: int) -> np.ndarray:
    """Read cropped faces at the size that a network wants.

    Parameters
    ----------
    experiment : Experiment
        Whose faces.
    image_ids : iterable of str
        Which, in the order of the result.
    side : int, pixels
        Side of the images returned. Shrinking averages over areas, so that nothing aliases.

    Returns
    -------
    (N, side, side, 3) ndarray of float32, range [0, 1]
        RGB.

    Raises
    ------
    MissingError
        If a face has not been prepared.
    DataError
        If a stored face is damaged or is not ``experiment.faces.size`` pixels wide.
    """
    import cv2

    check_range(side, "side", 1, integer=True)
    image_ids = list(image_ids)
    size = experiment.faces.size
    faces = np.empty((len(image_ids), side, side, 3), np.float32)
    interpolation = cv2.INTER_AREA if side < size else cv2.INTER_CUBIC
    for place, image_id in enumerate(image_ids):
        path = require(face_path(experiment, image_id), "faces")
        face = read_image(path)
        if face.shape != (size, size, 3):
            raise DataError(
                f"{path} should be {size} pixels square as the experiment says, but is {face.shape[1]} "
                f"x {face.shape[0]}. Delete it and run the step 'faces' again."
            )
        face = np.float32(face) / 255
        if side != size:
            face = cv2.resize(face, (side, side), interpolation=interpolation).clip(0, 1)
        faces[place] = face
    return faces


def read_landmarks(experiment: Experiment, image_id: str) -> np.ndarray:
    """Read the landmarks of one prepared face.

    Returns
    -------
    (68, 2) ndarray of float32
        x and y in units of the crop's side, iBUG order; slightly outside [0, 1] where a
        landmark lies outside the crop.
    """
    path = require(landmarks_path(experiment, image_id), "faces")
    points = read_arrays(path, ("points",))["points"]
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise DataError(
            f"{path} should hold 68 finite points, but holds an array of shape {points.shape}. "
            "Delete it and run the step 'faces' again."
        )
    return points
