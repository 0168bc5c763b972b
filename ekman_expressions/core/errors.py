"""Errors of the package, and the small validators that word nearly all of them alike.

Every message names what was wrong, what was received, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


class EkmanExpressionsError(Exception):
    """Base class of all errors that this package raises on purpose."""


class SettingsError(EkmanExpressionsError, ValueError):
    """A setting or an argument has a value that cannot be used."""


class DataError(EkmanExpressionsError, ValueError):
    """A file or an array is not what the step needs (missing, damaged, of another shape)."""


class ModelError(EkmanExpressionsError, ValueError):
    """A model, or what it answered, does not fit the task."""


class ConflictError(EkmanExpressionsError, RuntimeError):
    """An artefact on disk was made with other settings or from other inputs."""


class MissingError(EkmanExpressionsError, FileNotFoundError):
    """A file that an earlier step or the user must provide is not there."""


def check_type(value: Any, name: str, types: type | tuple[type, ...]) -> None:
    """Raise `SettingsError` unless `value` is an instance of `types` (a bool is no number)."""
    types = types if isinstance(types, tuple) else (types,)
    is_bool_as_number = isinstance(value, bool) and bool not in types
    if isinstance(value, types) and not is_bool_as_number:
        return
    wanted = " or ".join(kind.__name__ for kind in types)
    raise SettingsError(
        f"'{name}' must be of type {wanted}, but got {value!r} of type {type(value).__name__}."
    )


def check_option(value: Any, name: str, options: Iterable[Any]) -> None:
    """Raise `SettingsError` unless `value` is one of `options`."""
    options = list(options)
    if value in options:
        return
    allowed = ", ".join(repr(option) for option in options)
    raise SettingsError(
        f"Invalid value for '{name}'. Allowed values are {allowed}, but got {value!r} instead."
    )


def check_range(
    value: Any,
    name: str,
    low: float | None = None,
    high: float | None = None,
    *,
    integer: bool = False,
) -> None:
    """Raise `SettingsError` unless `value` is a number in the closed range [`low`, `high`]."""
    check_type(value, name, Integral if integer else Real)
    below = low is not None and not value >= low
    above = high is not None and not value <= high
    if not below and not above:
        return
    kind = "a whole number" if integer else "a number"
    bounds = f">= {low}" if high is None else f"<= {high}" if low is None else f"in [{low}, {high}]"
    raise SettingsError(f"'{name}' must be {kind} {bounds}, but got {value!r} instead.")
