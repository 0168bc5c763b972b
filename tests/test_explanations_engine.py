"""The step "explanations": how many samples, how many at a time, and what models share."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_explainers import SIDE, contents, make_study

from ekman_expressions.core.errors import ConflictError, DataError, SettingsError
from ekman_expressions.core.files import read_csv, read_json, write_csv, write_json
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.study import explanations
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.settings import ExplanationSettings
from ekman_expressions.zoo import probing


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path)


def changed(study, **values):
    return study.replace(explanation=study.explanation.replace(**values))


def records(study):
    for row in read_csv(study.evaluation_folder / "explained.csv").itertuples():
        yield row, PerturbationRecord.load(study.record_path(row.network, row.fold, row.image_id))


# --- which samples


def test_records_of_another_sampler_are_refused(study):
    run_steps(study, "explanations")
    with pytest.raises(ConflictError, match="sampler = 'iid'.*'orthogonal'"):
        run_steps(changed(study, sampler="orthogonal"), "explanations")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"samples": "many"}, "'explanation.samples' must be a valid integer"),
        ({"samples": 1}, "'explanation.samples' must be >= 2"),
        ({"sampler": "sobol"}, "'explanation.sampler' must be 'iid' or 'orthogonal'"),
        ({"group": "most"}, "'explanation.group'"),
        ({"group": 0}, "'explanation.group'"),
        ({"precision": "int8"}, "'explanation.precision'"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(SettingsError, match=message):
        ExplanationSettings(**values)


# --- how many at a time


def test_few_samples_are_not_worth_a_probe(study):
    run_steps(study, "explanations")
    assert not list(study.explanations_folder.rglob("group.json"))


def test_a_probe_decides_once_and_the_choice_is_kept(study, monkeypatch):
    monkeypatch.setattr(probing, "WORTH", 100)
    monkeypatch.setattr(explanations, "WORTH", 100)
    run_steps(study, "explanations")
    paths = [study.explanations_folder / f"WeiNet_{fold}" / "group.json" for fold in study.folds]
    assert all(read_json(path)["group"] in probing.CANDIDATES for path in paths)
    # Whatever it had been: records made again by the same choice are the same to the bit.
    explained = contents(study.explanations_folder)
    study.record_path("WeiNet", "CV1", "face_CV1_3").unlink()
    write_json(paths[1], {"group": 5})
    summary = read_json(study.explanations_folder / "run.json")
    write_json(study.explanations_folder / "run.json", summary | {"end": None})
    assert run_steps(study, "explanations").done == 1
    assert read_json(paths[1]) == {"group": 5}
    again = contents(study.explanations_folder)
    assert {name: again[name] for name in explained if "group" not in name} == {
        name: explained[name] for name in explained if "group" not in name
    }


def test_a_group_that_is_set_is_taken(study):
    run_steps(changed(study, group=7), "explanations")
    for _, found in records(study):
        assert len(found.predictions) == 40


def test_a_damaged_choice_is_named(tmp_path):
    path = tmp_path / "group.json"
    assert probing.kept_group(path) is None
    for bad in ({"group": 0}, {"group": "8"}, {"group": True}, [8]):
        write_json(path, bad)
        with pytest.raises(DataError, match="group size"):
            probing.kept_group(path)


def test_a_step_that_runs_out_of_memory_goes_on_and_says_so(study, monkeypatch):
    from test_model import hungry_layer

    from ekman_expressions.study import model_files

    load = model_files.load_model

    def load_hungry(experiment, network, fold):
        import keras

        return keras.Sequential([hungry_layer(10, []), *load(experiment, network, fold).layers])

    monkeypatch.setattr(model_files, "load_model", load_hungry)
    run = run_steps(study, "explanations")
    assert (run.done, run.omissions) == (12, [])
    for fold in study.folds:
        notes = [note for note in run.notes if note.startswith(f"WeiNet_{fold}: out of memory")]
        assert len(notes) == 2
        assert read_json(study.explanations_folder / f"WeiNet_{fold}" / "group.json") == {"group": 6}


# --- what models share


def make_two_networks(study):
    """A second network that takes images of the same size, explained on the same faces."""
    from ekman_expressions.zoo import NETWORKS

    NETWORKS["Other"] = replace(NETWORKS["WeiNet"], name="Other")
    both = study.replace(networks=("WeiNet", "Other"))
    for fold in study.folds:
        both.model_path("Other", fold).write_bytes(study.model_path("WeiNet", fold).read_bytes())
    path = study.evaluation_folder / "explained.csv"
    table = read_csv(path)
    write_csv(path, pd.concat([table, table.assign(network="Other")]))
    return both


def test_faces_are_divided_and_landmarks_read_once_for_all_models_of_a_size(study, monkeypatch):
    import skimage.segmentation

    from ekman_expressions.study import prepared

    both = make_two_networks(study)
    divided, read = [], []
    slic, read_landmarks = skimage.segmentation.slic, prepared.read_landmarks
    monkeypatch.setattr(
        skimage.segmentation, "slic", lambda image, **kind: divided.append(1) or slic(image, **kind)
    )
    monkeypatch.setattr(prepared, "read_landmarks", lambda *which: read.append(1) or read_landmarks(*which))
    assert run_steps(both, "explanations").done == 24
    assert len(divided) == 12
    run_steps(both, "facespace")
    assert len(read) == 12
    for image_id in ("face_CV1_0", "face_CV2_3"):
        fold = image_id[5:8]
        one, other = (
            PerturbationRecord.load(both.record_path(name, fold, image_id)) for name in both.networks
        )
        assert one.segments.shape == (SIDE, SIDE)
        assert np.array_equal(one.segments, other.segments)
        assert not np.array_equal(one.samples, other.samples)
