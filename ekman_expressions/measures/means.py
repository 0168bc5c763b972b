"""Means of what is known: of folds, expressions and networks of which some may be missing."""

from __future__ import annotations

import numpy as np


def mean_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of the finite values along an axis; NaN, without a warning, where there is none."""
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count, total / np.maximum(count, 1), np.nan)
