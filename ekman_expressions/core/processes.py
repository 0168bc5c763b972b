"""Which process on which machine: whether the one that left a file behind is still there."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Return 8 hexadecimal digits for the place in which this machine's process numbers count.

    Host name, start of the system and, in a container, the container's own numbering go into it:
    only where it is the same does the number of a process say anything.
    """
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            path = Path(source)
            parts.append(os.readlink(path) if path.is_symlink() else path.read_text())
        except OSError:
            # Only Linux has these.
            parts.append("")
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:8]


def start_of(pid: int) -> int | None:
    """Return when a process started, in ticks since the system did; None where that is not known.

    Unlike a time of day it does not move when somebody sets the clock, and a process that got
    the number of one that ended has another.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, a name in parentheses, may hold anything.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def is_alive(pid: int, start: int | None = None) -> bool | None:
    """Say whether a process of this machine is there; None where that cannot be told.

    Parameters
    ----------
    pid : int
        Its number.
    start : int, optional
        As from `start_of` while it was there: another process with its number does not count.
    """
    if os.name != "posix":
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (ProcessLookupError, OverflowError):
        return False
    if not Path("/proc/self/stat").exists():
        return True
    now = start_of(pid)
    return now is not None and start in (None, now)
