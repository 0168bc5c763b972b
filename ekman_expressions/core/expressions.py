"""The six expressions: their order, their names in files, and the names others give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from ekman_expressions.core.errors import DataError, SettingsError

EXPRESSIONS: tuple[str, ...] = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The expressions in the order of class indices and of every table."""

NOT_EXPLAINED: tuple[str, ...] = ("neutral", "contempt")
"""States that databases label but that the study leaves out."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "anger": ("anger", "angry", "an", "ang"),
    "disgust": ("disgust", "disgusted", "di", "dis"),
    # KDEF has AF.
    "fear": ("fear", "afraid", "fearful", "fe", "fea", "af"),
    "happiness": ("happiness", "happy", "joy", "joyful", "ha", "hap"),
    "sadness": ("sadness", "sad", "sa"),
    "surprise": ("surprise", "surprised", "su", "sur"),
    "neutral": ("neutral", "ne", "neu"),
    "contempt": ("contempt", "contemptuous", "co", "con"),
}
# Rows of tables, a figure, and what is no text in a CSV file.
_RESERVED = ("all", "average", "by", "false", "nan", "none", "null", "other", "true")
_CANONICAL = {name: key for key, names in _SYNONYMS.items() for name in names}


def parse_expression(name: str, labels: Mapping[str, str] | None = None) -> str:
    """Return the canonical name of an expression, or class of one's own, that a label stands for.

    Parameters
    ----------
    name : str
        Any of the usual names, in any case: ``"Angry"``, ``"joy"``, ``"SU"``; or one of `labels`.
    labels : mapping of str to str, optional
        What other labels stand for: ``{"4": "joy"}``. What stands for itself is a class of one's own:
        ``{"pain": "pain"}``.

    Returns
    -------
    str
        One of `EXPRESSIONS` or `NOT_EXPLAINED`, or a class of one's own.

    Raises
    ------
    DataError
        If the name is not known.

    Examples
    --------
    >>> parse_expression("Angry")
    'anger'
    """
    found = find_expression(name, labels)
    if found is None:
        given, known = (labels or {}).get(name, name), ", ".join(sorted(_CANONICAL))
        raise DataError(f"Unknown expression {given!r}.{meant(given)} Use one of {known} (in any case).")
    return found


def find_expression(name: str, labels: Mapping[str, str] | None = None) -> str | None:
    """Return what a label stands for, as `parse_expression` does, or None if that is not known."""
    labels = labels or {}
    # Programs that know no empty cell among numbers write 4 as 4.0.
    name = re.sub(r"^(\d+)\.0+$", r"\1", name.strip()) if name not in labels else name
    given = labels.get(name, name)
    for own in (given, given.strip().lower()):
        if labels.get(own) == own and own not in _CANONICAL:
            return own
    return _CANONICAL.get(given.strip().lower())


def meant(name: str) -> str:
    """Ask whether a name is a misspelt expression, in a sentence with a blank before; nothing if it is far off."""
    near = get_close_matches(name.strip().lower(), [known for known in _CANONICAL if len(known) > 3], 1, 0.75)
    return f" Is {_CANONICAL[near[0]]} meant?" if near else ""


def title(expression: str) -> str:
    """Return an expression, or class of one's own, as it is written in file names and figures: ``Anger``."""
    # No "_", which joins it to the names of a network and a fold.
    if not re.fullmatch("[a-z][a-z0-9-]*", expression) or expression in _RESERVED:
        raise SettingsError(
            "The name of a class becomes a part of file names: it must be made of small letters a to z, digits "
            f"and '-', and be none of {', '.join(_RESERVED)}, but got {expression!r}. The option 'labels' says "
            "what another spelling stands for."
        )
    return expression.capitalize()
