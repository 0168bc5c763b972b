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
from ekman_expressions.core.expressions import EXPRESSIONS, parse_expression
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.folders import LAYOUTS, Search, is_image, read_own, safe_ids


class Option(NamedTuple):
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
    options : dict of str to Option
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
    options: Mapping[str, Option] = field(default_factory=dict)
    private: bool = False
    bundled: bool = False


def _read_synthetic(search: Search) -> None:
    search.rows = synthetic.load(search.root)


# Databases whose file names say who is seen and in which expression


def _by_file_name(
    pattern: str, codes: Mapping[str, str], example: str, image_id: str
) -> Callable[[Search], None]:
    """Make the reader of a database whose file names tell all.

    `pattern` matches a name without suffix and has the groups ``subject`` and ``code``, whose
    expression `codes` gives; `example` is such a name; `image_id` makes an id of the groups.
    """
    names = re.compile(pattern, re.IGNORECASE)
    wanted = f"image with a name like {example}"

    def read(search: Search) -> None:
        search.require_folder(wanted)
        matched = False
        for path, relative in search.images():
            match = names.fullmatch(os.path.splitext(os.path.basename(relative))[0])
            if not match:
                search.omit(relative, f"its name is not like {example.split()[0]}")
                continue
            matched = True
            parts = {key: value.upper() for key, value in match.groupdict().items()}
            if parts["code"] in codes:
                search.add(image_id.format(**parts), path, parts["subject"], codes[parts["code"]])
            else:
                search.omit(relative, f"the code {parts['code']} is none of {', '.join(codes)}")
        if not matched:
            raise search.not_found(wanted)
        # The original format first, where one was converted.
        search.rows.sort(key=lambda row: (not row["path"].lower().endswith((".tif", ".tiff")), row["path"]))
        search.omit_second_files()

    return read


_JAFFE_CODES = {
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
_CK_IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images")
_CK_LABELS = ("Emotion", "Emotion_labels")
_CK_WANTED = "folder {} with folders like S005/001"
_CK_SUBJECT = re.compile(r"S\d{3}")
_CK_SEQUENCE = re.compile(r"\d{3}")
_CK_FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d+)\.\w+")
_CK_LABEL = re.compile(r"(S\d{3})_(\d{3})_(\d+)_emotion\.txt")


def _read_ckplus(search: Search, *, frames: int = 1) -> None:
    """Read the last `frames` frames of each labelled sequence; the last is the peak.

    Sequences without a label are left out, one by one: the database labels only those that fit
    an emotion's prototype.
    """
    search.require_folder(_CK_WANTED.format(_CK_IMAGES[0]))
    search.expected = {name: count * frames for name, count in _CK_LABELLED.items()}
    images, labels = (_ck_folder(search, names) for names in (_CK_IMAGES, _CK_LABELS))
    label_files = _ck_label_files(search, labels)
    sequences = _ck_sequences(search, images)
    short = 0
    for folder in search.progress(sequences, "sequence"):
        key = f"{folder.parent.name}/{folder.name}"
        numbered = _ck_frames(search, folder)
        labelled = label_files.pop(key, [])
        if not labelled:
            search.omit(key, "no emotion label")
        elif not numbered:
            search.omit(key, "a label, but no images")
        else:
            try:
                expression, peak = _ck_label(labelled)
            except DataError as error:
                search.omit(key, error)
                continue
            if peak in numbered:
                numbered = {number: path for number, path in numbered.items() if number <= peak}
            else:
                search.notes.append(
                    f"{key}: the labelled frame {peak} is not there, so {max(numbered)} counts as the peak"
                )
            last = sorted(numbered)[-frames:]
            short += len(last) < frames
            for number in last:
                search.add(numbered[number].stem, numbered[number], folder.parent.name, expression)
    for path in (path for paths in label_files.values() for path in paths):
        search.omit(path, "a label without a sequence of images")
    persons = len({folder.parent for folder in sequences})
    search.notes.append(
        f"{len(sequences)} sequences of {persons} persons (a complete copy has 593 of 123; 327 of 118 "
        "have a label)"
    )
    if short:
        search.notes.append(f"{short} sequences have fewer than {frames} frames: all they have is taken")
    search.omit_second_files()


