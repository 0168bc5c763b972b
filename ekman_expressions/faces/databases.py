"""Databases of faces: one row of `DATABASES` each, with a small reader.

To add a database, write a row here: its names, counts and terms, and a reader, ``reader(search,
**options)``, that fills a `_Search`. `_by_file_name` makes one where the file names say all.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ekman_expressions.core.errors import (
    DataError,
    SettingsError,
    check_option,
    check_range,
    check_type,
)
from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED
from ekman_expressions.core.files import read_csv, read_text
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.folders import (
    _LAYOUTS,
    _expression_of,
    _read_own,
    _safe_ids,
    _Search,
)


class _Option(NamedTuple):
    """A choice that a database offers: ``check(value, setting)`` raises `SettingsError`; a line of help."""

    check: Callable[[Any, str], None]
    help: str


@dataclass(frozen=True, kw_only=True)
class _Database:
    """A database that the package can read.

    `read(search, **options)` fills a `_Search` from names and labels, never from pixels. Counts (`images` per
    expression, `subjects` with a usable image) are those of a complete copy with the default options;
    `use` gives the terms in our own words. `private`: its file names say who is seen, so that no path may
    be shown or written. `bundled`: it comes with the package and needs no root.
    """

    title: str
    read: Callable[..., None]
    layout: str
    use: str
    access: str
    reference: str
    images: Mapping[str, int] = field(default_factory=dict)
    subjects: int | None = None
    options: Mapping[str, _Option] = field(default_factory=dict)
    private: bool = False
    bundled: bool = False


def _read_synthetic(search: _Search) -> None:
    search.rows = synthetic.load(search.root)


def _by_file_name(
    pattern: str, example: str, image_id: str, only: Mapping[str, str] | None = None
) -> Callable[[_Search], None]:
    """Make the reader of a database whose file names tell all.

    `pattern` matches the end of a path without suffix and has the groups ``subject`` and ``code``, any usual
    name of an expression; `example` is such a path; `image_id` makes an id of the groups; `only` says which
    values of groups are taken.
    """

    def read(search: _Search) -> None:
        for path, parts in search.matches(pattern, example):
            parts = {key: value.upper() for key, value in parts.items()}
            if any(parts[key] != value for key, value in (only or {}).items()):
                search.omit(path, f"another view than {', '.join((only or {}).values())}")
            elif expression := _expression_of(parts["code"]):
                search.add(image_id.format(**parts), path, parts["subject"], expression)
            else:
                search.omit(path, f"the code {parts['code']} is no expression")
        # The original format first, where one was converted.
        search.rows.sort(key=lambda row: (not row["path"].lower().endswith((".tif", ".tiff")), row["path"]))
        search.omit_second_files()

    return read


def _numbered(names: str, start: int = 0) -> dict[str, str]:
    """Return which expression each number stands for, as a text."""
    return {str(number): name for number, name in enumerate(names.split(), start)}


def _counts(*counts: int) -> dict[str, int]:
    """Return how many images of the six expressions there are, then of neutral and of contempt if given."""
    return dict(zip((*EXPRESSIONS, *NOT_EXPLAINED), counts, strict=False))


# RAF-DB

_RAF_LABELS = _numbered("surprise fear disgust happiness sadness anger neutral", start=1)


def _read_rafdb(search: _Search) -> None:
    """Read the pictures that ``list_patition_label.txt`` (spelled so) lists."""
    wanted = "list_patition_label.txt"
    search.require_folder(wanted)
    lists = [path for path, _ in search.images(suffixes=(wanted, "list_partition_label.txt"))]
    if not lists:
        raise search.not_found(wanted)
    # Aligned crops before the photographs, which may show several people.
    found = sorted(search.images(), key=lambda image: "_aligned." not in image[1])
    pictures = search.by_picture(found, lambda relative: _picture(relative).removesuffix("_aligned"))
    entries = []
    for number, line in enumerate(read_text(lists[0]).splitlines(), start=1):
        if line.strip():
            name, _, label = line.strip().rpartition(" ")
            entries.append((f"{search.relative(lists[0])}, line {number}: {name}", _picture(name), label))
    _add_listed(search, pictures, entries, _RAF_LABELS)


def _add_listed(
    search: _Search,
    pictures: Mapping[str, str],
    entries: Sequence[tuple[str, str, str]],
    labels: Mapping[str, str],
) -> None:
    """Add the pictures, path by key, that a list labels, each as a person of its own; leave out the others.

    An entry of the list says where it stands, the picture's key, and the label.
    """
    kept: dict[str, str] = {}
    known = set()
    for where, key, label in entries:
        if key not in pictures:
            search.omit(where, "there is no such picture")
        elif key in known:
            search.omit(where, "its picture is listed before")
        elif label not in labels:
            search.omit(where, f"the label {label!r} is no expression")
        else:
            kept[key] = labels[label]
        known.add(key)
    for image_id, key in zip(_safe_ids([f"{key}.png" for key in kept]), kept, strict=True):
        search.add(image_id, pictures[key], key, kept[key])
    for key, path in pictures.items():
        if key not in known:
            search.omit(path, "not in the list")
    search.notes.append(_EACH_A_PERSON)


_EACH_A_PERSON = "it does not tell persons: each picture counts as a person of its own"


# AffectNet

_AFFECT_LABELS = _numbered("neutral happiness sadness surprise fear disgust anger contempt")
_AFFECT_LAYOUT = (
    "training.csv (columns subDirectory_filePath, expression) and Manually_Annotated_Images/689/<name>.jpg, "
    "or train_set/annotations/0_exp.npy and train_set/images/0.jpg"
)


def _read_affectnet(search: _Search) -> None:
    """Read what tables, or annotations beside the pictures, label 0 to 7; 8 to 10 are no expression."""
    search.require_folder(_AFFECT_LAYOUT)
    pictures = search.by_picture(search.images(), lambda relative: os.path.splitext(relative)[0])
    entries = []
    inside = {"/".join(key.split("/")[-2:]): key for key in pictures}
    columns = ("subDirectory_filePath", "expression")
    for path, relative in search.images(suffixes=(".csv",)):
        with suppress(DataError):
            table = read_csv(path, columns, usecols=lambda name: name in columns, dtype=str)
            for name, label in zip(*(table[column] for column in columns), strict=True):
                entries.append((f"{relative}: {name}", inside.get(os.path.splitext(name)[0], ""), label))
    for path, relative in search.images(suffixes=("_exp.npy",)):
        folder, _, name = relative.removesuffix("_exp.npy").rpartition("/")
        try:
            label = f"{float(np.load(path, allow_pickle=False).item()):g}"
        except (OSError, ValueError) as error:
            label = f"({error})"
        entries.append((relative, f"{folder.removesuffix('annotations')}images/{name}", label))
    if not entries:
        raise search.not_found(_AFFECT_LAYOUT)
    _add_listed(search, pictures, entries, _AFFECT_LABELS)


# FER2013

_FER_LABELS = _numbered(" ".join((*EXPRESSIONS, "neutral")))
_FER_TABLES = ("fer2013.csv", "icml_face_data.csv", "train.csv")


def _read_fer2013(search: _Search) -> None:
    """Read the rows of the table of pixels; a path ends in ``#`` and where in the file its row begins."""
    wanted = f"{_FER_TABLES[0]} or {_FER_TABLES[1]} (columns emotion, pixels)"
    search.require_folder(wanted)
    tables = [path for path, _ in search.images(suffixes=_FER_TABLES)]
    if not tables:
        raise search.not_found(wanted)
    # The competition's archive holds three tables, one with all rows.
    path = min(tables, key=lambda path: _FER_TABLES.index(os.path.basename(path).lower()))
    with open(path, "rb") as file:
        names = [name.strip().lower() for name in file.readline().decode("utf-8-sig").split(",")]
        if not {"emotion", "pixels"} <= set(names):
            raise DataError(f"{path} needs the columns emotion and pixels, but has {', '.join(names)}.")
        place = file.tell()
        for number, line in enumerate(file, start=1):
            cells = dict(zip(names, line.decode("ascii", "replace").strip().split(","), strict=False))
            label, row = cells["emotion"].strip(' "'), f"{number:05d}"
            if label in _FER_LABELS:
                usage = cells.get("usage", "").strip(' "')
                search.add(row, f"{path}#{place}", row, _FER_LABELS[label], usage=usage)
            elif line.strip():
                where = f"{search.relative(path)}, row {number}"
                search.omit(where, f"the label {label!r} is none of 0 to 6")
            place += len(line)
    search.notes.append(_EACH_A_PERSON)


