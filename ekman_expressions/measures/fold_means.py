"""Means over folds and how sure they are, though the models of folds share their training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.measures.bootstrap import LEVEL, Interval


def corrected_interval(
    values: Sequence[float], *, ratio: float | None = None, level: float = LEVEL
) -> Interval:
    """Return the mean over folds with Nadeau and Bengio's corrected interval.

    Parameters
    ----------
    values : (K,) array_like of float
        The score of each fold, or the difference of two networks in it; NaN is left out.
    ratio : float, optional
        Test faces over training faces; by default 1 / (K - 1), as in K-fold cross-validation.
    level : float, range (0, 1)
        Confidence level.

    Returns
    -------
    Interval
        mean ± t(K - 1) · sqrt((1/K + ratio) · s²), with s² the variance of the values; the ends
        are NaN with fewer than two folds.

    Notes
    -----
    Models of two folds share most of their training faces, so their scores vary together, and
    s²/K is too small a variance of their mean. The correction adds the share that resampling
    hides. It is somewhat conservative for K-fold cross-validation.

    References
    ----------
    Nadeau and Bengio (2003), doi:10.1023/A:1024068626366.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"There must be one value per fold, but got shape {values.shape}.")
    values = values[np.isfinite(values)]
    count = values.size
    estimate = float(values.mean()) if count else np.nan
    if count < 2:
        return Interval(estimate, np.nan, np.nan, np.nan, count, level)
    from scipy import stats

    error = float(np.sqrt((1 / count + _ratio(ratio, count)) * values.var(ddof=1)))
    reach = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    return Interval(estimate, estimate - reach, estimate + reach, error, count, level)


def corrected_test(differences: Sequence[float], *, ratio: float | None = None) -> float:
    """Return the two-sided p-value that a mean difference over folds is 0; else as `corrected_interval`.

    1 if all differences are 0, NaN with fewer than two folds.
    """
    found = corrected_interval(differences, ratio=ratio)
    if not np.isfinite(found.standard_error):
        return np.nan
    if found.standard_error == 0:
        return 1.0 if found.estimate == 0 else 0.0
    from scipy import stats

    return float(2 * stats.t.sf(abs(found.estimate) / found.standard_error, found.units - 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p-values for their number, step by step (Holm 1979, https://www.jstor.org/stable/4615733).

    NaN stays, and does not count.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    raised = p_values[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1) if order.size else raised
    return corrected


def _ratio(ratio: float | None, count: int) -> float:
    if ratio is None:
        return 1 / (count - 1)
    check_range(ratio, "ratio", 0)
    return ratio
