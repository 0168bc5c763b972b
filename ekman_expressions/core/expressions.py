"""The six expressions: their order, their names in files, and the names others give them."""

from __future__ import annotations

from ekman_expressions.core.errors import DataError, check_option

EXPRESSIONS: tuple[str, ...] = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The expressions in the order of class indices and of every table."""

NOT_EXPLAINED: tuple[str, ...] = ("neutral", "contempt")
"""States that databases label but that the study leaves out."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "anger": ("anger", "angry", "an", "ang"),
    "disgust": ("disgust", "disgusted", "di", "dis"),
    "fear": ("fear", "afraid", "fearful", "fe", "fea"),
    "happiness": ("happiness", "happy", "joy", "ha", "hap"),
    "sadness": ("sadness", "sad", "sa"),
    "surprise": ("surprise", "surprised", "su", "sur"),
    "neutral": ("neutral", "ne", "neu"),
    "contempt": ("contempt", "co", "con"),
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
        known = ", ".join(sorted(_CANONICAL))
        raise DataError(f"Unknown expression {name!r}. Use one of {known} (in any case).") from None


def title(expression: str) -> str:
    """Return an expression as it is written in file names and figures: ``Anger``."""
    check_option(expression, "expression", EXPRESSIONS)
    return expression.capitalize()


def index(expression: str) -> int:
    """Return the class index of an expression, 0 ... 5."""
    check_option(expression, "expression", EXPRESSIONS)
    return EXPRESSIONS.index(expression)
