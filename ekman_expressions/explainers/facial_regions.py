"""Facial regions as superpixels: LIME on them, and what each one's change from the neutral face causes.

The atlas, carried to each image, gives every face the same superpixels, so that weights of different faces can be
averaged region by region, with no warp of the result. The causal explainer puts parts of the face back to the same
person's neutral face, under the same pose and light. The Shapley values of that game sum to f(face) - f(neutral),
and nothing about them is assumed: they are what the network does with the movement of each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ekman_expressions.explainers.explanation import Explainer, Explanation, Option, _check_hidden_setting
from ekman_expressions.explainers.lime import _LIME, _kernel_shap
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import SHAPE, template_points

_BACKGROUND = "background"
"""The segment that is no region of the atlas: all outside the face."""


def _region_names() -> tuple[str, ...]:
    """Return the names of all segments: the atlas' regions and `_BACKGROUND`."""
    return (*atlas().names, _BACKGROUND)


def _region_segments(landmarks: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Divide an image (H, W) by its landmarks (68, 2) into the atlas' facial regions; see `_carry`."""
    return _carry({name: atlas().region(name) for name in atlas().names}, landmarks, shape)


def _carry(
    areas: Mapping[str, np.ndarray], landmarks: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Carry areas of face space, then `_BACKGROUND`, to an image (H, W): (H, W) int32, and what each segment
    is, without areas that have no pixel there.
    """
    names = (*areas, _BACKGROUND)
    canvas = np.full(SHAPE, len(areas))
    for place, area in enumerate(areas.values()):
        canvas[area] = place
    places = template_points(landmarks, shape)
    rows, columns = (
        np.clip(np.nan_to_num(places[..., axis], nan=0), 0, canvas.shape[1 - axis] - 1).astype(int) for axis in (1, 0)
    )
    labels = np.where(np.isnan(places[..., 0]), len(areas), canvas[rows, columns])
    present, segments = np.unique(labels, return_inverse=True)
    return segments.reshape(shape).astype(np.int32), tuple(names[place] for place in present)


def _query(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> PerturbationRecord:
    labels, _ = _region_segments(landmarks, image.shape[:2])
    kinds = {name: settings[name] for name in ("samples", "sampler", "hidden")}
    return PerturbationRecord.query(model, image, labels, seed=seed, **kinds)


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


_BLOCKS = 16
"""Of pairs of samples, in the jackknife."""


def face_parts() -> tuple[str, ...]:
    """Return the names of the ten parts that the causal explainer puts back to neutral.

    The atlas' `parts`, and what is outside the face.

    Examples
    --------
    >>> face_parts()[:4]
    ('forehead', 'brows', 'eyes', 'temples')
    """
    return (*atlas().part_names, _BACKGROUND)


def part_segments(landmarks: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Divide an image of this shape, (H, W), into the parts of `face_parts`, by its landmarks.

    `landmarks`, (68, 2), are in units of the image's sides. Returns (H, W) int32, 0 ... S - 1, each occurring,
    and what each is: a part without a pixel is missing.
    """
    return _carry(atlas().parts, landmarks, shape)


def _query_causal(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> PerturbationRecord:
    segments, _ = part_segments(landmarks, image.shape[:2])
    # All coalitions, where there are no more.
    samples = settings["samples"] // 2 * 2
    return PerturbationRecord.query(
        model, image, segments, samples=samples, seed=seed, sampler="paired", hidden=settings["hidden"]
    )


def _estimate_causal(stored: PerturbationRecord, target: int, settings: Mapping[str, Any]) -> Explanation:
    found = _kernel_shap(stored, target)
    return replace(found, explainer="causal", standard_errors=_standard_errors(stored, target))


def _standard_errors(record: PerturbationRecord, target: int) -> np.ndarray:
    """Leave out blocks of pairs in turn (grouped jackknife; Efron and Stein 1981,
    doi:10.1214/aos/1176345462); 0 if exact.
    """
    samples, count = record.samples, record.samples.shape[1]
    if len(samples) == 2**count:
        return np.zeros(count)
    # The first pair keeps all and none, and is not drawn.
    block = np.arange(len(samples)) // 2 % _BLOCKS
    block[:2] = -1
    found = []
    for out in range(_BLOCKS):
        kept = {"samples": samples[block != out], "predictions": record.predictions[block != out]}
        found.append(_kernel_shap(replace(record, **kept), target).weights)
    return np.sqrt((_BLOCKS - 1) * np.var(found, axis=0))


_CAUSAL = Explainer(
    name="causal",
    title="Causal (own neutral face)",
    source="Shapley values (Lundberg and Lee 2017, arXiv:1705.07874) of facial parts put back to neutral",
    cost="samples",
    query=_query_causal,
    estimate=_estimate_causal,
    options={
        # 1,024 are all coalitions of ten parts: then the values are exact.
        "samples": Option(default=256, low=64),
        "hidden": Option(default="neutral", verify=_check_hidden_setting),
    },
    landmarks=True,
)
