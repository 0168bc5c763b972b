"""The steps \"explanations\" and \"facespace\": what they write, skip, refuse and leave out."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ekman_expressions import Experiment
from ekman_expressions.errors import ConflictError, MissingError
from ekman_expressions.explainers import explain, read_explanations
from ekman_expressions.explainers.lime import lime, paint
from ekman_expressions.facespace import normalise, normalise_explanations
from ekman_expressions.facespace.template import POINTS, SHAPE
from ekman_expressions.perturbation import PerturbationRecord
from ekman_expressions.provenance import record
from ekman_expressions.storage import (
    read_arrays,
    read_csv,
    read_json,
    write_arrays,
    write_csv,
    write_image,
    write_json,
)

SIDE = 64
TINY = """
name = "tiny"
networks = ["WeiNet"]
faces = {{folds = 2, size = 64}}
explanation = {{samples = {samples}, segments = 12}}
"""


def tiny_model(path, seed, *, nan=False):
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(4, 5, strides=3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="softmax"),
        ]
    )
    if nan:
        model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


@pytest.fixture
def study(tmp_path):
    """Prepared faces, tiny models under WeiNet's name, and faces chosen for them."""
    return make_study(tmp_path)


def make_study(root, *, samples=40, nan=()):
    experiment = Experiment.from_dict(tomllib.loads(TINY.format(samples=samples)), root=root)
    random = np.random.default_rng(0)
    manifest, explained = [], []
    for fold in experiment.folds:
        for number in range(6):
            image_id = f"face_{fold}_{number}"
            coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            points = np.float32(POINTS[:68] / (224, 275) * 0.8 + random.normal(0.1, 0.003, (68, 2)))
            folder = experiment.faces_folder
            write_image(folder / "faces" / f"{image_id}.png", coarse.repeat(8, 0).repeat(8, 1))
            write_arrays(folder / "landmarks" / f"{image_id}.npz", {"points": points})
            manifest.append((image_id, f"faces/{image_id}.png", "synthetic", f"s/{fold}", "anger", fold))
            explained.append(("WeiNet", fold, ("anger", "fear")[number % 2], image_id))
    columns = ["image_id", "path", "dataset", "subject", "expression", "fold"]
    write_csv(experiment.manifest_path, pd.DataFrame(manifest, columns=columns))
    columns = ["network", "fold", "expression", "image_id"]
    write_csv(experiment.evaluation_folder / "explained.csv", pd.DataFrame(explained, columns=columns))
    with record(experiment.evaluation_folder, "evaluation", {}, redo=True):
        pass
    for seed, fold in enumerate(experiment.folds):
        tiny_model(experiment.model_path("WeiNet", fold), seed, nan=fold in nan)
    return experiment


