"""Mean causal maps: where, in face space, the synthetic faces really move in an expression.

The masks of the synthetic faces lie in their source images. They are cut out like the crops and
warped with the same landmarks as explanations, so that a causal map, an Ekman mask and a
heatmap can be compared pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces.synthetic import PIXELS
from ekman_expressions.facespace.warp import SHAPE, normalise

SIDE = 224


@dataclass(frozen=True)
class CausalMaps:
    """Mean causal maps in face space.

    Attributes
    ----------
    layer : str
        ``"total"``, ``"photometric"``, or ``"action units"``.
    means : dict of str to (275, 224) ndarray of float32
        The mean map of each expression (or action unit): the mean over a subject's images
        first, then over subjects. Displacement in mm, or difference of RGB as a part of its range.
    counts : DataFrame
        Index `name` as in `means`; columns ``images`` and ``subjects``, what went into each.
    omissions : tuple of (str, str)
        Images that were left out, and why.
    by_subject : dict of str to dict of str to (275, 224) ndarray of float32
        For each name, the mean over each subject's images; empty unless asked for.
    """

    layer: str
    means: dict[str, np.ndarray]
    counts: pd.DataFrame
    omissions: tuple[tuple[str, str], ...] = ()
    by_subject: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


def to_face_space(layer: np.ndarray, transform: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """Warp a layer of a causal mask into face space, as explanations of the crop are warped.

    Parameters
    ----------
    layer : (112, 112) ndarray of float32
        See `synthetic.read_layers`; at half the size of the source image.
    transform : (2, 3) ndarray of float64
        From continuous source pixels to those of the crop; see `crop_face`.
    landmarks : (68, 2) ndarray
        In units of the crop's side; see `datasets.read_landmarks`.
    size : int, pixels
        Side of the crop.

    Returns
    -------
    (275, 224) ndarray of float32
        In the layer's unit. Where the crop reaches beyond the source image, the layer is
        reflected as the image is.
    """
    import cv2

    # The crop of the layer is always this large: a small crop of faces would lose detail.
    pixels = transform * (SIDE / size)
    pixels[:, :2] *= PIXELS
    # OpenCV's coordinates are 0 at the middle of the first pixel, ours are 0.5 there.
    pixels[:, 2] += pixels[:, :2].sum(axis=1) / 2 - 0.5
    crop = cv2.warpAffine(
        np.float32(layer), pixels, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return normalise(crop, landmarks)


def iou_at_equal_area(causal_map: np.ndarray, mask: np.ndarray) -> float:
    """Return the IoU of a mask with as many pixels of a map as it has, the highest; ties count in part."""
    area = int(mask.sum())
    level = np.partition(causal_map, -area, axis=None)[-area]
    above, tied = causal_map > level, causal_map == level
    share = (area - above.sum()) / tied.sum()
    both = (above & mask).sum() + share * (tied & mask).sum()
    return float(both / (2 * area - both))


def check_pair(mask_name: str, mask: np.ndarray, map_name: str, causal_map: np.ndarray) -> None:
    if mask.shape != SHAPE or causal_map.shape != SHAPE or mask.dtype != bool:
        raise DataError(
            f"The mask of {mask_name} must be (275, 224) of bool and the map of {map_name} (275, 224), but "
            f"got {mask.shape} of {mask.dtype} and {causal_map.shape}."
        )
    if not mask.any() or mask.all():
        kind = "full" if mask.any() else "empty"
        raise DataError(f"The mask of {mask_name} is {kind}, so there is nothing to compare.")
    if not np.isfinite(causal_map).all() or np.ptp(causal_map) == 0:
        raise DataError(f"The causal map of {map_name} is constant or not finite, so no pixel is higher.")
