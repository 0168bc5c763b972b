"""Explainers that take gradients: Grad-CAM, integrated gradients and SmoothGrad.

What is differentiated is the class' ``score``: its ``probability``, its ``logit`` (what goes into the
softmax), or its ``contrast``, the logit less the mean logit of all classes; see
`ekman_expressions.zoo.Model.gradients`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ekman_expressions.explainers.explanation import Explainer, Option
from ekman_expressions.explainers.record import StoredMap, superpixels
from ekman_expressions.zoo.model import _GRADIENT_GROUP, _GRADIENT_SCORES, background

# The authors find 20 to 300 enough.
_MOST_STEPS = 400


def _grad_cam(model: Any, image: np.ndarray, target: int, *, settings: Mapping, **_: Any) -> StoredMap:
    """``Σ_k α_k A_k`` of a layer's feature maps A_k, α_k the mean gradient of the score over the map
    (equations 1 and 2), enlarged bilinearly; negative values are left to the heatmaps. Nothing is random.
    """
    import cv2

    features, gradients = model.features(image, target, settings["layer"] or None, settings["score"])
    found = features @ gradients.mean(axis=(0, 1))
    found = cv2.resize(found, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return StoredMap(model=model.name, target=target, map=found, passes=1)


def _integrated_gradients(model: Any, image: np.ndarray, target: int, *, settings: Mapping, **_: Any) -> StoredMap:
    """``(x - x') ∫ ∂f(x' + a (x - x'))/∂x da`` over a in [0, 1] (section 3), x' what ``hidden`` says, by
    Simpson's rule, whose steps are doubled until the attributions sum to ``f(x) - f(x')``. A pixel has the
    sum over its colours, with ``superpixels`` that over its superpixel. Nothing is random.
    """
    labels, score = None, settings["score"]
    if settings["superpixels"] or isinstance(settings["hidden"], str):
        labels = superpixels(image, segments=settings["segments"], compactness=settings["compactness"])
    start = background(image, settings["hidden"], labels)
    difference = image - start

    def at(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return model.gradients(start + np.float32(shares)[:, None, None, None] * difference, target, score=score)

    def summed(shares: np.ndarray) -> np.ndarray:
        total = np.zeros(image.shape)
        for place in range(0, len(shares), _GRADIENT_GROUP):
            total += at(shares[place : place + _GRADIENT_GROUP])[1].sum(axis=0, dtype=np.float64)
        return total

    steps = 2 * -(-settings["steps"] // 2)
    predictions, gradients = at(np.array([0.0, 1.0]))
    ends = gradients.sum(axis=0, dtype=np.float64)
    even, odd = (summed(np.arange(first, steps, 2) / steps) for first in (2, 1))
    values = predictions.astype(np.float64)
    if score == "contrast":
        values = np.log(np.maximum(values, 1e-30))
        values -= values.mean(axis=1, keepdims=True)
    change = values[1, target] - values[0, target]
    while True:
        found = difference * (ends + 2 * even + 4 * odd) / (3 * steps)
        missed = abs(found.sum() - change)
        error = float(missed / abs(change)) if missed else 0.0
        if error <= settings["tolerance"] or 2 * steps > _MOST_STEPS:
            break
        even, steps = even + odd, 2 * steps
        odd = summed(np.arange(1, steps, 2) / steps)
    found = found.sum(axis=-1)
    if settings["superpixels"]:
        found = np.bincount(labels.ravel(), found.ravel())[labels]
    within = f"within {settings['tolerance']:.0%} after {steps} steps"
    incomplete = f"attributions do not sum to f(image) - f(baseline) {within}"
    return StoredMap(
        model=model.name,
        target=target,
        map=found.astype(np.float32),
        passes=steps + 1,
        completeness=error,
        note=incomplete if error > settings["tolerance"] else "",
    )


def _smooth_grad(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> StoredMap:
    """Average the gradient over copies with Gaussian noise; of the colours, the largest magnitude counts
    (section 3).
    """
    random = np.random.default_rng(seed)
    spread, copies = np.float32(settings["noise"] * (image.max() - image.min())), settings["copies"]
    total = np.zeros(image.shape)
    for start in range(0, copies, _GRADIENT_GROUP):
        # Drawn by whole groups, so that the first copies stay the same when more are drawn.
        noises = random.standard_normal((_GRADIENT_GROUP, *image.shape), np.float32)[: copies - start]
        total += model.gradients(image + spread * noises, target, score=settings["score"])[1].sum(axis=0)
    found = np.abs(total / copies).max(axis=-1).astype(np.float32)
    return StoredMap(model=model.name, target=target, map=found, passes=copies)


_GRAD_CAM = Explainer(
    name="grad_cam",
    title="Grad-CAM",
    source="Selvaraju et al. (2017), doi:10.1109/ICCV.2017.74",
    cost="one forward and one backward pass",
    query=_grad_cam,
    # The layer's name, also inside models that are layers themselves; empty: the last with features in space.
    options={"layer": Option(default=""), "score": Option(default="logit", choices=_GRADIENT_SCORES)},
    gradients=True,
)

_INTEGRATED_GRADIENTS = Explainer(
    name="integrated_gradients",
    title="Integrated gradients",
    source="Sundararajan et al. (2017), arXiv:1703.01365",
    cost="steps (doubled up to 400), forward and backward",
    query=_integrated_gradients,
    shared=("hidden", "segments", "compactness"),
    options={
        # To begin with; doubled until attributions miss f(image) - f(baseline) by no more than the tolerance.
        "steps": Option(default=50, low=2, high=400),
        "tolerance": Option(default=0.05, low=0.0),
        "superpixels": Option(default=False),
        "score": Option(default="probability", choices=("probability", "contrast")),
    },
    gradients=True,
)

_SMOOTH_GRAD = Explainer(
    name="smooth_grad",
    title="SmoothGrad",
    source="Smilkov et al. (2017), arXiv:1706.03825",
    cost="copies, forward and backward",
    query=_smooth_grad,
    options={
        # The authors find no gain beyond 50 copies, and advise a noise of 0.1 to 0.2 of the image's range.
        "copies": Option(default=50, low=1),
        "noise": Option(default=0.15, low=0.0, high=1.0),
        "score": Option(default="contrast", choices=_GRADIENT_SCORES),
    },
    gradients=True,
)
