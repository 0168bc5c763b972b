"""Faults that are really injected, and what survives them; docs/robustness.md has the table."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_steps import contents
from stub_study import make_study

from ekman_expressions.study import Run
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.check import check

NAMES = ("evaluation", "explanations", "facespace", "heatmaps", "masks", "scores")
WATCHED = {
    "evaluation": "results/made/evaluation/predictions/*.csv",
    "explanations": "results/made/explanations/*/*.npz",
    "facespace": "results/made/facespace/*.npz",
    "heatmaps": "heatmaps/made/GRAY/*/*.png",
    "scores": "results/made/scores/*.csv",
}
PROGRAM = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stub_study import describe
from ekman_expressions.core.errors import EkmanExpressionsError
from ekman_expressions.study import run
from ekman_expressions.study.execution import using
experiment = describe(Path(sys.argv[2]))
if int(sys.argv[4]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    with using(sys.argv[5]):
        run(experiment, *sys.argv[3].split(","))
except (EkmanExpressionsError, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def start(root: Path, *, largest: int = 0, scheduler: str = "serial") -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(root), ",".join(NAMES)]
    return subprocess.Popen([*command, str(largest), scheduler], stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen) -> tuple[int, str]:
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def finish(root: Path) -> dict[str, bytes]:
    status, errors = end(start(root))
    assert status == 0, errors
    return contents(root)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("faces"), faces=3, positives=3)


@pytest.fixture(scope="module")
def made(faces, tmp_path_factory):
    experiment = faces.replace(root=tmp_path_factory.mktemp("made") / "root")
    shutil.copytree(faces.root, experiment.root)
    run_steps(experiment, *NAMES)
    return experiment


@pytest.fixture(scope="module")
def sound(made):
    return contents(made.root)


@pytest.fixture
def root(faces, tmp_path):
    return Path(shutil.copytree(faces.root, tmp_path / "root"))


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["serial", "local:2"])
@pytest.mark.parametrize("step", WATCHED)
def test_the_driver_is_killed_in_each_step(step, scheduler, root, sound):
    process = start(root, scheduler=scheduler)
    while not list(root.glob(WATCHED[step])) and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    # Workers see that their driver is gone and end by themselves.
    time.sleep(0 if scheduler == "serial" else 3)
    assert finish(root) == sound
    assert not list(root.rglob(".[0-9]*"))


@pytest.mark.slow
@pytest.mark.parametrize("largest", [300, 2_500, 10_000])
def test_files_cannot_grow_as_on_a_full_disk(largest, root, sound):
    status, errors = end(start(root, largest=largest))
    assert status == 1 and "File too large" in errors.splitlines()[-1], errors
    assert not list(root.rglob(".[0-9]*"))
    assert finish(root) == sound


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes in memory; mounting needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("before, after, said", [
    ([], ["size=64m"], "No space left"),
    (["size=64m"], ["rw"], "Read-only file system"),
])  # fmt: skip
def test_a_disk_is_full_or_read_only_and_then_is_not(faces, sound, small_disk, before, after, said):
    def remount(*options):
        for option in options:
            subprocess.run(["mount", "-o", f"remount,{option}", str(small_disk)], check=True)

    remount(*before)
    root = Path(shutil.copytree(faces.root, small_disk / "root"))
    if before:
        remount("ro")
    status, errors = end(start(root))
    assert status == 1 and said in errors.splitlines()[-1], errors
    remount(*after)
    assert finish(root) == sound


@pytest.fixture
def experiment(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "made")
    return made.replace(root=tmp_path / "made")


def again(experiment) -> dict[str, Run]:
    return {name: run_steps(experiment, name) for name in NAMES}


def test_records_and_maps_that_were_cut_off_or_swapped_are_made_again(experiment):
    before = contents(experiment.root)
    first, second, third = sorted(experiment.records_folder.glob("*/*.npz"))[:3]
    first.write_bytes(first.read_bytes()[:-200])
    shutil.copy(third, second)
    maps = next(experiment.facespace_folder.glob("*.npz"))
    maps.write_bytes(b"PK" + maps.read_bytes()[2:1000])
    # As after a kill: a finished step looks no further than whether its files are there.
    entry = experiment.records_folder / "run.json"
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"end": None}))
    runs = again(experiment)
    assert runs["explanations"].done == 2 and runs["facespace"].done >= 1
    assert contents(experiment.root) == before


@pytest.mark.parametrize("moment", [0, 4_000_000_000])
def test_clocks_that_jump_make_nothing_stale(experiment, moment):
    before = contents(experiment.root)
    for path in experiment.root.rglob("*"):
        os.utime(path, (moment, moment))
    assert all(run.done == 0 for run in again(experiment).values())
    assert contents(experiment.root) == before
    assert {kind for kind, _ in check(experiment).findings.values()} == {"missing"}
