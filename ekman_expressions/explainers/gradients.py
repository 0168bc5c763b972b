"""Explainers that take gradients: Grad-CAM, integrated gradients and SmoothGrad.

What is differentiated is the class' ``score``: its ``probability``, or its ``logit``, the logarithm of the
probability less the mean of the logarithms of all classes' probabilities. For a softmax that is the class'
logit less the mean logit: unlike the probability it does not saturate where the model is sure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ekman_expressions.explainers.explanation import Explainer, Option
from ekman_expressions.explainers.record import StoredMap, superpixels
from ekman_expressions.zoo.model import GRADIENT_GROUP, SCORES, background, check_image

_PROBABILITY = Option(default="probability", choices=SCORES)
_LOGIT = Option(default="logit", choices=SCORES)


def _grad_cam(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> StoredMap:
    """Weight the last convolutional features by how the class' score depends on each; nothing is random.

    ``Σ_k α_k A_k``, where A_k is the k-th feature map of a convolutional layer and α_k the mean over
    the map of the score's gradient (equations 1 and 2), enlarged bilinearly to the image. The authors
    take the logit for the score, and set negative values to 0.
    """
    import cv2

    image = check_image(image)
    layer = settings["layer"] or None
    features, gradients = model.features(image, target, layer=layer, score=settings["score"])
    found = features @ gradients.mean(axis=(0, 1))
    found = cv2.resize(found, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return StoredMap(image_id="", model=model.name, target=target, map=found, passes=1)


def _integrated_gradients(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> StoredMap:
    """Attribute the change of a class' score, from a gray image to this one, to pixels; nothing is random.

    ``(x - x') ∫ ∂f(x' + a (x - x'))/∂x da`` over a in [0, 1] (section 3), by Gauss-Legendre
    quadrature. x' is the ``hidden`` colour. The attributions sum to ``f(x) - f(x')``, up to the
    error of the quadrature. A pixel's is the sum over its colours; with ``superpixels``, each pixel
    has the sum over its superpixel, which compares with the weights of LIME and KernelSHAP.
    """
    image = check_image(image)
    points, shares = np.polynomial.legendre.leggauss(settings["steps"])
    start = background(image, settings["hidden"])
    difference = image - start
    way = start + np.float32((points + 1) / 2)[:, None, None, None] * difference
    _, gradients = model.gradients(way, target, score=settings["score"])
    found = difference * np.tensordot(shares / 2, gradients.astype(np.float64), axes=1)
    found = found.sum(axis=-1)
    if settings["superpixels"]:
        labels = superpixels(image, segments=settings["segments"], compactness=settings["compactness"])
        found = np.bincount(labels.ravel(), found.ravel())[labels]
    found = found.astype(np.float32)
    return StoredMap(image_id="", model=model.name, target=target, map=found, passes=settings["steps"])


def _smooth_grad(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> StoredMap:
    """Average the gradient over copies with Gaussian noise.

    A pixel's importance is the largest magnitude over its colours (section 3). It says where the score
    is sensitive, in which direction it does not say: the map has no negative values.
    """
    image = check_image(image)
    random = np.random.default_rng(seed)
    spread, copies = np.float32(settings["noise"] * (image.max() - image.min())), settings["copies"]
    total = np.zeros(image.shape)
    for start in range(0, copies, GRADIENT_GROUP):
        # Drawn by whole groups, so that the first copies stay the same when more are drawn.
        noises = random.standard_normal((GRADIENT_GROUP, *image.shape), np.float32)[: copies - start]
        total += model.gradients(image + spread * noises, target, score=settings["score"])[1].sum(axis=0)
    found = np.abs(total / copies).max(axis=-1).astype(np.float32)
    return StoredMap(image_id="", model=model.name, target=target, map=found, passes=copies)


GRAD_CAM = Explainer(
    name="grad_cam",
    title="Grad-CAM",
    source="Selvaraju et al. (2017), doi:10.1109/ICCV.2017.74",
    cost="one forward and one backward pass",
    query=_grad_cam,
    # The layer's name, also inside models that are layers themselves; empty: the last with features in space.
    options={"layer": Option(default=""), "score": _LOGIT},
    gradients=True,
)

INTEGRATED_GRADIENTS = Explainer(
    name="integrated_gradients",
    title="Integrated gradients",
    source="Sundararajan et al. (2017), arXiv:1703.01365",
    cost="steps, forward and backward",
    query=_integrated_gradients,
    shared=("hidden", "segments", "compactness"),
    options={
        # The authors find 20 to 300 steps enough.
        "steps": Option(default=50, low=2),
        "superpixels": Option(default=False),
        "score": _PROBABILITY,
    },
    gradients=True,
)

SMOOTH_GRAD = Explainer(
    name="smooth_grad",
    title="SmoothGrad",
    source="Smilkov et al. (2017), arXiv:1706.03825",
    cost="copies, forward and backward",
    query=_smooth_grad,
    options={
        # The authors find no gain beyond 50 copies, and advise a noise of 0.1 to 0.2 of the image's range.
        "copies": Option(default=50, low=1),
        "noise": Option(default=0.15, low=0.0, high=1.0),
        "score": _LOGIT,
    },
    gradients=True,
)
