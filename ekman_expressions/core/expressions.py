"""The six expressions: their order, their names in files, and the names others give them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from ekman_expressions.core.errors import DataError, check_option

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
_CANONICAL = {name: key for key, names in _SYNONYMS.items() for name in names}


def parse_expression(name: str) -> str:
    """Return the canonical name of an expression.

    Parameters
    ----------
    name : str
        Any of the usual names, in any case: ``"Angry"``, ``"joy"``, ``"SU"``.

    Returns
    -------
    str
        One of `EXPRESSIONS` or `NOT_EXPLAINED`.

    Raises
    ------
    DataError
        If the name is not known.

    Examples
    --------
    >>> parse_expression("Angry")
    'anger'
    """
    try:
        return _CANONICAL[name.strip().lower()]
    except KeyError:
        near = get_close_matches(
            name.strip().lower(), [known for known in _CANONICAL if len(known) > 3], 1, 0.75
        )
        meant = f" Is {_CANONICAL[near[0]]} meant?" if near else ""
        known = ", ".join(sorted(_CANONICAL))
        raise DataError(f"Unknown expression {name!r}.{meant} Use one of {known} (in any case).") from None


def parse_label(name: str, labels: Mapping[str, str] | None = None) -> str:
    """Return the expression that a label stands for, by `labels` or as it is.

    A label that stands for itself is a class of one's own: ``{"pain": "pain"}``. `DataError` if it is not known.
    """
    given = (labels or {}).get(name, name)
    try:
        return parse_expression(given)
    except DataError:
        if labels and labels.get(name) == name:
            return name
        raise


def title(expression: str) -> str:
    """Return an expression as it is written in file names and figures: ``Anger``."""
    check_option(expression, "expression", EXPRESSIONS)
    return expression.capitalize()


def index(expression: str) -> int:
    """Return the class index of an expression, 0 ... 5."""
    check_option(expression, "expression", EXPRESSIONS)
    return EXPRESSIONS.index(expression)
