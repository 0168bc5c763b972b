"""The step "statistics": every table, of heatmaps whose answer is known."""

import dataclasses

import numpy as np
import pytest
from made_heatmaps import SUBJECTS, experiment_of

from ekman_expressions import Experiment
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, write_image
from ekman_expressions.core.seeds import generator
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures import assessment, bootstrap, heatmap_set, scores, subjects, threshold_free
from ekman_expressions.study import run as run_steps
from ekman_expressions.study import scores as scores_step
from ekman_expressions.study import statistics
from ekman_expressions.study import subjects as subjects_step
from ekman_expressions.study.provenance import Run

MISSING = (("MobileNetV3Large", "CV1", "fear"), *(("MobileNetV3Large", f, "anger") for f in ("CV1", "CV2")))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    experiment = experiment_of(tmp_path_factory.mktemp("made"), missing=MISSING)
    run = run_steps(experiment, "statistics", resamples=12)
    return experiment, run


def _table(analysed, name, *index):
    table = statistics.read_table(analysed[0], name)
    return table.set_index(list(index)).sort_index() if index else table


def test_every_table_is_written_and_what_is_missing_is_said(analysed):
    experiment, run = analysed
    assert run.done == len(assessment.TABLES) and not run.notes
    left_out = {entry["item"] for entry in run.omissions}
    names = {f"{n}_{f}_{e.capitalize()}" for n, f, e in MISSING}
    assert left_out == names
    by_fold = _table(analysed, "by_fold")
    assert len(by_fold) == 2 * (24 - 3) and by_fold.notna().all(axis=None)


def test_cells_and_averages_are_those_of_the_scores(analysed):
    experiment, _ = analysed
    run_steps(experiment, "scores")
    expected = scores_step.read_scores(experiment).set_index(["network", "expression"])["iou"]
    found = _table(analysed, "intervals", "score", "network", "expression").loc["iou"]
    np.testing.assert_allclose(found["estimate"][expected.index], expected, rtol=1e-6)
    by_fold = scores_step.read_scores_by_fold(experiment)
    mine = _table(analysed, "by_fold").query("area == 'canvas'")["iou_otsu"]
    np.testing.assert_allclose(mine, by_fold["iou"].dropna(), rtol=1e-6)


def test_intervals_hold_their_estimates_and_count_units(analysed):
    table = _table(analysed, "intervals", "score", "network", "expression")
    cell = table.loc[("auc", "WeiNet", "Anger")]
    assert (cell["folds"], cell["subjects"]) == (2, 2 * SUBJECTS)
    assert cell["subject_low"] < cell["estimate"] < cell["subject_high"]
    assert cell["fold_low"] <= cell["fold_boot_low"] <= cell["estimate"] <= cell["fold_high"]
    assert cell["chance"] == 0.5 and cell["subject_low"] > 0.7
    one_fold = table.loc[("iou", "MobileNetV3Large", "Fear")]
    assert (one_fold["folds"], one_fold["subjects"]) == (1, SUBJECTS)
    assert np.isnan(one_fold["fold_low"]) and one_fold["subject_low"] < one_fold["estimate"]
    nothing = table.loc[("iou", "MobileNetV3Large", "Anger")]
    assert nothing["folds"] == 0 and nothing.drop(["folds", "subjects"]).isna().all()
    assert table.loc[("residual", "WeiNet", "Average"), "estimate"] > 0.3


def test_tests_find_the_network_that_looks_at_the_masks(analysed):
    tests = _table(analysed, "tests", "score", "network")
    for score in ("iou", "auc", "auc_hull", "residual", "residual_hull"):
        assert tests.loc[(score, "WeiNet"), "p"] == pytest.approx(1 / 720)
        assert tests.loc[(score, "WeiNet"), "own_is_best"] == 1
        assert tests.loc[(score, "MobileNetV3Large"), "p"] > 0.02
    assert tests.loc[("iou", "all"), "heatmaps"] == 21
    assert (tests["p_holm"] >= tests["p"]).all()
    null = _table(analysed, "relabellings").query("score == 'iou'")["mean"]
    assert len(null) == 720 and null.iloc[0] == pytest.approx(tests.loc[("iou", "all"), "observed"])
    cells = _table(analysed, "cells", "test", "network", "expression")
    assert (cells.loc[("regions", "WeiNet"), "p_corrected"] < 0.01).all()
    assert (cells.loc[("shifts", "WeiNet"), "p_corrected"] < 0.01).all()
    assert (cells.loc["relabelling", "p"].dropna() >= 1 / 6 - 1e-9).all()
    assert cells.loc[("shifts", "MobileNetV3Large", "Anger")].isna().all()


