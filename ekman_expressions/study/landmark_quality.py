"""The landmark error: detected landmarks against where the mesh's vertices really lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.landmark_error import landmark_error
from ekman_expressions.faces.residuals import shape_residuals
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import read_landmarks, read_manifest
from ekman_expressions.study.rendered import DATABASE, known_faces, source_landmarks


def measure(experiment: Experiment) -> pd.DataFrame:
    """Tabulate the landmark error of an experiment's synthetic faces; see `landmark_error`.

    The 68 vertices were chosen on other persons as those nearest to what the same detector
    finds on neutral, frontal faces. So the table says how steadily the same place on the skin is
    found under expression, pose and light, not whether an anatomist would choose that place.

    Raises
    ------
    SettingsError
        If the experiment has no synthetic faces.
    MissingError
        If the step 'faces' has not run, or the set has no landmarks of its mesh.
    DataError
        If landmarks are damaged, or the mesh's are missing for a face.
    """
    rows = known_faces(experiment)
    known = synthetic.mesh_landmarks(experiment.faces.roots.get(DATABASE))
    missing = [image_id for image_id in rows["source_id"] if image_id not in known]
    if missing:
        raise DataError(
            f"landmarks.npz of the synthetic set lacks {len(missing)} of the prepared faces, such as "
            f"{missing[0]}. Take all files of the set from one version."
        )
    faces = tqdm(rows["image_id"], desc="Reading landmarks", unit="face")
    detected = np.array([source_landmarks(experiment, image_id) for image_id in faces])
    return landmark_error(detected, np.array([known[image_id] for image_id in rows["source_id"]]))


def landmark_residuals(experiment: Experiment) -> pd.DataFrame:
    """Say how odd the landmarks of each prepared face are; see `shape_residuals`.

    Parameters
    ----------
    experiment : Experiment
        Whose prepared faces. All of them are needed: a face is odd among others.

    Returns
    -------
    DataFrame
        Columns ``image_id, residual, score, part``, worst first.

    Raises
    ------
    MissingError
        If the step 'faces' has not run.
    """
    image_ids = list(read_manifest(experiment)["image_id"])
    table = shape_residuals(np.array([read_landmarks(experiment, image_id) for image_id in image_ids]))
    table.insert(0, "image_id", image_ids)
    return table.sort_values(["residual", "image_id"], ascending=[False, True], ignore_index=True)
