"""Folds that share data, and rankings: by hand, and whether they cover at their level."""

import numpy as np
import pandas as pd
import pytest

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.seeds import generator
from ekman_expressions.measures import fold_means, ranking
from ekman_expressions.measures.bootstrap import interval_of, resample_counts


def test_nadeau_and_bengio_by_hand():
    # Mean 0.3, variance 0.025; (1/5 + 1/4) of it is 0.01125; t(4) at 97.5 % is 2.776445.
    found = fold_means.corrected_interval([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.estimate == pytest.approx(0.3) and found.units == 5
    assert found.standard_error == pytest.approx(0.01125**0.5)
    assert found.high == pytest.approx(0.3 + 2.776445 * 0.01125**0.5, abs=1e-6)
    # With a tenth of the faces for the test, n2/n1 = 1/9.
    assert fold_means.corrected_interval([1, 2, 3], ratio=1 / 9).standard_error == pytest.approx(
        (4 / 9) ** 0.5
    )
    # t = 0.3 / 0.106066 = 2.828427 with 4 degrees of freedom.
    assert fold_means.corrected_test([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.0474207, abs=1e-6)


def test_the_corrected_interval_covers_folds_that_share_data():
    """Folds with the correlation that the correction assumes: ratio / (1 + ratio) = 1/5."""

    def coverage(**options):
        hits = 0
        for time in range(600):
            random = generator(1, time)
            scores = np.sqrt(0.8) * random.normal(size=5) + np.sqrt(0.2) * random.normal()
            found = fold_means.corrected_interval(scores, **options)
            hits += found.low <= 0 <= found.high
        return hits / 600

    assert 0.92 <= coverage() <= 0.98
    assert coverage(ratio=0) < 0.91


def test_p_of_differences_that_are_nothing_is_uniform():
    from scipy import stats

    p = [fold_means.corrected_test(generator(2, time).normal(size=4), ratio=0) for time in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert fold_means.corrected_test([0, 0, 0]) == 1 and fold_means.corrected_test([1, 1, 1]) == 0


def test_few_folds_and_missing_ones():
    one = fold_means.corrected_interval([0.4])
    assert one.estimate == 0.4 and np.isnan([one.low, one.high]).all() and one.units == 1
    assert np.isnan(fold_means.corrected_interval([np.nan]).estimate)
    assert fold_means.corrected_interval([1, np.nan, 3]) == fold_means.corrected_interval([1, 3])
    assert np.isnan(fold_means.corrected_test([1.0]))
    with pytest.raises(DataError, match="one value per fold"):
        fold_means.corrected_interval([[1, 2]])
    with pytest.raises(SettingsError, match="ratio"):
        fold_means.corrected_interval([1, 2], ratio=-1)


def test_holm_by_hand():
    np.testing.assert_allclose(fold_means.holm([0.01, 0.04, np.nan, 0.03]), [0.03, 0.06, np.nan, 0.06])
    np.testing.assert_allclose(fold_means.holm([0.9, 0.8]), [1, 1])
    assert fold_means.holm([]).size == 0


def test_subjects_within_folds_are_strata():
    """Means of 5 strata of 4: each varies less than its subjects say, by (4 - 1) / 4."""
    hits = 0
    for time in range(300):
        random = generator(3, time)
        values = random.normal(size=(5, 4)) + 10 * np.arange(5)[:, None]
        counts = [resample_counts(4, 300, seed=100 * time + stratum) for stratum in range(5)]
        replicates = np.mean([c @ v / 4 for c, v in zip(counts, values, strict=True)], axis=0)
        found = interval_of(values.mean(), replicates, 20, strata=5)
        hits += found.low <= 20 <= found.high
    assert 0.91 <= hits / 300 <= 0.99


def test_ranks_and_their_intervals_by_hand():
    np.testing.assert_array_equal(ranking.ranks([0.1, 0.9, 0.5, 0.5]), [4, 1, 2.5, 2.5])
    replicates = np.array([[3.0, 2, 1], [3, 1, 2], [2, 3, 1], [3, 2, 1]])
    table = ranking.rank_intervals([3, 2, 1], replicates, ["a", "b", "c"])
    assert table["network"].tolist() == ["a", "b", "c"]
    assert table["first"].tolist() == [0.75, 0.25, 0]
    assert table["low"].tolist() == [1, 1, 2] and table["high"].tolist() == [2, 3, 3]
    table = ranking.rank_intervals([1, np.nan], replicates[:, :2], ["a", "b"])
    assert table["rank"].tolist()[0] == 1 and np.isnan(table.loc[1, ["rank", "low", "first"]].tolist()).all()
    alone = ranking.rank_intervals([1.0], np.ones((4, 1)), ["a"])
    assert alone.loc[0, ["rank", "low", "high", "first"]].tolist() == [1, 1, 1, 1]
    assert np.isnan(ranking.rank_intervals([1.0, 2], np.empty((0, 2)), "ab")["low"]).all()
    with pytest.raises(DataError, match="2 networks"):
        ranking.rank_intervals([1, 2], replicates, ["a", "b"])


def test_rank_intervals_hold_the_true_rank():
    truth = np.arange(6) / 4
    held = []
    for time in range(200):
        scores = truth[:, None] + generator(4, time).normal(0, 0.4, size=(6, 8))
        counts = resample_counts(8, 300, seed=time)
        table = ranking.rank_intervals(
            scores.mean(axis=1), ranking.fold_replicates(scores, counts), [0, 1, 2, 3, 4, 5]
        )
        true_rank = 6 - table["network"]
        held.append((table["low"] <= true_rank) & (true_rank <= table["high"]))
    assert np.mean(held) >= 0.93


def test_fold_replicates_leave_missing_folds_out():
    scores = np.array([[1, 2, np.nan], [np.nan, 4, 6.0]])
    counts = np.array([[1, 1, 1], [3, 0, 0], [0, 1, 2]])
    np.testing.assert_allclose(ranking.fold_replicates(scores, counts), [[1.5, 5], [1, np.nan], [2, 16 / 3]])


def test_rank_correlations_need_three_networks():
    scores = pd.DataFrame({"a": [1, 2, 3, 4], "b": [10, 20, 40, 30], "c": [np.nan, np.nan, 1, 2]})
    found = ranking.rank_correlations(scores)
    assert found.loc["a", "a"] == 1 and found.loc["a", "b"] == pytest.approx(0.8)
    assert np.isnan(found.loc["a", "c"]) and np.isnan(found.loc["c"]).all()