# CK+

_CK_CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
# Sequences with a label in a complete copy: 327 of 593, of 118 persons of 123.
_CK_LABELLED = dict(zip(_CK_CODES[1:], (45, 18, 59, 25, 69, 28, 83), strict=True))
_CK_NAME = (
    r"(?P<key>(?P<subject>S\d{3})/(?P<sequence>\d{3}))/(?P<name>(?P=subject)_(?P=sequence)_(?P<frame>\d+))"
)
_CK_IMAGE = rf"(?:extended-)?cohn-kanade-images/(?:.*/)?{_CK_NAME}"
_CK_LABEL = rf"Emotion(?:_labels)?/(?:.*/)?{_CK_NAME}_emotion"


def _read_ckplus(search: _Search, *, frames: int = 1) -> None:
    """Read the last `frames` frames of each sequence with a label, up to the labelled one, the peak; and its
    first, which is neutral."""
    search.expected = {name: count * frames for name, count in _CK_LABELLED.items()}
    search.expected["neutral"] = sum(_CK_LABELLED.values())
    sequences: dict[str, dict[int, tuple[str, str]]] = {}
    for path, parts in search.matches(_CK_IMAGE, "cohn-kanade-images/S005/001/S005_001_00000011.png"):
        numbered = sequences.setdefault(parts["key"], {})
        if int(parts["frame"]) in numbered:
            search.omit(path, "a second file for one frame")
        else:
            numbered[int(parts["frame"])] = (parts["name"], path)
    labels: dict[str, list[tuple[int, str]]] = {}
    example = "Emotion/S005/001/S005_001_00000011_emotion.txt"
    for path, parts in search.matches(_CK_LABEL, example, ("_emotion.txt",)):
        labels.setdefault(parts["key"], []).append((int(parts["frame"]), path))
    short = 0
    for key, numbered in sequences.items():
        try:
            expression, peak = _ck_label(labels.pop(key, []))
        except DataError as error:
            search.omit(key, error)
            continue
        if peak in numbered:
            numbered = {number: image for number, image in numbered.items() if number <= peak}
        else:
            search.notes.append(
                f"{key}: the labelled frame {peak} is not there, so {max(numbered)} counts as the peak"
            )
        first, last = min(numbered), sorted(numbered)[-frames:]
        short += len(last) < frames
        subject, neutral = key.split("/")[0], ""
        if first not in last and expression != "neutral":
            neutral = numbered[first][0]
            search.add(*numbered[first], subject, "neutral")
        for number in last:
            search.add(*numbered[number], subject, expression, neutral=neutral)
    for _, path in (label for found in labels.values() for label in found):
        search.omit(path, "a label without a sequence of images")
    persons = len({key.split("/")[0] for key in sequences})
    search.notes.append(
        f"{len(sequences)} sequences of {persons} persons (a complete copy has 593 of 123; 327 of 118 "
        "have a label)"
    )
    if short:
        search.notes.append(f"{short} sequences have fewer than {frames} frames: all they have is taken")
    search.omit_second_files()


