"""Faces in memory: found and cropped in files, tables or arrays, with their landmarks; the bundled ones."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, SettingsError, check_option, check_range, check_type
from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED, parse_expression
from ekman_expressions.core.files import read_arrays, read_csv
from ekman_expressions.core.images import decode_image
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.cropping import crop_face
from ekman_expressions.faces.databases import survey
from ekman_expressions.faces.folders import Search, check_ids, layout_of, person_in, read_own, safe_ids
from ekman_expressions.faces.landmarks import FaceLandmarks, LandmarkDetector

Detect = Callable[[np.ndarray], FaceLandmarks | None]

_FIRST = ["image_id", "subject", "expression"]
_SHOWN = 5
_NONE = pd.DataFrame({"item": [], "reason": []}, dtype=str)


@dataclass(frozen=True, eq=False, repr=False)
class Faces:
    """Faces that are cropped alike, with their landmarks and what is known of each.

    Attributes
    ----------
    images : (N, S, S, 3) ndarray of uint8
        RGB; eyes level, from forehead to chin.
    landmarks : (N, 68, 2) ndarray of float32
        x and y in units of the crop's side, iBUG order; slightly outside [0, 1] where a landmark
        lies outside the crop.
    table : DataFrame
        One row per face: ``image_id`` (unique), ``subject``, ``expression`` (empty where not
        known), and what else the source told.
    omissions : DataFrame
        Images that could not be used: ``item`` and ``reason``.

    Examples
    --------
    >>> faces = example_faces(12)
    >>> faces[faces.table.expression == "fear"]
    Faces(2 of 256 x 256 pixels: 2 fear; 2 subjects)
    """

    images: np.ndarray
    landmarks: np.ndarray
    table: pd.DataFrame
    omissions: pd.DataFrame = field(default_factory=_NONE.copy)

    def __post_init__(self) -> None:
        images, points, table = np.asarray(self.images), np.asarray(self.landmarks), self.table
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (images.shape[1],) * 2 + (3,):
            raise DataError(
                f"Faces are RGB images (N, S, S, 3) of uint8, but got {images.shape} of {images.dtype}."
            )
        if points.shape != (len(images), 68, 2) or not np.isfinite(points).all():
            raise DataError(
                f"{len(images)} faces need finite landmarks ({len(images)}, 68, 2), but got {points.shape}."
            )
        check_type(table, "table", pd.DataFrame)
        missing = [column for column in _FIRST if column not in table]
        if missing or len(table) != len(images) or table["image_id"].duplicated().any():
            raise DataError(
                f"The table of {len(images)} faces needs a row for each, a unique image_id, and the columns "
                f"{', '.join(_FIRST)}, but has {len(table)} rows and lacks {', '.join(missing) or 'none'}."
            )
        object.__setattr__(self, "landmarks", points.astype(np.float32, copy=False))
        object.__setattr__(self, "table", table.reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: Any) -> Faces:
        """Return the faces at `places`: an integer, a slice, or a sequence of integers or of booleans."""
        if not isinstance(places, slice):
            places = np.asarray(places)
            if places.dtype != bool and not np.issubdtype(places.dtype, np.integer) and places.size:
                raise SettingsError(
                    f"Faces are indexed by integers, booleans or a slice, but got {places.dtype}."
                )
            places = np.atleast_1d(places if places.size else places.astype(int))
        return Faces(self.images[places], self.landmarks[places], self.table.iloc[places], self.omissions)

    def __repr__(self) -> str:
        size, counts = self.images.shape[1], self.table["expression"].value_counts()
        names = [name for name in (*EXPRESSIONS, *NOT_EXPLAINED) if name in counts]
        parts = [f"{len(self)} of {size} x {size} pixels"]
        parts[0] += f": {', '.join(f'{counts[name]} {name}' for name in names)}" if names else ""
        parts.append(f"{self.table['subject'].nunique()} subjects")
        if len(self.omissions):
            parts.append(f"{len(self.omissions)} images left out")
        return f"Faces({'; '.join(parts)})"

    def at(self, side: int | tuple[int, int]) -> np.ndarray:
        """Return the images at the size that a network wants.

        Parameters
        ----------
        side : int or (int, int), pixels
            Side, or height and width. Shrinking averages over areas, so that nothing aliases.

        Returns
        -------
        (N, h, w, 3) ndarray of float32, range [0, 1]
            RGB.

        Examples
        --------
        >>> example_faces(2).at(48).shape
        (2, 48, 48, 3)
        """
        height, width = (side, side) if np.ndim(side) == 0 else side
        resized = np.empty((len(self), int(height), int(width), 3), np.float32)
        for place, image in enumerate(self.images):
            resized[place] = resize_face(image, (height, width))
        return resized


def resize_face(image: np.ndarray, side: int | tuple[int, int]) -> np.ndarray:
    """Return an image (H, W, 3) of uint8 as float32 in [0, 1], of another side (or height and width)."""
    import cv2

    height, width = (side, side) if np.ndim(side) == 0 else side
    for value in (height, width):
        check_range(value, "side", 1, integer=True)
    resized = np.float32(image) / 255
    if resized.shape[:2] == (height, width):
        return resized
    shrinks = height * width < resized.shape[0] * resized.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(resized, (int(width), int(height)), interpolation=interpolation).clip(0, 1)


# One face


class UnusableImage(DataError):
    """An image that is left out: not there, not readable, or without a face. No message has its path."""


class CroppedFace(NamedTuple):
    """A face cut out of its image: see `crop_face`, and `FaceLandmarks` for `faces` and `look`."""

    image: np.ndarray
    landmarks: np.ndarray
    transform: np.ndarray
    faces: int
    look: str


def read_source(path: Path | str) -> bytes:
    """Return the bytes of an image file, or raise `UnusableImage`."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UnusableImage("there is no such image") from None
    except OSError as error:
        # Not the error itself: it holds the path, which may say who is seen.
        raise UnusableImage(f"the image cannot be opened: {error.strerror}") from None


