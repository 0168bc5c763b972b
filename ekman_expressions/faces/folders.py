"""A tree with one folder per expression; who is seen comes from the path by a regular expression."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from ekman_expressions.core.errors import DataError, SettingsError, check_type
from ekman_expressions.core.expressions import EXPRESSIONS, parse_expression
from ekman_expressions.faces import listing
from ekman_expressions.faces.contract import Findings

WANTED = f"folder named like an expression ({', '.join(EXPRESSIONS)}, or a synonym) with images"


def survey(root: Path, *, subject: str | None = None) -> Findings:
    """Look through a tree with one folder per expression, at one depth: ``happy/``, ``train/happy/``.

    Parameters
    ----------
    root : Path
        The tree.
    subject : str
        A regular expression, searched in each image's path relative to `root` (with ``/``). The
        person is its group ``subject``, else its first group, else all that matches:
        ``"(S\\d+)_"`` finds S005 in ``happy/S005_001.png``; ``".+"`` makes each image a
        person of its own, for collections from the web.

    Returns
    -------
    Findings
        Rows of all images below folders of expressions.

    Raises
    ------
    SettingsError
        If `subject` is not given: without it, one person might be in training and test.
    MissingError
        If there is no folder of an expression.
    """
    listing.require_folder(root, WANTED)
    findings = Findings()
    found = list(listing.image_files(root, findings, root.name))
    depth = expression_depth([relative for _, relative in found])
    if depth is None:
        raise listing.wrong_root(root, WANTED)
    if subject is None:
        raise SettingsError(
            f"For the folders in {root}, say how to tell who is seen: the option 'subject', a regular "
            "expression for the path, such as subject = '(S\\d+)_'; or '.+' if each image shows "
            "another person. Without it, one person might be in training and test images."
        )
    add_images(findings, found, depth, subject)
    return findings


def expression_depth(relatives: list[str]) -> int | None:
    """Return at which depth the folders are named by expressions, 0 being the outermost.

    Short names such as SA may be persons as well, so the depth with most images counts.
    """
    counts = Counter(
        depth
        for relative in relatives
        for depth, part in enumerate(relative.split("/")[:-1])
        if _expression(part)
    )
    return min(counts, key=lambda depth: (-counts[depth], depth)) if counts else None


def add_images(
    findings: Findings, found: list[tuple[str, str]], depth: int, subject: str, **more: dict[str, Any]
) -> None:
    """Add images below folders of expressions, and leave out the others.

    Parameters
    ----------
    findings : Findings
        Where to.
    found : list of (path, relative)
        The images.
    depth : int
        At which depth of `relative` the expressions' folders are.
    subject : str
        See `survey`.
    **more : dict of str to value
        Further columns, by the relative path.
    """
    pattern = re.compile(subject)
    kept = []
    for path, relative in found:
        parts = relative.split("/")[:-1]
        expression = _expression(parts[depth]) if depth < len(parts) else None
        person = _person(pattern, relative)
        if expression is None:
            name = parts[depth] if depth < len(parts) else ""
            findings.omit(
                relative, f"its folder {name} is no expression" if name else "in no expression's folder"
            )
        elif not person:
            findings.omit(relative, f"the pattern {subject!r} for the subject finds nothing in its path")
        else:
            kept.append((path, relative, person, expression))
    for image_id, (path, relative, person, expression) in zip(
        listing.safe_ids([relative for _, relative, _, _ in kept]), kept, strict=True
    ):
        findings.add(
            image_id, path, person, expression, **{key: value[relative] for key, value in more.items()}
        )
    # Some file systems keep one name composed and decomposed.
    findings.drop_second_files(dict(found).__getitem__)


def check_subject(value: Any, setting: str) -> None:
    """Raise `SettingsError` unless `value` is a regular expression."""
    check_type(value, setting, str)
    try:
        re.compile(value)
    except re.error as error:
        raise SettingsError(f"'{setting}' is no regular expression: {value!r} ({error}).") from None


def _expression(name: str) -> str | None:
    try:
        return parse_expression(name)
    except DataError:
        return None


def _person(pattern: re.Pattern, relative: str) -> str | None:
    match = pattern.search(relative)
    if match is None:
        return None
    if "subject" in pattern.groupindex:
        return match["subject"]
    return match[1] if pattern.groups else match[0]
