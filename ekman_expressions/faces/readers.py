"""The databases that can be read: one row of `DATABASES` each, with a small reader.

To add a database, write a row here: its names, counts and terms, and a reader, ``reader(search,
**options)``, that fills a `Search`. `_by_file_name` makes one where the file names say all.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ekman_expressions.core.errors import DataError, SettingsError, check_option, check_range, check_type
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.folders import LAYOUTS, Search, _expression_of, _read_own, _safe_ids


class _Option(NamedTuple):
    """A choice that a database offers: ``check(value, setting)`` raises `SettingsError`; a line of help."""

    check: Callable[[Any, str], None]
    help: str


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database that the package can read.

    Attributes
    ----------
    title : str
        Its full name.
    read : callable
        ``read(search, **options)`` fills a `Search`. It reads names and labels, never pixels.
    layout : str
        The files and folders it looks for.
    use, access, reference : str
        Terms of use in our own words (only the owners' text is binding), whom to ask for a copy,
        and what to cite.
    images : dict of str to int
        Images per expression in a complete copy with the default options; empty where unknown.
    subjects : int or None
        Persons with a usable image in a complete copy.
    options : dict of str to (check, help)
        Choices it offers.
    private : bool
        Whether its file names say who is seen, so that no path may be shown or written.
    bundled : bool
        Whether it comes with the package and needs no root.
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


def _read_synthetic(search: Search) -> None:
    search.rows = synthetic.load(search.root)


def _by_file_name(
    pattern: str, codes: Mapping[str, str], example: str, image_id: str
) -> Callable[[Search], None]:
    """Make the reader of a database whose file names tell all.

    `pattern` matches the end of a path without suffix and has the groups ``subject`` and ``code``,
    whose expression `codes` gives; `example` is such a name; `image_id` makes an id of the groups.
    """

    def read(search: Search) -> None:
        for path, parts in search.matches(pattern, example):
            parts = {key: value.upper() for key, value in parts.items()}
            if parts["code"] in codes:
                search.add(image_id.format(**parts), path, parts["subject"], codes[parts["code"]])
            else:
                search.omit(path, f"the code {parts['code']} is none of {', '.join(codes)}")
        # The original format first, where one was converted.
        search.rows.sort(key=lambda row: (not row["path"].lower().endswith((".tif", ".tiff")), row["path"]))
        search.omit_second_files()

    return read


_JAFFE = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
    "NE": "neutral",
}


# CK+

_CK_CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
# Sequences with a label in a complete copy: 327 of 593, of 118 persons of 123.
_CK_LABELLED = dict(zip(_CK_CODES[1:], (45, 18, 59, 25, 69, 28, 83), strict=True))
_CK_NAME = (
    r"(?P<key>(?P<subject>S\d{3})/(?P<sequence>\d{3}))/(?P<name>(?P=subject)_(?P=sequence)_(?P<frame>\d+))"
)
_CK_IMAGE = rf"(?:extended-)?cohn-kanade-images/(?:.*/)?{_CK_NAME}"
_CK_LABEL = rf"Emotion(?:_labels)?/(?:.*/)?{_CK_NAME}_emotion"


def _read_ckplus(search: Search, *, frames: int = 1) -> None:
    """Read the last `frames` frames of each labelled sequence; the last is the peak.

    Sequences without a label are left out, one by one: the database labels only those that fit
    an emotion's prototype.
    """
    search.expected = {name: count * frames for name, count in _CK_LABELLED.items()}
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
        last = sorted(numbered)[-frames:]
        short += len(last) < frames
        for number in last:
            search.add(*numbered[number], key.split("/")[0], expression)
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


def _read_wsefep(search: Search, *, sheet: str | None = None) -> None:
    """Read the pictures that the norms sheet labels.

    Rows without picture and pictures without row are left out. Who is seen is what the sheet
    says: ids such as MK and MK1 are two people.
    """
    search.require_folder(_SHEET)
    path, rows = _norms_sheet(search, sheet)
    pictures: dict[str, str] = {}
    for image, relative in search.images():
        first = pictures.setdefault(_picture(os.path.basename(relative)), image)
        if first is not image:
            search.omit(image, f"a second file for one picture; {search.relative(first)} is used")
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


def _norms_sheet(search: Search, given: str | None) -> tuple[Path, list[tuple[int, str, str, str]]]:
    """Return the norms sheet and its rows: line number, displayer, picture and display."""
    if given is not None:
        path = search.root / given
        if not path.is_file():
            raise search.not_found(f"sheet {given}")
        rows = _sheet_rows(path)
        if rows is None:
            raise DataError(f"{path} has no line with the columns Displayer ID, Picture ID and Display.")
        return path, rows
    tables = [Path(path) for path, _ in search.images(suffixes=(".csv", ".txt", ".tsv"))]
    sheets = [(path, rows) for path in sorted(tables) if (rows := _sheet_rows(path)) is not None]
    if not sheets:
        books = [os.path.basename(path) for path, _ in search.images(suffixes=(".xls", ".xlsx"))]
        raise search.not_found(_SHEET + (f" (save {books[0]} as CSV)" if books else ""))
    if len(sheets) > 1:
        names = ", ".join(search.relative(path) for path, _ in sheets)
        raise SettingsError(
            f"{search.root} has several norms sheets: {names}. Name one as the option 'sheet'."
        )
    return sheets[0]


def _sheet_rows(path: Path) -> list[tuple[int, str, str, str]] | None:
    """Read a table that a spreadsheet program may have written; None if its first lines name no columns."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    for separator in (",", ";", "\t"):
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        rows, places = [], None
        for number, cells in enumerate(reader):
            cells = [cell.strip() for cell in cells]
            headings = [" ".join(cell.replace("_", " ").lower().split()) for cell in cells]
            if places is not None and any(cells):
                found = (cells[place] if place < len(cells) else "" for place in places)
                rows.append((reader.line_num, *found))
            elif places is None and set(_SHEET_COLUMNS) <= set(headings):
                places = [headings.index(column) for column in _SHEET_COLUMNS]
            elif places is None and number >= 20:
                break
        if places is not None:
            return rows
    return None


