"""What an epoch sees: decoded faces, their order, and how they are changed."""

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment

from ekman_expressions.core import errors
from ekman_expressions.study import fit, pipeline, prepared
from ekman_expressions.zoo.augmentation import make_augmentation


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_network.register(monkeypatch.setitem)


def _experiment(root, **values):
    return make_experiment(root, ("Tiny",), training=tiny_network.settings(**values))


def _numbered(count=12):
    """Faces whose gray value is their number."""
    faces = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 16, 16, 3)).copy()
    return faces, np.eye(6, dtype=np.float32)[np.arange(count) % 6]


def _seen(experiment, **options):
    batches, steps = pipeline.training_batches(experiment, "Tiny", "CV1", *_numbered(), **options)
    numbers = [np.rint(255 * images[:, 0, 0, 0].numpy()).astype(int).tolist() for images, _ in batches]
    return numbers, steps


def test_each_epoch_shows_every_face_once_in_an_order_of_its_own(tmp_path):
    experiment = _experiment(tmp_path, epochs=3)
    seen, steps = _seen(experiment)
    assert steps == 3 and [len(batch) for batch in seen] == [5, 5, 2] * 3
    epochs = [sum(seen[start : start + 3], []) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3
    assert _seen(experiment, first_epoch=2)[0] == seen[6:]
    assert _seen(experiment.replace(seed=1))[0] != seen


def test_targets_go_with_their_faces(tmp_path):
    faces, targets = _numbered()
    batches, _ = pipeline.training_batches(_experiment(tmp_path), "Tiny", "CV1", faces, targets)
    for images, wanted in batches:
        numbers = np.rint(255 * images[:, 0, 0, 0].numpy()).astype(int)
        np.testing.assert_array_equal(wanted.numpy().argmax(axis=1), numbers % 6)
    batches = pipeline.validation_batches(faces, targets, 5)
    order = [np.rint(255 * images[:, 0, 0, 0].numpy()) for images, _ in batches]
    np.testing.assert_array_equal(np.concatenate(order), np.arange(12))


def test_devices_get_equal_shares(tmp_path):
    faces, targets = _numbered(11)
    experiment = _experiment(tmp_path, batch_size=4, epochs=1)
    batches, steps = pipeline.training_batches(experiment, "Tiny", "CV1", faces, targets, replicas=2)
    assert [len(images) for images, _ in batches] == [4, 4, 2] and steps == 3
    with pytest.raises(errors.DataError, match="must be a multiple of 3, but is 4"):
        pipeline.training_batches(experiment, "Tiny", "CV1", faces, targets, replicas=3)


def test_faces_are_those_of_read_faces_in_256_steps_wherever_they_lie(tmp_path, monkeypatch):
    experiment = _experiment(tmp_path)
    names = prepared.read_manifest(experiment)["image_id"]
    exact = prepared.read_faces(experiment, names, 16)
    monkeypatch.setattr(pipeline, "_CHUNK", 7)
    faces = pipeline.decoded_faces(experiment, names, 16)
    assert faces.dtype == np.uint8 and faces.shape == (24, 16, 16, 3)
    assert np.abs(faces / 255.0 - exact).max() <= 0.5 / 255 + 1e-6
    monkeypatch.setattr(pipeline, "IN_MEMORY", 1000)
    on_disk = pipeline.decoded_faces(experiment, names, 16)
    assert isinstance(on_disk, np.memmap)
    np.testing.assert_array_equal(on_disk, faces)
    fit.train_model(experiment, "Tiny", "CV1")
    mapped = experiment.model_path("Tiny", "CV1").read_bytes()
    monkeypatch.undo()
    tiny_network.register()
    other = _experiment(tmp_path / "other")
    fit.train_model(other, "Tiny", "CV1")
    assert other.model_path("Tiny", "CV1").read_bytes() == mapped


def _changed(images, seed=0):
    import tensorflow as tf

    return make_augmentation()(tf.constant(images), tf.constant(seed, tf.int64)).numpy()


def test_changes_depend_on_the_seed_alone():
    images = np.random.default_rng(0).random((6, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(_changed(images), _changed(images))
    assert np.abs(_changed(images) - _changed(images, 1)).max() > 0.1


def test_changes_have_the_size_of_the_study():
    """A dark disc, off the centre to one side, tells flips, shifts, turns and contrast apart."""
    side, count = 100, 400
    y, x = np.mgrid[:side, :side]
    images = np.full((count, side, side, 3), 0.8, np.float32)
    images[:, np.hypot(x - 70, y - 50) < 6] = 0.2
    changed = _changed(images)
    assert changed.shape == images.shape and changed.min() >= 0 and changed.max() <= 1
    # White comes in: on the gray background it is what is brighter than any contrast makes it.
    white = (changed > 0.95).all(axis=-1)
    assert white.any(axis=(1, 2)).mean() > 0.9
    assert not white[:, 30:70, 30:70].any()
    dark = (changed.mean(axis=-1) < 0.5) * 1.0
    weight = dark.sum(axis=(1, 2))
    across, down = (dark * x).sum(axis=(1, 2)) / weight, (dark * y).sum(axis=(1, 2)) / weight
    flipped = across < 50
    assert 0.35 < flipped.mean() < 0.65
    # Shift up to 5 pixels, turn up to 0.03 * 360 = 10.8 degrees about the centre, 20 pixels away.
    reach = 5 + 20.5 * np.sin(2 * np.pi * 0.03)
    offset = np.where(flipped, 99 - across, across) - 70
    assert np.abs(offset).max() < 5 + 20.5 * (1 - np.cos(2 * np.pi * 0.03)) + 0.6
    assert 4 < np.abs(offset).max()
    assert np.abs(down - 49.75).max() < reach + 0.8 and np.abs(down - 49.75).max() > reach - 2
    # Contrast: the step between disc and background grows or shrinks by a tenth at most.
    background = np.median(changed.mean(axis=-1), axis=(1, 2))
    step = background - changed.mean(axis=-1).min(axis=(1, 2))
    assert 0.53 < step.min() < 0.57 and 0.63 < step.max() < 0.67


def test_augmentation_changes_the_model_and_only_then(tmp_path):
    plain, augmented = _experiment(tmp_path / "plain"), _experiment(tmp_path / "augmented", augment=True)
    curves = [fit.train_model(experiment, "Tiny", "CV1") for experiment in (plain, augmented)]
    assert abs(curves[0]["loss"].iloc[0] - curves[1]["loss"].iloc[0]) > 1e-4
