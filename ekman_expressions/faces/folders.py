"""Folders of faces: searching them, tables of images, folders per expression."""

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
from ekman_expressions.core.expressions import find_expression, meant
from ekman_expressions.core.files import read_table

_COLUMNS = ("image_id", "path", "subject", "expression")
_EXAMPLES = 10  # items that a message names
_IMAGES = tuple(".png .tif .tiff .jpg .jpeg .jpe .jfif .bmp .webp .gif .pgm .ppm .pnm .avif .jp2".split())
# What lies beside images and is none; every other file is listed as left out.
_NO_IMAGES = re.compile(
    r".*\.(txt|csv|tsv|json|jsonl|xml|ya?ml|md|rst|pdf|rtf|docx?|xlsx?|html?|wrl|obj|bnd|npy|npz|mat|pts|pkl|log|ini|db|py|m|sh)"
    r"|readme|licen[cs]e|copying",
    re.IGNORECASE,
)
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz")
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
_IMAGE_ID = re.compile(r"[A-Za-z0-9._-]{1,200}")
_LONGEST_ID = 120

_Pattern = str | re.Pattern[str]
_Labels = Mapping[str, str] | None
"""What labels stand for that are no expressions: see `parse_expression`."""


class _Search:
    """A pass over a database's folder: which images can be used, and which cannot, and why. Where it is
    `private`, file names tell who is seen, and none appears in a message.
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

    def omit(self, item: str, reason: object) -> None:
        """Record why `item` is not used; a path is told below the root, or as SHA-256 where it is private."""
        text = self._item(item) if os.path.isabs(item) else item
        # Names that are not valid UTF-8 come as lone surrogates, which cannot be written to any file.
        text = text.replace("\\", "/").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self.left_out.append((unicodedata.normalize("NFC", text), str(reason)))

    def omit_second_files(self) -> None:
        """Keep the first of several files with one id (in any case)."""
        first: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            kept = first.setdefault(row["image_id"].lower(), row)
            if kept is not row:
                used = self._item(kept["path"])
                self.omit(row["path"], f"a second file for {row['image_id']}; {used} is used")
        self.rows = list(first.values())

    def _item(self, path: str) -> str:
        if not self.private:
            return self.relative(path)
        try:
            return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
        except OSError:
            return "(hidden)"

    def relative(self, path: Path | str) -> str:
        """Return a path relative to the root, with ``/``."""
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def images(self, suffixes: tuple[str, ...] = _IMAGES) -> Iterator[tuple[str, str]]:
        """Yield the files with a suffix below the root: path, and relative path with ``/``, in NFC."""
        from tqdm import tqdm

        def unopened(error: OSError) -> None:
            self.omit(error.filename, f"the folder cannot be opened ({error.strerror})")

        seen = set()
        walk = os.walk(self.root, followlinks=True, onerror=unopened)
        for inside, folders, names in tqdm(walk, desc=f"Searching {self.name}", unit="folder", delay=1):
            # A link to a folder above would lead round in circles.
            if os.path.realpath(inside) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(inside))
            folders[:] = sorted(name for name in folders if not _is_ignored(name))
            for name in sorted(name for name in names if not _is_ignored(name)):
                path, ending = os.path.join(inside, name), os.path.splitext(name)[1]
                if name.lower().endswith(suffixes):
                    relative = self.relative(path)
                    try:
                        relative.encode()
                    except UnicodeEncodeError:
                        self.omit(path, "its name is not valid UTF-8: rename the file")
                    else:
                        yield path, unicodedata.normalize("NFC", relative)
                elif suffixes is _IMAGES and not _NO_IMAGES.fullmatch(name):
                    archive = ending.lower() in _ARCHIVES
                    what = "an archive: unpack it" if archive else "no image that can be read"
                    self.omit(path, what + ("" if self.private else f" ({ending or 'no suffix'})"))

    def by_picture(self, files: Iterable[tuple[str, str]], key: Callable[[str], str]) -> dict[str, str]:
        """Return the first file (path, relative) of each picture, by its `key`; leave out the others."""
        first: dict[str, str] = {}
        for path, relative in files:
            if first.setdefault(key(relative), path) is not path:
                self.omit(path, "another file of the same picture is used")
        return first

    def matches(
        self, pattern: str, example: str, suffixes: tuple[str, ...] = _IMAGES
    ) -> list[tuple[str, dict[str, str]]]:
        """Return files whose path without suffix ends in a pattern, with its groups; leave out others."""
        compiled, found = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE), []
        for path, relative in self.images(suffixes=suffixes):
            if match := compiled.fullmatch(os.path.splitext(relative)[0]):
                found.append((path, match.groupdict()))
            else:
                self.omit(path, f"its name is not like {example}")
        if not found:
            raise self.not_found(f"file like {example}")
        return found

    def not_found(self, wanted: str, *, advice: str = "Correct the root in [faces.roots]") -> MissingError:
        """Return the error that says what was looked for in the root, and what is there instead."""
        if not self.root.exists():
            found = "that folder does not exist"
        elif not self.root.is_dir():
            found = "that is a file, not a folder"
        else:
            items = sorted(item for item in self.root.iterdir() if not _is_ignored(item.name))
            names = [item.name + ("/" if item.is_dir() else "") for item in items]
            if self.private:
                folders = sum(name.endswith("/") for name in names)
                found = f"it holds {folders} folders and {len(names) - folders} files"
            else:
                found = f"it holds {', '.join(names[:10]) or 'nothing'}{' ...' if len(names) > 10 else ''}"
            if any(item.suffix.lower() in _ARCHIVES for item in items):
                advice = "Unpack the archives there"
            elif any(item.is_dir() and find_expression(item.name) for item in items):
                advice += "; folders named like expressions are read under any other name, with the option 'subject'"
        return MissingError(f"There is no {wanted} in {self.root}: {found}. {advice}.")


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


# Ids


def _safe_ids(names: Sequence[str]) -> list[str]:
    """Make ids that may name files out of relative paths: ``anger/S5_1.png`` is ``anger_S5_1``. Where a path
    has other letters, or two would get one id (in any case), 8 digits of its hash follow.
    """
    joined = [os.path.splitext(name)[0].replace("/", "_") for name in names]
    plain = []
    for text in joined:
        letters = unicodedata.normalize("NFKD", text)
        kept = "".join(letter for letter in letters if not unicodedata.combining(letter))
        plain.append(re.sub("[^A-Za-z0-9._-]+", "-", kept)[:_LONGEST_ID])
    often = Counter(text.lower() for text in plain)
    ids = []
    for name, before, after in zip(names, joined, plain, strict=True):
        digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode()).hexdigest()[:8]
        ids.append(after if before == after and often[after.lower()] == 1 else f"{after}-{digest}")
    return ids


def check_ids(image_ids: Iterable[str], where: object) -> None:
    """Raise `DataError` unless ids can name files, in the folder where they belong and nowhere else."""
    for image_id in image_ids:
        if not _IMAGE_ID.fullmatch(image_id):
            raise DataError(
                f"{where} has the image_id {image_id[:30]!r} of {len(image_id)} letters. It names files: use "
                "letters, digits, '.', '_' and '-' only, at most 200."
            )


# Tables


def _read_manifest(search: _Search, labels: _Labels = None) -> pd.DataFrame:
    """Read a folder's ``manifest.csv``: absolute paths, canonical expressions; other labels are left out."""
    root, path = search.root, search.root / "manifest.csv"
    if not path.is_file():
        advice = (
            f"Write a manifest.csv with the columns {', '.join(_COLUMNS)}, say by the option 'labels' what folders "
            'stand for, such as labels = { Freude = "happiness" }, or correct the root in [faces.roots]'
        )
        raise search.not_found("manifest.csv, and no folder named like an expression,", advice=advice)
    rows = read_table(path, _COLUMNS)
    if rows.empty:
        raise DataError(f"{path} lists no images.")
    for column in _COLUMNS:
        if len(empty := rows.index[rows[column] == ""]):
            lines = ", ".join(str(number + 2) for number in empty[:_EXAMPLES])
            raise DataError(f"{path} has no {column} in line {lines}. Fill it in or delete the line.")
    check_ids(rows["image_id"], path)
    # Some file systems do not tell a.png from A.png.
    twice = rows["image_id"][rows["image_id"].str.lower().duplicated(keep=False)]
    if len(twice):
        raise DataError(
            f"{path} uses an image_id more than once (upper and lower case count as one): "
            f"{', '.join(sorted(set(twice))[:_EXAMPLES])}. Give each image an id of its own."
        )
    for relative in rows["path"]:
        # Judged as Windows does, which knows both separators and drives.
        if ".." in PureWindowsPath(relative).parts or PureWindowsPath(relative).anchor:
            raise DataError(
                f"{path} names the image {relative!r}. Paths must be relative to {root} and stay inside it."
            )
    rows["path"] = _inside(root, rows["path"])
    named = set(rows["path"])
    if others := [relative for picture, relative in _Search(root).images() if picture not in named]:
        search.notes.append(f"manifest.csv does not name {len(others)} pictures that lie there, such as {others[0]}")
    if absent := [search.relative(picture) for picture in rows["path"] if not os.path.exists(picture)]:
        search.notes.append(f"manifest.csv names {len(absent)} pictures that are not there, such as {absent[0]}")
    known = rows["expression"].map(lambda name: find_expression(name, labels) or "")
    for row in rows[known == ""].itertuples():
        advice = " Say what numbers stand for by the option 'labels'." if row.expression.isdigit() else ""
        search.omit(row.image_id, f"its label {row.expression!r} is no expression.{advice}")
    rows = rows.assign(expression=known)[known != ""].reset_index(drop=True)
    if "intensity" in rows:
        given = rows["intensity"].str.replace(",", ".")
        rows["intensity"] = pd.to_numeric(given, errors="coerce")
        wrong = rows[(given != "") & ~rows["intensity"].between(0, 1)]
        if len(wrong):
            raise DataError(
                f"{path}, image {wrong['image_id'].iloc[0]}: intensity must be a number in [0, 1] or empty, "
                f"but got {given[wrong.index[0]]!r}."
            )
    return rows


