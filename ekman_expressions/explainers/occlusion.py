"""Occlusion: how much the model's answer falls when a patch of the image is hidden."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekman_expressions.core.errors import check_range
from ekman_expressions.zoo.asking import perturb
from ekman_expressions.zoo.checks import check_image


def patches(side: int, patch: float, stride: float) -> np.ndarray:
    """Return where patches begin and end along one side, (n, 2) pixels; the last one ends at the border.

    Parameters
    ----------
    side : int
        Pixels.
    patch, stride : float, range (0, 1]
        Size of the patch and its step, in units of the side; at least a pixel each.
    """
    size = min(max(round(patch * side), 1), side)
    step = max(round(stride * side), 1)
    starts = np.unique(np.append(np.arange(0, side - size, step), side - size))
    return np.column_stack([starts, starts + size])


def explain_one(
    model: Any,
    image: np.ndarray,
    target: int,
    *,
    seed: int,
    hidden: float | str = 0.0,
    batch_size: int = 64,
    patch: float = 0.2,
    stride: float = 0.1,
) -> tuple[np.ndarray, int]:
    """Explain one image by occlusion; see `ekman_expressions.explainers.registry` for the contract.

    A pixel's importance is the mean fall of the answer over the patches that cover it (Zeiler and
    Fergus 2014, doi:10.1007/978-3-319-10590-1_53). Nothing is random: `seed` is not used.

    Parameters
    ----------
    hidden : float or str
        What the patch looks like; see `ekman_expressions.zoo.background`.
    batch_size : int
        See `ekman_expressions.zoo.asking.perturb`.
    patch, stride : float, range (0, 1]
        Size of the square patch and its step, in units of the image's side.
    """
    image = check_image(image)
    rows, columns = (patches(side, patch, stride) for side in image.shape[:2])
    row_of, row_covers = _cells(rows, image.shape[0])
    column_of, column_covers = _cells(columns, image.shape[1])
    # All borders of patches cut the image into cells, the superpixels of this explanation.
    covered = np.einsum("ri,cj->rcij", row_covers, column_covers).reshape(len(rows) * len(columns), -1)
    segments = row_of[:, None] * column_covers.shape[1] + column_of
    samples = np.concatenate([np.ones((1, covered.shape[1]), bool), ~covered])
    answers = perturb(model, image, segments, samples, hidden=hidden, batch_size=batch_size)
    check_range(target, "target", 0, answers.shape[1] - 1, integer=True)
    falls = answers[0, target].astype(np.float64) - answers[1:, target]
    # With a stride larger than the patch, no patch covers the cells between two.
    return (falls @ covered / np.maximum(covered.sum(axis=0), 1)).astype(np.float32)[segments], len(samples)


def _cells(spans: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a side at all ends of spans: the cell of each pixel, and (spans, cells) which span covers which."""
    borders = np.unique([0, side, *spans.ravel()])
    cell_of = np.searchsorted(borders, np.arange(side), side="right") - 1
    starts = borders[:-1]
    return cell_of, (spans[:, :1] <= starts) & (starts < spans[:, 1:])
