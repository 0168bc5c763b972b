"""LIME on facial regions: the atlas, pulled back to each image, gives every face the same superpixels.

So weights of different faces can be averaged region by region, with no warp of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ekman_expressions.explainers import lime
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import template_points
from ekman_expressions.zoo.checks import check_image

BACKGROUND = "background"
"""The segment that is no region of the atlas: all outside the face."""


def region_names() -> tuple[str, ...]:
    """Return the names of all segments: the atlas' regions and `BACKGROUND`."""
    return (*atlas().names, BACKGROUND)


def region_segments(landmarks: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Divide an image into the atlas' facial regions.

    Parameters
    ----------
    landmarks : (68, 2) array_like
        x and y in units of the image's sides.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    segments : (H, W) ndarray of int32
        0 ... S - 1, each occurring.
    names : tuple of S str
        What each segment is, in the order of `region_names`. A region without a pixel is missing:
        it lies outside the image, or is too small for it.

    Raises
    ------
    DataError
        If the landmarks cannot be used.
    """
    names = region_names()
    canvas = atlas().labels.astype(np.int32) - 1
    canvas[canvas < 0] = names.index(BACKGROUND)
    places = template_points(landmarks, shape)
    rows, columns = (
        np.clip(np.nan_to_num(places[..., axis], nan=0), 0, canvas.shape[1 - axis] - 1).astype(int)
        for axis in (1, 0)
    )
    labels = np.where(np.isnan(places[..., 0]), names.index(BACKGROUND), canvas[rows, columns])
    present, segments = np.unique(labels, return_inverse=True)
    return segments.reshape(shape).astype(np.int32), tuple(names[place] for place in present)


def explain_one(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    seed: int,
    landmarks: np.ndarray,
    **settings: Any,
) -> tuple[np.ndarray, int]:
    """Explain one image by LIME on facial regions; see `ekman_expressions.explainers.registry`.

    Parameters
    ----------
    landmarks : (68, 2) array_like
        x and y in units of the image's sides.
    **settings
        Those of LIME.
    """
    labels, _ = region_segments(landmarks, check_image(image).shape[:2])
    return lime.explain_one(model, image, target, seed=seed, labels=labels, **settings)
