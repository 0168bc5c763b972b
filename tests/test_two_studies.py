"""The picture of two studies beside each other, `tools/two_studies.py`, and its statistics against known answers."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ekman_expressions import figures
from ekman_expressions.measures import trees
from ekman_expressions.zoo import NETWORKS

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from two_studies import correspondence, two_studies  # noqa: E402


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
    expected = np.mean(
        [trees.distances([first[name, x] for name in names]) for x in ("fear", "anger")], axis=0
    )
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


def test_what_one_study_lacks_is_not_compared():
    random = np.random.default_rng(1)
    first = {(name, x): random.random((8, 9)) for name in "abcd" for x in ("fear", "anger")}
    second = {key: one for key, one in first.items() if key != ("d", "fear")}
    second["b", "fear"] = np.zeros((8, 9))
    found = correspondence(first, second)
    assert set(zip(*np.nonzero(found.own.isna()), strict=True)) == {(1, 0), (3, 0)}
    assert found.own.loc["a"].tolist() == pytest.approx([1, 1])


def test_two_studies_join_the_ranks_of_a_network_and_show_both_trees():
    kinds = figures.network_kinds(NETWORKS, "imagenet")
    names = ["VGG16", "WeiNet", "Xception"]
    scores = pd.DataFrame({"here": [0.3, 0.1, 0.2], "published": [0.1, 0.2, 0.3]}, names)
    matrix = pd.DataFrame([[0.5], [-0.25], [np.nan]], names, ["Fear"])
    linkages = {"here": [[0, 2, 0.2, 2], [1, 3, 0.6, 3]], "published": [[1, 2, 0.1, 2], [0, 3, 0.4, 3]]}
    figure = two_studies(scores, matrix, linkages, groups=kinds, notes=("a", "b", "c"))
    order, cells, here, published = (axes for axes in figure.axes if axes.get_label() != "<colorbar>")
    assert [list(line.get_ydata()) for line in order.lines] == [[1, 3], [3, 2], [2, 1]]
    assert {"VGG16  0.300", "0.300  Xception"} <= {text.get_text() for text in order.texts}
    assert [text.get_text() for text in cells.texts] == ["0.50", "-0.25", "–"]
    for axes, apart in ((here, "WeiNet"), (published, "VGG16")):
        leaves = [label.get_text() for label in axes.get_yticklabels()]
        assert sorted(leaves) == names and apart in (leaves[0], leaves[-1])
