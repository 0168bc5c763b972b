"""The tables of a set of heatmaps and the step "statistics", of heatmaps whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from made_heatmaps import SUBJECTS, experiment_of

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, write_image
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.heatmap_set import TABLES, read_heatmaps
from ekman_expressions.measures.scores import auc, scores_at_otsu
from ekman_expressions.measures.uncertainty import _resampled_scores
from ekman_expressions.study import STEPS, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.provenance import Run

EKMAN = np.array([ekman_mask(name) for name in EXPRESSIONS])
MISSING = (("MobileNetV3Large", "CV1", "fear"), *(("MobileNetV3Large", f, "anger") for f in ("CV1", "CV2")))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    experiment = experiment_of(tmp_path_factory.mktemp("made"), missing=MISSING)
    return experiment, run_steps(experiment, "statistics", resamples=12)


def _table(analysed, name, *index):
    table = read_results(analysed[0], "statistics", name)
    return table.set_index(list(index)).sort_index() if index else table


def test_every_table_is_written_and_what_is_missing_is_said(analysed):
    _, run = analysed
    assert run.done == len(TABLES) and "heatmaps have a reliability below 0.8" in " ".join(run.notes)
    assert {entry["item"] for entry in run.omissions} == {f"{n}_{f}_{e.capitalize()}" for n, f, e in MISSING}
    by_fold = _table(analysed, "by_fold")
    assert len(by_fold) == 2 * (24 - 3) and by_fold.notna().all(axis=None)


def test_cells_and_averages_are_those_of_the_scores(analysed):
    experiment, _ = analysed
    run_steps(experiment, "scores")
    expected = read_results(experiment, "scores", "scores").set_index(["network", "expression"])["iou"]
    found = _table(analysed, "intervals", "score", "network", "expression").loc["iou"]
    np.testing.assert_allclose(found["estimate"][expected.index], expected, rtol=1e-6)
    by_fold = read_results(experiment, "scores", "scores_by_fold")
    mine = _table(analysed, "by_fold").query("area == 'canvas'")["iou_otsu"]
    np.testing.assert_allclose(mine, by_fold["iou"].dropna(), rtol=1e-6)


def test_intervals_hold_their_estimates_and_count_units(analysed):
    table = _table(analysed, "intervals", "score", "network", "expression")
    cell = table.loc[("auc_hull", "WeiNet", "Anger")]
    assert (cell["folds"], cell["subjects"]) == (2, 2 * SUBJECTS)
    assert cell["subject_low"] < cell["estimate"] < cell["subject_high"]
    assert cell["fold_low"] <= cell["estimate"] <= cell["fold_high"]
    assert cell["chance"] == 0.5 and cell["subject_low"] > 0.7
    one_fold = table.loc[("iou", "MobileNetV3Large", "Fear")]
    assert (one_fold["folds"], one_fold["subjects"]) == (1, SUBJECTS)
    assert np.isnan(one_fold["fold_low"]) and one_fold["subject_low"] < one_fold["estimate"]
    nothing = table.loc[("iou", "MobileNetV3Large", "Anger")]
    assert nothing["folds"] == 0 and nothing.drop(["folds", "subjects"]).isna().all()
    assert table.loc[("residual", "WeiNet", "Average"), "estimate"] > 0.3


def test_tests_find_the_network_that_looks_at_the_masks(analysed):
    tests = _table(analysed, "tests", "score", "network")
    for score in ("iou", "auc_hull", "residual"):
        assert tests.loc[(score, "WeiNet"), "p"] == pytest.approx(1 / 720)
        assert tests.loc[(score, "WeiNet"), "own_is_best"] == 1
        assert tests.loc[(score, "MobileNetV3Large"), "p"] > 0.02
    assert tests.loc[("iou", "all"), "heatmaps"] == 21
    assert (tests["p_holm"] >= tests["p"]).all()
    cells = _table(analysed, "cells", "network", "expression")
    assert (cells.loc["WeiNet", "p_corrected"] < 0.05).sum() >= 4
    assert (cells.loc["MobileNetV3Large", "p_corrected"].dropna() > 0.05).all()
    assert (cells.query("kind == 'control'")["p"] == 1).all()
    assert cells.loc[("MobileNetV3Large", "Anger"), ["iou", "chance", "p", "p_corrected"]].isna().all()


def test_baselines_are_what_their_names_say(analysed):
    table = _table(analysed, "baselines", "baseline", "score", "expression")["value"]
    share = ekman_mask("fear").mean()
    assert table["white", "iou", "Fear"] == pytest.approx(share)
    assert table["white", "auc_hull", "Fear"] == 0.5
    assert table["ellipse_30", "iou", "Average"] == pytest.approx(0.410, abs=2e-3)
    assert table["heatmaps", "iou", "Average"] > table["other_masks", "iou", "Average"]
    assert table["mean_of_masks", "auc_hull", "Average"] > table["centre_prior", "auc_hull", "Average"] > 0.5


def test_ranks_differences_and_curves(analysed):
    ranks = _table(analysed, "ranking", "score", "unit", "network")
    for score in ("iou", "auc_hull"):
        assert ranks.loc[(score, "subjects", "WeiNet"), ["rank", "low", "high"]].tolist() == [1, 1, 1]
    differences = _table(analysed, "differences", "score")
    assert set(differences.index) == {"iou", "auc_hull", "residual"}
    assert (differences["difference"] > 0.1).all()
    assert (differences["subject_low"].dropna() > 0).all()
    assert (differences["p"] == differences["p_holm"]).all()
    curves = _table(analysed, "area_curves")
    assert set(curves["name"]) == {"WeiNet", "MobileNetV3Large", "centre_prior", "random_pixels"}
    ends = curves.query("share == 1 and expression == 'Fear'")["iou"]
    np.testing.assert_allclose(ends, ekman_mask("fear").mean(), rtol=1e-6)


def test_a_resample_of_everybody_once_is_the_heatmap_itself(analysed):
    experiment, _ = analysed
    mask, hull = ekman_mask("disgust"), atlas().hull
    stored = read_arrays(experiment.maps_path("WeiNet", "CV2", "disgust"))
    people = np.array([int(name.split("_")[2]) for name in stored["image_ids"]])
    counts = np.array([[1, 1, 1], [0, 0, 0], [0, 3, 0]])
    found = _resampled_scores(stored["maps"], people, counts, mask, hull)
    whole = heatmaps.read_gray(experiment.heatmaps_folder, "disgust", "WeiNet", "CV2")
    alone = heatmaps.to_uint8(stored["maps"][people == 1].mean(axis=0))
    for place, gray in ((0, whole), (2, alone)):
        assert found["iou"][place] == pytest.approx(scores_at_otsu(gray, mask)["iou"], abs=2e-3)
        assert found["auc_hull"][place] == pytest.approx(auc(gray, mask, hull), abs=2e-3)
    assert np.isnan([values[1] for values in found.values()]).all()


def test_constant_heatmaps_and_explanations_of_nobody_are_listed(tmp_path):
    """Of another explainer, whose tables lie in a folder of their own."""
    experiment = experiment_of(tmp_path, networks=("WeiNet",), explainer="grad_cam")
    folder, omitted = experiment.heatmaps_folder, {}
    write_image(heatmaps.heatmap_path(folder, "fear", "WeiNet", "CV1"), np.full(SHAPE, 9, np.uint8))
    write_image(heatmaps.heatmap_path(folder, "fear", "WeiNet", "CV2"), np.eye(9, dtype=np.uint8))
    found = read_heatmaps(folder, EKMAN, experiment.networks, experiment.folds, omitted.setdefault)
    assert found.present.sum() == 10 and list(omitted) == ["WeiNet_CV1_Fear", "WeiNet_CV2_Fear"]
    reasons = list(map(str, omitted.values()))
    assert "9 everywhere" in reasons[0] and "(9, 9)" in reasons[1]
    # A damaged file of explanations leaves its subjects out.
    experiment.maps_path("WeiNet", "CV1", "anger").write_bytes(b"damaged")
    run = Run()
    STEPS["statistics"].function(experiment, run, resamples=2)
    assert run.done == len(TABLES) and "WeiNet_CV1_Anger" in {entry["item"] for entry in run.omissions}
    table = pd.read_csv(tmp_path / "results/smoke/explainers/grad_cam/statistics/intervals.csv")
    subjects = table.set_index(["score", "network", "expression"])["subjects"]
    assert subjects["iou", "WeiNet", "Anger"] == SUBJECTS and subjects["iou", "WeiNet", "Fear"] == 2 * SUBJECTS
