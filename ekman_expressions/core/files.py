"""Files: atomic writes, checksums, CSV, JSON, images and archives of arrays. No pickles."""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.images import decode_image


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
        text = options.pop("encoding_text", None)
        table = pd.read_csv(path if text is None else io.StringIO(text), **options)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a readable CSV table ({error}).") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}. "
            f"It has {', '.join(map(str, table.columns))}; needed are {', '.join(columns)}."
        )
    return table


def read_table(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table that somebody wrote by hand or with a spreadsheet program: all cells are texts, as they stand.

    Separated by commas, semicolons or tabs; UTF-8 (also with a byte-order mark), UTF-16 or Windows' cp1252. Blanks
    around names and cells are taken off. `DataError` as of `read_csv`.
    """
    data = Path(path).read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    table = read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding_text=text)
    table.columns = [str(name).strip() for name in table.columns]
    for name in table.columns:
        table[name] = table[name].str.strip()
    missing = [column for column in columns if column not in table.columns]
    if missing:
        have, needed = (", ".join(map(repr, names)) for names in (table.columns, columns))
        raise DataError(
            f"{path} lacks the columns {', '.join(map(repr, missing))}. It has {have}; needed are {needed}."
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
    """Read an image as 8-bit RGB (H, W, 3), or (H, W) when `gray`, upright; see `images.decode_image`.

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


_TEMPORARY = ".writing-"
_LARGEST = 4 * 2**30


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` that is renamed to `path` when the block succeeds.

    File and folder are written through to the disk, so that after a power cut there is the
    earlier file or the new one. The suffix stays the same, for writers that go by it. When the
    block raises, the temporary file is removed and an earlier `path` stays as it was; when the
    process is killed, it stays and is one of the `leftovers`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex[:12]}-{path.name}")
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
    """Return the temporary files below a folder: of killed processes, or of one that writes now."""
    return sorted(Path(folder).rglob(f"{_TEMPORARY}*"))


def remove_leftovers(folder: Path) -> None:
    """Remove the `leftovers` below a folder; for whoever holds the lock of its experiment."""
    for path in leftovers(folder):
        with suppress(OSError):
            path.unlink()


def _synchronise(folder: Path) -> None:
    # Folders cannot be opened on Windows, and not every file system can synchronise them.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays atomically as a compressed ``.npz``; equal arrays give equal bytes."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read_arrays(path: Path, names: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read `names` from an ``.npz`` and nothing else; without names, all arrays. Never a pickle.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is damaged, lacks an array, or holds more than 4 GiB in the arrays to be read.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            lacking = [name for name in names if name not in archive.files]
            if lacking:
                raise KeyError(f"it lacks {', '.join(lacking)}; it holds {', '.join(archive.files)}")
            wanted = names or archive.files
            if sum(archive.zip.getinfo(f"{name}.npy").file_size for name in wanted) > _LARGEST:
                raise ValueError(f"it unpacks to more than {_LARGEST} bytes")
            return {name: archive[name] for name in wanted}
    except FileNotFoundError:
        raise
    except Exception as error:
        # Whichever of zipfile, zlib, struct, tokenize and NumPy meets the damage.
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise DataError(f"{path} is damaged ({reason}). Delete it and run its step again.") from error
