"""Null distributions in which a single cell can stand out: shifted heatmaps, and random regions as masks."""

from __future__ import annotations

import numpy as np

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.measures.baselines import iou_table, shifted


def shift_null(marked: np.ndarray, masks: np.ndarray, *, step: int = 1) -> np.ndarray:
    """Return the IoU of each cell with its own mask after circular shifts of all heatmaps alike.

    Parameters
    ----------
    marked : (N, F, E, H, W) ndarray of bool
        What the heatmaps of networks, folds and expressions mark; nothing where there is none.
    masks : (E, H, W) ndarray of bool
        The mask of each expression.
    step : int, pixels
        Only shifts by multiples of it, down and to the right; these are a group, too, if it
        divides rows and columns, and else nearly.

    Returns
    -------
    (S, N * E) ndarray of float32
        Means over folds; networks in turn, expressions fastest; the first row is the data.
        NaN for a cell without any fold.
    """
    networks, folds, expressions = marked.shape[:3]
    check_range(step, "step", 1, integer=True)
    rows = []
    for network in range(networks):
        for expression in range(expressions):
            found = [
                shifted(marked[network, fold, expression], masks[expression])[::step, ::step].ravel()
                for fold in range(folds)
                if marked[network, fold, expression].any()
            ]
            rows.append(np.mean(found, axis=0) if found else None)
    size = next((row.size for row in rows if row is not None), 1)
    rows = [np.full(size, np.nan) if row is None else row for row in rows]
    return np.array(rows, dtype=np.float32).T


def random_regions(areas: np.ndarray, target: int, *, seed: int, draws: int) -> np.ndarray:
    """Draw unions of regions that come close to an area.

    Parameters
    ----------
    areas : (R,) ndarray of int
        The areas of regions that do not overlap.
    target : int
        The area wanted, in pixels.
    seed : int
        See `ekman_expressions.core.seeds.derive_seed`.
    draws : int
        How many unions.

    Returns
    -------
    (draws, R) ndarray of bool
        Regions are taken in a random order as long as that brings the area nearer to `target`;
        each union has at least one.
    """
    areas = np.asarray(areas)
    orders = np.argsort(np.random.default_rng(seed).random((draws, areas.size)), axis=1)
    covered = np.cumsum(areas[orders], axis=1)
    before = covered - areas[orders]
    nearer = np.abs(covered - target) < np.abs(before - target)
    # Areas only grow, so nearer stops once: what comes after would only lead away.
    taken = np.logical_and.accumulate(nearer, axis=1)
    taken[:, 0] = True
    chosen = np.zeros((draws, areas.size), bool)
    np.put_along_axis(chosen, orders, taken, axis=1)
    return chosen


def region_null(
    marked: np.ndarray, masks: np.ndarray, labels: np.ndarray, *, seed: int, draws: int = 10_000
) -> np.ndarray:
    """Return the IoU of each cell with masks made of random facial regions of the same area.

    Is the Ekman mask of an expression better than any set of facial regions of that size? Such
    masks lie in the face, as the real ones do, so looking at the middle is no merit.

    Parameters
    ----------
    marked : (N, F, E, H, W) ndarray of bool
        As for `shift_null`.
    masks : (E, H, W) ndarray of bool
        The mask of each expression.
    labels : (H, W) ndarray of int
        The region of each pixel, 0 where none; see `masks.Atlas.labels`.
    seed : int
        See `ekman_expressions.core.seeds.derive_seed`.
    draws : int
        How many sets of E masks are drawn; the same for all networks.

    Returns
    -------
    (1 + draws, N * E) ndarray of float
        As of `shift_null`; the first row is the data.

    Raises
    ------
    DataError
        If shapes do not fit or there is no region.
    """
    check_range(draws, "draws", 1, integer=True)
    networks, folds, expressions = marked.shape[:3]
    labels = np.asarray(labels)
    if labels.shape != marked.shape[-2:] or not labels.max():
        raise DataError(f"Regions of shape {labels.shape} do not fit heatmaps of {marked.shape[-2:]}.")
    count = int(labels.max()) + 1
    areas = np.bincount(labels.ravel(), minlength=count)[1:]
    result = np.full((1 + draws, networks, expressions), np.nan)
    for expression in range(expressions):
        mask = masks[expression]
        chosen = random_regions(
            areas, int(mask.sum()), seed=derive_seed(seed, "regions", expression), draws=draws
        )
        size = chosen @ areas
        for network in range(networks):
            found = []
            for fold in range(folds):
                one = marked[network, fold, expression]
                if not one.any():
                    continue
                overlap = chosen @ np.bincount(labels[one], minlength=count)[1:]
                own = iou_table(one, mask[None])
                found.append(np.concatenate([own, overlap / (one.sum() + size - overlap)]))
            if found:
                result[:, network, expression] = np.mean(found, axis=0)
    return result.reshape(1 + draws, networks * expressions)
