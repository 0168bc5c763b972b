"""LIME on facial regions: the atlas, carried to each image, gives every face the same superpixels.

So weights of different faces can be averaged region by region, with no warp of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ekman_expressions.explainers.explanation import Explainer, Explanation
from ekman_expressions.explainers.lime import _LIME, query_superpixels
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import template_points
from ekman_expressions.zoo.model import check_image

_BACKGROUND = "background"
"""The segment that is no region of the atlas: all outside the face."""


def region_names() -> tuple[str, ...]:
    """Return the names of all segments: the atlas' regions and `_BACKGROUND`."""
    return (*atlas().names, _BACKGROUND)


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
    canvas[canvas < 0] = names.index(_BACKGROUND)
    places = template_points(landmarks, shape)
    rows, columns = (
        np.clip(np.nan_to_num(places[..., axis], nan=0), 0, canvas.shape[1 - axis] - 1).astype(int)
        for axis in (1, 0)
    )
    labels = np.where(np.isnan(places[..., 0]), names.index(_BACKGROUND), canvas[rows, columns])
    present, segments = np.unique(labels, return_inverse=True)
    return segments.reshape(shape).astype(np.int32), tuple(names[place] for place in present)


def _query(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> PerturbationRecord:
    labels, _ = region_segments(landmarks, check_image(image).shape[:2])
    kinds = {name: settings[name] for name in ("samples", "sampler", "hidden")}
    return query_superpixels(model, image, labels, seed=seed, **kinds)


def _estimate(stored: PerturbationRecord, target: int, settings: Mapping[str, Any]) -> Explanation:
    return replace(_LIME.estimate(stored, target, settings), explainer="facial_regions")


_FACIAL_REGIONS = Explainer(
    name="facial_regions",
    title="Facial regions",
    source="Ribeiro et al. (2016), doi:10.1145/2939672.2939778, with the atlas' regions as superpixels",
    cost="samples",
    query=_query,
    estimate=_estimate,
    shared=("samples", "sampler", "hidden", "kernel_width", "alpha"),
    landmarks=True,
)
