"""The step "report": gather what there is, write data, link pictures, fill the pages' templates."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from jinja2 import Environment

from ekman_expressions import __version__, figures, study
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import atomic_path, read_csv, read_json, write_csv
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.facespace.heatmaps import read_gray
from ekman_expressions.measures import scores
from ekman_expressions.report.data import (
    _MOST,
    _Source,
    _write_background,
    _write_cells,
    _write_common,
    _write_faces,
)
from ekman_expressions.study import prepared, read_results
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.steps import Step

_OWNED = ("assets", "data", "faces", "figures", "tables")
_STATIC, _TEMPLATES = Path(__file__).parent / "static", Path(__file__).parent / "templates"


def _report(experiment: Experiment, run: Run, *, show_faces: bool | None = None) -> None:
    """Write ``results/<experiment>/report/index.html`` from what the steps have left.

    At least the step "heatmaps" has come to its end; each further section appears when its step has.

    Parameters
    ----------
    experiment : Experiment
    run : Run
    show_faces : bool, optional
        Whether the pages show single faces. By default only if all come from bundled
        databases: the terms of others forbid copies to be passed on.
    """
    source = _Source.of_experiment(experiment)
    allowed = source.shareable if show_faces is None else show_faces
    _write(source, experiment.report_folder, run, show_faces=allowed)


def _templates(experiment: Experiment) -> dict[str, Path]:
    """Return templates, styles and scripts: when they change, reports are made again."""
    paths = (path for folder in (_STATIC, _TEMPLATES) for path in sorted(folder.iterdir()) if path.is_file())
    return {f"report/{path.parent.name}/{path.name}": path for path in paths}


_STEP = Step(
    "report",
    _report,
    "report_folder",
    "offline HTML report: open its index.html",
    reads=("heatmaps",),
    also=tuple(name for name in study.STEPS if name != "heatmaps"),
    every_explainer=True,
    files=_templates,
)

STEPS: dict[str, Step] = {**study.STEPS, _STEP.name: _STEP}
"""All steps: those of the study, which knows nothing of reports, and the report, of all that they have left."""


def make(
    source: Experiment | Path | str, *, folder: Path | str | None = None, show_faces: bool | None = None
) -> Run:
    """Write the report of an experiment, or of heatmaps alone: no faces, no models, no predictions.

    Parameters
    ----------
    source : Experiment or Path
        An experiment, whose step "report" is run; or a folder laid out like the released one:
        ``GRAY/heatmaps_by_cv``, ``GRAY/heatmaps_by_net``, ``GRAY/heatmaps_total`` (any of them), and
        ``GROUND_TRUTH``; without that the package's masks.
    folder : Path, optional
        Of heatmaps alone, where it is written; by default ``results/<name>/report``, the name that of their folder,
        or of the one above if that is "heatmaps".
    show_faces : bool, optional
        Of an experiment, whether the pages show single faces. By default only if all come from bundled databases.

    Returns
    -------
    Run
        What was made and left out. Open ``index.html`` in its `folder`, or in ``experiment.report_folder``.

    Raises
    ------
    MissingError
        If there is no heatmap.
    """
    if isinstance(source, Experiment):
        options = {} if show_faces is None else {"show_faces": show_faces}
        return study.run(source, _STEP.name, steps=STEPS, **options)
    heatmaps = Path(source).resolve()
    name = (heatmaps.parent if heatmaps.name == "heatmaps" else heatmaps).name
    run = Run(Path(folder) if folder is not None else Experiment.find_root() / "results" / name / "report")
    _write(_Source.of_heatmaps(heatmaps, name), run.folder, run, show_faces=False)
    return run


def _write(source: _Source, folder: Path, run: Run, *, show_faces: bool) -> None:
    for name in _OWNED:
        shutil.rmtree(folder / name, ignore_errors=True)
    for page in folder.glob("*.html"):
        page.unlink()
    _write_common(source, folder, _write_cells(source, folder, run))
    under = _write_background(source, folder / "assets" / "face.webp")
    steps = _provenance(source)
    pages = [
        {
            "file": "index.html",
            "title": "Overview",
            "steps": steps,
            "omitted": sum(len(entry["omissions"]) for entry in steps),
            **_overview(source, folder),
        },
        {
            "file": "wall.html",
            "title": "Heatmap wall",
            "about": "All heatmaps side by side, networks × expressions, folds on demand.",
            "under": under,
            "explainer": source.titles[source.explainer],
            "printed": _draw_wall(source, folder),
            "scripts": ("core.js", "wall.js"),
        },
        {
            "file": "explorer.html",
            "title": "Explorer",
            "about": "One heatmap, or two with their difference: move the threshold and watch the scores.",
            "under": under,
            "scripts": ("core.js", "explorer.js"),
        },
    ]
    if source.experiment is not None:
        if (source.experiment.facespace_folder / "explanations.csv").exists():
            pages.append(_faces_page(source, folder, run, show_faces))
        pages += [{"template": "figures.html", **page} for page in _linked_pages(source.experiment, folder)]
    if steps:
        about = "Versions, settings, times, and what was left out and why."
        pages.append({"file": "provenance.html", "title": "Provenance", "about": about, "steps": steps})
    _write_pages(pages, folder, source.name)
    run.made(*(path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"), items=0)


def _draw_wall(source: _Source, folder: Path) -> str:
    """Draw the wall of networks × expressions for print, of the explainer that is shown first."""
    rows = {"all networks": None} | {network: network for network in source.networks}
    images = {
        (row, title(expression)): _read_usable(source, expression, network)
        for row, network in rows.items()
        for expression in source.expressions
    }
    if all(image is None for image in images.values()):
        return ""
    outlines = {title(name): mask for name, mask in source.masks.items()}
    figures.save(figures.heatmap_wall(images, outlines=outlines), folder / "figures" / "wall.png")
    return "figures/wall.png"


def _read_usable(source: _Source, expression: str, network: str | None) -> np.ndarray | None:
    with suppress(DataError, MissingError):
        return read_gray(source.heatmaps[source.explainer], expression, network)
    return None


def _faces_page(source: _Source, folder: Path, run: Run, show_faces: bool) -> dict[str, Any]:
    models = _write_faces(source, folder, run) if show_faces else []
    return {
        "file": "faces.html",
        "title": "Explained faces",
        "about": "Single faces: superpixels, weights with standard errors, R².",
        "models": models,
        "allowed": show_faces,
        "most": _MOST,
        "databases": ", ".join(source.experiment.faces.datasets),
        "scripts": ("core.js", "faces.js") if models else (),
    }


def _write_pages(pages: list[dict[str, Any]], folder: Path, name: str) -> None:
    """Write all pages, each with a menu of all, and the styles and scripts that they share."""
    for path in sorted(_STATIC.iterdir()):
        if path.is_file():
            shutil.copyfile(path, folder / "assets" / path.name)
    for page in pages:
        template = _environment().get_template(page.get("template", page["file"]))
        with atomic_path(folder / page["file"]) as temporary:
            text = template.render(page=page, pages=pages, name=name, version=__version__)
            temporary.write_text(text, encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


_WHITE = "all-white mask (no information)"
_BASELINES = ("random_pixels", "ellipse_30", "other_masks")


def _overview(source: _Source, folder: Path) -> dict[str, Any]:
    """Write the main table into ``tables/main.csv``, and return the values of the page."""
    table, unit = _main_table(source)
    write_csv(folder / "tables" / "main.csv", table)
    labels = {
        "iou": "IoU, mean over folds" if source.folds else "IoU",
        "f1_score": "F1",
        "precision": "precision",
        "recall": "recall",
        "iou_pooled": "IoU, pooled",
    }
    return {
        "words": _words(source),
        "table": table.to_dict("records"),
        "has_accuracy": "accuracy" in table,
        "has_kinds": "kind" in table,
        "scores": {name: label for name, label in labels.items() if name in table},
        "references": table["network"][~table["network"].isin(source.networks)].tolist(),
        "interval_words": f"95 % interval over {unit}s in brackets" if unit else "",
    }


def _main_table(source: _Source) -> tuple[pd.DataFrame, str]:
    """Return a row per network, then baselines; and over what the intervals are, if there are any."""
    experiment = source.experiment
    if not source.masks:
        names = pd.DataFrame({"network": source.networks, "expression": source.expressions[0]})
        by_fold, pooled = names.reindex(columns=[*names, *scores.METRICS]), {}
    elif experiment is not None and (experiment.scores_folder / "scores_by_fold.csv").exists():
        columns = ("network", "expression", *scores.METRICS)
        by_fold = read_results(experiment, "scores", "scores_by_fold", ("fold", *columns))
        pooled = read_results(experiment, "scores", "scores_pooled", columns)
        pooled = pooled[pooled["expression"] == scores.AVERAGE].set_index("network")["iou"]
    else:
        omit = lambda item, error: None  # noqa: E731
        folder = source.heatmaps[source.explainer]
        models = [(net, fold) for net, fold in source.levels if fold is not None]
        nets = [(net, None) for net in source.networks]
        by_fold = scores._score_heatmaps(folder, models or nets, source.masks, omit)
        pooled = scores._score_heatmaps(folder, nets, source.masks, omit).groupby("network")["iou"].mean()
    table = scores.summarise(by_fold)
    table = table[(table["expression"] == scores.AVERAGE) & table["network"].isin(source.networks)]
    table = table.drop(columns="expression").assign(iou_pooled=table["network"].map(pooled))
    if experiment is not None:
        # Heatmaps alone do not tell how their networks began.
        kinds = figures.network_kinds(source.networks, experiment.training.weights)
        table.insert(1, "kind", table["network"].map(kinds))
    accuracy = source.table("evaluation_folder", "accuracy_by_fold")
    if accuracy is not None:
        by_network = accuracy.groupby("network")["accuracy"].agg(["mean", "min", "max"])
        for place, name in enumerate(("accuracy", "accuracy_lowest", "accuracy_highest")):
            table.insert(2 + place, name, table["network"].map(by_network.iloc[:, place]))
    intervals, unit = source.table("statistics_folder", "intervals"), ""
    # Without masks, what an earlier run left is of other settings.
    if intervals is not None and source.masks:
        # Over subjects where these are known, else over folds.
        unit = "subject" if intervals["subject_low"].notna().any() else "fold"
        whole = intervals[(intervals["score"] == "iou") & (intervals["expression"] == scores.AVERAGE)]
        whole = whole.rename(columns={f"{unit}_low": "iou_low", f"{unit}_high": "iou_high"})
        table = table.merge(whole[["network", "iou_low", "iou_high"]], "left", on="network")
    area = np.array([float(mask.mean()) for mask in source.masks.values()])
    white = {"iou": area, "f1_score": 2 * area / (1 + area), "precision": area, "iou_pooled": area}
    means = {name: values.mean() for name, values in white.items() if source.masks}
    rows = [{"network": _WHITE, "recall": 1.0, **means}] if means else []
    baselines = source.table("statistics_folder", "baselines")
    if baselines is not None and source.masks:
        known = baselines[(baselines["score"] == "iou") & (baselines["expression"] == scores.AVERAGE)]
        known = known[known["baseline"].isin(_BASELINES) & known["value"].notna()]
        rows += [{"network": row.meaning, "iou": row.value} for row in known.itertuples()]
    table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    return (table if source.folds else table.drop(columns="iou_pooled", errors="ignore")), unit


def _words(source: _Source) -> list[str]:
    """Say in sentences what was done, as far as the files tell."""
    count, names = len(source.networks), source.networks
    listed = " and ".join(names) if count < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
    folds = f" {len(source.folds)} folds," if source.folds else ""
    classes = "six expressions"
    if source.expressions != EXPRESSIONS:
        classes = f"{len(source.expressions)} classes ({', '.join(source.expressions)})"
    sentences = [f"{count} network{'' if count == 1 else 's'} ({listed}),{folds} {classes}."]
    experiment = source.experiment
    if experiment is None:
        sentences.append(
            "Made from heatmaps alone: there are no faces, models or predictions behind these pages, so what "
            "needs them is left out."
        )
    else:
        sentences += [_faces(experiment), _training(experiment), _explanation(experiment)]
    sentences.append(
        "Each explanation was warped by landmarks into one face space of 275 × 224 pixels and averaged. The "
        "masks with which heatmaps are compared, Ekman's or your own, are a reference, not a truth."
    )
    return sentences


def _provenance(source: _Source) -> list[dict[str, Any]]:
    """Return what each step's ``run.json`` says, in the order of the flow."""
    experiment = source.experiment
    if experiment is None:
        return []
    explained = [experiment.explained_by(name) for name in experiment.explainers]
    unfinished, entries = {"seconds": None, "done": None, "omissions": [], "notes": []}, []
    for folder in sorted({step.folder_of(by) for by in explained for step in study.STEPS.values()}):
        if (folder / "run.json").exists():
            entry = unfinished | read_json(folder / "run.json")
            entry["folder"] = str(folder.relative_to(experiment.root))
            entry["settings"] = json.dumps(entry["settings"], indent=2, ensure_ascii=False)
            entries.append(entry)
    return sorted(entries, key=lambda entry: entry["start"])