def test_baselines_are_what_their_names_say(analysed):
    table = _table(analysed, "baselines", "baseline", "score", "expression")["value"]
    share = ekman_mask("fear").mean()
    assert table["white", "iou", "Fear"] == pytest.approx(share)
    assert table["white", "auc", "Fear"] == 0.5
    assert table["ellipse_30", "iou", "Average"] == pytest.approx(0.410, abs=2e-3)
    drawn, expected = table["random_pixels_simulated", "iou"], table["random_pixels", "iou"]
    np.testing.assert_allclose(drawn, expected, atol=1e-3)
    assert table["heatmaps", "iou", "Average"] > table["other_masks", "iou", "Average"]
    assert table["mean_of_masks", "auc", "Average"] > table["centre_prior", "auc", "Average"] > 0.7
    ends = _table(analysed, "baselines").query("baseline == 'shifts'")
    assert ((ends["low"] < ends["value"]) & (ends["value"] < ends["high"])).all()


def test_ranks_differences_and_curves(analysed):
    ranks = _table(analysed, "ranking", "score", "unit", "network")
    for score in ("iou", "auc", "auc_hull"):
        assert ranks.loc[(score, "subjects", "WeiNet"), ["rank", "first"]].tolist() == [1, 1]
    differences = _table(analysed, "differences", "score")
    assert (differences["difference"] > 0.1).all() and (differences["subject_low"] > 0).all()
    assert (differences["p"] == differences["p_holm"]).all()
    curves = _table(analysed, "area_curves")
    assert set(curves["name"]) == {"WeiNet", "MobileNetV3Large", "centre_prior", "random_pixels"}
    ends = curves.query("share == 1 and expression == 'Fear'")["iou"]
    np.testing.assert_allclose(ends, ekman_mask("fear").mean(), rtol=1e-6)
    # Of two networks no rank correlation can be told.
    assert _table(analysed, "rank_correlations")["spearman"].isna().all()


def test_again_skips_and_other_resamples_are_taken(analysed):
    experiment, _ = analysed
    assert run_steps(experiment, "statistics", resamples=12).skipped == len(assessment.TABLES)
    assert run_steps(experiment, "statistics", resamples=0).done == len(assessment.TABLES)


def test_a_resample_of_everybody_once_is_the_heatmap_itself(analysed):
    experiment, _ = analysed
    stored = read_arrays(experiment.maps_path("WeiNet", "CV2", "disgust"))
    people = np.array([name.split("_")[2] for name in stored["image_ids"]])
    names, sums, sizes = subjects.subject_sums(stored["maps"], people)
    assert names.tolist() == ["0", "1", "2"] and sizes.tolist() == [2, 2, 2]
    counts = np.array([[1, 1, 1], [0, 0, 0], [0, 3, 0]])
    found = subjects.resampled_scores(sums, sizes, counts, ekman_mask("disgust"), atlas().hull)
    gray = heatmaps.read_gray(experiment.heatmaps_folder, "disgust", "WeiNet", "CV2")
    assert found["iou"][0] == pytest.approx(scores.scores(gray, ekman_mask("disgust"))["iou"], abs=2e-3)
    assert np.isnan([values[1] for values in found.values()]).all()
    alone = heatmaps.to_uint8(stored["maps"][people == "1"].mean(axis=0))
    expected = scores.scores(alone, ekman_mask("disgust"))["iou"]
    assert found["iou"][2] == pytest.approx(expected, abs=2e-3)


def test_intervals_over_subjects_cover_at_their_level():
    """The AUC that a heatmap of 15 people has on average; that of all people is a little higher."""
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    truth = generator(0).random((8, 8)) + 0.4 * mask
    estimates, intervals = [], []
    for time in range(200):
        noise = np.kron(generator(9, time).normal(size=(15, 4, 4)), np.ones((1, 2, 2)))
        maps = truth + 0.6 * noise
        _, sums, sizes = subjects.subject_sums(maps, np.arange(15).astype(str))
        counts = bootstrap.resample_counts(15, 100, seed=time)
        found = subjects.resampled_scores(sums, sizes, counts, mask, np.ones((8, 8), bool))["auc"]
        estimates.append(threshold_free.auc(maps.mean(axis=0), mask))
        intervals.append(bootstrap.interval_of(estimates[-1], found, 15))
    covered = [found.low <= np.mean(estimates) <= found.high for found in intervals]
    assert 0.9 <= np.mean(covered) <= 0.99
    assert threshold_free.auc(truth, mask) > np.mean(estimates)
    errors = np.mean([found.standard_error for found in intervals])
    assert errors == pytest.approx(np.std(estimates), rel=0.2)


