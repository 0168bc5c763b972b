"""Folders of faces: searching them, tables of images, folders per expression, folders per fold."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS, parse_expression
from ekman_expressions.core.files import read_csv

COLUMNS = ("image_id", "path", "subject", "expression")
"""Columns that a table of images must have."""

LAYOUTS = ("manifest", "folders", "cross_validation")
"""How a folder of one's own may be laid out."""

_IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".webp")
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
_CLASS_FOLDER = f"folder named like an expression ({', '.join(EXPRESSIONS)}, or a synonym) with images"
_FOLD_FOLDER = re.compile(r"CV([1-9]\d*)(_test)?")
_FOLD_FOLDERS = "pair of folders like CV1 and CV1_test, with a folder per expression in each,"
_IMAGE_ID = re.compile(r"[A-Za-z0-9._-]+")
_LONGEST_ID = 120
# Letters that Unicode does not decompose into a plain letter and a mark.
_PLAIN = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L",
     "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}
)  # fmt: skip


class Search:
    """One pass over a database's folder: which images can be used, which cannot, and why.

    Parameters
    ----------
    root : Path
        The folder.
    name : str
        The database's name, for the progress bar.
    private : bool
        Whether file names say who is seen: then none appears in a message.

    Attributes
    ----------
    rows : list of dict, or DataFrame
        One per image; see `add`.
    left_out : list of (item, reason)
        Images that are not used; items are paths relative to the root.
    notes : list of str
        What else a reader should know.
    expected : dict of str to int
        Images per expression in a complete copy; empty where unknown.
    expected_subjects : int or None
        Persons with a usable image in a complete copy.
    """

    def __init__(self, root: Path, name: str = "", *, private: bool = False) -> None:
        self.root, self.name, self.private = root, name, private
        self.rows: list[dict[str, Any]] | pd.DataFrame = []
        self.left_out: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.expected: Mapping[str, int] = {}
        self.expected_subjects: int | None = None

    def add(self, image_id: str, path: Path | str, subject: str, expression: str, **more: Any) -> None:
        """Keep an image; `more` are further columns."""
        self.rows.append(
            {"image_id": image_id, "path": str(path), "subject": subject, "expression": expression, **more}
        )

    def omit(self, item: Path | os.DirEntry | str, reason: object) -> None:
        """Record that `item` is not used, and why."""
        text = item if isinstance(item, str) else self.relative(item)
        # Names that are not valid UTF-8 come as lone surrogates, which cannot be written to any file.
        text = text.replace("\\", "/").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self.left_out.append((unicodedata.normalize("NFC", text), str(reason)))

    def omit_second_files(self, name_of: Callable[[str], str] | None = None) -> None:
        """Keep the first of several files with one id (in any case); `name_of` names a path's item."""
        name_of = name_of or self.relative
        first: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            kept = first.setdefault(row["image_id"].lower(), row)
            if kept is not row:
                reason = f"a second file for {row['image_id']}; {name_of(kept['path'])} is used"
                self.omit(name_of(row["path"]), reason)
        self.rows = list(first.values())

    def relative(self, path: Path | os.DirEntry | str) -> str:
        """Return a path relative to the root, with ``/``."""
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def entries(self, folder: Path | os.DirEntry | str) -> list[os.DirEntry]:
        """Return a folder's entries by name, without what operating systems leave behind."""
        with os.scandir(folder) as entries:
            kept = [item for item in entries if not _is_ignored(item.name)]
        return sorted(kept, key=lambda item: item.name)

    def progress(self, items: Iterable[Any], unit: str) -> Iterable[Any]:
        """Show a progress bar while going through `items`, if that takes longer than a second."""
        from tqdm import tqdm

        return tqdm(items, desc=f"Searching {self.name}", unit=unit, delay=1)

    def images(self, folder: Path | None = None) -> Iterator[tuple[str, str]]:
        """Go through all image files below `folder` (the root), links to folders included, by name.

        Folders that cannot be opened, and names that no program can write, are left out.

        Yields
        ------
        path : str
            The file.
        relative : str
            The same relative to `folder`, with ``/``, composed (NFC) as on Linux and Windows.
        """
        folder = self.root if folder is None else folder

        def unopened(error: OSError) -> None:
            self._omit_hidden(error.filename, f"the folder cannot be opened ({error.strerror})")

        seen = set()
        walk = os.walk(folder, followlinks=True, onerror=unopened)
        for inside, folders, names in self.progress(walk, "folder"):
            status = os.stat(inside)
            # A link to a folder above would lead round in circles.
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not _is_ignored(name))
            for name in sorted(names):
                if _is_ignored(name) or not is_image(name):
                    continue
                path = os.path.join(inside, name)
                relative = os.path.relpath(path, folder).replace(os.sep, "/")
                try:
                    relative.encode()
                except UnicodeEncodeError:
                    self._omit_hidden(path, "its name is not valid UTF-8: rename the file")
                    continue
                yield path, unicodedata.normalize("NFC", relative)

    def folders_holding(self, name: re.Pattern, depth: int = 2) -> list[Path]:
        """Return the folders at or below the root that directly hold folders of a name, topmost first.

        Unpacked archives often bring one folder more, so up to `depth` levels are searched.
        """
        level, found = [Path(self.root)], []
        for _ in range(depth + 1):
            below = []
            for folder in level:
                inside = [Path(item.path) for item in self.entries(folder) if item.is_dir()]
                if any(name.fullmatch(item.name) for item in inside):
                    found.append(folder)
                else:
                    below += inside
            level = below
        return found

    def require_folder(self, wanted: str) -> None:
        """Raise `not_found` unless the root is a folder."""
        if not self.root.is_dir():
            raise self.not_found(wanted)

    def not_found(self, wanted: str, root: Path | None = None, *, advice: str = "") -> MissingError:
        """Return the error that says what was looked for in the root, and what is there instead."""
        root = self.root if root is None else root
        if not root.exists():
            found = "that folder does not exist"
        elif not root.is_dir():
            found = "that is a file, not a folder"
        else:
            names = [item.name + ("/" if item.is_dir() else "") for item in self.entries(root)]
            if self.private:
                folders = sum(name.endswith("/") for name in names)
                found = f"it holds {folders} folders and {len(names) - folders} files"
            else:
                more = " ..." if len(names) > 10 else ""
                found = "it holds " + (", ".join(names[:10]) or "nothing") + more
        advice = advice or "Correct the root in [faces.roots]"
        return MissingError(f"There is no {wanted} in {root}: {found}. {advice}.")

    def _omit_hidden(self, path: str, reason: str) -> None:
        self.omit("(hidden)" if self.private else self.relative(path), reason)


