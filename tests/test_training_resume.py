"""A training that is interrupted anywhere goes on to the same bytes; what cannot be used is not."""

import functools
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment

from ekman_expressions.core.errors import MissingError, ModelError
from ekman_expressions.study import fit, model_files
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.settings import TrainingSettings
from ekman_expressions.zoo import checkpoint

# Every kind of state at once: Adam's moments, its count of steps in the schedule, dropout, batch
# normalisation, the best epoch and its weights.
HARD = {"epochs": 4, "schedule": "cosine", "augment": True, "validation": "subjects", "patience": 4}

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import test_training_resume as here, tiny_network
from ekman_expressions.study import fit
from ekman_expressions.zoo import checkpoint
tiny_network.register()
done, name = checkpoint.write, sys.argv[3]

def write_then_die(*arguments):
    done(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

def die_while_writing(archive, name, variable):
    if written.append(name) or written.count("weights/2") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write_blocks(archive, name, variable)

if sys.argv[4] == "after":
    checkpoint.write = write_then_die
else:
    written, write_blocks = [], checkpoint._write_blocks
    checkpoint._write_blocks = die_while_writing
fit.train_model(here.experiment_of(sys.argv[1], name), name, "CV1")
"""


def experiment_of(root, network, **values):
    if network == "WeiNet":
        numbers = {"WeiNet": {"epochs": 2}}
        return make_experiment(
            root, training=TrainingSettings(weights="none", batch_size=8, overrides=numbers)
        )
    return make_experiment(root, (network,), subjects=6, training=tiny_network.settings(**{**HARD, **values}))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_network.register(monkeypatch.setitem)


def _bytes(experiment, network="Tiny"):
    history = model_files.history_path(experiment, network, "CV1")
    return experiment.model_path(network, "CV1").read_bytes(), history.read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Return the function that gives the bytes of an uninterrupted training, done once."""

    @functools.cache
    def train(network="Tiny", **values):
        experiment = experiment_of(tmp_path_factory.mktemp("straight"), network, **values)
        fit.train_model(experiment, network, "CV1")
        return _bytes(experiment, network)

    return train


def _interrupt(monkeypatch, experiment, epochs):
    """Train until so many epochs are kept, then stop as Ctrl-C does."""
    kept, write = [], checkpoint.write

    def write_and_stop(*arguments):
        write(*arguments)
        kept.append(1)
        if len(kept) == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit.train_model(experiment, "Tiny", "CV1")


@pytest.mark.parametrize(
    ("network", "when"), [pytest.param("WeiNet", "after", marks=pytest.mark.slow), ("Tiny", "while")]
)
def test_a_killed_training_goes_on_to_the_same_bytes(network, when, straight, tmp_path):
    experiment = experiment_of(tmp_path / "killed", network)
    arguments = [str(tmp_path / "killed"), str(Path(__file__).parent), network, when]
    died = subprocess.run([sys.executable, "-c", KILLED, *arguments], stderr=subprocess.DEVNULL)
    assert died.returncode == -signal.SIGKILL
    assert not experiment.model_path(network, "CV1").exists()
    with pytest.warns(UserWarning, match=f"{network}_CV1_checkpoint.npz: the training goes on after epoch 1"):
        fit.train_model(experiment, network, "CV1")
    assert _bytes(experiment, network) == straight(network)
    # Neither the checkpoint nor the half of one that was being written.
    assert not list(experiment.models_folder.glob("*checkpoint*"))
    assert not list(experiment.models_folder.glob(".*"))


@pytest.mark.parametrize(("optimizer", "epochs"), [("adam", 4), ("rmsprop", 1)])
def test_after_any_epoch_and_with_any_optimiser(optimizer, epochs, straight, tmp_path, monkeypatch):
    experiment = experiment_of(tmp_path, "Tiny", optimizer=optimizer)
    _interrupt(monkeypatch, experiment, epochs)
    with pytest.warns(UserWarning, match=f"goes on after epoch {epochs}"):
        fit.train_model(experiment, "Tiny", "CV1")
    assert _bytes(experiment) == straight(optimizer=optimizer)


def test_the_last_epoch_can_be_looked_at(tmp_path, monkeypatch):
    experiment = experiment_of(tmp_path, "Tiny", validation="none", schedule="constant")
    with pytest.raises(MissingError, match="checkpoint.npz is not there"):
        model_files.load_last_epoch(experiment, "Tiny", "CV1")
    _interrupt(monkeypatch, experiment, 2)
    model, epoch = model_files.load_last_epoch(experiment, "Tiny", "CV1")
    assert epoch == 2
    shorter = experiment_of(tmp_path / "short", "Tiny", validation="none", epochs=2, schedule="constant")
    fit.train_model(shorter, "Tiny", "CV1")
    for one, other in zip(
        model.get_weights(), model_files.load_model(shorter, "Tiny", "CV1").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("change", ["seed", "image"])
def test_a_checkpoint_of_another_training_is_not_used(change, tmp_path, monkeypatch):
    experiment = experiment_of(tmp_path, "Tiny", epochs=2)
    _interrupt(monkeypatch, experiment, 1)
    if change == "seed":
        experiment = experiment.replace(seed=1)
    else:
        # Subject 1 is in CV2, and trained on for CV1.
        faces = experiment.faces_folder / "faces"
        (faces / "made_s1_fear.png").write_bytes((faces / "made_s2_anger.png").read_bytes())
    with pytest.warns(UserWarning, match="is of a training with other settings, images.*not used"):
        curve = fit.train_model(experiment, "Tiny", "CV1")
    assert list(curve["epoch"]) == [1, 2]


def test_a_damaged_checkpoint_is_not_used(straight, tmp_path, monkeypatch):
    experiment = experiment_of(tmp_path, "Tiny")
    _interrupt(monkeypatch, experiment, 1)
    path = model_files.checkpoint_path(experiment, "Tiny", "CV1")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[:-2000], b"", flipped):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is damaged, or of another network"):
            model_files.load_last_epoch(experiment, "Tiny", "CV1")
    with pytest.warns(UserWarning, match="is damaged .*not used: the training starts at the first epoch"):
        fit.train_model(experiment, "Tiny", "CV1")
    assert _bytes(experiment) == straight()


def test_the_step_says_what_went_on_and_tidies_up(tmp_path, monkeypatch):
    experiment = experiment_of(tmp_path, "Tiny", epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "remove", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_steps(experiment, "training")
    # Killed between the model and the end: the model is whole, its checkpoint superfluous.
    assert model_files.checkpoint_path(experiment, "Tiny", "CV1").exists()
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped) == (1, 1)
    assert not list(experiment.models_folder.glob("*checkpoint*"))
