"""Heatmaps against Ekman masks: IoU, F1, precision and recall, and the published table layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import title
from ekman_expressions.facespace.heatmaps import heatmap_name, read_gray, threshold_otsu

METRICS: tuple[str, ...] = ("iou", "f1_score", "precision", "recall")
"""The scores of a heatmap, in the order of every table."""

AVERAGE = "Average"
"""The name of the rows and columns that are means of the others."""

_TITLES = {"iou": "IoU", "f1_score": "F1", "precision": "Precision", "recall": "Recall"}


def iou(marked: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union (Jaccard index) of two masks.

    Parameters
    ----------
    marked, mask : (H, W) ndarray of bool
        What a heatmap marks, and the reference.

    Returns
    -------
    float, range [0, 1]

    Raises
    ------
    DataError
        If the shapes differ, an array is not bool, or the reference is empty.
    """
    both, only_marked, only_mask = _counts(marked, mask)
    return both / (both + only_marked + only_mask)


def f1_score(marked: np.ndarray, mask: np.ndarray) -> float:
    """F1 score (Dice coefficient), the harmonic mean of precision and recall; else as `iou`."""
    both, only_marked, only_mask = _counts(marked, mask)
    return 2 * both / (2 * both + only_marked + only_mask)


def precision(marked: np.ndarray, mask: np.ndarray) -> float:
    """Share of what is marked that lies in the mask; `DataError` if nothing is marked. Else as `iou`."""
    both, only_marked, _ = _counts(marked, mask)
    if not both + only_marked:
        raise DataError(
            "Nothing is marked, so precision is not defined. Leave the heatmap out or lower the threshold."
        )
    return both / (both + only_marked)


def recall(marked: np.ndarray, mask: np.ndarray) -> float:
    """Share of the mask that is marked; else as `iou`."""
    both, _, only_mask = _counts(marked, mask)
    return both / (both + only_mask)


def scores(heatmap: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Score a heatmap against a mask over all pixels, at Otsu's threshold.

    Parameters
    ----------
    heatmap : (H, W) ndarray of uint8
        See `heatmaps.to_uint8`.
    mask : (H, W) ndarray of bool
        The reference, e.g. `masks.ekman_mask`.

    Returns
    -------
    dict
        ``iou``, ``f1_score``, ``precision`` and ``recall``, each in [0, 1], of the pixels
        *above* the threshold.

    Raises
    ------
    DataError
        If the shapes differ, the heatmap is constant, or the mask is empty.
    """
    level, marked = threshold_otsu(heatmap)
    if not marked.any():
        raise DataError(
            f"The heatmap is {level} everywhere, so no part of it can be marked. Leave it out: "
            "no explanation went into it, or all were constant."
        )
    metrics = (iou, f1_score, precision, recall)
    return {name: metric(marked, mask) for name, metric in zip(METRICS, metrics, strict=True)}


def score_heatmaps(
    folder: Path | str,
    models: Iterable[tuple[str, str | None]],
    masks: Mapping[str, np.ndarray],
    omit: Callable[[str, Exception], None] | None = None,
) -> pd.DataFrame:
    """Score the heatmaps of models against the mask of each expression.

    Parameters
    ----------
    folder : Path
        Laid out like ``heatmaps/<experiment>``.
    models : iterable of (network, fold)
        Fold None stands for the heatmap over all folds of a network.
    masks : dict of str to (275, 224) ndarray of bool
        The mask of each expression that is scored.
    omit : callable, optional
        Called with the name of a heatmap that cannot be scored and the reason; its row then
        holds NaN. Without it the first error is raised.

    Returns
    -------
    DataFrame
        ``network, fold, expression`` and the four scores; a row for each model and expression.
    """
    rows = []
    for network, fold in models:
        for expression, mask in masks.items():
            name = heatmap_name(expression, network, fold)
            try:
                values = scores(read_gray(folder, expression, network, fold), mask)
            except (MissingError, DataError) as error:
                if omit is None:
                    raise type(error)(f"{name}: {error}") from error
                omit(name, error)
                values = dict.fromkeys(METRICS, float("nan"))
            rows.append({"network": network, "fold": fold, "expression": expression, **values})
    return pd.DataFrame(rows, columns=["network", "fold", "expression", *METRICS])


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """Average scores over folds and lay them out like the published ones.

    Parameters
    ----------
    cells : DataFrame
        ``network, expression`` and the four scores, with any number of rows (folds) for each
        network and expression; rows of NaN are left out of the means.

    Returns
    -------
    DataFrame
        A row for each network and expression (``Anger`` ...), one for each network's
        ``Average`` over expressions, and a network ``Average`` over networks. Every average
        is the plain mean of its cells; NaN where there is none.
    """
    tidy = cells.assign(expression=cells["expression"].map(title))
    networks = list(dict.fromkeys(tidy["network"]))
    names = list(dict.fromkeys(tidy["expression"]))
    means = tidy.groupby(["network", "expression"], sort=False)[list(METRICS)].mean()
    over_expressions = means.groupby("network").mean()
    over_networks = means.groupby("expression").mean()
    rows = []
    for network in networks:
        rows += [(network, name, *means.loc[(network, name)]) for name in names]
        rows.append((network, AVERAGE, *over_expressions.loc[network]))
    rows += [(AVERAGE, name, *over_networks.loc[name]) for name in names]
    rows.append((AVERAGE, AVERAGE, *means.mean()))
    return pd.DataFrame(rows, columns=["network", "expression", *METRICS])


def layout(table: pd.DataFrame, metrics: Iterable[str] = METRICS) -> pd.DataFrame:
    """Lay scores out as in the published tables: networks × (expression, metric).

    Parameters
    ----------
    table : DataFrame
        As from `summarise`.
    metrics : iterable of str
        Which of `METRICS`, in their order below each expression.

    Returns
    -------
    DataFrame
        Index: networks and ``Average``; columns: pairs (``Anger``, ``IoU``) ...
    """
    metrics = list(metrics)
    networks, names = (list(dict.fromkeys(table[column])) for column in ("network", "expression"))
    wide = table.pivot(index="network", columns="expression", values=metrics).swaplevel(axis="columns")
    wide = wide.loc[networks, [(name, metric) for name in names for metric in metrics]]
    return wide.rename(columns=_TITLES, level=1).rename_axis(columns=[None, None])


def _counts(marked: np.ndarray, mask: np.ndarray) -> tuple[int, int, int]:
    """Count the pixels in both, only in `marked`, and only in `mask`."""
    marked, mask = np.asarray(marked), np.asarray(mask)
    if marked.shape != mask.shape:
        raise DataError(
            f"The heatmap has shape {marked.shape}, but the mask {mask.shape}: both must lie in the same "
            "face space. Normalise the explanations before they are averaged."
        )
    if marked.dtype != bool or mask.dtype != bool:
        raise DataError(
            f"Both masks must be arrays of bool, but got {marked.dtype} and {mask.dtype}. "
            "Compare with a threshold first."
        )
    if not mask.any():
        raise DataError("The mask is empty, so nothing can agree with it. Check its file or its regions.")
    both = int(np.count_nonzero(marked & mask))
    return both, int(np.count_nonzero(marked)) - both, int(np.count_nonzero(mask)) - both
