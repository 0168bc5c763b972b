"""Cells, averages, differences and ranks with their intervals, over folds and over subjects."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.measures import ranking
from ekman_expressions.measures.bootstrap import Interval, cluster_bootstrap, interval_of, resample_counts
from ekman_expressions.measures.fold_means import corrected_interval, corrected_test, holm
from ekman_expressions.measures.means import mean_known
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.measures.subjects import SubjectReplicates

INTERVAL_COLUMNS: tuple[str, ...] = (
    "score",
    "network",
    "expression",
    "estimate",
    "chance",
    "folds",
    "fold_low",
    "fold_high",
    "fold_boot_low",
    "fold_boot_high",
    "subjects",
    "subject_low",
    "subject_high",
)
"""``fold_`` is Nadeau and Bengio's interval, ``fold_boot_`` the bootstrap's, ``subject_`` that over
subjects. ``estimate`` is the mean over folds, as in the published tables."""

_SIZE = 1000


def interval_table(
    own: dict[str, np.ndarray],
    chance: dict[str, np.ndarray],
    networks: tuple[str, ...],
    subjects: SubjectReplicates | None,
    *,
    seed: int,
) -> pd.DataFrame:
    """Return each cell and average of the published layout with its intervals.

    Parameters
    ----------
    own : dict of str to (N, F, E) ndarray of float
        Per score, that with the own mask; NaN where there is no heatmap.
    chance : dict of str to (N, F, E) ndarray of float
        What chance would give each.
    networks : tuple of N str
    subjects : SubjectReplicates or None
        None: no explanations to resample, and no intervals over subjects. Nor are there any for
        a score that it lacks.
    seed : int
        The experiment's.

    Returns
    -------
    DataFrame
        `INTERVAL_COLUMNS`, with rows ``Average`` over expressions and over networks.
    """
    rows = []
    for score, values in own.items():
        replicates = subjects.scores.get(score) if subjects else None
        for network, expression, part in _parts(networks):
            by_fold = _average(values, part)
            estimate = _estimate(values, part)
            over_folds = corrected_interval(by_fold)
            boot = cluster_bootstrap(by_fold, seed=derive_seed(seed, "folds"), resamples=_SIZE)
            low, high, count = np.nan, np.nan, 0
            if replicates is not None:
                found = _over_subjects(estimate, _estimate(replicates, part), subjects, part)
                low, high, count = found.low, found.high, found.units
            # Where folds lack cells, the mean of cells is not that of folds: the ends move along.
            shift = estimate - over_folds.estimate
            ends = np.array([over_folds.low, over_folds.high, boot.low, boot.high]) + shift
            # No score lies beyond, so the interval covers no less without.
            ends = np.clip([*ends, low, high], -1 if score.startswith("residual") else 0, 1)
            by_chance = _estimate(chance[score], part)
            head = (score, network, expression, estimate, by_chance, over_folds.units)
            rows.append((*head, *ends[:4], count, *ends[4:]))
    return pd.DataFrame(rows, columns=INTERVAL_COLUMNS)


def difference_table(
    own: dict[str, np.ndarray], networks: tuple[str, ...], subjects: SubjectReplicates | None
) -> pd.DataFrame:
    """Compare the averages of every two networks, fold by fold and subject by subject.

    Returns
    -------
    DataFrame
        ``score, first, second, difference, folds, fold_low, fold_high, p, p_holm, subjects,
        subject_low, subject_high``; p is that of Nadeau and Bengio's test, corrected (Holm) for
        the number of pairs. Only expressions and folds that both have are compared.
    """
    rows = []
    for score, values in own.items():
        of_score = []
        for first, second in combinations(range(len(networks)), 2):
            difference = values[first] - values[second]
            by_fold = mean_known(difference, axis=1)
            found = corrected_interval(by_fold)
            estimate = mean_known(mean_known(difference, axis=0), axis=0)
            shift = estimate - found.estimate
            low, high, count = np.nan, np.nan, 0
            if subjects:
                replicates = subjects.scores[score]
                drawn = replicates[:, first] - replicates[:, second]
                drawn = mean_known(mean_known(drawn, axis=1), axis=1)
                over = _over_subjects(float(estimate), drawn, subjects, (first, None))
                low, high, count = over.low, over.high, over.units
            of_score.append(
                {
                    "score": score,
                    "first": networks[first],
                    "second": networks[second],
                    "difference": float(estimate),
                    "folds": found.units,
                    "fold_low": found.low + shift,
                    "fold_high": found.high + shift,
                    "p": corrected_test(by_fold),
                    "subjects": count,
                    "subject_low": low,
                    "subject_high": high,
                }
            )
        corrected = holm([row["p"] for row in of_score])
        rows += [row | {"p_holm": p} for row, p in zip(of_score, corrected, strict=True)]
    columns = ["score", "first", "second", "difference", "folds", "fold_low", "fold_high", "p", "p_holm"]
    return pd.DataFrame(rows, columns=[*columns, "subjects", "subject_low", "subject_high"])


def ranking_table(
    own: dict[str, np.ndarray], networks: tuple[str, ...], subjects: SubjectReplicates | None, *, seed: int
) -> pd.DataFrame:
    """Rank the networks by their averages, with rank intervals over folds and over subjects.

    Returns
    -------
    DataFrame
        ``score, unit`` (folds, subjects) and the columns of `ranking.rank_intervals`.
    """
    tables = []
    for score, values in own.items():
        estimates = mean_known(mean_known(values, axis=1), axis=1)
        by_fold = mean_known(values, axis=2)
        counts = resample_counts(values.shape[1], _SIZE, seed=derive_seed(seed, "rank folds"))
        replicates = {"folds": ranking.fold_replicates(by_fold, counts)}
        if subjects:
            replicates["subjects"] = mean_known(mean_known(subjects.scores[score], axis=2), axis=2)
        for unit, drawn in replicates.items():
            table = ranking.rank_intervals(estimates, drawn, networks)
            table.insert(0, "unit", unit)
            table.insert(0, "score", score)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _parts(networks: tuple[str, ...]) -> Iterator[tuple[str, str, tuple[int | None, int | None]]]:
    """Yield the rows of the published layout: names, and the places of network and expression."""
    for n, network in [*enumerate(networks), (None, AVERAGE)]:
        for e, expression in [*enumerate(map(title, EXPRESSIONS)), (None, AVERAGE)]:
            yield network, expression, (n, e)


def _average(values: np.ndarray, part: tuple[int | None, int | None]) -> np.ndarray:
    """Average (N, F, E) over networks, expressions or none: (F,)."""
    n, e = part
    if n is None and e is None:
        return mean_known(values.transpose(1, 0, 2).reshape(values.shape[1], -1), axis=1)
    values = mean_known(values, axis=2) if e is None else values[:, :, e]
    return mean_known(values, axis=0) if n is None else values[n]


def _estimate(values: np.ndarray, part: tuple[int | None, int | None]) -> np.ndarray | float:
    """Average (..., N, F, E) over folds first, then as `_average`: the reading of the published tables."""
    n, e = part
    cells = mean_known(values, axis=-2)
    if n is None and e is None:
        cells = cells.reshape(*cells.shape[:-2], 1, -1)
        n = 0
    cells = mean_known(cells, axis=-1) if e is None else cells[..., e]
    cells = mean_known(cells, axis=-1) if n is None else cells[..., n]
    return float(cells) if cells.ndim == 0 else cells


def _over_subjects(
    estimate: float,
    replicates: np.ndarray,
    subjects: SubjectReplicates,
    part: tuple[int | None, int | None],
) -> Interval:
    """Make an interval over subjects; folds are strata, since subjects were drawn within them."""
    n, e = part
    if n is None or e is None:
        by_fold = subjects.of_fold
    else:
        by_fold = subjects.subjects[n, :, e]
    used = by_fold[by_fold > 0]
    if not used.size:
        return Interval(estimate, np.nan, np.nan, np.nan, 0, np.nan)
    return interval_of(estimate, replicates, int(used.sum()), strata=used.size)
