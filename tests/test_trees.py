"""Distances, trees and how far they can be believed: by hand, against NumPy, and under the null."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures import trees
from ekman_expressions.measures.trees import distances, linkage
from ekman_expressions.study import explanations, heatmaps

MAPS = arrays(np.uint8, (3, 4, 5)).filter(lambda maps: all(np.ptp(one) for one in maps))
FOLDS = ("CV1", "CV2", "CV3")


def random_distances(leaves, seed):
    return distances(np.random.default_rng(seed).random((leaves, 5, 6)))


def noisy(patterns, noise, folds=3, seed=0):
    """Maps (N, folds, 8, 9): the pattern of each leaf, with noise of its own in each fold."""
    random = np.random.default_rng(seed)
    base = random.random((max(patterns) + 1, 8, 9))
    return np.stack([[base[p] + noise * random.normal(size=(8, 9)) for _ in range(folds)] for p in patterns])


def tree_of(maps):
    return linkage(distances(maps.mean(axis=1)))


@given(MAPS)
def test_distances_are_those_of_numpy_and_symmetric(maps):
    matrix = distances(maps)
    np.testing.assert_allclose(matrix, 1 - np.corrcoef(maps.reshape(3, -1)), atol=1e-9)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any() and matrix.min() >= 0 and matrix.max() <= 2


def test_average_linkage_and_cophenetic_correlation_by_hand():
    # First 0 and 1 join at 0.2; then 2, at the mean of its distances 0.6 and 1.0 to them.
    matrix = np.array([[0, 0.2, 0.6], [0.2, 0, 1.0], [0.6, 1.0, 0]])
    np.testing.assert_allclose(linkage(matrix), [[0, 1, 0.2, 2], [2, 3, 0.8, 3]])
    # r of (0.2, 0.6, 1.0) and (0.2, 0.8, 0.8).
    assert heatmaps._cophenetic_correlation(linkage(matrix), matrix) == pytest.approx(np.sqrt(3) / 2)
    two = np.array([[0, 0.3], [0.3, 0]])
    assert np.isnan(heatmaps._cophenetic_correlation(linkage(two), two))


def test_what_cannot_be_compared_is_refused_by_name():
    ramp = np.arange(6).reshape(2, 3)
    with pytest.raises(DataError, match="constant are: flat"):
        distances([ramp, np.full((2, 3), 9)], ["ramp", "flat"])
    with pytest.raises(DataError, match="at least 2 leaves, but got 1"):
        linkage(np.zeros((1, 1)))


def test_support_by_enumeration_by_hand():
    # Of two folds, one says that 0 and 1 belong together, the other 1 and 2.
    a, b, c = np.random.default_rng(1).random((3, 8, 9))
    maps = np.array([[a, a], [a + 0.01 * b, b], [c, b + 0.01 * c]])
    tree = linkage(distances(maps[:, 0]))
    assert trees.branches(tree)[0] == {0, 1}
    both = {0, 1} in [set(one) for one in trees.branches(tree_of(maps))]
    # Draws: the first fold twice 1/4, the second twice 1/4, each once 1/2.
    assert trees.branch_support(maps, tree)[0] == pytest.approx(0.25 + 0.5 * both)
    weights = np.array([[1, 1], [1, 0], [1, 1]])
    # Draws of the second fold alone have no second leaf; in all others that is the first pattern.
    assert trees.branch_support(maps, tree, weights=weights)[0] == 1
    assert np.isnan(trees.branch_support(np.ones((3, 2, 4, 4)), tree)).all()


def test_reliability_of_networks_that_repeat_themselves_and_of_noise():
    networks, folds = np.repeat(["a", "b", "c"], 3), FOLDS * 3
    alike = noisy([0, 1, 2], 0.01).reshape(9, 8, 9)
    found = trees._fold_reliability(distances(alike), networks, folds)
    assert found["auc"] == 1 and found["pairs"] == 9 and found["same"] < 0.1 < found["different"]
    # Only exchanges that keep the networks apart are as good: 6² of 6³ have them all the same.
    assert found["p"] == pytest.approx(1 / 36, abs=0.015)
    noise = np.random.default_rng(0).random((9, 8, 9))
    found = trees._fold_reliability(distances(noise), networks, folds)
    assert 0.15 < found["auc"] < 0.85 and found["p"] > 0.05
    matrix = np.full((4, 4), 0.5)
    # Networks a and b in CV1 are alike because they share faces: that must not count.
    matrix[0, 2] = matrix[2, 0] = 0.0
    found = trees._fold_reliability(matrix, ["a", "a", "b", "b"], ["CV1", "CV2", "CV1", "CV2"])
    assert found["same"] == found["different"] == 0.5 and found["auc"] == 0.5 and found["p"] == 1


def test_split_by_hand():
    first = np.array([True, True, False, False])
    matrix = np.where(first[:, None] == first, 0.1, 0.9)
    np.fill_diagonal(matrix, 0)
    found = trees._split_test([matrix, matrix], first)
    # Of the 6 ways to choose two of four, the split itself and its complement are as extreme.
    assert found == pytest.approx({"difference": 0.8, "p": 2 / 6, "relabellings": 6})
    # Of several expressions there is one relabelling for all.
    one, other = random_distances(6, 1), random_distances(6, 2)
    first = [True, True, False, False, False, False]
    together = trees._split_test([one, other], first)
    assert together["relabellings"] == 15
    alone = [trees._split_test([matrix], first)["difference"] for matrix in (one, other)]
    assert together["difference"] == pytest.approx(np.mean(alone))


def test_explainers_are_correlated_over_what_both_have():
    one = np.random.default_rng(0).random(63)
    maps = pd.DataFrame({"a": one, "b": 3 * one + 1, "c": -one, "d": 0.0})
    found = explanations._correlations(maps, "pearson").set_index(["first", "second"])["pearson"]
    assert found["a", "b"] == pytest.approx(1) and found["a", "c"] == pytest.approx(-1)
    assert np.isnan(found["a", "d"])
    scores = pd.DataFrame({"a": [1, 2, 3, 4], "b": [10, 20, 40, 30], "c": [np.nan, np.nan, np.nan, 2]})
    pairs = explanations._correlations(scores, "spearman")
    assert pairs["rows"].tolist() == [4, 1, 1] and np.isnan(pairs["spearman"][1:]).all()
    matrix = trees.pair_matrix(pairs, "spearman")
    assert matrix.loc["b", "a"] == pytest.approx(0.8) and (np.diag(matrix) == 1).all()
