"""Permutation tests: do heatmaps fit the mask of their own expression better than chance has it?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures.uncertainty import mean_known

# Sums of the same cells in another order differ in the last digits.
_EQUAL = 1e-12


@dataclass(frozen=True)
class PermutationTest:
    """The result of a permutation test.

    Attributes
    ----------
    observed : float
        The statistic of the data.
    null : (B,) ndarray of float
        The statistic of every relabelling, the data among them.
    """

    observed: float
    null: np.ndarray

    @property
    def p(self) -> float:
        """The share of the null that is at least as large as what was observed."""
        return float((self.null >= self.observed - _EQUAL).mean()) if np.isfinite(self.observed) else np.nan


def relabelling_test(table: np.ndarray) -> PermutationTest:
    """Test whether the own masks fit better than relabelled masks, exactly.

    Parameters
    ----------
    table : (..., E, E) ndarray of float, E <= 8
        The score of the heatmap of each expression (second last axis) with the mask of each
        (last axis), higher is better; NaN where there is no heatmap. Axes before them
        (networks) are averaged, so that all networks get the same relabelling.

    Returns
    -------
    PermutationTest
        The statistic is the mean over expressions of the score with the mask that the
        relabelling gives to each; the identity comes first. With six expressions there are 720, so p is a
        multiple of 1/720 (of heatmaps of fewer expressions, of a coarser share).

    Raises
    ------
    DataError
        If the table is not square, or too large to list all relabellings.

    References
    ----------
    Good (2005), doi:10.1007/b138696, chapter 3.

    Examples
    --------
    >>> round(1 / relabelling_test(np.eye(6)).p)
    720
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2] or table.shape[-1] > 8:
        raise DataError(
            f"There must be a mask for each of at most 8 expressions, but the table has shape {table.shape}."
        )
    size = table.shape[-1]
    mean = mean_known(table.reshape(-1, size, size), axis=0)
    known = np.isfinite(mean).all(axis=1)
    if not known.any():
        return PermutationTest(np.nan, np.full(1, np.nan))
    null = mean[np.arange(size), _orders(size)][:, known].mean(axis=1)
    return PermutationTest(float(null[0]), null)


def max_statistic(observed: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test many cells at once: p of each alone, and corrected for the number of cells.

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

        The chance that any cell without an effect falls below the level is at most the level.

    Raises
    ------
    DataError
        If the shapes do not fit.

    References
    ----------
    Westfall and Young (1993), ISBN 978-0-471-55761-6; Nichols and Holmes (2002), doi:10.1002/hbm.1058.
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


@cache
def _orders(count: int) -> np.ndarray:
    """Return all orders of `count` labels, (count!, count); the first changes nothing."""
    orders = np.array(list(itertools.permutations(range(count))))
    orders.flags.writeable = False
    return orders