def contents(folder):
    """Bytes of all finished files; run.json holds times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json" and not path.name.startswith(".")
    }


def written_at(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_explanations_and_face_space(study):
    run = explain(study)
    assert (run.done, run.skipped, run.omissions) == (12, 0, [])
    found = PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_0"))
    assert (found.image_id, found.model) == ("face_CV1_0", "WeiNet_CV1")
    assert found.answers.shape == (40, 6) and found.segments.shape == (SIDE, SIDE)
    summary = read_json(study.explanations_folder / "run.json")
    assert set(summary["inputs"]) == {"manifest", "model WeiNet_CV1", "model WeiNet_CV2"}

    table = read_csv(study.explanations_folder / "explanations.csv")
    row = table[table["image_id"] == "face_CV1_1"].iloc[0]
    one = lime(PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_1")), 2)
    assert (row["network"], row["fold"], row["expression"]) == ("WeiNet", "CV1", "fear")
    assert row["r2"] == pytest.approx(one.r2) and row["superpixels"] == len(one.weights)
    assert row["largest_weight"] == pytest.approx(one.weights.max())
    assert row["mean_standard_error"] == pytest.approx(one.standard_errors.mean())

    run = normalise_explanations(study)
    assert (run.done, run.skipped, run.omissions) == (12, 0, [])
    stored = read_arrays(study.maps_path("WeiNet", "CV1", "fear"), ("maps", "image_ids"))
    assert stored["maps"].shape == (3, *SHAPE) and stored["maps"].dtype == np.float32
    assert stored["image_ids"].tolist() == ["face_CV1_1", "face_CV1_3", "face_CV1_5"]
    points = read_arrays(study.faces_folder / "landmarks" / "face_CV1_1.npz")["points"]
    found = PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_1"))
    assert np.array_equal(stored["maps"][0], normalise(paint(one.weights, found.segments), points))
    assert not study.maps_path("WeiNet", "CV1", "disgust").exists()


def test_a_second_run_makes_nothing_and_changes_nothing(study):
    explain(study)
    normalise_explanations(study)
    before = written_at(study.results_folder)
    again, warped = explain(study), normalise_explanations(study)
    assert (again.done, again.skipped, warped.done, warped.skipped) == (0, 12, 0, 12)
    assert written_at(study.results_folder) == before


def test_another_kernel_width_costs_no_record(study):
    explain(study)
    records = {path: path.read_bytes() for path in study.explanations_folder.rglob("face_*.npz")}
    before = read_explanations(study)
    wider = replace(study, explanation=replace(study.explanation, kernel_width=1.0))
    run = explain(wider)
    assert (run.done, run.skipped) == (0, 12)
    assert all(path.read_bytes() == content for path, content in records.items())
    after = read_explanations(study)
    assert (after["kernel_width"] == 1).all()
    assert not np.allclose(after["r2"], before["r2"])


def test_other_settings_or_another_model_are_refused(study):
    explain(study)
    other = replace(study, explanation=replace(study.explanation, samples=50))
    with pytest.raises(ConflictError, match="samples = 40.*50"):
        explain(other)
    tiny_model(study.model_path("WeiNet", "CV2"), 9)
    with pytest.raises(ConflictError, match="model WeiNet_CV2"):
        explain(study)


def test_steps_that_have_not_run(study):
    with pytest.raises(MissingError, match="explanations"):
        normalise_explanations(study)
    (study.evaluation_folder / "explained.csv").unlink()
    with pytest.raises(MissingError, match="evaluation"):
        explain(study)


def test_a_model_that_answers_nan_is_listed_and_the_others_go_on(tmp_path):
    study = make_study(tmp_path, nan=("CV1",))
    run = explain(study)
    assert run.done == 6
    items = [entry["item"] for entry in run.omissions]
    assert sorted(items) == [f"WeiNet_CV1 face_CV1_{number}" for number in range(6)]
    assert all("NaN" in entry["reason"] for entry in run.omissions)
    warped = normalise_explanations(study)
    assert warped.done == 6 and len(warped.omissions) == 6
    assert not study.maps_path("WeiNet", "CV1", "anger").exists()
    assert set(read_csv(study.explanations_folder / "explanations.csv")["fold"]) == {"CV2"}


def test_models_and_faces_that_cannot_be_read_are_listed(study):
    study.model_path("WeiNet", "CV1").write_bytes(b"no model")
    (study.faces_folder / "faces" / "face_CV2_3.png").write_bytes(b"no image")
    run = explain(study)
    assert run.done == 5 and len(run.omissions) == 7
    assert run.omissions[-1]["item"] == "WeiNet_CV2 face_CV2_3"
    assert "cannot be read as an image" in run.omissions[-1]["reason"]


def test_a_model_that_was_not_trained_is_listed(study):
    study.model_path("WeiNet", "CV1").unlink()
    run = explain(study)
    assert run.done == 6 and {entry["item"].split()[0] for entry in run.omissions} == {"WeiNet_CV1"}


def test_damaged_records_and_maps_are_made_again(study):
    explain(study)
    normalise_explanations(study)
    before = contents(study.results_folder)
    record = study.record_path("WeiNet", "CV2", "face_CV2_2")
    maps = study.maps_path("WeiNet", "CV1", "anger")
    record.write_bytes(record.read_bytes()[:200])
    maps.write_bytes(maps.read_bytes()[:200])
    # As after a kill: the step had begun and not ended.
    summary = read_json(study.explanations_folder / "run.json")
    write_json(study.explanations_folder / "run.json", summary | {"end": None})
    assert (explain(study).done, normalise_explanations(study).done) == (1, 3)
    assert contents(study.results_folder) == before


def test_maps_are_made_again_when_what_they_come_from_has_changed(study):
    explain(study)
    normalise_explanations(study)
    path = study.faces_folder / "landmarks" / "face_CV1_1.npz"
    points = read_arrays(path)["points"]
    write_arrays(path, {"points": points + 0.01})
    run = normalise_explanations(study)
    assert (run.done, run.skipped) == (3, 9)


def test_a_run_killed_midway_and_continued_leaves_the_same_bytes(tmp_path):
    samples = 1000
    straight = make_study(tmp_path / "straight", samples=samples)
    explain(straight)
    normalise_explanations(straight)
    killed = make_study(tmp_path / "killed", samples=samples)
    settings = tmp_path / "tiny.toml"
    settings.write_text(TINY.format(samples=samples))
    code = (
        "from ekman_expressions import Experiment, explainers\n"
        f"explainers.explain(Experiment.from_toml({str(settings)!r}, root={str(tmp_path / 'killed')!r}))"
    )
    repository = Path(__file__).parent.parent
    process = subprocess.Popen([sys.executable, "-c", code], cwd=repository, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(killed.explanations_folder.rglob("[!.]*.npz"))) < 3:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    there = len(contents(killed.explanations_folder))
    assert 3 <= there < 12
    assert read_json(killed.explanations_folder / "run.json")["end"] is None
    with pytest.raises(MissingError, match="stopped before its end"):
        normalise_explanations(killed)
    run = explain(killed)
    assert (run.done, run.skipped) == (12 - there, there)
    normalise_explanations(killed)
    assert contents(killed.results_folder) == contents(straight.results_folder)
