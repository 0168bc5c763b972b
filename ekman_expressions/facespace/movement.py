"""How far a face moved from the same person's neutral face, by the mesh of landmarks, on photographs too."""

from __future__ import annotations

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces.cropping import _crop_transform
from ekman_expressions.faces.landmarks import _eye_distance, _mesh_indices, turned_like
from ekman_expressions.facespace.warp import SHAPE, _source_positions, source_points

# The last ten points are those of the irises, which look about without an expression.
_SKIN = slice(468)


def movement(mesh: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Return how far each place of a face moved in the picture from the same person's neutral face.

    The neutral mesh is turned, scaled and moved in space until landmarks that expressions hardly move lie as
    the face's (`turned_like`), so that the head's pose counts for nothing. What is left between the points
    of both meshes is interpolated linearly between them.

    Parameters
    ----------
    mesh, neutral : (478, 3) ndarray of float
        Of the face and of the neutral face, as `LandmarkDetector` finds them in the whole pictures; see
        `FaceLandmarks`.

    Returns
    -------
    (275, 224) ndarray of float32
        In face space, in units of the distance between the eyes' outer corners; 0 outside the mesh.

    Raises
    ------
    DataError
        If a mesh has another shape, is not finite, or is no face.

    Examples
    --------
    >>> from ekman_expressions.core.files import read_image
    >>> from ekman_expressions.faces import LandmarkDetector, synthetic
    >>> names = [synthetic.folder() / "images" / f"id03_{name}_0.webp" for name in ("surprise", "neutral")]
    >>> with LandmarkDetector() as detector:
    ...     face, neutral = (detector.detect(read_image(name)).mesh for name in names)
    >>> moved = movement(face, neutral)
    >>> bool(moved[240].max() > 4 * moved[90].max())  # the chin, and the bridge of the nose
    True
    """
    from scipy.interpolate import LinearNDInterpolator

    for each in (mesh, neutral):
        if np.shape(each) != (478, 3) or not np.isfinite(each).all():
            raise DataError(f"A mesh has 478 finite points in space, but got an array of {np.shape(each)}.")
    mesh, neutral = np.float64(mesh), np.float64(neutral)
    transform = _crop_transform(mesh[_mesh_indices(), :2], 1)
    in_crop = mesh[:, :2] @ transform[:, :2].T + transform[:, 2]
    turned, _ = turned_like(neutral, mesh)
    moved = np.linalg.norm((mesh - turned)[:, :2], axis=1) / _eye_distance(mesh)
    places = _source_positions(source_points(in_crop[_mesh_indices()]))
    found = LinearNDInterpolator(in_crop[_SKIN], moved[_SKIN], fill_value=0)(places)
    return np.float32(found.reshape(SHAPE))
