"""Baselines by hand, against brute force, and against simulation; thresholds on 3 × 3 heatmaps."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.seeds import generator
from ekman_expressions.facespace.heatmaps import threshold_otsu
from ekman_expressions.measures import baselines, thresholds
from ekman_expressions.measures.scores import iou

HEATMAP = np.array([[9, 7, 1], [8, 2, 0], [3, 6, 0]], np.uint8)
MASK = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
MASKS = arrays(bool, (4, 5)).filter(lambda mask: mask.any() and not mask.all())


def test_random_pixels_are_the_mean_over_all_ways_to_draw_them():
    mask = MASK.ravel()
    for count in range(10):
        found = [
            iou(np.isin(np.arange(9), chosen), mask) for chosen in itertools.combinations(range(9), count)
        ]
        assert baselines.random_pixels(count, 3, 9) == pytest.approx(np.mean(found))


@pytest.mark.parametrize(("marked", "mask", "total"), [(14_000, 15_000, 61_600), (50, 20, 61_600), (1, 1, 2)])
def test_random_pixels_are_what_a_simulation_gives(marked, mask, total):
    drawn = baselines.simulated_pixels(marked, mask, total, seed=3, draws=200_000)
    error = drawn.std() / np.sqrt(drawn.size)
    assert baselines.random_pixels(marked, mask, total) == pytest.approx(drawn.mean(), abs=5 * error)


@given(st.data())
def test_shifts_are_those_of_numpy(data):
    marked, mask = data.draw(arrays(bool, (4, 5))), data.draw(MASKS)
    found = baselines.shifted(marked, mask)
    for row, column in itertools.product(range(4), range(5)):
        assert found[row, column] == pytest.approx(iou(np.roll(marked, (row, column), (0, 1)), mask))


def test_every_marked_area_is_compared_with_every_mask():
    random = generator(0)
    marked, masks = random.random((2, 3, 6, 7)) < 0.4, random.random((4, 6, 7)) < 0.5
    table = baselines.iou_table(marked, masks)
    assert table.shape == (2, 3, 4)
    for place in np.ndindex(table.shape):
        assert table[place] == pytest.approx(iou(marked[place[:2]], masks[place[2]]))
    assert (baselines.iou_table(np.zeros((6, 7), bool), masks) == 0).all()


def test_ellipses_cover_what_they_say_and_touch_the_sides():
    for share in (0.1, 0.2, 0.3, 0.4, np.pi / 4):
        ellipse = baselines.centre_ellipse(share)
        assert ellipse.mean() == pytest.approx(share, abs=1e-3)
        np.testing.assert_array_equal(ellipse, ellipse[::-1, ::-1])
    assert ellipse.any(axis=0).all() and ellipse.any(axis=1).all() and not ellipse[0, 0]
    # The formula of the study's figures: ((x - 111.5) / 112, (y - 137) / 137.5).
    assert baselines.centre_distance()[100, 30] == pytest.approx(np.hypot(81.5 / 112, 37 / 137.5))
    with pytest.raises(SettingsError, match="share"):
        baselines.centre_ellipse(0)


def test_priors_are_means():
    masks = np.array([MASK, MASK, ~MASK])
    np.testing.assert_array_equal(baselines.mean_of_masks(masks), MASK * np.uint8(255))
    maps = np.array([HEATMAP, HEATMAP[::-1]])
    assert baselines.face_prior(maps).max() == 255
    np.testing.assert_array_equal(baselines.face_prior(maps), baselines.face_prior(maps[:, ::-1]))
    with pytest.raises(DataError, match="no heatmap"):
        baselines.face_prior([])


def test_bad_masks_say_why():
    with pytest.raises(DataError, match=r"shape \(3, 3\), but the masks \(3, 2\)"):
        baselines.iou_table(MASK, MASK[None, :, :2])
    with pytest.raises(DataError, match="bool, but got uint8"):
        baselines.iou_table(HEATMAP, MASK[None])
    with pytest.raises(DataError, match="empty"):
        baselines.iou_table(MASK, np.array([MASK, MASK & ~MASK]))
    with pytest.raises(DataError, match="empty"):
        baselines.shifted(MASK, MASK & ~MASK)
    with pytest.raises(DataError, match=r"\(3, 3\), but the mask \(3, 2\)"):
        baselines.shifted(MASK, MASK[:, :2])


def test_thresholds_by_hand():
    np.testing.assert_array_equal(thresholds.top(HEATMAP, 3 / 9), HEATMAP >= 7)
    # Equal values in row order: the first zero before the second.
    assert thresholds.top(HEATMAP, 8 / 9).sum() == 8 and not thresholds.top(HEATMAP, 8 / 9)[2, 2]
    assert thresholds.top(HEATMAP, 0).sum() == 0 and thresholds.top(HEATMAP, 1).all()
    # From the top 9* 8 7 6* 3 2* 1 0 0: hits among the first k are 1 1 1 2 2 3 3 3 3.
    expected = [0, 1 / 3, 1 / 4, 1 / 5, 2 / 5, 2 / 6, 3 / 6, 3 / 7, 3 / 8, 3 / 9]
    np.testing.assert_allclose(thresholds.area_curve(HEATMAP, MASK, np.arange(10) / 9), expected)
    assert thresholds.best_f1(HEATMAP, MASK) == (pytest.approx(2 / 3), pytest.approx(6 / 9))
    found = thresholds.iou_by_threshold(HEATMAP, MASK)
    assert found["iou_mask_area"] == pytest.approx(1 / 5)
    assert found["iou_best_f1"] == pytest.approx(3 / 6)
    assert found["iou_otsu"] == pytest.approx(iou(threshold_otsu(HEATMAP)[1], MASK))
    assert tuple(found) == thresholds.THRESHOLDS


def test_pixels_of_equal_value_are_taken_in_part():
    # Half of the four equal pixels, of which two are in the mask: 1 hit of 2 marked.
    heatmap, mask = np.full((2, 2), 5, np.uint8), np.array([[1, 1], [0, 0]], bool)
    assert thresholds.area_curve(heatmap, mask, [0.5])[0] == pytest.approx(1 / 3)
    assert thresholds.area_curve(heatmap, mask, [1])[0] == pytest.approx(mask.mean())


@given(arrays(np.uint8, (4, 5)), MASKS)
def test_the_curve_passes_through_every_threshold(gray, mask):
    for level in np.unique(gray):
        marked = gray >= level
        found = thresholds.area_curve(gray, mask, [marked.mean()])
        assert found[0] == pytest.approx(iou(marked, mask))
        assert iou(marked, mask) <= thresholds.iou_by_threshold(gray, mask)["iou_best_f1"] + 1e-12


def test_thresholds_within_an_area_count_only_what_lies_there():
    within = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
    cut = thresholds.iou_by_threshold(HEATMAP, MASK, within)
    assert cut["iou_mask_area"] == pytest.approx(1 / 3)
    marked = threshold_otsu(HEATMAP)[1]
    assert cut["iou_otsu"] == pytest.approx(iou(marked & within, MASK & within))
    with pytest.raises(DataError, match="Shares"):
        thresholds.area_curve(HEATMAP, MASK, [1.2])
