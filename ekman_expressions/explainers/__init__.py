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
from ekman_expressions.explainers.causal import CAUSAL, face_parts, part_masks, part_segments
from ekman_expressions.explainers.explanation import SHARED, Explainer, Explanation, Option
from ekman_expressions.explainers.facial_regions import FACIAL_REGIONS, region_names, region_segments
from ekman_expressions.explainers.gradients import GRAD_CAM, INTEGRATED_GRADIENTS, SMOOTH_GRAD
from ekman_expressions.explainers.kernel_shap import KERNEL_SHAP, kernel_shap, paired_samples
from ekman_expressions.explainers.lime import LIME, lime, query_superpixels, sample_weights
from ekman_expressions.explainers.occlusion import OCCLUSION
from ekman_expressions.explainers.record import (
    SAMPLERS,
    PerturbationRecord,
    Stored,
    StoredMap,
    draw_samples,
    pairs,
    superpixels,
)
from ekman_expressions.explainers.rise import RISE, SUPERPIXEL_RISE, superpixel_rise

__all__ = (
    ["face_parts", "part_masks", "part_segments"]
    + ["Explainer", "Explanation", "Option", "SHARED"]
    + ["region_names", "region_segments"]
    + ["kernel_shap", "paired_samples"]
    + ["lime", "query_superpixels", "sample_weights"]
    + ["PerturbationRecord", "SAMPLERS", "Stored", "StoredMap", "draw_samples", "pairs", "superpixels"]
    + ["superpixel_rise"]
    + ["EXPLAINERS", "check_options"]
)

EXPLAINERS: dict[str, Explainer] = {
    row.name: row
    for row in (
        LIME,
        KERNEL_SHAP,
        SUPERPIXEL_RISE,
        RISE,
        OCCLUSION,
        GRAD_CAM,
        INTEGRATED_GRADIENTS,
        SMOOTH_GRAD,
        FACIAL_REGIONS,
        CAUSAL,
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
