"""The registry of databases, and the one function that looks through a copy of any of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ekman_expressions.core.errors import (
    DataError,
    EkmanExpressionsError,
    SettingsError,
    check_option,
    check_type,
)
from ekman_expressions.faces import (
    bu4dfe,
    ckplus,
    cross_validation,
    fega,
    folders,
    jaffe,
    listing,
    manifest,
    synthetic,
    terms,
    wsefep,
)
from ekman_expressions.faces.contract import Database, Findings, Option, Survey

LAYOUTS = ("manifest", "folders", "cross_validation")
"""How a folder of one's own may be laid out."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _survey_synthetic(root: Path | None) -> Findings:
    return Findings(rows=synthetic.load(root))


def _survey_own(root: Path, *, layout: str | None = None, subject: str | None = None) -> Findings:
    layout = layout or _layout_of(root)
    if layout == "cross_validation":
        return cross_validation.survey(root, subject=subject)
    if layout == "folders":
        return folders.survey(root, subject=subject)
    if subject is not None:
        raise SettingsError("The option 'subject' has no effect on a manifest.csv: it has a column for that.")
    return Findings(rows=manifest.load(root))


def _layout_of(root: Path) -> str:
    """Say how a folder of one's own is laid out; a manifest comes first."""
    if root.is_dir() and not (root / "manifest.csv").is_file():
        inside = [item for item in listing.visible(root) if item.is_dir()]
        if any(cross_validation.FOLDER.fullmatch(item.name) for item in inside):
            return "cross_validation"
        found = [relative for _, relative in listing.image_files(root, Findings(), root.name)]
        if folders.expression_depth(found) is not None:
            return "folders"
    return "manifest"


OWN = Database(
    title="a folder of your own, under any other name",
    survey=_survey_own,
    layout="manifest.csv (columns image_id, path, subject, expression, optionally intensity, fold); or one "
    "folder per expression; or CV1 ... CV5 and CV1_test ... CV5_test with one folder per expression",
    terms=terms.OWN,
    options={
        "layout": Option(
            check=lambda value, setting: check_option(value, setting, LAYOUTS),
            help=f"{', '.join(LAYOUTS)} (default: what is there)",
        ),
        "subject": Option(
            check=folders.check_subject,
            help="for folders: a regular expression that finds who is seen in the path, such as '(S\\d+)_'",
        ),
    },
)
"""What every name that is not in `DATABASES` stands for."""

DATABASES: dict[str, Database] = {
    "synthetic": Database(
        title="rendered faces with known action units",
        survey=_survey_synthetic,
        layout="manifest.csv and the images that it names",
        terms=terms.SYNTHETIC,
        bundled=True,
    ),
    "ckplus": ckplus.DATABASE,
    "jaffe": jaffe.DATABASE,
    "wsefep": wsefep.DATABASE,
    "bu4dfe": bu4dfe.DATABASE,
    "fega": fega.DATABASE,
}
"""The databases known by name."""


def database(name: str) -> Database:
    """Return what is known of a database; any name that is not in `DATABASES` is a folder of your own.

    Raises
    ------
    SettingsError
        If the name cannot be used in ids and file names.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingsError(
            f"The name of a database must be made of letters, digits, '.', '_' and '-', but got {name!r}."
        )
    return DATABASES.get(name, OWN)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise `SettingsError` unless `options` are choices that the database `name` offers."""
    known = database(name).options
    where = f"faces.options.{name}"
    check_type(options, where, Mapping)
    for key, value in options.items():
        if key not in known:
            raise SettingsError(
                f"Unknown option {key!r} in {where}. "
                + (f"Known are {', '.join(known)}." if known else "This database has no options.")
            )
        known[key].check(value, f"{where}.{key}")


def survey(name: str, root: Path | str | None = None, options: Mapping[str, Any] | None = None) -> Survey:
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
        Choices that the database offers, see ``DATABASES[name].options`` and `OWN`.

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
    >>> survey("synthetic").private
    False
    """
    known = database(name)
    options = dict(options or {})
    check_options(name, options)
    if root is None and not known.bundled:
        bundled = ", ".join(key for key, value in DATABASES.items() if value.bundled)
        raise SettingsError(
            f'The database {name!r} needs a root: the folder where it lies, as {name} = "..." '
            f"under [faces.roots] in the settings. Without a root there is only {bundled}."
        )
    if root is not None:
        root = Path(root).expanduser().resolve()
    findings = _look(name, known, root, options)
    where = f"The database {name!r}" if root is None or known.private else f"The database {name!r} in {root}"
    if not len(findings.rows):
        reasons = "; ".join(f"{item}: {reason}" for item, reason in findings.left_out[:5])
        raise DataError(f"{where} has no usable image: {len(findings.left_out)} left out ({reasons}).")
    rows = findings.rows
    if isinstance(rows, list):
        rows = manifest.check(pd.DataFrame(rows), where)
    # Databases reuse ids: the name in front keeps them apart when several are combined.
    rows = rows.assign(
        image_id=[f"{name}_{image_id}" for image_id in rows["image_id"]],
        subject=[f"{name}/{subject}" for subject in rows["subject"]],
        dataset=name,
    )
    first = ["image_id", "path", "dataset", "subject", "expression"]
    rows = rows[first + [column for column in rows.columns if column not in first]]
    return Survey(
        name=name,
        root=root,
        rows=rows.sort_values("image_id", ignore_index=True),
        left_out=pd.DataFrame(findings.left_out, columns=["item", "reason"], dtype=str),
        notes=tuple(findings.notes),
        expected=dict(findings.expected),
        expected_subjects=findings.expected_subjects,
        private=known.private,
    )


def load(name: str, root: Path | str | None = None, **options: Any) -> pd.DataFrame:
    """Return the rows of a database: `survey` without what was left out.

    Examples
    --------
    >>> load("synthetic").dataset.unique().tolist()
    ['synthetic']
    """
    return survey(name, root, options).rows


def _look(name: str, known: Database, root: Path | None, options: dict[str, Any]) -> Findings:
    """Let the database's module look through the root."""
    own_table = root is not None and (root / "manifest.csv").is_file()
    if own_table and name in DATABASES and not (known.private or known.bundled):
        if options:
            raise SettingsError(
                f"{root} has a manifest.csv, which says what is used, so that the options of {name} "
                f"({', '.join(options)}) have no effect. Remove one of them."
            )
        findings = Findings(rows=manifest.load(root))
        findings.notes.append("read by its manifest.csv, not by the names of its files")
        return findings
    try:
        return known.survey(root, **options)
    except OSError as error:
        if not known.private or isinstance(error, EkmanExpressionsError):
            raise
        # The original message has a path, which may say who is seen.
        raise DataError(f"A file of the database {name!r} cannot be read ({error.strerror}).") from None
