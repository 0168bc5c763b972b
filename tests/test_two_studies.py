"""The picture of two studies beside each other, `tools/two_studies.py`: its statistics against known answers."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ekman_expressions.measures import trees

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from two_studies import correspondence  # noqa: E402


def test_two_studies_of_the_same_heatmaps_correspond_and_of_exchanged_ones_do_not():
    random = np.random.default_rng(0)
    names = list("abcdef")
    first = {(name, x): random.random((8, 9)) for name in names for x in ("fear", "anger")}
    same = correspondence(first, {key: 3 * one + 7 for key, one in first.items()})
    assert list(same.own.index) == names and list(same.own) == ["fear", "anger"]
    np.testing.assert_allclose(same.own, 1)
    # 1 of 720 orders is as good; drawn at random, but for the first.
    assert 1 / 20_001 <= same.statistics["own_p"] < 0.004
    assert same.statistics["trees"] == pytest.approx(1) and same.statistics["trees_p"] < 0.004
    expected = np.mean([trees.distances([first[name, x] for name in names]) for x in ("fear", "anger")], axis=0)
    np.testing.assert_allclose(same.distances, [expected, expected], atol=1e-12)
    assert same.statistics["others"] == pytest.approx(1 - expected[np.triu_indices(6, k=1)].mean())
    before = dict(zip(names, names[-1:] + names, strict=False))
    exchanged = correspondence(first, {(name, x): first[before[name], x] for name, x in first})
    by_hand = np.corrcoef(first["c", "fear"].ravel(), first["b", "fear"].ravel())[0, 1]
    assert exchanged.own.loc["c", "fear"] == pytest.approx(by_hand)
    assert exchanged.statistics["own_p"] > 0.3
    # Of negatives, distances are the same though nothing is alike.
    negative = correspondence(first, {key: -one for key, one in first.items()}).statistics
    assert negative["own"] == pytest.approx(-1) and negative["own_p"] > 0.99
    assert negative["trees"] == pytest.approx(1)