def _ck_label(files: list[tuple[int, str]]) -> tuple[str, int]:
    """Return a sequence's expression and the number of its labelled frame."""
    if not files:
        raise DataError("no emotion label")
    if len(files) > 1:
        raise DataError(f"{len(files)} label files: {', '.join(os.path.basename(path) for _, path in files)}")
    ((frame, path),) = files
    try:
        text = Path(path).read_text("utf-8").strip()
        code = float(text)
    except OSError as error:
        raise DataError(f"its label file cannot be read ({error.strerror})") from None
    except ValueError:
        raise DataError("its label file does not hold a number") from None
    if code not in range(len(_CK_CODES)):
        raise DataError(f"its label {text[:30]} is none of 0 to {len(_CK_CODES) - 1}")
    return _CK_CODES[int(code)], frame


# WSEFEP

_SHEET_COLUMNS = ("displayer id", "picture id", "display")
_SHEET = "norms sheet (.csv with the columns Displayer ID, Picture ID, Display)"


def _read_wsefep(search: _Search, *, sheet: str | None = None) -> None:
    """Read the pictures that the norms sheet labels, and who is seen (MK and MK1 are two people)."""
    search.require_folder(_SHEET)
    path, rows = _norms_sheet(search, sheet)
    pictures = search.by_picture(search.images(), _picture)
    persons = {displayer.lower() for _, displayer, _, _ in rows}
    named: dict[str, list[tuple[int, str, str]]] = {}
    for line, displayer, name, display in rows:
        key = _picture(name)
        key = f"{displayer}_{key}".lower() if key.isdigit() else key
        named.setdefault(key, []).append((line, displayer, display))
    for key, entries in named.items():
        image = pictures.pop(key, "")
        line, displayer, display = entries[0]
        prefix = key.rpartition("_")[0]
        if not image:
            reason = f"no picture {key.upper()}" if key else "no Picture ID"
        elif len({entry[1:] for entry in entries}) > 1:
            reason = f"the sheet says different things of {search.relative(image)}: " + "; ".join(
                f"{entry[1]}, {entry[2]}" for entry in entries
            )
        elif not displayer:
            reason = "no Displayer ID"
        elif prefix != displayer.lower() and prefix in persons:
            reason = f"{search.relative(image)} is another person's picture than {displayer}'s"
        elif (expression := _expression_of(display)) is None:
            reason = f"the display {display!r} is no expression"
        else:
            search.add(_safe_ids([os.path.basename(image)])[0], image, displayer, expression)
            continue
        search.omit(f"{search.relative(path)}, line {line}", reason)
    for image in pictures.values():
        search.omit(image, "not in the sheet")
    search.notes.append(f"labels from {search.relative(path)}")


