"""Integrated gradients: the gradient, gathered on the straight way from a gray image to the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekman_expressions.explainers import record
from ekman_expressions.explainers.gradients import input_gradients
from ekman_expressions.explainers.lime import paint
from ekman_expressions.zoo.background import background
from ekman_expressions.zoo.checks import check_image


def integrated_gradients(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    hidden: float | str = 0.0,
    steps: int = 50,
    score: str = "probability",
) -> np.ndarray:
    """Attribute the change of a class' score, from a gray image to this one, to pixels and colours.

    ``(x - x') ∫ ∂f(x' + a (x - x'))/∂x da`` over a in [0, 1] ([1]_, section 3), by
    Gauss-Legendre quadrature with `steps` points. The attributions sum to ``f(x) - f(x')``, up to the
    error of the quadrature.

    Parameters
    ----------
    model : keras.Model
        Takes images (N, H, W, 3), answers probabilities (N, C).
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    target : int
        The class explained.
    hidden : float or str
        The image x' where the way begins: a gray value, the mean colour, or the image blurred; see
        `ekman_expressions.zoo.background`.
    steps : int
        Points on the way; the authors find 20 to 300 enough.
    score : {'probability', 'logit'}
        See `ekman_expressions.explainers.gradients.input_gradients`.

    Returns
    -------
    (H, W, 3) ndarray of float64

    References
    ----------
    .. [1] Sundararajan, Taly and Yan (2017), Axiomatic attribution for deep networks, arXiv:1703.01365.
    """
    image = check_image(image)
    points, shares = np.polynomial.legendre.leggauss(steps)
    start = background(image, hidden)
    difference = image - start
    way = start + np.float32((points + 1) / 2)[:, None, None, None] * difference
    _, gradients = input_gradients(model, way, target, score=score)
    return difference * np.tensordot(shares / 2, gradients.astype(np.float64), axes=1)


def explain_one(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    seed: int,
    hidden: float | str = 0.0,
    segments: int = 30,
    compactness: float = 20.0,
    steps: int = 50,
    superpixels: bool = False,
    score: str = "probability",
) -> tuple[np.ndarray, int]:
    """Explain one image by integrated gradients; see `ekman_expressions.explainers.registry`.

    A pixel's importance is the sum over its colours. Nothing is random: `seed` is not used.

    Parameters
    ----------
    hidden, steps, score
        See `integrated_gradients`.
    superpixels : bool
        Give each pixel the sum over its superpixel, which compares with the weights of LIME and
        KernelSHAP.
    segments, compactness
        How these superpixels are made.
    """
    found = integrated_gradients(model, image, target, hidden=hidden, steps=steps, score=score).sum(axis=-1)
    if superpixels:
        found = _summed(found, image, segments, compactness)
    return found.astype(np.float32), steps


def _summed(pixels: np.ndarray, image: np.ndarray, segments: int, compactness: float) -> np.ndarray:
    labels = record.superpixels(image, segments=segments, compactness=compactness)
    return paint(np.bincount(labels.ravel(), pixels.ravel()), labels, positive=False)
