"""Scores by hand on 3 × 3 masks, their invariants, and the tables that the step writes."""

from contextlib import suppress

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_steps import stand_in
from sklearn import metrics as sklearn_metrics

from ekman_expressions import Experiment
from ekman_expressions.core.errors import ConflictError, DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, read_image, write_image
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.heatmaps import heatmap_path, threshold_otsu
from ekman_expressions.measures.scores import (
    METRICS,
    f1_score,
    iou,
    layout,
    precision,
    recall,
    scores,
    summarise,
)
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.scores import read_scores, read_scores_by_fold

MARKED = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
MASK = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]], bool)
PAIRS = st.tuples(arrays(bool, (4, 5)), arrays(bool, (4, 5))).filter(lambda pair: all(m.any() for m in pair))


def test_scores_by_hand():
    # Both: 2 pixels; only marked: 1; only in the mask: 2.
    assert iou(MARKED, MASK) == pytest.approx(2 / 5)
    assert f1_score(MARKED, MASK) == pytest.approx(4 / 7)
    assert precision(MARKED, MASK) == pytest.approx(2 / 3)
    assert recall(MARKED, MASK) == pytest.approx(2 / 4)


def test_a_heatmap_is_marked_above_its_threshold():
    heatmap = np.array([[200, 210, 20], [220, 10, 10], [15, 12, 11]], np.uint8)
    assert scores(heatmap, MASK) == {
        "iou": pytest.approx(2 / 5),
        "f1_score": pytest.approx(4 / 7),
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 4),
    }
    # With two gray values Otsu's level is the lower one: what equals the level is not marked.
    heatmap = np.where(MARKED, 9, 7).astype(np.uint8)
    assert scores(heatmap, MASK)["precision"] == pytest.approx(2 / 3)


@given(PAIRS)
def test_iou_is_symmetric_and_f1_follows_from_it(pair):
    one, other = pair
    value = iou(one, other)
    assert value == iou(other, one)
    assert 0 <= value <= 1 and (value == 1) == np.array_equal(one, other)
    assert f1_score(one, other) == pytest.approx(2 * value / (1 + value))
    assert precision(one, other) == recall(other, one)


@given(PAIRS)
def test_scores_are_those_of_scikit_learn(pair):
    marked, mask = pair
    flat = mask.ravel(), marked.ravel()
    assert iou(marked, mask) == pytest.approx(sklearn_metrics.jaccard_score(*flat))
    assert f1_score(marked, mask) == pytest.approx(sklearn_metrics.f1_score(*flat))
    assert precision(marked, mask) == pytest.approx(sklearn_metrics.precision_score(*flat))
    assert recall(marked, mask) == pytest.approx(sklearn_metrics.recall_score(*flat))


@given(arrays(np.uint8, (6, 7)).filter(lambda gray: np.unique(gray).size > 1))
def test_the_threshold_maximises_the_variance_between_classes(gray):
    level, _ = threshold_otsu(gray)

    def between(split):
        low, high = gray[gray <= split].astype(float), gray[gray > split].astype(float)
        return low.size * high.size * (low.mean() - high.mean()) ** 2

    levels = np.unique(gray)[:-1]
    assert between(level) == pytest.approx(max(map(between, levels)))
    assert level == cv2.threshold(gray, 0, 255, cv2.THRESH_OTSU)[0]
    with suppress(DataError):
        found = scores(gray, np.arange(42).reshape(6, 7) % 2 == 0)
        assert all(0 <= value <= 1 for value in found.values())


def test_inputs_that_cannot_be_scored_say_why():
    heatmap = np.arange(9, dtype=np.uint8).reshape(3, 3)
    with pytest.raises(DataError, match=r"heatmap has shape \(3, 3\).*mask \(3, 4\)"):
        scores(heatmap, np.ones((3, 4), bool))
    with pytest.raises(DataError, match="heatmap is 0 everywhere.*Leave it out"):
        scores(np.zeros((3, 3), np.uint8), MASK)
    with pytest.raises(DataError, match="heatmap is 255 everywhere"):
        scores(np.full((3, 3), 255, np.uint8), MASK)
    with pytest.raises(DataError, match="mask is empty.*Check"):
        scores(heatmap, np.zeros((3, 3), bool))
    with pytest.raises(DataError, match="bool.*got uint8"):
        iou(heatmap, MASK)
    with pytest.raises(DataError, match="Nothing is marked"):
        precision(np.zeros((3, 3), bool), MASK)
    assert iou(np.zeros((3, 3), bool), MASK) == 0


def _cells(values):
    rows = [(*key, *(value,) * 4) for key, value in values.items()]
    return pd.DataFrame(rows, columns=["network", "fold", "expression", *METRICS])


CELLS = _cells(
    {
        ("B", "CV1", "anger"): 0.2,
        ("B", "CV2", "anger"): 0.4,
        ("B", "CV1", "fear"): 0.6,
        ("B", "CV2", "fear"): np.nan,
        ("A", "CV1", "anger"): 0.1,
        ("A", "CV2", "anger"): 0.1,
        ("A", "CV1", "fear"): np.nan,
        ("A", "CV2", "fear"): np.nan,
    }
)


def test_averages_are_plain_means_of_the_cells_there_are():
    table = summarise(CELLS).set_index(["network", "expression"])["iou"]
    assert list(table.index) == [
        ("B", "Anger"), ("B", "Fear"), ("B", "Average"),
        ("A", "Anger"), ("A", "Fear"), ("A", "Average"),
        ("Average", "Anger"), ("Average", "Fear"), ("Average", "Average"),
    ]  # fmt: skip
    expected = [0.3, 0.6, 0.45, 0.1, np.nan, 0.1, 0.2, 0.6, (0.3 + 0.6 + 0.1) / 3]
    np.testing.assert_allclose(table, expected)


