"""The step "training": the same models again, resuming, the test fold kept out, and what goes wrong."""

import json

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment
from made_steps import stand_in

from ekman_expressions import figures
from ekman_expressions.core.errors import ConflictError, DataError, MissingError, ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, write_csv, write_image
from ekman_expressions.study import prepared, training
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.experiment import TrainingSettings
from ekman_expressions.study.models import load_model
from ekman_expressions.study.training import split
from ekman_expressions.zoo import NetSpec


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_network.register(monkeypatch.setitem)


def _experiment(root, subjects=4, faces=EXPRESSIONS, **values):
    training = tiny_network.settings(**{"epochs": 2, **values})
    return make_experiment(root, ("Tiny",), subjects=subjects, faces=faces, training=training)


def _poison(experiment, fold, content):
    manifest = prepared.read_manifest(experiment)
    for path in manifest.loc[manifest["fold"] == fold, "path"]:
        (experiment.faces_folder / path).write_bytes(content)


def test_each_fold_gets_a_model_and_what_is_there_is_skipped(tmp_path):
    experiment = _experiment(tmp_path)
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped, run.omissions, run.notes) == (2, 0, [], [])
    curves = training.learning_curves(experiment)
    assert list(curves.columns) == ["network", "fold", "epoch", "loss", "accuracy"]
    places = [["Tiny", fold, epoch] for fold in ("CV1", "CV2") for epoch in (1, 2)]
    assert curves[["network", "fold", "epoch"]].values.tolist() == places
    assert curves["loss"].between(0.1, 10).all()
    # Twelve training faces: accuracies are multiples of 1/12.
    np.testing.assert_allclose(curves["accuracy"] * 12, (curves["accuracy"] * 12).round(), atol=1e-5)
    files = {path.name for path in experiment.models_folder.iterdir()}
    suffixes = (".keras", "_history.csv", "_training.json")
    models = {f"Tiny_{fold}{suffix}" for fold in ("CV1", "CV2") for suffix in suffixes}
    pictures = {"learning_loss.png", "learning_accuracy.png"}
    assert files == {"run.json", "training.csv"} | pictures | models
    path = experiment.model_path("Tiny", "CV2")
    expected = path.read_bytes()
    path.unlink()
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped) == (1, 1) and path.read_bytes() == expected
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped) == (0, 2)
    # As after a kill between the last model and the table.
    entry, table = (experiment.models_folder / name for name in ("run.json", "training.csv"))
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"end": None}))
    table.unlink()
    assert run_steps(experiment, "training").done == 0 and table.exists()


def test_nan_loss_stops_the_model_and_not_the_others(tmp_path, monkeypatch):
    experiment = _experiment(tmp_path, learning_rate=0.5)
    build, built = NetSpec.build, []

    def build_one_damaged(self, *arguments):
        built.append(build(self, *arguments))
        if len(built) == 1:
            built[0].layers[-1].bias.assign(np.full(6, np.nan))
        return built[-1]

    monkeypatch.setattr(NetSpec, "build", build_one_damaged)
    run = run_steps(experiment, "training")
    assert run.done == 1
    ((item, reason),) = [entry.values() for entry in run.omissions]
    assert item == "Tiny_CV1" and "The loss of Tiny_CV1 became nan in epoch 1, step" in reason
    assert "at learning rate 0.5" in reason
    assert [path.name for path in experiment.models_folder.glob("*.keras")] == ["Tiny_CV2.keras"]
    assert set(training.learning_curves(experiment)["fold"]) == {"CV2"}


