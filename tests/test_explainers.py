"""The steps \"explanations\" and \"facespace\": what they write, skip, refuse and leave out."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_study import SIDE, TINY, contents, make_study, tiny_model, written_at

from ekman_expressions.core.errors import ConflictError, MissingError
from ekman_expressions.core.files import read_arrays, read_csv, read_json, write_arrays, write_json
from ekman_expressions.explainers.lime import lime, paint
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.explanations import read_explanations


@pytest.fixture
def study(tmp_path):
    """Prepared faces, tiny models under WeiNet's name, and faces chosen for them."""
    return make_study(tmp_path)


def test_explanations_and_face_space(study):
    run = run_steps(study, "explanations")
    assert (run.done, run.skipped, run.omissions) == (12, 0, [])
    found = PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_0"))
    assert (found.image_id, found.model) == ("face_CV1_0", "WeiNet_CV1")
    assert found.predictions.shape == (40, 6) and found.segments.shape == (SIDE, SIDE)
    summary = read_json(study.explanations_folder / "run.json")
    models = {f"training/WeiNet_{fold}.keras" for fold in study.folds}
    assert set(summary["inputs"]) == {"faces/manifest.csv", "evaluation", *models}

    table = read_csv(study.explanations_folder / "explanations.csv")
    row = table[table["image_id"] == "face_CV1_1"].iloc[0]
    one = lime(PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_1")), 2)
    assert (row["network"], row["fold"], row["expression"]) == ("WeiNet", "CV1", "fear")
    assert row["r2"] == pytest.approx(one.r2) and row["superpixels"] == len(one.weights)
    assert row["largest_weight"] == pytest.approx(one.weights.max())
    assert row["mean_standard_error"] == pytest.approx(one.standard_errors.mean())

    run = run_steps(study, "facespace")
    assert (run.done, run.skipped, run.omissions) == (12, 0, [])
    stored = read_arrays(study.maps_path("WeiNet", "CV1", "fear"), ("maps", "image_ids"))
    assert stored["maps"].shape == (3, *SHAPE) and stored["maps"].dtype == np.float32
    assert stored["image_ids"].tolist() == ["face_CV1_1", "face_CV1_3", "face_CV1_5"]
    points = read_arrays(study.faces_folder / "landmarks" / "face_CV1_1.npz")["points"]
    found = PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_1"))
    assert np.array_equal(stored["maps"][0], normalise(paint(one.weights, found.segments), points))
    assert not study.maps_path("WeiNet", "CV1", "disgust").exists()


def test_a_second_run_makes_nothing_and_changes_nothing(study):
    run_steps(study, "explanations")
    run_steps(study, "facespace")
    before = written_at(study.results_folder)
    again, warped = run_steps(study, "explanations"), run_steps(study, "facespace")
    assert (again.done, again.skipped, warped.done, warped.skipped) == (0, 12, 0, 12)
    assert written_at(study.results_folder) == before


def test_another_kernel_width_costs_no_record(study):
    run_steps(study, "explanations")
    records = {path: path.read_bytes() for path in study.explanations_folder.rglob("face_*.npz")}
    before = read_explanations(study)
    wider = study.replace(explanation=study.explanation.replace(kernel_width=1.0))
    run = run_steps(wider, "explanations")
    assert (run.done, run.skipped) == (0, 12)
    assert all(path.read_bytes() == content for path, content in records.items())
    after = read_explanations(study)
    assert (after["kernel_width"] == 1).all()
    assert not np.allclose(after["r2"], before["r2"])


def test_other_settings_or_another_model_are_refused(study):
    run_steps(study, "explanations")
    other = study.replace(explanation=study.explanation.replace(samples=50))
    with pytest.raises(ConflictError, match="samples = 40.*50"):
        run_steps(other, "explanations")
    tiny_model(study.model_path("WeiNet", "CV2"), 9)
    with pytest.raises(ConflictError, match="training/WeiNet_CV2.keras"):
        run_steps(study, "explanations")


def test_steps_that_have_not_run(study):
    with pytest.raises(MissingError, match="explanations"):
        run_steps(study, "facespace")
    (study.evaluation_folder / "explained.csv").unlink()
    with pytest.raises(MissingError, match="evaluation"):
        run_steps(study, "explanations")


def test_a_model_that_answers_nan_is_listed_and_the_others_go_on(tmp_path):
    study = make_study(tmp_path, nan=("CV1",))
    run = run_steps(study, "explanations")
    assert run.done == 6
    items = [entry["item"] for entry in run.omissions]
    assert sorted(items) == [f"WeiNet_CV1 face_CV1_{number}" for number in range(6)]
    assert all("NaN" in entry["reason"] for entry in run.omissions)
    warped = run_steps(study, "facespace")
    assert warped.done == 6 and len(warped.omissions) == 6
    assert not study.maps_path("WeiNet", "CV1", "anger").exists()
    assert set(read_csv(study.explanations_folder / "explanations.csv")["fold"]) == {"CV2"}


def test_models_and_faces_that_cannot_be_read_are_listed(study):
    study.model_path("WeiNet", "CV1").write_bytes(b"no model")
    (study.faces_folder / "faces" / "face_CV2_3.png").write_bytes(b"no image")
    run = run_steps(study, "explanations")
    assert run.done == 5 and len(run.omissions) == 7
    assert run.omissions[-1]["item"] == "WeiNet_CV2 face_CV2_3"
    assert "cannot be read as an image" in run.omissions[-1]["reason"]


def test_a_model_that_was_not_trained_is_listed(study):
    study.model_path("WeiNet", "CV1").unlink()
    run = run_steps(study, "explanations")
    assert run.done == 6 and {entry["item"].split()[0] for entry in run.omissions} == {"WeiNet_CV1"}


def test_damaged_records_and_maps_are_made_again(study):
    run_steps(study, "explanations")
    run_steps(study, "facespace")
    before = contents(study.results_folder)
    record = study.record_path("WeiNet", "CV2", "face_CV2_2")
    maps = study.maps_path("WeiNet", "CV1", "anger")
    record.write_bytes(record.read_bytes()[:200])
    maps.write_bytes(maps.read_bytes()[:200])
    # As after a kill: the step had begun and not ended.
    summary = read_json(study.explanations_folder / "run.json")
    write_json(study.explanations_folder / "run.json", summary | {"end": None})
    assert (run_steps(study, "explanations").done, run_steps(study, "facespace").done) == (1, 3)
    assert contents(study.results_folder) == before


def test_maps_are_made_again_when_what_they_come_from_has_changed(study):
    run_steps(study, "explanations")
    run_steps(study, "facespace")
    path = study.faces_folder / "landmarks" / "face_CV1_1.npz"
    points = read_arrays(path)["points"]
    write_arrays(path, {"points": points + 0.01})
    run = run_steps(study, "facespace")
    assert (run.done, run.skipped) == (3, 9)


KILLED = """
import os, signal, sys
from ekman_expressions import Experiment
from ekman_expressions.study import run as run_steps
from ekman_expressions.explainers.record import PerturbationRecord
save, saved = PerturbationRecord.save, []
def save_or_die(record, path):
    if len(saved) == 4:
        # As at a kill while a record is written.
        path.with_name(f".{os.getpid()}-{path.name}").write_bytes(b"PK")
        os.kill(os.getpid(), signal.SIGKILL)
    save(record, path)
    saved.append(path)
PerturbationRecord.save = save_or_die
run_steps(Experiment.from_toml(sys.argv[1], root=sys.argv[2]), "explanations")
"""


def test_a_run_killed_midway_and_continued_leaves_the_same_bytes(tmp_path):
    straight = make_study(tmp_path / "straight")
    run_steps(straight, "explanations")
    run_steps(straight, "facespace")
    killed = make_study(tmp_path / "killed")
    settings = tmp_path / "tiny.toml"
    settings.write_text(TINY.format(samples=40))
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(settings), str(tmp_path / "killed")],
        cwd=Path(__file__).parent.parent,
    )
    assert process.returncode == -signal.SIGKILL
    there = len(list(killed.explanations_folder.rglob("[!.]*.npz")))
    assert there == 4
    assert read_json(killed.explanations_folder / "run.json")["end"] is None
    with pytest.raises(MissingError, match="stopped before its end"):
        run_steps(killed, "facespace")
    run = run_steps(killed, "explanations")
    assert (run.done, run.skipped) == (12 - there, there)
    run_steps(killed, "facespace")
    assert contents(killed.results_folder) == contents(straight.results_folder)
