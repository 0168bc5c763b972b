"""The order of networks: how sure it is, and whether it outlives a change of threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures.bootstrap import LEVEL


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the ranks along the last axis: 1 for the highest score, equal scores share the mean rank.

    NaN keeps no rank.
    """
    from scipy import stats

    return stats.rankdata(-np.asarray(scores, dtype=np.float64), axis=-1, nan_policy="omit")


def rank_intervals(
    scores: np.ndarray, replicates: np.ndarray, names: Sequence[str], *, level: float = LEVEL
) -> pd.DataFrame:
    """Return where each network may stand in the ranking.

    Parameters
    ----------
    scores : (N,) ndarray of float
        The score of each network, higher is better.
    replicates : (B, N) ndarray of float
        The same of each resample of folds, or of subjects; the same resample for all networks.
    names : sequence of N str
        Their names.
    level : float, range (0, 1)
        Confidence level.

    Returns
    -------
    DataFrame
        ``network, estimate, rank, low, high, first``, best first: the rank, the quantiles of its
        replicates rounded outwards to whole ranks, and in which share of the resamples the
        network is alone in the first place. No ends without a usable resample.

    Raises
    ------
    DataError
        If the shapes do not fit.

    References
    ----------
    Goldstein and Spiegelhalter (1996), doi:10.2307/2983325.
    """
    scores, replicates = np.asarray(scores, np.float64), np.asarray(replicates, np.float64)
    if scores.shape != (len(names),) or replicates.ndim != 2 or replicates.shape[1] != scores.size:
        raise DataError(
            f"{len(names)} networks need so many scores and columns of replicates, but got {scores.shape} "
            f"and {replicates.shape}."
        )
    table = pd.DataFrame({"network": list(names), "estimate": scores, "rank": ranks(scores)})
    table[["low", "high", "first"]] = np.nan
    known = np.isfinite(scores)
    usable = replicates[:, known]
    usable = usable[np.isfinite(usable).all(axis=1)]
    if usable.size:
        found = ranks(usable)
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
        table.loc[known, "low"], table.loc[known, "high"] = np.floor(low), np.ceil(high)
        table.loc[known, "first"] = (found == 1).mean(axis=0)
    return table.sort_values("rank", kind="stable", ignore_index=True)


def fold_replicates(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average scores over resampled folds.

    Parameters
    ----------
    scores : (N, F) ndarray of float
        Of networks and folds; NaN is left out.
    counts : (B, F) ndarray of int
        How often each fold is in each resample; see `bootstrap.resample_counts`.

    Returns
    -------
    (B, N) ndarray of float
        NaN where a resample has no fold with a score.
    """
    scores = np.asarray(scores, dtype=np.float64)
    known = np.isfinite(scores)
    total = counts @ np.where(known, scores, 0).T
    number = counts @ known.T.astype(np.float64)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def rank_correlations(scores: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rank correlation of the networks between scores.

    Parameters
    ----------
    scores : DataFrame
        A row for each network and a column for each way to score.

    Returns
    -------
    DataFrame
        Columns × columns, in [-1, 1]; NaN with fewer than three networks that have both, or
        where a score is the same for all.
    """
    found = scores.corr("spearman", min_periods=3)
    return found.where(scores.notna().sum() >= 3, axis=0)