def is_image(name: str) -> bool:
    """Say whether a file is an image, by its suffix."""
    return name.lower().endswith(_IMAGES)


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


# Ids


def safe_ids(names: Sequence[str]) -> list[str]:
    """Make ids that may name files out of different relative paths.

    Letters lose their accents, folders are joined by ``_``, the suffix goes, and what else is no
    letter, digit, ``.``, ``_`` or ``-`` becomes ``-``. Where that loses something, or two paths
    would get one id (upper and lower case count as one), 8 digits of the path's SHA-256 follow.

    Examples
    --------
    >>> safe_ids(["anger/S005_001.png", "joy/José 1.jpg"])
    ['anger_S005_001', 'joy_Jose-1-9f9bfbab']
    """
    plain = [_plain_id(name) for name in names]
    often = Counter(text.lower() for text, _ in plain)
    return [
        text if exact and often[text.lower()] == 1 else f"{text}-{_digest(name)}"
        for name, (text, exact) in zip(names, plain, strict=True)
    ]


def _plain_id(name: str) -> tuple[str, bool]:
    """Return a path as a readable id, and whether nothing but folders and suffix was lost."""
    joined = os.path.splitext(name)[0].replace("/", "_")
    letters = unicodedata.normalize("NFKD", joined.translate(_PLAIN))
    kept = "".join(letter for letter in letters if not unicodedata.combining(letter))
    text = re.sub("[^A-Za-z0-9._-]+", "-", kept)
    return text[:_LONGEST_ID], text == joined and len(text) <= _LONGEST_ID


