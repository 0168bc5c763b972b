"""Baselines and permutation tests against brute force, and whether they keep their level under the null."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.seeds import generator
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.heatmap_set import _cells, _HeatmapSet, read_heatmaps
from ekman_expressions.measures.scores import _iou_table
from ekman_expressions.measures.uncertainty import (
    _max_statistic,
    _region_null,
    centre_distance,
    centre_ellipse,
    random_pixels,
    relabelling_test,
)

EKMAN = np.array([ekman_mask(name) for name in EXPRESSIONS])
MARKED = generator(5).random((2, 2, 3, 9, 8)) < 0.3
MASKS = generator(6).random((3, 9, 8)) < 0.4


def own_iou(marked, masks):
    """The IoU with the own mask, the mean over folds: (N, E)."""
    return np.diagonal(_iou_table(marked, masks), axis1=2, axis2=3).mean(axis=1)


def test_random_pixels_are_the_mean_over_all_ways_to_draw_them():
    mask = np.arange(9) < 3
    for count in range(10):
        drawn = [
            _iou_table(np.isin(np.arange(9), chosen)[None], mask[None, None])[0]
            for chosen in itertools.combinations(range(9), count)
        ]
        assert random_pixels(count, 3, 9) == pytest.approx(np.mean(drawn))


@pytest.mark.parametrize(("marked", "mask", "total"), [(14_000, 15_000, 61_600), (50, 20, 61_600), (1, 1, 2)])
def test_random_pixels_are_what_a_simulation_gives(marked, mask, total):
    overlap = np.random.default_rng(3).hypergeometric(mask, total - mask, marked, size=200_000)
    drawn = overlap / (marked + mask - overlap)
    error = drawn.std() / np.sqrt(drawn.size)
    assert random_pixels(marked, mask, total) == pytest.approx(drawn.mean(), abs=5 * error)


def test_ellipses_cover_what_they_say_and_touch_the_sides():
    for share in (0.1, 0.2, 0.3, 0.4, np.pi / 4):
        ellipse = centre_ellipse(share)
        assert ellipse.mean() == pytest.approx(share, abs=1e-3)
        np.testing.assert_array_equal(ellipse, ellipse[::-1, ::-1])
    assert ellipse.any(axis=0).all() and ellipse.any(axis=1).all() and not ellipse[0, 0]
    # The formula of the study's figures: ((x - 111.5) / 112, (y - 137) / 137.5).
    assert centre_distance()[100, 30] == pytest.approx(np.hypot(81.5 / 112, 37 / 137.5))


def test_region_null_is_the_iou_of_unions_of_about_the_area_less_that_of_the_mean_map():
    labels = np.kron(np.arange(6).reshape(2, 3), np.ones((5, 3), int))[:9, :8]
    nothing = np.zeros_like(MARKED[:, :, 0])
    null = _region_null(MARKED, nothing, MASKS, labels, seed=0, draws=20)
    np.testing.assert_allclose(null[0], own_iou(MARKED, MASKS))
    chosen = [np.flatnonzero(row) + 1 for row in itertools.product((False, True), repeat=5) if any(row)]
    unions = np.array([np.isin(labels, row) for row in chosen])
    possible = _iou_table(MARKED[1, :, 2], unions).mean(axis=0)
    assert all(np.isclose(possible, value).any() for value in null[1:, 1, 2])
    common = MARKED[:, :, 1]
    less = _region_null(MARKED, common, MASKS, labels, seed=0, draws=20)
    mean_map = _region_null(common[:, :, None].repeat(3, axis=2), nothing, MASKS, labels, seed=0, draws=20)
    np.testing.assert_allclose(less, null - mean_map, atol=1e-12)
    # A region for each pixel of a row; a heatmap that marks the row has the IoU size / row.
    labels, mask = np.repeat([np.arange(1, 41)], 3, axis=0), np.zeros((1, 3, 40), bool)
    mask[0, :, :10] = True
    null = _region_null(
        np.ones((1, 1, 1, 3, 40), bool), np.zeros((1, 1, 3, 40), bool), mask, labels, seed=1, draws=99
    )
    np.testing.assert_allclose(null[:, 0, 0], 10 / 40)


def heatmap_set(maps, masks=EKMAN):
    """Heatmaps of as many networks as there are, in one fold."""
    labels = (
        np.zeros(masks.shape[1:], int)
        if masks is not EKMAN
        else read_heatmaps(".", masks, (), (), print).labels
    )
    networks = tuple(f"n{place}" for place in range(len(maps)))
    present = np.ones((len(maps), 1, 6), bool)
    return _HeatmapSet(
        networks, ("CV1",), maps[:, None], present, masks, np.ones(masks.shape[1:], bool), labels
    )


def test_maps_that_know_no_expression_stand_out_in_no_cell_and_planted_ones_do():
    """A centred ellipse overlaps disgust's mask by 0.79: once it was called significant, p = 0.0001."""
    random = generator(10)
    ellipses = [np.repeat(centre_ellipse(share)[None], 6, axis=0) for share in (0.2, 0.3, 0.4)]
    noise = [np.array([random.random(SHAPE) < mask.mean() for mask in EKMAN]) for _ in range(9)]
    found = _cells(heatmap_set(np.uint8(255) * np.array(ellipses + noise)), 0)
    assert (found["p_corrected"] > 0.05).all() and len(found) == 6 * (12 + 4)
    assert (found["p"][:18] > 0.05).all() and (found["p"][18:72] < 0.05).mean() < 0.1
    controls = found.query("kind == 'control'")
    assert set(controls["network"]) == {*(f"centred ellipse, {s}%" for s in (20, 30, 40)), "face prior"}
    assert (
        (controls["p"] == 1).all() and (controls["above_mean_map"] == 0).all() and controls["iou"].max() > 0.7
    )
    planted = _cells(heatmap_set(np.uint8(255) * EKMAN[None]), 0)
    assert (planted["p_corrected"][:6] < 0.05).sum() >= 4


