"""Occlusion: how much the model's prediction falls when a patch of the image is hidden.

Zeiler and Fergus (2014), Visualizing and understanding convolutional networks,
doi:10.1007/978-3-319-10590-1_53.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ekman_expressions.core.errors import check_range
from ekman_expressions.explainers.explanation import Explainer, Option
from ekman_expressions.explainers.record import StoredMap
from ekman_expressions.zoo.model import check_image


def _query(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> StoredMap:
    """Query a model about an image with each patch hidden; nothing is random.

    A pixel's importance is the mean fall of the prediction over the patches that cover it.
    """
    image = check_image(image)
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
    return StoredMap(image_id="", model=model.name, target=target, map=found, passes=len(samples))


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
    query=_query,
    shared=("hidden",),
    options={
        # The side of the square patch and its step, in units of the image's side.
        "patch": Option(default=0.2, low=0.01, high=1.0),
        "stride": Option(default=0.1, low=0.01, high=1.0),
    },
)
