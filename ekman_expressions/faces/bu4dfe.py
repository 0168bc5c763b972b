"""BU-4DFE: frames from the middle of 3D video sequences (Yin et al. 2008)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ekman_expressions.core.errors import SettingsError, check_range, check_type
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.faces import listing, terms
from ekman_expressions.faces.contract import Database, Findings, Option

FRAMES = (20, 25, 30, 35, 40)
"""Frames taken by default; a sequence has about 100, with the apex in the middle."""

SUBJECTS = 101
"""58 women, F001 ..., and 43 men, M001 ..."""

FOLDERS = dict(zip(("angry", "disgust", "fear", "happy", "sad", "surprise"), EXPRESSIONS, strict=True))
"""Expressions by the names of the sequences' folders, in lower case."""

_WANTED = "folder like F001/Angry with frames like 000.jpg"
_SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)


def survey(root: Path, *, frames: Sequence[int] = FRAMES) -> Findings:
    """Look through a copy of BU-4DFE.

    Parameters
    ----------
    root : Path
        The folder with the persons' folders, or one above it.
    frames : sequence of int
        Numbers of the frames to take from each sequence.

    Returns
    -------
    Findings
        Rows of these frames; frames and sequences that are not there are left out, by name.

    Raises
    ------
    MissingError
        If there is no folder of a person.
    """
    listing.require_folder(root, _WANTED)
    homes = listing.folders_holding(root, _SUBJECT)
    if not homes:
        raise listing.wrong_root(root, _WANTED)
    findings = Findings(
        expected=dict.fromkeys(EXPRESSIONS, SUBJECTS * len(frames)), expected_subjects=SUBJECTS
    )
    entries = [item for home in homes for item in listing.visible(home)]
    for item in listing.progress(entries, "bu4dfe", "person"):
        if not (item.is_dir() and _SUBJECT.fullmatch(item.name)):
            findings.omit(Path(item.path).relative_to(root), "not a person's folder (F001)")
            continue
        sequences = {}
        for sequence in listing.visible(item):
            expression = FOLDERS.get(sequence.name.lower())
            if sequence.is_dir() and expression and expression not in sequences:
                sequences[expression] = Path(sequence.path)
            else:
                findings.omit(
                    Path(sequence.path).relative_to(root), "not an expression's folder (Angry ... Surprise)"
                )
        for name, expression in FOLDERS.items():
            if expression not in sequences:
                findings.omit(f"{item.name}/{name.capitalize()}", "no such sequence")
                continue
            _add_frames(findings, sequences[expression], item.name.upper(), expression, frames, root)
    findings.drop_second_files(lambda path: Path(path).relative_to(root).as_posix())
    return findings


def _add_frames(
    findings: Findings, folder: Path, subject: str, expression: str, frames: Sequence[int], root: Path
) -> None:
    numbered: dict[int, str] = {}
    for item in listing.visible(folder):
        stem = os.path.splitext(item.name)[0]
        # Meshes (.wrl) lie beside the images.
        if listing.is_image(item.name) and stem.isdecimal():
            numbered.setdefault(int(stem), item.path)
    if not numbered:
        findings.omit(folder.relative_to(root), "no frames (000.jpg ...)")
        return
    for frame in frames:
        if frame in numbered:
            image_id = f"{subject}_{folder.name.capitalize()}_{frame:03d}"
            findings.add(image_id, numbered[frame], subject, expression)
        else:
            findings.omit(folder.relative_to(root) / f"{frame:03d}", "no such frame")


def _check_frames(value: Any, setting: str) -> None:
    check_type(value, setting, (list, tuple))
    for frame in value:
        check_range(frame, setting, 0, integer=True)
    if not value or len(set(value)) != len(value):
        raise SettingsError(f"'{setting}' must list one or more different frames, but got {value!r}.")


DATABASE = Database(
    title="Binghamton University 4D Facial Expression (BU-4DFE)",
    survey=survey,
    layout="F001/Angry/000.jpg (F001-F058, M001-M043; Angry Disgust Fear Happy Sad Surprise)",
    terms=terms.BU4DFE,
    images=dict.fromkeys(EXPRESSIONS, SUBJECTS * len(FRAMES)),
    subjects=SUBJECTS,
    options={
        "frames": Option(check=_check_frames, help=f"numbers of the frames to take (default {list(FRAMES)})")
    },
)
