"""Chance, intervals and ranks: by hand, against brute force, and how often they hold what they should."""

from dataclasses import replace
from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.runtime import generator
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.heatmap_set import (
    _cells,
    _HeatmapSet,
    _known_figures,
    _over_subjects,
    assess,
    read_heatmaps,
)
from ekman_expressions.measures.scores import _iou_table
from ekman_expressions.measures.uncertainty import (
    _cluster_bootstrap,
    _compare_networks,
    _corrected_interval,
    _fold_of,
    _holm,
    _Interval,
    _interval_of,
    _max_statistic,
    _rank_sets,
    _region_null,
    centre_distance,
    centre_ellipse,
    random_pixels,
    relabelling_test,
    split_half,
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
            for chosen in combinations(range(9), count)
        ]
        assert random_pixels(count, 3, 9) == pytest.approx(np.mean(drawn))


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
    chosen = [np.flatnonzero(row) + 1 for row in product((False, True), repeat=5) if any(row)]
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
    row = np.ones((1, 1, 1, 3, 40), bool)
    null = _region_null(row, ~row[0], mask, labels, seed=1, draws=99)
    np.testing.assert_allclose(null[:, 0, 0], 10 / 40)


def heatmap_set(maps, masks=EKMAN):
    """Heatmaps of as many networks as there are, in one fold."""
    everywhere = np.ones(masks.shape[1:], bool)
    labels = read_heatmaps(".", masks, (), (), print).labels if masks is EKMAN else 0 * everywhere
    networks = tuple(f"n{place}" for place in range(len(maps)))
    present = np.ones((len(maps), 1, 6), bool)
    return _HeatmapSet(networks, ("CV1",), maps[:, None], present, masks, everywhere, labels)


def test_heatmaps_that_are_the_masks_have_tables_known_beforehand():
    """Two networks whose heatmaps are the masks, and one that marks the mask of the next expression."""
    own, size = _iou_table(EKMAN, EKMAN), EKMAN[0].size
    tables = np.array([own, own, np.roll(own, -1, axis=0)])
    found = heatmap_set(np.uint8(255) * np.array([EKMAN, EKMAN, np.roll(EKMAN, -1, axis=0)]))
    diagonal = np.diagonal(tables, axis1=1, axis2=2).mean()
    others = (tables.sum() / 18 - diagonal) / 5
    assessed = assess(found, seed=0)
    mean = assessed["baselines"].query("score == 'iou' and expression == 'Average'")
    mean = mean.set_index("baseline")["value"]
    assert mean["heatmaps"] == pytest.approx(diagonal) and mean["other_masks"] == pytest.approx(others)
    assert _known_figures(found)["others"] == pytest.approx(others)
    # Relabelling compares IoU above what so many random pixels would have.
    areas = EKMAN.sum(axis=(1, 2))
    chance = np.mean([random_pixels(area, area, size) for area in areas])
    tests = assessed["tests"].query("score == 'iou'").set_index("network")
    assert tests["observed"]["n0"] == pytest.approx(1 - chance)
    assert tests["p"][["n0", "n1"]].tolist() == pytest.approx([1 / 720] * 2)
    # Corrected for three networks; all of them together are one test.
    assert tests["p_holm"][["n0", "n1"]].tolist() == pytest.approx([3 / 720] * 2)
    assert tests["p_holm"]["all"] == tests["p"]["all"]
    assert tests["own_is_best"][["n0", "n2"]].tolist() == [1, 0]


def test_a_model_with_one_heatmap_has_no_mean_map_to_stand_out_from():
    found = heatmap_set(np.uint8(255) * np.array([EKMAN, EKMAN]))
    present = found.present.copy()
    present[0, 0, 1:] = False
    cells = _cells(replace(found, present=present), 0)
    assert cells["p"][:6].isna().all() and cells["p"][6:12].notna().all()


def test_the_hottest_tenth_holds_a_tenth_of_the_pixels_and_of_equal_ones_the_first():
    rows = np.repeat(np.minimum(np.arange(SHAPE[0]), 255)[:, None], SHAPE[1], axis=1).astype(np.uint8)
    hottest = np.zeros(SHAPE, bool)
    # 6,160 pixels: 27 whole rows, and half of the one above them.
    hottest[248:], hottest[247, :112] = True, True
    found = _known_figures(heatmap_set(np.repeat(rows[None, None], 6, axis=1)))
    assert found["area_10"] == pytest.approx(_iou_table(hottest, EKMAN).mean())