def _digest(name: str) -> str:
    return hashlib.sha256(unicodedata.normalize("NFC", name).encode()).hexdigest()[:8]


def check_ids(image_ids: Iterable[str], where: object) -> None:
    """Raise `DataError` unless ids can name files, in the folder where they belong and nowhere else."""
    for image_id in image_ids:
        if not _IMAGE_ID.fullmatch(image_id):
            raise DataError(
                f"{where} has the image_id {image_id!r}. It names files: use letters, digits, "
                "'.', '_' and '-' only."
            )


# Tables


def read_manifest(root: Path) -> pd.DataFrame:
    """Read ``manifest.csv`` in a folder of faces.

    Parameters
    ----------
    root : Path
        The folder. Its manifest has at least the columns ``image_id, path, subject,
        expression``, `path` being relative to the folder; further columns are kept.

    Returns
    -------
    DataFrame
        The rows with absolute paths, see `check_table`.

    Raises
    ------
    MissingError
        If there is no such folder or no manifest in it.
    DataError
        If the table is not as it must be.
    """
    root = Path(root).expanduser().resolve()
    path = root / "manifest.csv"
    if not path.is_file():
        advice = f"Write one with the columns {', '.join(COLUMNS)}, or correct the root in [faces.roots]"
        raise Search(root).not_found("manifest.csv", advice=advice)
    # Texts stay texts: "NA" may be a person, and "007" is not 7.
    rows = read_csv(path, COLUMNS, dtype=str, keep_default_na=False)
    for relative in rows["path"]:
        # Judged as Windows does, which knows both separators and drives.
        if ".." in PureWindowsPath(relative).parts or PureWindowsPath(relative).anchor:
            raise DataError(
                f"{path} names the image {relative!r}. Paths must be relative to {root} and stay inside it."
            )
    rows["path"] = [str(root / relative) for relative in rows["path"]]
    return check_table(rows, str(path))


