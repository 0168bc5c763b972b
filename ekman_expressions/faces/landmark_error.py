"""The landmark error: detected landmarks against where the mesh's vertices really lie."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces.residuals import PARTS

OUTER_EYE_CORNERS = (36, 45)
"""The landmarks (iBUG order) whose distance is the unit of the error."""


def landmark_error(detected: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Tabulate the landmark error by part of the face, in percent of the inter-ocular distance.

    The inter-ocular distance is the true one between the outer corners of the eyes, of each face.

    Parameters
    ----------
    detected, truth : (N, 68, 2) array_like of float
        x and y of N >= 1 faces, iBUG order, in the same units.

    Returns
    -------
    DataFrame
        Index ``part``: jaw, brows, nose, eyes, mouth, all. Columns ``mean``, ``median`` and ``p95``
        (95th percentile) of the distances from the truth, and ``bias``, all in percent; ``n``,
        the number of distances (faces x points of the part). The bias of one landmark is the
        length of its mean offset (dx, dy) over faces: what a detector, or another definition of
        the point, shifts always the same way. Given is its mean over the part's landmarks.

    Raises
    ------
    DataError
        If shapes differ or are others, a coordinate is not finite, or outer eye corners coincide.

    References
    ----------
    Sagonas et al. (2016), 300 Faces In-The-Wild Challenge: database and results, Image and
    Vision Computing 47, for the normalisation.
    """
    detected, truth = np.asarray(detected, np.float64), np.asarray(truth, np.float64)
    if detected.shape != truth.shape or truth.shape[1:] != (68, 2) or not len(truth):
        raise DataError(
            "Detected and true landmarks must both have shape (N, 68, 2) with N >= 1, but got "
            f"{detected.shape} and {truth.shape}."
        )
    if not (np.isfinite(detected).all() and np.isfinite(truth).all()):
        raise DataError("Landmarks must be finite. Leave out the faces where they are not.")
    one, other = OUTER_EYE_CORNERS
    unit = np.linalg.norm(truth[:, one] - truth[:, other], axis=1)
    if not (unit > 0).all():
        raise DataError(
            f"The outer eye corners of face {np.flatnonzero(~(unit > 0))[0]} coincide, so that there is no "
            "inter-ocular distance. Leave that face out."
        )
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
        for name, part in {**PARTS, "all": slice(0, 68)}.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part").astype({"n": int})