def _ck_folder(search: Search, names: tuple[str, ...]) -> Path:
    """Find the folder with the persons; an unpacked archive may have put it into another one."""
    wanted = {name.lower() for name in names}
    found = [
        folder
        for folder in search.folders_holding(_CK_SUBJECT)
        if wanted & {part.lower() for part in folder.relative_to(search.root).parts}
    ]
    if not found:
        raise search.not_found(_CK_WANTED.format(" or ".join(names)))
    for folder in found[1:]:
        search.omit(folder, f"{search.relative(found[0])} is used instead")
    return found[0]


def _ck_sequences(search: Search, images: Path) -> list[Path]:
    sequences = []
    for subject in search.entries(images):
        if not (subject.is_dir() and _CK_SUBJECT.fullmatch(subject.name)):
            search.omit(subject, "not a person's folder (S005)")
            continue
        for item in search.entries(subject):
            if item.is_dir() and _CK_SEQUENCE.fullmatch(item.name):
                sequences.append(Path(item.path))
            else:
                search.omit(item, "not a sequence's folder (001)")
    return sequences


def _ck_frames(search: Search, folder: Path) -> dict[int, Path]:
    """Return the frames of a sequence by their numbers."""
    frames: dict[int, Path] = {}
    for item in search.entries(folder):
        match = _CK_FRAME.fullmatch(item.name)
        if not (match and is_image(item.name) and match.groups()[:2] == (folder.parent.name, folder.name)):
            search.omit(item, "not a frame of its sequence (S005_001_00000011.png)")
        elif int(match[3]) in frames:
            search.omit(item, "a second file for one frame")
        else:
            frames[int(match[3])] = Path(item.path)
    return frames


def _ck_label_files(search: Search, labels: Path) -> dict[str, list[Path]]:
    """Return the label files by ``S005/001``; empty folders, which are usual, have none."""
    found: dict[str, list[Path]] = {}
    for subject in search.entries(labels):
        for sequence in search.entries(subject) if subject.is_dir() else ():
            for item in search.entries(sequence) if sequence.is_dir() else ():
                match = _CK_LABEL.fullmatch(item.name)
                if match and match.groups()[:2] == (subject.name, sequence.name):
                    found.setdefault(f"{match[1]}/{match[2]}", []).append(Path(item.path))
                else:
                    search.omit(item, "not a label file of its sequence")
    return found


def _ck_label(paths: list[Path]) -> tuple[str, int]:
    """Return a sequence's expression and the number of its labelled frame."""
    if len(paths) > 1:
        raise DataError(f"{len(paths)} label files: {', '.join(path.name for path in paths)}")
    try:
        text = paths[0].read_text("utf-8").strip()
        code = float(text)
    except OSError as error:
        raise DataError(f"its label file cannot be read ({error.strerror})") from None
    except ValueError:
        raise DataError("its label file does not hold a number") from None
    if code not in range(len(_CK_CODES)):
        raise DataError(f"its label {text[:30]} is none of 0 to {len(_CK_CODES) - 1}")
    return _CK_CODES[int(code)], int(_CK_LABEL.fullmatch(paths[0].name)[3])


# WSEFEP

_SHEET_COLUMNS = ("displayer id", "picture id", "display")
_SHEET_WANTED = "norms sheet (.csv with the columns Displayer ID, Picture ID, Display)"
_HEADER_WITHIN = 20


