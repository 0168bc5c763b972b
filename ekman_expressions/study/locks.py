"""One run at a time on an experiment: a lock that outlives neither its process nor its machine."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

from ekman_expressions.core.errors import ConflictError
from ekman_expressions.core.processes import is_alive, machine, start_of
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

HEARTBEAT = 10.0
"""Seconds after which a run writes into its lock that it is still there."""

_PATIENCE = 3
"""Heartbeats without a sign of life after which a run on another machine counts as dead."""

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_held: dict[Path, tuple[int, int]] = {}


def locked(step: Callable[..., Run]) -> Callable[..., Run]:
    """Let a step run only while it holds the lock of its experiment; see `experiment_lock`."""

    @wraps(step)
    def run(experiment: Experiment, **options: Any) -> Run:
        with experiment_lock(experiment):
            return step(experiment, **options)

    return run


def lock_path(experiment: Experiment) -> Path:
    """The file that says which process works on an experiment; there only while one does."""
    return experiment.results_folder / ".lock"


@contextmanager
def experiment_lock(experiment: Experiment, *, heartbeat: float = HEARTBEAT) -> Iterator[None]:
    """Hold the lock of an experiment, so that no second run writes over the first.

    It may be taken several times by one process. A lock whose process is no longer there is
    taken over: on the same machine by the process' number and start; from another machine, when its
    counter stands still for three heartbeats of *this* process' monotonic clock. No time of day is
    compared, so that clocks may differ and jump. Where the folder may not be written to,
    nothing is locked: nothing can be written over either.

    Raises
    ------
    ConflictError
        If another run works on the experiment; or, at the end, if another took the lock over
        meanwhile, because this machine stood still.
    """
    path = lock_path(experiment)
    depth = _held[path][1] if _held.get(path, (None,))[0] == os.getpid() else 0
    if depth:
        _held[path] = (os.getpid(), depth + 1)
        try:
            yield
        finally:
            _held[path] = (os.getpid(), depth)
        return
    mine = _description(experiment.name)
    if not _take(path, mine, heartbeat):
        yield
        return
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, heartbeat, stop), daemon=True)
    beating.start()
    _held[path] = (os.getpid(), 1)
    try:
        yield
    finally:
        del _held[path]
        stop.set()
        beating.join()
        lost = not _release(path, mine)
    if lost:
        raise ConflictError(
            f"While this run went on, another took over the lock of the experiment {experiment.name} "
            f"({path}): this machine must have stood still, or somebody deleted the lock. Run the step "
            "again; what both wrote is equal."
        )


def holder(experiment: Experiment) -> dict[str, Any] | None:
    """Return what the lock of an experiment says of the run that holds it; None without one."""
    text = _read(lock_path(experiment))
    return None if text is None else _parsed(text)


def _description(name: str) -> dict[str, Any]:
    return {
        "experiment": name,
        "machine": machine(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": start_of(os.getpid()),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "key": uuid.uuid4().hex,
        "beat": 0,
    }


def _take(path: Path, mine: dict[str, Any], heartbeat: float) -> bool:
    """Create the lock, taking over a stale one; False where nothing may be written."""
    for _ in range(5):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            text = _read(path)
            if text is None:
                continue
            if not _is_stale(path, text, heartbeat):
                # It may have been empty at first: just made, and written since.
                raise ConflictError(_refusal(path, _parsed(_read(path) or text))) from None
            _set_aside(path, text)
            continue
        except OSError as error:
            if error.errno in _NOT_ALLOWED:
                return False
            raise
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(mine, file)
        return True
    raise ConflictError(f"The lock {path} comes and goes: several runs start at once. Start one again.")


def _is_stale(path: Path, text: str, heartbeat: float) -> bool:
    found = _parsed(text)
    if found.get("machine") == machine() and isinstance(found.get("pid"), int):
        alive = is_alive(found["pid"], found.get("process_start"))
        if alive is not None:
            return not alive
    seconds = _PATIENCE * heartbeat
    where = found.get("host") or "an unknown machine"
    print(
        f"{path} is of a run on {where}: watching for {seconds:.0f} s whether it is alive.",
        file=sys.stderr,
        flush=True,
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(heartbeat / 4)
        if _read(path) != text:
            return False
    return True


def _set_aside(path: Path, text: str) -> None:
    """Remove a stale lock, unless another run has just replaced it by its own."""
    aside = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    if _read(aside) == text:
        aside.unlink(missing_ok=True)
        return
    # Another run was faster, and this is its lock: it goes back.
    with suppress(OSError):
        os.link(aside, path)
    aside.unlink(missing_ok=True)


def _beat(path: Path, mine: dict[str, Any], heartbeat: float, stop: threading.Event) -> None:
    while not stop.wait(heartbeat):
        # A missed beat is no reason to stop: the disk may be full, or away for a moment.
        with suppress(OSError):
            if _parsed(_read(path) or "").get("key") != mine["key"]:
                return
            mine["beat"] += 1
            with open(path, "r+", encoding="utf-8") as file:
                json.dump(mine, file)
                file.truncate()


def _release(path: Path, mine: dict[str, Any]) -> bool:
    """Remove the lock if it is still this run's, and say whether it was."""
    if _parsed(_read(path) or "").get("key") != mine["key"]:
        return False
    with suppress(OSError):
        path.unlink()
        # A step that stopped at once leaves nothing behind.
        path.parent.rmdir()
    return True


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(path: Path, found: dict[str, Any]) -> str:
    return (
        f"Another run works on this experiment: process {found.get('pid', '?')} on "
        f"{found.get('host', 'an unknown machine')}, since {found.get('since', '?')} "
        f"({found.get('command', 'unknown command')}). Two runs would write over each other: wait for it, "
        f"stop it, or give the experiment another name. If nothing runs there, delete {path}."
    )