def _norms_sheet(search: _Search, given: str | None) -> tuple[Path, list[tuple[int, str, str, str]]]:
    """Return the norms sheet and its rows: line number, displayer, picture and display."""
    tables = [path for path, _ in search.images(suffixes=(".csv", ".txt", ".tsv"))]
    if given is not None:
        tables = [search.root / given]
        if not tables[0].is_file():
            raise search.not_found(f"sheet {given}")
    sheets = [(Path(path), rows) for path in sorted(tables) if (rows := _sheet_rows(path)) is not None]
    if len(sheets) == 1:
        return sheets[0]
    if given is not None:
        raise DataError(f"{tables[0]} has no line with the columns Displayer ID, Picture ID and Display.")
    if sheets:
        names = ", ".join(search.relative(path) for path, _ in sheets)
        raise SettingsError(
            f"{search.root} has several norms sheets: {names}. Name one as the option 'sheet'."
        )
    books = [os.path.basename(path) for path, _ in search.images(suffixes=(".xls", ".xlsx"))]
    raise search.not_found(_SHEET + (f" (save {books[0]} as CSV)" if books else ""))


def _sheet_rows(path: Path) -> list[tuple[int, str, str, str]] | None:
    """Read a table that a spreadsheet program may have written; None if its first lines name no columns."""
    lines = read_text(path).splitlines(keepends=True)
    for number, line in enumerate(lines[:20], start=1):
        separator = max(",;\t", key=line.count)
        cells = next(csv.reader([line], delimiter=separator), [])
        headings = [" ".join(cell.replace("_", " ").lower().split()) for cell in cells]
        if set(_SHEET_COLUMNS) <= set(headings):
            places = [headings.index(column) for column in _SHEET_COLUMNS]
            reader = csv.reader(lines[number:], delimiter=separator)
            rows = ((number + reader.line_num, [*cells, *[""] * len(headings)]) for cells in reader)
            return [(at, *(cells[place].strip() for place in places)) for at, cells in rows if any(cells)]
    return None


def _picture(name: str) -> str:
    """Return a picture's id without folder and suffix, in lower case: sheets spell it in several ways."""
    return re.sub(r"\.(jpe?g|png|tiff?|bmp|webp)$", "", os.path.basename(name).strip().lower()).strip()


