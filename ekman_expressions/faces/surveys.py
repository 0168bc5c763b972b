"""The survey of a copy of a database: what is usable, what is not and why; and the catalogue of databases."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ekman_expressions.core.errors import DataError, EkmanExpressionsError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.databases import _OWN, DATABASES, _Database, _Options
from ekman_expressions.faces.folders import _read_manifest, _Search
from ekman_expressions.faces.landmarks import _read_landmarks

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one copy of a database holds; see `survey`.

    Attributes
    ----------
    name, root : str, Path or None
        The database's name in the settings; its folder, None for the bundled one.
    rows : DataFrame
        One row per image, sorted by ``image_id``, which carries the database's name like ``subject``;
        ``path`` (absolute), ``dataset``, ``expression`` (neutral and contempt included), and what else is
        told, such as ``intensity``, given folds, ``fold``, or given ``landmarks`` (`FaceLandmarks`).
    left_out : DataFrame
        Columns ``item`` (path relative to the root; a hash where `private`) and ``reason``.
    notes : tuple of str
        What else a reader should know.
    expected, expected_subjects : dict of str to int, int or None
        Images per expression and persons in a complete copy; empty and None where unknown.
    private : bool
        Whether ``path`` says who is seen: it must not be shown, logged or written then.
    crop : bool
        Whether faces are to be cut out; else each image is a crop already.
    """

    name: str
    root: Path | None
    rows: pd.DataFrame
    left_out: pd.DataFrame
    notes: tuple[str, ...]
    expected: Mapping[str, int]
    expected_subjects: int | None
    private: bool
    crop: bool = True

    @property
    def subjects(self) -> int:
        """Number of persons found."""
        return int(self.rows["subject"].nunique())

    def counts(self) -> pd.DataFrame:
        """Return a row per expression, columns ``found`` and ``expected`` (missing where unknown)."""
        found = self.rows["expression"].value_counts()
        others = [name for name in NOT_EXPLAINED if name in found or self.expected.get(name)]
        names = pd.Index([*EXPRESSIONS, *others], name="expression")
        expected = pd.Series(self.expected, dtype="Int64")
        expected = expected.reindex(names, fill_value=0 if self.expected else pd.NA)
        return pd.DataFrame({"found": found.reindex(names, fill_value=0), "expected": expected})

    def summary(self) -> str:
        """Return a report to read: counts against the expected ones, what was left out, notes."""
        where = "bundled" if self.root is None else str(self.root)
        lines = [f"{self.name} ({where})", f"  {'':<12}{'found':>8}{'expected':>10}"]
        table = [*self.counts().itertuples(name=None)]
        table.append(("all images", len(self.rows), sum(self.expected.values()) or pd.NA))
        table.append(("persons", self.subjects, self.expected_subjects))
        for name, found, expected in table:
            difference = 0 if pd.isna(expected) else found - expected
            mark = f"   {abs(difference)} {'more' if difference > 0 else 'fewer'}" if difference else ""
            lines.append(f"  {name:<12}{found:>8}{'-' if pd.isna(expected) else expected:>10}{mark}")
        if len(self.left_out):
            lines.append(f"  left out: {len(self.left_out)}")
            for reason, group in self.left_out.groupby("reason", sort=False):
                items = ", ".join(group["item"][:_SHOWN]) + (", ..." if len(group) > _SHOWN else "")
                lines.append(f"    {len(group)}: {reason} ({items})")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def survey(
    name: str,
    root: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    expressions: Sequence[str] = EXPRESSIONS,
) -> Survey:
    """Look through a copy of a database: what is usable, what is not and why. Reads no pixels.

    Parameters
    ----------
    name : str
        A name in `DATABASES`; or any other name, for a folder of your own. A folder with a
        ``manifest.csv`` is read by it, whatever the name (but for databases whose file names
        say who is seen).
    root : Path or str, optional
        The database's folder; needed unless the database is bundled.
    options : dict, optional
        Choices that the database offers; `catalogue` lists them.
    expressions : sequence of str
        What is looked for: a note names those without an image.

    Returns
    -------
    Survey
        Rows, what was left out, and the counts that a complete copy has.

    Raises
    ------
    SettingsError
        If the name or an option cannot be used, or a root is needed and not given.
    MissingError
        If the database is not at its root: says what was looked for and what is there.
    DataError
        If nothing usable is there, or its table is not as it must be.

    Examples
    --------
    >>> survey("synthetic").rows["subject"].nunique()
    40
    """
    known, options = _database(name), check_options(name, options or {})
    if root is None and not known.bundled:
        bundled = ", ".join(key for key, value in DATABASES.items() if value.bundled)
        raise SettingsError(
            f'The database {name!r} needs a root: the folder where it lies, as {name} = "..." '
            f"under [faces.roots] in the settings. Without a root there is only {bundled}."
        )
    if root is not None:
        root = Path(root).expanduser().resolve()
    search = _Search(root, name, private=known.private)
    _fill(search, known, options)
    if not len(search.rows):
        where = "" if root is None or known.private else f" in {root}"
        reasons = "; ".join(f"{item}: {reason}" for item, reason in search.left_out[:_SHOWN])
        raise DataError(
            f"The database {name!r}{where} has no usable image: {len(search.left_out)} left out ({reasons})."
        )
    rows = pd.DataFrame(search.rows)
    if options.landmarks is not None:
        rows = _with_landmarks(rows, (root or synthetic.folder()) / options.landmarks, search)
    # Databases reuse ids: the name in front keeps them apart when several are combined.
    image_ids, subjects = f"{name}_" + rows["image_id"], f"{name}/" + rows["subject"]
    rows = rows.assign(image_id=image_ids, subject=subjects, dataset=name)
    if "neutral" in rows:
        rows["neutral"] = [image_id and f"{name}_{image_id}" for image_id in rows["neutral"].fillna("")]
    first = ["image_id", "path", "dataset", "subject", "expression"]
    rows = rows[first + [column for column in rows.columns if column not in first]]
    if lacking := [expression for expression in expressions if expression not in set(rows["expression"])]:
        search.notes.append(f"no image of {', '.join(lacking)}")
    return Survey(
        name=name,
        root=root,
        rows=rows.sort_values("image_id", ignore_index=True),
        left_out=pd.DataFrame(search.left_out, columns=["item", "reason"], dtype=str),
        notes=tuple(search.notes),
        expected=dict(search.expected),
        expected_subjects=search.expected_subjects,
        private=known.private,
        crop=options.crop,
    )


