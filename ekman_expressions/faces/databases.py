"""Databases of faces: one row of `DATABASES` each, with a small reader.

To add a database, write what is known of it into ``data/databases.toml``, and a row of `_READERS`: a reader,
``reader(search, **options)``, that fills a `_Search`. `_by_file_name` makes one where the file names say all.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from ekman_expressions.core.errors import DataError, Settings
from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED, find_expression
from ekman_expressions.core.files import read_csv, read_table, read_text
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.folders import _read_own, _safe_ids, _Search


class _Options(Settings):
    """The choices that every database offers. Docstrings of options are the help that `catalogue` prints."""

    landmarks: str | None = None
    """a file of 68 landmarks for each picture, in its pixels, relative to the root (.csv, .npz); then nothing
    is detected"""
    crop: bool = True
    """false: the pictures, square, are cropped already, so that each is taken whole"""


@dataclass(frozen=True, kw_only=True)
class _Database:
    """A database: what ``data/databases.toml`` says of it, its options, and `read(search, **own options)`,
    which fills a `_Search` from names and labels, never from pixels.
    """

    title: str
    read: Callable[..., None]
    layout: str
    use: str
    access: str
    reference: str
    images: Mapping[str, int] = field(default_factory=dict)
    subjects: int | None = None
    options: type[_Options] = _Options
    private: bool = False
    bundled: bool = False


def _read_synthetic(search: _Search) -> None:
    search.rows = synthetic.load(search.root)


def _by_file_name(pattern: str, example: str, image_id: str, angle: str | None = None) -> Callable[[_Search], None]:
    """Make the reader of a database whose file names tell all: `pattern` matches the end of a path without
    suffix, with the groups ``subject`` and ``code``; `image_id` is made of its groups; one `angle` is taken.
    """

    def read(search: _Search) -> None:
        for path, parts in search.matches(pattern, example):
            parts = {key: value.upper() for key, value in parts.items()}
            if angle and parts["angle"] != angle:
                search.omit(path, f"another view than {angle}")
            elif expression := find_expression(parts["code"]):
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


# RAF-DB

_RAF_LABELS = _numbered("surprise fear disgust happiness sadness anger neutral", start=1)


def _read_rafdb(search: _Search) -> None:
    """Read the pictures that ``list_patition_label.txt`` (spelled so) lists."""
    wanted = "list_patition_label.txt"
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
            where, key = f"{search.relative(lists[0])}, line {number}: {name}", _picture(name)
            entries.append((where, key, key, label))
    _add_listed(search, pictures, entries, _RAF_LABELS.get)
    search.notes.append(_EACH_A_PERSON)


def _add_listed(
    search: _Search,
    pictures: Mapping[str, str],
    entries: Sequence[tuple[str, str, str, str]],
    expression_of: Callable[[str], str | None],
) -> None:
    """Add the pictures, path by key, that a list labels, and leave out the others. An entry says where it
    stands, the picture's key, who is seen, and the label.
    """
    kept: dict[str, tuple[str, str]] = {}
    known = set()
    for where, key, person, label in entries:
        if key not in pictures:
            search.omit(where, "there is no such picture")
        elif key in known:
            search.omit(where, "its picture is listed before")
        elif not expression_of(label):
            search.omit(where, f"the label {label!r} is no expression")
        elif not person:
            search.omit(where, "it does not say who is seen")
        else:
            kept[key] = person, expression_of(label)
        known.add(key)
    for image_id, key in zip(_safe_ids([f"{key}.png" for key in kept]), kept, strict=True):
        search.add(image_id, pictures[key], *kept[key])
    for key, path in pictures.items():
        if key not in known:
            search.omit(path, "not in the list")


_EACH_A_PERSON = "it does not tell persons: each picture counts as a person of its own"


# AffectNet

_AFFECT_LABELS = _numbered("neutral happiness sadness surprise fear disgust anger contempt")


def _read_affectnet(search: _Search) -> None:
    """Read what tables, or annotations beside the pictures, label 0 to 7; 8 to 10 are no expression."""
    pictures = search.by_picture(search.images(), lambda relative: os.path.splitext(relative)[0])
    entries = []
    inside = {"/".join(key.split("/")[-2:]): key for key in pictures}
    columns = ("subDirectory_filePath", "expression")
    for path, relative in search.images(suffixes=(".csv",)):
        with suppress(DataError):
            table = read_csv(path, columns, usecols=lambda name: name in columns, dtype=str)
            for name, label in zip(*(table[column] for column in columns), strict=True):
                key = inside.get(os.path.splitext(name)[0], "")
                entries.append((f"{relative}: {name}", key, key, label))
    for path, relative in search.images(suffixes=("_exp.npy",)):
        folder, _, name = relative.removesuffix("_exp.npy").rpartition("/")
        try:
            label = f"{float(np.load(path, allow_pickle=False).item()):g}"
        except (OSError, ValueError) as error:
            label = f"({error})"
        key = f"{folder.removesuffix('annotations')}images/{name}"
        entries.append((relative, key, key, label))
    if not entries:
        raise search.not_found(DATABASES["affectnet"].layout)
    _add_listed(search, pictures, entries, _AFFECT_LABELS.get)
    search.notes.append(_EACH_A_PERSON)


# FER2013

_FER_LABELS = _numbered(" ".join((*EXPRESSIONS, "neutral")))
_FER_TABLES = ("fer2013.csv", "icml_face_data.csv", "train.csv")


def _read_fer2013(search: _Search) -> None:
    """Read the rows of the table of pixels; a path ends in ``#`` and where in the file its row begins."""
    tables = [path for path, _ in search.images(suffixes=_FER_TABLES)]
    if not tables:
        raise search.not_found(f"{_FER_TABLES[0]} or {_FER_TABLES[1]} (columns emotion, pixels)")
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


