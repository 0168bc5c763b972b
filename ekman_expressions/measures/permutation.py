"""Permutation tests: do heatmaps fit the mask of their own expression better than chance has it?

Relabelling tests need no heatmap: the score of each heatmap with each mask is computed once,
and a relabelling of the masks only picks other cells of that table.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures.means import mean_known

# Sums of the same cells in another order differ in the last digits.
_EQUAL = 1e-12


@dataclass(frozen=True)
class PermutationTest:
    """What a test found.

    Attributes
    ----------
    observed : float
        The statistic of the data.
    null : (B,) ndarray of float
        The statistic of every relabelling, or of every draw; the data are among them.
    """

    observed: float
    null: np.ndarray

    @property
    def p(self) -> float:
        """The share of the null that is at least as large as what was observed."""
        return float((self.null >= self.observed - _EQUAL).mean()) if np.isfinite(self.observed) else np.nan


@cache
def relabellings(count: int) -> np.ndarray:
    """Return all orders of `count` labels, (count!, count); the first changes nothing."""
    if not 1 <= count <= 8:
        raise DataError(f"All relabellings are listed for 1 to 8 labels, but got {count}.")
    orders = np.array(list(itertools.permutations(range(count))))
    orders.flags.writeable = False
    return orders


def cell_table(table: np.ndarray) -> np.ndarray:
    """Average scores (networks, folds, E, M) over folds: (networks, E, M), NaN where there is no fold."""
    return mean_known(table, axis=1)


def relabelling_test(table: np.ndarray) -> PermutationTest:
    """Test whether the own masks fit better than masks dealt out anew, exactly.

    Parameters
    ----------
    table : (..., E, E) ndarray of float
        The score of the heatmap of each expression (second last axis) with the mask of each
        (last axis), higher is better; NaN where there is no heatmap. Axes before them
        (networks) are averaged, so that all networks get the same relabelling.

    Returns
    -------
    PermutationTest
        The statistic is the mean over expressions of the score with the mask that the
        relabelling gives to each. With six expressions there are 720, so p is a multiple of
        1/720 (of heatmaps of fewer expressions, of a coarser share).

    Raises
    ------
    DataError
        If the table is not square.

    Notes
    -----
    The sizes of masks and of heatmaps cannot make it significant: every relabelling uses every
    mask and every heatmap once.

    References
    ----------
    Good (2005), doi:10.1007/b138696, chapter 3.
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2]:
        raise DataError(f"There must be a mask for each expression, but the table has shape {table.shape}.")
    size = table.shape[-1]
    mean = mean_known(table.reshape(-1, size, size), axis=0)
    known = np.isfinite(mean).all(axis=1)
    if not known.any():
        return PermutationTest(np.nan, np.full(1, np.nan))
    orders = relabellings(size)
    null = mean[np.arange(size), orders][:, known].mean(axis=1)
    return PermutationTest(float(null[0]), null)


def own_is_best(table: np.ndarray) -> float:
    """Return in which share of heatmaps the own mask scores at least as high as any other.

    `table` is as for `relabelling_test`; with six masks chance gives about 1/6.
    """
    table = np.asarray(table, dtype=np.float64)
    own = np.diagonal(table, axis1=-2, axis2=-1)
    known = np.isfinite(table).all(axis=-1)
    best = own >= np.where(known[..., None], table, -np.inf).max(axis=-1)
    return float(best[known].mean()) if known.any() else np.nan


def max_statistic(observed: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test many cells at once: p of each alone, and corrected for looking at all of them.

    Parameters
    ----------
    observed : (C,) ndarray of float
        The statistic of each cell, higher is better; NaN for a missing cell.
    null : (B, C) ndarray of float
        The same under each relabelling or draw, which must be the same for all cells of a row,
        so that the cells stay as alike as they are. The data must be among them.

    Returns
    -------
    p, corrected : (C,) ndarray of float
        Alone: the share of the null at least as large as observed. Corrected: the share of
        rows whose *largest* cell is at least as large; cells are first brought to one scale
        by the mean and standard deviation of their null. Cells that never vary have NaN.

    Raises
    ------
    DataError
        If the shapes do not fit.

    Notes
    -----
    The chance that any cell without an effect falls below the level is at most the level
    (family-wise error, in the strong sense under subset pivotality).

    References
    ----------
    Westfall and Young (1993), ISBN 978-0-471-55761-6; Nichols and Holmes (2002),
    doi:10.1002/hbm.1058.
    """
    observed, null = np.asarray(observed, np.float64), np.asarray(null, np.float64)
    if observed.ndim != 1 or null.ndim != 2 or null.shape[1] != observed.size:
        raise DataError(
            f"Each row of the null must have a value for each cell, but got {null.shape} for "
            f"{observed.shape} cells."
        )
    p, corrected = np.full(observed.size, np.nan), np.full(observed.size, np.nan)
    spread = null.std(axis=0)
    usable = np.isfinite(observed) & np.isfinite(spread) & (spread > _EQUAL)
    if not usable.any():
        return p, corrected
    middle, spread = null[:, usable].mean(axis=0), spread[usable]
    found = (observed[usable] - middle) / spread
    scaled = (null[:, usable] - middle) / spread
    largest = np.sort(scaled.max(axis=1))
    p[usable] = (scaled >= found - 1e-9).mean(axis=0)
    corrected[usable] = 1 - np.searchsorted(largest, found - 1e-9, side="left") / largest.size
    return p, corrected


def relabelling_null(cells: np.ndarray) -> np.ndarray:
    """Return the score of each cell under every relabelling, for `max_statistic`.

    Parameters
    ----------
    cells : (N, E, E) ndarray of float
        See `cell_table`.

    Returns
    -------
    (E!, N * E) ndarray of float
        Networks in turn, expressions fastest; the first row is the data.

    Notes
    -----
    One cell of six sees only six masks: its own p is a multiple of 1/6, and no correction can
    bring it below. For single cells use `draws.region_null` or shifts.
    """
    networks, size = cells.shape[0], cells.shape[1]
    orders = relabellings(size)
    return cells[:, np.arange(size), orders].transpose(1, 0, 2).reshape(len(orders), networks * size)
