"""Faces in memory: found and cropped in files, tables or arrays, with their landmarks; the bundled ones."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError, SettingsError, check_option, check_range
from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED, parse_expression
from ekman_expressions.core.files import read_arrays, read_table
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.cropping import (
    UnusableImage,
    align_neutral,
    on_all_cores,
    prepare_face,
    read_pixels,
    resize_face,
)
from ekman_expressions.faces.folders import (
    _inside,
    _person_in,
    _read_class_folders,
    _read_manifest,
    _safe_ids,
    _Search,
    check_ids,
)
from ekman_expressions.faces.landmarks import FaceLandmarks, LandmarkDetector, _read_landmarks
from ekman_expressions.faces.surveys import survey

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
    neutrals : (N, S, S, 3) ndarray of uint8 or None
        The same person's neutral face under each face, aligned to it (`align_neutral`); black where the
        table's column ``neutral``, its ``image_id``, is empty. None where none is known.

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
    neutrals: np.ndarray | None = None

    def __post_init__(self) -> None:
        images, points, table = np.asarray(self.images), np.asarray(self.landmarks), self.table
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (images.shape[1],) * 2 + (3,):
            raise DataError(f"Faces are RGB images (N, S, S, 3) of uint8, but got {images.shape} of {images.dtype}.")
        if points.shape != (len(images), 68, 2) or not np.isfinite(points).all():
            raise DataError(
                f"{len(images)} faces need finite landmarks ({len(images)}, 68, 2), but got {points.shape}."
            )
        missing = [column for column in _FIRST if column not in table]
        if missing or len(table) != len(images) or table["image_id"].duplicated().any():
            raise DataError(
                f"The table of {len(images)} faces needs a row for each, a unique image_id, and the columns "
                f"{', '.join(_FIRST)}, but has {len(table)} rows and lacks {', '.join(missing) or 'none'}."
            )
        if self.neutrals is not None and ("neutral" not in table or np.shape(self.neutrals) != images.shape):
            raise DataError(
                f"Faces with 'neutrals' (of the images' shape, but got {np.shape(self.neutrals)}) need the "
                "column 'neutral' in their table: each neutral picture's image_id, empty where there is none."
            )
        object.__setattr__(self, "landmarks", points.astype(np.float32, copy=False))
        object.__setattr__(self, "table", table.reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: Any) -> Faces:
        """Return the faces at `places`: an integer, a slice, or a sequence of integers or of booleans."""
        places = np.atleast_1d(np.arange(len(self))[places])
        neutrals = None if self.neutrals is None else self.neutrals[places]
        table = self.table.iloc[places]
        return Faces(self.images[places], self.landmarks[places], table, self.omissions, neutrals)

    @property
    def has_neutral(self) -> np.ndarray:
        """Which faces have the same person's neutral face: (N,) bool."""
        if self.neutrals is None:
            return np.zeros(len(self), bool)
        return (self.table["neutral"] != "").to_numpy()

    def __repr__(self) -> str:
        size, counts = self.images.shape[1], self.table["expression"].value_counts()
        known = dict.fromkeys((*EXPRESSIONS, *NOT_EXPLAINED, *sorted(counts.index)))
        names = [name for name in known if name and name in counts]
        parts = [f"{len(self)} of {size} x {size} pixels"]
        parts[0] += f": {', '.join(f'{counts[name]} {name}' for name in names)}" if names else ""
        parts.append(f"{self.table['subject'].nunique()} subjects")
        if len(self.omissions):
            parts.append(f"{len(self.omissions)} images left out")
        return f"Faces({'; '.join(parts)})"

    def at(self, side: int | tuple[int, int], *, neutral: bool = False) -> np.ndarray:
        """Return the images at a side, or height and width, in pixels: (N, h, w, 3) float32 RGB in [0, 1].

        Shrinking averages over areas, so that nothing aliases. With `neutral`, the aligned neutral faces; a
        `DataError` names faces that have none.

        Examples
        --------
        >>> example_faces(2).at(48).shape
        (2, 48, 48, 3)
        """
        height, width = np.broadcast_to(side, 2).tolist()
        check_range(min(height, width), "side", 1, integer=True)
        if neutral and not self.has_neutral.all():
            lacking = list(self.table["image_id"][~self.has_neutral])
            raise DataError(
                f"{len(lacking)} faces have no neutral face of the same person: {', '.join(lacking[:_SHOWN])}. "
                "Leave them out (faces[faces.has_neutral]), or name it in the table's column 'neutral'."
            )
        resized = np.empty((len(self), height, width, 3), np.float32)
        for place, image in enumerate(self.neutrals if neutral else self.images):
            resized[place] = resize_face(image, (height, width))
        return resized