# Sequences


def _sequences(search: _Search, pattern: str, example: str) -> dict[str, dict[int, str]]:
    """Return each sequence's frames, paths by number, by its ``key`` in capitals; leave out second files."""
    sequences: dict[str, dict[int, str]] = {}
    for path, parts in search.matches(pattern, example):
        numbered = sequences.setdefault(parts["key"].upper(), {})
        if numbered.setdefault(int(parts["frame"]), path) is not path:
            search.omit(path, "a second file for one frame")
    return sequences


# CK+


class _CkplusOptions(_Options):
    frames: int = Field(1, ge=1)
    """take the last so many frames of each sequence (default 1: the peak)"""


_CK_LABELS = _numbered("neutral anger contempt disgust fear happiness sadness surprise")
_CK_NAME = r"(?P<key>(?P<subject>S\d{3})/(?P<sequence>\d{3}))/(?P=subject)_(?P=sequence)_(?P<frame>\d+)"
_CK_IMAGE = rf"(?:extended-)?cohn-kanade-images/(?:.*/)?{_CK_NAME}"
_CK_LABEL = rf"Emotion(?:_labels)?/(?:.*/)?{_CK_NAME}_emotion"


def _read_ckplus(search: _Search, *, frames: int) -> None:
    """Read each labelled sequence's last `frames` frames, up to the peak; and its first, which is neutral."""
    known = search.expected
    search.expected = {name: known[name] * (1 if name == "neutral" else frames) for name in known}
    sequences = _sequences(search, _CK_IMAGE, "cohn-kanade-images/S005/001/S005_001_00000011.png")
    labels: dict[str, list[tuple[int, str]]] = {}
    example = "Emotion/S005/001/S005_001_00000011_emotion.txt"
    for path, parts in search.matches(_CK_LABEL, example, ("_emotion.txt",)):
        labels.setdefault(parts["key"].upper(), []).append((int(parts["frame"]), path))
    for key, numbered in sequences.items():
        try:
            expression, peak = _ck_label(labels.pop(key, []))
        except DataError as error:
            search.omit(key, error)
            continue
        if peak in numbered:
            numbered = {number: path for number, path in numbered.items() if number <= peak}
        else:
            search.notes.append(f"{key}: the labelled frame {peak} is not there, so {max(numbered)} counts as the peak")
        first, last = min(numbered), sorted(numbered)[-frames:]
        subject, neutral = key.split("/")[0], ""
        if first not in last and expression != "neutral":
            neutral = Path(numbered[first]).stem
            search.add(neutral, numbered[first], subject, "neutral")
        for number in last:
            search.add(Path(numbered[number]).stem, numbered[number], subject, expression, neutral=neutral)
    for _, path in (label for found in labels.values() for label in found):
        search.omit(path, "a label without a sequence of images")


