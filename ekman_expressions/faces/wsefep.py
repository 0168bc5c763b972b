"""WSEFEP: validated pictures of thirty actors (Olszanowski et al. 2015); labels from the norms sheet."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from ekman_expressions.core.errors import DataError, SettingsError, check_type
from ekman_expressions.core.expressions import EXPRESSIONS, parse_expression
from ekman_expressions.faces import listing, terms
from ekman_expressions.faces.contract import Database, Findings, Option

COUNTS = dict.fromkeys((*EXPRESSIONS, "neutral"), 30)
"""Pictures in a complete copy: 210."""

COLUMNS = ("displayer id", "picture id", "display")
"""Columns of the norms sheet that are read, in lower case."""

_WANTED = "norms sheet (.csv with the columns Displayer ID, Picture ID, Display)"
_HEADER_WITHIN = 20


def survey(root: Path, *, sheet: str | None = None) -> Findings:
    """Look through a copy of WSEFEP.

    Parameters
    ----------
    root : Path
        The folder with the pictures and the sheet, at any depth.
    sheet : str, optional
        The sheet, relative to `root`, where several files look like one.

    Returns
    -------
    Findings
        Rows of pictures that the sheet labels. Rows without picture and pictures without row
        are left out. Who is seen is what the sheet says: ids such as MK and MK1 are two people.

    Raises
    ------
    MissingError
        If there is no sheet.
    SettingsError
        If there are several.
    """
    listing.require_folder(root, _WANTED)
    findings = Findings(expected=COUNTS, expected_subjects=30)
    path = _sheet(root, sheet)
    pictures: dict[str, tuple[str, str]] = {}
    for image, relative in listing.image_files(root, findings, "wsefep"):
        key = _picture(os.path.basename(relative))
        if key in pictures:
            findings.omit(relative, f"a second file for one picture; {pictures[key][1]} is used")
        else:
            pictures[key] = (image, relative)
    rows = _rows(path)
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
                findings.add(listing.safe_ids([os.path.basename(relative)])[0], image, displayer, expression)
            except DataError:
                reason = f"the display {display!r} is no expression"
        if reason:
            findings.omit(f"{path.relative_to(root).as_posix()}, line {line}", reason)
    for _, relative in pictures.values():
        findings.omit(relative, "not in the sheet")
    findings.notes.append(f"labels from {path.relative_to(root).as_posix()}")
    return findings


def _sheet(root: Path, given: str | None) -> Path:
    """Return the norms sheet."""
    if given is not None:
        path = root / given
        if not path.is_file():
            raise listing.wrong_root(root, f"sheet {given}")
        if _separator(_text(path)) is None:
            raise DataError(f"{path} has no line with the columns Displayer ID, Picture ID and Display.")
        return path
    tables = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in (".csv", ".txt", ".tsv")
        and path.is_file()
        and not listing.is_ignored(path.name)
    )
    sheets = [path for path in tables if _separator(_text(path)) is not None]
    if not sheets:
        books = sorted(item.name for item in root.rglob("*.xls*") if not listing.is_ignored(item.name))
        hint = f" (save {books[0]} as CSV)" if books else ""
        raise listing.wrong_root(root, _WANTED + hint)
    if len(sheets) > 1:
        names = ", ".join(path.relative_to(root).as_posix() for path in sheets)
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
            if all(column in names for column in COLUMNS):
                return separator
    return None


def _rows(path: Path) -> list[tuple[int, str, str, str]]:
    """Return line number, displayer, picture and display of each row."""
    text = _text(path)
    reader = csv.reader(io.StringIO(text), delimiter=_separator(text))
    rows, places = [], []
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        headings = [_heading(cell) for cell in cells]
        if not places and all(column in headings for column in COLUMNS):
            places = [headings.index(column) for column in COLUMNS]
        elif places and any(cells):
            rows.append((reader.line_num, *(cells[place] if place < len(cells) else "" for place in places)))
    return rows


def _heading(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())


def _picture(name: str) -> str:
    """Return a picture's id without suffix, in lower case: sheets spell it in several ways."""
    name = name.strip()
    return (os.path.splitext(name)[0] if listing.is_image(name) else name).strip().lower()


DATABASE = Database(
    title="Warsaw Set of Emotional Facial Expression Pictures (WSEFEP)",
    survey=survey,
    layout="AD_7950.jpg, at any depth, and the norms sheet as .csv (columns Displayer ID, Picture ID, "
    "Display; separated by ',' or ';')",
    terms=terms.WSEFEP,
    images=COUNTS,
    subjects=30,
    options={
        "sheet": Option(
            check=lambda value, setting: check_type(value, setting, str),
            help="the norms sheet relative to the root, where several files look like one",
        )
    },
)
