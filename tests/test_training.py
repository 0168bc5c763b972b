"""Training: the same bytes again, resuming, the test fold kept out, and what goes wrong."""

import json
import shutil

import numpy as np
import pytest
from made_faces import make_experiment
from made_steps import stand_in

from ekman_expressions.core.errors import ConflictError, DataError, MissingError, ModelError
from ekman_expressions.core.files import read_csv, write_csv, write_image
from ekman_expressions.study import prepared, training
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.experiment import TrainingSettings
from ekman_expressions.study.models import load_model
from ekman_expressions.study.training import _train_model
from ekman_expressions.zoo import NetSpec


def _settings(network="WeiNet", *, batch_size=8, **override):
    return TrainingSettings(
        weights="none", batch_size=batch_size, overrides={network: {"epochs": 2, "side": 32, **override}}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An experiment with its trained models, not to be changed."""
    experiment = make_experiment(tmp_path_factory.mktemp("trained"), training=_settings())
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped, run.omissions, run.notes) == (2, 0, [], [])
    return experiment


def test_each_fold_gets_a_model_and_a_learning_curve(trained):
    curves = training.learning_curves(trained)
    assert list(curves.columns) == ["network", "fold", "epoch", "loss", "accuracy"]
    assert curves[["network", "fold", "epoch"]].values.tolist() == [
        ["WeiNet", "CV1", 1],
        ["WeiNet", "CV1", 2],
        ["WeiNet", "CV2", 1],
        ["WeiNet", "CV2", 2],
    ]
    assert curves["loss"].between(0.1, 10).all()
    # Twelve training faces: accuracies are multiples of 1/12.
    np.testing.assert_allclose(curves["accuracy"] * 12, (curves["accuracy"] * 12).round(), atol=1e-5)
    files = {path.name for path in trained.models_folder.iterdir()}
    suffixes = (".keras", "_history.csv", "_training.json")
    models = {f"WeiNet_{fold}{suffix}" for fold in ("CV1", "CV2") for suffix in suffixes}
    pictures = {"learning_loss.png", "learning_accuracy.png"}
    assert files == {"run.json", "training.csv"} | pictures | models


def test_models_that_are_there_are_skipped_and_killed_ones_made(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path, dirs_exist_ok=True)
    copy = trained.replace(root=tmp_path)
    expected = copy.model_path("WeiNet", "CV2").read_bytes()
    copy.model_path("WeiNet", "CV2").unlink()
    run = run_steps(copy, "training")
    assert (run.done, run.skipped) == (1, 1)
    assert copy.model_path("WeiNet", "CV2").read_bytes() == expected
    run = run_steps(copy, "training")
    assert (run.done, run.skipped) == (0, 2)
    # As after a kill between the last model and the table.
    entry, table = (copy.models_folder / name for name in ("run.json", "training.csv"))
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"end": None}))
    table.unlink()
    assert run_steps(copy, "training").done == 0 and table.exists()


def test_nan_loss_stops_the_model_and_not_the_others(tmp_path, monkeypatch):
    experiment = make_experiment(tmp_path, training=_settings(learning_rate=0.5))
    build, built = NetSpec.build, []

    def build_one_damaged(self, *arguments):
        built.append(build(self, *arguments))
        if len(built) == 1:
            built[0].layers[-1].bias.assign(np.full(6, np.nan))
        return built[-1]

    monkeypatch.setattr(NetSpec, "build", build_one_damaged)
    run = run_steps(experiment, "training")
    assert (run.done, len(run.omissions)) == (1, 1)
    assert run.omissions[0]["item"] == "WeiNet_CV1"
    assert "The loss of WeiNet_CV1 became nan in epoch 1, step" in run.omissions[0]["reason"]
    assert "at learning rate 0.5" in run.omissions[0]["reason"]
    assert [path.name for path in experiment.models_folder.glob("*.keras")] == ["WeiNet_CV2.keras"]
    assert set(training.learning_curves(experiment)["fold"]) == {"CV2"}


def test_an_expression_that_is_not_trained_is_noted(tmp_path):
    experiment = make_experiment(tmp_path, training=_settings(), subjects=2)
    manifest = read_csv(experiment.manifest_path)
    write_csv(experiment.manifest_path, manifest[(manifest.fold == "CV1") | (manifest.expression != "fear")])
    assert run_steps(experiment, "training").notes == ["CV1: no image of fear to train on"]


def test_one_fold_with_all_faces_is_refused(tmp_path):
    experiment = make_experiment(tmp_path, training=_settings(), subjects=1)
    with pytest.raises(DataError, match="No model of made .*CV1 has no image to train on: all 6 are in CV1"):
        run_steps(experiment, "training")


def test_missing_and_damaged_models_are_named(tmp_path):
    experiment = make_experiment(tmp_path)
    with pytest.raises(MissingError, match="WeiNet_CV1.keras is not there.*'training'"):
        load_model(experiment, "WeiNet", "CV1").source
    experiment.model_path("WeiNet", "CV1").parent.mkdir(parents=True)
    experiment.model_path("WeiNet", "CV1").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="WeiNet_CV1.keras cannot be loaded as a Keras model"):
        load_model(experiment, "WeiNet", "CV1").source
    # Code inside a model's file is not run.
    import keras

    model = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Lambda(lambda image: image)])
    model.save(experiment.model_path("WeiNet", "CV1"))
    with pytest.raises(ModelError, match="Lambda"):
        load_model(experiment, "WeiNet", "CV1").source


def test_initial_weights_come_from_a_folder_and_count_as_inputs(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    settings = _settings().replace(weights=str(folder))
    experiment = make_experiment(tmp_path, ("MobileNetV3Large", "WeiNet"), training=settings)
    with pytest.raises(MissingError, match="no weights file of MobileNetV3Large in .*weights"):
        run_steps(experiment, "training")
    path = folder / "MobileNetV3Large.weights.h5"
    path.write_bytes(b"first")
    assert training._initial_weights(experiment, "MobileNetV3Large") == str(path)
    assert training._initial_weights(experiment, "WeiNet") == "none"
    with stand_in(experiment, "training"):
        experiment.models_folder.mkdir(parents=True, exist_ok=True)
        for model in experiment.pairs:
            experiment.model_path(*model).touch()
    assert run_steps(experiment, "training").skipped == 4
    path.write_bytes(b"second")
    with pytest.raises(ConflictError, match="another version of weights of MobileNetV3Large"):
        run_steps(experiment, "training")


def test_a_network_learns_what_colours_tell(tmp_path):
    experiment = make_experiment(
        tmp_path, training=_settings(epochs=25, optimizer="adam", learning_rate=3e-4), faces=("anger", "fear")
    )
    rng = np.random.default_rng(0)
    manifest = prepared.read_manifest(experiment)
    for row in manifest.itertuples():
        noise = rng.integers(0, 60, (32, 32, 3))
        colour = [190, 0, 0] if row.expression == "anger" else [0, 0, 190]
        write_image(experiment.faces_folder / row.path, (noise + colour).astype(np.uint8))
    curve = _train_model(experiment, "WeiNet", "CV1")
    assert curve["loss"].iloc[-1] < 0.3 * curve["loss"].iloc[0]
    test = manifest[manifest["fold"] == "CV1"]
    faces = prepared.read_faces(experiment, test["image_id"], 32)
    predicted = np.asarray(load_model(experiment, "WeiNet", "CV1").source(faces)).argmax(axis=1)
    assert predicted.tolist() == [{"anger": 0, "fear": 2}[name] for name in test["expression"]]