def test_too_few_faces_are_noted_or_refused(tmp_path):
    experiment = _experiment(tmp_path / "two", subjects=2)
    manifest = read_csv(experiment.manifest_path)
    write_csv(experiment.manifest_path, manifest[(manifest.fold == "CV1") | (manifest.expression != "fear")])
    assert run_steps(experiment, "training").notes == ["CV1: no image of fear to train on"]
    experiment = _experiment(tmp_path / "watched", subjects=2, validation="test")
    write_csv(experiment.manifest_path, manifest[manifest.fold == "CV2"])
    with pytest.raises(DataError, match="CV1 has no image to watch"):
        run_steps(experiment, "training")
    with pytest.raises(DataError, match="No model of made .*CV1 has no image to train on: all 6 are in CV1"):
        run_steps(_experiment(tmp_path / "one", subjects=1), "training")
    alone = _experiment(tmp_path / "alone", subjects=2, validation="subjects")
    with pytest.raises(DataError, match='only one subject to train on, made/s1.*validation = "none"'):
        training._train_model(alone, "Tiny", "CV1")


def test_missing_and_damaged_models_are_named(tmp_path):
    experiment = make_experiment(tmp_path)
    path = experiment.model_path("WeiNet", "CV1")
    with pytest.raises(MissingError, match="WeiNet_CV1.keras is not there.*'training'"):
        load_model(experiment, "WeiNet", "CV1").source
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="WeiNet_CV1.keras cannot be loaded as a Keras model"):
        load_model(experiment, "WeiNet", "CV1").source
    # Code inside a model's file is not run.
    import keras

    keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Lambda(lambda image: image)]).save(path)
    with pytest.raises(ModelError, match="Lambda"):
        load_model(experiment, "WeiNet", "CV1").source


