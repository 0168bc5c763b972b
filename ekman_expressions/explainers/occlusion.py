"""What hiding parts of an image does to the prediction: occlusion by patches, RISE by random masks.

Zeiler and Fergus (2014), doi:10.1007/978-3-319-10590-1_53; Petsiuk et al. (2018), arXiv:1806.07421.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ekman_expressions.core.errors import check_range
from ekman_expressions.explainers.explanation import Explainer, Option
from ekman_expressions.explainers.record import StoredMap
from ekman_expressions.zoo.model import GROUP, background


def _query_occlusion(model: Any, image: np.ndarray, target: int, *, settings: Mapping, **_: Any) -> StoredMap:
    """A pixel's importance is the mean fall of the prediction over patches on it; nothing is random."""
    rows, columns = (_patches(side, settings["patch"], settings["stride"]) for side in image.shape[:2])
    row_of, row_covers = _cells(rows, image.shape[0])
    column_of, column_covers = _cells(columns, image.shape[1])
    # All borders of patches cut the image into cells, the superpixels of this explanation.
    covered = np.einsum("ri,cj->rcij", row_covers, column_covers).reshape(len(rows) * len(columns), -1)
    segments = row_of[:, None] * column_covers.shape[1] + column_of
    samples = np.concatenate([np.ones((1, covered.shape[1]), bool), ~covered])
    predictions = model.predict_hidden(image, segments, samples, settings["hidden"])
    check_range(target, "target", 0, predictions.shape[1] - 1, integer=True)
    falls = predictions[0, target].astype(np.float64) - predictions[1:, target]
    # With a stride larger than the patch, no patch covers the cells between two.
    found = (falls @ covered / np.maximum(covered.sum(axis=0), 1)).astype(np.float32)[segments]
    return StoredMap(model=model.name, target=target, map=found, passes=len(samples))


def _patches(side: int, patch: float, stride: float) -> np.ndarray:
    """Return where patches begin and end along one side, (n, 2) pixels; the last one ends at the border."""
    size = min(max(round(patch * side), 1), side)
    step = max(round(stride * side), 1)
    starts = np.unique(np.append(np.arange(0, side - size, step), side - size))
    return np.column_stack([starts, starts + size])


def _cells(spans: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a side at all ends of spans: the cell of each pixel, and (spans, cells) which span covers which."""
    borders = np.unique([0, side, *spans.ravel()])
    cell_of = np.searchsorted(borders, np.arange(side), side="right") - 1
    starts = borders[:-1]
    return cell_of, (spans[:, :1] <= starts) & (starts < spans[:, 1:])


_OCCLUSION = Explainer(
    name="occlusion",
    title="Occlusion",
    source="Zeiler and Fergus (2014), doi:10.1007/978-3-319-10590-1_53",
    cost="one per place of the patch, and one",
    query=_query_occlusion,
    shared=("hidden",),
    options={
        # The side of the square patch and its step, in units of the image's side.
        "patch": Option(default=0.2, low=0.01, high=1.0),
        "stride": Option(default=0.1, low=0.01, high=1.0),
    },
)


def _query_rise(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> StoredMap:
    """A pixel's importance is the mean of the predictions, weighted by how much each mask keeps of it
    (equation 6), less the mean prediction.
    """
    behind = background(image, settings["hidden"])
    random = np.random.default_rng(seed)
    count, grid = settings["masks"], {"cells": settings["cells"], "keep": settings["keep"]}
    weighted, kept = np.zeros((2, *image.shape[:2]))
    predictions: list[np.ndarray] = []
    for start in range(0, count, GROUP):
        # Drawn by whole groups, so that the first masks stay the same when more are drawn.
        drawn = _soft_masks(image.shape[:2], GROUP, random=random, **grid)[: count - start]
        found = model.predict_masked(image, drawn, behind)
        check_range(target, "target", 0, found.shape[1] - 1, integer=True)
        predictions.append(found[:, target].astype(np.float64))
        # Differences from the first prediction: those of a constant model are exactly 0.
        weighted += np.tensordot(predictions[-1] - predictions[0][0], drawn, axes=1)
        kept += drawn.sum(axis=0)
    mean = np.concatenate(predictions).mean() - predictions[0][0]
    found = (weighted / np.maximum(kept, 1e-12) - mean).astype(np.float32)
    return StoredMap(model=model.name, target=target, map=found, passes=count)


def _soft_masks(
    shape: tuple[int, int], count: int, *, cells: int, keep: float, random: np.random.Generator
) -> np.ndarray:
    """Draw RISE's masks, (count, H, W) float32 in [0, 1]: each of ``cells x cells`` cells is kept with
    probability `keep`; the grid is enlarged to one cell more than the image, and shifted at random (section
    3.2).
    """
    grids = (random.random((count, cells + 1, cells + 1)) < keep).astype(np.float32)
    rows, columns = (_shifted(side, count, cells, random) for side in shape)
    return np.matmul(np.matmul(rows, grids), columns.transpose(0, 2, 1))


def _shifted(side: int, count: int, cells: int, random: np.random.Generator) -> np.ndarray:
    """Return (count, side, cells + 1) matrices that enlarge a grid along one axis, with random shifts."""
    # Cell centres lie at whole numbers; shifted by less than one cell, all pixels stay between some.
    positions = (np.arange(side) + 0.5) / side * (cells - 1) + random.random((count, 1))
    return np.maximum(1 - np.abs(positions[..., None] - np.arange(cells + 1)), 0).astype(np.float32)


_RISE = Explainer(
    name="rise",
    title="RISE",
    source="Petsiuk et al. (2018), arXiv:1806.07421",
    cost="masks",
    query=_query_rise,
    shared=("hidden",),
    options={
        # The authors use 4,000 to 8,000 masks.
        "masks": Option(default=4000, low=2),
        "cells": Option(default=7, low=2, high=64),
        "keep": Option(default=0.5, low=0.01, high=0.99),
    },
)
