"""A small study with several trainings per fold, and a smaller input than the study's."""

import numpy as np
import pytest

from ekman_expressions import Experiment
from ekman_expressions.core.errors import SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.explainers import face_parts
from ekman_expressions.facespace.heatmaps import heatmap_path
from ekman_expressions.study import prepared, read_results, run
from ekman_expressions.study.evaluation import read_explained
from ekman_expressions.study.training import read_model, training_table
from ekman_expressions.zoo import NETWORKS, saving


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    smoke = Experiment.preset("smoke", root=tmp_path_factory.mktemp("seeds"))
    training = {"seeds": 2, "overrides": {"WeiNet": {"side": 32, "epochs": 1, "warmup": 3}}}
    small = smoke.replace(
        networks=("WeiNet",),
        training=smoke.training.replace(**training),
        explanation=smoke.explanation.replace(
            compare=("causal",), compare_faces=1, options={"causal": {"samples": 64}}
        ),
    )
    run(small, "faces", "training", "evaluation", "explanations", "facespace", "heatmaps", "masks", "scores")
    run(small, "explainers")
    return small


def test_each_fold_has_a_model_per_seed_of_the_side_that_is_set(study):
    folds = study.face_folds
    assert study.folds == (*folds, *(f"{fold}_S1" for fold in folds))
    table = training_table(study)
    assert list(table["fold"]) == list(study.folds) and set(table["side"]) == {32}
    models = [saving.load(study.model_path("WeiNet", fold)) for fold in (folds[0], f"{folds[0]}_S1")]
    assert models[0].input_shape == (None, 32, 32, 3)
    first, second = (model.get_weights()[0] for model in models)
    assert not np.allclose(first, second)
    for step, name in (("heatmaps", "counts"), ("scores", "scores_by_fold")):
        assert set(read_results(study, step, name)["fold"]) == set(study.folds)


def test_seeds_of_a_fold_learn_from_and_are_tested_on_the_same_faces(study):
    manifest = prepared.read_manifest(study)
    fold = study.face_folds[0]
    images = training_table(study).set_index("fold")["images"]
    assert images[fold] == images[f"{fold}_S1"] == (manifest["fold"] != fold).sum()
    tested = read_results(study, "evaluation", "predictions").groupby("fold")["image_id"].apply(list)
    assert tested[fold] == tested[f"{fold}_S1"]
    assert set(tested[fold]) == set(manifest["image_id"][manifest["fold"] == fold])


def test_networks_take_images_of_other_sides_and_too_small_a_side_is_refused():
    for name in ("SongNet", "AlexNet"):
        assert NETWORKS[name].build(side=64).input_shape == (None, 64, 64, 3)
    with pytest.raises(SettingsError, match="'side of WeiNet' must be"):
        NETWORKS["WeiNet"].build(side=16)


def test_causal_values_sum_to_the_change_from_the_neutral_face(study):
    values = read_results(study, "explainers", "causal_values")
    assert len(values) == len(read_explained(study.explained_by("causal")))
    row = values.iloc[0]
    model = read_model(study, row["network"], row["fold"])
    faces = prepared.prepared_faces(study, [row["image_id"]])
    pair = model.predict(np.concatenate([faces.at(32), faces.at(32, neutral=True)]))
    change = np.subtract(*pair[:, EXPRESSIONS.index(row["expression"])])
    assert row[list(face_parts())].sum() == pytest.approx(change, abs=1e-5)
    agreement = read_results(study, "explainers", "causal")
    assert set(agreement["explainer"]) == {"lime"} and agreement["spearman"].between(-1, 1).all()
    assert heatmap_path(study.explained_by("causal").heatmaps_folder, row["expression"], "WeiNet").exists()
