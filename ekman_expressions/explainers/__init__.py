"""Explainers: where an image's prediction rests, by ten methods of one form.

`EXPLAINERS` holds a row per method. All do the same in two moves: ``query`` queries a model about one image
and returns what is to be kept, ``estimate`` makes the `Explanation` of a class of it; ``explain`` does both
for many images. A new explainer is one file with these two functions, and one row here.

>>> EXPLAINERS["rise"].options["masks"].default
4000
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ekman_expressions.core.errors import check_option, check_type
from ekman_expressions.explainers.explanation import Explainer, Explanation, Option
from ekman_expressions.explainers.facial_regions import (
    _CAUSAL,
    _FACIAL_REGIONS,
    face_parts,
    part_masks,
    part_segments,
)
from ekman_expressions.explainers.gradients import _GRAD_CAM, _INTEGRATED_GRADIENTS, _SMOOTH_GRAD
from ekman_expressions.explainers.lime import (
    _KERNEL_SHAP,
    _LIME,
    _SUPERPIXEL_RISE,
    kernel_shap,
    lime,
    paired_samples,
    query_superpixels,
    superpixel_rise,
)
from ekman_expressions.explainers.occlusion import _OCCLUSION, _RISE
from ekman_expressions.explainers.record import (
    PerturbationRecord,
    Stored,
    StoredMap,
    pairs,
    superpixels,
)

__all__ = (
    ["face_parts", "part_masks", "part_segments"]
    + ["Explainer", "Explanation", "Option"]
    + ["kernel_shap", "paired_samples"]
    + ["lime", "query_superpixels"]
    + ["PerturbationRecord", "Stored", "StoredMap", "pairs", "superpixels"]
    + ["superpixel_rise"]
    + ["EXPLAINERS", "check_options"]
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


def check_options(options: Any, setting: str) -> None:
    """Raise `SettingsError` unless `options` are options of explainers, by the explainer's name."""
    check_type(options, setting, Mapping)
    for name, values in options.items():
        check_option(name, setting, EXPLAINERS)
        where = f"{setting}.{name}"
        check_type(values, where, Mapping)
        for key, value in values.items():
            check_option(key, where, EXPLAINERS[name].options)
            EXPLAINERS[name].options[key].check(value, f"{where}.{key}")
