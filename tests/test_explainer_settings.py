"""Which explainer is in use: its settings, its folders, its faces, and what is compared on disk."""

import pandas as pd
import pytest
from made_steps import stand_in

from ekman_expressions import Experiment
from ekman_expressions.core.errors import SettingsError
from ekman_expressions.core.files import write_csv
from ekman_expressions.explainers.specs import SPECS, resolved_options
from ekman_expressions.facespace.masks import mask_path
from ekman_expressions.study import evaluation
from ekman_expressions.study.provenance import settings_of
from ekman_expressions.study.settings import ExplanationSettings

OTHERS = sorted(set(SPECS) - {"lime"})


@pytest.fixture
def experiment(tmp_path):
    return Experiment.preset("smoke", root=tmp_path)


def with_(experiment, **settings):
    return experiment.replace(explanation=experiment.explanation.replace(**settings))


def test_limes_artefacts_lie_as_in_the_study(experiment, tmp_path):
    assert experiment.explained_by("lime") == experiment
    assert experiment.explanations_folder == tmp_path / "results/smoke/explanations"
    assert experiment.heatmaps_folder == tmp_path / "heatmaps/smoke"
    assert experiment.maps_path("A", "CV1", "anger") == tmp_path / "results/smoke/facespace/A_CV1_Anger.npz"


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_explainer_has_folders_of_its_own(experiment, tmp_path, name):
    other = experiment.explained_by(name)
    assert other.explanation.explainer == name and experiment.explanation.explainer == "lime"
    assert other.explained_by("lime") == experiment
    below = tmp_path / "results/smoke/explainers" / name
    assert [other.explanations_folder, other.facespace_folder, other.scores_folder] == [
        below / "explanations",
        below / "facespace",
        below / "scores",
    ]
    assert other.heatmaps_folder == tmp_path / "heatmaps/smoke/explainers" / name
    assert other.barplots_folder == tmp_path / "barplots/smoke/explainers" / name
    assert other.dendrograms_folder == tmp_path / "dendograms/smoke/explainers" / name
    # What does not depend on the explainer stays where it was.
    assert other.results_folder == experiment.results_folder
    assert other.evaluation_folder == experiment.evaluation_folder
    assert mask_path(other.masks_folder, "anger") == mask_path(experiment.masks_folder, "anger")
    shared = SPECS[name].records == "shared"
    assert (other.records_folder == experiment.records_folder) == shared
    assert other.record_path("A", "CV1", "x").parent.parent == other.records_folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"explainer": "gradcam"}, "'grad_cam'.*but got 'gradcam'"),
        ({"compare": ["shap"]}, "'explanation.compare'.*'kernel_shap'.*but got 'shap'"),
        ({"compare": "rise"}, "'explanation.compare' must be a list, but got 'rise'"),
        ({"compare": ["rise", "rise"]}, "different names"),
        ({"compare_faces": 0}, "'explanation.compare_faces'.*>= 1, but got 0"),
        ({"options": {"risen": {}}}, "'explanation.options'.*'rise'.*but got 'risen'"),
        ({"options": {"rise": {"mask": 9}}}, "'explanation.options.rise'.*'masks'.*but got 'mask'"),
        ({"options": {"rise": {"masks": 9.5}}}, "'explanation.options.rise.masks' must be of type Integral"),
        ({"options": {"rise": {"keep": 1}}}, r"in \[0.01, 0.99\], but got 1"),
        ({"options": {"grad_cam": {"score": "odds"}}}, "'probability', 'logit', but got 'odds'"),
        ({"options": {"integrated_gradients": {"superpixels": 1}}}, "must be of type bool, but got 1"),
    ],
)
def test_bad_settings_say_what_was_received(settings, message):
    with pytest.raises(SettingsError, match=message):
        ExplanationSettings(**settings)


def test_every_default_of_an_option_may_be_given(experiment):
    options = {name: resolved_options({}, name) for name in SPECS}
    assert with_(experiment, options=options).explanation.options == options
    assert resolved_options({"rise": {"masks": 9}}, "rise") == options["rise"] | {"masks": 9}


def test_only_the_options_of_the_explainer_in_use_are_compared(experiment):
    few = with_(experiment, options={"rise": {"masks": 5}, "occlusion": {"stride": 0.5}})
    kept = settings_of(few.explained_by("rise"), "explanation")["explanation"]
    assert kept["options"] == {"masks": 5, "cells": 7, "keep": 0.5}
    assert "kernel_width" not in kept and "samples" in kept
    default = settings_of(experiment.explained_by("grad_cam"), "explanation")
    assert settings_of(few.explained_by("grad_cam"), "explanation") == default
    assert "options" not in settings_of(few, "explanation")["explanation"]


def test_few_faces_for_those_that_need_model_calls(experiment):
    rows = [
        ("WeiNet", "CV1", expression, f"face_{number}")
        for expression in ("anger", "fear")
        for number in range(9)
    ]
    table = pd.DataFrame(rows, columns=list(evaluation.EXPLAINED))
    write_csv(experiment.evaluation_folder / "explained.csv", table)
    with stand_in(experiment, "evaluation"):
        pass

    def read(faces, name):
        return evaluation.read_explained(
            with_(experiment, compare=("rise", "kernel_shap"), compare_faces=faces).explained_by(name)
        )

    for name in ("lime", "kernel_shap", "occlusion"):
        pd.testing.assert_frame_equal(read(2, name), table)
    pd.testing.assert_frame_equal(read(None, "rise"), table)
    few, more = read(2, "rise"), read(3, "rise")
    assert few.groupby("expression").size().to_dict() == {"anger": 2, "fear": 2}
    assert len(few.merge(more)) == 4 and len(more) == 6
    assert set(few.loc[few["expression"] == "anger", "image_id"]) != {"face_0", "face_1"}
