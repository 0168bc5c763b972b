"""Training of one model from arrays: the same bytes, resuming, what each epoch shows, what goes wrong."""

import functools
import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_network

from ekman_expressions.core.errors import DataError, ModelError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import leftovers
from ekman_expressions.zoo import saving, train, training
from ekman_expressions.zoo.backends import _fused_adam, _keras_seeded

HERE = str(Path(__file__).parent)
# Every kind of state at once: Adam's moments, its steps in the schedule, dropout, batch normalisation.
HARD = {"epochs": 3, "schedule": "cosine", "augment": "all"}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_network.register(monkeypatch.setitem)


def faces(count=18, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)
    return images, [EXPRESSIONS[number % 6] for number in range(count)]


def tiny_train(**options):
    options = {"epochs": 3, "learning_rate": 1e-2, "batch_size": 5, **options}
    return train("Tiny", *options.pop("faces", faces()), **options)


def digest(trained):
    content = b"".join(weight.tobytes() for weight in trained.model.get_weights())
    return hashlib.sha256(content + trained.curve.to_csv().encode()).hexdigest()


@functools.cache
def straight(**options):
    """The digest of a training that nothing interrupts."""
    return digest(tiny_train(**options))


def test_what_came_before_changes_nothing_and_seed_and_fold_do():
    import keras

    before = straight(**HARD)
    keras.layers.Dense(3), keras.layers.Conv2D(2, 3)
    np.random.random(7)
    first = tiny_train(**HARD)
    assert digest(first) == before
    assert len({straight(**change) for change in ({}, {"seed": 1}, {"fold": "CV2"})}) == 3
    assert list(first.curve.columns) == ["epoch", "loss", "accuracy"]
    assert not first.model.compiled and first.seconds > 0


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_train as here, tiny_network
from pathlib import Path
import numpy as np
tiny_network.register()
written, write = [], np.lib.format.write_array

def die_while_writing(file, array, **options):
    written.append(file._zinfo.filename)
    if written.count("2.npy") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write(file, array, **options)