def _picture(name: str) -> str:
    """Return a picture's id without suffix, in lower case: sheets spell it in several ways."""
    return re.sub(r"\.(jpe?g|png|tiff?|bmp|webp)$", "", name.strip().lower()).strip()


# BU-4DFE

# A sequence has about 100 frames, with the apex in the middle.
_BU_FRAMES = (20, 25, 30, 35, 40)
_BU_SUBJECTS = 101
_BU_CODES = dict(zip(("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"), EXPRESSIONS, strict=True))
_BU_NAME = rf"(?P<subject>[FM]\d{{3}})/(?P<code>{'|'.join(_BU_CODES)})/(?P<frame>\d+)"


def _read_bu4dfe(search: Search, *, frames: Sequence[int] = _BU_FRAMES) -> None:
    """Read these frames of each sequence; frames and sequences that are not there are left out."""
    search.expected = dict.fromkeys(EXPRESSIONS, _BU_SUBJECTS * len(frames))
    sequences: dict[tuple[str, str], dict[int, str]] = {}
    for path, parts in search.matches(_BU_NAME, "F001/Angry/000.jpg"):
        key = parts["subject"].upper(), parts["code"].capitalize()
        sequences.setdefault(key, {}).setdefault(int(parts["frame"]), path)
    for subject in sorted({subject for subject, _ in sequences}):
        for code, expression in _BU_CODES.items():
            numbered = sequences.get((subject, code))
            if numbered is None:
                search.omit(f"{subject}/{code}", "no such sequence")
                continue
            for frame in frames:
                if frame in numbered:
                    search.add(f"{subject}_{code}_{frame:03d}", numbered[frame], subject, expression)
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


