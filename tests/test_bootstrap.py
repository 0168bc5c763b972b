"""Bootstrap intervals: by hand, and whether they cover the truth as often as they say."""

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.seeds import generator
from ekman_expressions.measures.bootstrap import cluster_bootstrap, interval_of, resample_counts


def _coverage(draw, truth, *, times=300, **options):
    """How often the intervals of simulated data hold the truth."""
    hits = 0
    for time in range(times):
        found = cluster_bootstrap(*draw(generator(1, time)), seed=time, resamples=400, **options)
        hits += found.low <= truth <= found.high
    return hits / times


@pytest.mark.parametrize("folds", [3, 5])
def test_the_interval_of_few_folds_covers_at_its_level(folds):
    # 300 trials: 95 % ± 3.2 standard errors is 91 to 99 %.
    covered = _coverage(lambda random: (random.normal(0.3, 0.1, folds),), 0.3)
    assert 0.91 <= covered <= 0.99


def test_clusters_cover_at_their_level_and_single_values_do_not():
    def faces_of_subjects(random):
        subjects = np.repeat(np.arange(20), 5)
        return random.normal(0, 1, 20)[subjects] + random.normal(0, 0.3, subjects.size), subjects

    assert 0.91 <= _coverage(faces_of_subjects, 0) <= 0.99
    assert 0.83 <= _coverage(faces_of_subjects, 0, level=0.9) <= 0.96
    assert _coverage(lambda random: faces_of_subjects(random)[:1], 0) < 0.8


def test_percentiles_of_many_units_cover_at_their_level():
    covered = _coverage(lambda random: (random.exponential(1, 60),), 1, method="percentile")
    assert 0.88 <= covered <= 0.98
    # As the docstring says of three folds.
    assert _coverage(lambda random: (random.normal(0, 1, 3),), 0, method="percentile") <= 0.83


def test_for_independent_values_it_is_the_classical_t_interval():
    from scipy import stats

    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    found = cluster_bootstrap(values, seed=0, resamples=200_000)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.estimate, found.units) == (pytest.approx(0.42), 5)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))


def test_another_statistic_and_the_mean_by_both_ways():
    values, subjects = [1, 2, 3, 10, 11, 30], ["a", "a", "b", "c", "c", "d"]
    fast = cluster_bootstrap(values, subjects, seed=4)
    slow = cluster_bootstrap(values, subjects, seed=4, statistic=np.mean)
    assert (fast.low, fast.high, fast.units) == (pytest.approx(slow.low), pytest.approx(slow.high), 4)
    assert cluster_bootstrap(values, subjects, seed=4, statistic=np.median).estimate == 6.5


def test_equal_seeds_give_equal_intervals_and_units_are_drawn_evenly():
    values = generator(0).normal(size=30)
    assert cluster_bootstrap(values, seed=7) == cluster_bootstrap(values, seed=7)
    assert cluster_bootstrap(values, seed=7) != cluster_bootstrap(values, seed=8)
    counts = resample_counts(6, 20_000, seed=0)
    assert (counts.sum(axis=1) == 6).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.03)


def test_missing_values_and_too_few_units():
    found = cluster_bootstrap([1.0, np.nan, 3.0], ["a", "b", "c"], seed=0)
    assert (found.estimate, found.units) == (2, 2)
    found = cluster_bootstrap([1.0, 2.0], ["a", "a"], seed=0)
    assert (found.estimate, found.units) == (1.5, 1) and np.isnan([found.low, found.high]).all()
    found = cluster_bootstrap([np.nan], seed=0)
    assert np.isnan(found.estimate) and found.units == 0
    assert str(cluster_bootstrap([1.0], seed=0)) == "1.000 [nan, nan]"


def test_bad_input_says_what_is_wrong():
    with pytest.raises(DataError, match=r"\(3,\) and clusters of shape \(2,\)"):
        cluster_bootstrap([1, 2, 3], ["a", "b"], seed=0)
    with pytest.raises(SettingsError, match="method"):
        interval_of(0, np.zeros(5), 3, method="bca")
    with pytest.raises(SettingsError, match="level"):
        cluster_bootstrap([1, 2], seed=0, level=95)
    with pytest.raises(SettingsError, match="resamples"):
        cluster_bootstrap([1, 2], seed=0, resamples=0)
