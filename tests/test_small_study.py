"""A small study with several trainings per fold, and a smaller input than the study's."""

import numpy as np
import pytest

from ekman_expressions import Experiment
from ekman_expressions.core.errors import SettingsError
from ekman_expressions.study import prepared, run
from ekman_expressions.study.evaluation import read_predictions
from ekman_expressions.study.heatmaps import read_counts
from ekman_expressions.study.scores import read_scores_by_fold
from ekman_expressions.study.training import split, training_table
from ekman_expressions.zoo import NETWORKS, saving


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    smoke = Experiment.preset("smoke", root=tmp_path_factory.mktemp("seeds"))
    training = {"seeds": 2, "overrides": {"WeiNet": {"side": 32, "epochs": 1, "warmup": 3}}}
    small = smoke.replace(
        networks=("WeiNet",),
        training=smoke.training.replace(**training),
        explanation=smoke.explanation.replace(compare=()),
    )
    for step in (
        "faces",
        "training",
        "evaluation",
        "explanations",
        "facespace",
        "heatmaps",
        "masks",
        "scores",
    ):
        run(small, step)
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


def test_seeds_of_a_fold_learn_from_and_are_tested_on_the_same_faces(study):
    manifest = prepared.read_manifest(study)
    fold = study.face_folds[0]
    for part, other in zip(split(study, manifest, fold), split(study, manifest, f"{fold}_S1"), strict=True):
        assert part.equals(other)
    tested = read_predictions(study).groupby("fold")["image_id"].apply(list)
    assert tested[fold] == tested[f"{fold}_S1"]
    assert set(tested[fold]) == set(manifest["image_id"][manifest["fold"] == fold])


def test_heatmaps_and_scores_have_a_row_per_seed(study):
    assert set(read_counts(study)["fold"]) == set(study.folds) == set(read_scores_by_fold(study)["fold"])


def test_networks_take_images_of_other_sides_and_too_small_a_side_is_refused():
    for name in ("SongNet", "AlexNet"):
        assert NETWORKS[name].build(side=64).input_shape == (None, 64, 64, 3)
    with pytest.raises(SettingsError, match="'side of WeiNet' must be"):
        NETWORKS["WeiNet"].build(side=16)
