"""One process or many, in any order, interrupted or not: the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from made_steps import contents
from stub_study import make_study

from ekman_expressions.study import Run, evaluation
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.execution import _run_tasks, using

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""

STEPS = ("explanations", "facespace", "heatmaps", "masks", "scores", "quality")


def files(root, *more):
    """All artefacts but those that hold times and commits."""
    return contents(root, "_training.json", *more)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    experiment = make_study(tmp_path_factory.mktemp("start"), networks=3, folds=2, faces=4, positives=4)
    run_steps(experiment, "evaluation")
    return experiment


@pytest.fixture(scope="module")
def serial(start, tmp_path_factory):
    return files(_copy(start, tmp_path_factory.mktemp("serial"), "serial").root)


def _copy(start, folder, scheduler):
    shutil.copytree(start.root, folder / "root")
    experiment = start.replace(root=folder / "root")
    with using(scheduler):
        run_steps(experiment, *STEPS)
    return experiment


def _with_a_killed_worker(start, folder, scheduler):
    """Run all steps; a worker is killed as soon as five records are there."""
    distributed = pytest.importorskip("distributed")
    shutil.copytree(start.root, folder / "root")
    experiment = start.replace(root=folder / "root")
    over, killed = threading.Event(), threading.Event()

    def kill(pid):
        while not over.wait(0.01):
            if len(list(experiment.records_folder.glob("*/*.npz"))) >= 5:
                os.kill(pid, signal.SIGKILL)
                killed.set()
                return

    with using(scheduler):
        # Started before the work begins, so that the kill comes in the middle of it.
        _run_tasks([], Run(), desc="", unit="")
        pid = min(distributed.get_client().run(os.getpid).values())
        watcher = threading.Thread(target=kill, args=(pid,), daemon=True)
        watcher.start()
        run = run_steps(experiment, "explanations")
        over.set()
        watcher.join()
        run_steps(experiment, *STEPS[1:])
    assert killed.is_set(), "the step was over before a worker could be killed"
    assert run.done + run.skipped == len(evaluation.read_explained(experiment)) and not run.omissions
    return experiment


def test_two_workers_one_of_them_killed_write_the_bytes_of_one_process(start, serial, tmp_path):
    made = files(_with_a_killed_worker(start, tmp_path, "local:2").root)
    assert sorted(made) == sorted(serial)
    assert [name for name in made if made[name] != serial[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["local:1", "local:2", "local:4"])
def test_any_number_of_workers_writes_the_bytes_of_one_process(start, serial, tmp_path, scheduler):
    assert files(_copy(start, tmp_path, scheduler).root) == serial
    assert files(_with_a_killed_worker(start, tmp_path / "killed", scheduler).root) == serial


def test_networks_in_any_order_and_a_first_run_of_one_of_them_change_nothing(start, serial, tmp_path):
    shutil.copytree(start.root, tmp_path / "root")
    turned = start.replace(networks=start.networks[::-1], root=tmp_path / "root")
    name = start.networks[1]
    run_steps(turned.replace(networks=(name,), models={name: start.models[name]}), "explanations")
    run_steps(turned, *STEPS[:3])
    made = files(turned.root)
    pictures = [name for name in serial if "heatmaps/" in name and "GROUND_TRUTH" not in name]
    pictures = [name for name in pictures if name.endswith((".npz", ".png"))]
    assert len(pictures) > 50
    assert [name for name in pictures if made.get(name) != serial[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["smoke", "demo"])
def test_a_preset_with_its_trainings_on_two_workers(preset, tmp_path):
    made = []
    # The last bits of gradients depend on the number of threads, which workers would share.
    one = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    for scheduler in ("serial", "local:2"):
        root = tmp_path / scheduler.replace(":", "")
        command = [sys.executable, "-m", "ekman_expressions.cli", "run", "--preset", preset]
        subprocess.run([*command, "--root", str(root), "--scheduler", scheduler], check=True, env=one)
        made.append(files(root, ".html"))
    assert sorted(made[0]) == sorted(made[1])
    assert [name for name in made[0] if made[0][name] != made[1][name]] == []


ANSWERS = """
import hashlib
import keras
import numpy as np
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.zoo import NETWORKS
keras.utils.set_random_seed(0)
model = NETWORKS["WeiNet"].build("none")
image = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
options = {"lime": {"samples": 30}, "rise": {"masks": 30}, "grad_cam": {}, "smooth_grad": {"copies": 9}}
for name, few in options.items():
    found = EXPLAINERS[name].explain(model, image, [1], seed=0, **few)[0].map
    print(name, hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.xfail(
    "avx512" not in CPU,
    reason="without AVX-512, RISE and SmoothGrad have other last bits with more threads",
    strict=False,
)
def test_explanations_do_not_depend_on_the_number_of_threads():
    made = []
    for threads in ("1", "4"):
        env = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads}
        made.append(subprocess.run([sys.executable, "-c", ANSWERS], env=env, capture_output=True, text=True))
    assert [answer.returncode for answer in made] == [0, 0], made[0].stderr
    assert len(made[0].stdout.splitlines()) == 4
    assert made[0].stdout == made[1].stdout
