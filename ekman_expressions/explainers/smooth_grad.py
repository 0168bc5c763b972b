"""SmoothGrad: the gradient, averaged over noisy copies of the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekman_expressions.explainers.gradients import GRADIENT_GROUP, input_gradients
from ekman_expressions.explainers.record import image_seed
from ekman_expressions.zoo.checks import check_image


def explain_one(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    seed: int,
    copies: int = 50,
    noise: float = 0.15,
    score: str = "logit",
) -> tuple[np.ndarray, int]:
    """Explain one image by SmoothGrad; see `ekman_expressions.explainers.registry` for the contract.

    The mean gradient over copies with Gaussian noise; a pixel's importance is the largest
    magnitude over its colours ([1]_, section 3). It says where the score is sensitive, in which
    direction it does not say: the map has no negative values.

    Parameters
    ----------
    copies : int
        Noisy copies; the authors find no gain beyond 50.
    noise : float
        Standard deviation in units of the image's range; the authors advise 0.1 to 0.2.
    score : {'probability', 'logit'}
        See `ekman_expressions.explainers.gradients.input_gradients`.

    References
    ----------
    .. [1] Smilkov et al. (2017), SmoothGrad: removing noise by adding noise, arXiv:1706.03825.
    """
    image = check_image(image)
    random = np.random.default_rng(image_seed(seed, "smooth_grad", image))
    spread = np.float32(noise * (image.max() - image.min()))
    total = np.zeros(image.shape)
    for start in range(0, copies, GRADIENT_GROUP):
        # Drawn by whole groups, so that the first copies stay the same when more are asked for.
        noises = random.standard_normal((GRADIENT_GROUP, *image.shape), np.float32)[: copies - start]
        total += input_gradients(model, image + spread * noises, target, score=score)[1].sum(axis=0)
    return np.abs(total / copies).max(axis=-1).astype(np.float32), copies
