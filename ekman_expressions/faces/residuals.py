"""How odd each face's landmarks are: what a statistical shape model of all faces leaves over.

Landmarks go wrong in few faces, and a page of thousands of crops is not looked through. So the
faces are put into the order in which they deserve a look.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError

PARTS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
"""The landmarks (iBUG order) of each part of the face."""

ODD, FEWEST = 6.0, 20
"""Faces whose `score` is above `ODD` are named in the step's report, if there are `FEWEST` or more."""

_KEPT = 0.75
_VARIANCE = 0.95
_MODES = 10
_FACES_PER_MODE = 5
# In units of the spread of the kept faces, which is narrower than that of all.
_LIMIT = 5.0
_ROUNDS = 20
# Below this spread, differences are those of rounding.
_LEAST_SPREAD = 1e-6


def shape_residuals(points: np.ndarray) -> pd.DataFrame:
    """Measure how far each face's landmarks are from any shape that the other faces suggest.

    Shapes are aligned by similarity (Procrustes) to their mean. The principal components of the
    aligned shapes (95 % of their variance, at most 10, at least 5 faces to each) describe how
    faces differ: above all in pose, then in how far mouth and eyes are open. Each face is
    compared with the nearest shape of this model, its components within 5 standard deviations;
    so a turned head is not odd. Mean and components come from the three quarters of the
    faces that fit best, found by repetition: otherwise a single wrong face among a few dozen
    would become a component of its own and look perfect.

    Parameters
    ----------
    points : (N, 68, 2) ndarray of float
        Landmarks, iBUG order, in any units and position; roughly upright.

    Returns
    -------
    DataFrame
        One row per face, in order: ``residual``, >= 0, root mean square distance of the 68 points
        from the model, in units of the distance between the eyes' centres in the mean shape;
        ``score``, how many robust standard deviations (1.4826 times the median absolute
        deviation) this is above the median; ``part``, where the face deviates most.

    Raises
    ------
    DataError
        If `points` has another shape or is not finite.

    References
    ----------
    Cootes, Taylor, Cooper and Graham (1995), Active shape models - their training and
    application, Computer Vision and Image Understanding 61(1).
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 3 or points.shape[1:] != (68, 2) or not np.isfinite(points).all():
        raise DataError(f"Needed are finite landmarks (N, 68, 2), but got an array of shape {points.shape}.")
    if not len(points):
        return pd.DataFrame({"residual": [], "score": [], "part": []})
    # As complex numbers, turning and scaling a shape is one multiplication.
    shapes = points[..., 0] + 1j * points[..., 1]
    shapes -= shapes.mean(axis=1, keepdims=True)
    deviations = _deviations(shapes)
    residual = np.sqrt((deviations**2).mean(axis=1))
    middle = np.median(residual)
    spread = 1.4826 * np.median(np.abs(residual - middle))
    by_part = np.column_stack([(deviations[:, part] ** 2).mean(axis=1) for part in PARTS.values()])
    return pd.DataFrame(
        {
            "residual": residual,
            "score": (residual - middle) / max(spread, _LEAST_SPREAD),
            "part": np.array(list(PARTS))[by_part.argmax(axis=1)],
        }
    )


def _deviations(shapes: np.ndarray) -> np.ndarray:
    """Return each point's distance (N, 68) from the shape model, in distances between the eyes."""
    mean = np.median(shapes.real, axis=0) + 1j * np.median(shapes.imag, axis=0)
    modes = np.empty((0, 2 * shapes.shape[1]))
    reach = np.empty(0)
    best: set[int] = set()
    for _ in range(_ROUNDS):
        mean = mean / (mean[42:48].mean() - mean[36:42].mean())
        aligned = _aligned(shapes, mean)
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
        modes, reach = _model(_flat(aligned[kept] - mean))
    return deviations


def _aligned(shapes: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Turn and scale centred shapes so that their squared distances from `mean` are least."""
    sizes = (np.abs(shapes) ** 2).sum(axis=1)
    turns = np.divide(shapes.conj() @ mean, sizes, out=np.zeros(len(shapes), complex), where=sizes > 0)
    return shapes * turns[:, None]


def _flat(shapes: np.ndarray) -> np.ndarray:
    return np.hstack([shapes.real, shapes.imag])


def _model(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal components of differences from the mean, and how far each may go."""
    _, values, modes = np.linalg.svd(differences, full_matrices=False)
    share = np.cumsum(values**2) / max((values**2).sum(), np.finfo(float).tiny)
    wanted = int(np.searchsorted(share, _VARIANCE)) + 1
    count = min(wanted, _MODES, len(differences) // _FACES_PER_MODE)
    return modes[:count], _LIMIT * values[:count] / math.sqrt(len(differences))
