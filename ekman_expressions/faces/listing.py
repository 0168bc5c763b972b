"""Looking through folders of faces: what to ignore, what to say of a wrong one, and safe ids."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ekman_expressions.core.errors import MissingError
from ekman_expressions.faces.contract import Findings

IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".webp")
"""Suffixes of image files, in any case."""

_IGNORED = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
_LONGEST_ID = 120
# Letters that Unicode does not decompose into a plain letter and a mark.
_PLAIN = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L",
     "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}
)  # fmt: skip


def is_ignored(name: str) -> bool:
    """Say whether a file or folder is what an operating system leaves behind (``.DS_Store``)."""
    return name.startswith(".") or name.lower() in _IGNORED


def is_image(name: str) -> bool:
    """Say whether a file is an image, by its suffix."""
    return name.lower().endswith(IMAGES)


def visible(folder: Path | str) -> list[os.DirEntry]:
    """Return the entries of a folder by name, without those that `is_ignored`."""
    with os.scandir(folder) as entries:
        return sorted((item for item in entries if not is_ignored(item.name)), key=lambda item: item.name)


def progress(items: Iterable[Any], what: str, unit: str) -> Iterable[Any]:
    """Show a progress bar while going through `items`, if that takes longer than a second."""
    from tqdm import tqdm

    return tqdm(items, desc=f"Looking through {what}", unit=unit, delay=1)


def image_files(root: Path, findings: Findings, what: str) -> Iterator[tuple[str, str]]:
    """Go through all image files below `root`, links to folders included, in order of names.

    Parameters
    ----------
    root : Path
        Where to look.
    findings : Findings
        Folders that cannot be opened and names that no program can write are left out here.
    what : str
        The database's name, for the progress bar.

    Yields
    ------
    path : str
        The file.
    relative : str
        The same relative to `root`, with ``/``, composed (NFC) as on Linux and Windows.
    """

    def unopened(error: OSError) -> None:
        # Not the error itself: it holds the path, which may say who is seen.
        findings.omit(_relative(error.filename, root), f"the folder cannot be opened ({error.strerror})")

    seen = set()
    for folder, folders, names in progress(os.walk(root, followlinks=True, onerror=unopened), what, "folder"):
        status = os.stat(folder)
        # A link to a folder above would lead round in circles.
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        for name in sorted(names):
            if is_ignored(name) or not is_image(name):
                continue
            path = os.path.join(folder, name)
            relative = _relative(path, root)
            try:
                relative.encode()
            except UnicodeEncodeError:
                findings.omit(relative, "its name is not valid UTF-8: rename the file")
                continue
            yield path, unicodedata.normalize("NFC", relative)


def folders_holding(root: Path, name: re.Pattern, depth: int = 2) -> list[Path]:
    """Return the folders at or below `root` that directly hold folders of a name, topmost first.

    Unpacked archives often bring one folder more, so up to `depth` levels are looked through.
    """
    level, found = [Path(root)], []
    for _ in range(depth + 1):
        below = []
        for folder in level:
            inside = [Path(item.path) for item in visible(folder) if item.is_dir()]
            if any(name.fullmatch(item.name) for item in inside):
                found.append(folder)
            else:
                below += inside
        level = below
    return found


def wrong_root(root: Path, wanted: str, *, private: bool = False) -> MissingError:
    """Return the error that says what was looked for in a root, and what is there instead.

    Parameters
    ----------
    root : Path
        The folder that was given.
    wanted : str
        What was looked for.
    private : bool
        Whether names of files may say who is seen: then they are counted, not named.
    """
    if not root.exists():
        found = "that folder does not exist"
    elif not root.is_dir():
        found = "that is a file, not a folder"
    else:
        entries = visible(root)
        names = [item.name + ("/" if item.is_dir() else "") for item in entries]
        if private:
            folders = sum(name.endswith("/") for name in names)
            found = f"it holds {folders} folders and {len(names) - folders} files"
        else:
            found = "it holds " + (", ".join(names[:10]) or "nothing") + (" ..." if len(names) > 10 else "")
    return MissingError(f"There is no {wanted} in {root}: {found}. Correct the root in [faces.roots].")


def require_folder(root: Path, wanted: str, *, private: bool = False) -> Path:
    """Return `root` if it is a folder, else raise `wrong_root`."""
    if not root.is_dir():
        raise wrong_root(root, wanted, private=private)
    return root


def safe_ids(names: Sequence[str]) -> list[str]:
    """Make ids that may name files out of relative paths.

    Letters lose their accents, folders are joined by ``_``, the suffix goes, and what else is no
    letter, digit, ``.``, ``_`` or ``-`` becomes ``-``. Where that loses something, or two paths
    would get one id (upper and lower case count as one), 8 digits of the path's SHA-256 follow.

    Parameters
    ----------
    names : sequence of str
        Relative paths with ``/``, all different.

    Returns
    -------
    list of str
        One id per path.

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
    text = re.sub(
        "[^A-Za-z0-9._-]+", "-", "".join(letter for letter in letters if not unicodedata.combining(letter))
    )
    return text[:_LONGEST_ID], text == joined and len(text) <= _LONGEST_ID


def _digest(name: str) -> str:
    return hashlib.sha256(unicodedata.normalize("NFC", name).encode()).hexdigest()[:8]


def _relative(path: str, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")