# BU-4DFE

# A sequence has about 100 frames, with the apex in the middle.
_BU_FRAMES = (20, 25, 30, 35, 40)
_BU_SUBJECTS = 101
_BU_CODES = dict(zip(("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"), EXPRESSIONS, strict=True))
_BU_NAME = rf"(?P<subject>[FM]\d{{3}})/(?P<code>{'|'.join(_BU_CODES)})/(?P<frame>\d+)"


def _read_bu4dfe(search: _Search, *, frames: Sequence[int] = _BU_FRAMES) -> None:
    """Read these frames of each sequence, and its first, which is neutral; what is not there is left out."""
    search.expected = dict.fromkeys(EXPRESSIONS, _BU_SUBJECTS * len(frames))
    search.expected["neutral"] = _BU_SUBJECTS * len(EXPRESSIONS) * (min(frames) > 0)
    sequences: dict[tuple[str, str], dict[int, str]] = {}
    for path, parts in search.matches(_BU_NAME, "F001/Angry/000.jpg"):
        key = parts["subject"].upper(), parts["code"].capitalize()
        if sequences.setdefault(key, {}).setdefault(int(parts["frame"]), path) is not path:
            search.omit(path, "a second file for one frame")
    for subject in sorted({subject for subject, _ in sequences}):
        for code, expression in _BU_CODES.items():
            numbered = sequences.get((subject, code))
            if numbered is None:
                search.omit(f"{subject}/{code}", "no such sequence")
                continue
            first, neutral = min(numbered), ""
            if first < min(frames):
                neutral = f"{subject}_{code}_{first:03d}"
                search.add(neutral, numbered[first], subject, "neutral")
            for frame in frames:
                if frame in numbered:
                    image_id = f"{subject}_{code}_{frame:03d}"
                    search.add(image_id, numbered[frame], subject, expression, neutral=neutral)
                else:
                    search.omit(f"{subject}/{code}/{frame:03d}", "no such frame")


def _check_frames(value: Any, setting: str) -> None:
    check_type(value, setting, (list, tuple))
    for frame in value:
        check_range(frame, setting, 0, integer=True)
    if not value or len(set(value)) != len(value):
        raise SettingsError(f"'{setting}' must list one or more different frames, but got {value!r}.")


# FEGA. People's names are in its file names and must not get any further. A hash of a name alone
# would not hide it: whoever guesses the name computes the same hash. So a person's id is a hash of
# the name *and* of the bytes of the person's first image. It can only be computed by someone who
# has that image, whose name tells more than the id; and unlike a number in a list, or a random
# salt, it is the same in each copy, whoever else is in it.

_FEGA_LABELS = {
    "arrabbiato": "anger",
    "disgusto": "disgust",
    "paura": "fear",
    "allegria": "happiness",
    "tristezza": "sadness",
    "sorpresa": "surprise",
    "neutra": "neutral",
}
_FEGA_PERSONS = ("name", "name_sex_age")
_FEGA_EXAMPLE = "0_F_<age>_<name>_<Label>_<n>.png"
_FEGA_NAME = (
    r"(?P<series>\d+)_(?P<sex>[A-Z])_(?P<age>[^_/]*)_(?P<name>[^/]+)_(?P<label>[^_/]+)_(?P<number>\d+)"
)


