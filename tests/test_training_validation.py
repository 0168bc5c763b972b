"""What a model is watched on: the test fold decides nothing, held-out subjects decide the epoch."""

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment

from ekman_expressions import figures
from ekman_expressions.core import expressions
from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import read_csv, write_csv
from ekman_expressions.study import prepared, training
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.models import load_model
from ekman_expressions.study.training import split


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_network.register(monkeypatch.setitem)


def _experiment(root, subjects=8, **values):
    return make_experiment(root, ("Tiny",), subjects=subjects, training=tiny_network.settings(**values))


def _poison(experiment, fold, content):
    manifest = prepared.read_manifest(experiment)
    for path in manifest.loc[manifest["fold"] == fold, "path"]:
        (experiment.faces_folder / path).write_bytes(content)


def test_the_test_fold_is_logged_and_has_no_influence(tmp_path):
    plain, watched, poisoned = (
        _experiment(tmp_path / name, validation=validation)
        for name, validation in (("plain", "none"), ("watched", "test"), ("poisoned", "test"))
    )
    # Faces of the training folds under the names of the test faces: other losses, nothing else.
    _poison(poisoned, "CV1", (plain.faces_folder / "faces" / "made_s1_anger.png").read_bytes())
    curves = [training._train_model(experiment, "Tiny", "CV1") for experiment in (plain, watched, poisoned)]
    models = {each.model_path("Tiny", "CV1").read_bytes() for each in (plain, watched, poisoned)}
    assert len(models) == 1
    assert list(curves[0].columns) == ["epoch", "loss", "accuracy"]
    assert list(curves[1].columns) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    np.testing.assert_array_equal(curves[1]["loss"], curves[2]["loss"])
    assert (curves[1]["val_loss"] - curves[2]["val_loss"]).abs().max() > 1e-3
    # What is logged is what the saved model answers to the test faces.
    manifest = prepared.read_manifest(watched)
    test = manifest[manifest["fold"] == "CV1"]
    model = load_model(watched, "Tiny", "CV1").source
    answers = model(prepared.read_faces(watched, test["image_id"], tiny_network.SIDE)).numpy()
    true = [list(expressions.EXPRESSIONS).index(name) for name in test["expression"]]
    loss = -np.log(answers[np.arange(len(true)), true]).mean()
    # Trained on 256 steps of gray, asked with the finer ones of resized faces.
    assert curves[1]["val_loss"].iloc[-1] == pytest.approx(loss, abs=0.02)


def test_held_out_subjects_choose_the_epoch_and_the_test_fold_does_not(tmp_path):
    values = {"epochs": 12, "validation": "subjects", "validation_fraction": 0.5, "patience": 2}
    experiment = _experiment(tmp_path, learning_rate=0.03, **values)
    _poison(experiment, "CV1", b"no image: reading it would raise")
    curve = training._train_model(experiment, "Tiny", "CV1")
    best = int(curve["val_loss"].idxmin()) + 1
    assert len(curve) == min(best + 2, 12) and len(curve) < 12
    # The same, trained for exactly so many epochs, is the model that is kept.
    straight = experiment.replace(
        name="straight",
        training=tiny_network.settings(learning_rate=0.03, **{**values, "epochs": best}),
    )
    experiment.faces_folder.rename(straight.faces_folder)
    training._train_model(straight, "Tiny", "CV1")
    kept = straight.model_path("Tiny", "CV1").read_bytes()
    straight.faces_folder.rename(experiment.faces_folder)
    assert experiment.model_path("Tiny", "CV1").read_bytes() == kept


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


def test_one_subject_cannot_be_held_out(tmp_path):
    experiment = _experiment(tmp_path, subjects=2, validation="subjects")
    with pytest.raises(DataError, match='only one subject to train on, made/s1.*validation = "none"'):
        training._train_model(experiment, "Tiny", "CV1")
    experiment = experiment.replace(training=tiny_network.settings(validation="test"))
    write_csv(experiment.manifest_path, read_csv(experiment.manifest_path).query("fold == 'CV2'"))
    with pytest.raises(DataError, match="CV1 has no image to watch"):
        run_steps(experiment, "training")


def test_the_table_and_the_curves_say_what_was_reached_and_what_it_took(tmp_path):
    experiment = _experiment(tmp_path, validation="subjects", epochs=3, learning_rate=0.03)
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
