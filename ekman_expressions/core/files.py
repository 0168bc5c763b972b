"""Files: atomic writes, checksums, CSV, JSON, images and archives of arrays. No pickles."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.images import decode_image
from ekman_expressions.core.processes import is_alive, machine

__all__ = [
    "atomic_path",
    "hash_of",
    "read_arrays",
    "read_csv",
    "read_image",
    "read_json",
    "require",
    "sha256",
    "write_arrays",
    "write_csv",
    "write_image",
    "write_json",
]


def require(path: Path, made_by: str) -> Path:
    """Return `path`, or raise `MissingError` that names the step that writes it."""
    path = Path(path)
    if not path.exists():
        raise MissingError(f"{path} is not there. It is written by the step '{made_by}': run it first.")
    return path


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented, with a final newline."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a damaged one raises `DataError` with its name."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not valid JSON ({error}). Delete its folder and run the step again."
        ) from error


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically as CSV without its index, floats to 9 significant digits."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")


def read_csv(path: Path, columns: tuple[str, ...] = (), **options: Any) -> pd.DataFrame:
    """Read a CSV table and check that it has `columns`.

    Raises
    ------
    DataError
        If the file cannot be parsed or lacks columns; the message lists them.
    """
    try:
        table = pd.read_csv(path, **options)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a readable CSV table ({error}).") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}. "
            f"It has {', '.join(map(str, table.columns))}; needed are {', '.join(columns)}."
        )
    return table


def write_image(path: Path, image: np.ndarray, **options: Any) -> None:
    """Write an 8-bit gray (H, W) or RGB (H, W, 3) image atomically, in the format of the suffix.

    `options` are Pillow's for that format, such as ``compress_level`` for PNG.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise DataError(f"Images are written as uint8, but got {image.dtype} for {path}.")
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, **options)


def read_image(path: Path, *, gray: bool = False) -> np.ndarray:
    """Read an image as 8-bit RGB (H, W, 3), or (H, W) when `gray`, upright.

    See `ekman_expressions.core.images.decode_image` for what becomes of other kinds of pixels.

    Raises
    ------
    MissingError
        If there is no such file.
    DataError
        If the file cannot be opened, is no image, is damaged or has too many pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"There is no image {path}.")
    try:
        return decode_image(path.read_bytes(), gray=gray)
    except DataError as error:
        raise DataError(f"{path} cannot be read as an image ({error}).") from error
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}).") from error


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


DIGEST = "digest"
"""The member that holds `digest_of` the others."""

LARGEST_VARIABLE = "EKMAN_EXPRESSIONS_LARGEST_ARRAYS"
"""Environment variable: the largest archive that is read, in bytes when unpacked; default 4 GiB."""

_LARGEST = 4 * 2**30
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the hexadecimal SHA-256 of arrays: names, types, shapes and values, in any order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\x1f{array.dtype.str}\x1f{np.shape(arrays[name])}\x1e".encode())
        digest.update(array.data.cast("B") if array.size and array.dtype.kind != "U" else array.tobytes())
    return digest.hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays atomically as a compressed ``.npz``; equal arrays give equal bytes.

    Their digest goes with them, so that what was cut off, changed or put together by something
    else is known when it is read.
    """
    arrays = {name: np.asanyarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"Object arrays are not written, since they are pickles: {name!r} is one.")
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays, **{DIGEST: np.array(digest_of(arrays))})


def read_arrays(path: Path, names: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read an ``.npz`` (never a pickle) and check that it holds `names`.

    Sizes are checked before anything is unpacked, and the digest after, where there is one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is damaged, too large when unpacked, was not written as a whole, or lacks
        an array.
    """
    path = Path(path)
    limit = largest()
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > limit:
                raise DataError(
                    f"it holds {size} bytes when unpacked, more than {limit}. If it is yours, set the "
                    f"environment variable {LARGEST_VARIABLE} to a larger number"
                )
            arrays = {member.filename.removesuffix(".npy"): _read(archive, member) for member in members}
            if len(arrays) != len(members):
                raise DataError("two of its arrays have one name")
    except FileNotFoundError:
        raise
    except Exception as error:
        # Whichever of zipfile, zlib, lzma, struct, tokenize and NumPy meets the damage.
        raise DataError(f"{path} is damaged ({error}). Delete it and run its step again.") from error
    digest = arrays.pop(DIGEST, None)
    if digest is not None and str(digest) != digest_of(arrays):
        raise DataError(
            f"{path} is damaged (its arrays are not those whose checksum it holds). "
            "Delete it and run its step again."
        )
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(arrays)}.")
    return arrays


def has_digest(path: Path) -> bool:
    """Say whether an archive holds a digest, so that `read_arrays` would notice a change."""
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{DIGEST}.npy" in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def largest() -> int:
    """Return how many bytes an archive may hold when unpacked; see `LARGEST_VARIABLE`."""
    given = os.environ.get(LARGEST_VARIABLE, "")
    if not given:
        return _LARGEST
    if not given.isdecimal() or not int(given):
        raise SettingsError(f"{LARGEST_VARIABLE} must be a number of bytes > 0, but is {given!r}.")
    return int(given)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise DataError(f"{member.filename} is in a version of the format that is not read, {version}")
        shape, _, dtype = _HEADERS[version](file)
        # Memory is taken for what the header says: it must be what is there.
        size = file.tell() + dtype.itemsize * int(np.prod(shape, dtype=object))
        if dtype.hasobject or size != member.file_size:
            raise DataError(f"{member.filename} should hold {dtype} of shape {shape}, but does not")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