def _read_wsefep(search: Search, *, sheet: str | None = None) -> None:
    """Read the pictures that the norms sheet labels.

    Rows without picture and pictures without row are left out. Who is seen is what the sheet
    says: ids such as MK and MK1 are two people.
    """
    search.require_folder(_SHEET_WANTED)
    path = _find_sheet(search, sheet)
    pictures: dict[str, tuple[str, str]] = {}
    for image, relative in search.images():
        key = _picture(os.path.basename(relative))
        if key in pictures:
            search.omit(relative, f"a second file for one picture; {pictures[key][1]} is used")
        else:
            pictures[key] = (image, relative)
    rows = _sheet_rows(path)
    persons = {displayer.lower() for _, displayer, _, _ in rows}
    named: dict[str, list[tuple[int, str, str]]] = {}
    for line, displayer, name, display in rows:
        key = _picture(name)
        key = f"{displayer}_{key}".lower() if key.isdigit() else key
        named.setdefault(key, []).append((line, displayer, display))
    for key, entries in named.items():
        image, relative = pictures.pop(key, ("", ""))
        line, displayer, display = entries[0]
        prefix = key.rpartition("_")[0]
        reason = None
        if not image:
            reason = f"no picture {key.upper()}" if key else "no Picture ID"
        elif len({entry[1:] for entry in entries}) > 1:
            reason = f"the sheet says different things of {relative}: " + "; ".join(
                f"{entry[1]}, {entry[2]}" for entry in entries
            )
        elif not displayer:
            reason = "no Displayer ID"
        elif prefix != displayer.lower() and prefix in persons:
            reason = f"{relative} is another person's picture than {displayer}'s"
        else:
            try:
                expression = parse_expression(display)
                search.add(safe_ids([os.path.basename(relative)])[0], image, displayer, expression)
            except DataError:
                reason = f"the display {display!r} is no expression"
        if reason:
            search.omit(f"{search.relative(path)}, line {line}", reason)
    for _, relative in pictures.values():
        search.omit(relative, "not in the sheet")
    search.notes.append(f"labels from {search.relative(path)}")


def _find_sheet(search: Search, given: str | None) -> Path:
    root = search.root
    if given is not None:
        path = root / given
        if not path.is_file():
            raise search.not_found(f"sheet {given}")
        if _separator(_text(path)) is None:
            raise DataError(f"{path} has no line with the columns Displayer ID, Picture ID and Display.")
        return path
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    tables = [path for path in files if path.suffix.lower() in (".csv", ".txt", ".tsv")]
    sheets = [path for path in tables if _separator(_text(path)) is not None]
    if not sheets:
        books = [path.name for path in files if path.suffix.lower().startswith(".xls")]
        hint = f" (save {books[0]} as CSV)" if books else ""
        raise search.not_found(_SHEET_WANTED + hint)
    if len(sheets) > 1:
        names = ", ".join(search.relative(path) for path in sheets)
        raise SettingsError(f"{root} has several norms sheets: {names}. Name one as the option 'sheet'.")
    return sheets[0]


def _text(path: Path) -> str:
    """Read a table that a spreadsheet program may have written."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _separator(text: str) -> str | None:
    """Return what separates the columns of a norms sheet; None if the table is none."""
    for line in text.splitlines()[:_HEADER_WITHIN]:
        for separator in (",", ";", "\t"):
            names = [_heading(name) for name in next(csv.reader([line], delimiter=separator), [])]
            if all(column in names for column in _SHEET_COLUMNS):
                return separator
    return None


def _sheet_rows(path: Path) -> list[tuple[int, str, str, str]]:
    """Return line number, displayer, picture and display of each row."""
    text = _text(path)
    reader = csv.reader(io.StringIO(text), delimiter=_separator(text))
    rows, places = [], []
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        headings = [_heading(cell) for cell in cells]
        if not places and all(column in headings for column in _SHEET_COLUMNS):
            places = [headings.index(column) for column in _SHEET_COLUMNS]
        elif places and any(cells):
            rows.append((reader.line_num, *(cells[place] if place < len(cells) else "" for place in places)))
    return rows


def _heading(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())


def _picture(name: str) -> str:
    """Return a picture's id without suffix, in lower case: sheets spell it in several ways."""
    name = name.strip()
    return (os.path.splitext(name)[0] if is_image(name) else name).strip().lower()


# BU-4DFE