def _ck_label(files: list[tuple[int, str]]) -> tuple[str, int]:
    """Return a sequence's expression and the number of its labelled frame."""
    if len(files) != 1:
        names = ", ".join(os.path.basename(path) for _, path in files)
        raise DataError(f"{len(files)} label files: {names}" if files else "no emotion label")
    ((frame, path),) = files
    try:
        text = read_text(path).strip()
    except OSError as error:
        raise DataError(f"its label file cannot be read ({error.strerror})") from None
    with suppress(ValueError, KeyError):
        return _CK_LABELS[f"{float(text):g}"], frame
    raise DataError(f"its label {text[:30]!r} is none of 0 to 7")


# WSEFEP

_SHEET = "norms sheet (one .csv with the columns Displayer ID, Picture ID, Display)"


def _read_wsefep(search: _Search) -> None:
    """Read the pictures that the norms sheet labels, and who is seen (MK and MK1 are two people)."""
    columns = ("displayer id", "picture id", "display")
    sheets = []
    for path, relative in search.images(suffixes=(".csv",)):
        with suppress(DataError):
            sheets.append((relative, read_table(path, columns)))
    if len(sheets) != 1:
        raise search.not_found(_SHEET)
    ((name, sheet),) = sheets
    entries = []
    for row, displayer, picture, display in sheet[[*columns]].itertuples(name=None):
        key = _picture(picture)
        key = f"{displayer.lower()}_{key}" if key.isdigit() else key
        entries.append((f"{name}, line {row + 2}", key, displayer, display))
    _add_listed(search, search.by_picture(search.images(), _picture), entries, find_expression)
    search.notes.append(f"labels from {name}")


def _picture(name: str) -> str:
    """Return a picture's id without folder and suffix, in lower case: sheets spell it in several ways."""
    return re.sub(r"\.(jpe?g|png|tiff?|bmp|webp)$", "", os.path.basename(name).strip().lower()).strip()


# BU-4DFE

# A sequence has about 100 frames, with the apex in the middle.
_BU_FRAMES = (20, 25, 30, 35, 40)
_BU_CODES = dict(zip(("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"), EXPRESSIONS, strict=True))
_BU_NAME = rf"(?P<key>[FM]\d{{3}}/({'|'.join(_BU_CODES)}))/(?P<frame>\d+)"


class _Bu4dfeOptions(_Options):
    frames: Annotated[Sequence[Annotated[int, Field(ge=0)]], Field(min_length=1)] = _BU_FRAMES
    """numbers of the frames to take (default [20, 25, 30, 35, 40])"""


def _read_bu4dfe(search: _Search, *, frames: Sequence[int]) -> None:
    """Read these frames of each sequence, and its first, which is neutral; what is not there is left out."""
    frames = sorted(set(frames))
    search.expected = dict.fromkeys(EXPRESSIONS, search.expected_subjects * len(frames))
    search.expected["neutral"] = search.expected_subjects * len(EXPRESSIONS) * (min(frames) > 0)
    sequences = _sequences(search, _BU_NAME, "F001/Angry/000.jpg")
    for subject in sorted({key.split("/")[0] for key in sequences}):
        for code, expression in _BU_CODES.items():
            numbered = sequences.get(f"{subject}/{code.upper()}")
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


# FEGA. People's names are in its file names and must not get any further. A hash of a name alone
# would not hide it: whoever guesses the name computes the same hash. So a person's id is a hash of
# the name *and* of the bytes of the person's first image. It can only be computed by someone who
# has that image, whose name tells more than the id; and unlike a number in a list, or a random
# salt, it is the same in each copy, whoever else is in it.

_FEGA_NAMES = "arrabbiato disgusto paura allegria tristezza sorpresa neutra"
_FEGA_LABELS = dict(zip(_FEGA_NAMES.split(), (*EXPRESSIONS, "neutral"), strict=True))
_FEGA_EXAMPLE = "0_F_<age>_<name>_<Label>_<n>.png"
_FEGA_NAME = r"(?P<series>\d+)_(?P<sex>[A-Z])_(?P<age>[^_/]*)_(?P<name>[^/]+)_(?P<label>[^_/]+)_(?P<number>\d+)"


