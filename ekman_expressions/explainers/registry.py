"""The registry of explainers, and the contract that each of them keeps.

Every explainer in `EXPLAINERS` keeps one contract::

    explain(model, images, targets, *, seed, positive=True, **settings) -> (N, H, W) float32

`model`: a Keras model or any callable from images to probabilities (`SPECS` says which explainers
need gradients, and so a Keras model); `images`: (N, H, W, 3) floats in [0, 1], as an array, tensor
or list; `targets`: the class to explain in each image; `seed`: all randomness comes from it and
the image, so the same call gives the same maps, and neither the order of the images nor the batch
size matters. Larger values speak more for the class; with `positive`, as in the study, what speaks
against it is 0. `facial_regions` also needs `landmarks`: (N, 68, 2) in units of the image's sides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError, SettingsError, check_type
from ekman_expressions.explainers import (
    facial_regions,
    grad_cam,
    integrated_gradients,
    kernel_shap,
    lime,
    occlusion,
    rise,
    smooth_grad,
    superpixel_rise,
)
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.zoo.background import check_hidden

EXPLAIN_ONE: dict[str, Callable[..., tuple[np.ndarray, int]]] = {
    "lime": lime.explain_one,
    "kernel_shap": kernel_shap.explain_one,
    "superpixel_rise": superpixel_rise.explain_one,
    "rise": rise.explain_one,
    "occlusion": occlusion.explain_one,
    "grad_cam": grad_cam.explain_one,
    "integrated_gradients": integrated_gradients.explain_one,
    "smooth_grad": smooth_grad.explain_one,
    "facial_regions": facial_regions.explain_one,
}
"""Per explainer, ``(model, image, target, *, seed, **settings)`` to a signed map (H, W) float32 and
the number of images that went through the model."""


def _keeping_contract(name: str, one: Callable[..., tuple[np.ndarray, int]]) -> Callable[..., np.ndarray]:
    """Check an explainer's arguments, in the same words for all, and explain image by image."""

    @wraps(one)
    def explain(
        model: Any,
        images: Any,
        targets: Any,
        *,
        seed: int,
        positive: bool = True,
        landmarks: Any = None,
        **settings: Any,
    ) -> np.ndarray:
        check_type(seed, "seed", (int, np.integer))
        if not callable(model):
            raise SettingsError(
                "'model' must be a Keras model or a callable images -> probabilities, "
                f"but got {type(model).__name__}."
            )
        check_hidden(settings.get("hidden", 0), "hidden")
        for key in settings.keys() & SPECS[name].options.keys():
            SPECS[name].options[key].check(settings[key], key)
        images, targets = _stacked(images), np.asarray(targets)
        if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
            raise DataError(f"'images' must have shape (N, H, W, 3), N >= 1, but got {images.shape}.")
        if targets.shape != (len(images),) or targets.dtype.kind not in "iu":
            raise DataError(
                f"'targets' must be one class index for each of {len(images)} images, "
                f"but got {targets.dtype} of shape {targets.shape}."
            )
        of_each: list[dict[str, Any]] = [{} for _ in images]
        if SPECS[name].landmarks:
            landmarks = np.asarray(landmarks if landmarks is not None else [])
            if landmarks.shape != (len(images), 68, 2):
                raise DataError(
                    f"'landmarks' must have shape ({len(images)}, 68, 2), those of each image, "
                    f"but got {landmarks.shape}."
                )
            of_each = [{"landmarks": points} for points in landmarks]
        maps = [
            one(model, image, target, seed=int(seed), **settings, **own)[0]
            for image, target, own in zip(images, targets.tolist(), of_each, strict=True)
        ]
        maps = np.stack(maps).astype(np.float32, copy=False)
        return np.maximum(maps, 0) if positive else maps

    return explain


def _stacked(images: Any) -> np.ndarray:
    try:
        return np.asarray(images)
    except ValueError as error:
        raise DataError(
            f"'images' must have shape (N, H, W, 3), all of one size, but they cannot be stacked ({error})."
        ) from error


EXPLAINERS: dict[str, Callable[..., np.ndarray]] = {
    name: _keeping_contract(name, one) for name, one in EXPLAIN_ONE.items()
}
"""Explainers by the name that ``explanation.explainer`` in the settings takes."""
