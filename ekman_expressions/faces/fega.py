"""FEGA: expressions of 51 people, whose names are in the file names and must not get any further.

A hash of a name alone would not hide it: whoever guesses the name computes the same hash. So a
person's id is a hash of the name *and* of the bytes of the person's first image. It can only be
computed by someone who has that image, whose name tells more than the id; and unlike a number in
a list, or a random salt, it is the same in each copy, whoever else is in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from ekman_expressions.core.errors import check_option
from ekman_expressions.faces import listing, terms
from ekman_expressions.faces.contract import Database, Findings, Option

LABELS = {
    "arrabbiato": "anger",
    "disgusto": "disgust",
    "paura": "fear",
    "allegria": "happiness",
    "tristezza": "sadness",
    "sorpresa": "surprise",
    "neutra": "neutral",
}
"""Expressions by the Italian words in the file names, in lower case."""

SUBJECTS = 51
PERSONS = ("name", "name_sex_age")
"""What makes two images one person's; see `survey`."""

_WANTED = "image with a name like 0_F_<age>_<name>_<Label>_<n>.png"
_NAME = re.compile(r"(\d+)_([A-Za-z])_([^_]*)_(.+)_([^_]+)_(\d+)")
_DIGITS = 10


@dataclass(frozen=True)
class _Image:
    """What a file name says."""

    path: str
    series: str
    sex_and_age: tuple[str, str]
    name: str
    expression: str
    number: str


def survey(root: Path, *, person: str = "name") -> Findings:
    """Look through a copy of FEGA.

    Parameters
    ----------
    root : Path
        The folder with the images, at any depth.
    person : {'name', 'name_sex_age'}
        ``name``: files with one name show one person, so that nobody can be split between
        folds; ``name_sex_age``: sex and age tell people of one name apart.

    Returns
    -------
    Findings
        Rows without any name but in `path`. What is left out is called by the SHA-256 of the
        file's bytes (as ``sha256sum`` prints it), so that the owner of the files can find it.

    Raises
    ------
    MissingError
        If no image is named as in FEGA.
    """
    listing.require_folder(root, _WANTED, private=True)
    # Paths come in a hidden collection of their own, since items and reasons may hold names.
    hidden, findings = Findings(), Findings(expected_subjects=SUBJECTS)
    images: list[_Image] = []
    matched = False
    strange: list[tuple[str, str]] = []
    for path, relative in listing.image_files(root, hidden, "fega"):
        match = _NAME.fullmatch(os.path.splitext(os.path.basename(relative))[0])
        if match is None:
            strange.append((path, "its name is not like 0_F_<age>_<name>_<Label>_<n>.png"))
            continue
        matched = True
        series, sex, age, name, label, number = match.groups()
        if label.lower() not in LABELS:
            strange.append((path, f"its label is none of {', '.join(LABELS)}"))
        elif not _size(path):
            # The bytes of the first image keep a person's id from being guessed: it must have some.
            strange.append((path, "the file is empty or cannot be read"))
        else:
            name = " ".join(unicodedata.normalize("NFC", name).casefold().split())
            kind = (sex.lower(), age.strip())
            images.append(_Image(path, series, kind, name, LABELS[label.lower()], number))
    if not matched:
        raise listing.wrong_root(root, _WANTED, private=True)
    for path, reason in strange:
        findings.omit(_file_hash(path), reason)
    for _, reason in hidden.left_out:
        findings.omit("(hidden)", reason)
    _add_persons(findings, images, person)
    findings.drop_second_files(_file_hash)
    return findings


def _add_persons(findings: Findings, images: list[_Image], person: str) -> None:
    """Add the images, people being told apart as `person` says."""
    persons: dict[tuple[str, ...], list[_Image]] = {}
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
                findings.omit("(hidden)", f"the file cannot be read ({error.strerror})")
                continue
            # Sex and age would tell who is meant among few people: a running number will do.
            kind = kinds.index(image.sex_and_age)
            ending = f"-{kind + 1}" if kind else ""
            image_id = f"{subject}_{image.expression}_{image.series}_{image.number}{ending}"
            findings.add(image_id, image.path, subject, image.expression)
    if several:
        findings.notes.append(
            f"{several} names come with several ages or sexes and count as one person each; if they are "
            'several people, set the option person = "name_sex_age"'
        )


def _person_hash(key: tuple[str, ...], path: str) -> str:
    """Return a person's id; see the module's docstring."""
    return hashlib.sha256("\x1f".join(key).encode() + b"\0" + Path(path).read_bytes()).hexdigest()[:_DIGITS]


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


DATABASE = Database(
    title="Facial Expression, Gender and Age (FEGA)",
    survey=survey,
    layout="0_F_<age>_<name>_<Label>_<n>.png, at any depth (Allegria Tristezza Paura Arrabbiato Neutra "
    "Sorpresa Disgusto)",
    terms=terms.FEGA,
    subjects=SUBJECTS,
    options={
        "person": Option(
            check=lambda value, setting: check_option(value, setting, PERSONS),
            help="'name' (default): one name is one person; 'name_sex_age': sex and age tell people apart",
        )
    },
    private=True,
)
