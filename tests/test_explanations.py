"""The steps "explanations" and "facespace": what they write, skip, refuse and leave out."""

import numpy as np
import pytest
from made_steps import with_
from tiny_study import SIDE, make_study

from ekman_expressions.core.files import read_arrays
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.explainers import PerturbationRecord, lime
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.measures import cross_validated_r2
from ekman_expressions.study import read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.explanations import read_explanation


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """Prepared faces, tiny models under WeiNet's name, and LIME's explanations of faces chosen for them."""
    study = make_study(tmp_path_factory.mktemp("study"))
    return study, run_steps(study, "explanations")


@pytest.fixture
def study(explained):
    """The same, for other explainers, which have folders of their own."""
    return explained[0]


def test_explanations_and_face_space(explained):
    study, run = explained
    assert (run.done, run.skipped, run.omissions) == (12, 0, [])
    record = PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_1"))
    assert (record.image_id, record.model) == ("face_CV1_1", "WeiNet_CV1")
    assert record.predictions.shape == (40, 6) and record.segments.shape == (SIDE, SIDE)

    run = run_steps(study, "facespace")
    assert (run.done, run.skipped, run.omissions) == (12, 0, [])
    stored = read_arrays(study.maps_path("WeiNet", "CV1", "fear"), ("maps", "image_ids"))
    assert stored["maps"].shape == (3, *SHAPE) and stored["maps"].dtype == np.float32
    assert stored["image_ids"].tolist() == ["face_CV1_1", "face_CV1_3", "face_CV1_5"]
    points = read_arrays(study.faces_folder / "landmarks" / "face_CV1_1.npz")["points"]
    one = lime(record, 2)
    assert np.array_equal(stored["maps"][0], normalise(np.maximum(one.map, 0), points))
    assert not study.maps_path("WeiNet", "CV1", "disgust").exists()

    table = read_results(study, "facespace", "explanations")
    assert table["image_id"].tolist() == [f"face_{fold}_{at}" for fold in study.folds for at in range(6)]
    row = table[table["image_id"] == "face_CV1_1"].iloc[0]
    assert row[["network", "fold", "expression", "hidden"]].tolist() == ["WeiNet", "CV1", "fear", "black"]
    unseen = cross_validated_r2(record, 2, seed=derive_seed(0, "unseen", "WeiNet_CV1", "face_CV1_1"))
    numbers = {"r2": one.r2, "r2_unseen": unseen, "superpixels": len(one.weights), "passes": 40}
    numbers |= {"largest_weight": one.weights.max(), "mean_standard_error": one.standard_errors.mean()}
    assert row[list(numbers)].to_dict() == pytest.approx(numbers) and unseen < one.r2


def test_what_is_to_be_known_of_explanations_is_noted_with_the_number_of_faces(explained):
    """Too few samples for R², attributions that are not complete."""
    study, run = explained
    (note,) = [note for note in run.notes if note.startswith("WeiNet_CV1")]
    assert "fewer than 6 samples per superpixel" in note and "(all 6 faces)" in note
    options = {"integrated_gradients": {"tolerance": 0.0, "steps": 256}}
    never = with_(study, "explanation", explainer="integrated_gradients", options=options)
    run = run_steps(never, "explanations", "facespace")
    (note,) = [note for note in run.notes if note.startswith("WeiNet_CV2")]
    assert "within 0% after 256 steps (all 6 faces)" in note
    table = read_results(never, "facespace", "explanations")
    assert (table["passes"] == 257).all() and (table["completeness"] > 0).all()
    assert table[["r2", "r2_unseen"]].isna().all(axis=None)


def test_another_kernel_width_costs_no_query_and_means_of_superpixels_need_superpixels(study):
    wider = with_(study, "explanation", kernel_width=1.0)
    run = run_steps(wider, "explanations")
    assert (run.done, run.skipped) == (0, 12)
    one, other = (read_explanation(of, "WeiNet", "CV1", "face_CV1_1", "fear") for of in (study, wider))
    assert one.r2 != other.r2 and one.passes == other.passes == 40
    rise = with_(study, "explanation", explainer="rise", hidden="superpixel_mean")
    run = run_steps(rise, "explanations")
    assert len(run.omissions) == 12 and "needs superpixels" in run.omissions[0]["reason"]


def test_models_and_faces_that_cannot_be_used_are_listed_and_the_others_go_on(tmp_path):
    study = make_study(tmp_path, nan=("CV1",))
    (study.faces_folder / "faces" / "face_CV2_3.png").write_bytes(b"no image")
    run = run_steps(study, "explanations")
    assert run.done == 5
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert sorted(reasons) == [f"WeiNet_CV1 face_CV1_{at}" for at in range(6)] + ["WeiNet_CV2 face_CV2_3"]
    assert "cannot be read as an image" in reasons.pop("WeiNet_CV2 face_CV2_3")
    assert all("NaN" in reason for reason in reasons.values())
    warped = run_steps(study, "facespace")
    assert warped.done == 5 and len(warped.omissions) == 7
    assert not study.maps_path("WeiNet", "CV1", "anger").exists()
    assert set(read_results(study, "facespace", "explanations")["fold"]) == {"CV2"}
