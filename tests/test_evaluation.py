"""Evaluation: scores worked out by hand, the choice of positives, and models that answer nonsense."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_faces import make_experiment
from made_steps import confusions, contents, stand_in

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_json, write_image
from ekman_expressions.study import evaluation, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import _face_path, read_manifest
from ekman_expressions.zoo.own_settings import OwnModel

COLOURS = np.array([[number % 2, number // 2 % 2, number // 4] for number in range(6)], np.float32)


def _reads_colours(images):
    """Be right: tell the six colours of the made faces apart."""
    # A colour's channels raise its score, and its number of channels lowers it.
    scores = 600 * images.mean(axis=(1, 2)) @ COLOURS.T - 270 * COLOURS.sum(axis=1)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _own(call, *more_classes):
    return OwnModel(call=call, version="1", side=32, classes=(*EXPRESSIONS, *more_classes))


def _predictions(truth, predicted, network="WeiNet", fold="CV1"):
    return pd.DataFrame(
        {
            "network": network,
            "fold": fold,
            "image_id": [f"face{number}" for number in range(len(truth))],
            "expression": truth,
            "predicted": predicted,
        }
    )


@pytest.fixture
def experiment(tmp_path):
    """Two folds of made faces, and one model for both that tells their colours apart."""
    models = {"Reader": _own(_reads_colours)}
    return make_experiment(tmp_path, tuple(models), models=models, explanation=dict(positives=1))


def test_scores_of_three_faces_by_hand():
    # anger: 1 of 1 right, called twice; fear: 1 of 2 right, called once; surprise never.
    predictions = _predictions(["anger", "fear", "fear"], ["anger", "anger", "fear"])
    scores = evaluation._accuracy_by_fold(predictions)
    assert scores[["network", "fold"]].values.tolist() == [["WeiNet", "CV1"]]
    row = scores.iloc[0]
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["macro_precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert row["macro_recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert row["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    # What is shown, but never predicted, has precision 0.
    never = evaluation._accuracy_by_fold(_predictions(["anger", "fear"], ["anger", "anger"])).iloc[0]
    assert never["macro_precision"] == pytest.approx((1 / 2 + 0) / 2)


def test_confusion_counts_shown_by_predicted():
    predictions = pd.concat(
        [
            _predictions(["anger", "fear", "fear"], ["anger", "anger", "fear"]),
            _predictions(["fear"], ["anger"], fold="CV2"),
        ]
    )
    summed = evaluation._confusion(predictions)
    assert len(summed) == 36 and summed["images"].sum() == 4
    cells = summed.set_index(["expression", "predicted"])["images"]
    assert (cells["fear", "anger"], cells["anger", "fear"], cells["fear", "fear"]) == (2, 0, 1)
    assert list(summed.columns) == ["network", "expression", "predicted", "images"]
    # A column for none of the six where there are such.
    predictions = _predictions(["anger", "fear", "fear"], ["neutral", "contempt", "fear"])
    cells = evaluation._confusion(predictions).set_index(["expression", "predicted"])["images"]
    none = {("anger", "none of the six"): 1, ("fear", "none of the six"): 1}
    assert len(cells) == 42 and cells[cells > 0].to_dict() == none | {("fear", "fear"): 1}


@settings(max_examples=40, deadline=None)
@given(
    predicted=st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=40),
    positives=st.integers(1, 10),
    seed=st.integers(0, 5),
)
def test_positives_are_predicted_so_and_few_and_independent_of_order(predicted, positives, seed):
    predictions = _predictions(["fear"] * len(predicted), predicted)
    chosen = evaluation._choose_positives(predictions, positives, seed=seed)
    answer = predictions.set_index("image_id")["predicted"]
    assert (answer[chosen["image_id"]].to_numpy() == chosen["expression"].to_numpy()).all()
    for expression in EXPRESSIONS:
        ids = chosen.loc[chosen["expression"] == expression, "image_id"].tolist()
        assert len(ids) == min(positives, predicted.count(expression))
        assert ids == sorted(set(ids))
    shuffled = predictions.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(evaluation._choose_positives(shuffled, positives, seed=seed), chosen)


def test_positives_differ_between_seeds_models_and_expressions():
    predictions = pd.concat(
        [_predictions(["fear"] * 200, ["fear", "anger"] * 100, fold=fold) for fold in ("CV1", "CV2")]
    )
    chosen = evaluation._choose_positives(predictions, 10, seed=0)
    draws = [
        tuple(int(image_id[4:]) // 2 for image_id in ids)
        for _, ids in chosen.groupby(["fold", "expression"])["image_id"]
    ]
    assert len({frozenset(draw) for draw in draws}) == 4
    other = evaluation._choose_positives(predictions, 10, seed=1)
    assert set(other["image_id"]) != set(chosen["image_id"])


def test_step_writes_all_tables_and_a_killed_one_goes_on(experiment):
    run = run_steps(experiment, "evaluation")
    assert (run.done, run.skipped, run.omissions) == (2, 0, [])
    predictions = read_results(experiment, "evaluation", "predictions")
    assert list(predictions.columns) == evaluation._columns(experiment)
    assert len(predictions) == 24
    probabilities = predictions[evaluation._columns(experiment)[-6:]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (np.array(EXPRESSIONS)[probabilities.argmax(axis=1)] == predictions["predicted"]).all()
    # Each model sees its own test fold only: subjects 0 and 2 are in CV1.
    seen = predictions.loc[predictions["fold"] == "CV1", "image_id"]
    assert {image_id[5:7] for image_id in seen} == {"s0", "s2"}
    by_fold = read_results(experiment, "evaluation", "accuracy_by_fold")
    table = read_results(experiment, "evaluation", "accuracy")
    assert list(table.columns) == ["network", "accuracy", "macro_precision", "macro_recall", "macro_f1"]
    right = (predictions["expression"] == predictions["predicted"]).groupby(predictions["fold"]).mean()
    np.testing.assert_allclose(by_fold["accuracy"], right)
    assert table["accuracy"].item() == pytest.approx(right.mean())
    matrix = confusions(experiment)["Reader"]
    assert matrix.shape == (6, 6) and matrix.sum(axis=1).tolist() == [4] * 6
    assert np.trace(matrix) == (predictions["expression"] == predictions["predicted"]).sum()
    explained = evaluation.read_explained(experiment)
    counts = explained.groupby(["fold", "expression"]).size()
    assert set(counts) == {1} and len(counts) == predictions.groupby(["fold", "predicted"]).ngroups

    before = contents(experiment.evaluation_folder)
    (experiment.evaluation_folder / "predictions" / "Reader_CV2.csv").unlink()
    run = run_steps(experiment, "evaluation")
    assert (run.done, run.skipped) == (1, 1) and contents(experiment.evaluation_folder) == before


def test_models_that_answer_nonsense_or_were_not_trained_are_left_out_by_name(experiment):
    models = {
        "Reader": _own(_reads_colours),
        "Broken": _own(lambda images: np.full((len(images), 6), np.nan)),
        "Seven": _own(lambda images: np.full((len(images), 7), 1 / 7)),
    }
    with stand_in(experiment, "training"):
        pass
    several = experiment.replace(networks=(*models, "WeiNet"), models=models)
    run = run_steps(several, "evaluation")
    assert run.done == 2 and set(read_results(several, "evaluation", "predictions")["network"]) == {"Reader"}
    for network, reason in (
        ("Broken", "NaN or infinity"),
        ("Seven", r"shape \(3, 7\), but 'classes' names 6"),
        ("WeiNet", "WeiNet_CV2.keras is not there"),
    ):
        found = {entry["item"]: entry["reason"] for entry in run.omissions if network in entry["item"]}
        assert list(found) == [f"{network}_CV1", f"{network}_CV2"]
        assert re.search(reason, found[f"{network}_CV2"])
    assert read_json(several.evaluation_folder / "run.json")["omissions"] == run.omissions
    alone = several.replace(networks=("WeiNet",), models={})
    with pytest.raises(ModelError, match="No model of made could be evaluated. WeiNet_CV1: "):
        run_steps(alone, "evaluation")


def _dark_is_neutral(images):
    answers = np.full((len(images), 7), 0.1)
    dark = np.asarray(images).mean(axis=(1, 2, 3)) < 0.5
    answers[np.arange(len(images)), np.where(dark, 6, 3)] = 0.4
    return answers


def test_neutral_faces_that_a_model_does_not_take_for_neutral_are_noted(experiment):
    manifest = read_manifest(experiment)
    with stand_in(experiment, "faces"):
        ids = manifest["image_id"].where(manifest["expression"] == "anger", "")
        manifest.assign(neutral=ids).to_csv(experiment.manifest_path, index=False)
        write_image(_face_path(experiment, "made_s2_anger"), np.full((32, 32, 3), 200, np.uint8))
    run = run_steps(experiment.replace(models={"Reader": _own(_dark_is_neutral, "neutral")}), "evaluation")
    assert "Reader_CV1: 1 of 2 neutral faces are not neutral to it, such as made_s2_anger" in run.notes
    assert not any(note.startswith("Reader_CV2") and "neutral to it" in note for note in run.notes)
