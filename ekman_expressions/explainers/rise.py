"""RISE: how the model's answer goes with what random soft masks leave to be seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekman_expressions.core.errors import check_range
from ekman_expressions.explainers.record import image_seed
from ekman_expressions.zoo.asking import GROUP
from ekman_expressions.zoo.background import background
from ekman_expressions.zoo.checks import check_image
from ekman_expressions.zoo.masked import ask_behind


def soft_masks(
    shape: tuple[int, int], count: int, *, cells: int, keep: float, random: np.random.Generator
) -> np.ndarray:
    """Draw RISE's masks: coarse random grids, enlarged bilinearly and shifted at random.

    Each of ``cells x cells`` cells is kept with probability `keep`; the grid is enlarged to one cell
    more than the image, and a window of the image's size is cut out of it at random ([1]_, section 3.2).

    Returns
    -------
    (count, H, W) ndarray of float32, range [0, 1]

    References
    ----------
    .. [1] Petsiuk, Das and Saenko (2018), RISE: randomized input sampling for explanation of black-box
       models, arXiv:1806.07421.
    """
    grids = (random.random((count, cells + 1, cells + 1)) < keep).astype(np.float32)
    rows, columns = (_shifted(side, count, cells, random) for side in shape)
    return np.matmul(np.matmul(rows, grids), columns.transpose(0, 2, 1))


def _shifted(side: int, count: int, cells: int, random: np.random.Generator) -> np.ndarray:
    """Return (count, side, cells + 1) matrices that enlarge a grid along one axis, with random shifts."""
    # Cell centres lie at whole numbers; shifted by less than one cell, all pixels stay between some.
    positions = (np.arange(side) + 0.5) / side * (cells - 1) + random.random((count, 1))
    return np.maximum(1 - np.abs(positions[..., None] - np.arange(cells + 1)), 0).astype(np.float32)


def explain_one(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    seed: int,
    hidden: float | str = 0.0,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
) -> tuple[np.ndarray, int]:
    """Explain one image by RISE; see `ekman_expressions.explainers.registry` for the contract.

    A pixel's importance is the mean of the answers, weighted by how much each mask keeps of the
    pixel (Petsiuk et al. 2018, equation 6), less the mean answer, so that 0 says that it does
    not matter.

    Parameters
    ----------
    hidden : float or str
        What is seen where the image is hidden; see `ekman_expressions.zoo.background`.
    masks : int
        How many; the authors use 4,000 to 8,000.
    cells : int
        Cells of the coarse grid along each side.
    keep : float
        Probability with which a cell is kept.
    """
    image = check_image(image)
    behind = background(image, hidden)
    random = np.random.default_rng(image_seed(seed, "rise", image))
    weighted, kept = np.zeros((2, *image.shape[:2]))
    answers: list[np.ndarray] = []
    for start in range(0, masks, GROUP):
        # Drawn by whole groups, so that the first masks stay the same when more are asked for.
        drawn = soft_masks(image.shape[:2], GROUP, cells=cells, keep=keep, random=random)[: masks - start]
        answer = ask_behind(model, image, drawn, behind)
        check_range(target, "target", 0, answer.shape[1] - 1, integer=True)
        answers.append(answer[:, target].astype(np.float64))
        # Differences from the first answer: those of a constant model are exactly 0.
        weighted += np.tensordot(answers[-1] - answers[0][0], drawn, axes=1)
        kept += drawn.sum(axis=0)
    mean = np.concatenate(answers).mean() - answers[0][0]
    return (weighted / np.maximum(kept, 1e-12) - mean).astype(np.float32), masks