# A sequence has about 100 frames, with the apex in the middle.
_BU_FRAMES = (20, 25, 30, 35, 40)
_BU_SUBJECTS = 101
_BU_FOLDERS = dict(zip(("angry", "disgust", "fear", "happy", "sad", "surprise"), EXPRESSIONS, strict=True))
_BU_WANTED = "folder like F001/Angry with frames like 000.jpg"
_BU_SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)


def _read_bu4dfe(search: Search, *, frames: Sequence[int] = _BU_FRAMES) -> None:
    """Read these frames of each sequence; frames and sequences that are not there are left out."""
    search.require_folder(_BU_WANTED)
    homes = search.folders_holding(_BU_SUBJECT)
    if not homes:
        raise search.not_found(_BU_WANTED)
    search.expected = dict.fromkeys(EXPRESSIONS, _BU_SUBJECTS * len(frames))
    entries = [item for home in homes for item in search.entries(home)]
    for item in search.progress(entries, "person"):
        if not (item.is_dir() and _BU_SUBJECT.fullmatch(item.name)):
            search.omit(item, "not a person's folder (F001)")
            continue
        sequences = {}
        for sequence in search.entries(item):
            expression = _BU_FOLDERS.get(sequence.name.lower())
            if sequence.is_dir() and expression and expression not in sequences:
                sequences[expression] = Path(sequence.path)
            else:
                search.omit(sequence, "not an expression's folder (Angry ... Surprise)")
        for name, expression in _BU_FOLDERS.items():
            if expression in sequences:
                _add_bu_frames(search, sequences[expression], item.name.upper(), expression, frames)
            else:
                search.omit(f"{item.name}/{name.capitalize()}", "no such sequence")
    search.omit_second_files()


def _add_bu_frames(
    search: Search, folder: Path, subject: str, expression: str, frames: Sequence[int]
) -> None:
    numbered: dict[int, str] = {}
    for item in search.entries(folder):
        stem = os.path.splitext(item.name)[0]
        # Meshes (.wrl) lie beside the images.
        if is_image(item.name) and stem.isdecimal():
            numbered.setdefault(int(stem), item.path)
    if not numbered:
        search.omit(folder, "no frames (000.jpg ...)")
        return
    for frame in frames:
        if frame in numbered:
            image_id = f"{subject}_{folder.name.capitalize()}_{frame:03d}"
            search.add(image_id, numbered[frame], subject, expression)
        else:
            search.omit(folder / f"{frame:03d}", "no such frame")


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
_FEGA_NAME = re.compile(r"(\d+)_([A-Za-z])_([^_]*)_(.+)_([^_]+)_(\d+)")
_FEGA_DIGITS = 10


class _FegaImage(NamedTuple):
    """What a file name says."""

    path: str
    series: str
    sex_and_age: tuple[str, str]
    name: str
    expression: str
    number: str


def _read_fega(search: Search, *, person: str = "name") -> None:
    """Read images without any name but in `path`.

    With ``person="name"``, files with one name show one person, so that nobody can be split
    between folds; with ``"name_sex_age"``, sex and age tell people of one name apart. What is left
    out is called by the SHA-256 of the file's bytes (as ``sha256sum`` prints it), so that the
    owner of the files can find it.
    """
    wanted = f"image with a name like {_FEGA_EXAMPLE}"
    search.require_folder(wanted)
    images: list[_FegaImage] = []
    unusable: list[tuple[str, str]] = []
    matched = False
    for path, relative in search.images():
        match = _FEGA_NAME.fullmatch(os.path.splitext(os.path.basename(relative))[0])
        if match is None:
            unusable.append((path, f"its name is not like {_FEGA_EXAMPLE}"))
            continue
        matched = True
        series, sex, age, name, label, number = match.groups()
        if label.lower() not in _FEGA_LABELS:
            unusable.append((path, f"its label is none of {', '.join(_FEGA_LABELS)}"))
        elif not _size(path):
            # The bytes of the first image keep a person's id from being guessed: it must have some.
            unusable.append((path, "the file is empty or cannot be read"))
        else:
            name = " ".join(unicodedata.normalize("NFC", name).casefold().split())
            kind = (sex.lower(), age.strip())
            images.append(_FegaImage(path, series, kind, name, _FEGA_LABELS[label.lower()], number))
    if not matched:
        raise search.not_found(wanted)
    for path, reason in unusable:
        search.omit(_file_hash(path), reason)
    _add_fega_persons(search, images, person)
    search.omit_second_files(_file_hash)


