"""Evaluation: scores worked out by hand, the choice of positives, and models that answer nonsense."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_faces import make_experiment
from made_steps import confusions, contents, stand_in
from scipy.special import softmax

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_json
from ekman_expressions.study import evaluation, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.zoo.own_settings import OwnModel

COLOURS = np.array([[number % 2, number // 2 % 2, number // 4] for number in range(6)], np.float32)


def _reads_colours(images):
    """Be right: tell the six colours of the made faces apart."""
    # A colour's channels raise its score, and its number of channels lowers it.
    return softmax(600 * images.mean(axis=(1, 2)) @ COLOURS.T - 270 * COLOURS.sum(axis=1), axis=1)


def _own(call, *more_classes):
    return OwnModel(call=call, version="1", side=32, classes=(*EXPRESSIONS, *more_classes))


def _predictions(truth, predicted, network="WeiNet", fold="CV1"):
    image_ids = [f"face{number}" for number in range(len(truth))]
    table = pd.DataFrame({"image_id": image_ids, "expression": truth, "predicted": predicted})
    return table.assign(network=network, fold=fold)


# anger: 1 of 1 right, called twice; fear: 1 of 2 right, called once; surprise never.
THREE = _predictions(["anger", "fear", "fear"], ["anger", "anger", "fear"])


@pytest.fixture
def experiment(tmp_path):
    """Two folds of made faces, and one model for both that tells their colours apart."""
    models = {"Reader": _own(_reads_colours)}
    return make_experiment(tmp_path, tuple(models), models=models, explanation=dict(positives=1))


def test_scores_of_three_faces_by_hand():
    (row,) = evaluation._accuracy_by_fold(THREE).to_dict("records")
    assert (row.pop("network"), row.pop("fold")) == ("WeiNet", "CV1")
    means = {"accuracy": 2 / 3, "macro_precision": (1 / 2 + 1) / 2, "macro_recall": (1 + 1 / 2) / 2}
    assert row == pytest.approx(means | {"macro_f1": 2 / 3})
    # What is shown, but never predicted, has precision 0.
    never = evaluation._accuracy_by_fold(_predictions(["anger", "fear"], ["anger", "anger"])).iloc[0]
    assert never["macro_precision"] == pytest.approx((1 / 2 + 0) / 2)


def test_confusion_counts_shown_by_predicted():
    summed = evaluation._confusion(pd.concat([THREE, _predictions(["fear"], ["anger"], fold="CV2")]))
    assert len(summed) == 36 and summed["images"].sum() == 4
    cells = summed.set_index(["expression", "predicted"])["images"]
    assert (cells["fear", "anger"], cells["anger", "fear"], cells["fear", "fear"]) == (2, 0, 1)
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
    # The two expressions alternate.
    draws = chosen["image_id"].str[4:].astype(int) // 2
    assert draws.groupby([chosen["fold"], chosen["expression"]]).agg(frozenset).nunique() == 4
    other = evaluation._choose_positives(predictions, 10, seed=1)
    assert set(other["image_id"]) != set(chosen["image_id"])


def test_step_writes_all_tables_and_a_killed_one_goes_on(experiment):
    run = run_steps(experiment, "evaluation")
    assert (run.done, run.skipped, run.omissions) == (2, 0, [])
    predictions = read_results(experiment, "evaluation", "predictions")
    columns = evaluation._columns(experiment)
    assert list(predictions.columns) == columns and len(predictions) == 24
    probabilities = predictions[columns[-6:]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (np.array(EXPRESSIONS)[probabilities.argmax(axis=1)] == predictions["predicted"]).all()
    # Each model sees its own test fold only: subjects 0 and 2 are in CV1.
    seen = predictions.loc[predictions["fold"] == "CV1", "image_id"]
    assert set(seen.str[5:7]) == {"s0", "s2"}
    right = (predictions["expression"] == predictions["predicted"]).groupby(predictions["fold"]).mean()
    np.testing.assert_allclose(read_results(experiment, "evaluation", "accuracy_by_fold")["accuracy"], right)
    table = read_results(experiment, "evaluation", "accuracy")
    assert list(table.columns) == ["network", "accuracy", "macro_precision", "macro_recall", "macro_f1"]
    assert table["accuracy"].item() == pytest.approx(right.mean())
    assert confusions(experiment)["Reader"].sum(axis=1).tolist() == [4] * 6
    counts = evaluation.read_explained(experiment).groupby(["fold", "expression"]).size()
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
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert sorted(reasons) == [f"{name}_CV{k}" for name in ("Broken", "Seven", "WeiNet") for k in (1, 2)]
    assert "NaN or infinity" in reasons["Broken_CV2"] and "'classes' names 6" in reasons["Seven_CV2"]
    assert "WeiNet_CV2.keras is not there" in reasons["WeiNet_CV2"]
    assert read_json(several.evaluation_folder / "run.json")["omissions"] == run.omissions
    alone = several.replace(networks=("WeiNet",), models={})
    with pytest.raises(ModelError, match="No model of made could be evaluated. WeiNet_CV1: "):
        run_steps(alone, "evaluation")