def test_regions_are_drawn_with_their_mirror_images():
    labels = heatmap_set(np.zeros((1, 6, *SHAPE), np.uint8)).labels
    pairs = [labels[atlas().region(f"{side}_eye")] for side in ("left", "right")]
    assert (
        len(set(np.concatenate(pairs))) == 1
        and labels.max() == 29
        and (labels[atlas().labels == 0] == 0).all()
    )


def test_p_of_random_regions_is_uniform_for_masks_of_random_regions():
    labels = np.kron(np.arange(1, 21).reshape(4, 5), np.ones((20, 20), int))
    p = []
    for time in range(300):
        # Large regions, so that two unions seldom score the same.
        marked = generator(7, time).random((1, 1, 1, 80, 100)) < 0.4
        mask = np.isin(labels, generator(8, time).permutation(20)[:6] + 1)
        nothing = np.zeros((1, 1, 80, 100), bool)
        null = _region_null(marked, nothing, mask[None], labels, seed=1000 + time, draws=99)[:, 0]
        p.append(_max_statistic(null[0], null)[0][0])
    assert stats.kstest(p, "uniform").pvalue > 0.01


@given(arrays(np.float64, (2, 4, 4), elements=st.floats(0, 1)))
def test_relabelling_is_the_brute_force_over_all_orders(table):
    found = relabelling_test(table)
    mean = table.mean(axis=0)
    brute = [np.mean([mean[e, order[e]] for e in range(4)]) for order in itertools.permutations(range(4))]
    # The identity comes first, and is one of the relabellings.
    assert len(found.null) == 24 and found.null[0] == found.observed == pytest.approx(np.trace(mean) / 4)
    np.testing.assert_allclose(sorted(found.null), sorted(brute), atol=1e-12)
    assert found.p == pytest.approx(np.mean(np.array(brute) >= np.trace(mean) / 4 - 1e-12))


def test_the_best_labels_have_the_smallest_p():
    assert relabelling_test(np.eye(6)).p == 1 / 720
    assert relabelling_test(-np.eye(6)).p == pytest.approx(1)
    assert relabelling_test(np.ones((6, 6))).p == 1
    # What every mask, or every heatmap, has in common plays no role.
    table = generator(1).random((6, 6))
    shifted = table + np.arange(6) + 7 * np.arange(6)[:, None]
    assert relabelling_test(table).p == relabelling_test(shifted).p


def test_areas_alone_do_not_fit_the_own_masks():
    """Random pixels, as many as the own mask has: pairing large with large is the best relabelling of plain IoU."""
    masks, random = EKMAN[:, ::8, ::8], generator(11)
    draws = [np.argsort(np.argsort(random.random(masks[0].size))) for _ in range(6 * 300)]
    marked = np.array(draws).reshape(300, 6, *masks[0].shape) < masks.sum(axis=(1, 2))[:, None, None]
    found = heatmap_set(np.uint8(255) * marked, masks)
    areas_out, plain = (
        np.mean([relabelling_test(of_network[0]).p <= 0.05 for of_network in table["iou"]])
        for table in (found.compared, found.tables)
    )
    assert 0.02 < areas_out < 0.09 and plain > 2 * areas_out


def test_missing_heatmaps_are_left_out():
    table = np.eye(3) + 0.1
    table[2] = np.nan
    found = relabelling_test(table)
    # Orders that give the first two their own masks: 1 of 6.
    assert found.observed == pytest.approx(1.1) and found.p == pytest.approx(1 / 6)
    assert np.isnan(relabelling_test(np.full((3, 3), np.nan)).p)
    for bad in (np.ones((3, 2)), np.ones((9, 9))):
        with pytest.raises(DataError, match="at most 8 expressions"):
            relabelling_test(bad)


def test_the_max_statistic_is_the_brute_force():
    null = generator(3).normal(size=(50, 4)) * [1, 2, 5, 1] + [0, 1, 9, 0]
    observed = null[0] + [0, 6, 0, np.nan]
    p, corrected = _max_statistic(observed, null)
    scaled = (null - null.mean(axis=0)) / null.std(axis=0)
    reached = (observed - null.mean(axis=0)) / null.std(axis=0)
    for cell in range(3):
        assert p[cell] == np.mean(scaled[:, cell] >= reached[cell] - 1e-9)
        largest = scaled[:, :3].max(axis=1)
        assert corrected[cell] == pytest.approx(np.mean(largest >= reached[cell] - 1e-9))
    assert np.isnan([p[3], corrected[3]]).all() and (corrected[:3] >= p[:3]).all()
    # What never varies cannot stand out.
    assert (np.array(_max_statistic(np.ones(2), np.ones((5, 2)))) == 1).all()
