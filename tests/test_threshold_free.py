"""Scores without a threshold: by hand on 3 × 3 heatmaps, against scikit-learn, and their invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures import threshold_free

HEATMAP = np.array([[9, 7, 1], [8, 2, 0], [3, 6, 0]])
MASK = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
WITHIN = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
ALL = (
    threshold_free.auc,
    threshold_free.average_precision,
    threshold_free.relevance_mass,
    threshold_free.relevance_rank,
    threshold_free.pointing,
)
MASKS = arrays(bool, (5, 4)).filter(lambda mask: mask.any() and not mask.all())


def test_scores_by_hand():
    # In the mask: 9, 2, 6; out of it: 7, 1, 8, 0, 3, 0. Pairs in the right order: 6 + 3 + 4 of 18.
    assert threshold_free.auc(HEATMAP, MASK) == pytest.approx(13 / 18)
    # From the top 9* 8 7 6* 3 2* ...: precision 1/1, 2/4, 3/6, each for a third of the recall.
    assert threshold_free.average_precision(HEATMAP, MASK) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert threshold_free.relevance_mass(HEATMAP, MASK) == pytest.approx(17 / 36)
    assert threshold_free.relevance_density(HEATMAP, MASK) == pytest.approx(17 / 36 * 3)
    # The three hottest are 9*, 8, 7.
    assert threshold_free.relevance_rank(HEATMAP, MASK) == pytest.approx(1 / 3)
    assert threshold_free.pointing(HEATMAP, MASK) == 1


def test_within_counts_only_what_lies_there():
    # There are 9* 7 8 2*; the 6 of the mask lies elsewhere.
    assert threshold_free.auc(HEATMAP, MASK, WITHIN) == pytest.approx(2 / 4)
    assert threshold_free.average_precision(HEATMAP, MASK, WITHIN) == pytest.approx((1 + 2 / 4) / 2)
    assert threshold_free.relevance_mass(HEATMAP, MASK, WITHIN) == pytest.approx(11 / 26)
    assert threshold_free.relevance_density(HEATMAP, MASK, WITHIN) == pytest.approx(11 / 26 * 2)
    assert threshold_free.relevance_rank(HEATMAP, MASK, WITHIN) == pytest.approx(1 / 2)
    assert threshold_free.pointing(HEATMAP, MASK, WITHIN) == 1


def test_equal_values_are_shared_out():
    # Top: two of value 5, one in the mask; then three of value 1, one in the mask.
    heatmap, mask = np.array([[5, 5, 1, 1, 1]]), np.array([[1, 0, 1, 0, 0]], bool)
    # Pairs: 5* with 5 (1/2), 1, 1; 1* with 5 (0), 1 (1/2), 1 (1/2).
    assert threshold_free.auc(heatmap, mask) == pytest.approx((1 / 2 + 2 + 1) / 6)
    assert threshold_free.relevance_rank(heatmap, mask) == pytest.approx(1 / 2)
    assert threshold_free.pointing(heatmap, mask) == pytest.approx(1 / 2)
    mask = np.array([[1, 0, 1, 1, 0]], bool)
    # The third of the top three is any of the ones: two of three of them are in the mask.
    assert threshold_free.relevance_rank(heatmap, mask) == pytest.approx((1 + 2 / 3) / 3)


@pytest.mark.parametrize("score", [score for score in ALL if score is not threshold_free.auc])
def test_a_constant_heatmap_scores_the_share_of_the_area(score):
    for dtype in (np.uint8, np.float32):
        constant = np.full((3, 3), 7, dtype)
        assert score(constant, MASK) == pytest.approx(1 / 3)
        assert score(constant, MASK, WITHIN) == pytest.approx(1 / 2)
        assert threshold_free.auc(constant, MASK) == 0.5
        assert threshold_free.relevance_density(constant, MASK) == pytest.approx(1)


@given(arrays(np.uint8, (5, 4)), MASKS)
def test_scores_are_those_of_scikit_learn(heatmap, mask):
    flat = mask.ravel(), heatmap.ravel().astype(float)
    assert threshold_free.auc(heatmap, mask) == pytest.approx(metrics.roc_auc_score(*flat))
    assert threshold_free.average_precision(heatmap, mask) == pytest.approx(
        metrics.average_precision_score(*flat)
    )


@given(arrays(np.uint8, (5, 4)), MASKS)
def test_scores_by_rank_do_not_see_the_scale(heatmap, mask):
    other = np.exp(heatmap.astype(np.float64) / 40) - 3
    for score in (
        threshold_free.auc,
        threshold_free.average_precision,
        threshold_free.relevance_rank,
        threshold_free.pointing,
    ):
        assert score(heatmap, mask) == pytest.approx(score(other, mask))
    assert threshold_free.auc(heatmap, ~mask) == pytest.approx(1 - threshold_free.auc(heatmap, mask))


@given(st.data())
def test_within_is_the_same_as_cutting_out(data):
    heatmap, mask = data.draw(arrays(np.uint8, (5, 4))), data.draw(MASKS)
    within = np.zeros((5, 4), bool)
    within[1:4, :3] = True
    cut, cut_mask = heatmap[1:4, :3], mask[1:4, :3]
    if cut_mask.any() and not cut_mask.all() and cut.any():
        for score in ALL:
            assert score(heatmap, mask, within) == pytest.approx(score(cut, cut_mask))


@pytest.mark.parametrize("score", ALL)
def test_inputs_that_cannot_be_scored_say_why(score):
    with pytest.raises(DataError, match=r"heatmap has shape \(3, 3\), the mask has shape \(3, 2\)"):
        score(HEATMAP, MASK[:, :2])
    with pytest.raises(DataError, match=r"look within has shape \(2, 3\)"):
        score(HEATMAP, MASK, WITHIN[:2])
    with pytest.raises(DataError, match="mask must be an array of bool, but got int"):
        score(HEATMAP, MASK.astype(int))
    with pytest.raises(DataError, match=r"mask is empty.*0 of 9 pixels"):
        score(HEATMAP, np.zeros((3, 3), bool))
    with pytest.raises(DataError, match=r"mask is everything.*9 of 9"):
        score(HEATMAP, np.ones((3, 3), bool))
    with pytest.raises(DataError, match=r"mask is empty.*0 of 2"):
        score(HEATMAP, MASK, HEATMAP == 0)
    with pytest.raises(DataError, match="finite"):
        score(np.where(MASK, np.nan, 1.0), MASK)


def test_a_heatmap_without_mass_says_so_and_negative_values_hold_none():
    with pytest.raises(DataError, match="nowhere positive"):
        threshold_free.relevance_mass(-HEATMAP, MASK)
    assert threshold_free.relevance_mass(np.where(MASK, 1.0, -5.0), MASK) == 1