def _read_fega(search: _Search, *, person: str = "name") -> None:
    """Read images without any name but in `path`.

    Files with one name show one person, so that nobody can be split between folds, unless sex and age tell
    people of one name apart (``"name_sex_age"``).
    """
    persons: dict[tuple[str, ...], list[tuple[str, tuple[str, str], dict[str, str]]]] = {}
    for path, parts in search.matches(_FEGA_NAME, _FEGA_EXAMPLE):
        if parts["label"].lower() not in _FEGA_LABELS:
            search.omit(path, f"its label is none of {', '.join(_FEGA_LABELS)}")
        # The bytes of the first image keep a person's id from being guessed: it must have some.
        elif not os.access(path, os.R_OK) or not os.path.getsize(path):
            search.omit(path, "the file is empty or cannot be read")
        else:
            kind = parts["sex"].lower(), parts["age"].strip()
            key = (" ".join(unicodedata.normalize("NFC", parts["name"]).casefold().split()),)
            key += kind if person == "name_sex_age" else ()
            persons.setdefault(key, []).append((path, kind, parts))
    several = 0
    for key, images in persons.items():
        images.sort(key=lambda image: unicodedata.normalize("NFC", os.path.basename(image[0])))
        first = Path(images[0][0]).read_bytes()
        subject = hashlib.sha256("\x1f".join(key).encode() + b"\0" + first).hexdigest()[:10]
        kinds = sorted({kind for _, kind, _ in images})
        several += len(kinds) > 1
        for path, kind, parts in images:
            expression = _FEGA_LABELS[parts["label"].lower()]
            # Sex and age would tell who is meant among few people: a running number will do.
            ending = f"-{kinds.index(kind) + 1}" if kinds.index(kind) else ""
            image_id = f"{subject}_{expression}_{parts['series']}_{parts['number']}{ending}"
            search.add(image_id, path, subject, expression)
    if several:
        search.notes.append(
            f"{several} names come with several ages or sexes and count as one person each; if they are "
            'several people, set the option person = "name_sex_age"'
        )
    search.omit_second_files()


def _check_subject(value: Any, setting: str) -> None:
    check_type(value, setting, str)
    try:
        re.compile(value)
    except re.error as error:
        raise SettingsError(f"'{setting}' is no regular expression: {value!r} ({error}).") from None


def _check_labels(value: Any, setting: str) -> None:
    check_type(value, setting, Mapping)
    for label, expression in value.items():
        check_option(expression, f"{setting}.{label}", (*EXPRESSIONS, *NOT_EXPLAINED))


_OWN = _Database(
    title="a folder of your own, under any other name",
    read=_read_own,
    layout="manifest.csv (columns image_id, path, subject, expression, optionally intensity, fold); or one "
    "folder per expression; or CV1 ... CV5 and CV1_test ... CV5_test with one folder per expression",
    use="yours to know: the persons' consent, and the licence of the images",
    access="your own folder",
    reference="as its owner asks",
    options={
        "layout": _Option(
            lambda value, setting: check_option(value, setting, _LAYOUTS),
            f"{', '.join(_LAYOUTS)} (default: what is there)",
        ),
        "subject": _Option(
            _check_subject,
            "for folders: a regular expression that finds who is seen in the path, such as '(S\\d+)_'",
        ),
        "labels": _Option(
            _check_labels,
            'what the labels of the table, or the names of the folders, stand for: { "4" = "happiness" }',
        ),
    },
)
"""What every name that is not in `DATABASES` stands for."""

_ANY = {
    "landmarks": _Option(
        lambda value, setting: check_type(value, setting, str),
        "a file of 68 landmarks for each picture, in its pixels, relative to the root (.csv, .npz); then "
        "nothing is detected",
    ),
    "crop": _Option(
        lambda value, setting: check_type(value, setting, bool),
        "false: the pictures, square, are cropped already, so that each is taken whole",
    ),
}
"""Options of every database."""

