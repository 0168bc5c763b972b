"""Scores of a heatmap against a mask: IoU, F1, precision, recall, AUC; published table layouts.

AUC takes heatmaps of any scale, and optionally where to look (`within`, such as the face hull): pixels
elsewhere count for nothing. Pixels of equal value are never put in an order of our own: a score is what
random orders of them would give on average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import title
from ekman_expressions.facespace.heatmaps import _heatmap_name, read_gray, threshold_otsu

METRICS: tuple[str, ...] = ("iou", "f1_score", "precision", "recall")
"""The scores of a heatmap at Otsu's threshold, in the order of every table."""

# Shares of the canvas at which heatmaps are cut, and the names of `_iou_by_threshold`.
_AREAS = {f"area_{percent:02d}": percent / 100 for percent in (5, 10, 20, 30, 50)}
_THRESHOLDS = ("iou_otsu", *(f"iou_{name}" for name in _AREAS), "iou_mask_area", "iou_best_f1")

AVERAGE = "Average"
"""The name of the rows and columns that are means of the others."""

_TITLES = {"iou": "IoU", "f1_score": "F1", "precision": "Precision", "recall": "Recall"}


def mask_scores(marked: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Compare what a heatmap marks with a mask.

    Parameters
    ----------
    marked, mask : (H, W) ndarray of bool
        What a heatmap marks, and the reference.

    Returns
    -------
    dict, range [0, 1]
        ``iou``, intersection over union (Jaccard index); ``f1_score`` (Dice coefficient); ``precision``, the
        share of what is marked that lies in the mask, NaN if nothing is marked; ``recall``, the share of
        the mask that is marked.

    Raises
    ------
    DataError
        If the shapes differ, an array is not bool, or the mask is empty.

    Examples
    --------
    >>> mask_scores(np.array([[True, True, False]]), np.array([[True, False, False]]))["iou"]
    0.5
    """
    marked, mask = np.asarray(marked), np.asarray(mask)
    if {marked.dtype, mask.dtype} != {np.dtype(bool)} or marked.shape != mask.shape:
        raise DataError(
            "Marked area and mask must be bool in the same face space, but got "
            f"{marked.dtype} of shape {marked.shape} and {mask.dtype} of shape {mask.shape}. "
            "Compare with a threshold first, and normalise explanations before they are averaged."
        )
    if not mask.any():
        raise DataError("The mask is empty, so nothing can agree with it. Check its file or its regions.")
    both, found, size = (int(np.count_nonzero(area)) for area in (marked & mask, marked, mask))
    return {
        "iou": both / (found + size - both),
        "f1_score": 2 * both / (found + size),
        "precision": both / found if found else float("nan"),
        "recall": both / size,
    }


def scores_at_otsu(heatmap: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Score a heatmap against a mask over all pixels, at Otsu's threshold: the published scores.

    Parameters
    ----------
    heatmap : (H, W) ndarray of uint8
        See `heatmaps.to_uint8`.
    mask : (H, W) ndarray of bool
        The reference, such as an Ekman mask.

    Returns
    -------
    dict
        As `mask_scores`, of the pixels *above* the threshold.

    Raises
    ------
    DataError
        As `mask_scores`, and if the heatmap is constant.
    """
    level, marked = threshold_otsu(heatmap)
    if not marked.any():
        raise DataError(
            f"The heatmap is {level} everywhere, so no part of it can be marked. Leave it out: "
            "no explanation went into it, or all were constant."
        )
    return mask_scores(marked, mask)


def _iou_table(marked: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the IoU of marked areas (..., H, W) with masks (M, H, W), none of them empty: (..., M) float."""
    # float32 counts whole numbers up to 2**24 exactly, and its product is the fastest.
    flat = marked.reshape(-1, masks[0].size).astype(np.float32)
    references = masks.reshape(len(masks), -1).astype(np.float32)
    both = (flat @ references.T).astype(np.float64)
    union = flat.sum(axis=1, dtype=np.float64)[:, None] + references.sum(axis=1, dtype=np.float64) - both
    return (both / union).reshape(*marked.shape[:-2], len(masks))


def _residual_table(maps: np.ndarray, masks: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Correlate each heatmap less its model's mean one with each mask less the mean mask: (N, F, E, E)."""
    references = masks.reshape(len(masks), -1)
    references = _unit(references.astype(np.float64) - references.mean(axis=0))
    table = np.full((*maps.shape[:3], len(masks)), np.nan)
    for place in np.ndindex(maps.shape[:2]):
        known = present[place]
        if known.sum() < 2:
            continue
        of_model = maps[place][known].reshape(known.sum(), -1).astype(np.float64)
        # Each map on one scale, so that no expression rules the mean map.
        of_model /= of_model.std(axis=1, keepdims=True)
        table[place][known] = _unit(of_model - of_model.mean(axis=0)) @ references.T
    return table


def auc(heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Area under the ROC curve: how often a pixel of the mask is hotter than one out of it.

    Parameters
    ----------
    heatmap : (H, W) ndarray of real numbers
        Any range; uint8 is fastest.
    mask : (H, W) ndarray of bool
        The reference.
    within : (H, W) ndarray of bool, optional
        Where to look; by default the whole canvas.

    Returns
    -------
    float, range [0, 1]
        Equal values count one half. Chance, and any constant heatmap, gives 0.5.

    Raises
    ------
    DataError
        If shapes or types do not fit, the heatmap is not finite, or within `within` the mask is empty or
        everything.

    References
    ----------
    Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> auc(np.array([[3, 2], [1, 0]]), np.array([[True, False], [True, False]]))
    0.75
    """
    _, inside, outside = _levels(heatmap, mask, within)
    hotter = np.cumsum(inside) - inside / 2
    # Not by BLAS, whose threads wait for one another on a busy machine.
    return float((hotter * outside).sum() / (inside.sum() * outside.sum()))


def _area_curve(heatmap: np.ndarray, mask: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the IoU with a mask of each share, (S,), of hottest pixels; equal values are taken in part."""
    _, inside, outside = _levels(heatmap, mask)
    return _iou_of_hottest(inside, outside, np.asarray(shares) * np.size(mask))


def _iou_by_threshold(gray: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> dict[str, float]:
    """Return the IoU of an 8-bit heatmap at each of `_THRESHOLDS`; Otsu's is that of the whole canvas."""
    values, inside, outside = _levels(gray, mask, within)
    everything, size = inside + outside, inside.sum()
    above = everything[values > threshold_otsu(gray)[0]].sum()
    areas = np.array([above, *np.array([*_AREAS.values()]) * everything.sum(), size])
    f1 = (2 * np.cumsum(inside) / (np.cumsum(everything) + size)).max()
    # IoU rises with F1.
    found = (*_iou_of_hottest(inside, outside, areas), f1 / (2 - f1))
    return {name: float(iou) for name, iou in zip(_THRESHOLDS, found, strict=True)}


def _score_heatmaps(
    folder: Path | str,
    models: Iterable[tuple[str, str | None]],
    masks: Mapping[str, np.ndarray],
    omit: Callable[[str, Exception], None] | None = None,
) -> pd.DataFrame:
    """Score the heatmaps of models, (network, fold or None for all folds), with the mask of each expression.

    `omit` is called with the name of one that cannot be scored and the error, which is raised without it.
    """
    rows = []
    for network, fold in models:
        for expression, mask in masks.items():
            name = _heatmap_name(expression, network, fold)
            try:
                values = scores_at_otsu(read_gray(folder, expression, network, fold), mask)
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
        ``network, expression`` and `METRICS`, with any number of rows (folds) for each
        network and expression; rows of NaN are left out of the means.

    Returns
    -------
    DataFrame
        A row for each network and expression (``Anger`` ...), one for each network's
        ``Average`` over expressions, and a network ``Average`` over networks. Every average
        is the plain mean of its cells; NaN where there is none.
    """
    tidy = cells.assign(expression=cells["expression"].map(title))
    keys = ["network", "expression"]
    means = tidy.groupby(keys, sort=False)[list(METRICS)].mean()
    parts = [
        means.reset_index(),
        means.groupby("network").mean().reset_index().assign(expression=AVERAGE),
        means.groupby("expression").mean().reset_index().assign(network=AVERAGE),
        means.mean().to_frame().T.assign(network=AVERAGE, expression=AVERAGE),
    ]
    order = [[*dict.fromkeys(tidy[key]), AVERAGE] for key in keys]
    places = pd.MultiIndex.from_product(order, names=keys)
    return pd.concat(parts).set_index(keys).reindex(places).reset_index()


def layout(table: pd.DataFrame, metrics: Iterable[str] = METRICS) -> pd.DataFrame:
    """Lay a table of `summarise` out as published: networks in rows, (``Anger``, ``IoU``) ... in columns."""
    metrics = list(metrics)
    networks, names = (list(dict.fromkeys(table[column])) for column in ("network", "expression"))
    wide = table.pivot(index="network", columns="expression", values=metrics).swaplevel(axis="columns")
    wide = wide.loc[networks, [(name, metric) for name in names for metric in metrics]]
    return wide.rename(columns=_TITLES, level=1).rename_axis(columns=[None, None])


def _levels(
    heatmap: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check all; return a heatmap's values, falling, and how many pixels of each lie in and out of a mask."""
    heatmap, mask = np.asarray(heatmap), np.asarray(mask)
    within = np.ones(heatmap.shape, bool) if within is None else np.asarray(within)
    for name, array in (("mask", mask), ("area to look within", within)):
        if array.shape != heatmap.shape or array.dtype != bool:
            raise DataError(
                f"The {name} must be bool in the same face space as the heatmap, {heatmap.shape}, but got "
                f"{array.dtype} of shape {array.shape}."
            )
    if heatmap.dtype.kind not in "uifb" or not np.isfinite(heatmap).all():
        raise DataError(
            f"A heatmap must hold finite real numbers, but got {heatmap.dtype} with values that are not. Leave it out."
        )
    found, reference = heatmap[within], mask[within]
    count = int(np.count_nonzero(reference))
    if not 0 < count < reference.size:
        what = "empty" if not count else "everything"
        raise DataError(
            f"The mask is {what} where it is looked at ({count} of {reference.size} pixels), so no heatmap "
            "can be told from another by it. Check its file, or look within a larger area."
        )
    is_bytes = found.dtype == np.uint8
    values, place = (np.arange(256), found) if is_bytes else np.unique(found, return_inverse=True)
    inside, outside = (np.bincount(place[part], minlength=values.size) for part in (reference, ~reference))
    return values[::-1], inside[::-1], outside[::-1]


def _iou_of_hottest(inside: np.ndarray, outside: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Return the IoU of the hottest `marked` pixels of `_levels`; of equal values each is taken in part."""
    up_to, hits = (np.append(0, np.cumsum(counts)) for counts in (inside + outside, inside))
    both = np.interp(marked, up_to, hits)
    return both / (marked + hits[-1] - both)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Centre rows and bring them to length 1; a row that is constant becomes NaN."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.full_like(rows, np.nan), where=length > 1e-9)
