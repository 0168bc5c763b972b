"""The lock of an experiment: one run at a time, and none kept out by a run that is dead."""

import os
import subprocess
import sys

import pytest

from ekman_expressions import Experiment
from ekman_expressions.core.errors import ConflictError
from ekman_expressions.study import runner
from ekman_expressions.study.runner import _experiment_lock, _holder

HOLD = """
import sys, time
from ekman_expressions import Experiment
from ekman_expressions.study.runner import _experiment_lock
with _experiment_lock(Experiment.preset("smoke", root=sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def experiment(tmp_path):
    return Experiment.preset("smoke", root=tmp_path)


def test_a_second_process_is_refused_and_a_killed_one_is_not_in_the_way(experiment):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(experiment.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConflictError, match="wait for it") as error, _experiment_lock(experiment):
            pass
        assert f"process {process.pid} on" in str(error.value)
        found = _holder(experiment)
        assert (found["pid"], found["host"]) == (process.pid, os.uname().nodename)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert _holder(experiment) is None
    with _experiment_lock(experiment):
        assert _holder(experiment)["pid"] == os.getpid()
    assert _holder(experiment) is None


def test_one_process_may_take_it_twice_and_other_experiments_have_their_own(experiment):
    other = Experiment.preset("demo", root=experiment.root)
    assert _holder(experiment) is None and not experiment.results_folder.exists()
    with _experiment_lock(experiment):
        with _experiment_lock(experiment), _experiment_lock(other):
            assert _holder(other)["pid"] == os.getpid()
        assert _holder(experiment)["pid"] == os.getpid() and _holder(other) is None


@pytest.mark.parametrize("text", ["", "{", "\x00\xff"])
def test_a_description_that_was_cut_off_is_in_nobodys_way(experiment, text):
    experiment.results_folder.mkdir(parents=True)
    (experiment.results_folder / ".lock.json").write_text(text)
    with _experiment_lock(experiment):
        (experiment.results_folder / ".lock.json").write_text(text)
        assert _holder(experiment) == {}
    assert _holder(experiment) is None


def test_where_nothing_may_be_written_nothing_is_locked(experiment, monkeypatch):
    """Rights do not stop root, so the refusal is simulated."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(runner.FileLock, "acquire", refuse)
    with _experiment_lock(experiment):
        assert _holder(experiment) is None