DATABASES: dict[str, _Database] = {
    "synthetic": _Database(
        title="rendered faces with known action units",
        read=_read_synthetic,
        layout="manifest.csv and the images that it names",
        use="public domain (CC0): rendered faces of nobody",
        access="comes with the package",
        reference="this package, see CITATION.cff",
        bundled=True,
    ),
    "ckplus": _Database(
        title="Extended Cohn-Kanade (CK+)",
        read=_read_ckplus,
        layout="cohn-kanade-images/S005/001/S005_001_00000011.png (or extended-cohn-kanade-images/) and "
        "Emotion/S005/001/S005_001_00000011_emotion.txt (or Emotion_labels/)",
        use="non-commercial research after a signed agreement; copies are not passed on; faces are shown "
        "only of persons who agreed to that (its documentation names them)",
        access="J. F. Cohn, University of Pittsburgh: http://www.jeffcohn.net/Resources/",
        reference="Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops 2010",
        images={**_CK_LABELLED, "neutral": sum(_CK_LABELLED.values())},
        subjects=118,
        options={
            "frames": _Option(
                lambda value, setting: check_range(value, setting, 1, integer=True),
                "take the last so many frames of each sequence (default 1: the peak)",
            )
        },
    ),
    "ckplus48": _Database(
        title="CK+48: the last three frames of CK+'s sequences, cropped to 48 pixels",
        read=_by_file_name(
            r"(?P<code>[^/]+)/(?P<image>(?P<subject>S\d{3})_\d{3}_\d{8})",
            "anger/S010_004_00000017.png",
            "{image}",
        ),
        layout="anger/S010_004_00000017.png (anger contempt disgust fear happy sadness surprise)",
        use="as CK+, of which it is made",
        access="as CK+",
        reference="Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops 2010",
        images={name: 3 * count for name, count in _CK_LABELLED.items()},
        subjects=118,
    ),
    "jaffe": _Database(
        title="Japanese Female Facial Expression (JAFFE)",
        # Converters like to keep the first suffix: KA.AN1.39.tiff.png.
        read=_by_file_name(
            r"(?P<subject>[A-Z]{2})[._](?P<code>[A-Z]{2})(?P<take>\d+)[._](?P<number>\d+)(?:\.TIFF?)?",
            "KA.AN1.39.tiff",
            "{subject}.{code}{take}.{number}",
        ),
        layout="KA.AN1.39.tiff or KA_AN1_39.png, at any depth",
        use="non-commercial scientific research; copies are not passed on; each publication cites the source",
        access="by request, following the instructions at https://zenodo.org/record/3451524",
        reference="Lyons, Akamatsu, Kamachi, Gyoba, Coding Facial Expressions with Gabor Wavelets, FG 1998",
        images=_counts(30, 29, 32, 31, 31, 30, 30),
        subjects=10,
    ),
    "kdef": _Database(
        title="Karolinska Directed Emotional Faces (KDEF)",
        read=_by_file_name(
            r"(?P<take>[AB])(?P<subject>[FM]\d\d)(?P<code>[A-Z]{2})(?P<angle>FL|HL|S|HR|FR)",
            "AF01ANS.JPG",
            "{take}{subject}{code}{angle}",
            only={"angle": "S"},
        ),
        layout="AF01/AF01ANS.JPG, at any depth; frontal pictures (S) are taken",
        use="non-commercial research; publications may show only some of the persons, which its terms list",
        access="by request at https://kdef.se",
        reference="Lundqvist, Flykt, Öhman, The Karolinska Directed Emotional Faces, Karolinska Institutet, 1998",
        images=dict.fromkeys((*EXPRESSIONS, "neutral"), 140),
        subjects=70,
    ),
    "rafd": _Database(
        title="Radboud Faces Database (RaFD)",
        read=_by_file_name(
            r"Rafd(?P<angle>\d{3})_(?P<subject>\d+)_(?P<origin>\w+?)_(?P<sex>female|male)_(?P<code>[a-z]+)_"
            r"(?P<gaze>left|frontal|right)",
            "Rafd090_01_Caucasian_female_angry_frontal.jpg",
            "{angle}_{subject}_{code}_{gaze}",
            only={"angle": "090"},
        ),
        layout="Rafd090_01_Caucasian_female_angry_frontal.jpg, at any depth; frontal pictures (090) are taken",
        use="non-commercial research after an agreement; copies are not passed on",
        access="by request at https://rafd.socsci.ru.nl",
        reference="Langner et al., Presentation and validation of the Radboud Faces Database, Cognition and Emotion "
        "24(8), 2010",
        images=dict.fromkeys((*EXPRESSIONS, *NOT_EXPLAINED), 201),
        subjects=67,
    ),
    "rafdb": _Database(
        title="Real-world Affective Faces Database (RAF-DB), single labels",
        read=_read_rafdb,
        layout="list_patition_label.txt (lines 'train_00001.jpg 5') and Image/aligned/train_00001_aligned.jpg or "
        "Image/original/train_00001.jpg",
        use="non-commercial research after an agreement; copies are not passed on",
        access="by request at http://www.whdeld.cn/RAF/model1.html",
        reference="Li, Deng, Du, Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression "
        "Recognition in the Wild, CVPR 2017",
        images=_counts(867, 877, 355, 5957, 2460, 1619, 3204),
    ),
    "affectnet": _Database(
        title="AffectNet, manually annotated",
        read=_read_affectnet,
        layout=_AFFECT_LAYOUT,
        use="non-commercial research after an agreement; copies are not passed on",
        access="by request of M. Mahoor, University of Denver: http://mohammadmahoor.com/affectnet/",
        reference="Mollahosseini, Hasani, Mahoor, AffectNet: A Database for Facial Expression, Valence, and "
        "Arousal Computing in the Wild, IEEE Transactions on Affective Computing 10(1), 2019",
        images=_counts(25_382, 4_303, 6_878, 134_915, 25_959, 14_590, 75_374, 4_250),
    ),
    "fer2013": _Database(
        title="FER2013, a table of pictures of 48 x 48 gray pixels",
        read=_read_fer2013,
        layout="fer2013.csv or icml_face_data.csv (columns emotion, pixels, Usage), at any depth",
        use="research; the pictures were found on the web, and belong to whom they belong",
        access="Kaggle: Challenges in Representation Learning: Facial Expression Recognition Challenge",
        reference="Goodfellow et al., Challenges in Representation Learning: A Report on Three Machine "
        "Learning Contests, Neural Networks 64, 2015",
        images=_counts(4953, 547, 5121, 8989, 6077, 4002, 6198),
    ),
    "wsefep": _Database(
        title="Warsaw Set of Emotional Facial Expression Pictures (WSEFEP)",
        read=_read_wsefep,
        layout="AD_7950.jpg, at any depth, and the norms sheet as .csv (columns Displayer ID, Picture ID, "
        "Display; separated by ',' or ';')",
        use="non-commercial scientific use, free of charge",
        access="by request at http://www.emotional-face.org",
        reference="Olszanowski et al., Warsaw Set of Emotional Facial Expression Pictures, Frontiers in "
        "Psychology 5:1516, 2015",
        images=dict.fromkeys((*EXPRESSIONS, "neutral"), 30),
        subjects=30,
        options={
            "sheet": _Option(
                lambda value, setting: check_type(value, setting, str),
                "the norms sheet relative to the root, where several files look like one",
            )
        },
    ),
    "bu4dfe": _Database(
        title="Binghamton University 4D Facial Expression (BU-4DFE)",
        read=_read_bu4dfe,
        layout="F001/Angry/000.jpg (F001-F058, M001-M043; Angry Disgust Fear Happy Sad Surprise)",
        use="research after an agreement with the university; copies are not passed on; ask which faces may "
        "be shown",
        access="L. Yin, Binghamton University: https://www.cs.binghamton.edu/~lijun/Research/3DFE/",
        reference="Yin, Chen, Sun, Worm, Reale, A High-Resolution 3D Dynamic Facial Expression Database, "
        "FG 2008",
        images=dict.fromkeys(EXPRESSIONS, _BU_SUBJECTS * len(_BU_FRAMES))
        | {"neutral": _BU_SUBJECTS * len(EXPRESSIONS)},
        subjects=_BU_SUBJECTS,
        options={
            "frames": _Option(_check_frames, f"numbers of the frames to take (default {list(_BU_FRAMES)})")
        },
    ),
    "fega": _Database(
        title="Facial Expression, Gender and Age (FEGA)",
        read=_read_fega,
        layout=f"{_FEGA_EXAMPLE}, at any depth (Allegria Tristezza Paura Arrabbiato Neutra Sorpresa "
        "Disgusto)",
        use="as agreed with its owners; its file names hold people's names, which this package never writes",
        access="the authors of the study, UGIVIA group, Universitat de les Illes Balears "
        "(https://arxiv.org/abs/2401.11835)",
        reference="Gaya-Morey et al., Unveiling the Human-like Similarities of Automatic Facial Expression "
        "Recognition, 2024",
        subjects=51,
        options={
            "person": _Option(
                lambda value, setting: check_option(value, setting, _FEGA_PERSONS),
                "'name' (default): one name is one person; 'name_sex_age': sex and age tell people apart",
            )
        },
        private=True,
    ),
}
"""The databases known by name."""