def _neutral_of(rows: pd.DataFrame) -> pd.Series:
    """Return the ``image_id`` of each image's own neutral face, empty without one: what the column
    ``neutral`` says, else the same subject's first neutral image.
    """
    is_neutral = rows["expression"] == "neutral"
    first = rows[is_neutral].groupby("subject")["image_id"].first().to_dict()
    found = pd.Series([first.get(subject, "") for subject in rows["subject"]], index=rows.index)
    if "neutral" in rows:
        named = rows["neutral"].fillna("").astype(str)
        found = named.where(named.isin(rows["image_id"]), found)
    return found.where(~is_neutral, "")


def load_faces(
    source: Any,
    *,
    size: int = 256,
    crop: bool = True,
    landmarks: np.ndarray | Path | str | None = None,
    expressions: str | Sequence[str] | None = None,
    subjects: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
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
    landmarks : (N, 68, 2) array_like of float, or path, optional
        Landmarks of each listed image in its pixels, iBUG order, or a file of them: ``.csv`` with a column
        ``image_id`` or ``path``, and ``x_0`` ... ``x_67``, ``y_0`` ... ``y_67`` as OpenFace writes them; or
        ``.npz`` with an array of names and one of points (N, 68, 2). Nothing is detected then, and images
        without landmarks are left out. By default they are detected. Of several faces in an image, the
        largest is taken.
    expressions, subjects : str, or sequence of str, optional
        What the images show, one for all or one each, where `source` does not tell. For files, `subjects`
        may be a regular expression for the path, such as ``r"(S\\d+)_"``; by default each image counts
        as a person of its own.
    labels : dict of str to str, optional
        What the source's own labels stand for: ``{"4": "happiness"}``; with ``{"pain": "pain"}`` a class of
        your own stays what it is. Images with a label that is no expression are left out, by name.

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
    table, names, items, omissions = _listed(source, subjects if isinstance(subjects, str) else None, labels)
    if expressions is not None:
        each = [expressions] * len(items) if isinstance(expressions, str) else expressions
        table["expression"] = _one_each(each, "expressions", len(items))
    if subjects is not None and not isinstance(subjects, str):
        table["subject"] = _one_each(subjects, "subjects", len(items))
    usable = []
    for place, name in enumerate(table["expression"]):
        try:
            table.loc[place, "expression"] = parse_expression(name, labels) if name else ""
            usable.append(place)
        except DataError as error:
            omissions.append((names[place], f"its label is no expression: {error}"))
    given = table.pop("landmarks") if "landmarks" in table else None
    if isinstance(landmarks, (str, os.PathLike)):
        given, _ = _read_landmarks(landmarks, list(table["image_id"]), [_path_of(item) for item in items])
    elif landmarks is not None:
        landmarks = np.asarray(_one_each(landmarks, "landmarks", len(items)), np.float64)
        if landmarks.shape[1:] != (68, 2):
            raise DataError(f"'landmarks' must be ({len(items)}, 68, 2), but is {landmarks.shape}.")
        given = [FaceLandmarks(face, 1, "given") if np.isfinite(face).all() else None for face in landmarks]
    detector, kept = LandmarkDetector(), {}

    def prepared(place: int) -> Any:
        detect = detector.detect if given is None else given[place]
        return prepare_face(items[place], detect, size, crop=crop)

    with detector, closing(on_all_cores(prepared, usable, "Finding faces")) as outcomes:
        for place, outcome in zip(usable, outcomes, strict=True):
            if isinstance(outcome, UnusableImage):
                omissions.append((names[place], str(outcome)))
            else:
                kept[place] = outcome
    reasons = "; ".join(f"{item}: {reason}" for item, reason in omissions[:_SHOWN])
    if not kept:
        raise DataError(
            f"No image has a usable face: {len(omissions)} left out ({reasons}). "
            "Faces are found where they are upright, seen mostly from the front, and whole; give the others' "
            "'landmarks'."
        )
    if omissions:
        warnings.warn(
            f"{len(omissions)} images have no usable face and are left out ({reasons}). The attribute "
            "'omissions' lists them.",
            stacklevel=2,
        )
    order = [*_FIRST, *(column for column in table if column not in _FIRST)]
    table, items = table.iloc[[*kept]][order].reset_index(drop=True), [items[place] for place in kept]
    images, points, transforms, found = zip(*kept.values(), strict=True)
    images, neutral, neutrals = np.stack(images), _neutral_of(table), None
    if (neutral != "").any():
        neutrals, table["neutral"] = np.zeros_like(images), neutral
    place_of = dict(zip(table["image_id"], table.index, strict=True))
    for place in np.flatnonzero(neutral != ""):
        other = place_of[neutral[place]]
        about = found[other].points, images[place], found[place].points, transforms[place]
        try:
            neutrals[place] = align_neutral(read_pixels(items[other]), *about)
        except UnusableImage as error:
            image_id, table.loc[place, "neutral"] = table["image_id"][place], ""
            omissions.append((f"neutral face of {image_id}", str(error)))
            warnings.warn(f"{image_id}: {error}. It has no neutral face.", stacklevel=2)
    left_out = pd.DataFrame(omissions, columns=["item", "reason"], dtype=str)
    return Faces(images, np.float32(points), table, left_out, neutrals)


def _path_of(item: Any) -> str:
    """Return an item's path; nothing for an array."""
    return os.path.abspath(item) if isinstance(item, (str, os.PathLike)) else ""


def _one_each(values: Any, name: str, count: int) -> list[Any]:
    values = list(values)
    if len(values) != count:
        raise DataError(f"'{name}' has {len(values)} values for {count} images. Give one for each.")
    return values


def _listed(
    source: Any, pattern: str | None, labels: Any
) -> tuple[pd.DataFrame, list[str], list[Any], list[tuple[str, str]]]:
    """Return the table of the listed images, what to call them, the images, and what is left out."""
    folder, omissions = Path(), []
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser().resolve()
        if not path.is_file():
            search = _Search(path, path.name)
            source, omissions = _from_folder(search, pattern, labels), search.left_out
        elif path.suffix.lower() == ".csv":
            source, folder = read_table(path, ("path",)), path.parent
        else:
            source = [path]
    if isinstance(source, pd.DataFrame):
        if "path" not in source or source.empty:
            raise DataError(
                f"A table of images needs the column 'path' and a row for each, but has {len(source)} rows "
                f"and the columns {', '.join(map(str, source))}."
            )
        table = source.reset_index(drop=True)
        items = _inside(folder, table.pop("path"))
    else:
        items = list(source)
        table = pd.DataFrame(index=range(len(items)))
    names, paths = _names(items)
    if "image_id" in table:
        # Ids name images then: paths, which may say who is seen, go no further.
        names = list(table["image_id"].astype(str))
        check_ids(names, "The table")
    else:
        table["image_id"] = _safe_ids(names)
        if any(paths):
            table["path"] = paths
    if "subject" not in table:
        table["subject"] = [_person_in(name, pattern) for name in names] if pattern else table["image_id"]
        if nobody := [name for name, person in zip(names, table["subject"], strict=True) if not person]:
            raise SettingsError(f"The pattern {pattern!r} for the subjects finds nothing in the path {nobody[0]}.")
    table["expression"] = table["expression"].fillna("").astype(str) if "expression" in table else ""
    return table, names, items, omissions


def _names(items: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return a name for each image, as short as can be, and its path, or nothing for arrays."""
    paths = [_path_of(item) for item in items]
    known = [path for path in paths if path]
    common = os.path.commonpath([os.path.dirname(path) for path in known]) if known else ""
    short = {path: os.path.relpath(path, common).replace(os.sep, "/") for path in known}
    if len({os.path.basename(path) for path in short}) == len(short):
        short = {path: os.path.basename(path) for path in short}
    names = [short[path] if path else f"image{place:03d}" for place, path in enumerate(paths)]
    if not names or len(set(names)) < len(names):
        twice = next((f"{name} is listed twice" for name in names if names.count(name) > 1), "it is empty")
        raise DataError(f"The list of images cannot be used: {twice}.")
    return names, paths


def _from_folder(search: _Search, pattern: str | None, labels: Any) -> pd.DataFrame | list[str]:
    """Return the table or the list of a folder's images."""
    if not search.root.exists():
        raise MissingError(f"There is no file or folder {search.root}. Correct the path.")
    if (search.root / "manifest.csv").is_file():
        return _read_manifest(search, labels)
    images = list(search.images())
    if _read_class_folders(search, images, pattern or ".+", labels):
        return pd.DataFrame(search.rows).drop(columns=["image_id"] if pattern else ["image_id", "subject"])
    if not images:
        raise search.not_found("image", advice="Name a folder with images")
    return [path for path, _ in images]


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
    everyone = rows[rows["subject"].isin(persons)]
    rows = everyone[everyone["expression"].isin(names)]
    # Their order is that of the alphabet.
    rows = rows.sort_values(["variant", "subject", "expression"])
    if n is not None:
        check_range(n, "n", 1, len(rows), integer=True)
        rows = rows[:n]
    asked = len(rows)
    others = everyone["image_id"].isin(rows["neutral"]) & ~everyone["image_id"].isin(rows["image_id"])
    rows = pd.concat([rows, everyone[others]], ignore_index=True)
    stored = read_arrays(synthetic.folder() / "detected.npz", ("image_id", "points", "side"))
    places = {f"synthetic_{image_id}": place for place, image_id in enumerate(stored["image_id"])}
    points = stored["points"][[places[image_id] for image_id in rows["image_id"]]]
    return load_faces(rows, landmarks=points.astype(np.float64) * int(stored["side"]), size=size)[:asked]
