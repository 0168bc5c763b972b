"""Permutation tests against brute force, and whether they keep their level when there is nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.seeds import generator
from ekman_expressions.measures import baselines, draws, permutation, residuals

MARKED = generator(5).random((2, 2, 3, 9, 8)) < 0.3
MASKS = generator(6).random((3, 9, 8)) < 0.4


@given(arrays(np.float64, (2, 4, 4), elements=st.floats(0, 1)))
def test_relabelling_is_the_brute_force_over_all_orders(table):
    found = permutation.relabelling_test(table)
    mean = table.mean(axis=0)
    brute = [np.mean([mean[e, order[e]] for e in range(4)]) for order in itertools.permutations(range(4))]
    assert len(found.null) == 24 and found.observed == pytest.approx(np.trace(mean) / 4)
    np.testing.assert_allclose(sorted(found.null), sorted(brute), atol=1e-12)
    expected = np.mean(np.array(brute) >= np.trace(mean) / 4 - 1e-12)
    assert found.p == pytest.approx(expected)


def test_the_best_labels_have_the_smallest_p():
    assert permutation.relabelling_test(np.eye(6)).p == 1 / 720
    assert permutation.relabelling_test(-np.eye(6)).p == pytest.approx(1)
    assert permutation.relabelling_test(np.ones((6, 6))).p == 1
    # What every mask, or every heatmap, has in common plays no role.
    table = generator(1).random((6, 6))
    shifted = table + np.arange(6) + 7 * np.arange(6)[:, None]
    assert permutation.relabelling_test(table).p == permutation.relabelling_test(shifted).p


def test_p_is_uniform_when_heatmaps_know_nothing_of_the_masks():
    p = [permutation.relabelling_test(generator(2, time).random((3, 6, 6))).p for time in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_missing_heatmaps_are_left_out_and_said():
    table = np.eye(3) + 0.1
    table[2] = np.nan
    found = permutation.relabelling_test(table)
    # Orders that give the first two their own masks: 1 of 6.
    assert found.observed == pytest.approx(1.1) and found.p == pytest.approx(1 / 6)
    assert np.isnan(permutation.relabelling_test(np.full((3, 3), np.nan)).p)
    cells = permutation.cell_table(np.array([[[[1.0, 2.0]], [[3.0, np.nan]]]]))
    np.testing.assert_array_equal(cells, [[[2.0, 2.0]]])
    with pytest.raises(DataError, match="mask for each expression"):
        permutation.relabelling_test(np.ones((3, 2)))
    with pytest.raises(DataError, match="1 to 8"):
        permutation.relabellings(9)


def test_own_is_best_by_hand():
    table = np.array([[0.5, 0.4, 0.1], [0.9, 0.2, 0.1], [0.3, 0.2, 0.3]])
    assert permutation.own_is_best(table) == pytest.approx(2 / 3)
    table[1] = np.nan
    assert permutation.own_is_best(table) == 1
    assert np.isnan(permutation.own_is_best(np.full((3, 3), np.nan)))


def test_the_max_statistic_is_the_brute_force():
    null = generator(3).normal(size=(50, 4)) * [1, 2, 5, 1] + [0, 1, 9, 0]
    observed = null[0] + [0, 6, 0, np.nan]
    p, corrected = permutation.max_statistic(observed, null)
    scale, middle = null.std(axis=0), null.mean(axis=0)
    for cell in range(3):
        reached = (observed[cell] - middle[cell]) / scale[cell]
        largest = [max((row[c] - middle[c]) / scale[c] for c in range(3)) for row in null]
        assert p[cell] == np.mean((null[:, cell] - middle[cell]) / scale[cell] >= reached - 1e-9)
        assert corrected[cell] == pytest.approx(np.mean(np.array(largest) >= reached - 1e-9))
    assert np.isnan([p[3], corrected[3]]).all() and (corrected[:3] >= p[:3]).all()
    with pytest.raises(DataError, match="each cell"):
        permutation.max_statistic(observed, null[:, :3])
    constant = permutation.max_statistic(np.ones(2), np.ones((5, 2)))
    assert np.isnan(constant).all()


def test_the_correction_keeps_the_family_wise_error():
    """20 cells without an effect, alike in pairs: the smallest corrected p is uniform."""
    smallest = []
    for time in range(300):
        null = generator(4, time).normal(size=(200, 20))
        null[:, 1::2] += null[:, ::2]
        smallest.append(np.nanmin(permutation.max_statistic(null[0], null)[1]))
    assert stats.kstest(smallest, "uniform").pvalue > 0.01


def test_shifts_of_all_heatmaps_alike_are_the_brute_force():
    null = draws.shift_null(MARKED, MASKS)
    assert null.shape == (72, 6)
    for place, (row, column) in enumerate(itertools.product(range(9), range(8))):
        rolled = np.roll(MARKED, (row, column), (-2, -1))
        table = baselines.iou_table(rolled, MASKS)
        expected = np.diagonal(table, axis1=2, axis2=3).mean(axis=1).ravel()
        np.testing.assert_allclose(null[place], expected, rtol=1e-5)
    nothing = MARKED.copy()
    nothing[0, :, 1] = False
    assert np.isnan(draws.shift_null(nothing, MASKS)[:, 1]).all()
    assert draws.shift_null(MARKED, MASKS, step=3).shape == (9, 6)


def test_p_of_shifts_is_uniform_when_a_blob_lies_anywhere():
    blob, mask = np.zeros((12, 10), bool), np.zeros((12, 10), bool)
    blob[:5, :4] = mask[3:8, 2:7] = True
    places = itertools.product(range(12), range(10))
    p = []
    for shift in places:
        null = draws.shift_null(np.roll(blob, shift, (0, 1))[None, None, None], mask[None])
        p.append(permutation.max_statistic(null[0], null)[0][0])
    # Over all places, exactly: the share of places with p <= t is t, at each p that occurs.
    assert all(np.mean(np.array(p) <= value) == pytest.approx(value) for value in p)


def test_regions_are_taken_until_the_area_is_near():
    areas = np.array([5, 3, 8, 2, 6, 4, 7, 9])
    chosen = draws.random_regions(areas, 20, seed=1, draws=500)
    sizes = chosen @ areas
    assert chosen.any(axis=1).all() and (np.abs(sizes - 20) <= 4.5).all()
    np.testing.assert_array_less(0.05, chosen.mean(axis=0))
    assert (draws.random_regions(areas, 1, seed=1, draws=50).sum(axis=1) == 1).all()


def test_p_of_random_regions_is_uniform_for_masks_of_random_regions():
    labels = np.kron(np.arange(1, 21).reshape(4, 5), np.ones((20, 20), int))
    p = []
    for time in range(300):
        # Large regions, so that two unions seldom score the same.
        marked = generator(7, time).random((1, 1, 1, 80, 100)) < 0.4
        chosen = draws.random_regions(np.full(20, 400), 2400, seed=time, draws=1)[0]
        mask = np.isin(labels, np.flatnonzero(chosen) + 1)
        null = draws.region_null(marked, mask[None], labels, seed=1000 + time, draws=99)
        p.append(permutation.max_statistic(null[0], null)[0][0])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    with pytest.raises(DataError, match="do not fit"):
        draws.region_null(marked, mask[None], labels[:5], seed=0)


def test_region_null_is_the_iou_of_unions():
    labels = np.kron(np.arange(6).reshape(2, 3), np.ones((5, 3), int))[:9, :8]
    null = draws.region_null(MARKED, MASKS, labels, seed=0, draws=20)
    own = np.diagonal(baselines.iou_table(MARKED, MASKS), axis1=2, axis2=3).mean(axis=1)
    np.testing.assert_allclose(null[0], own.ravel())
    areas = np.bincount(labels.ravel())[1:]
    unions = [
        np.isin(labels, np.flatnonzero(row) + 1)
        for subset in itertools.product((False, True), repeat=5)
        for row in [np.array(subset)]
        if row.any()
    ]
    possible = baselines.iou_table(MARKED[1, :, 2], np.array(unions)).mean(axis=0)
    assert areas.size == 5 and all(np.isclose(possible, value).any() for value in null[1:, 5])


def test_residuals_see_what_is_specific_and_nothing_else():
    masks = np.zeros((3, 6, 6), bool)
    for place in range(3):
        masks[place, 2 * place : 2 * place + 2] = True
    common = 50 * generator(8).random((6, 6))
    maps = (common + masks[None, None] * 5.0).repeat(2, axis=1)
    table = residuals.residual_table(maps, masks)
    assert table.shape == (1, 2, 3, 3) and permutation.relabelling_test(table[0]).p == pytest.approx(1 / 6)
    assert (np.diagonal(table, axis1=2, axis2=3) > 0.8).all()
    # Only the middle: nothing specific is left.
    assert np.isnan(residuals.residual_table(np.broadcast_to(common, maps.shape), masks)).all()


def test_residuals_by_hand():
    masks = np.array([[[1, 0, 0]], [[0, 1, 0]]], bool)
    maps = np.array([[[[[3.0, 0, 0]], [[0.0, 2, 0]]]]])
    # Scaled they are mirror images, (1, -1, 0) once the means are gone, as are the masks.
    np.testing.assert_allclose(residuals.residual_table(maps, masks)[0, 0], [[1, -1], [-1, 1]])
    present = np.array([[[True, False]]])
    assert np.isnan(residuals.residual_table(maps, masks, present)).all()
    with pytest.raises(DataError, match="do not fit"):
        residuals.residual_table(maps, masks[:, :, :2])