def _read_fega(search: Search, *, person: str = "name") -> None:
    """Read images without any name but in `path`.

    With ``person="name"``, files with one name show one person, so that nobody can be split
    between folds; with ``"name_sex_age"``, sex and age tell people of one name apart.
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


OWN = Database(
    title="a folder of your own, under any other name",
    read=_read_own,
    layout="manifest.csv (columns image_id, path, subject, expression, optionally intensity, fold); or one "
    "folder per expression; or CV1 ... CV5 and CV1_test ... CV5_test with one folder per expression",
    use="yours to know: the persons' consent, and the licence of the images",
    access="your own folder",
    reference="as its owner asks",
    options={
        "layout": _Option(
            lambda value, setting: check_option(value, setting, LAYOUTS),
            f"{', '.join(LAYOUTS)} (default: what is there)",
        ),
        "subject": _Option(
            _check_subject,
            "for folders: a regular expression that finds who is seen in the path, such as '(S\\d+)_'",
        ),
    },
)
"""What every name that is not in `DATABASES` stands for."""

DATABASES: dict[str, Database] = {
    "synthetic": Database(
        title="rendered faces with known action units",
        read=_read_synthetic,
        layout="manifest.csv and the images that it names",
        use="public domain (CC0): rendered faces of nobody",
        access="comes with the package",
        reference="this package, see CITATION.cff",
        bundled=True,
    ),
    "ckplus": Database(
        title="Extended Cohn-Kanade (CK+)",
        read=_read_ckplus,
        layout="cohn-kanade-images/S005/001/S005_001_00000011.png (or extended-cohn-kanade-images/) and "
        "Emotion/S005/001/S005_001_00000011_emotion.txt (or Emotion_labels/)",
        use="non-commercial research after a signed agreement; copies are not passed on; faces are shown "
        "only of persons who agreed to that (its documentation names them)",
        access="J. F. Cohn, University of Pittsburgh: http://www.jeffcohn.net/Resources/",
        reference="Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops 2010",
        images=_CK_LABELLED,
        subjects=118,
        options={
            "frames": _Option(
                lambda value, setting: check_range(value, setting, 1, integer=True),
                "take the last so many frames of each sequence (default 1: the peak)",
            )
        },
    ),
    "jaffe": Database(
        title="Japanese Female Facial Expression (JAFFE)",
        # Converters like to keep the first suffix: KA.AN1.39.tiff.png.
        read=_by_file_name(
            r"(?P<subject>[A-Z]{2})[._](?P<code>[A-Z]{2})(?P<take>\d+)[._](?P<number>\d+)(?:\.TIFF?)?",
            _JAFFE,
            "KA.AN1.39.tiff",
            "{subject}.{code}{take}.{number}",
        ),
        layout="KA.AN1.39.tiff or KA_AN1_39.png, at any depth",
        use="non-commercial scientific research; copies are not passed on; each publication cites the source",
        access="by request, following the instructions at https://zenodo.org/record/3451524",
        reference="Lyons, Akamatsu, Kamachi, Gyoba, Coding Facial Expressions with Gabor Wavelets, FG 1998",
        images=dict(zip(_JAFFE.values(), (30, 29, 32, 31, 31, 30, 30), strict=True)),
        subjects=10,
    ),
    "wsefep": Database(
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
    "bu4dfe": Database(
        title="Binghamton University 4D Facial Expression (BU-4DFE)",
        read=_read_bu4dfe,
        layout="F001/Angry/000.jpg (F001-F058, M001-M043; Angry Disgust Fear Happy Sad Surprise)",
        use="research after an agreement with the university; copies are not passed on; ask which faces may "
        "be shown",
        access="L. Yin, Binghamton University: https://www.cs.binghamton.edu/~lijun/Research/3DFE/",
        reference="Yin, Chen, Sun, Worm, Reale, A High-Resolution 3D Dynamic Facial Expression Database, "
        "FG 2008",
        images=dict.fromkeys(EXPRESSIONS, _BU_SUBJECTS * len(_BU_FRAMES)),
        subjects=_BU_SUBJECTS,
        options={
            "frames": _Option(_check_frames, f"numbers of the frames to take (default {list(_BU_FRAMES)})")
        },
    ),
    "fega": Database(
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