def check_table(rows: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return a table of images with canonical expressions, or say what is wrong with it.

    Parameters
    ----------
    rows : DataFrame
        At least ``image_id, path, subject, expression``, all texts.
    where : str
        Where the rows come from, for messages.

    Raises
    ------
    DataError
        If a column is missing, a cell empty, an `image_id` unsafe as a file name or used
        twice, an expression unknown, or an intensity no number in [0, 1].
    """
    missing = [column for column in COLUMNS if column not in rows.columns]
    if missing:
        raise DataError(f"{where} lacks the columns {', '.join(missing)}; needed are {', '.join(COLUMNS)}.")
    if rows.empty:
        raise DataError(f"{where} lists no images.")
    rows = rows.reset_index(drop=True)
    for column in COLUMNS:
        empty = rows.index[rows[column].str.strip() == ""]
        if len(empty):
            lines = ", ".join(str(number + 2) for number in empty[:10])
            raise DataError(f"{where} has no {column} in line {lines}. Fill it in or delete the line.")
    check_ids(rows["image_id"], where)
    # Some file systems do not tell a.png from A.png.
    twice = rows["image_id"][rows["image_id"].str.lower().duplicated(keep=False)]
    if len(twice):
        raise DataError(
            f"{where} uses an image_id more than once (upper and lower case count as one): "
            f"{', '.join(sorted(set(twice))[:10])}. Give each image an id of its own."
        )
    expressions = []
    for image_id, name in zip(rows["image_id"], rows["expression"], strict=True):
        try:
            expressions.append(parse_expression(name))
        except DataError as error:
            raise DataError(f"{where}, image {image_id}: {error}") from None
    rows["expression"] = expressions
    if "intensity" in rows:
        rows["intensity"] = _intensities(rows, where)
    return rows


def _intensities(rows: pd.DataFrame, where: str) -> pd.Series:
    given = rows["intensity"].astype(str).str.strip()
    numbers = pd.to_numeric(given, errors="coerce")
    wrong = (given != "") & ~numbers.between(0, 1)
    if wrong.any():
        first = rows[wrong].iloc[0]
        raise DataError(
            f"{where}, image {first['image_id']}: intensity must be a number in [0, 1] or empty, "
            f"but got {first['intensity']!r}."
        )
    return numbers


# A folder of one's own


def read_own(search: Search, *, layout: str | None = None, subject: str | None = None) -> None:
    """Read a folder of one's own: a manifest, a folder per expression, or folders of given folds.

    Parameters
    ----------
    search : Search
        Where, and where the rows go.
    layout : {'manifest', 'folders', 'cross_validation'}, optional
        By default what is there; a manifest comes first.
    subject : str, optional
        For folders: a regular expression, searched in each image's path relative to the root (with
        ``/``). The person is its group ``subject``, else its first group, else all that matches:
        ``"(S\\d+)_"`` finds S005 in ``happy/S005_001.png``; ``".+"`` makes each image a
        person of its own.

    Raises
    ------
    SettingsError
        If `subject` is missing for folders without given folds, since one person might then be in
        training and test images; or given for a manifest.
    MissingError
        If nothing of the layout is there.
    """
    layout = layout or layout_of(search)
    if layout == "cross_validation":
        _read_given_folds(search, subject)
    elif layout == "folders":
        _read_class_folders(search, subject)
    elif subject is not None:
        raise SettingsError("The option 'subject' has no effect on a manifest.csv: it has a column for that.")
    else:
        search.rows = read_manifest(search.root)


def layout_of(search: Search) -> str:
    """Say how a folder of one's own is laid out; a manifest comes first."""
    if search.root.is_dir() and not (search.root / "manifest.csv").is_file():
        if any(item.is_dir() and _FOLD_FOLDER.fullmatch(item.name) for item in search.entries(search.root)):
            return "cross_validation"
        found = Search(search.root, search.name).images()
        if expression_depth([relative for _, relative in found]) is not None:
            return "folders"
    return "manifest"


def _read_class_folders(search: Search, subject: str | None) -> None:
    """Read a tree with one folder per expression, at one depth: ``happy/``, ``train/happy/``."""
    search.require_folder(_CLASS_FOLDER)
    found = list(search.images())
    depth = expression_depth([relative for _, relative in found])
    if depth is None:
        raise search.not_found(_CLASS_FOLDER)
    if subject is None:
        raise SettingsError(
            f"For the folders in {search.root}, say how to tell who is seen: the option 'subject', a regular "
            "expression for the path, such as subject = '(S\\d+)_'; or '.+' if each image shows "
            "another person. Without it, one person might be in training and test images."
        )
    _add_images(search, found, depth, subject)


def expression_depth(relatives: Sequence[str]) -> int | None:
    """Return at which depth of the paths the folders are named by expressions, 0 being the outermost.

    Short names such as SA may be persons as well, so the depth with most images counts.
    """
    counts = Counter(
        depth
        for relative in relatives
        for depth, part in enumerate(relative.split("/")[:-1])
        if expression_of(part)
    )
    return min(counts, key=lambda depth: (-counts[depth], depth)) if counts else None


def expression_of(name: str) -> str | None:
    """Return the expression that a name stands for, or None."""
    try:
        return parse_expression(name)
    except DataError:
        return None