def _add_fega_persons(search: Search, images: list[_FegaImage], person: str) -> None:
    persons: dict[tuple[str, ...], list[_FegaImage]] = {}
    for image in images:
        key = (image.name, *(image.sex_and_age if person == "name_sex_age" else ()))
        persons.setdefault(key, []).append(image)
    several = 0
    for key, theirs in persons.items():
        theirs.sort(key=lambda image: unicodedata.normalize("NFC", os.path.basename(image.path)))
        subject = None
        kinds = sorted({image.sex_and_age for image in theirs})
        several += len(kinds) > 1
        for image in theirs:
            try:
                subject = subject or _person_hash(key, image.path)
            except OSError as error:
                search.omit("(hidden)", f"the file cannot be read ({error.strerror})")
                continue
            # Sex and age would tell who is meant among few people: a running number will do.
            kind = kinds.index(image.sex_and_age)
            ending = f"-{kind + 1}" if kind else ""
            image_id = f"{subject}_{image.expression}_{image.series}_{image.number}{ending}"
            search.add(image_id, image.path, subject, image.expression)
    if several:
        search.notes.append(
            f"{several} names come with several ages or sexes and count as one person each; if they are "
            'several people, set the option person = "name_sex_age"'
        )


def _person_hash(key: tuple[str, ...], path: str) -> str:
    digest = hashlib.sha256("\x1f".join(key).encode() + b"\0" + Path(path).read_bytes())
    return digest.hexdigest()[:_FEGA_DIGITS]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _file_hash(path: str) -> str:
    """Return what a file is called among what is left out."""
    try:
        return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
    except OSError:
        return "(unreadable)"


def _check_subject(value: Any, setting: str) -> None:
    check_type(value, setting, str)
    try:
        re.compile(value)
    except re.error as error:
        raise SettingsError(f"'{setting}' is no regular expression: {value!r} ({error}).") from None


OWN = Database(
    title="a folder of your own, under any other name",
    read=read_own,
    layout="manifest.csv (columns image_id, path, subject, expression, optionally intensity, fold); or one "
    "folder per expression; or CV1 ... CV5 and CV1_test ... CV5_test with one folder per expression",
    use="yours to know: the persons' consent, and the licence of the images",
    access="your own folder",
    reference="as its owner asks",
    options={
        "layout": Option(
            lambda value, setting: check_option(value, setting, LAYOUTS),
            f"{', '.join(LAYOUTS)} (default: what is there)",
        ),
        "subject": Option(
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
            "frames": Option(
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
            _JAFFE_CODES,
            "KA.AN1.39.tiff or KA_AN1_39.png",
            "{subject}.{code}{take}.{number}",
        ),
        layout="KA.AN1.39.tiff or KA_AN1_39.png, at any depth",
        use="non-commercial scientific research; copies are not passed on; each publication cites the source",
        access="by request, following the instructions at https://zenodo.org/record/3451524",
        reference="Lyons, Akamatsu, Kamachi, Gyoba, Coding Facial Expressions with Gabor Wavelets, FG 1998",
        images=dict(zip(_JAFFE_CODES.values(), (30, 29, 32, 31, 31, 30, 30), strict=True)),
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
            "sheet": Option(
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
            "frames": Option(_check_frames, f"numbers of the frames to take (default {list(_BU_FRAMES)})")
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
            "person": Option(
                lambda value, setting: check_option(value, setting, _FEGA_PERSONS),
                "'name' (default): one name is one person; 'name_sex_age': sex and age tell people apart",
            )
        },
        private=True,
    ),
}
"""The databases known by name."""
