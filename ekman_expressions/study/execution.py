"""Where the work of a step is done: in this process, or by the workers of a Dask cluster.

The only module that knows. A step hands in `Task` s and gets counts, names and reasons back; faces,
models and maps are read and written by the task itself, in the folder that all share.
"""

from __future__ import annotations

import atexit
import errno
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from ekman_expressions.core.errors import (
    DataError,
    EkmanExpressionsError,
    MissingError,
    ModelError,
    SettingsError,
)
from ekman_expressions.study.provenance import Run

VARIABLE = "EKMAN_EXPRESSIONS_SCHEDULER"
"""Environment variable: what `using` takes, for notebooks."""

TRIES = 3
"""Times that a task is tried before it is left out."""

_FORM = re.compile(r"serial|local(:[1-9]\d*)?|(tcp|tls|ws|wss)://.+")
# What concerns one model or face; the others concern all that is to come.
_OF_ITS_OWN = (DataError, ModelError, MissingError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class ClusterError(EkmanExpressionsError, RuntimeError):
    """The cluster cannot be reached, or went away."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A part of a step that depends on no other.

    Attributes
    ----------
    name : str
        What it is about, for reports: ``SongNet_CV3``.
    function : callable
        ``function(*arguments) -> Run``, importable by its name. It writes its results to files,
        skips those that are there, and says in the `Run` what it did.
    arguments : tuple
        Settings and names, no arrays.
    weight : int
        Items in it, for the progress bar.
    """

    name: str
    function: Callable[..., Run]
    arguments: tuple = ()
    weight: int = 1


@dataclass
class _Cluster:
    client: Any
    cluster: Any = None
    count: int | None = None

    def per_host(self) -> dict[str, int]:
        """Count the workers of each machine; of our own machine, called ``""``, those asked for."""
        if self.count is not None:
            # Some may just be started again.
            return {"": self.count}
        return dict(Counter(info["host"] for info in _workers(self.client).values()))

    def close(self) -> None:
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()


_chosen: list[str] = []
_open: dict[str, _Cluster] = {}


@contextmanager
def using(scheduler: str | None) -> Iterator[None]:
    """Say where tasks are done within the block; a cluster that was started for it is stopped after it.

    Parameters
    ----------
    scheduler : str or None
        ``"serial"``; ``"local:4"``: four processes on this machine; ``"tcp://host:8786"``: the
        workers of a running Dask scheduler. None: what the environment variable
        ``EKMAN_EXPRESSIONS_SCHEDULER`` says, else serial.

    Raises
    ------
    SettingsError
        If it is none of these.
    """
    _chosen.append(_checked(scheduler or os.environ.get(VARIABLE) or "serial", "--scheduler"))
    before = set(_open)
    try:
        yield
    finally:
        _chosen.pop()
        for name in set(_open) - before:
            _open.pop(name).close()


def scheduler() -> str:
    """Return where tasks are done now, in the form that `using` takes."""
    return _chosen[-1] if _chosen else _checked(os.environ.get(VARIABLE) or "serial", VARIABLE)


def workers() -> int:
    """Return how many tasks can be done at once; 1 in this process. Starts the cluster."""
    return 1 if scheduler() == "serial" else max(1, sum(_cluster().per_host().values()))


def run_tasks(tasks: Sequence[Task], run: Run, *, desc: str, unit: str, own_bars: bool = False) -> None:
    """Do tasks, wherever `using` says, and gather in `run` what they did, in the order of `tasks`.

    A task that raises something unexpected, or whose worker dies, is tried again: `TRIES` times
    in all, then it is left out, with the reason. `DataError`, `ModelError` and `MissingError` leave it
    out at once. Errors that concern all that is to come (a full disk, other settings) end the step.

    Parameters
    ----------
    tasks : sequence of Task
        In any order: results must not depend on it.
    run : Run
        Takes note of what was done, skipped and left out.
    desc, unit : str
        For the progress bar.
    own_bars : bool
        Whether tasks show bars themselves, when they run in this process.

    Raises
    ------
    ClusterError
        If the cluster cannot be reached or goes away. What was done is kept.
    """
    do = _serially if scheduler() == "serial" else _on_cluster
    with tqdm(
        total=sum(task.weight for task in tasks),
        desc=desc,
        unit=unit,
        disable=own_bars and do is _serially or None,
    ) as bar:
        outcomes = do(tasks, bar)
    for task, outcome in zip(tasks, outcomes, strict=True):
        if isinstance(outcome, Run):
            run.add(outcome)
        else:
            run.omit(task.name, outcome)


def _checked(value: str, name: str) -> str:
    if not _FORM.fullmatch(value):
        raise SettingsError(
            f"Invalid value for '{name}'. Allowed values are 'serial', 'local:4' (or another number of "
            f"processes) and the address of a Dask scheduler, 'tcp://host:8786', but got {value!r} instead."
        )
    return value


def _serially(tasks: Sequence[Task], bar: tqdm) -> list[Run | str]:
    outcomes: list[Run | str] = []
    for task in tasks:
        for attempt in range(1, TRIES + 1):
            try:
                outcomes.append(_do(task))
                break
            except Exception as error:
                if attempt == TRIES:
                    outcomes.append(_given_up(error))
        outcomes[-1] = _judged(outcomes[-1])
        bar.update(task.weight)
    return outcomes


def _on_cluster(tasks: Sequence[Task], bar: tqdm) -> list[Run | str]:
    from distributed import as_completed
    from distributed.client import FutureCancelledError

    cluster = _cluster()
    client, hosts = cluster.client, cluster.per_host()
    futures = {
        client.submit(
            _do, task, hosts, pure=False, retries=TRIES - 1, key=f"{task.name}-{number}-{id(bar)}"
        ): number
        for number, task in enumerate(tasks)
    }
    outcomes: list[Run | str] = [""] * len(tasks)
    try:
        for future in as_completed(futures):
            number = futures[future]
            if future.cancelled():
                raise FutureCancelledError(future.key, "the scheduler went away")
            error = future.exception()
            outcomes[number] = _judged(future.result() if error is None else _given_up(error))
            bar.update(tasks[number].weight)
    except (OSError, FutureCancelledError) as error:
        if isinstance(error, EkmanExpressionsError) or getattr(error, "errno", None) in _FULL:
            raise
        raise ClusterError(
            f"The cluster {scheduler()} went away ({error}). What its workers wrote is kept: start it, "
            "and run the step again."
        ) from error
    finally:
        client.cancel(list(futures), reason="the step has ended")
    return outcomes


def _do(task: Task, hosts: dict[str, int] | None = None) -> Run | Exception:
    """Do a task; errors that another try would not change are returned, not raised."""
    # Loaded before the limit, which holds for what is loaded.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    if hosts is not None:
        _settle(hosts)
    try:
        # With more threads, sums of products have other last bits.
        with threadpool_limits(1, user_api="blas"):
            return task.function(*task.arguments)
    except EkmanExpressionsError as error:
        return error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        return error


def _settle(hosts: dict[str, int]) -> None:
    """Share the cores of a worker's machine among its workers, before TensorFlow starts its threads."""
    import cv2
    from dask.system import CPU_COUNT
    from distributed import get_worker

    host = get_worker().address.rpartition("://")[2].rpartition(":")[0]
    threads = max(1, CPU_COUNT // (hosts.get(host) or hosts.get("", 1)))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(threads))
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    cv2.setNumThreads(threads)


def _judged(outcome: Run | Exception | str) -> Run | str:
    if isinstance(outcome, _OF_ITS_OWN):
        return str(outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _given_up(error: BaseException) -> str:
    return f"failed {TRIES} times, the last time with {type(error).__name__}: {error}"


def _workers(client: Any) -> dict[str, dict[str, Any]]:
    return client.scheduler_info(n_workers=-1)["workers"]


def _cluster() -> _Cluster:
    name = scheduler()
    if name not in _open:
        if not _open:
            atexit.register(_close_all)
        _open[name] = _start(name)
    return _open[name]


def _close_all() -> None:
    while _open:
        _open.popitem()[1].close()


def _start(name: str) -> _Cluster:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingError(
            f"The scheduler {name} needs Dask, which is not installed: "
            "pip install 'ekman_expressions[cluster]'."
        ) from error
    if name.startswith("local"):
        count = int(name.partition(":")[2] or os.cpu_count() or 1)
        # A worker that dies takes a try from its task, as an exception does.
        dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1})
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            # Read when tqdm is imported, so not to be set later: this process shows one bar for all.
            env={"TQDM_DISABLE": "1"},
        )
        client = Client(cluster)
    else:
        cluster = count = None
        try:
            client = Client(name, timeout=30)
        except OSError as error:
            raise ClusterError(
                f"No Dask scheduler answers at {name} from {socket.gethostname()} ({error}). Start one with "
                "'dask scheduler', and workers with 'dask worker'."
            ) from error
    print(
        f"    {len(_workers(client))} workers of {name}; dashboard: {client.dashboard_link}", file=sys.stderr
    )
    return _Cluster(client, cluster, count)
