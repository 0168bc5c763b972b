"""The step "explainers": settings and folders of each explainer; through all steps, resumed, compared."""

import numpy as np
import pandas as pd
import pytest
from made_steps import stand_in, with_
from PIL import Image
from tiny_study import make_study

from ekman_expressions.core.files import read_arrays, write_csv
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.explainers.facial_regions import _region_names
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.study import evaluation, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.explanations import _common_heatmaps, _summarise_regions

# One of each kind: records shared, maps from masks, maps from gradients, records of its own.
OTHERS = ("kernel_shap", "rise", "grad_cam", "facial_regions")
BEFORE = ("explanations", "facespace", "heatmaps", "masks", "scores", "dendrograms")
FEW = {
    "rise": {"masks": 40, "cells": 4},
    "occlusion": {"patch": 0.4, "stride": 0.3},
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"copies": 3},
}


def test_limes_artefacts_lie_as_in_the_study_and_others_below(experiment, tmp_path):
    assert experiment.explained_by("lime") == experiment
    assert experiment.maps_path("A", "CV1", "anger") == tmp_path / "results/smoke/facespace/A_CV1_Anger.npz"
    for name in EXPLAINERS:
        other = experiment.explained_by(name)
        assert other.explained_by("lime") == experiment
        # What does not depend on the explainer stays where it was.
        assert other.masks_folder == experiment.masks_folder
        shared = EXPLAINERS[name].records_of == "lime"
        assert (other.records_folder == experiment.records_folder) == shared
        if name != "lime":
            assert other.scores_folder == tmp_path / "results/smoke/explainers" / name / "scores"
            assert other.heatmaps_folder == tmp_path / "heatmaps/smoke/explainers" / name


def test_few_faces_for_those_that_need_forward_passes(experiment):
    rows = [("WeiNet", "CV1", name, f"face_{number}") for name in ("anger", "fear") for number in range(9)]
    table = pd.DataFrame(rows, columns=list(evaluation._EXPLAINED))
    with stand_in(experiment, "evaluation"):
        write_csv(experiment.evaluation_folder / "explained.csv", table)

    def read(faces, name):
        compared = with_(experiment, "explanation", compare=("rise", "kernel_shap"), compare_faces=faces)
        return evaluation.read_explained(compared.explained_by(name))

    for faces, name in ((2, "lime"), (2, "kernel_shap"), (2, "occlusion"), (None, "rise")):
        pd.testing.assert_frame_equal(read(faces, name), table)
    few, more = read(2, "rise"), read(3, "rise")
    assert few.groupby("expression").size().to_dict() == {"anger": 2, "fear": 2}
    # More faces contain the fewer.
    assert len(few.merge(more)) == 4 and len(more) == 6
    assert set(few.loc[few["expression"] == "anger", "image_id"]) != {"face_0", "face_1"}


def study_of(root, **settings):
    """A study with these settings of explanations, that has been through all steps before "explainers"."""
    study = make_study(root, options=FEW, **settings)
    run_steps(study, *BEFORE)
    return study


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    study = study_of(tmp_path_factory.mktemp("study"), compare=OTHERS, compare_faces=2)
    return study, run_steps(study, "explainers")


def test_every_explainer_goes_through_all_steps(compared):
    study, run = compared
    assert run.omissions == []
    for name in OTHERS:
        each = study.explained_by(name)
        for expression in ("anger", "fear"):
            # Grad-CAM of an untrained network may find nothing that speaks for a class.
            some = heatmaps.read_gray(each.heatmaps_folder, expression, "WeiNet", "CV1")
            assert some.shape == SHAPE and (some.max() == 255 or name == "grad_cam")
        scores = read_results(each, "scores", "scores_by_fold")
        assert scores["iou"].notna().sum() == 4 or name == "grad_cam"
        few = EXPLAINERS[name].records_of != "lime"
        assert set(read_results(each, "heatmaps", "counts")["images"]) == {0, 2 if few else 3}


def test_tables(compared):
    study, _ = compared
    names = ["lime", *OTHERS]
    ranking = read_results(study, "explainers", "ranking")
    assert ranking["explainer"].tolist() == names and (ranking["rank"] == 1).all()
    pairs = read_results(study, "explainers", "heatmap_correlations")
    assert set(pairs["expression"]) == {"anger", "fear"} and (pairs["faces"] == 4).all()
    assert len(pairs) == 2 * 10 and pairs["correlation"].dropna().between(-1, 1).all()
    assert read_results(study, "explainers", "rank_correlations").shape == (10, 4)
    table = read_results(study, "explainers", "facial_regions/regions")
    assert set(table["network"]) == {"WeiNet", "all"} and set(table["expression"]) == {"anger", "fear"}
    assert set(table["region"]) <= set(_region_names()) and "background" in set(table["region"])
    # Its pictures say what they are. Of one network there is no order to compare.
    (path,) = study.comparison_folder.glob("*.png")
    with Image.open(path) as picture:
        assert picture.text["Title"].startswith("Heatmaps")
        assert picture.text["Comment"].endswith("that all explained.")


def test_heatmaps_are_compared_on_the_same_faces(compared):
    study, _ = compared
    means, faces = _common_heatmaps(study, "WeiNet", "anger")
    assert faces == 4 and list(means) == ["lime", *OTHERS]
    rise, lime = (
        [read_arrays(study.explained_by(name).maps_path("WeiNet", fold, "anger")) for fold in study.folds]
        for name in ("rise", "lime")
    )
    maps = np.concatenate([part["maps"] for part in rise])
    np.testing.assert_allclose(means["rise"], maps.mean(axis=0), atol=1e-7)
    ids = np.concatenate([part["image_ids"] for part in rise])
    kept = np.concatenate([part["maps"][np.isin(part["image_ids"], ids)] for part in lime])
    np.testing.assert_allclose(means["lime"], kept.mean(axis=0), atol=1e-7)


def test_region_means_and_their_errors():
    rows = [("A", "left_eye", 1.0), ("A", "left_eye", 3.0), ("B", "left_eye", 5.0), ("B", "background", -1.0)]
    weights = pd.DataFrame(rows, columns=["network", "region", "weight"]).assign(expression="anger")
    table = _summarise_regions(weights).set_index(["network", "region"])
    assert table.loc[("A", "left_eye"), ["faces", "importance", "standard_error"]].tolist() == [2, 2, 1]
    assert table.loc[("all", "left_eye"), ["faces", "importance"]].tolist() == [3, 3]
    assert table.loc[("all", "left_eye"), "standard_error"] == pytest.approx(2 / np.sqrt(3))
    assert np.isnan(table.loc[("B", "background"), "standard_error"])


# The causal explainer, and faces without what it needs


@pytest.mark.parametrize("explainer, compare", [("lime", "causal"), ("causal", "kernel_shap")])
def test_without_neutral_faces_every_step_lists_what_is_left_out(tmp_path, explainer, compare):
    study = make_study(tmp_path, explainer=explainer, compare=(compare,))
    more = ("statistics", "regions") if explainer == "causal" else ()
    omitted = {}
    for step in (*BEFORE, "explainers", "quality", *more):
        omitted[step] = {
            entry["item"]
            for entry in run_steps(study, step).omissions
            if "has no neutral face of the same person" in entry["reason"]
        }
    where = "explainers" if compare == "causal" else "explanations"
    assert len([item for item in omitted[where] if "face_CV" in item]) == 12
    assert all(read_results(study, "explainers", name).empty for name in ("causal", "causal_values"))
