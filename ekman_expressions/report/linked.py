"""The pages of a report that link what the steps drew and measured: pictures with captions, and tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ekman_expressions.core.files import read_csv
from ekman_expressions.study.experiment import Experiment

_MOST_ROWS = 120
"""A page shows so many rows of a table at most; its file has all."""


class _Linked(NamedTuple):
    """A page: its file and title, what it is about, and the folders of `Experiment` that it links."""

    file: str
    title: str
    about: str
    text: str
    folders: tuple[str, ...]
    tables: bool = True


_PAGES = (
    _Linked(
        "scores.html",
        "Scores",
        "IoU with the Ekman masks as bars, per expression.",
        "How far what a heatmap marks above Otsu's threshold overlaps with the Ekman mask. The black line is "
        "what a map that is white everywhere would score: a heatmap below it is not shown to look at the "
        "mask.",
        ("barplots_folder",),
    ),
    _Linked(
        "dendrograms.html",
        "Dendrograms",
        "Which networks, folds and expressions show the same pattern.",
        "Which heatmaps show the same pattern? Leaves are coloured by how the network started. If the folds "
        "of one network are no closer to each other than to other networks, differences between networks "
        "are chance.",
        ("dendrograms_folder",),
    ),
    _Linked(
        "classification.html",
        "Classification",
        "Accuracy and confusion matrices.",
        "How good the networks are on the faces of the fold that they were not trained on. What is explained "
        "are the faces that a network itself predicts as an expression, right or wrong.",
        ("evaluation_folder",),
        tables=False,
    ),
    _Linked(
        "training.html",
        "Training",
        "Learning curves.",
        "How the networks learned.",
        ("models_folder",),
        tables=False,
    ),
    _Linked(
        "quality.html",
        "Quality",
        "How faithful the explanations are: deletion and insertion curves, stability.",
        "Do the explanations say what matters to the model? Deletion hides the most relevant pixels first: "
        "the faster the probability falls, the better. Insertion shows them first: the faster it rises, "
        "the better. A random order and one from the centre outwards are what an explanation must beat.",
        ("quality_folder",),
    ),
    _Linked(
        "statistics.html",
        "Statistics",
        "Chance baselines, permutation tests, intervals, regions.",
        "What the scores are worth: what maps score that know nothing of the network or of the expression, "
        "how sure the means are, and whether own masks fit better than those of other expressions.",
        ("statistics_folder", "regions_folder"),
    ),
    _Linked(
        "explainers.html",
        "Explainers",
        "How far different explainers agree.",
        "How far different explainers agree on the same models and faces.",
        ("comparison_folder",),
    ),
    _Linked(
        "known.html",
        "Known answers",
        "Explanations against what is known of the synthetic faces.",
        "On synthetic faces it is known what changed. Here explanations are compared with it: do they find "
        "the region that really moved?",
        ("known_answers_folder",),
    ),
)


def linked_pages(experiment: Experiment, folder: Path) -> Iterator[dict[str, Any]]:
    """Copy the pictures and tables of the steps into a report, and yield each page's values.

    Yields
    ------
    dict
        ``file, title, about, text``; ``pictures`` and ``tables`` as their templates take them. A page
        without either is left out.
    """
    for page in _PAGES:
        pictures, tables = [], []
        for name in page.folders:
            source, step = getattr(experiment, name), name.removesuffix("_folder")
            pictures += [_picture(path, folder, step) for path in _sorted_pictures(source)]
            if page.tables:
                tables += [_table(path, folder, step) for path in sorted(source.glob("*.csv"))]
        tables = sorted(filter(None, tables), key=lambda table: len(table["rows"]))
        if pictures or tables:
            about = {"file": page.file, "title": page.title, "about": page.about, "text": page.text}
            yield {**about, "pictures": pictures, "tables": tables}


def _sorted_pictures(folder: Path) -> list[Path]:
    """Return a folder's pictures: of all expressions first, of single folds last."""
    paths = folder.glob("*.png")
    return sorted(paths, key=lambda path: ("_by_CV" in path.name, not path.name.startswith("By_"), path.name))


def _picture(path: Path, folder: Path, step: str) -> dict[str, Any]:
    """Copy a picture, and return what its page says of it: the texts are in the picture's file."""
    from PIL import Image

    name = f"{step}_{path.stem}"
    with Image.open(path) as picture:
        # Texts that stand before the pixels are read without decoding these.
        texts, dpi = picture.info, picture.info.get("dpi", (96, 96))[0]
        size = [round(pixels / dpi * 96) for pixels in picture.size]
    title = texts.get("Title", path.stem.replace("_", " "))
    return {
        "name": name,
        "title": title,
        "caption": texts.get("Comment", ""),
        "alt": texts.get("Description", title),
        "width": size[0],
        "height": size[1],
        "file": _copy(path, folder / "figures" / f"{name}.png"),
    }


def _table(path: Path, folder: Path, step: str) -> dict[str, Any] | None:
    """Copy a table, and return what its page says of it: columns, and rows of texts and keys to sort by."""
    table = read_csv(path)
    if table.empty:
        return None
    name = f"{step}_{path.stem}"
    numeric = {column: pd.api.types.is_numeric_dtype(table[column]) for column in table}
    rows = [
        [
            (_text(value), numeric[column], "" if pd.isna(value) else str(value))
            for column, value in zip(table, row, strict=True)
        ]
        for row in table.head(_MOST_ROWS).itertuples(index=False)
    ]
    return {
        "name": name,
        "title": f"Table: {path.stem.replace('_', ' ')}",
        "cut": len(table) if len(table) > _MOST_ROWS else 0,
        "file": _copy(path, folder / "tables" / f"{name}.csv"),
        "columns": [(str(column).replace("_", " "), numeric[column]) for column in table],
        "rows": rows,
    }


def _copy(path: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    return f"{target.parent.name}/{target.name}"


def _text(value: Any) -> str:
    if pd.isna(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.0f}"
    return str(value)
