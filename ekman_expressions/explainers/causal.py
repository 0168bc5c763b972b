"""The causal explainer: what each facial region's change from the person's own neutral face does to a prediction.

Parts of the face are put back to the same person's neutral face, under the same pose and light, and the
model is queried again. The Shapley values of that game sum to f(face) - f(neutral), and
nothing about them is assumed: they are what the network does with the movement of each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ekman_expressions.explainers.explanation import (
    Explainer,
    Explanation,
    Option,
    _check_hidden_setting,
)
from ekman_expressions.explainers.facial_regions import _BACKGROUND, region_names, region_segments
from ekman_expressions.explainers.kernel_shap import kernel_shap, paired_samples
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.zoo.model import as_model, check_image

_JOINED = {"glabella": "brows", "jaw": "chin"}
# Of pairs of samples, in the jackknife.
_BLOCKS = 16


def face_parts() -> tuple[str, ...]:
    """Return the names of the ten parts that the causal explainer puts back to neutral.

    The atlas' groups, the glabella joined to the brows and the jaw to the chin, and what is outside the face.

    Examples
    --------
    >>> face_parts()[:4]
    ('forehead', 'brows', 'eyes', 'temples')
    """
    return (*(name for name in atlas().groups if name not in _JOINED), _BACKGROUND)


def part_masks() -> dict[str, np.ndarray]:
    """Return where the parts of `face_parts` lie in face space, (275, 224) bool each, but for what is outside."""
    groups = {name: atlas().group(name) for name in atlas().groups}
    joined = {name: groups[name].copy() for name in groups if name not in _JOINED}
    for name, part in _JOINED.items():
        joined[part] |= groups[name]
    return joined


def part_segments(landmarks: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Divide an image into the parts of `face_parts`, made of regions as `region_segments` finds them.

    Arguments and returns as there: (H, W) int32, and the part of each segment.
    """
    group_of = {region.name: _JOINED.get(region.group, region.group) for region in atlas().regions}
    parts = face_parts()
    place = {name: parts.index(group_of.get(name, _BACKGROUND)) for name in region_names()}
    regions, names = region_segments(landmarks, shape)
    found = np.array([place[name] for name in names])[regions]
    present, segments = np.unique(found, return_inverse=True)
    return segments.reshape(shape).astype(np.int32), tuple(parts[number] for number in present)


def _query(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> PerturbationRecord:
    model = as_model(model)
    segments, names = part_segments(landmarks, check_image(image).shape[:2])
    # All coalitions, where there are no more.
    samples = paired_samples(len(names), settings["samples"] // 2 * 2, seed)
    predictions = model.predict_hidden(image, segments, samples, settings["hidden"])
    kept = samples.sum(axis=1)
    return PerturbationRecord(
        image_id="",
        model=model.name,
        segments=segments,
        samples=samples,
        predictions=predictions,
        hidden="image" if np.ndim(settings["hidden"]) else settings["hidden"],
        sampler="paired",
        none=predictions[np.flatnonzero(kept == 0)[0]],
    )


def _estimate(stored: PerturbationRecord, target: int, settings: Mapping[str, Any]) -> Explanation:
    return replace(
        kernel_shap(stored, target),
        explainer="causal",
        standard_errors=_standard_errors(stored, target),
        passes=stored.passes,
    )


def _standard_errors(record: PerturbationRecord, target: int) -> np.ndarray:
    """Estimate errors by leaving out blocks of pairs in turn (the grouped jackknife); 0 where values are exact.

    Efron and Stein (1981), The jackknife estimate of variance, doi:10.1214/aos/1176345462.
    """
    samples, count = record.samples, record.samples.shape[1]
    if len(samples) == 2**count:
        return np.zeros(count)
    # The first pair keeps all and none, and is not drawn.
    block = np.arange(len(samples)) // 2 % _BLOCKS
    block[:2] = -1
    found = [
        kernel_shap(
            replace(record, samples=samples[block != out], predictions=record.predictions[block != out]),
            target,
        ).weights
        for out in range(_BLOCKS)
    ]
    return np.sqrt((_BLOCKS - 1) * np.var(found, axis=0))


_CAUSAL = Explainer(
    name="causal",
    title="Causal (own neutral face)",
    source="Shapley values (Lundberg and Lee 2017, arXiv:1705.07874) of facial parts put back to neutral",
    cost="samples",
    query=_query,
    estimate=_estimate,
    options={
        # 1,024 are all coalitions of ten parts: then the values are exact.
        "samples": Option(default=256, low=64),
        "hidden": Option(default="neutral", verify=_check_hidden_setting),
    },
    landmarks=True,
)
