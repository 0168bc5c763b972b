"""Where the work of a step is done: in this process, or by the workers of a Dask cluster.

The only module that knows. A step hands in `_Task` s and gets counts, names and reasons back; faces,
models and maps are read and written by the task itself, in the folder that all share.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ekman_expressions.core.errors import EkmanExpressionsError, MissingError, SettingsError
from ekman_expressions.study.provenance import _OF_ITS_OWN, Run

_VARIABLE = "EKMAN_EXPRESSIONS_SCHEDULER"
"""Environment variable: what `using` takes, for notebooks."""

_TRIES = 3
"""Times that a task is tried before it is left out."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A part of a step that depends on no other."""

    name: str
    """What it is about, for reports: ``SongNet_CV3``."""
    function: Callable[..., Run]
    """``function(*arguments) -> Run``, importable by its name. It writes its results to files, skips those
    that are there, and says in the `Run` what it did."""
    arguments: tuple = ()
    """Settings and names, no arrays."""
    weight: int = 1
    """Items in it, for the progress bar."""


_open: dict[str, Any] = {}  # Dask's clients; those that started their workers end them, too


@contextmanager
def using(scheduler: str | None, *, shared: bool = False) -> Iterator[None]:
    """Say where tasks are done within the block, also by notebooks and processes that are started in it; a cluster that
    was started for it is stopped after it.

    Parameters
    ----------
    scheduler : str or None
        ``"serial"``; ``"local:4"``: four processes on this machine; ``"tcp://host:8786"``: the workers of a
        running Dask scheduler. None: what ``EKMAN_EXPRESSIONS_SCHEDULER`` says, else serial.
    shared : bool
        Start the processes of ``"local:4"`` now, for all that is started in the block: libraries and models are
        then loaded once.
    """
    before, already = os.environ.get(_VARIABLE, ""), set(_open)
    try:
        os.environ[_VARIABLE] = scheduler or before or "serial"
        if _scheduler().startswith("local") and shared:
            os.environ[_VARIABLE] = _client().scheduler.address
        yield
    finally:
        os.environ[_VARIABLE] = before
        # TensorFlow takes longer to end than Dask waits before it warns.
        logger = logging.getLogger("distributed.nanny")
        level = logger.level
        logger.setLevel(logging.ERROR)
        for name in set(_open) - already:
            _open.pop(name).close()
        logger.setLevel(level)


def _scheduler() -> str:
    """Return where tasks are done now, in the form that `using` takes."""
    value = os.environ.get(_VARIABLE) or "serial"
    if not re.fullmatch(r"serial|local(:[1-9]\d*)?|(tcp|tls|ws|wss)://.+", value):
        raise SettingsError(
            f"Invalid value for '--scheduler' or {_VARIABLE}. Allowed values are 'serial', 'local:4' (or "
            "another number of processes) and the address of a Dask scheduler, 'tcp://host:8786', but got "
            f"{value!r} instead."
        )
    return value


def _workers() -> int:
    """Return how many tasks can be done at once; 1 in this process. Starts the cluster."""
    return 1 if _scheduler() == "serial" else max(1, sum(_hosts(_client()).values()))


def _run_tasks(tasks: Sequence[_Task], run: Run, *, desc: str, unit: str, own_bars: bool = False) -> None:
    """Do tasks, wherever `using` says, and gather in `run` what they did, in the order of `tasks`. Errors
    that concern all that is to come, such as a full disk, end the step; what else fails is left out.
    """
    serial = _scheduler() == "serial"
    total, outcomes = sum(task.weight for task in tasks), {}
    # Not `disable=False`, which would have the last word over the command line's -q.
    hidden = {"disable": True} if own_bars and serial else {}
    with (
        closing(_serially(tasks) if serial else _on_cluster(tasks)) as ended,
        tqdm(total=total, desc=desc, unit=unit, **hidden) as bar,
    ):
        for number, outcome in ended:
            if isinstance(outcome, Exception) and not isinstance(outcome, _OF_ITS_OWN):
                raise outcome
            outcomes[number] = outcome
            bar.update(tasks[number].weight)
    for number, task in enumerate(tasks):
        if isinstance(outcomes[number], Run):
            run.add(outcomes[number])
        else:
            run.omit(task.name, outcomes[number])


