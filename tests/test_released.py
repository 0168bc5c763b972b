"""The authors' released models: loaded, taken instead of training."""

import hashlib

import keras2_files
import numpy as np
import pytest
from made_faces import make_experiment

from ekman_expressions.core.errors import ConflictError, MissingError, ModelError, SettingsError
from ekman_expressions.core.files import read_json
from ekman_expressions.study import run as run_steps
from ekman_expressions.study import training
from ekman_expressions.study.experiment import TrainingSettings
from ekman_expressions.study.models import load_model
from ekman_expressions.zoo import saving


@pytest.fixture(scope="module")
def weinet(tmp_path_factory):
    """A model as the authors have it: its file's bytes, faces, and its answers to them."""
    path = tmp_path_factory.mktemp("keras2") / "weights.h5"
    images = np.random.default_rng(0).random((3, 64, 64, 3), dtype=np.float32)
    model = keras2_files.make_model("WeiNet", 64)
    keras2_files.randomise(model, images)
    model.save_weights(path)
    return path.read_bytes(), images, model(images, training=False).numpy()


def _experiment(root, networks=("WeiNet",), folds=5, **settings):
    settings = TrainingSettings(weights="released", **settings)
    return make_experiment(root, networks, subjects=5, folds=folds, training=settings)


def _folder(path, content, names=("CV1", "CV2", "CV3", "CV4", "CV5"), network="WeiNet"):
    path.mkdir()
    for fold in names:
        (path / f"{network}_{fold}_weights.h5").write_bytes(content)
    return str(path)


def test_released_models_are_loaded(weinet, tmp_path):
    content, images, answers = weinet
    path = tmp_path / "WeiNet_CV1_weights.h5"
    with pytest.raises(MissingError, match="There is no weights file .*hf download .*training.released_folder"):
        saving._load_released("WeiNet", path)
    path.write_bytes(content)
    model = saving._load_released("WeiNet", path)
    np.testing.assert_allclose(model(images).numpy(), answers, atol=1e-5)
    with pytest.raises(ModelError, match=r"named probabilities.*\(262144, 7\).*\(262144, 6\)"):
        saving._load_released("WeiNet", path, classes=7)


def test_training_takes_the_files_of_a_folder(weinet, tmp_path):
    content, images, answers = weinet
    folder = _folder(tmp_path / "files", content)
    experiment = _experiment(tmp_path, released_folder=folder)
    run = run_steps(experiment, "training")
    assert (run.done, run.omissions) == (5, [])
    for fold in experiment.folds:
        model = load_model(experiment, "WeiNet", fold).source
        np.testing.assert_allclose(model(images).numpy(), answers, atol=1e-5)
        assert read_json((experiment.models_folder / f"WeiNet_{fold}_training.json")) == {
            "file": f"WeiNet_{fold}_weights.h5",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    entry = read_json(experiment.models_folder / "run.json")
    assert entry["settings"]["training"]["weights"] == "released"
    assert len(entry["notes"]) == 1 and "whose accuracy is then too high" in entry["notes"][0]
    assert training.learning_curves(experiment).empty
    assert training.training_table(experiment).empty
    assert run_steps(experiment, "training").skipped == 5
    with pytest.raises(ConflictError, match=r"made was made with training\.\w+ = '"):
        settings = TrainingSettings(weights="none")
        run_steps(make_experiment(tmp_path, subjects=5, folds=5, training=settings), "training")


def test_one_bad_file_does_not_stop_the_others(weinet, tmp_path):
    folder = _folder(tmp_path / "files", weinet[0])
    (tmp_path / "files" / "WeiNet_CV3_weights.h5").write_bytes(weinet[0][:1000])
    experiment = _experiment(tmp_path, released_folder=folder)
    run = run_steps(experiment, "training")
    assert run.done == 4
    assert [entry["item"] for entry in run.omissions] == ["WeiNet_CV3"]
    assert "WeiNet_CV3_weights.h5 (1000 bytes) does not hold the weights of WeiNet, or is damaged" in run.omissions[0]["reason"]
    assert not experiment.model_path("WeiNet", "CV3").exists()


def test_what_cannot_be_is_said_before_anything_is_done(tmp_path):
    folder = _folder(tmp_path / "files", b"", ("CV1", "CV2"))
    experiment = _experiment(tmp_path, ("WeiNet", "VGG16"), released_folder=folder)
    with pytest.raises(MissingError, match="lacks 8 of 10 .*: WeiNet_CV3_weights.h5, .*VGG16_CV5_weights.h5"):
        run_steps(experiment, "training")
    with pytest.raises(SettingsError, match="of 5 folds, but faces.folds is 3"):
        run_steps(_experiment(tmp_path / "three", folds=3, released_folder=folder), "training")
    assert not list(experiment.models_folder.glob("*.keras"))


def test_settings_that_mean_nothing_fail_at_once():
    with pytest.raises(SettingsError, match="'imagenet', 'none' or 'released', but got 'imagnet'"):
        TrainingSettings(weights="imagnet")
    with pytest.raises(SettingsError, match="'training.released_folder' is '/data', but training.weights is"):
        TrainingSettings(released_folder="/data")
