"""The step "explainers": settings and folders of each explainer; through all steps, resumed, compared."""

import numpy as np
import pandas as pd
import pytest
from made_steps import contents, stand_in
from tiny_study import make_study, written_at

from ekman_expressions import Experiment
from ekman_expressions.core.files import read_arrays, write_csv, write_image
from ekman_expressions.explainers import EXPLAINERS, StoredMap, face_parts
from ekman_expressions.explainers.facial_regions import _region_names
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.study import evaluation, explanations, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.explanations import _common_heatmaps, _summarise_regions, read_explanation
from ekman_expressions.study.prepared import _neutral_path, read_manifest
from ekman_expressions.study.provenance import _settings_of

ALL = tuple(name for name in EXPLAINERS if name != "lime")
# One of each kind: records shared, maps from masks, maps from gradients, records of its own.
OTHERS = ("kernel_shap", "rise", "grad_cam", "facial_regions")
BEFORE = ("explanations", "facespace", "heatmaps", "masks", "scores", "dendrograms")
FEW = {
    "rise": {"masks": 40, "cells": 4},
    "occlusion": {"patch": 0.4, "stride": 0.3},
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"copies": 3},
}


@pytest.fixture
def experiment(tmp_path):
    return Experiment.preset("smoke", root=tmp_path)


def with_(experiment, **settings):
    return experiment.replace(explanation=experiment.explanation.replace(**settings))


def test_limes_artefacts_lie_as_in_the_study_and_others_below(experiment, tmp_path):
    assert experiment.explained_by("lime") == experiment
    assert experiment.maps_path("A", "CV1", "anger") == tmp_path / "results/smoke/facespace/A_CV1_Anger.npz"
    for name in ALL:
        other = experiment.explained_by(name)
        assert other.explained_by("lime") == experiment
        below = tmp_path / "results/smoke/explainers" / name
        assert (other.explanations_folder, other.scores_folder) == (below / "explanations", below / "scores")
        assert other.heatmaps_folder == tmp_path / "heatmaps/smoke/explainers" / name
        # What does not depend on the explainer stays where it was.
        assert other.evaluation_folder == experiment.evaluation_folder
        assert other.masks_folder == experiment.masks_folder
        shared = EXPLAINERS[name].records_of == "lime"
        assert (other.records_folder == experiment.records_folder) == shared


def test_only_the_options_of_the_explainer_in_use_are_compared(experiment):
    few = with_(experiment, options={"rise": {"masks": 5}, "occlusion": {"stride": 0.5}})
    kept = _settings_of(few.explained_by("rise"), "explanation")["explanation"]
    assert kept["options"] == {"masks": 5, "cells": 7, "keep": 0.5}
    assert "kernel_width" not in kept and "samples" in kept
    default = _settings_of(experiment.explained_by("grad_cam"), "explanation")
    assert _settings_of(few.explained_by("grad_cam"), "explanation") == default
    assert "options" not in _settings_of(few, "explanation")["explanation"]


def test_few_faces_for_those_that_need_forward_passes(experiment):
    rows = [("WeiNet", "CV1", name, f"face_{number}") for name in ("anger", "fear") for number in range(9)]
    table = pd.DataFrame(rows, columns=list(evaluation._EXPLAINED))
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


def test_records_are_shared_and_maps_are_not(compared):
    study, _ = compared
    shared = study.explained_by("kernel_shap")
    assert shared.record_path("WeiNet", "CV1", "x") == study.record_path("WeiNet", "CV1", "x")
    assert not shared.explanations_folder.exists()
    rise = study.explained_by("rise")
    face = min(path.stem for path in (rise.records_folder / "WeiNet_CV1").glob("face_*.npz"))
    stored = StoredMap.load(rise.record_path("WeiNet", "CV1", face))
    assert stored.map.dtype == np.float32 and stored.map.min() < 0 and stored.passes == 40
    expression = "anger" if stored.target == 0 else "fear"
    read = read_explanation(rise, "WeiNet", "CV1", stored.image_id, expression)
    assert np.array_equal(read.map, stored.map) and read.explainer == "rise"


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
    one = table[(table["network"] == "WeiNet") & (table["region"] == "left_cheek")]
    assert (one["faces"] == 4).all() and table["standard_error"].ge(0).all()


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


def test_a_second_run_makes_nothing_and_more_faces_contain_the_fewer(compared):
    study, first = compared
    before, bytes_before = written_at(study.root), contents(study.root)
    again = run_steps(study, "explainers")
    assert first.done > 0 and again.done == 0 and again.skipped >= first.done
    assert written_at(study.root) == before
    # More faces contain the fewer; what is there is kept.
    more = study.replace(explanation=study.explanation.replace(compare_faces=3))
    run_steps(more, "explainers")
    counts = read_results(more.explained_by("grad_cam"), "heatmaps", "counts")
    assert set(counts["images"]) == {0, 3}
    # Fewer again: the heatmaps are those of the first time.
    run_steps(study, "explainers")
    after = contents(study.root)
    new = after.keys() - bytes_before.keys()
    assert new and all("/explanations/" in name for name in new)
    assert [name for name in bytes_before if after[name] != bytes_before[name]] == []


def test_the_explainer_in_use_may_be_any(tmp_path):
    study = study_of(tmp_path, explainer="occlusion", compare=("kernel_shap",))
    assert not study.explained_by("lime").records_folder.exists()
    assert run_steps(study, "explainers").omissions == []
    assert read_results(study, "explainers", "ranking")["explainer"].tolist() == ["occlusion", "kernel_shap"]
    assert study.explained_by("lime").records_folder.exists()


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


def test_causal_tables_name_what_cannot_be_read_and_count_predictions_that_fall(tmp_path):
    study = make_study(tmp_path, compare=("causal",), options={"causal": {"samples": 64}})
    random = np.random.default_rng(1)
    for row in read_manifest(study).itertuples():
        write_image(_neutral_path(study, row.image_id), random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    run_steps(study, *BEFORE)
    # Damaged between the steps, which only the comparison of explainers notices.
    path = study.record_path("WeiNet", "CV1", "face_CV1_2")
    whole, estimate = path.read_bytes(), explanations.read_explanation

    def read(by, network, fold, image_id, expression):
        if by.explanation.explainer == "lime" and image_id == "face_CV1_2":
            path.write_bytes(whole[:100])
        try:
            return estimate(by, network, fold, image_id, expression)
        finally:
            path.write_bytes(whole)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explanations, "read_explanation", read)
        run = run_steps(study, "explainers")
    assert [entry["item"] for entry in run.omissions if "damaged" in entry["reason"]] == [
        "lime WeiNet_CV1_face_CV1_2"
    ]
    assert len(read_results(study, "explainers", "causal")) == 11
    falls = (read_results(study, "explainers", "causal_values")[list(face_parts())].sum(axis=1) < 0).sum()
    assert 0 < falls < 12
    assert [note for note in run.notes if note.startswith("causal:")] == [
        f"causal: {falls} of 12 faces on WeiNet are predicted less as their class than their neutral face is"
    ]
