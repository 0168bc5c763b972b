"""The lock of an experiment: one run at a time, and none kept out by a run that is dead."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from ekman_expressions import Experiment
from ekman_expressions.core import processes
from ekman_expressions.core.errors import ConflictError
from ekman_expressions.study import locks
from ekman_expressions.study.locks import experiment_lock, holder, lock_path, locked
from ekman_expressions.study.provenance import Run


@pytest.fixture
def experiment(tmp_path):
    return Experiment.preset("smoke", root=tmp_path)


def _write(experiment, **changes):
    path = lock_path(experiment)
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = locks._description("smoke") | changes
    path.write_text(json.dumps(entry))
    return entry


HOLD = """
import sys, time
from ekman_expressions import Experiment
from ekman_expressions.study.locks import experiment_lock
with experiment_lock(Experiment.preset("smoke", root=sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_is_not_in_the_way(experiment):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(experiment.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConflictError) as error, experiment_lock(experiment):
            pass
        assert f"process {process.pid} on" in str(error.value)
        assert "wait for it" in str(error.value) and str(lock_path(experiment)) in str(error.value)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert lock_path(experiment).exists()
    with experiment_lock(experiment):
        assert holder(experiment)["pid"] == os.getpid()
    assert not lock_path(experiment).exists()


def test_one_process_may_take_it_twice_and_other_experiments_have_their_own(experiment):
    other = dataclasses.replace(experiment, name="other")
    with experiment_lock(experiment), experiment_lock(experiment), experiment_lock(other):
        assert lock_path(experiment).exists() and lock_path(other).exists()
    assert list(experiment.root.rglob("*lock*")) == []
    # A folder made for the lock alone goes with it.
    assert not experiment.results_folder.exists()


def test_another_process_with_the_number_of_a_dead_one_does_not_count(experiment):
    assert processes.is_alive(os.getpid(), processes.start_of(os.getpid()))
    if processes.start_of(os.getpid()) is None:
        pytest.skip("this system does not tell when a process started")
    _write(experiment, process_start=1)
    with experiment_lock(experiment):
        assert holder(experiment)["process_start"] != 1


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_a_lock_of_another_machine_is_taken_over_only_when_its_heart_stands_still(experiment, since, capsys):
    """Whatever its time of day says: clocks differ and jump."""
    entry = _write(experiment, machine="0" * 8, host="node7", since=since)
    stop = threading.Event()
    beating = threading.Thread(target=locks._beat, args=(lock_path(experiment), entry, 0.02, stop))
    beating.start()
    try:
        with pytest.raises(ConflictError, match="on node7"), experiment_lock(experiment, heartbeat=0.2):
            pass
    finally:
        stop.set()
        beating.join()
    assert holder(experiment)["beat"] > 0
    with experiment_lock(experiment, heartbeat=0.05):
        assert holder(experiment)["key"] != entry["key"]
    assert "node7: watching" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": "x", "machine": 3}', "\x00\xff"])
def test_a_lock_that_was_cut_off_is_taken_over(experiment, text):
    _write(experiment)
    lock_path(experiment).write_text(text)
    with experiment_lock(experiment, heartbeat=0.02):
        assert holder(experiment)["pid"] == os.getpid()


def test_a_lock_that_was_taken_over_is_left_alone_and_told(experiment):
    with pytest.raises(ConflictError, match="took over the lock"), experiment_lock(experiment):
        _write(experiment, key="other")
    assert holder(experiment)["key"] == "other"


def test_the_heart_beats_while_the_lock_is_held(experiment):
    with experiment_lock(experiment, heartbeat=0.01):
        end = time.monotonic() + 10
        while holder(experiment).get("beat", 0) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert holder(experiment)["beat"] >= 2


def test_a_step_holds_the_lock(experiment):
    @locked
    def step(experiment):
        """Does a thing."""
        assert holder(experiment)["pid"] == os.getpid()
        return Run()

    assert isinstance(step(experiment), Run) and step.__doc__ == "Does a thing."


def test_where_nothing_may_be_written_nothing_is_locked(experiment, monkeypatch):
    """Rights do not stop root, so the refusal is simulated."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(locks.os, "open", refuse)
    with experiment_lock(experiment):
        assert holder(experiment) is None
