"""Explainers: where an image's prediction rests, by ten methods of one form.

`EXPLAINERS` holds a row per method. All do the same in two moves: ``query`` queries a model about one image
and returns what is to be kept, ``estimate`` makes the `Explanation` of a class of it; ``explain`` does both
for many images. A new explainer is one file with these two functions, and one row here.

>>> EXPLAINERS["rise"].options["masks"].default
4000
"""

from __future__ import annotations

from ekman_expressions.explainers.explanation import Explainer, Explanation, Option
from ekman_expressions.explainers.facial_regions import (
    _CAUSAL,
    _FACIAL_REGIONS,
    face_parts,
    part_segments,
)
from ekman_expressions.explainers.gradients import _GRAD_CAM, _INTEGRATED_GRADIENTS, _SMOOTH_GRAD
from ekman_expressions.explainers.lime import _KERNEL_SHAP, _LIME, _SUPERPIXEL_RISE, lime
from ekman_expressions.explainers.occlusion import _OCCLUSION, _RISE
from ekman_expressions.explainers.record import PerturbationRecord, Stored, StoredMap, superpixels

__all__ = (
    ["EXPLAINERS", "Explainer", "Explanation", "Option"]
    + ["PerturbationRecord", "Stored", "StoredMap", "superpixels", "lime"]
    + ["face_parts", "part_segments"]
)

EXPLAINERS: dict[str, Explainer] = {
    row.name: row
    for row in (
        _LIME,
        _KERNEL_SHAP,
        _SUPERPIXEL_RISE,
        _RISE,
        _OCCLUSION,
        _GRAD_CAM,
        _INTEGRATED_GRADIENTS,
        _SMOOTH_GRAD,
        _FACIAL_REGIONS,
        _CAUSAL,
    )
}
"""The explainers that ``explanation.explainer`` and ``explanation.compare`` in the settings take."""
