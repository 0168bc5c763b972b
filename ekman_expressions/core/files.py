"""Files: atomic writes, checksums, CSV, JSON, archives of arrays; images of every kind to 8 bits. No pickles."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError

from ekman_expressions.core.errors import DataError, MissingError


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
        raise DataError(f"{path} is not valid JSON ({error}). Delete its folder and run the step again.") from error


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
    _check_columns(path, table, columns)
    return table


def _check_columns(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    if missing := [column for column in columns if column not in table.columns]:
        lacks, have, needed = (", ".join(map(repr, names)) for names in (missing, table.columns, columns))
        raise DataError(f"{path} lacks the columns {lacks}. It has {have}; needed are {needed}.")


def read_text(path: Path) -> str:
    """Read a text in UTF-8 (also with a byte-order mark), UTF-16 or Windows' cp1252."""
    data = Path(path).read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read_table(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table that somebody wrote by hand or with a spreadsheet program; cells are texts as they stand.

    Separated by commas, semicolons or tabs; encoded as `read_text` reads. Blanks around names and cells are
    taken off, rows without a word are left out (the index counts them), and `columns` are found in any case.
    `DataError` as of `read_csv`.
    """
    text = read_text(path).lstrip("\ufeff")
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        header, *rows = ([cell.strip() for cell in cells] for cells in lines)
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV table ({error}).") from error
    width = len(header)
    # Spreadsheet programs put empty cells at the end.
    if any(any(cells[width:]) for cells in rows):
        raise DataError(
            f"{path} has more cells in its rows than the columns {', '.join(map(repr, header))}. Put cells "
            f"that have a {separator!r} inside in quotes."
        )
    names = [name.lower() if name.lower() in columns else name for name in header]
    table = pd.DataFrame([(cells + [""] * width)[:width] for cells in rows], columns=names, dtype=str)
    table = table.loc[:, ~table.columns.duplicated()]
    _check_columns(path, table, columns)
    return table[(table != "").any(axis=1)]


def write_image(path: Path, image: np.ndarray, **options: Any) -> None:
    """Write an 8-bit gray (H, W) or RGB (H, W, 3) image atomically, in the format of the suffix.

    `options` are Pillow's for that format, such as ``compress_level`` for PNG.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, **options)


def read_image(path: Path, *, gray: bool = False) -> np.ndarray:
    """Read an image as 8-bit RGB (H, W, 3), or (H, W) when `gray`, upright; see `decode_image`.

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


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` that is renamed to `path` when the block succeeds.

    It is written through to the disk before. The suffix stays the same, for writers that go by it. When the
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
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(folder: Path, *, remove: bool = False) -> list[Path]:
    """Return the temporary files below a folder, of killed processes or of one that writes now, and `remove`
    them, which is for whoever holds the lock of the folder's experiment.
    """
    found = sorted(folder.rglob(f"{_TEMPORARY}*"))
    for path in found if remove else ():
        with suppress(OSError):
            path.unlink()
    return found


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
        If the file is damaged or lacks an array.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names or archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:
        # Whichever of zipfile, zlib, struct, tokenize and NumPy meets the damage.
        raise DataError(f"{path} is damaged ({error}). Delete it and run its step again.") from error


_ONE_AT_A_TIME = threading.Lock()
_ORIENTATION = 0x0112  # number of an EXIF tag, and of a TIFF tag


def decode_image(data: bytes, *, gray: bool = False) -> np.ndarray:
    """Decode an image file's bytes to 8-bit RGB (H, W, 3), or (H, W) when `gray`, upright.

    - 16-bit values are divided by 257 and rounded. Gray values of 32 bits and floats count as parts
      of 1, 255 or 65535, the first of these that none of them exceeds.
    - CMYK is converted by complement (profiles are not used); JPEG files hold it inverted.
    - What is transparent is laid on black.
    - Of an animation or a file with several pages, the first image is taken.
    - The rotation that a camera noted (EXIF) is applied.

    Parameters
    ----------
    data : bytes
        The whole file.
    gray : bool
        Whether colours become luma, 0.299 R + 0.587 G + 0.114 B.

    Returns
    -------
    (H, W, 3) or (H, W) ndarray of uint8

    Raises
    ------
    DataError
        With the reason alone, since only the caller knows what the image is called: no image,
        cut off, more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, or values without a scale.
    """
    if not data:
        raise DataError("the file is empty")
    try:
        image = _decoded(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"it has too many pixels: {error} Make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("it is no image of a known format, or cut off at its start") from error
    except Exception as error:
        # Whichever of Pillow, tifffile, zlib and struct meets the damage.
        raise DataError(f"it is damaged: {error}") from error
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("L" if gray else "RGB"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Pass over damaged metadata, which takes nothing from the pixels, and refuse too many pixels."""
    # Filters of warnings belong to the whole process: two threads would leave each other's behind.
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decoded(data: bytes) -> Image.Image:
    """Return the first image in a file, upright, with 8 bits per channel."""
    with _quiet():
        image = Image.open(io.BytesIO(data))
        tags = image.tag_v2 if image.format == "TIFF" else {}
        # Pillow turns TIFF files itself as it loads them.
        noted, depths = tags.get(_ORIENTATION), tags.get(258, (8,))
    with image:
        # All of it first, since other readers give back what they can of a file that is cut off.
        # What takes time is left to all threads at once.
        image.load()
        with _quiet():
            orientation = image.getexif().get(_ORIENTATION)
        if image.mode.startswith(("I", "F")):
            return _upright(np.asarray(image), orientation)
        # Of colours with 16 bits Pillow keeps the upper half of each number.
        if max(depths) == 16:
            import tifffile

            with _quiet():
                return _upright(tifffile.imread(io.BytesIO(data), key=0), noted)
        if image.format == "PNG" and data[24] == 16:
            import cv2

            values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if values.ndim == 3:
                # OpenCV's order is blue, green, red, and alpha if there is any.
                values = values[..., [2, 1, 0, 3][: values.shape[2]]]
            return _upright(values, orientation)
        with _quiet() if orientation else nullcontext():
            return ImageOps.exif_transpose(image)


def _upright(values: np.ndarray, orientation: int | None) -> Image.Image:
    """Scale values to 8 bits and turn them as a camera noted."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        full = 65535
    else:
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 65535):
            raise DataError(f"its values go from {low:g} to {high:g}: scale them to 0 ... 1, 255 or 65535")
        full = 1 if values.dtype.kind == "f" and high <= 1 else 255 if high <= 255 else 65535
    image = Image.fromarray(np.rint(values * np.float64(255 / full)).astype(np.uint8))
    image.getexif()[_ORIENTATION] = orientation or 1
    return ImageOps.exif_transpose(image)
