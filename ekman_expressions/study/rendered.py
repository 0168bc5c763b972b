"""Prepared faces that are renderings: where they lie in their source images, what is known of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.files import read_arrays, require
from ekman_expressions.faces import synthetic
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import landmarks_path, read_landmarks, read_manifest

DATABASE = "synthetic"
"""The name of the rendered faces in an experiment's settings."""


def any_known(experiment: Experiment) -> bool:
    """Say whether some of the prepared faces of an experiment are synthetic.

    Raises
    ------
    MissingError
        If the step 'faces' has not run.
    """
    return DATABASE in experiment.faces.datasets and bool(
        (read_manifest(experiment)["dataset"] == DATABASE).any()
    )


def known_faces(experiment: Experiment) -> pd.DataFrame:
    """Return the prepared faces of an experiment that are synthetic, with what is known of them.

    Parameters
    ----------
    experiment : Experiment
        Its faces must be prepared. Faces of other databases are passed over.

    Returns
    -------
    DataFrame
        The rows of the prepared manifest, sorted by `image_id`, with the further columns of
        `synthetic.load`; ``source_id`` and ``source_path`` are the image's in the set, and
        ``mask_path`` is its mask file's, empty where there is none.

    Raises
    ------
    SettingsError
        If the experiment has no synthetic faces.
    MissingError
        If the step 'faces' has not run.
    DataError
        If faces were prepared that the set does not hold.
    """
    if DATABASE not in experiment.faces.datasets:
        raise SettingsError(
            f"The experiment {experiment.name!r} has faces of {', '.join(experiment.faces.datasets)}. How a "
            "face moved is only known where it was rendered: use an experiment with "
            f"datasets = [\"{DATABASE}\"], such as the preset 'demo'."
        )
    prepared = read_manifest(experiment)
    prepared = prepared[prepared["dataset"] == DATABASE].sort_values("image_id", ignore_index=True)
    if prepared.empty:
        raise DataError(
            f"{experiment.manifest_path} lists no face of {DATABASE}. Run the step 'faces' again."
        )
    source_id = prepared["image_id"].str.removeprefix(f"{DATABASE}_")
    root = synthetic.root_of(experiment.faces.roots.get(DATABASE))
    listed = synthetic.load(root).set_index("image_id")
    unknown = source_id[~source_id.isin(listed.index)]
    if len(unknown):
        raise DataError(
            f"{len(unknown)} of the prepared faces are not in the synthetic set, such as {unknown.iloc[0]}: "
            "the set has changed since. Run the step 'faces' again."
        )
    known = listed.loc[source_id].rename(columns={"path": "source_path"}).reset_index(names="source_id")
    if "mask" in known:
        known["mask_path"] = [str(root / mask) if mask else "" for mask in known["mask"]]
    return prepared.join(known[[name for name in known.columns if name not in prepared.columns]])


def read_transform(experiment: Experiment, image_id: str) -> np.ndarray:
    """Read how the crop of a prepared face was cut out of its source image.

    Returns
    -------
    (2, 3) ndarray of float64
        ``crop = A[:, :2] @ source + A[:, 2]``, both continuous pixel coordinates; see
        `cropping.crop_transform`.

    Raises
    ------
    MissingError
        If the face has not been prepared.
    DataError
        If the stored transform is damaged.
    """
    path = require(landmarks_path(experiment, image_id), "faces")
    transform = read_arrays(path, ("transform",))["transform"]
    usable = transform.shape == (2, 3) and np.isfinite(transform).all()
    if not usable or abs(np.linalg.det(transform[:, :2])) < 1e-12:
        raise DataError(
            f"{path} should hold an invertible transform (2, 3), but holds {transform.tolist()}. "
            "Delete it and run the step 'faces' again."
        )
    return transform


def source_landmarks(experiment: Experiment, image_id: str) -> np.ndarray:
    """Return the landmarks of a prepared face where they lie in its source image.

    Returns
    -------
    (68, 2) ndarray of float64
        x and y in continuous pixels of the source, iBUG order.

    Raises
    ------
    MissingError, DataError
        As `read_transform`.
    """
    transform = read_transform(experiment, image_id)
    crop = np.float64(read_landmarks(experiment, image_id)) * experiment.faces.size
    return np.linalg.solve(transform[:, :2], (crop - transform[:, 2]).T).T
