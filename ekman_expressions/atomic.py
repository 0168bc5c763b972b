"""Files that are there whole or not at all, and the remains of processes that were killed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ekman_expressions.processes import is_alive, machine

_TEMPORARY = re.compile(r"\.(?P<pid>\d+)(?:@(?P<machine>[0-9a-f]{8}))?-.+")
_ABANDONED = 24 * 3600.0
"""Seconds after which a temporary file of another machine counts as left behind."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` that is renamed to `path` when the block succeeds.

    File and folder are written through to the disk, so that after a power cut there is the
    earlier file or the new one. The suffix stays the same, for writers that go by it. When the
    block raises, the temporary file is removed and an earlier `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}@{machine()}-{path.name}")
    try:
        yield temporary
        # Windows only synchronises files that are open for writing.
        with open(temporary, "r+b") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        _synchronise(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files below a folder whose writers were killed.

    Those of a process of this machine that is no longer there, and those of other machines (or
    where that cannot be told) that are a day older than a file written now: both times are the
    file system's, so that it does not matter how the clocks of two machines differ.
    """
    folder = Path(folder)
    found = [(path, match) for path in folder.rglob(".*-*") if (match := _TEMPORARY.fullmatch(path.name))]
    if not found:
        return []
    abandoned, now = [], None
    for path, match in found:
        alive = is_alive(int(match["pid"])) if match["machine"] == machine() else None
        if alive is not None:
            abandoned += [] if alive else [path]
            continue
        now = _now(folder) if now is None else now
        with suppress(FileNotFoundError):
            if now - path.stat().st_mtime > _ABANDONED:
                abandoned.append(path)
    return sorted(abandoned)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove the `leftovers` below a folder, as far as that is allowed, and return those removed."""
    removed = []
    for path in leftovers(folder):
        with suppress(OSError):
            path.unlink()
            removed.append(path)
    return removed


def _now(folder: Path) -> float:
    """Return the time of the machine that keeps the folder's files."""
    probe = folder / f".{os.getpid()}@{machine()}-clock"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        # Nothing can be written here, nor removed.
        return float("-inf")
    finally:
        with suppress(OSError):
            probe.unlink()


def _synchronise(folder: Path) -> None:
    # Folders cannot be opened on Windows, and not every file system can synchronise them.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