def _with_landmarks(rows: pd.DataFrame, path: Path, search: _Search) -> pd.DataFrame:
    """Return the rows for which a file has landmarks, with the column ``landmarks``; leave out the others."""
    found, others = _read_landmarks(path, rows["image_id"], list(rows["path"]), f"{search.name}_")
    if others:
        named = "" if search.private else f", such as {others[0]}"
        search.notes.append(f"{path.name} has landmarks of {len(others)} pictures that are not used{named}")
    for picture, face in zip(rows["path"], found, strict=True):
        if face is None:
            search.omit(picture, f"{path.name} has no landmarks of it")
    return rows.assign(landmarks=found)[[face is not None for face in found]]


def check_options(name: str, options: Mapping[str, Any]) -> _Options:
    """Return `options` as choices that the database `name` offers; else raise `SettingsError`."""
    try:
        return _database(name).options(**options)
    except SettingsError as error:
        raise SettingsError(f"[faces.options.{name}]: {error}") from None


def catalogue(name: str | None = None) -> str:
    """Return, as a text to read, what is known of one database, or of all: counts, layout, terms, options.

    Examples
    --------
    >>> print(catalogue("synthetic").splitlines()[0])
    synthetic: rendered faces with known action units
    """
    of_all = _facts(_helps(_Options))
    if name is not None:
        return "\n".join([*_card(name, _database(name)), *of_all])
    lines = []
    for key, known in (*DATABASES.items(), ("(other)", _OWN)):
        lines += [*_card(key, known), ""]
    lines += [
        "Options of every database:",
        *of_all,
        "",
        "Terms are given in our own words and may have changed: only the owners' own text is binding.",
        "Check a copy with: ekman-expressions datasets NAME ROOT",
    ]
    return "\n".join(lines)


def _card(name: str, known: _Database) -> list[str]:
    facts = {"layout": known.layout, "terms": known.use, "access": known.access, "cite": known.reference}
    if known.images:
        counts = ", ".join(f"{count} {expression}" for expression, count in known.images.items())
        facts["complete"] = counts + (f"; {known.subjects} persons" if known.subjects else "")
    own = {key: text for key, text in _helps(known.options).items() if key not in _helps(_Options)}
    return [f"{name}: {known.title}", *_facts(facts | own)]


def _helps(options: type[_Options]) -> dict[str, str]:
    return {f"option {key}": field.description for key, field in options.model_fields.items()}


def _facts(facts: Mapping[str, str]) -> list[str]:
    whole = {"subsequent_indent": " " * 20, "break_long_words": False, "break_on_hyphens": False}
    lines = []
    for key, text in facts.items():
        lines += textwrap.wrap(text, 100, initial_indent=f"  {key + ':':<18}", **whole)
    return lines


def _database(name: str) -> _Database:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingsError(
            f"The name of a database must be made of letters, digits, '.', '_' and '-', but got {name!r}."
        )
    return DATABASES.get(name, _OWN)


def _fill(search: _Search, known: _Database, options: _Options) -> None:
    """Let a manifest of the user's own, or else the database's reader, say what the root holds."""
    by_names = known is not _OWN and not (known.private or known.bundled)
    if by_names and (search.root / "manifest.csv").is_file():
        if needless := sorted(options.model_fields_set - {*_Options.model_fields}):
            raise SettingsError(
                f"{search.root} has a manifest.csv, which says what is used, so that the options of "
                f"{search.name} ({', '.join(needless)}) have no effect. Remove one of them."
            )
        search.rows = _read_manifest(search)
        search.notes.append("read by its manifest.csv, not by the names of its files")
        return
    search.expected, search.expected_subjects = known.images, known.subjects
    try:
        known.read(search, **options.model_dump(exclude={*_Options.model_fields}))
    except OSError as error:
        if not known.private or isinstance(error, EkmanExpressionsError):
            raise
        # The original message has a path, which may say who is seen.
        raise DataError(f"A file of the database {search.name!r} cannot be read ({error.strerror}).") from None
