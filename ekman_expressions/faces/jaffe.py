"""JAFFE: posed expressions of ten Japanese women (Lyons et al. 1998)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ekman_expressions.faces import listing, terms
from ekman_expressions.faces.contract import Database, Findings

CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
    "NE": "neutral",
}
"""Expressions by the two letters in the file names."""

COUNTS = dict(zip(CODES.values(), (30, 29, 32, 31, 31, 30, 30), strict=True))
"""Images in a complete copy: 213."""

_WANTED = "image with a name like KA.AN1.39.tiff or KA_AN1_39.png"
# Converters like to keep the first suffix: KA.AN1.39.tiff.png.
_NAME = re.compile(r"([A-Z]{2})[._]([A-Z]{2})(\d+)[._](\d+)(?:\.TIFF?)?", re.IGNORECASE)


def survey(root: Path) -> Findings:
    """Look through a copy of JAFFE.

    Parameters
    ----------
    root : Path
        The folder with the images, at any depth.

    Returns
    -------
    Findings
        Rows of all images; the same image in a second format is left out.

    Raises
    ------
    MissingError
        If no image is named as in JAFFE.
    """
    listing.require_folder(root, _WANTED)
    findings = Findings(expected=COUNTS, expected_subjects=10)
    named = False
    for path, relative in listing.image_files(root, findings, "jaffe"):
        match = _NAME.fullmatch(os.path.splitext(os.path.basename(relative))[0])
        if not match:
            findings.omit(relative, "its name is not like KA.AN1.39.tiff")
            continue
        named = True
        subject, code = match[1].upper(), match[2].upper()
        if code not in CODES:
            findings.omit(relative, f"the code {code} is none of {', '.join(CODES)}")
            continue
        findings.add(f"{subject}.{code}{match[3]}.{match[4]}", path, subject, CODES[code])
    if not named:
        raise listing.wrong_root(root, _WANTED)
    # The original format first, where one was converted.
    findings.rows.sort(key=lambda row: (not row["path"].lower().endswith((".tif", ".tiff")), row["path"]))
    findings.drop_second_files(lambda path: Path(path).relative_to(root).as_posix())
    return findings


DATABASE = Database(
    title="Japanese Female Facial Expression (JAFFE)",
    survey=survey,
    layout="KA.AN1.39.tiff or KA_AN1_39.png, at any depth",
    terms=terms.JAFFE,
    images=COUNTS,
    subjects=10,
)
