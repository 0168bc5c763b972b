"""One process or many, in any order, interrupted or not: the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from made_steps import contents
from stub_study import make_study

from ekman_expressions.study import Run, evaluation
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.execution import _run_tasks, using

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
    experiment = _copy(start, tmp_path_factory.mktemp("serial"))
    run_steps(experiment, *STEPS)
    return files(experiment.root)


def _copy(start, folder):
    return start.replace(root=shutil.copytree(start.root, folder / "root"))


def _with_a_killed_worker(start, folder, scheduler):
    """Run all steps; a worker is killed as soon as five records are there."""
    distributed = pytest.importorskip("distributed")
    experiment = _copy(start, folder)
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


@pytest.mark.parametrize(
    "scheduler", ["local:2", *(pytest.param(more, marks=pytest.mark.slow) for more in ("local:1", "local:4"))]
)
def test_workers_one_of_them_killed_write_the_bytes_of_one_process(start, serial, tmp_path, scheduler):
    made = files(_with_a_killed_worker(start, tmp_path, scheduler).root)
    assert sorted(made) == sorted(serial)
    assert [name for name in made if made[name] != serial[name]] == []


def test_networks_in_any_order_and_a_first_run_of_one_of_them_change_nothing(start, serial, tmp_path):
    turned = _copy(start, tmp_path).replace(networks=start.networks[::-1])
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
