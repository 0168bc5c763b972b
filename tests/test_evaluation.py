"""Evaluation: scores worked out by hand, the choice of positives, and models that answer nonsense."""

import numpy as np
import pandas as pd
import pytest
import stub_study
from hypothesis import given, settings
from hypothesis import strategies as st
from made_faces import make_experiment
from made_steps import confusions, stand_in

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_json, write_image
from ekman_expressions.study import evaluation, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import _face_path, read_manifest
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.own_settings import OwnModel

COLOURS = np.array([[number % 2, number // 2 % 2, number // 4] for number in range(6)], np.float32)


def _save(experiment, network, fold, layers):
    """Put a model of our making where the training would."""
    import keras

    model = keras.Sequential([keras.Input((64, 64, 3)), *layers])
    path = experiment.model_path(network, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


def _colour_reader(experiment, network, fold):
    """A model that is right: it tells the six colours of the made faces apart."""
    import keras

    constant = keras.initializers.Constant
    # A colour's channels raise its score, and its number of channels lowers it.
    dense = keras.layers.Dense(
        6,
        activation="softmax",
        kernel_initializer=constant(600 * COLOURS.T),
        bias_initializer=constant(-270 * COLOURS.sum(axis=1)),
    )
    _save(experiment, network, fold, [keras.layers.GlobalAveragePooling2D(), dense])


def _finish_training(experiment):
    with stand_in(experiment, "training"):
        pass


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
    """Two folds with a model each that tells the made faces' colours apart."""
    made = make_experiment(tmp_path, subjects=4, explanation=dict(positives=1))
    for fold in made.folds:
        _colour_reader(made, "WeiNet", fold)
    _finish_training(made)
    return made


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


def test_step_writes_all_tables(experiment):
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
    matrix = confusions(experiment)["WeiNet"]
    assert matrix.shape == (6, 6) and matrix.sum(axis=1).tolist() == [4] * 6
    assert np.trace(matrix) == (predictions["expression"] == predictions["predicted"]).sum()
    explained = evaluation.read_explained(experiment)
    counts = explained.groupby(["fold", "expression"]).size()
    assert set(counts) == {1} and len(counts) == predictions.groupby(["fold", "predicted"]).ngroups


def test_second_run_asks_no_model_and_a_killed_one_goes_on(experiment):
    run_steps(experiment, "evaluation")
    folder = experiment.evaluation_folder
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    assert {"predictions.csv", "accuracy.csv", "confusion.csv"} < set(before)
    run = run_steps(experiment, "evaluation")
    assert (run.done, run.skipped) == (0, 2)
    (folder / "predictions" / "WeiNet_CV2.csv").unlink()
    run = run_steps(experiment, "evaluation")
    assert (run.done, run.skipped) == (1, 1)
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == before


def test_models_that_answer_nonsense_are_left_out_by_name(experiment):
    import keras

    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(7, activation="softmax")]
    _save(experiment, "WeiNet", "CV1", layers)
    with pytest.raises(ModelError, match="WeiNet_CV1 must predict 6 classes.*Received: 7"):
        evaluation._predict_model(experiment, "WeiNet", "CV1", Run())
    nan = keras.layers.Dense(6, kernel_initializer=keras.initializers.Constant(np.nan))
    _save(experiment, "WeiNet", "CV1", [keras.layers.GlobalAveragePooling2D(), nan])
    run = run_steps(experiment, "evaluation")
    assert run.done == 1
    assert [entry["item"] for entry in run.omissions] == ["WeiNet_CV1"]
    assert "NaN or infinity for 12 of 12 samples" in run.omissions[0]["reason"]
    assert set(read_results(experiment, "evaluation", "predictions")["fold"]) == {"CV2"}
    assert read_json(experiment.evaluation_folder / "run.json")["omissions"] == run.omissions


def test_a_model_that_was_not_trained_is_left_out(experiment):
    experiment.model_path("WeiNet", "CV2").unlink()
    run = run_steps(experiment, "evaluation")
    assert run.done == 1 and "WeiNet_CV2.keras is not there" in run.omissions[0]["reason"]
    experiment.model_path("WeiNet", "CV1").unlink()
    (experiment.evaluation_folder / "predictions" / "WeiNet_CV1.csv").unlink()
    with pytest.raises(ModelError, match="No model of made could be evaluated. WeiNet_CV1: "):
        run_steps(experiment, "evaluation")


def _dark_is_neutral(images):
    answers = np.full((len(images), 7), 0.1)
    dark = np.asarray(images).mean(axis=(1, 2, 3)) < 0.5
    answers[np.arange(len(images)), np.where(dark, 6, 3)] = 0.4
    return answers


def test_neutral_faces_that_a_model_does_not_take_for_neutral_are_noted(tmp_path):
    study = stub_study.make_study(tmp_path, networks=1)
    manifest = read_manifest(study)
    ids = manifest["image_id"].where(manifest["expression"] == "anger", "")
    with stand_in(study, "faces"):
        for place, image_id in enumerate(sorted(set(ids) - {""})):
            shade = np.full((stub_study.SIDE, stub_study.SIDE, 3), 200 if place == 1 else 20, np.uint8)
            write_image(_face_path(study, image_id), shade)
        manifest.assign(neutral=ids).to_csv(study.manifest_path, index=False)
    own = OwnModel(
        side=stub_study.SIDE, classes=(*EXPRESSIONS, "neutral"), call=_dark_is_neutral, version="1"
    )
    run = run_steps(study.replace(models={"Stub01": own}), "evaluation")
    assert "Stub01_CV1: 1 of 2 neutral faces are not neutral to it, such as CV1_anger_0001" in run.notes
    assert not any(note.startswith("Stub01_CV2") and "neutral to it" in note for note in run.notes)
