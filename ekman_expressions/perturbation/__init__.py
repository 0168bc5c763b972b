"""Superpixels, random samples of them, and what a model answers when the others are hidden.

A `PerturbationRecord` is all of an explanation that costs model calls. Every estimate (LIME
for any class, its standard error) is a cheap function of it.
"""

from __future__ import annotations

from ekman_expressions.perturbation.asking import GROUP, Asker, perturb
from ekman_expressions.perturbation.background import background, check_hidden
from ekman_expressions.perturbation.checks import check_image, check_samples, check_segments
from ekman_expressions.perturbation.precision import PRECISIONS
from ekman_expressions.perturbation.record import PerturbationRecord
from ekman_expressions.perturbation.samplers import SAMPLERS, draw_samples, pairs
from ekman_expressions.perturbation.segmentation import superpixels

__all__ = [
    "GROUP",
    "PRECISIONS",
    "SAMPLERS",
    "Asker",
    "PerturbationRecord",
    "background",
    "check_hidden",
    "check_image",
    "check_samples",
    "check_segments",
    "draw_samples",
    "pairs",
    "perturb",
    "superpixels",
]
