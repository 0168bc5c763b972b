"""What is specific: heatmaps less their network's mean map, against masks less the mean mask."""

from __future__ import annotations

import numpy as np

from ekman_expressions.core.errors import DataError


def residual_table(
    maps: np.ndarray, masks: np.ndarray, present: np.ndarray | None = None, within: np.ndarray | None = None
) -> np.ndarray:
    """Correlate what is left of each heatmap with what is left of each mask.

    Parameters
    ----------
    maps : (N, F, E, H, W) ndarray
        Heatmaps of networks, folds and expressions.
    masks : (E, H, W) ndarray of bool
        The mask of each expression.
    present : (N, F, E) ndarray of bool, optional
        Which heatmaps there are; by default all.
    within : (H, W) ndarray of bool, optional
        Where to look; by default the whole canvas.

    Returns
    -------
    (N, F, E, E) ndarray of float, range [-1, 1]
        Pearson's r between a heatmap less the mean of its model's heatmaps over expressions,
        and each mask less the mean mask; by chance 0 on average. NaN where there is no
        heatmap, none of another expression, or nothing is left.

    Raises
    ------
    DataError
        If shapes differ.

    Notes
    -----
    The mean map holds what a model looks at in every face, such as the middle; the mean mask
    what moves in most expressions. With both taken away only differences between expressions
    are left, and what every heatmap has in common can neither help nor harm.
    """
    maps, masks = np.asarray(maps), np.asarray(masks)
    if maps.shape[-3:] != masks.shape:
        raise DataError(f"Heatmaps of shape {maps.shape} do not fit masks of shape {masks.shape}.")
    present = np.ones(maps.shape[:3], bool) if present is None else present
    where = np.ones(masks.shape[1:], bool) if within is None else within
    references = _unit(masks[:, where].astype(np.float64) - masks[:, where].mean(axis=0))
    table = np.full((*maps.shape[:3], len(masks)), np.nan)
    for place in np.ndindex(maps.shape[:2]):
        known = present[place]
        if known.sum() < 2:
            continue
        of_model = maps[place][known][:, where].astype(np.float64)
        # Each map on one scale, so that no expression rules the mean map.
        spread = of_model.std(axis=1, keepdims=True)
        of_model = np.divide(of_model, spread, out=np.zeros_like(of_model), where=spread > 0)
        table[place][known] = _unit(of_model - of_model.mean(axis=0)) @ references.T
    return table


def _unit(rows: np.ndarray) -> np.ndarray:
    """Centre rows and bring them to length 1; a row that is constant becomes NaN."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.full_like(rows, np.nan), where=length > 1e-9)
