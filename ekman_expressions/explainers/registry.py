"""The registry of explainers, and the contract that each of them keeps.

Every explainer in `EXPLAINERS` keeps one contract::

    explain(model, images, targets, *, seed, **settings) -> (N, H, W) float32

`model`: a Keras model or any callable from images to probabilities; `images`: (N, H, W, 3)
floats in [0, 1], as an array, tensor or list; `targets`: the class to explain in each image;
`seed`: all randomness comes from it and the image, so the same call gives the same maps, and
neither the order of the images nor the batch size matters. Larger values speak more for the class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ekman_expressions.errors import DataError, check_type
from ekman_expressions.explainers import lime as _lime


def _keeping_contract(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Check an explainer's arguments, in the same words for all, before it runs."""

    @wraps(function)
    def explain(model: Any, images: Any, targets: Any, *, seed: int, **settings: Any) -> np.ndarray:
        check_type(seed, "seed", (int, np.integer))
        images, targets = np.asarray(images), np.asarray(targets)
        if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
            raise DataError(f"'images' must have shape (N, H, W, 3), N >= 1, but got {images.shape}.")
        if targets.shape != (len(images),) or targets.dtype.kind not in "iu":
            raise DataError(
                f"'targets' must be one class index for each of {len(images)} images, "
                f"but got {targets.dtype} of shape {targets.shape}."
            )
        return function(model, images, targets.tolist(), seed=int(seed), **settings)

    return explain


EXPLAINERS: dict[str, Callable[..., np.ndarray]] = {"lime": _keeping_contract(_lime.explain)}
"""Explainers by the name that ``explanation.explainer`` in the settings takes."""