def prepare_face(source: bytes | np.ndarray, detect: Detect, size: int) -> CroppedFace:
    """Find the largest face in an image and cut it out.

    Parameters
    ----------
    source : bytes or (H, W, 3) ndarray of uint8
        An image file's bytes, or RGB pixels.
    detect : callable
        ``image (H, W, 3) uint8 -> FaceLandmarks or None``, such as `LandmarkDetector.detect`.
    size : int, pixels
        Side of the crop.

    Raises
    ------
    UnusableImage
        If the image cannot be decoded or shows no face.
    """
    image = _decoded(source)
    found = detect(image)
    if found is None:
        raise UnusableImage("no face found")
    try:
        return CroppedFace(*crop_face(image, found.points, size), found.faces, found.look)
    except DataError as error:
        raise UnusableImage(str(error)) from error


def _decoded(source: bytes | np.ndarray) -> np.ndarray:
    if not isinstance(source, bytes):
        return _as_rgb(source)
    try:
        return decode_image(source)
    except DataError as error:
        raise UnusableImage(f"the image cannot be read: {error}") from error


def _as_rgb(array: np.ndarray) -> np.ndarray:
    """Return gray or RGB pixels, of uint8 or of floats in [0, 1], as RGB of uint8."""
    array = np.asarray(array)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise UnusableImage(f"an array of shape {array.shape} is no gray (H, W) or RGB (H, W, 3) image")
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UnusableImage(f"its pixels must be uint8, or floats in [0, 1], but are {array.dtype}")
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


# Many faces


