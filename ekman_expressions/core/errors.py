"""Errors of the package, the validators that word them alike, and settings whose faults they tell.

Every message names what was wrong, what was received, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class EkmanExpressionsError(Exception):
    """Base class of all errors that this package raises on purpose."""


class SettingsError(EkmanExpressionsError, ValueError):
    """A setting or an argument has a value that cannot be used."""


class DataError(EkmanExpressionsError, ValueError):
    """A file or an array is not what the step needs (missing, damaged, of another shape)."""


class ModelError(EkmanExpressionsError, ValueError):
    """A model, or what it predicts, does not fit the task."""


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
    raise SettingsError(f"'{name}' must be of type {wanted}, but got {value!r} of type {type(value).__name__}.")


def check_option(value: Any, name: str, options: Iterable[Any]) -> None:
    """Raise `SettingsError` unless `value` is one of `options`."""
    options = list(options)
    if value in options:
        return
    allowed = ", ".join(map(repr, options))
    raise SettingsError(f"Invalid value for '{name}'. Allowed values are {allowed}, but got {value!r} instead.")


def check_range(
    value: Any, name: str, low: float | None = None, high: float | None = None, *, integer: bool = False
) -> None:
    """Raise `SettingsError` unless `value` is a number in the closed range [`low`, `high`]."""
    check_type(value, name, Integral if integer else Real)
    if (low is None or value >= low) and (high is None or value <= high):
        return
    kind = "a whole number" if integer else "a number"
    bounds = f">= {low}" if high is None else f"<= {high}" if low is None else f"in [{low}, {high}]"
    raise SettingsError(f"'{name}' must be {kind} {bounds}, but got {value!r} instead.")


class Settings(BaseModel):
    """Settings that are frozen and know no other keys; all faults are told in one `SettingsError`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    section: ClassVar[str] = ""
    """The section of a settings file that holds them, for messages."""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = [self._worded(fault) for fault in error.errors(include_url=False)]
            raise SettingsError("\n".join(dict.fromkeys(faults))) from None

    def replace(self, **changes: Any) -> Self:
        """Return the same settings but for `changes`, checked."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)

    @classmethod
    def _worded(cls, fault: Mapping[str, Any]) -> str:
        """Say what is wrong with one value: its key, what is allowed, what was received."""
        # Which of several types, or that it is a key, is of no interest.
        place = [str(key) for key in fault["loc"] if not re.match(r"\[key|literal\[|(int|float|str)$", str(key))]
        name = ".".join([cls.section, *place] if cls.section else place)
        received = f"{fault['input']!r:.200}"
        reason = fault["msg"].replace("Input should", "must").replace("a valid tuple", "a list")
        for words, sign in (("greater than or equal to", ">="), ("less than or equal to", "<=")):
            reason = reason.replace(words, sign)
        if fault["type"] == "extra_forbidden":
            where = f" in [{cls.section}]" if cls.section else ""
            return f"Unknown setting {place[-1]!r}{where}. Known are {', '.join(cls.model_fields)}."
        if fault["type"] == "missing":
            return f"The settings lack '{name}'."
        if fault["type"] != "value_error":
            return f"'{name}' {reason}, but got {received}."
        error = fault["ctx"]["error"]
        if not isinstance(error, EkmanExpressionsError):
            return f"'{name}' {error}, but got {received}."
        # Of a group with a name of its own: [models.Mine].
        return f"[{name}]: {error}" if len(place) > 1 else str(error)