def test_initial_weights_come_from_a_folder_and_count_as_inputs(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    settings = TrainingSettings(weights=str(folder), batch_size=8)
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
    override = {"epochs": 25, "side": 32, "optimizer": "adam", "learning_rate": 3e-4}
    settings = TrainingSettings(weights="none", batch_size=8, overrides={"WeiNet": override})
    experiment = make_experiment(tmp_path, training=settings, faces=("anger", "fear"))
    rng = np.random.default_rng(0)
    manifest = prepared.read_manifest(experiment)
    for row in manifest.itertuples():
        noise = rng.integers(0, 60, (32, 32, 3))
        colour = [190, 0, 0] if row.expression == "anger" else [0, 0, 190]
        write_image(experiment.faces_folder / row.path, (noise + colour).astype(np.uint8))
    curve = training._train_model(experiment, "WeiNet", "CV1")
    assert curve["loss"].iloc[-1] < 0.3 * curve["loss"].iloc[0]
    test = manifest[manifest["fold"] == "CV1"]
    faces = prepared.read_faces(experiment, test["image_id"], 32)
    predicted = np.asarray(load_model(experiment, "WeiNet", "CV1").source(faces)).argmax(axis=1)
    assert predicted.tolist() == [{"anger": 0, "fear": 2}[name] for name in test["expression"]]


# What a model is watched on


def test_the_test_fold_is_logged_and_has_no_influence(tmp_path):
    plain, watched, poisoned = (
        _experiment(tmp_path / name, subjects=8, validation=validation)
        for name, validation in (("plain", "none"), ("watched", "test"), ("poisoned", "test"))
    )
    # Faces of the training folds under the names of the test faces: other losses, nothing else.
    _poison(poisoned, "CV1", (plain.faces_folder / "faces" / "made_s1_anger.png").read_bytes())
    curves = [training._train_model(experiment, "Tiny", "CV1") for experiment in (plain, watched, poisoned)]
    models = {each.model_path("Tiny", "CV1").read_bytes() for each in (plain, watched, poisoned)}
    assert len(models) == 1
    assert list(curves[0].columns) == ["epoch", "loss", "accuracy"]
    np.testing.assert_array_equal(curves[1]["loss"], curves[2]["loss"])
    assert (curves[1]["val_loss"] - curves[2]["val_loss"]).abs().max() > 1e-3
    # What is logged is what the saved model answers to the test faces.
    manifest = prepared.read_manifest(watched)
    test = manifest[manifest["fold"] == "CV1"]
    model = load_model(watched, "Tiny", "CV1").source
    answers = model(prepared.read_faces(watched, test["image_id"], tiny_network.SIDE)).numpy()
    true = [EXPRESSIONS.index(name) for name in test["expression"]]
    loss = -np.log(answers[np.arange(len(true)), true]).mean()
    # Trained on 256 steps of gray, asked with the finer ones of resized faces.
    assert curves[1]["val_loss"].iloc[-1] == pytest.approx(loss, abs=0.02)


def test_splits_are_by_subject_seeded_and_sorted(tmp_path):
    experiment = _experiment(tmp_path, subjects=10, validation="subjects", validation_fraction=0.4)
    manifest = prepared.read_manifest(experiment)
    rows, held_out = split(experiment, manifest, "CV1")
    assert rows["subject"].nunique() == 3 and held_out["subject"].nunique() == 2
    assert not set(rows["subject"]) & set(held_out["subject"])
    assert set(rows["fold"]) | set(held_out["fold"]) == {"CV2"}
    again, _ = split(experiment, manifest.sample(frac=1, random_state=0), "CV1")
    assert list(again["image_id"]) == list(rows["image_id"]) == sorted(rows["image_id"])
    chosen = {
        frozenset(split(experiment.replace(seed=seed), manifest, "CV1")[1]["subject"]) for seed in range(8)
    }
    assert len(chosen) > 1
    tenth = experiment.training.replace(validation_fraction=0.01)
    _, one = split(experiment.replace(training=tenth), manifest, "CV1")
    assert one["subject"].nunique() == 1


def test_held_out_subjects_choose_the_epoch_and_tables_say_what_was_reached(tmp_path):
    experiment = _experiment(tmp_path, subjects=8, validation="subjects", epochs=3, learning_rate=0.03)
    run_steps(experiment, "training")
    curves = training.learning_curves(experiment)
    assert list(curves.columns)[-3:] == ["val_loss", "val_accuracy", "chosen"]
    table = training.training_table(experiment)
    for row in table.itertuples():
        curve = curves[curves["fold"] == row.fold]
        best = curve.loc[curve["val_loss"].idxmin()]
        assert curve.loc[curve["chosen"], "epoch"].tolist() == [best["epoch"]] == [row.epoch]
        assert (row.epochs, row.val_accuracy, row.loss) == (len(curve), best["val_accuracy"], best["loss"])
        assert (row.images, row.held_out_images) == (18, 6)
        assert row.images_per_second == pytest.approx(18 * row.epochs / row.seconds, rel=0.05)
        assert 50 < row.peak_memory_mb < 100_000
    assert table["gpu_memory_mb"].isna().all() and "test_accuracy" not in table
    written = read_csv(experiment.models_folder / "training.csv")
    np.testing.assert_allclose(written["val_loss"], table["val_loss"])
    tested = table[["network", "fold"]].assign(accuracy=[0.5, 0.7])
    write_csv(experiment.evaluation_folder / "accuracy_by_fold.csv", tested)
    assert training.training_table(experiment)["test_accuracy"].tolist() == [0.5, 0.7]
    summary = training.training_summary(experiment).iloc[0]
    assert (summary["network"], summary["models"]) == ("Tiny", 2)
    assert summary["test_accuracy"] == pytest.approx(0.6)
    # With n - 1: sqrt(2 * 0.1^2 / 1).
    assert summary["test_accuracy_sd"] == pytest.approx(0.1 * 2**0.5)
    assert summary["seconds"] == pytest.approx(table["seconds"].sum())
    axes = figures.learning_curves(curves, measure="loss").axes[0]
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert sorted(dot.get_xdata()[0] for dot in dots) == sorted(table["epoch"])
    # Faces of the test fold are not even read.
    experiment.model_path("Tiny", "CV1").unlink()
    _poison(experiment, "CV1", b"no image: reading it would raise")
    training._train_model(experiment, "Tiny", "CV1")