def _inside(root: Path, relatives: Iterable[str]) -> list[str]:
    """Return paths below `root`, also of names as Windows or a Mac writes them: separators, case, accents."""
    listings: dict[Path, dict[str, str]] = {}
    found = []
    for relative in relatives:
        path = root / relative
        # Not `Path.exists`, which raises where a name is too long.
        if not os.path.exists(path) and not Path(relative).is_absolute():
            path = root
            for part in PureWindowsPath(relative).parts:
                if path not in listings:
                    names = os.listdir(path) if path.is_dir() else ()
                    listings[path] = {unicodedata.normalize("NFC", name).casefold(): name for name in names}
                path /= listings[path].get(unicodedata.normalize("NFC", part).casefold(), part)
        found.append(str(path))
    return found


# A folder of one's own


def _read_own(search: _Search, *, subject: _Pattern | None, labels: _Labels) -> None:
    """Read a folder of one's own: a manifest, or a folder per expression; for `subject` see `_person_in`."""
    has_table = (search.root / "manifest.csv").is_file()
    if has_table and subject is not None:
        raise SettingsError("The option 'subject' has no effect on a manifest.csv: it has a column for that.")
    if has_table or not _read_class_folders(search, list(search.images()), subject, labels):
        search.rows = _read_manifest(search, labels)


