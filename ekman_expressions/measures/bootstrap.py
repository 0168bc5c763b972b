"""Confidence intervals by resampling the unit that varies: folds, or subjects with all their faces.

The faces of a subject are alike, and the heatmaps of a fold come from one model: resampling
them one by one would feign certainty. So whole clusters are drawn, with replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_option, check_range

METHODS: tuple[str, ...] = ("t", "percentile")
"""How an interval is made of bootstrap replicates; see `interval_of`."""

LEVEL = 0.95
"""The confidence level of all intervals unless another is asked for."""

RESAMPLES = 2000
"""How many resamples are drawn unless another number is asked for."""


@dataclass(frozen=True)
class Interval:
    """An estimate and how sure it is.

    Attributes
    ----------
    estimate, low, high : float
        The statistic, and the ends of its interval; the ends are NaN with fewer than two units.
    standard_error : float
        The standard deviation of the replicates, corrected for the number of units.
    units : int
        How many clusters were there to draw from.
    level : float
        The confidence level.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    units: int
    level: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def cluster_bootstrap(
    values: Sequence[float] | np.ndarray,
    clusters: Sequence[object] | np.ndarray | None = None,
    *,
    seed: int,
    statistic: Callable[[np.ndarray], float] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    method: str = "t",
) -> Interval:
    """Bootstrap the mean, or another statistic, over clusters.

    Parameters
    ----------
    values : (N,) array_like of float
        One value per face, say; NaN is left out.
    clusters : (N,) array_like, optional
        The subject (or fold) of each value; by default each value is one of its own.
    seed : int
        See `ekman_expressions.core.seeds.derive_seed`.
    statistic : callable, optional
        Of an array of values; by default their mean, which is computed for all resamples at once.
    level : float, range (0, 1)
        Confidence level.
    resamples : int
        How many times as many clusters as there are, are drawn with replacement.
    method : {'t', 'percentile'}
        See `interval_of`.

    Returns
    -------
    Interval
        All NaN if there is no value; no ends if there are fewer than two clusters.

    Raises
    ------
    DataError
        If `values` and `clusters` differ in length.

    References
    ----------
    Davison and Hinkley (1997), doi:10.1017/CBO9780511802843, section 3.8.

    Examples
    --------
    >>> found = cluster_bootstrap([1, 1, 3, 3], ["a", "a", "b", "b"], seed=0)
    >>> found.estimate, found.units
    (2.0, 2)
    """
    values = np.asarray(values, dtype=np.float64)
    clusters = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    if values.ndim != 1 or values.shape != clusters.shape:
        raise DataError(
            f"There must be one cluster for each value, but got values of shape {values.shape} and clusters "
            f"of shape {clusters.shape}."
        )
    known = np.isfinite(values)
    values, codes = values[known], pd.factorize(clusters[known])[0]
    units = int(codes.max()) + 1 if codes.size else 0
    if not units:
        return Interval(np.nan, np.nan, np.nan, np.nan, 0, level)
    counts = resample_counts(units, resamples, seed=seed)
    if statistic is None:
        sums, sizes = np.bincount(codes, values), np.bincount(codes)
        estimate = values.mean()
        replicates = (counts @ sums) / (counts @ sizes)
    else:
        estimate = statistic(values)
        replicates = np.array([statistic(np.repeat(values, count[codes])) for count in counts])
    return interval_of(float(estimate), replicates, units, level=level, method=method)


def resample_counts(units: int, resamples: int, *, seed: int) -> np.ndarray:
    """Draw how often each unit is in each resample: (resamples, units) int, each row sums to `units`."""
    check_range(units, "units", 1, integer=True)
    check_range(resamples, "resamples", 1, integer=True)
    shares = np.full(units, 1 / units)
    return np.random.default_rng(seed).multinomial(units, shares, size=resamples)


def interval_of(
    estimate: float,
    replicates: np.ndarray,
    units: int,
    *,
    strata: int = 1,
    level: float = LEVEL,
    method: str = "t",
) -> Interval:
    """Make an interval of bootstrap replicates.

    Parameters
    ----------
    estimate : float
        The statistic of the data themselves.
    replicates : (B,) ndarray of float
        The statistic of each resample; NaN (nothing to score in it) is left out.
    units : int
        How many units were resampled.
    strata : int
        In how many groups they were, if each was resampled by itself, as subjects within folds.
    level : float, range (0, 1)
        Confidence level.
    method : {'t', 'percentile'}
        ``t``: estimate ± t(units - strata) · standard error, where the standard deviation of the
        replicates is multiplied by sqrt(units / (units - strata)); for a mean of independent values
        this is the classical t interval, right also for as few as 3 folds, and it stays around
        the estimate when resampling has a bias (a mean of fewer different faces is rougher).
        ``percentile``: quantiles of the replicates, never beyond the possible values, but too
        narrow for few units: with 3 folds it cannot cover more than 75 %.

    Returns
    -------
    Interval

    References
    ----------
    Hesterberg (2015), doi:10.1080/00031305.2015.1089789.
    """
    check_option(method, "method", METHODS)
    if not 0 < level < 1:
        check_range(level, "level", 1e-6, 1 - 1e-6)
    replicates = np.asarray(replicates, dtype=np.float64)
    replicates = replicates[np.isfinite(replicates)]
    if units <= strata or replicates.size < 2 or not np.isfinite(estimate):
        return Interval(estimate, np.nan, np.nan, np.nan, units, level)
    error = float(replicates.std(ddof=1) * np.sqrt(units / (units - strata)))
    if method == "t":
        from scipy import stats

        reach = float(stats.t.ppf((1 + level) / 2, units - strata)) * error
        low, high = estimate - reach, estimate + reach
    else:
        low, high = (float(v) for v in np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2]))
    return Interval(estimate, low, high, error, units, level)