def test_subjects_are_drawn_within_folds_which_cost_a_degree_of_freedom_each():
    replicates = generator(3).normal(0.5, 0.1, 400)
    # Two trainings of one fold share its people; a fold without any does not count.
    found = _over_subjects(0.5, replicates, np.array([4, 3, 5, 0]), ["CV1", "CV1_S1", "CV2", "CV3"])
    assert found.units == 9
    reach = stats.t.ppf(0.975, 7) * np.sqrt(9 / 7) * replicates.std(ddof=1)
    assert (found.low, found.high) == pytest.approx((0.5 - reach, 0.5 + reach))
    # A stratum needs two units.
    assert _interval_of(0.3, np.ones(9), 4, strata=4) == _Interval(0.3, units=4)


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
    assert (controls["p"] == 1).all() and (controls["above_mean_map"] == 0).all()
    assert controls["iou"].max() > 0.7
    planted = heatmap_set(np.uint8(255) * EKMAN[None])
    assert (_cells(planted, 0)["p_corrected"][:6] < 0.05).sum() >= 4
    # Regions are drawn with their mirror images.
    left, right = (planted.labels[atlas().region(f"{side}_eye")] for side in ("left", "right"))
    assert len({*left, *right}) == 1 and planted.labels.max() == 29
    assert (planted.labels[atlas().labels == 0] == 0).all()


@given(arrays(np.float64, (2, 4, 4), elements=st.floats(0, 1)))
def test_relabelling_is_the_brute_force_over_all_orders(table):
    found = relabelling_test(table)
    mean = table.mean(axis=0)
    brute = [np.mean([mean[e, order[e]] for e in range(4)]) for order in permutations(range(4))]
    # The identity comes first, and is one of the relabellings.
    assert len(found.null) == 24 and found.null[0] == found.observed == pytest.approx(np.trace(mean) / 4)
    np.testing.assert_allclose(sorted(found.null), sorted(brute), atol=1e-12)
    assert found.p == pytest.approx(np.mean(np.array(brute) >= np.trace(mean) / 4 - 1e-12))


def test_missing_heatmaps_are_left_out():
    table = np.eye(3) + 0.1
    table[2] = np.nan
    found = relabelling_test(table)
    # Orders that give the first two their own masks: 1 of 6.
    assert found.observed == pytest.approx(1.1) and found.p == pytest.approx(1 / 6)
    assert np.isnan(relabelling_test(np.full((3, 3), np.nan)).p)
    with pytest.raises(DataError, match="at most 8 expressions"):
        relabelling_test(np.ones((9, 9)))


def test_the_max_statistic_is_the_brute_force():
    null = generator(3).normal(size=(50, 4)) * [1, 2, 5, 1] + [0, 1, 9, 0]
    null[0] += [0, 6, 0, np.nan]
    p, corrected = _max_statistic(null)
    scaled = (null - null.mean(axis=0)) / null.std(axis=0)
    largest = scaled[:, :3].max(axis=1)
    for cell in range(3):
        assert p[cell] == np.mean(scaled[:, cell] >= scaled[0, cell] - 1e-9)
        assert corrected[cell] == pytest.approx(np.mean(largest >= scaled[0, cell] - 1e-9))
    assert np.isnan([p[3], corrected[3]]).all() and (corrected[:3] >= p[:3]).all()
    # What never varies cannot stand out.
    assert (np.array(_max_statistic(np.ones((5, 2)))) == 1).all()


def test_for_independent_values_it_is_the_classical_t_interval_and_of_one_unit_nothing():
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    found = _cluster_bootstrap([*values, np.nan], range(6), seed=0, resamples=200_000)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.estimate, found.units) == (pytest.approx(0.42), 5)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))
    found = _cluster_bootstrap([1.0, 2.0], ["a", "a"], seed=0)
    assert (found.estimate, found.units) == (1.5, 1) and np.isnan([found.low, found.high]).all()
    assert _cluster_bootstrap([np.nan], ["a"], seed=0).units == 0


