"""One run at a time on an experiment: a file lock that does not outlive its process."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ekman_expressions.core.errors import ConflictError, DataError
from ekman_expressions.core.files import read_json, write_json
from ekman_expressions.study.experiment import Experiment

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def experiment_lock(experiment: Experiment) -> Iterator[None]:
    """Hold the lock of an experiment, so that no second run writes over the first.

    One process may take it several times. The system gives it back when the process ends, however it ends.
    Where the folder may not be written to, nothing is locked: nothing can be written over either.

    Raises
    ------
    ConflictError
        If another process holds it; the message says which, on which machine.
    """
    lock, path = _lock(experiment)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        found = _described(path)
        raise ConflictError(
            f"Another run works on this experiment: process {found.get('pid', '?')} on "
            f"{found.get('host', 'an unknown machine')}, since {found.get('since', '?')} "
            f"({found.get('command', 'unknown command')}). Two runs would write over each other: wait for it, "
            "stop it, or give the experiment another name."
        ) from None
    except OSError as error:
        if error.errno not in _NOT_ALLOWED:
            raise
    try:
        if lock.is_locked and lock.lock_counter == 1:
            command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
            since = datetime.now(UTC).isoformat(timespec="seconds")
            write_json(
                path, {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": since}
            )
        yield
    finally:
        if lock.lock_counter == 1:
            path.unlink(missing_ok=True)
        lock.release()


def holder(experiment: Experiment) -> dict[str, Any] | None:
    """Return ``pid``, ``host``, ``command`` and ``since`` of the run that works on an experiment, or None."""
    lock, path = _lock(experiment)
    if not lock.is_locked:
        if not Path(lock.lock_file).exists():
            return None
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return _described(path)
        except OSError:
            return None
        lock.release()
        return None
    return _described(path)


def _lock(experiment: Experiment) -> tuple[FileLock, Path]:
    """Return the lock, the same one in the whole process, and the file that says who holds it."""
    path = experiment.results_folder / ".lock"
    return FileLock(path, is_singleton=True, thread_local=False), path.with_name(".lock.json")


def _described(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, DataError):
        return {}
