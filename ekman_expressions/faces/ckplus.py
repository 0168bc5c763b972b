"""CK+: peak frames of posed sequences with validated emotion labels (Lucey et al. 2010)."""

from __future__ import annotations

import re
from pathlib import Path

from ekman_expressions.core.errors import DataError, check_range
from ekman_expressions.faces import listing, terms
from ekman_expressions.faces.contract import Database, Findings, Option

CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
"""Expressions by the number in the label files."""

LABELLED = dict(zip(CODES[1:], (45, 18, 59, 25, 69, 28, 83), strict=True))
"""Sequences with a label in a complete copy: 327 of 593, of 118 persons of 123."""

IMAGE_FOLDERS = ("cohn-kanade-images", "extended-cohn-kanade-images")
LABEL_FOLDERS = ("Emotion", "Emotion_labels")

_WANTED = "folder {} with folders like S005/001"
_SUBJECT = re.compile(r"S\d{3}")
_SEQUENCE = re.compile(r"\d{3}")
_FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d+)\.\w+")
_LABEL = re.compile(r"(S\d{3})_(\d{3})_(\d+)_emotion\.txt")


def survey(root: Path, *, frames: int = 1) -> Findings:
    """Look through a copy of CK+.

    Parameters
    ----------
    root : Path
        The folder with the images' and the labels' folder.
    frames : int, >= 1
        Take the last so many frames of each labelled sequence; the last is the peak, and the
        first ones are neutral whatever the label.

    Returns
    -------
    Findings
        Rows of labelled sequences. Those without a label are left out, one by one: the
        database labels only sequences that fit an emotion's prototype.

    Raises
    ------
    MissingError
        If the folders of images or labels are not there.
    """
    listing.require_folder(root, _WANTED.format(IMAGE_FOLDERS[0]))
    findings = Findings(
        expected={name: count * frames for name, count in LABELLED.items()}, expected_subjects=118
    )
    images, labels = (_folder(root, names, findings) for names in (IMAGE_FOLDERS, LABEL_FOLDERS))
    label_files = _label_files(labels, findings, root)
    sequences = _sequences(images, findings, root)
    short = 0
    for folder in listing.progress(sequences, "ckplus", "sequence"):
        key = f"{folder.parent.name}/{folder.name}"
        numbered = _frames(folder, findings, root)
        labelled = label_files.pop(key, [])
        if not labelled:
            findings.omit(key, "no emotion label")
        elif not numbered:
            findings.omit(key, "a label, but no images")
        else:
            try:
                expression, peak = _read_label(labelled)
            except DataError as error:
                findings.omit(key, error)
                continue
            if peak in numbered:
                numbered = {number: path for number, path in numbered.items() if number <= peak}
            else:
                findings.notes.append(
                    f"{key}: the labelled frame {peak} is not there, so {max(numbered)} counts as the peak"
                )
            last = sorted(numbered)[-frames:]
            short += len(last) < frames
            for number in last:
                path = numbered[number]
                findings.add(path.stem, path, folder.parent.name, expression)
    for paths in label_files.values():
        for path in paths:
            findings.omit(path.relative_to(root), "a label without a sequence of images")
    persons = len({folder.parent for folder in sequences})
    findings.notes.append(
        f"{len(sequences)} sequences of {persons} persons (a complete copy has 593 of 123; 327 of 118 "
        "have a label)"
    )
    if short:
        findings.notes.append(f"{short} sequences have fewer than {frames} frames: all they have is taken")
    findings.drop_second_files(lambda path: Path(path).relative_to(root).as_posix())
    return findings


def _folder(root: Path, names: tuple[str, ...], findings: Findings) -> Path:
    """Find the folder with the persons; an unpacked archive may have put it into another one."""
    wanted = {name.lower() for name in names}
    found = [
        folder
        for folder in listing.folders_holding(root, _SUBJECT)
        if wanted & {part.lower() for part in folder.relative_to(root).parts}
    ]
    if not found:
        raise listing.wrong_root(root, _WANTED.format(" or ".join(names)))
    for folder in found[1:]:
        findings.omit(folder.relative_to(root), f"{found[0].relative_to(root)} is used instead")
    return found[0]


def _sequences(images: Path, findings: Findings, root: Path) -> list[Path]:
    sequences = []
    for subject in listing.visible(images):
        if not (subject.is_dir() and _SUBJECT.fullmatch(subject.name)):
            findings.omit(Path(subject.path).relative_to(root), "not a person's folder (S005)")
            continue
        for item in listing.visible(subject):
            if item.is_dir() and _SEQUENCE.fullmatch(item.name):
                sequences.append(Path(item.path))
            else:
                findings.omit(Path(item.path).relative_to(root), "not a sequence's folder (001)")
    return sequences


def _frames(folder: Path, findings: Findings, root: Path) -> dict[int, Path]:
    """Return the frames of a sequence by their numbers."""
    frames: dict[int, Path] = {}
    for item in listing.visible(folder):
        match = _FRAME.fullmatch(item.name)
        path = Path(item.path)
        if not (
            match
            and listing.is_image(item.name)
            and match[1] == folder.parent.name
            and match[2] == folder.name
        ):
            findings.omit(path.relative_to(root), "not a frame of its sequence (S005_001_00000011.png)")
        elif int(match[3]) in frames:
            findings.omit(path.relative_to(root), "a second file for one frame")
        else:
            frames[int(match[3])] = path
    return frames


def _label_files(labels: Path, findings: Findings, root: Path) -> dict[str, list[Path]]:
    """Return the label files by ``S005/001``; empty folders, which are usual, have none."""
    found: dict[str, list[Path]] = {}
    for subject in listing.visible(labels):
        for sequence in listing.visible(subject) if subject.is_dir() else ():
            for item in listing.visible(sequence) if sequence.is_dir() else ():
                match = _LABEL.fullmatch(item.name)
                if match and match[1] == subject.name and match[2] == sequence.name:
                    found.setdefault(f"{match[1]}/{match[2]}", []).append(Path(item.path))
                else:
                    findings.omit(Path(item.path).relative_to(root), "not a label file of its sequence")
    return found


def _read_label(paths: list[Path]) -> tuple[str, int]:
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
    if code not in range(len(CODES)):
        raise DataError(f"its label {text[:30]} is none of 0 to {len(CODES) - 1}")
    return CODES[int(code)], int(_LABEL.fullmatch(paths[0].name)[3])


DATABASE = Database(
    title="Extended Cohn-Kanade (CK+)",
    survey=survey,
    layout="cohn-kanade-images/S005/001/S005_001_00000011.png (or extended-cohn-kanade-images/) and "
    "Emotion/S005/001/S005_001_00000011_emotion.txt (or Emotion_labels/)",
    terms=terms.CKPLUS,
    images=LABELLED,
    subjects=118,
    options={
        "frames": Option(
            check=lambda value, setting: check_range(value, setting, 1, integer=True),
            help="take the last so many frames of each sequence (default 1: the peak)",
        )
    },
)
