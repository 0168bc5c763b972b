"""Several devices and 16 bits: nearly the same training, the same kind of model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment

from ekman_expressions.study import fit, model_files, training_table
from ekman_expressions.study import run as run_steps
from ekman_expressions.zoo import hardware

TWO_DEVICES = """
import json, sys
sys.path.insert(0, sys.argv[2])
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import test_training_hardware as here, tiny_network
from ekman_expressions.study import fit, training
from ekman_expressions.zoo import checkpoint, hardware
tiny_network.register()
answers = {}
for name, values in here.TRAININGS.items():
    experiment = here.experiment_of(f"{sys.argv[1]}/{name}", **values)
    answers[name] = fit.train_model(experiment, "Tiny", "CV1").to_dict("list")
answers["replicas"] = hardware.strategy_for(experiment.training).num_replicas_in_sync
# Stopped after two epochs and gone on with.
experiment = here.experiment_of(f"{sys.argv[1]}/resumed", **here.TRAININGS["two"])
write, kept = checkpoint.write, []
def write_and_stop(*arguments):
    write(*arguments)
    kept.append(1)
    if len(kept) == 2:
        raise KeyboardInterrupt
checkpoint.write = write_and_stop
try:
    fit.train_model(experiment, "Tiny", "CV1")
except KeyboardInterrupt:
    fit.train_model(experiment, "Tiny", "CV1", answers.setdefault("notes", []).append)
print(json.dumps(answers))
"""
# Dropout draws other numbers on each device, and batch normalisation sees half a batch: without
# them, one device and two do the same sums in another order.
TRAININGS = {
    "one": {"devices": "one", "validation": "test"},
    "two": {"devices": "all", "validation": "test"},
    "dropout": {"devices": "all", "plain": False, "augment": True},
}


def experiment_of(root, *, plain=True, **values):
    if plain:
        tiny_network.without_state()
    else:
        tiny_network.register()
    values = {"batch_size": 6, "epochs": 4, **values}
    return make_experiment(root, ("Tiny",), subjects=5, training=tiny_network.settings(**values))


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    arguments = [str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["replicas"] == 2
    for measure in ("loss", "accuracy", "val_loss", "val_accuracy"):
        two, one = answers["two"][measure], answers["one"][measure]
        np.testing.assert_allclose(two, one, rtol=2e-3, err_msg=measure)
    assert answers["one"]["loss"][-1] < answers["one"]["loss"][0]
    assert answers["dropout"]["loss"][-1] < answers["dropout"]["loss"][0]
    assert answers["notes"] == ["Tiny_CV1_checkpoint.npz: the training goes on after epoch 2"]
    straight, resumed = (
        (tmp_path / name / "models" / "made" / "Tiny_CV1.keras").read_bytes() for name in ("two", "resumed")
    )
    assert straight == resumed


def test_16_bits_train_alike_and_save_32(tmp_path, monkeypatch):
    import keras

    tiny_network.register(monkeypatch.setitem)
    experiments = {
        precision: make_experiment(
            tmp_path / precision,
            ("Tiny",),
            training=tiny_network.settings(precision=precision, epochs=3, optimizer="adam"),
        )
        for precision in ("float32", "mixed_float16")
    }
    notes = run_steps(experiments["mixed_float16"], "training").notes
    assert any("mixed_float16, but there is no GPU" in note for note in notes)
    single = fit.train_model(experiments["float32"], "Tiny", "CV1")
    curves = training_table.learning_curves(experiments["mixed_float16"]).query("fold == 'CV1'")
    assert np.isfinite(curves["loss"]).all()
    # Before the first update both have the same weights; dropout differs.
    assert curves["loss"].iloc[0] == pytest.approx(single["loss"].iloc[0], rel=0.5)
    assert keras.config.dtype_policy().name == "float32"
    model = model_files.load_model(experiments["mixed_float16"], "Tiny", "CV1")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}


def test_the_copy_in_16_bits_answers_the_same(monkeypatch):
    from ekman_expressions.zoo import NETWORKS

    tiny_network.register(monkeypatch.setitem)
    model = NETWORKS["Tiny"].build()
    copy = hardware.mixed_copy(model)
    images = np.random.default_rng(0).random((4, 16, 16, 3), np.float32)
    answers = copy(images).numpy()
    assert answers.dtype == np.float32 and copy.layers[1].compute_dtype == "float16"
    np.testing.assert_allclose(answers, model(images).numpy(), atol=5e-3)


def test_memory_is_counted_in_bytes():
    # In a process of its own: here an earlier test may have taken more.
    code = (
        "import numpy as np\n"
        "from ekman_expressions.zoo import hardware\n"
        "before = hardware.peak_memory()\n"
        "block = np.ones(300_000_000, np.uint8)\n"
        "print(hardware.peak_memory() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 200 < float(done.stdout) < 400
    assert hardware.gpu_memory() is None
