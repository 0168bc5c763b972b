"""LIME on facial regions: the atlas, pulled back to each image, gives every face the same superpixels.

So weights of different faces can be averaged region by region, with no warp of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ekman_expressions.explainers.lime import lime, paint
from ekman_expressions.explainers.recording import image_seed, make_record
from ekman_expressions.facespace.inverse import template_points
from ekman_expressions.masks import atlas
from ekman_expressions.perturbation import check_image

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
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    **asking: Any,
) -> tuple[np.ndarray, int]:
    """Explain one image by LIME on facial regions; see `ekman_expressions.explainers.registry`.

    Parameters
    ----------
    landmarks : (68, 2) array_like
        x and y in units of the image's sides.
    kernel_width, alpha
        See `ekman_expressions.explainers.lime.lime`.
    **asking
        Settings of `ekman_expressions.explainers.recording.make_record`.
    """
    labels, _ = region_segments(landmarks, check_image(image).shape[:2])
    drawn = image_seed(seed, "facial_regions", image)
    record = make_record(model, image, seed=drawn, labels=labels, **asking)
    explanation = lime(record, target, kernel_width=kernel_width, alpha=alpha)
    return paint(explanation.weights, labels, positive=False), len(record.samples)