def test_layout_has_networks_in_rows_and_expressions_in_columns():
    wide = layout(summarise(CELLS), ["iou", "f1_score"])
    assert list(wide.index) == ["B", "A", "Average"]
    assert list(wide.columns) == [
        (name, metric) for name in ("Anger", "Fear", "Average") for metric in ("IoU", "F1")
    ]
    assert wide.loc["B", ("Average", "F1")] == pytest.approx(0.45)


@pytest.fixture
def experiment(tmp_path):
    """An experiment whose heatmaps are its masks, but for one that is missing and one that is flat."""
    experiment = Experiment.preset("smoke", root=tmp_path)
    run_steps(experiment, "masks")
    _write_heatmaps(experiment)
    return experiment


def _write_heatmaps(experiment):
    with stand_in(experiment, "heatmaps"):
        for network in experiment.networks:
            for fold in (*experiment.folds, None):
                for expression in EXPRESSIONS:
                    gray = masks.ekman_mask(expression).astype(np.uint8) * 255
                    if (network, fold, expression) == ("WeiNet", "CV2", "fear"):
                        continue
                    if (network, fold, expression) == ("WeiNet", "CV1", "sadness"):
                        gray[:] = 0
                    if (network, fold, expression) == ("WeiNet", "CV1", "anger"):
                        gray = 255 - gray
                    write_image(heatmap_path(experiment.heatmaps_folder, expression, network, fold), gray)


def test_score_writes_every_table(experiment):
    run = run_steps(experiment, "scores")
    assert {entry["item"] for entry in run.omissions} == {"WeiNet_CV2_Fear", "WeiNet_CV1_Sadness"}
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert "no such heatmap" in reasons["WeiNet_CV2_Fear"]
    assert "0 everywhere" in reasons["WeiNet_CV1_Sadness"]
    assert run.done == 2 * 2 * 6 - 2 + 2 * 6

    by_fold = read_scores_by_fold(experiment)
    assert len(by_fold) == 2 * 2 * 6
    cells = by_fold.set_index(["network", "fold", "expression"])
    assert cells.loc[("WeiNet", "CV2", "fear")].isna().all()
    assert cells.loc[("WeiNet", "CV1", "anger"), "iou"] == 0
    assert (cells.loc["MobileNetV3Large"] == 1).all(axis=None)

    table = read_scores(experiment).set_index(["network", "expression"])["iou"]
    assert table["WeiNet", "Anger"] == 0.5
    assert table["WeiNet", "Fear"] == 1
    assert table["WeiNet", "Average"] == pytest.approx(5.5 / 6)
    assert table["Average", "Anger"] == 0.75
    assert (read_scores(experiment, pooled=True)["iou"] == 1).all()
    wide = read_csv(experiment.scores_folder / "table_iou_f1.csv", ("network", "Anger IoU", "Average F1"))
    assert wide["Anger IoU"].tolist() == [0.5, 1, 0.75]
    read_csv(experiment.scores_folder / "table_precision_recall.csv", ("Fear Precision", "Average Recall"))


def _bytes(experiment):
    return {path.name: path.read_bytes() for path in experiment.scores_folder.glob("*.csv")}


def test_score_again_skips_or_makes_the_same_bytes(experiment):
    run_steps(experiment, "scores")
    before = _bytes(experiment)
    assert len(before) == 5
    run = run_steps(experiment, "scores")
    assert run.skipped == 34 and not run.done
    for table in experiment.scores_folder.glob("*.csv"):
        table.unlink()
        assert run_steps(experiment, "scores").done
        assert _bytes(experiment) == before


def test_score_of_fewer_networks_has_tables_of_those_only(experiment):
    run_steps(experiment, "scores")
    alone = experiment.replace(networks=("MobileNetV3Large",))
    assert run_steps(alone, "scores").done
    assert set(read_scores(alone)["network"]) == {"MobileNetV3Large", "Average"}


def test_score_lists_an_empty_mask_and_a_heatmap_of_another_size(experiment):
    write_image(masks.mask_path(experiment.masks_folder, "fear"), np.zeros((275, 224), np.uint8))
    path = heatmap_path(experiment.heatmaps_folder, "happiness", "WeiNet", "CV1")
    write_image(path, read_image(path, gray=True)[:250])
    run = run_steps(experiment, "scores")
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert "mask is empty" in reasons["WeiNet_CV1_Fear"]
    assert "(250, 224)" in reasons["WeiNet_CV1_Happiness"] and "(275, 224)" in reasons["WeiNet_CV1_Happiness"]
    table = read_scores(experiment).set_index(["network", "expression"])["iou"]
    assert np.isnan(table["Average", "Fear"])


def test_score_needs_heatmaps_and_masks_of_the_same_settings(experiment, tmp_path):
    with pytest.raises(MissingError, match="heatmaps"):
        run_steps(Experiment.preset("smoke", root=tmp_path / "elsewhere"), "scores")
    other = experiment.replace(seed=experiment.seed + 1)
    with pytest.raises(ConflictError, match="seed"):
        run_steps(other, "scores")
    for path in experiment.masks_folder.iterdir():
        path.unlink()
    with pytest.raises(MissingError, match="masks"):
        run_steps(experiment, "scores")