def _faces(experiment: Experiment) -> str:
    names = ", ".join(experiment.faces.datasets)
    if not experiment.manifest_path.exists():
        return f"Faces: {names}."
    manifest = prepared.read_manifest(experiment)
    persons = manifest["subject"].nunique()
    return f"{len(manifest)} faces of {persons} persons ({names}); folds never split a person."


def _training(experiment: Experiment) -> str:
    if not experiment.trained_networks:
        return "The models were trained elsewhere."
    weights = experiment.training.weights
    start = {
        "none": "All networks start from random weights",
        "imagenet": "The networks of Keras Applications start from ImageNet weights",
        "released": "The models are those that the study's authors released",
    }.get(weights, "The networks of Keras Applications start from weights in a folder of the user's")
    if weights == "released":
        return f"{start}."
    return f"{start}; preprocessing '{experiment.training.preprocessing}'."


def _explanation(experiment: Experiment) -> str:
    settings = experiment.explanation
    text = (
        f"Explained by {EXPLAINERS[settings.explainer].title}: at most {settings.positives} faces per model "
        f"and expression, of those that the model itself predicts so; about {settings.segments} superpixels, "
        f"{settings.samples} masked copies of each face (hidden: {settings.hides_by})"
    )
    path = experiment.facespace_folder / "explanations.csv"
    if not path.exists():
        return f"{text}."
    found = [
        f"{name}: {len(rows)} faces, mean R² {rows['r2'].mean():.2f}, on unseen samples "
        f"{rows['r2_unseen'].mean():.2f}"
        for name, rows in read_csv(path, ("network", "r2", "r2_unseen")).groupby("network", sort=False)
    ]
    return f"{text} ({'; '.join(found)})."


_MOST_ROWS = 120
"""A page shows so many rows of a table at most; its file has all."""


def _linked_pages(experiment: Experiment, folder: Path) -> Iterator[dict[str, Any]]:
    """Copy the pictures and tables of the steps into a report, and yield the values of each page that has
    some.
    """
    for file, page in tomllib.loads((_TEMPLATES / "pages.toml").read_text("utf-8")).items():
        pictures, tables = [], []
        for name in page["folders"]:
            source, step = getattr(experiment, name), name.removesuffix("_folder")
            pictures += [_picture(path, folder, step) for path in _sorted_pictures(source)]
            if page.get("tables", True):
                tables += [_table(path, folder, step) for path in sorted(source.glob("*.csv"))]
        tables = sorted(filter(None, tables), key=lambda table: len(table["rows"]))
        if pictures or tables:
            yield {**page, "file": file, "pictures": pictures, "tables": tables}


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
        "alt": title,
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