def _serially(tasks: Sequence[_Task]) -> Iterator[tuple[int, Any]]:
    for number, task in enumerate(tasks):
        for _ in range(_TRIES):
            try:
                outcome = _do(task)
                break
            except Exception as error:
                outcome = _given_up(error)
        yield number, outcome


def _on_cluster(tasks: Sequence[_Task]) -> Iterator[tuple[int, Any]]:
    client = _client()
    from distributed import as_completed
    from distributed.client import FutureCancelledError

    options = {"pure": False, "retries": _TRIES - 1}
    hosts = _hosts(client)
    futures = {client.submit(_do, task, hosts, **options): number for number, task in enumerate(tasks)}
    try:
        for future in as_completed(futures):
            if future.cancelled():
                raise FutureCancelledError(future.key, "the scheduler went away")
            error = future.exception()
            yield futures[future], future.result() if error is None else _given_up(error)
    except (OSError, FutureCancelledError) as error:
        raise EkmanExpressionsError(
            f"The cluster {_scheduler()} went away ({error}). What its workers wrote is kept: start it, "
            "and run the step again."
        ) from error
    finally:
        client.cancel(list(futures), reason="the step has ended")


def _do(task: _Task, hosts: dict[str, int] | None = None) -> Run | Exception:
    """Do a task; errors that another try would not change are returned, not raised."""
    # Loaded before the limit, which holds for what is loaded.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    if hosts is not None:
        _share_cores(hosts)
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


def _share_cores(hosts: dict[str, int]) -> None:
    """Share the cores of a worker's machine among its workers, before TensorFlow starts its threads."""
    import cv2
    from dask.system import CPU_COUNT
    from distributed import get_worker

    host = get_worker().address.rpartition("://")[2].rpartition(":")[0]
    threads = max(1, CPU_COUNT // hosts.get(host, 1))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(threads))
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    cv2.setNumThreads(threads)


def _given_up(error: BaseException) -> str:
    return f"failed {_TRIES} times, the last time with {type(error).__name__}: {error}"


def _hosts(client: Any) -> dict[str, int]:
    """Count the workers of each machine."""
    if asked := re.fullmatch(r"local:(\d+)", _scheduler()):
        # Those that died may still be starting again.
        client.wait_for_workers(int(asked[1]), timeout=60)
    return dict(Counter(info["host"] for info in client.scheduler_info(n_workers=-1)["workers"].values()))


def _client() -> Any:
    name = _scheduler()
    if name not in _open:
        _open[name] = _start(name)
    return _open[name]


def _require_main_guard() -> None:
    """Refuse to start processes from a script that each of them would run again from its first line."""
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    if script.suffix == ".py" and script.is_file() and b"__name__" not in script.read_bytes():
        raise EkmanExpressionsError(
            f"{script} starts processes that would each run the whole script again. Put what it does under "
            "if __name__ == '__main__': and run it again."
        )


def _start(name: str) -> Any:
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise MissingError(
            f"The scheduler {name} needs Dask, which is not installed: pip install 'ekman_expressions[cluster]'."
        ) from error
    before = set(os.environ)
    where: dict[str, Any] = {"address": name}
    if name.startswith("local"):
        _require_main_guard()
        # A worker that dies takes a try from its task, as an exception does.
        # This process shows one bar for all; tqdm reads the variable when it is imported, which a worker does before
        # it gets what LocalCluster's `env` holds.
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": _TRIES - 1,
                "distributed.nanny.pre-spawn-environ.TQDM_DISABLE": "1",
                # Dask would look 100 times a second at what each worker does, for a page that few of its users open.
                "distributed.worker.profile.enabled": False,
                # Dask would have memory given back at once: arrays of face space then cost thrice their time.
                "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
            }
        )
        workers = int(name.partition(":")[2] or os.cpu_count() or 1)
        where = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    try:
        client = Client(**where, timeout=30)
    except OSError as error:
        raise EkmanExpressionsError(
            f"No Dask scheduler answers at {name} from {socket.gethostname()} ({error}). Start one with "
            "'dask scheduler', and workers with 'dask worker'."
        ) from error
    finally:
        # What Dask has set here for its workers would count for notebooks that are started from here, too.
        for added in set(os.environ) - before:
            del os.environ[added]
    print(f"    {sum(_hosts(client).values())} workers of {name}: {client.dashboard_link}", file=sys.stderr)
    return client