def load_faces(
    source: Any,
    *,
    size: int = 256,
    crop: bool = True,
    landmarks: np.ndarray | None = None,
    expressions: str | Sequence[str] | None = None,
    subjects: str | Sequence[str] | None = None,
) -> Faces:
    """Find the faces in images, cut them out alike, and keep their landmarks.

    Parameters
    ----------
    source : path, DataFrame, or sequence
        - A folder: with a ``manifest.csv``; or with a folder per expression (``happy/``, ...); or
          simply with images, at any depth.
        - A table (DataFrame, or a CSV file, whose paths are relative to it) with the column ``path``,
          optionally ``image_id``, ``subject``, ``expression`` and others.
        - Image files, or arrays (H, W[, 3]) of uint8 or of floats in [0, 1].
    size : int, pixels
        Side of the crops.
    crop : bool
        False takes each image whole, as a crop that is made already; it must be square.
    landmarks : (N, 68, 2) array_like of float, optional
        Landmarks of each listed image in its pixels, iBUG order; by default they are detected. Of
        several faces in an image, the largest is taken.
    expressions, subjects : str, or sequence of str, optional
        What the images show, one for all or one each, where `source` does not tell. For files, `subjects`
        may be a regular expression for the path, such as ``r"(S\\d+)_"``; by default each image counts
        as a person of its own.

    Returns
    -------
    Faces
        In the order of the source; images without a usable face are in ``omissions``, and a
        warning says how many.

    Raises
    ------
    SettingsError, MissingError
        If an argument cannot be used, or `source` is not there.
    DataError
        If a table is not as it must be, or no image has a usable face.

    Examples
    --------
    >>> from ekman_expressions.faces import synthetic
    >>> image = synthetic.folder() / "images" / "id07_fear_1.webp"
    >>> load_faces([image], expressions="fear", landmarks=[synthetic.mesh_landmarks()["id07_fear_1"]])
    Faces(1 of 256 x 256 pixels: 1 fear; 1 subjects)
    """
    check_range(size, "size", 1, integer=True)
    table, items, omissions = _listed(source, subjects)
    for column, values in (("expression", expressions), ("subject", subjects)):
        is_pattern = column == "subject" and isinstance(values, str)
        if values is not None and not is_pattern:
            table[column] = [values] * len(table) if isinstance(values, str) else _each(values, table, column)
    table["expression"] = [_expression(name, row) for row, name in enumerate(table["expression"])]
    given = None
    if landmarks is not None:
        given = np.asarray(landmarks, np.float64)
        if given.shape != (len(items), 68, 2):
            raise DataError(
                f"'landmarks' must be ({len(items)}, 68, 2) for {len(items)} images, but is {given.shape}."
            )
    images, points, kept = [], [], []
    names = table.pop("_item")
    from tqdm import tqdm

    with LandmarkDetector() as detector:
        for place, item in enumerate(tqdm(items, desc="Finding faces", unit="image", delay=1)):
            detect = detector.detect if given is None else _known(given[place])
            try:
                pixels = read_source(item) if isinstance(item, (str, os.PathLike)) else item
                face = prepare_face(pixels, detect, size) if crop else _whole_face(pixels, detect, size)
            except UnusableImage as error:
                omissions.append((names[place], str(error)))
                continue
            images.append(face[0])
            points.append(face[1])
            kept.append(place)
    left_out = pd.DataFrame(omissions, columns=["item", "reason"], dtype=str)
    reasons = "; ".join(f"{item}: {reason}" for item, reason in omissions[:_SHOWN])
    if not kept:
        raise DataError(f"No image has a usable face: {len(omissions)} left out ({reasons}).")
    if omissions:
        warnings.warn(
            f"{len(omissions)} images have no usable face and are left out ({reasons}). The attribute "
            "'omissions' lists them.",
            stacklevel=2,
        )
    order = [*_FIRST, *(column for column in table if column not in _FIRST)]
    return Faces(np.stack(images), np.float32(points), table.iloc[kept][order], left_out)