def test_one_network_and_one_fold_leave_nothing_to_compare(tmp_path):
    missing = [("WeiNet", "CV2", e) for e in ("anger", "disgust", "fear", "happiness", "sadness", "surprise")]
    experiment = experiment_of(tmp_path, networks=("WeiNet",), missing=missing)
    run = run_steps(experiment, "statistics", resamples=0)
    assert len(run.omissions) == 6
    intervals = statistics.read_table(experiment, "intervals")
    assert intervals[["fold_low", "subject_low"]].isna().all(axis=None) and (intervals["folds"] == 1).all()
    assert statistics.read_table(experiment, "differences").empty
    assert (statistics.read_table(experiment, "ranking")["rank"] == 1).all()


def test_constant_heatmaps_and_explanations_of_nobody_are_listed(tmp_path):
    experiment = experiment_of(tmp_path, networks=("WeiNet",))
    write_image(heatmaps.heatmap_path(experiment.heatmaps_folder, "fear", "WeiNet", "CV1"), np.full(SHAPE, 9, np.uint8))
    write_image(heatmaps.heatmap_path(experiment.heatmaps_folder, "fear", "WeiNet", "CV2"), np.eye(9, dtype=np.uint8))
    found = []
    heatmaps_found = heatmap_set.read(
        experiment.heatmaps_folder,
        np.array([ekman_mask(name) for name in EXPRESSIONS]),
        experiment.networks,
        experiment.folds,
        lambda *said: found.append(tuple(map(str, said))),
    )
    assert heatmaps_found.present.sum() == 10
    assert [item for item, _ in found] == ["WeiNet_CV1_Fear", "WeiNet_CV2_Fear"]
    assert "9 everywhere" in found[0][1] and "(9, 9)" in found[1][1]
    experiment.maps_path("WeiNet", "CV1", "anger").write_bytes(b"damaged")
    run = Run()
    masks, face = heatmaps_found.masks, heatmaps_found.hull
    replicates = subjects_step.over_subjects(experiment, masks, face, run, resamples=2)
    assert [entry["item"] for entry in run.omissions] == ["subjects of WeiNet_CV1_Anger"]
    assert replicates.subjects[0, :, 0].tolist() == [0, SUBJECTS]
    with pytest.raises(DataError, match="do not fit"):
        dataclasses.replace(heatmaps_found, folds=("CV1",))


def test_without_any_heatmap_the_tables_hold_what_needs_none():
    masks = np.array([ekman_mask(expression) for expression in EXPRESSIONS])
    maps, present = np.zeros((2, 2, 6, *SHAPE), np.uint8), np.zeros((2, 2, 6), bool)
    nothing = heatmap_set.HeatmapSet(("a", "b"), ("CV1", "CV2"), maps, present, masks, atlas().hull, atlas().labels)
    found = assessment.assess(nothing, seed=0)
    assert set(found) == set(assessment.TABLES) and found["by_fold"].empty
    assert found["intervals"]["estimate"].isna().all() and found["tests"]["p"].isna().all()
    assert found["cells"][["p", "p_corrected"]].isna().all(axis=None)
    known = found["baselines"].dropna(subset="value")
    assert "white" in set(known["baseline"]) and "face_prior" not in set(known["baseline"])


def test_another_explainer_has_tables_of_its_own(tmp_path):
    experiment = experiment_of(tmp_path, networks=("WeiNet",), explainer="grad_cam")
    assert run_steps(experiment, "statistics", resamples=2).done == len(assessment.TABLES)
    folder = tmp_path / "results" / "smoke" / "explainers" / "grad_cam" / "statistics"
    assert (folder / "intervals.csv").exists() and experiment.statistics_folder == folder
    heatmaps.heatmap_path(experiment.heatmaps_folder, "fear", "WeiNet", "CV1").with_suffix(".npz").unlink()
    (folder / "tests.csv").unlink()
    run = run_steps(experiment, "statistics", resamples=2)
    assert [entry["item"] for entry in run.omissions] == ["WeiNet_CV1_Fear, unstretched"]
    assert len(statistics.read_table(experiment, "by_fold")) == 24


def test_the_step_needs_heatmaps(tmp_path):
    with pytest.raises(MissingError, match="heatmaps"):
        run_steps(Experiment.preset("smoke", root=tmp_path), "statistics")