np.lib.format.write_array = die_while_writing
here.tiny_train(checkpoint=Path(sys.argv[2]), **here.HARD)
"""


def test_a_killed_training_resumes_to_the_same_bytes(tmp_path):
    path = tmp_path / "checkpoint.npz"
    died = subprocess.run([sys.executable, "-c", KILLED, HERE, str(path)], stderr=subprocess.DEVNULL)
    assert died.returncode == -signal.SIGKILL and leftovers(tmp_path)
    with pytest.warns(UserWarning, match="checkpoint.npz: the training resumes after epoch 1"):
        resumed = tiny_train(checkpoint=path, **HARD)
    assert digest(resumed) == straight(**HARD)
    # And what is complete is not trained again.
    notes = []
    assert digest(tiny_train(checkpoint=path, note=notes.append, **HARD)) == digest(resumed)
    assert notes == ["checkpoint.npz: the training resumes after epoch 3"]


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_used(tmp_path):
    path = tmp_path / "checkpoint.npz"
    tiny_train(checkpoint=path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content, change, message in (
        (whole, {"faces": faces(seed=1)}, "is of a training with other settings, images"),
        (whole, {"optimizer": "rmsprop"}, "is of a training with other settings, images"),
        (flipped, {}, "is damaged"),
    ):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=f"{message}.*not used: the training starts at the first epoch"):
            trained = tiny_train(checkpoint=path, **change)
        assert len(trained.curve) == 3 and (digest(trained) == straight()) == (not change)


def shown(monkeypatch, **options):
    """The batches of a training: numbers of the images, and their classes."""
    import keras

    batches = []

    def look(self, data, **_):
        # Its tuner would keep a training waiting at its end, for up to a minute.
        assert data.options().autotune.enabled is False
        batches.extend((np.rint(255 * x[:, 0, 0, 0].numpy()).astype(int), y.numpy()) for x, y in data)
        raise InterruptedError

    images, labels = faces(12)
    images[:] = np.arange(12)[:, None, None, None]
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(keras.Model, "fit", look)
        tiny_train(faces=(images, labels), **options)
    return batches


def test_each_epoch_shows_every_face_once_in_an_order_of_its_own(monkeypatch):
    batches = shown(monkeypatch)
    assert [len(numbers) for numbers, _ in batches] == [5, 5, 2] * 3
    for numbers, targets in batches:
        np.testing.assert_array_equal(targets.argmax(axis=1), numbers % 6)
    seen = np.concatenate([numbers for numbers, _ in batches]).reshape(3, 12)
    assert all(sorted(epoch) == list(range(12)) for epoch in seen.tolist())
    assert len({tuple(epoch) for epoch in seen.tolist()}) == 3
    other = np.concatenate([numbers for numbers, _ in shown(monkeypatch, seed=1)])
    assert other.tolist() != seen.ravel().tolist()


def changed(images, seed=0, which="all"):
    import tensorflow as tf

    return training._augmentation(which)(tf.constant(images), tf.constant(seed, tf.int64)).numpy()


def test_changes_depend_on_the_seed_alone_and_have_the_size_of_the_study():
    """A dark disc, off the centre to one side, tells flips, shifts, turns and contrast apart."""
    side, count = 100, 400
    y, x = np.mgrid[:side, :side]
    images = np.full((count, side, side, 3), 0.8, np.float32)
    images[:, np.hypot(x - 70, y - 50) < 6] = 0.2
    few = images[:4]
    np.testing.assert_array_equal(changed(few), changed(few))
    assert np.abs(changed(few) - changed(few, 1)).max() > 0.1
    found = changed(images)
    assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1
    # White comes in: on the gray background it is what is brighter than any contrast makes it.
    white = (found > 0.95).all(axis=-1)
    assert white.any(axis=(1, 2)).mean() > 0.9 and not white[:, 30:70, 30:70].any()
    dark = (found.mean(axis=-1) < 0.5) * 1.0
    weight = dark.sum(axis=(1, 2))
    across, down = (dark * x).sum(axis=(1, 2)) / weight, (dark * y).sum(axis=(1, 2)) / weight
    flipped = across < 50
    assert 0.35 < flipped.mean() < 0.65
    # Shift up to 5 pixels, turn up to 0.03 * 360 = 10.8 degrees about the centre, 20 pixels away.
    reach = 5 + 20.5 * np.sin(2 * np.pi * 0.03)
    offset = np.where(flipped, 99 - across, across) - 70
    assert 4 < np.abs(offset).max() < 5 + 20.5 * (1 - np.cos(2 * np.pi * 0.03)) + 0.6
    assert reach - 2 < np.abs(down - 49.75).max() < reach + 0.8
    # Contrast: the step between disc and background grows or shrinks by a tenth at most.
    step = np.median(found.mean(axis=-1), axis=(1, 2)) - found.mean(axis=-1).min(axis=(1, 2))
    assert 0.53 < step.min() < 0.57 and 0.63 < step.max() < 0.67


def test_flips_change_nothing_else():
    images = np.random.default_rng(0).random((40, 8, 8, 3), dtype=np.float32)
    flipped = (changed(images, which="flips") == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 0.3 < flipped.mean() < 0.7
    np.testing.assert_array_equal(changed(images, which="flips")[~flipped], images[~flipped])


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1), ("cosine", (1 + np.cos(0.9 * np.pi)) / 2)])
def test_rates_rise_in_the_warm_up_and_fall_by_the_schedule(schedule, last):
    options = {"side": 32, "learning_rate": 1e-3, "schedule": schedule, "warmup": 10}
    _, learner = training._build_learner("SongNet", 50, **options)
    rates = []
    for step in (0, 5, 10, 46):
        learner.optimizer.iterations.assign(step)
        rates.append(float(learner.optimizer.learning_rate))
    assert rates == pytest.approx([0, 5e-4, 1e-3, last * 1e-3], rel=1e-4)


def test_adam_in_place_is_that_of_the_paper_and_of_keras():
    import keras
    import tensorflow as tf

    steps, start = 6, np.ones((4, 3), np.float32)
    gradients = np.random.default_rng(0).normal(0, 0.1, (steps, 4, 3)).astype(np.float32)

    def trained(optimizer):
        weight = keras.Variable(start)
        optimizer.build([weight])
        apply = tf.function(lambda gradient: optimizer.apply([gradient], [weight]))
        weights = []
        for gradient in gradients:
            apply(tf.constant(gradient))
            weights.append(np.array(weight))
        return weights, [np.array(variable) for variable in optimizer.variables]

    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    weights, variables = trained(_fused_adam()(rate))
    expected, m, v = start.astype(float), 0.0, 0.0
    for step, gradient in enumerate(gradients.astype(float)):
        now = 0.005 * (1 + np.cos(np.pi * step / steps))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        corrected = now * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        expected = expected - corrected * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(weights[step], expected, rtol=2e-5)
    theirs, their_variables = trained(keras.optimizers.Adam(rate))
    np.testing.assert_allclose(weights, theirs, rtol=1e-5)
    # Iterations, rate, first and second moments: in Keras' order, for checkpoints.
    for mine, their in zip(variables, their_variables, strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-5, atol=1e-9)


def test_nan_after_good_epochs_keeps_the_last_good_one(tmp_path, monkeypatch):
    kept, write = [], saving._write_checkpoint

    def damage_after_first_epoch(path, fingerprint, learner, progress):
        write(path, fingerprint, learner, progress)
        kept.append(path.read_bytes())
        learner.weights[-1].assign(np.full(6, np.nan))

    monkeypatch.setattr(saving, "_write_checkpoint", damage_after_first_epoch)
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(ModelError) as caught:
        tiny_train(faces=faces(12), epochs=2, schedule="cosine", checkpoint=path)
    message = str(caught.value)
    # Twelve images in batches of 5 are 3 steps: a cosine over 6 steps is at half after 3, and step 4 follows.
    assert "The loss of Tiny_CV1 became nan in epoch 2, step 1, at learning rate 0.0025" in message
    assert f"What it was after epoch 1 is kept in {path}" in message and "Lower the rate" in message
    assert [path.read_bytes()] == kept


def test_weights_that_the_last_step_spoilt_are_not_kept(tmp_path):
    # One step an epoch: its loss is taken before the weights are spoilt.
    with pytest.raises(ModelError, match="Weights of Tiny_CV1 .* NaN or infinite in epoch 1, its last step"):
        tiny_train(batch_size=64, learning_rate=float("inf"), checkpoint=tmp_path / "checkpoint.npz")
    assert not list(tmp_path.iterdir())


def test_arguments_that_do_not_fit():
    images, labels = faces()
    for change, error, message in (
        ({"faces": (images[:, :8], labels)}, DataError, r"\(N, 16, 16, 3\) of uint8.*\(18, 8, 16, 3\)"),
        ({"faces": (images, labels[:5])}, DataError, "5 labels"),
        ({"faces": (images, ["boredom"] * 18)}, DataError, "boredom"),
        ({"optimizer": "sgd"}, SettingsError, "'optimizer'.*'adam', 'rmsprop', but got 'sgd'"),
    ):
        with pytest.raises(error, match=message):
            tiny_train(**change)


def test_initial_weights_do_not_depend_on_who_else_draws_random_numbers():
    """Workers of a cluster have threads that draw from Python's global generator, too."""
    import keras

    def build(meanwhile):
        with _keras_seeded(5):
            layers = []
            for _ in range(9):
                layers += [keras.layers.Dense(2), keras.layers.Dropout(0.5)]
                meanwhile()
            return keras.Sequential([keras.Input((2,)), *layers])

    alone, beside = build(int), build(random.random)
    for one, other in zip(alone.variables, beside.variables, strict=True):
        np.testing.assert_array_equal(one, other)