def _whole_face(source: bytes | np.ndarray, detect: Detect, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a whole image at `size` pixels, and its landmarks in units of its side."""
    image = _decoded(source)
    if image.shape[0] != image.shape[1]:
        raise UnusableImage(f"it is {image.shape[1]} x {len(image)}: with crop=False, images must be square")
    found = detect(image)
    if found is None:
        raise UnusableImage("no face found")
    return np.rint(resize_face(image, size) * 255).astype(np.uint8), found.points / len(image)


def _known(points: np.ndarray) -> Detect:
    return lambda _: FaceLandmarks(points, faces=1) if np.isfinite(points).all() else None


def _each(values: Sequence[str], table: pd.DataFrame, column: str) -> list[str]:
    values = [str(value) for value in values]
    if len(values) != len(table):
        raise DataError(f"'{column}s' has {len(values)} values for {len(table)} images. Give one for each.")
    return values


def _expression(name: str, row: int) -> str:
    try:
        return parse_expression(name) if name else ""
    except DataError as error:
        raise DataError(f"Image {row + 1} of the list: {error}") from None


def _listed(source: Any, subjects: Any) -> tuple[pd.DataFrame, list[Any], list[tuple[str, str]]]:
    """Return the table of the listed images, with names for messages as ``_item``; images; omissions."""
    pattern = subjects if isinstance(subjects, str) else None
    if isinstance(source, pd.DataFrame):
        return _from_table(source, Path(), pattern)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser().resolve()
        if path.suffix.lower() == ".csv" and path.is_file():
            table = read_csv(path, ("path",), dtype=str, keep_default_na=False)
            return _from_table(table, path.parent, pattern)
        if path.is_file():
            return _from_items([path], pattern)
        return _from_folder(path, pattern)
    items = list(source)
    if not items:
        raise DataError("There is no image: the list is empty.")
    return _from_items(items, pattern)


def _from_table(
    rows: pd.DataFrame, folder: Path, pattern: str | None
) -> tuple[pd.DataFrame, list[Any], list[tuple[str, str]]]:
    if "path" not in rows or rows.empty:
        raise DataError(
            f"A table of images needs the column 'path' and a row for each, but has {len(rows)} rows and the "
            f"columns {', '.join(map(str, rows))}."
        )
    paths = [str(folder / path) for path in rows["path"]]
    listed, _, _ = _from_items(paths, pattern)
    table = rows.reset_index(drop=True).copy()
    if "image_id" in table:
        # Ids name images: paths, which may say who is seen, go no further.
        table = table.drop(columns="path").assign(_item=table["image_id"].astype(str))
        check_ids(table["image_id"], "The table")
    else:
        table["image_id"], table["_item"] = listed["image_id"], listed["_item"]
    if "subject" not in table:
        table["subject"] = listed["subject"] if pattern else table["image_id"]
    if "expression" not in table:
        table["expression"] = ""
    table["expression"] = table["expression"].fillna("").astype(str)
    return table, paths, []


def _from_items(
    items: Sequence[Any], pattern: str | None
) -> tuple[pd.DataFrame, list[Any], list[tuple[str, str]]]:
    paths = [os.path.abspath(item) if isinstance(item, (str, os.PathLike)) else None for item in items]
    known = [path for path in paths if path]
    common = os.path.commonpath([os.path.dirname(path) for path in known]) if known else ""
    short = {path: os.path.relpath(path, common).replace(os.sep, "/") for path in known}
    if len({os.path.basename(path) for path in short}) == len(short):
        short = {path: os.path.basename(path) for path in short}
    names = [short[path] if path else f"image{place:03d}" for place, path in enumerate(paths)]
    if len(set(names)) < len(names):
        raise DataError(f"{next(name for name in names if names.count(name) > 1)} is listed more than once.")
    table = pd.DataFrame({"image_id": safe_ids(names), "expression": "", "_item": names})
    table["subject"] = _persons(names, pattern) if pattern else table["image_id"]
    if known:
        table["path"] = [path or "" for path in paths]
    return table, list(items), []


def _from_folder(root: Path, pattern: str | None) -> tuple[pd.DataFrame, list[Any], list[tuple[str, str]]]:
    search = Search(root, root.name)
    wanted = "folder of images"
    if not root.is_dir():
        raise search.not_found(wanted, advice="Correct the path")
    layout = layout_of(search)
    if layout == "manifest" and not (root / "manifest.csv").is_file():
        found = list(search.images())
        if not found:
            raise search.not_found("image", advice="Name a folder with images")
        table, _, _ = _from_items([path for path, _ in found], pattern)
        return table, table["path"].tolist(), search.left_out
    read_own(search, layout=layout, subject=None if layout == "manifest" else pattern or ".+")
    table = pd.DataFrame(search.rows)
    table["_item"] = [search.relative(path) for path in table["path"]]
    return table, table["path"].tolist(), search.left_out


def _persons(names: Sequence[str], pattern: str) -> list[str]:
    persons = [person_in(name, pattern) for name in names]
    if not all(persons):
        name = names[persons.index(next(person for person in persons if not person))]
        raise SettingsError(f"The pattern {pattern!r} for the subjects finds nothing in the path {name}.")
    return persons


def example_faces(
    n: int | None = None,
    *,
    expression: str | None = None,
    subjects: int | Sequence[str] | None = None,
    size: int = 256,
) -> Faces:
    """Return some of the bundled synthetic faces, cropped as the study crops them. Nothing is downloaded.

    Parameters
    ----------
    n : int, optional
        How many, by default all: six of each person (one per expression), person after person,
        then the next variant.
    expression : str, optional
        Only this one; neutral is possible too. By default the six.
    subjects : int or sequence of str, optional
        Only the first so many persons, or these, such as ``["id07"]``, of 40.
    size : int, pixels
        Side of the crops.

    Returns
    -------
    Faces
        Ids as in an experiment, such as ``synthetic_id07_fear_1``.

    Examples
    --------
    >>> example_faces(6)
    Faces(6 of 256 x 256 pixels: 1 anger, 1 disgust, 1 fear, 1 happiness, 1 sadness, 1 surprise; 1 subjects)
    """
    rows = survey("synthetic").rows
    names = [*EXPRESSIONS] if expression is None else [parse_expression(expression)]
    persons = sorted(set(rows["subject"]))
    if isinstance(subjects, (int, np.integer)):
        check_range(subjects, "subjects", 1, len(persons), integer=True)
        persons = persons[:subjects]
    elif subjects is not None:
        wanted = [f"synthetic/{str(name).removeprefix('synthetic/')}" for name in subjects]
        for name in wanted:
            check_option(name, "subjects", persons)
        persons = wanted
    rows = rows[rows["expression"].isin(names) & rows["subject"].isin(persons)]
    order = rows["expression"].map(names.index)
    rows = rows.assign(_order=order).sort_values(["variant", "subject", "_order"]).drop(columns="_order")
    if n is not None:
        check_range(n, "n", 1, len(rows), integer=True)
        rows = rows[:n]
    stored = read_arrays(synthetic.folder() / "detected.npz", ("image_id", "points", "side"))
    places = {f"synthetic_{image_id}": place for place, image_id in enumerate(stored["image_id"])}
    points = stored["points"][[places[image_id] for image_id in rows["image_id"]]]
    return load_faces(rows, landmarks=points.astype(np.float64) * int(stored["side"]), size=size)
