"""Scores by hand on 3 × 3 heatmaps, against scikit-learn and brute force, and their invariants."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.runtime import generator
from ekman_expressions.facespace.heatmaps import threshold_otsu
from ekman_expressions.measures import METRICS, auc, layout, mask_scores, scores, scores_at_otsu, summarise

HEATMAP = np.array([[9, 7, 1], [8, 2, 0], [3, 6, 0]], np.uint8)
MASK = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
WITHIN = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
MARKED = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
REFERENCE = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]], bool)
# Both: 2 pixels; only marked: 1; only in the reference: 2.
BY_HAND = pytest.approx({"iou": 2 / 5, "f1_score": 4 / 7, "precision": 2 / 3, "recall": 2 / 4})
PAIRS = st.tuples(arrays(bool, (4, 5)), arrays(bool, (4, 5))).filter(lambda pair: all(m.any() for m in pair))
MASKS = arrays(bool, (5, 4)).filter(lambda mask: mask.any() and not mask.all())


def iou(marked, mask):
    return mask_scores(marked, mask)["iou"]


def test_scores_by_hand_of_masks_and_of_what_lies_above_a_threshold():
    assert mask_scores(MARKED, REFERENCE) == BY_HAND
    nothing = mask_scores(np.zeros((3, 3), bool), REFERENCE)
    assert nothing["iou"] == 0 and np.isnan(nothing["precision"])
    heatmap = np.array([[200, 210, 20], [220, 10, 10], [15, 12, 11]], np.uint8)
    assert scores_at_otsu(heatmap, REFERENCE) == BY_HAND
    # With two gray values Otsu's level is the lower one: what equals the level is not marked.
    heatmap = np.where(MARKED, 9, 7).astype(np.uint8)
    assert scores_at_otsu(heatmap, REFERENCE) == BY_HAND
    with pytest.raises(DataError, match="heatmap is 255 everywhere.*Leave it out"):
        scores_at_otsu(np.full((3, 3), 255, np.uint8), MASK)


@given(PAIRS)
def test_scores_of_masks_are_those_of_scikit_learn(pair):
    marked, mask = pair
    flat = mask.ravel(), marked.ravel()
    found = mask_scores(marked, mask)
    assert found["iou"] == pytest.approx(metrics.jaccard_score(*flat)) == mask_scores(mask, marked)["iou"]
    assert found["f1_score"] == pytest.approx(metrics.f1_score(*flat))
    assert found["precision"] == pytest.approx(metrics.precision_score(*flat))
    assert found["recall"] == pytest.approx(metrics.recall_score(*flat))


def test_every_marked_area_is_compared_with_every_mask():
    random = generator(0)
    marked, masks = random.random((2, 3, 6, 7)) < 0.4, random.random((4, 6, 7)) < 0.5
    table = scores._iou_table(marked, masks)
    assert table.shape == (2, 3, 4)
    for place in np.ndindex(table.shape):
        assert table[place] == iou(marked[place[:2]], masks[place[2]])
    assert (scores._iou_table(np.zeros((6, 7), bool), masks) == 0).all()


def test_auc_by_hand():
    # In the mask: 9, 2, 6; out of it: 7, 1, 8, 0, 3, 0. Pairs in the right order: 6 + 3 + 4 of 18.
    assert auc(HEATMAP, MASK) == pytest.approx(13 / 18)
    # Within there are 9* 7 8 2*; the 6 of the mask lies elsewhere.
    assert auc(HEATMAP, MASK, WITHIN) == pytest.approx(2 / 4)
    # Equal values are shared out: pairs of 5* with 5 (1/2), 1, 1; 1* with 5 (0), 1 (1/2), 1 (1/2).
    heatmap, mask = np.array([[5, 5, 1, 1, 1]]), np.array([[1, 0, 1, 0, 0]], bool)
    assert auc(heatmap, mask) == pytest.approx((1 / 2 + 2 + 1) / 6)
    assert auc(np.full((3, 3), 7), MASK) == 0.5


@given(arrays(np.uint8, (5, 4)), MASKS)
def test_auc_is_that_of_scikit_learn_whatever_the_scale(heatmap, mask):
    found = auc(heatmap, mask)
    assert found == pytest.approx(metrics.roc_auc_score(mask.ravel(), heatmap.ravel().astype(float)))
    assert found == pytest.approx(auc(np.exp(heatmap.astype(np.float64) / 40) - 3, mask))
    assert auc(heatmap, ~mask) == pytest.approx(1 - found)


@pytest.mark.parametrize(
    ("said", "given"),
    [
        (r"mask must be bool.*\(3, 3\), but got bool of shape \(3, 2\)", (HEATMAP, MASK[:, :2])),
        (r"look within must be.*of shape \(2, 3\)", (HEATMAP, MASK, WITHIN[:2])),
        ("mask must be bool.*got int", (HEATMAP, MASK.astype(int))),
        ("mask is empty.*0 of 9 pixels", (HEATMAP, MASK & False)),
        ("mask is everything.*9 of 9", (HEATMAP, MASK | True)),
        ("finite", (np.where(MASK, np.nan, 1.0), MASK)),
    ],
)
def test_scores_within_an_area_say_what_does_not_fit(said, given):
    with pytest.raises(DataError, match=said):
        auc(*given)


def test_thresholds_by_hand():
    # From the top 9* 8 7 6* 3 2* 1 0 0: hits among the first k are 1 1 1 2 2 3 3 3 3.
    expected = [0, 1 / 3, 1 / 4, 1 / 5, 2 / 5, 2 / 6, 3 / 6, 3 / 7, 3 / 8, 3 / 9]
    np.testing.assert_allclose(scores._area_curve(HEATMAP, MASK, np.arange(10) / 9), expected)
    # Half of the four equal pixels, of which two are in the mask: 1 hit of 2 marked.
    flat, half = np.full((2, 2), 5, np.uint8), np.array([[1, 1], [0, 0]], bool)
    np.testing.assert_allclose(scores._area_curve(flat, half, [0.5, 1]), [1 / 3, half.mean()])
    found = scores._iou_by_threshold(HEATMAP, MASK)
    assert tuple(found) == scores._THRESHOLDS
    assert found["iou_mask_area"] == pytest.approx(1 / 5) and found["iou_best_f1"] == pytest.approx(3 / 6)
    marked = threshold_otsu(HEATMAP)[1]
    assert found["iou_otsu"] == pytest.approx(iou(marked, MASK))
    within = scores._iou_by_threshold(HEATMAP, MASK, WITHIN)
    assert within["iou_mask_area"] == pytest.approx(1 / 3)
    assert within["iou_otsu"] == pytest.approx(iou(marked & WITHIN, MASK & WITHIN))


@given(arrays(np.uint8, (5, 4)), MASKS)
def test_the_curve_passes_through_every_threshold(gray, mask):
    for level in np.unique(gray):
        marked = gray >= level
        found = scores._area_curve(gray, mask, [marked.mean()])
        assert found[0] == pytest.approx(iou(marked, mask))
        assert iou(marked, mask) <= scores._iou_by_threshold(gray, mask)["iou_best_f1"] + 1e-12


def test_residuals_by_hand():
    masks, there = np.array([[[1, 0, 0]], [[0, 1, 0]]], bool), np.ones((1, 1, 2), bool)
    maps = np.array([[[[[3.0, 0, 0]], [[0.0, 2, 0]]]]])
    # Scaled they are mirror images, (1, -1, 0) once the means are gone, as are the masks.
    np.testing.assert_allclose(scores._residual_table(maps, masks, there)[0, 0], [[1, -1], [-1, 1]])
    # Of one map alone, or of equal ones, nothing specific is left.
    assert np.isnan(scores._residual_table(maps, masks, np.array([[[True, False]]]))).all()
    assert np.isnan(scores._residual_table(maps[:, :, :1].repeat(2, axis=2), masks, there)).all()


CELLS = pd.DataFrame(
    [
        (network, fold, expression, *(value,) * 4)
        for network, expression, values in (
            ("B", "anger", (0.2, 0.4)),
            ("B", "fear", (0.6, np.nan)),
            ("A", "anger", (0.1, 0.1)),
            ("A", "fear", (np.nan, np.nan)),
        )
        for fold, value in zip(("CV1", "CV2"), values, strict=True)
    ],
    columns=["network", "fold", "expression", *METRICS],
)


def test_averages_are_plain_means_of_the_cells_there_are():
    table = summarise(CELLS)
    wide = layout(table, ["iou", "f1_score"])
    table = table.set_index(["network", "expression"])["iou"]
    assert list(table.index) == list(product(("B", "A", "Average"), ("Anger", "Fear", "Average")))
    expected = [0.3, 0.6, 0.45, 0.1, np.nan, 0.1, 0.2, 0.6, (0.3 + 0.6 + 0.1) / 3]
    np.testing.assert_allclose(table, expected)
    # For readers, networks are rows and expressions columns.
    assert list(wide.index) == ["B", "A", "Average"]
    assert list(wide.columns) == list(product(("Anger", "Fear", "Average"), ("IoU", "F1")))
    assert wide.loc["B", ("Average", "F1")] == pytest.approx(0.45)
