"""Named arrays in an ``.npz`` that can be trusted: a digest inside, limited sizes, no pickles."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ekman_expressions.atomic import atomic_path
from ekman_expressions.errors import DataError, SettingsError

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
