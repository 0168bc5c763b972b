"""Numbers that are none, and a disk that is full: what is kept, and what is said."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment

from ekman_expressions.core.errors import ModelError
from ekman_expressions.study import fit, model_files
from ekman_expressions.zoo import checkpoint, saving

FULL_DISK = """
import hashlib, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_training_bad as here, tiny_network
from ekman_expressions.study import run as run_steps
from ekman_expressions.zoo import saving
tiny_network.register()
experiment = here.experiment_of(sys.argv[1])
folder = experiment.models_folder
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))

def names():
    # The training's own run.json is written when it starts.
    return sorted(path.name for path in folder.iterdir() if path.name != "run.json")

def attempt():
    try:
        run_steps(experiment, "training")
    except saving.SavingError as error:
        print("SavingError:", " ".join(str(error).split()))
    limit(most)
    print(names())

limit(20_000)
attempt()
save = saving.save
def save_on_full_disk(model, path):
    limit(int(sys.argv[3]))
    save(model, path)
saving.save = save_on_full_disk
attempt()
saving.save = save
attempt()
print(hashlib.sha256(experiment.model_path("Tiny", "CV1").read_bytes()).hexdigest())
"""


def experiment_of(root, **values):
    return make_experiment(root, ("Tiny",), training=tiny_network.settings(epochs=2, **values))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_network.register(monkeypatch.setitem)


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes can be limited on Unix only")
def test_a_full_disk_leaves_no_half_file_and_training_goes_on(tmp_path):
    experiment = experiment_of(tmp_path / "straight")
    fit.train_model(experiment, "Tiny", "CV1")
    content = experiment.model_path("Tiny", "CV1").read_bytes()
    # One byte too few for the model.
    arguments = [str(tmp_path / "full"), str(Path(__file__).parent), str(len(content) - 1)]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, nothing, second, kept, all_there, digest = done.stdout.splitlines()
    assert "Tiny_CV1_checkpoint.npz could not be written" in first and "File too large" in first
    assert "Make room on the disk" in first
    assert nothing == "[]"
    assert "Tiny_CV1.keras could not be written" in second
    assert kept == str(["Tiny_CV1_checkpoint.npz", "Tiny_CV1_history.csv", "Tiny_CV1_training.json"])
    suffixes = (".keras", "_history.csv", "_training.json")
    models = [f"Tiny_{fold}{suffix}" for fold in ("CV1", "CV2") for suffix in suffixes]
    assert all_there == str([*models, "training.csv"])
    assert digest == hashlib.sha256(content).hexdigest()


def test_nan_after_good_epochs_keeps_the_last_good_one(tmp_path, monkeypatch):
    experiment = experiment_of(tmp_path, schedule="cosine")
    kept, write = [], checkpoint.write

    def damage_after_first_epoch(path, fingerprint, learner, progress):
        write(path, fingerprint, learner, progress)
        kept.append([weight.numpy() for weight in learner.weights])
        learner.weights[-1].assign(np.full(6, np.nan))

    monkeypatch.setattr(checkpoint, "write", damage_after_first_epoch)
    with pytest.raises(ModelError) as caught:
        fit.train_model(experiment, "Tiny", "CV1")
    message = str(caught.value)
    # Twelve images in batches of 5 are 3 steps: a cosine over 6 steps is at half after 3, and step 4 follows.
    assert "The loss of Tiny_CV1 became nan in epoch 2, step 1, at learning rate 0.0025" in message
    assert "What it was after epoch 1 is kept in" in message and "Lower the rate" in message
    assert not experiment.model_path("Tiny", "CV1").exists()
    model, epoch = model_files.load_last_epoch(experiment, "Tiny", "CV1")
    assert epoch == 1
    for weight, good in zip(model.get_weights(), kept[0], strict=True):
        np.testing.assert_array_equal(weight, good)


def test_weights_that_the_last_step_spoilt_are_not_kept(tmp_path, monkeypatch):
    build = fit.build_learner

    def build_with_infinite_rate(*arguments):
        model, learner = build(*arguments)
        learner.optimizer.learning_rate = float("inf")
        return model, learner

    monkeypatch.setattr(fit, "build_learner", build_with_infinite_rate)
    # One step an epoch: its loss is taken before the weights are spoilt.
    experiment = experiment_of(tmp_path, batch_size=64)
    with pytest.raises(ModelError, match="Weights of Tiny_CV1 .* NaN or infinite in epoch 1, its last step"):
        fit.train_model(experiment, "Tiny", "CV1")
    assert not list(experiment.models_folder.glob("*"))


def test_errors_of_the_disk_are_passed_on_in_words(tmp_path):
    with pytest.raises(saving.SavingError, match="model.keras could not.*No space left.*Make room"):
        with saving.disk_errors(tmp_path / "model.keras"):
            raise OSError(28, "No space left on device")