def _read_fega(search: _Search) -> None:
    """Read images without any name but in `path`; one name is one person."""
    persons: dict[str, list[tuple[str, tuple[str, str], dict[str, str]]]] = {}
    for path, parts in search.matches(_FEGA_NAME, _FEGA_EXAMPLE):
        if parts["label"].lower() not in _FEGA_LABELS:
            search.omit(path, f"its label is none of {', '.join(_FEGA_LABELS)}")
        # The bytes of the first image keep a person's id from being guessed: it must have some.
        elif not os.access(path, os.R_OK) or not os.path.getsize(path):
            search.omit(path, "the file is empty or cannot be read")
        else:
            kind = parts["sex"].lower(), parts["age"].strip()
            key = " ".join(unicodedata.normalize("NFC", parts["name"]).casefold().split())
            persons.setdefault(key, []).append((path, kind, parts))
    several = 0
    for key, images in persons.items():
        images.sort(key=lambda image: unicodedata.normalize("NFC", os.path.basename(image[0])))
        first = Path(images[0][0]).read_bytes()
        subject = hashlib.sha256(key.encode() + b"\0" + first).hexdigest()[:10]
        kinds = sorted({kind for _, kind, _ in images})
        several += len(kinds) > 1
        for path, kind, parts in images:
            expression = _FEGA_LABELS[parts["label"].lower()]
            # Sex and age would tell who is meant among few people: a running number will do.
            ending = f"-{kinds.index(kind) + 1}" if kinds.index(kind) else ""
            image_id = f"{subject}_{expression}_{parts['series']}_{parts['number']}{ending}"
            search.add(image_id, path, subject, expression)
    if several:
        search.notes.append(f"{several} names come with several ages or sexes and count as one person each")
    search.omit_second_files()


# A folder of one's own


def _stand_for_expressions(labels: Mapping[str, str]) -> Mapping[str, str]:
    known = {*EXPRESSIONS, *NOT_EXPLAINED, *(name for name in labels if labels[name] == name)}
    if wrong := [label for label in labels if labels[label] not in known]:
        raise ValueError(f"has {wrong[0]!r}, which must stand for one of {', '.join(sorted(known))}")
    return labels


class _OwnOptions(_Options):
    subject: re.Pattern[str] | None = None
    """for folders: a regular expression that finds who is seen in the path, such as '(S\\d+)_'"""
    labels: Annotated[dict[str, str], AfterValidator(_stand_for_expressions)] = {}
    """what the labels of the table, or the names of the folders, stand for: { "4" = "happiness" }"""


# All of them

_RE_CK48 = r"(?P<code>[^/]+)/(?P<image>(?P<subject>S\d{3})_\d{3}_\d{8})"
# Converters like to keep the first suffix: KA.AN1.39.tiff.png.
_RE_JAFFE = r"(?P<subject>[A-Z]{2})[._](?P<code>[A-Z]{2})(?P<take>\d+)[._](?P<number>\d+)(?:\.TIFF?)?"
_RE_KDEF = r"(?P<take>[AB])(?P<subject>[FM]\d\d)(?P<code>[A-Z]{2})(?P<angle>FL|HL|S|HR|FR)"
_RE_RAFD = (
    r"Rafd(?P<angle>\d{3})_(?P<subject>\d+)_(?P<origin>\w+?)_(?P<sex>female|male)_(?P<code>[a-z]+)_"
    r"(?P<gaze>left|frontal|right)"
)

_READERS: dict[str, Callable[..., None]] = {
    "synthetic": _read_synthetic,
    "ckplus": _read_ckplus,
    "ckplus48": _by_file_name(_RE_CK48, "anger/S010_004_00000017.png", "{image}"),
    "jaffe": _by_file_name(_RE_JAFFE, "KA.AN1.39.tiff", "{subject}.{code}{take}.{number}"),
    "kdef": _by_file_name(_RE_KDEF, "AF01ANS.JPG", "{take}{subject}{code}{angle}", angle="S"),
    "rafd": _by_file_name(
        _RE_RAFD, "Rafd090_01_Caucasian_female_angry_frontal.jpg", "{angle}_{subject}_{code}_{gaze}", "090"
    ),
    "rafdb": _read_rafdb,
    "affectnet": _read_affectnet,
    "fer2013": _read_fer2013,
    "wsefep": _read_wsefep,
    "bu4dfe": _read_bu4dfe,
    "fega": _read_fega,
    "own": _read_own,
}  # fmt: skip


_OPTIONS = {"ckplus": _CkplusOptions, "bu4dfe": _Bu4dfeOptions, "own": _OwnOptions}

DATABASES: dict[str, _Database] = {
    name: _Database(read=_READERS[name], options=_OPTIONS.get(name, _Options), **facts)
    for name, facts in tomllib.loads(
        resources.files("ekman_expressions").joinpath("data/databases.toml").read_text("utf-8")
    ).items()
}
"""The databases known by name."""

_OWN = DATABASES.pop("own")
