"""What a database is to this package, and what a survey of one copy of it returns."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED
from ekman_expressions.faces.terms import Terms

_SHOWN = 5
"""Items listed per reason in a summary."""


@dataclass(kw_only=True)
class Findings:
    """What a database's module finds in a folder, gathered while it looks.

    Attributes
    ----------
    rows : list of dict, or DataFrame
        One per image, ids and subjects not yet prefixed; see `add`.
    left_out : list of (item, reason)
        What is not used, and why; items are paths relative to the root.
    notes : list of str
        What else a reader should know.
    expected : dict of str to int
        Images per expression in a complete copy; empty where nobody knows.
    expected_subjects : int or None
        Persons with a usable image in a complete copy.
    """

    rows: list[dict[str, Any]] | pd.DataFrame = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    expected: Mapping[str, int] = field(default_factory=dict)
    expected_subjects: int | None = None

    def add(self, image_id: str, path: Path | str, subject: str, expression: str, **more: Any) -> None:
        """Keep an image; `more` are further columns."""
        self.rows.append(
            {"image_id": image_id, "path": str(path), "subject": subject, "expression": expression, **more}
        )

    def omit(self, item: Path | str, reason: object) -> None:
        """Note that `item` is not used, and why."""
        # Names that are no valid UTF-8 come as lone surrogates, which cannot be written to any file.
        text = str(item).replace("\\", "/").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self.left_out.append((unicodedata.normalize("NFC", text), str(reason)))

    def drop_second_files(self, name_of: Callable[[str], str]) -> None:
        """Keep the first of several files with one id (in any case), and leave out the others.

        Parameters
        ----------
        name_of : callable
            ``path -> item``: how a file is called among what is left out.
        """
        first: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            kept = first.setdefault(row["image_id"].lower(), row)
            if kept is not row:
                item = name_of(row["path"])
                self.omit(item, f"a second file for {row['image_id']}; {name_of(kept['path'])} is used")
        self.rows = list(first.values())


@dataclass(frozen=True, kw_only=True)
class Option:
    """A choice that a database offers: how its value is checked, and what it means.

    Attributes
    ----------
    check : callable
        ``check(value, setting)`` raises `SettingsError` unless the value can be used.
    help : str
        One line for the catalogue of databases.
    """

    check: Callable[[Any, str], None]
    help: str


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database that the package can read.

    Attributes
    ----------
    title : str
        Its full name.
    survey : callable
        ``survey(root, **options) -> Findings``. It reads names and labels, never pixels.
    layout : str
        The files and folders it looks for.
    terms : Terms
        On which terms it may be used and who gives it out.
    images : dict of str to int
        Images per expression with the default options; empty where unknown.
    subjects : int or None
        Persons with a usable image.
    options : dict of str to Option
        Choices it offers.
    private : bool
        Whether its file names say who is seen, so that no path may be shown or written.
    bundled : bool
        Whether it comes with the package and needs no root.
    """

    title: str
    survey: Callable[..., Findings]
    layout: str
    terms: Terms
    images: Mapping[str, int] = field(default_factory=dict)
    subjects: int | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    private: bool = False
    bundled: bool = False


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one copy of a database holds; see `ekman_expressions.faces.databases.survey`.

    Attributes
    ----------
    name : str
        The database's name in the settings.
    root : Path or None
        Its folder; None for the bundled one.
    rows : DataFrame
        One row per image, sorted by `image_id`: ``image_id`` and ``subject`` carry the
        database's name, ``path`` is absolute, ``dataset`` is `name`, ``expression`` is
        canonical (neutral and contempt included); then what else the database tells, such as
        ``intensity`` or given folds, ``fold``.
    left_out : DataFrame
        Columns ``item`` (path relative to the root; a hash where `private`) and ``reason``.
    notes : tuple of str
        What else a reader should know.
    expected : dict of str to int
        Images per expression in a complete copy; empty where nobody knows.
    expected_subjects : int or None
        Persons in a complete copy.
    private : bool
        Whether ``path`` says who is seen: it must not be shown, logged or written then.
    """

    name: str
    root: Path | None
    rows: pd.DataFrame
    left_out: pd.DataFrame
    notes: tuple[str, ...]
    expected: Mapping[str, int]
    expected_subjects: int | None
    private: bool

    @property
    def subjects(self) -> int:
        """Number of persons found."""
        return int(self.rows["subject"].nunique())

    def counts(self) -> pd.DataFrame:
        """Compare what was found with a complete copy.

        Returns
        -------
        DataFrame
            One row per expression (the index) in the package's order, neutral and contempt where
            found or expected; columns ``found`` and ``expected`` (missing where nobody knows).
        """
        found = self.rows["expression"].value_counts()
        names = [*EXPRESSIONS]
        names += [name for name in NOT_EXPLAINED if name in found or self.expected.get(name)]
        return pd.DataFrame(
            {
                "found": [int(found.get(name, 0)) for name in names],
                "expected": pd.array(
                    [self.expected.get(name, 0) if self.expected else pd.NA for name in names], "Int64"
                ),
            },
            index=pd.Index(names, name="expression"),
        )

    def summary(self) -> str:
        """Return a report to read: counts against the expected ones, what was left out, notes."""
        counts = self.counts()
        where = "bundled" if self.root is None else str(self.root)
        lines = [f"{self.name} ({where})", f"  {'':<12}{'found':>8}{'expected':>10}"]
        expected_of = dict(self.expected) if self.expected else dict.fromkeys(counts.index)
        table = [(name, found, expected_of.get(name, 0)) for name, found in counts["found"].items()]
        table.append(("all images", len(self.rows), sum(self.expected.values()) or None))
        table.append(("persons", self.subjects, self.expected_subjects))
        for name, found, expected in table:
            difference = 0 if expected is None else found - expected
            mark = f"   {abs(difference)} {'more' if difference > 0 else 'fewer'}" if difference else ""
            lines.append(f"  {name:<12}{found:>8}{'-' if expected is None else expected:>10}{mark}")
        if len(self.left_out):
            lines.append(f"  left out: {len(self.left_out)}")
            for reason, group in self.left_out.groupby("reason", sort=False):
                items = ", ".join(group["item"][:_SHOWN]) + (", ..." if len(group) > _SHOWN else "")
                lines.append(f"    {len(group)}: {reason} ({items})")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)