def _read_class_folders(
    search: _Search, images: Sequence[tuple[str, str]], subject: _Pattern | None, labels: _Labels
) -> bool:
    """Read a tree with a folder per expression, at one depth: ``train/happy/``; False if it is none."""
    depth = _expression_depth([relative for _, relative in images], labels)
    if depth is None:
        return False
    if subject is None:
        raise SettingsError(
            f"For the folders in {search.root}, say how to tell who is seen: the option 'subject', a regular "
            "expression for the path, such as subject = '(S\\d+)_'; or '.+' if each image shows "
            "another person. Without it, one person might be in training and test images."
        )
    pattern = re.compile(subject)
    for path, relative in images:
        parts = relative.split("/")[:-1]
        expression = find_expression(parts[depth], labels) if depth < len(parts) else None
        person = _person_in(relative, pattern)
        if depth >= len(parts):
            search.omit(relative, "in no expression's folder")
        elif expression is None:
            search.omit(relative, f"its folder {parts[depth]} is no expression.{meant(parts[depth])}")
        elif not person:
            search.omit(relative, f"the pattern {pattern.pattern!r} for the subject finds nothing in its path")
        else:
            search.add(relative, path, person, expression)
    image_ids = _safe_ids([row["image_id"] for row in search.rows])
    search.rows = [row | {"image_id": image_id} for row, image_id in zip(search.rows, image_ids, strict=True)]
    # Some file systems keep one name composed and decomposed.
    search.omit_second_files()
    return True


def _expression_depth(relatives: Sequence[str], labels: _Labels = None) -> int | None:
    """Return the depth of the folders named by expressions, 0 the outermost: that with most images (short
    names such as SA may be persons), then most expressions. `DataError` if two are alike.
    """
    named: dict[int, list[str]] = {}
    for relative in relatives:
        for depth, part in enumerate(relative.split("/")[:-1]):
            if find_expression(part, labels):
                named.setdefault(depth, []).append(part)
    ranks = {
        depth: (len(parts), len({find_expression(part, labels) for part in set(parts)}))
        for depth, parts in named.items()
    }
    best = [depth for depth in sorted(ranks) if ranks[depth] == max(ranks.values())]
    if len(best) > 1:
        names = [", ".join(sorted(set(named[depth]))[:6]) for depth in best[:2]]
        raise DataError(
            f"Folders at two depths are named like expressions: {names[0]}; and below them {names[1]}. Which are "
            "persons? Rename those, or write a manifest.csv."
        )
    return best[0] if best else None


def _person_in(relative: str, pattern: _Pattern) -> str | None:
    """Return who a path shows: what the pattern's group ``subject``, else its first, else all of it finds."""
    match = re.search(pattern, relative)
    return match and match[match.re.groupindex.get("subject", min(match.re.groups, 1))]
