"""The pages of a report: which there are, and their templates filled in."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from jinja2 import Environment

from ekman_expressions.core.files import atomic_path

HERE = Path(__file__).parent
STATIC, TEMPLATES = HERE / "static", HERE / "templates"


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: its file, its name in the menu, its template and what fills it."""

    file: str
    title: str
    template: str
    values: dict[str, Any] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()


def write_pages(pages: Sequence[Page], folder: Path, **common: Any) -> None:
    """Write all pages, each with a menu of all, and the styles and scripts that they share."""
    for item in sorted(STATIC.iterdir()):
        if item.is_file():
            (folder / "assets").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item, folder / "assets" / item.name)
    environment = _environment()
    for page in pages:
        text = environment.get_template(page.template).render(page=page, pages=pages, **common, **page.values)
        with atomic_path(folder / page.file) as temporary:
            temporary.write_text(text, encoding="utf-8")


def asset_files() -> dict[str, Path]:
    """Return templates, styles and scripts: when they change, reports are made anew."""
    found = [path for folder in (STATIC, TEMPLATES) for path in sorted(folder.iterdir()) if path.is_file()]
    return {f"report/{path.parent.name}/{path.name}": path for path in found}


def table_rows(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as its template takes it: columns, and rows of texts with whether they are numbers."""
    numeric = {name: pd.api.types.is_numeric_dtype(table[name]) for name in table}
    rows = [
        [(_text(value), numeric[name], _sort_key(value)) for name, value in zip(table, row, strict=True)]
        for row in table.itertuples(index=False)
    ]
    columns = [(str(name).replace("_", " "), numeric[name]) for name in table]
    return {"columns": columns, "rows": rows}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}" if abs(value) < 1e5 else f"{value:.0f}"
    return "–" if pd.isna(value) else str(value)


def _sort_key(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