def test_nadeau_and_bengio_by_hand():
    # Mean 0.3, variance 0.025; (1/5 + 1/4) of it is 0.01125; t(4) at 97.5 % is 2.776445.
    found = _corrected_interval([0.1, 0.2, np.nan, 0.3, 0.4, 0.5], range(6))
    assert found.estimate == pytest.approx(0.3) and found.units == 5
    assert found.high == pytest.approx(0.3 + 2.776445 * 0.01125**0.5, abs=1e-6)
    # t = 0.3 / 0.106066 = 2.828427 with 4 degrees of freedom.
    assert found.p == pytest.approx(0.0474207, abs=1e-6)
    one = _corrected_interval([0.4], ["CV1"])
    assert one.estimate == 0.4 and np.isnan([one.low, one.high, one.p]).all() and one.units == 1
    assert np.isnan(_corrected_interval([np.nan], ["CV1"]).estimate)
    assert _corrected_interval([0, 0, 0], range(3)).p == 1 and _corrected_interval([1, 1, 1], range(3)).p == 0


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


def test_sets_of_ranks_cover_at_their_level():
    """Twelve networks, three trainings in three folds; resampled folds covered 76 %."""
    networks = [f"n{place:02d}" for place in range(12)]
    replicates = [f"CV{k + 1}_S{s}" for k in range(3) for s in range(3)]
    each, joint = [], []
    for time in range(150):
        random = generator(5, time)
        truth = random.normal(0, 0.03, 12)
        noise = random.normal(size=(12, 3, 1)) + random.normal(size=(12, 3, 3))
        scores = truth[:, None] + 0.06 / np.sqrt(2) * noise.reshape(12, -1)
        differences = _compare_networks(scores[..., None], networks, replicates)
        found = _rank_sets(scores.mean(axis=1), differences, networks)
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
    error = np.sqrt((1 / 4 + 1 / 1) * variance)
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, 3) * error)
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
    assert np.isnan(split_half(np.ones((2, 3, 3)), "ab", seed=0))
    assert np.isnan(split_half(np.eye(3)[None], "a", seed=0))


def test_clusters_cover_at_their_level_and_single_values_do_not():
    """Twenty subjects with five faces each; how often the intervals hold the mean, which is 0."""
    subjects, hits = np.repeat(np.arange(20), 5), np.zeros(2)
    for time in range(300):
        random = generator(1, time)
        values = random.normal(0, 1, 20)[subjects] + random.normal(0, 0.3, subjects.size)
        both = (_cluster_bootstrap(values, of, seed=time, resamples=400) for of in (subjects, range(100)))
        hits += [found.low <= 0 <= found.high for found in both]
    clusters, single_values = hits / 300
    assert 0.91 <= clusters <= 0.99 and single_values < 0.8


def test_p_of_random_regions_is_uniform_for_masks_of_random_regions():
    labels = np.kron(np.arange(1, 21).reshape(4, 5), np.ones((20, 20), int))
    p = []
    for time in range(300):
        # Large regions, so that two unions seldom score the same.
        marked = generator(7, time).random((1, 1, 1, 80, 100)) < 0.4
        mask = np.isin(labels, generator(8, time).permutation(20)[:6] + 1)
        nothing = np.zeros((1, 1, 80, 100), bool)
        null = _region_null(marked, nothing, mask[None], labels, seed=1000 + time, draws=99)[:, 0]
        p.append(_max_statistic(null)[0][0])
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_strata_cost_a_degree_of_freedom_each():
    # Variance 20/15 of that of the replicates, 1; t(15) at 97.5 % is 2.131450.
    found = _interval_of(0.3, np.array([-1.0, 0, 1]), 20, strata=5)
    assert found.high == pytest.approx(0.3 + 2.131450 * (20 / 15) ** 0.5, abs=1e-6)
    # A stratum needs two units.
    assert _interval_of(0.3, np.ones(9), 4, strata=4) == _Interval(0.3, units=4)


def test_areas_alone_do_not_fit_the_own_masks():
    """Random pixels, as many as the own mask has: pairing large with large is best by plain IoU."""
    masks, random = EKMAN[:, ::8, ::8], generator(11)
    draws = [np.argsort(np.argsort(random.random(masks[0].size))) for _ in range(6 * 300)]
    marked = np.array(draws).reshape(300, 6, *masks[0].shape) < masks.sum(axis=(1, 2))[:, None, None]
    found = heatmap_set(np.uint8(255) * marked, masks)
    areas_out, plain = (
        np.mean([relabelling_test(of_network[0]).p <= 0.05 for of_network in table["iou"]])
        for table in (found.compared, found.tables)
    )
    assert 0.02 < areas_out < 0.09 and plain > 2 * areas_out
