"""The step "training": the same models again, resuming, the test fold kept out, and what goes wrong."""

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment
from tiny_study import SIDE, make_study

from ekman_expressions.core.errors import DataError, ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, write_csv, write_image
from ekman_expressions.study import prepared, training
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.training import read_model
from ekman_expressions.zoo import saving


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_network.register(monkeypatch.setitem)


def _experiment(root, subjects=4, faces=EXPRESSIONS, **values):
    training = tiny_network.settings(**{"epochs": 2, **values})
    return make_experiment(root, ("Tiny",), subjects=subjects, faces=faces, training=training)


def test_each_fold_gets_a_model_of_the_other_folds_and_what_is_there_is_skipped(tmp_path):
    experiment = _experiment(tmp_path)
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped, run.omissions, run.notes) == (2, 0, [], [])
    curves, table = training.learning_curves(experiment), training.training_table(experiment)
    assert list(curves.columns) == ["network", "fold", "epoch", "loss", "accuracy"]
    places = [["Tiny", fold, epoch] for fold in ("CV1", "CV2") for epoch in (1, 2)]
    assert curves[["network", "fold", "epoch"]].values.tolist() == places
    # Twelve training faces: accuracies are multiples of 1/12.
    np.testing.assert_allclose(curves["accuracy"] * 12, (curves["accuracy"] * 12).round(), atol=1e-5)
    for row in table.itertuples():
        last = curves[curves["fold"] == row.fold].iloc[-1]
        assert (row.epochs, row.images, row.accuracy, row.loss) == (2, 12, last["accuracy"], last["loss"])
        assert row.images_per_second == pytest.approx(12 * 2 / row.seconds, rel=0.05, abs=0.06)
        assert 50 < row.peak_memory_mb < 100_000
    files = {path.name for path in experiment.models_folder.iterdir()}
    suffixes = (".keras", "_history.csv", "_training.json")
    models = {f"Tiny_{fold}{suffix}" for fold in ("CV1", "CV2") for suffix in suffixes}
    assert files == {"run.json", "learning_loss.png", "learning_accuracy.png"} | models
    # Of a model that is gone, the faces of its own fold are not even read.
    path = experiment.model_path("Tiny", "CV1")
    expected = path.read_bytes()
    path.unlink()
    manifest = prepared.read_manifest(experiment)
    for place in manifest.loc[manifest["fold"] == "CV1", "path"]:
        (experiment.faces_folder / place).write_bytes(b"no image: reading it would raise")
    assert training._train_one(experiment, "Tiny", "CV1").done == 1 and path.read_bytes() == expected
    # Whatever the order of the manifest's rows.
    rows = training._trained_on(manifest.sample(frac=1, random_state=0), "CV1")
    assert list(rows["image_id"]) == sorted(rows["image_id"]) and set(rows["fold"]) == {"CV2"}
    tested = table[["network", "fold"]].assign(accuracy=[0.5, 0.7])
    write_csv(experiment.evaluation_folder / "accuracy_by_fold.csv", tested)
    assert training.training_table(experiment)["test_accuracy"].tolist() == [0.5, 0.7]


def test_too_few_faces_are_noted_or_refused(tmp_path):
    experiment = _experiment(tmp_path / "two", subjects=2)
    manifest = read_csv(experiment.manifest_path)
    write_csv(experiment.manifest_path, manifest[(manifest.fold == "CV1") | (manifest.expression != "fear")])
    assert run_steps(experiment, "training").notes == ["CV1: no image of fear to train on"]
    with pytest.raises(DataError, match="CV1 has no image to train on: all 6 are in CV1"):
        run_steps(_experiment(tmp_path / "one", subjects=1), "training")


def test_code_inside_a_models_file_is_not_run(tmp_path):
    import keras

    experiment = make_experiment(tmp_path)
    path = experiment.model_path("WeiNet", "CV1")
    path.parent.mkdir(parents=True)
    keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Lambda(lambda image: image)]).save(path)
    with pytest.raises(ModelError, match="Lambda"):
        read_model(experiment, "WeiNet", "CV1")


def test_folds_of_a_network_share_a_loaded_model_with_the_weights_of_the_one_asked_for(tmp_path, monkeypatch):
    study = make_study(tmp_path)
    # As training leaves them: the same layers, by name too, with other weights.
    model = read_model(study, "WeiNet", "CV1").source
    saving.save(model, study.model_path("WeiNet", "CV1"))
    model.set_weights([2 * weights for weights in model.get_weights()])
    saving.save(model, study.model_path("WeiNet", "CV2"))
    grey = np.full((1, SIDE, SIDE, 3), 0.5, np.float32)
    alone = {fold: read_model(study, "WeiNet", fold).predict(grey) for fold in ("CV1", "CV2")}
    assert not np.array_equal(alone["CV1"], alone["CV2"])
    kept = training._kept_model(study, "WeiNet", "CV1")
    for fold in ("CV1", "CV2", "CV1"):
        model = training._kept_model(study, "WeiNet", fold)
        assert model.source is kept.source and model.name == f"WeiNet_{fold}"
        np.testing.assert_array_equal(model.predict(grey), alone[fold])
    # Whoever asks by the public name may change the model: it is another one. So is one in half precision.
    assert read_model(study, "WeiNet", "CV1").source is not kept.source
    assert training._kept_model(study, "WeiNet", "CV1", "bfloat16").source is not kept.source
    # A file that was exchanged is read again; a damaged one is told, and leaves nothing behind.
    path, other = (study.model_path("WeiNet", fold) for fold in ("CV1", "CV2"))
    sound = path.read_bytes()
    path.write_bytes(other.read_bytes())
    np.testing.assert_array_equal(training._kept_model(study, "WeiNet", "CV1").predict(grey), alone["CV2"])
    path.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="WeiNet_CV1.keras cannot be loaded.*run the step 'training' again"):
        training._kept_model(study, "WeiNet", "CV1")
    path.write_bytes(sound)
    # With no room for it, nothing stays.
    first = training._kept_model(study, "WeiNet", "CV1").source
    monkeypatch.setattr(training, "_KEPT_MB", 0)
    assert training._kept_model(study, "WeiNet", "CV1").source is first
    assert training._kept_model(study, "WeiNet", "CV1").source is not first


def test_a_network_learns_what_colours_tell(tmp_path):
    override = {"epochs": 25, "side": 32, "optimizer": "adam", "learning_rate": 3e-4}
    settings = dict(weights="none", batch_size=8, overrides={"WeiNet": override})
    experiment = make_experiment(tmp_path, training=settings, faces=("anger", "fear"))
    rng = np.random.default_rng(0)
    manifest = prepared.read_manifest(experiment)
    for row in manifest.itertuples():
        noise = rng.integers(0, 60, (32, 32, 3))
        colour = [190, 0, 0] if row.expression == "anger" else [0, 0, 190]
        write_image(experiment.faces_folder / row.path, (noise + colour).astype(np.uint8))
    training._train_one(experiment, "WeiNet", "CV1")
    curve = read_csv(training._beside(experiment, "WeiNet", "CV1", "history.csv"))
    assert curve["loss"].iloc[-1] < 0.3 * curve["loss"].iloc[0]
    test = manifest[manifest["fold"] == "CV1"]
    faces = prepared.read_faces(experiment, test["image_id"], 32)
    predicted = np.asarray(read_model(experiment, "WeiNet", "CV1").source(faces)).argmax(axis=1)
    assert predicted.tolist() == [{"anger": 0, "fear": 2}[name] for name in test["expression"]]
