"""How far explanations agree with what parts of the face cause: the Shapley values of the causal explainer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import Explanation
from ekman_expressions.measures.uncertainty import _cluster_bootstrap

AGREEMENT = ("spearman", "top", "sign", "auc")
"""Columns of `causal_agreement`."""


def part_masses(found: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return the sum of a map (H, W), with its signs, over each part 0 ... S - 1 of `segments`: (S,) float64.

    Examples
    --------
    >>> part_masses(np.array([[1.0, 2.0, -4.0]]), np.array([[0, 0, 1]])).tolist()
    [3.0, -4.0]
    """
    if np.shape(found) != np.shape(segments):
        raise DataError(f"A map of {np.shape(found)} has other pixels than parts of {np.shape(segments)}.")
    return np.bincount(np.ravel(segments), np.ravel(np.float64(found)))


def causal_agreement(truth: Explanation, values: np.ndarray) -> dict[str, float]:
    """Compare values of the parts of one face with the causal explainer's.

    Parameters
    ----------
    truth : Explanation
        By the explainer ``causal``: one weight per part.
    values : (S,) array_like
        Of the same parts; for a map see `part_masses`.

    Returns
    -------
    dict
        ``spearman``: rank correlation over parts, NaN where either is constant; ``top``: 1 if the part with
        the largest value is the one that causes most, else 0, chance 1/S; ``sign``: the share of the
        truth's total magnitude that lies in parts with the right sign, chance about 0.5; ``auc``: how often a
        part that raises the prediction has a larger value than one that lowers it, NaN where all do the same.

    Examples
    --------
    >>> truth = Explanation(explainer="causal", target=0, weights=np.array([0.5, 0.1, -0.2]), segments=np.arange(3)[None])
    >>> causal_agreement(truth, [2.0, 1.0, 3.0])["spearman"]
    -0.5
    """
    from scipy.stats import rankdata, spearmanr

    values, causes = np.asarray(values, np.float64), np.asarray(truth.weights, np.float64)
    if values.shape != causes.shape or not np.isfinite(values).all():
        raise DataError(f"There must be {len(causes)} finite values, one per part, but got {values.shape}.")
    constant = np.ptp(values) == 0 or np.ptp(causes) == 0
    raises, lowers = causes > 0, causes < 0
    above = np.nan
    if raises.any() and lowers.any():
        ranks = rankdata(values[raises | lowers])[raises[raises | lowers]]
        above = (ranks.sum() - raises.sum() * (raises.sum() + 1) / 2) / (raises.sum() * lowers.sum())
    weights = np.abs(causes) / max(np.abs(causes).sum(), 1e-300)
    return {
        "spearman": np.nan if constant else float(spearmanr(values, causes).statistic),
        "top": float(not constant and values.argmax() == causes.argmax()),
        "sign": float(weights[np.sign(values) == np.sign(causes)].sum()),
        "auc": float(above),
    }


def summarise_agreement(
    faces: pd.DataFrame, by: Sequence[str] = ("network", "method"), *, seed: int = 0
) -> pd.DataFrame:
    """Average the agreement of faces, with 95 % intervals over subjects.

    Parameters
    ----------
    faces : DataFrame
        One row per face and method: `by`, ``subject``, and the columns `AGREEMENT`.
    by : sequence of str
        Columns whose values belong together.
    seed : int
        Of the resamples of subjects.

    Returns
    -------
    DataFrame
        `by`, then ``score, value, low, high, count, subjects``; NaN are left out of the means.
    """
    check_range(seed, "seed", 0, integer=True)
    rows = []
    for names, group in faces.groupby(list(by), sort=False):
        for score in AGREEMENT:
            known = group[np.isfinite(group[score])]
            if len(known):
                own_seed = derive_seed(seed, "agreement", *map(str, names), score)
                found = _cluster_bootstrap(
                    known[score].to_numpy(float), known["subject"].to_numpy(), seed=own_seed
                )
                rows.append((*names, score, found.estimate, found.low, found.high, len(known), found.units))
    return pd.DataFrame(rows, columns=[*by, "score", "value", "low", "high", "count", "subjects"])
