"""Tasks in this process and on a real cluster: the same outcome, through errors and dead workers."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ekman_expressions.core.errors import (
    ConflictError,
    DataError,
    EkmanExpressionsError,
    MissingError,
    SettingsError,
)
from ekman_expressions.study.execution import _run_tasks, _Task, using
from ekman_expressions.study.provenance import Run


def count(folder: Path, name: str) -> Run:
    """Note each try in a file, and make one item."""
    run = Run()
    tries = len(list(folder.glob(f"{name}-*")))
    (folder / f"{name}-{tries}-{os.getpid()}").touch()
    run.done, run.skipped = 1, tries
    run.note(name)
    return run


def fail(folder: Path, name: str, error: Exception) -> Run:
    count(folder, name)
    raise error


def die(folder: Path, name: str, times: int) -> Run:
    """Kill the process at the first tries."""
    run = count(folder, name)
    if run.skipped < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return run


def surroundings() -> Run:
    run = Run()
    run.notes += [*os.environ, f"threads: {os.environ.get('TF_NUM_INTRAOP_THREADS')}"]
    time.sleep(0.2)
    return run


def _tries(folder, name):
    return len(list(folder.glob(f"{name}-*")))


def _run(*tasks):
    run = Run()
    made = [_Task(name=name, function=function, arguments=(*rest,)) for name, function, *rest in tasks]
    _run_tasks(made, run, desc="Testing", unit="task")
    return run


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed")
    with using("local:2"):
        _run()
        yield


@pytest.fixture(params=["serial", "local:2"])
def anywhere(request):
    if request.param == "serial":
        with using("serial"):
            yield
    else:
        request.getfixturevalue("cluster")
        yield


def test_a_task_that_fails_three_times_is_left_out_and_the_others_are_done(anywhere, tmp_path):
    run = _run(
        ("good", count, tmp_path, "good"),
        ("bad", fail, tmp_path, "bad", RuntimeError("no luck")),
        ("later", count, tmp_path, "later"),
    )
    # In the order of the tasks.
    assert run.done == 2 and run.notes == ["good", "later"]
    (omission,) = run.omissions
    assert omission["item"] == "bad"
    assert omission["reason"] == "failed 3 times, the last time with RuntimeError: no luck"
    assert _tries(tmp_path, "bad") == 3


def test_errors_of_one_item_are_told_at_once_and_others_end_the_step(anywhere, tmp_path):
    run = _run(("bad", fail, tmp_path, "bad", DataError("face_7.png is damaged")))
    assert run.omissions == [{"item": "bad", "reason": "face_7.png is damaged"}]
    assert _tries(tmp_path, "bad") == 1
    for name, error in (("other", ConflictError("other settings")), ("full", OSError(28, "No space left"))):
        with pytest.raises(type(error), match=str(error.args[-1])):
            _run((name, fail, tmp_path, name, error))
        assert _tries(tmp_path, name) == 1


def test_a_worker_that_is_killed_costs_a_try_of_its_task_and_the_order_stays(cluster, tmp_path):
    names = [f"task{number}" for number in range(6)]
    tasks = [(name, count, tmp_path, name) for name in names]
    tasks[2] = ("task2", die, tmp_path, "task2", 1)
    run = _run(*tasks)
    assert run.done == 6 and run.notes == names and not run.omissions
    assert _tries(tmp_path, "task2") == 2


def test_a_task_that_kills_its_workers_is_left_out(cluster, tmp_path):
    run = _run(("deadly", die, tmp_path, "deadly", 9), ("good", count, tmp_path, "good"))
    assert run.done == 1
    (omission,) = run.omissions
    assert omission["item"] == "deadly" and "KilledWorker" in omission["reason"]
    assert _tries(tmp_path, "deadly") == 3


def test_workers_share_the_cores(cluster):
    share = max(1, (os.cpu_count() or 1) // 2)
    notes = _run(*((f"t{n}", surroundings) for n in range(4))).notes
    assert notes.count(f"threads: {share}") == 4


def test_the_choice_of_a_scheduler(monkeypatch):
    def chosen():
        return os.environ["EKMAN_EXPRESSIONS_SCHEDULER"]

    for given, expected in (("", "serial"), ("tcp://host:8786", "tcp://host:8786")):
        monkeypatch.setenv("EKMAN_EXPRESSIONS_SCHEDULER", given)
        with using(None):
            assert chosen() == expected
    with using("local:3"):
        with using("serial"):
            assert chosen() == "serial"
        assert chosen() == "local:3"
    assert chosen() == "tcp://host:8786"
    monkeypatch.setenv("EKMAN_EXPRESSIONS_SCHEDULER", "threads")
    with pytest.raises(SettingsError, match="EKMAN_EXPRESSIONS_SCHEDULER.*but got 'threads'"):
        _run()
    for wrong in ("local:0", "host:8786"):
        with pytest.raises(SettingsError, match="'local:4'.*but got"), using(wrong):
            pass


def test_without_a_scheduler_or_without_dask_it_is_said_what_to_do(monkeypatch):
    import distributed

    def refuse(*_, **__):
        raise OSError("Timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    with using("tcp://127.0.0.1:1"), pytest.raises(EkmanExpressionsError, match="No Dask scheduler answers"):
        _run()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with using("local:3"), pytest.raises(MissingError, match="ekman_expressions.cluster"):
        _run()


def test_what_dask_sets_for_its_workers_does_not_stay_in_this_process(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    before = set(os.environ)
    with using("local:1"):
        names = _run(("t", surroundings)).notes
        # Notebooks that are started from here show their bars, and keep their memory.
        assert set(os.environ) - before <= {"EKMAN_EXPRESSIONS_SCHEDULER"}
    assert "TQDM_DISABLE" in names and "MALLOC_TRIM_THRESHOLD_" not in names