def _add_images(
    search: Search, found: Sequence[tuple[str, str]], depth: int, subject: str, **more: dict[str, Any]
) -> None:
    """Add the images (path, relative) in folders of expressions; `more`: columns by relative path."""
    kept = []
    for path, relative in found:
        parts = relative.split("/")[:-1]
        expression = expression_of(parts[depth]) if depth < len(parts) else None
        person = person_in(relative, subject)
        if expression is None:
            known = depth < len(parts)
            reason = f"its folder {parts[depth]} is no expression" if known else "in no expression's folder"
            search.omit(relative, reason)
        elif not person:
            search.omit(relative, f"the pattern {subject!r} for the subject finds nothing in its path")
        else:
            kept.append((path, relative, person, expression))
    image_ids = safe_ids([relative for _, relative, _, _ in kept])
    for image_id, (path, relative, person, expression) in zip(image_ids, kept, strict=True):
        columns = {key: value[relative] for key, value in more.items()}
        search.add(image_id, path, person, expression, **columns)
    # Some file systems keep one name composed and decomposed.
    search.omit_second_files(dict(found).__getitem__)


def person_in(relative: str, pattern: str) -> str | None:
    """Return who a path shows: what the pattern's group ``subject``, else its first, else all of it finds."""
    match = re.search(pattern, relative)
    if match is None:
        return None
    if "subject" in match.re.groupindex:
        return match["subject"]
    return match[1] if match.re.groups else match[0]


def _read_given_folds(search: Search, subject: str | None) -> None:
    """Read the layout of the study's own files: ``CV1`` ... for training, ``CV1_test`` ... for test.

    Each image lies in one test folder, which is its fold, and in the training folders of the
    other folds. Images in several test folders, or in training folders only, are left out.
    """
    search.require_folder(_FOLD_FOLDERS)
    training, test = {}, {}
    for item in search.entries(search.root):
        match = _FOLD_FOLDER.fullmatch(item.name)
        if match and item.is_dir():
            (test if match[2] else training)[f"CV{match[1]}"] = Path(item.path)
    absent = [fold for fold in training if fold not in test]
    if not test or absent:
        raise search.not_found(f"test folder {absent[0]}_test" if absent else _FOLD_FOLDERS)
    images: dict[str, dict[str, str]] = {}
    held: dict[str, set[str]] = {}
    for folder in (*training.values(), *test.values()):
        found = {relative: path for path, relative in search.images(folder)}
        held[folder.name] = set(found)
        for relative, path in found.items():
            images.setdefault(relative, {})[folder.name] = path
    depth = expression_depth(list(images))
    if depth is None:
        raise search.not_found("folder named like an expression", min(test.values()))
    folds = sorted(test, key=lambda name: int(name[2:]))
    kept, fold_of = [], {}
    for relative, copies in sorted(images.items()):
        tested = [fold for fold in folds if f"{fold}_test" in copies]
        if len(tested) == 1:
            fold_of[relative] = tested[0]
            kept.append((copies[f"{tested[0]}_test"], relative))
        elif tested:
            search.omit(relative, f"in the test folders of {', '.join(tested)}: its fold is unclear")
        else:
            search.omit(relative, "in training folders only: its fold is unclear")
    for fold in folds:
        if fold in training:
            search.notes += _differences(fold, fold_of, held[fold])
        else:
            search.notes.append(f"{fold} has no training folder: the other folds' test images are used")
    if subject is None:
        search.notes.append(
            "no pattern for the subject is given: folds are as they are, and each image counts as a "
            "person of its own"
        )
    _add_images(search, kept, depth, subject or ".+", fold=fold_of)


def _differences(fold: str, fold_of: dict[str, str], training: set[str]) -> Iterator[str]:
    """Say how a fold's training folder differs from the images of the other folds."""
    leaked = sorted(name for name in training if fold_of.get(name) == fold)
    lacking = sorted(name for name, home in fold_of.items() if home != fold and name not in training)
    if leaked:
        yield (
            f"{fold} has {len(leaked)} of its own test images among its training images (such as "
            f"{leaked[0]}): here they are only tested"
        )
    if lacking:
        yield (
            f"{fold} lacks {len(lacking)} training images that are test images of other folds (such as "
            f"{lacking[0]}): here they are used"
        )
