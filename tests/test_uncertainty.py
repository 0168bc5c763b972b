"""Intervals over folds and subjects, and sets of ranks: by hand, and how often they cover."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ekman_expressions.core.seeds import generator
from ekman_expressions.measures.scores import auc
from ekman_expressions.measures.uncertainty import (
    _cluster_bootstrap,
    _compare_networks,
    _corrected_interval,
    _fold_of,
    _holm,
    _Interval,
    _interval_of,
    _mean_known,
    _rank_sets,
    _resample_counts,
    _resampled_scores,
    split_half,
)


def coverage(draw, truth, times=300):
    """How often the intervals of simulated data hold the truth."""
    hits = 0
    for time in range(times):
        found = _cluster_bootstrap(*draw(generator(1, time)), seed=time, resamples=400)
        hits += found.low <= truth <= found.high
    return hits / times


def test_clusters_cover_at_their_level_and_single_values_do_not():
    def faces_of_subjects(random):
        subjects = np.repeat(np.arange(20), 5)
        return random.normal(0, 1, 20)[subjects] + random.normal(0, 0.3, subjects.size), subjects

    assert 0.91 <= coverage(faces_of_subjects, 0) <= 0.99
    assert coverage(lambda random: faces_of_subjects(random)[:1], 0) < 0.8


def test_strata_cover_at_their_level():
    """Four subjects in each of five folds, resampled within folds; folds differ a lot."""
    hits = 0
    for time in range(300):
        values = generator(3, time).normal(size=(5, 4)) + 10 * np.arange(5)[:, None]
        counts = [_resample_counts(4, 300, seed=100 * time + stratum) for stratum in range(5)]
        replicates = np.mean([count @ row / 4 for count, row in zip(counts, values, strict=True)], axis=0)
        found = _interval_of(values.mean(), replicates, 20, strata=5)
        hits += found.low <= 20 <= found.high
    assert 0.91 <= hits / 300 <= 0.99


def test_for_independent_values_it_is_the_classical_t_interval():
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    found = _cluster_bootstrap(values, seed=0, resamples=200_000)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.estimate, found.units) == (pytest.approx(0.42), 5)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))


def test_missing_values_too_few_units_and_bad_input():
    found = _cluster_bootstrap([1.0, np.nan, 3.0], ["a", "b", "c"], seed=0)
    assert (found.estimate, found.units) == (2, 2)
    found = _cluster_bootstrap([1.0, 2.0], ["a", "a"], seed=0)
    assert (found.estimate, found.units) == (1.5, 1) and np.isnan([found.low, found.high]).all()
    assert _cluster_bootstrap([np.nan], seed=0).units == 0
    np.testing.assert_array_equal(_mean_known([[1, np.nan, 3], [np.nan] * 3], axis=1), [2, np.nan])


def test_nadeau_and_bengio_by_hand():
    # Mean 0.3, variance 0.025; (1/5 + 1/4) of it is 0.01125; t(4) at 97.5 % is 2.776445.
    found = _corrected_interval([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.estimate == pytest.approx(0.3) and found.units == 5
    assert found.standard_error == pytest.approx(0.01125**0.5)
    assert found.high == pytest.approx(0.3 + 2.776445 * 0.01125**0.5, abs=1e-6)
    # t = 0.3 / 0.106066 = 2.828427 with 4 degrees of freedom.
    assert found.p == pytest.approx(0.0474207, abs=1e-6)


def test_the_corrected_interval_covers_folds_that_share_data():
    """Folds with the correlation that the correction assumes, 1/5; uncorrected they cover too seldom."""
    hits = np.zeros(2)
    for time in range(600):
        random = generator(1, time)
        scores = np.sqrt(0.8) * random.normal(size=5) + np.sqrt(0.2) * random.normal()
        found = _corrected_interval(scores)
        low, high = stats.t.interval(0.95, 4, scores.mean(), stats.sem(scores))
        hits += found.low <= 0 <= found.high, low <= 0 <= high
    corrected, uncorrected = hits / 600
    assert 0.92 <= corrected <= 0.98 and uncorrected < 0.91


def test_few_folds_and_missing_ones():
    one = _corrected_interval([0.4])
    assert one.estimate == 0.4 and np.isnan([one.low, one.high, one.p]).all() and one.units == 1
    assert np.isnan(_corrected_interval([np.nan]).estimate)
    assert _corrected_interval([1, np.nan, 3]) == _corrected_interval([1, 3])
    assert _corrected_interval([0, 0, 0]).p == 1 and _corrected_interval([1, 1, 1]).p == 0


def test_holm_by_hand():
    np.testing.assert_allclose(_holm([0.01, 0.04, np.nan, 0.03]), [0.03, 0.06, np.nan, 0.06])
    np.testing.assert_allclose(_holm([0.9, 0.8]), [1, 1])


def test_sets_of_ranks_by_hand():
    pairs = pd.DataFrame(
        [("a", "b", 1.0, 0.2), ("a", "c", 2.0, 0.01), ("b", "c", 1.0, 0.04)],
        columns=["first", "second", "difference", "p_holm"],
    )
    table = _rank_sets([3, 2, 1], pairs, "abc")
    assert table[["low", "high"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]
    pairs["difference"] *= -1
    table = _rank_sets([1, 2, 3], pairs, "abc").set_index("network")
    assert table.loc["c", ["rank", "low", "high"]].tolist() == [1, 1, 1]
    ties = _rank_sets([1, 1, np.nan], pairs.assign(p_holm=[0.5, np.nan, np.nan]), "abc").set_index("network")
    assert ties.loc["a"].tolist() == [1, 1.5, 1, 2] and np.isnan(ties.loc["c"].astype(float)).all()
    assert np.isnan(_rank_sets([1.0], pairs[:0], ["a"])["low"]).all()


@pytest.mark.parametrize(("folds", "seeds"), [(3, 1), (3, 3)])
def test_sets_of_ranks_cover_at_their_level(folds, seeds):
    """Twelve networks; resampled folds covered 76 % with three of them, and 87 % with five."""
    networks = [f"n{place:02d}" for place in range(12)]
    replicates = [f"CV{k + 1}" + (f"_S{s}" if s else "") for k in range(folds) for s in range(seeds)]
    each, joint = [], []
    for time in range(150):
        random = generator(5, time)
        truth = random.normal(0, 0.03, 12)
        noise = 0.06 * random.normal(size=(12, folds, 1)) / np.sqrt(2) ** (seeds > 1)
        noise = noise + (seeds > 1) * 0.06 / np.sqrt(2) * random.normal(size=(12, folds, seeds))
        scores = truth[:, None] + noise.reshape(12, -1)
        found = _rank_sets(
            scores.mean(axis=1), _compare_networks(scores[..., None], networks, replicates), networks
        )
        ranks = pd.Series(stats.rankdata(-truth), networks)[found["network"]].to_numpy()
        held = (found["low"] <= ranks) & (ranks <= found["high"])
        each.append(held.mean())
        joint.append(held.all())
    assert np.mean(each) >= 0.95 and np.mean(joint) >= 0.95 - 1.96 * np.sqrt(0.05 * 0.95 / 150)


def test_folds_and_seeds_are_repeated_cross_validation_by_hand():
    labels = ["CV1", "CV1_S1", "CV2", "CV2_S1"]
    found = _corrected_interval([0.1, 0.3, 0.2, 0.4], list(map(_fold_of, labels)))
    variance = np.var([0.1, 0.3, 0.2, 0.4], ddof=1)
    # 1/(K S) + n_test/n_train, with K - 1 = 1 part of training faces for each of test faces.
    assert found.standard_error == pytest.approx(np.sqrt((1 / 4 + 1 / 1) * variance)) and found.degrees == 3
    # Seeds of one fold say nothing of other training faces.
    assert np.isnan(_corrected_interval([0.1, 0.3], ["CV1", "CV1"]).low)
    scores = np.array([[1, 2, 3, np.nan], [0, 1, 1, 5]])[..., None]
    table = _compare_networks(scores, "ab", labels)
    assert table.loc[0, "difference"] == pytest.approx(4 / 3) and table.loc[0, "folds"] == 3
    assert table.loc[0, "p"] == table.loc[0, "p_holm"] and _compare_networks(scores[:1], "a", labels).empty


def test_split_halves_are_the_reliability_of_the_mean():
    """Signal of variance 1 and noise of variance 4 per subject: 20 subjects give 1 / (1 + 4/20)."""
    random = generator(6)
    subjects = np.repeat(np.arange(20), 2)
    found = []
    for time in range(10):
        noise = 2 * random.normal(size=(20, 60, 60))[subjects]
        found.append(split_half(random.normal(size=(60, 60)) + noise, subjects, seed=time))
    assert np.mean(found) == pytest.approx(1 / 1.2, abs=0.01)
    assert split_half(random.normal(size=(8, 40, 40)), range(8), seed=0) < 0.15
    assert np.isnan(split_half(np.ones((2, 3, 3)), "ab", seed=0)) and np.isnan(
        split_half(np.eye(3)[None], "a", seed=0)
    )


def test_intervals_over_subjects_cover_at_their_level():
    """The AUC that a heatmap of 15 people has on average; that of all people is a little higher."""
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    truth = generator(0).random((8, 8)) + 0.4 * mask
    estimates, intervals = [], []
    for time in range(200):
        noise = np.kron(generator(9, time).normal(size=(15, 4, 4)), np.ones((1, 2, 2)))
        maps = truth + 0.6 * noise
        counts = _resample_counts(15, 100, seed=time)
        found = _resampled_scores(maps, np.arange(15), counts, mask, np.ones((8, 8), bool))["auc_hull"]
        estimates.append(auc(maps.mean(axis=0), mask))
        intervals.append(_interval_of(estimates[-1], found, 15))
    covered = [found.low <= np.mean(estimates) <= found.high for found in intervals]
    assert 0.9 <= np.mean(covered) <= 0.99
    assert auc(truth, mask) > np.mean(estimates)
    errors = np.mean([found.standard_error for found in intervals])
    assert errors == pytest.approx(np.std(estimates), rel=0.2)


def test_an_interval_needs_two_units_in_a_stratum():
    assert _interval_of(0.3, np.ones(9), 4, strata=4) == _Interval(0.3, units=4)
