"""The step "report": gather what there is, write data, link pictures, fill the pages' templates."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ekman_expressions import __version__, figures, study
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import atomic_path, read_csv, read_json, write_csv
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.facespace.heatmaps import _heatmap_name, read_gray
from ekman_expressions.measures import scores
from ekman_expressions.report import data
from ekman_expressions.study import pictures, prepared, read_results
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.steps import Step

_OWNED = ("assets", "data", "faces", "figures", "tables")
_STATIC, _TEMPLATES = Path(__file__).parent / "static", Path(__file__).parent / "templates"
_PAGES = tomllib.loads((_TEMPLATES / "pages.toml").read_text("utf-8"))


def _report(experiment: Experiment, run: Run, *, show_faces: bool | None = None) -> None:
    """Write ``results/<experiment>/report/index.html`` from what the steps have left; see `make`.

    At least the step "heatmaps" has come to its end; each further section appears when its step has.
    """
    source = data._Source.of_experiment(experiment)
    allowed = source.shareable if show_faces is None else show_faces
    _write(source, experiment.report_folder, run, show_faces=allowed)


def _templates(experiment: Experiment) -> dict[str, Path]:
    """Return templates, styles and scripts: when they change, reports are made again."""
    paths = sorted([*_STATIC.iterdir(), *_TEMPLATES.iterdir()])
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
"""All steps: those of the study, which knows nothing of reports, and the report of what they have left."""


def make(source: Experiment | Path | str, *, folder: Path | str | None = None, show_faces: bool | None = None) -> Run:
    """Write the report of an experiment, or of heatmaps alone: no faces, no models, no predictions.

    Parameters
    ----------
    source : Experiment or Path
        An experiment, whose step "report" is run; or a folder laid out like the released one:
        ``GRAY/heatmaps_by_cv``, ``GRAY/heatmaps_by_net``, ``GRAY/heatmaps_total`` (any of them), and
        ``GROUND_TRUTH``; without that the package's masks.
    folder : Path, optional
        Of heatmaps alone, where it is written; by default ``results/<name>/report``, the name that of their
        folder, or of the one above if that is "heatmaps".
    show_faces : bool, optional
        Of an experiment, whether the pages show single faces. By default only if all come from bundled
        databases: the terms of others forbid copies to be passed on.

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
    _write(data._Source.of_heatmaps(heatmaps, name), run.folder, run, show_faces=False)
    return run


def _write(source: data._Source, folder: Path, run: Run, *, show_faces: bool) -> None:
    for name in _OWNED:
        shutil.rmtree(folder / name, ignore_errors=True)
    for page in folder.glob("*.html"):
        page.unlink()
    cells = data._write_cells(source, folder, run)
    data._write_common(source, folder, cells)
    under = data._write_background(source, folder / "assets" / "face.webp")
    steps = _provenance(source)
    omitted = sum(len(entry["omissions"]) for entry in steps)
    explainer = EXPLAINERS[source.explainer].title
    pages = {
        "index.html": {"steps": steps, "omitted": omitted, **_overview(source, folder)},
        "wall.html": {"under": under, "explainer": explainer, "printed": _draw_wall(source, folder, cells)},
        "explorer.html": {"under": under},
    }
    if source.experiment is not None:
        if (source.experiment.facespace_folder / "explanations.csv").exists():
            pages["faces.html"] = _faces_page(source, folder, run, show_faces)
        pages |= _linked_pages(source.experiment, folder)
    if steps:
        pages["provenance.html"] = {"steps": steps}
    _write_pages(pages, folder, source.name)
    run.made(*(path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"), items=0)


def _draw_wall(source: data._Source, folder: Path, cells: Mapping[str, Any]) -> str:
    """Draw the wall of networks × expressions for print, of the explainer that is shown first."""
    images = {}
    for network, expression in product((None, *source.networks), source.expressions):
        usable = f"{source.explainer}/{_heatmap_name(expression, network)}" in cells
        image = read_gray(source.heatmaps[source.explainer], expression, network) if usable else None
        images[network or "all networks", title(expression)] = image
    if all(image is None for image in images.values()):
        return ""
    outlines = {title(name): mask for name, mask in source.masks.items()}
    figures.save(figures.heatmap_wall(images, outlines=outlines), folder / "figures" / "wall.png")
    return "figures/wall.png"


def _faces_page(source: data._Source, folder: Path, run: Run, show_faces: bool) -> dict[str, Any]:
    models = data._write_faces(source, folder, run) if show_faces else []
    return {
        "models": models,
        "allowed": show_faces,
        "most": data._MOST,
        "databases": ", ".join(source.experiment.faces.datasets),
        "scripts": ("core.js", "faces.js") if models else (),
    }


def _write_pages(values: Mapping[str, dict[str, Any]], folder: Path, name: str) -> None:
    """Write all pages, each with a menu of all, and the styles and scripts that they share."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    for path in _STATIC.iterdir():
        shutil.copyfile(path, folder / "assets" / path.name)
    blanks = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    loader = FileSystemLoader(_TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **blanks)
    pages = [
        {"file": file, "template": file, **page, **values[file]} for file, page in _PAGES.items() if file in values
    ]
    for page in pages:
        template = environment.get_template(page["template"])
        with atomic_path(folder / page["file"]) as temporary:
            text = template.render(page=page, pages=pages, name=name, version=__version__)
            temporary.write_text(text, encoding="utf-8")


_WHITE = "all-white mask (no information)"
_BASELINES = ("random_pixels", "ellipse_30", "other_masks")


def _overview(source: data._Source, folder: Path) -> dict[str, Any]:
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
        "source": source,
        "faces": _faces(source),
        "explained": _explained(source),
        "six": source.expressions == EXPRESSIONS,
        "explainers": EXPLAINERS,
        "table": table.to_dict("records"),
        "columns": list(table),
        "scores": {name: label for name, label in labels.items() if name in table},
        "references": table["network"][~table["network"].isin(source.networks)].tolist(),
        "interval_words": f"95 % interval over {unit}s in brackets" if unit else "",
    }


def _main_table(source: data._Source) -> tuple[pd.DataFrame, str]:
    """Return a row per network, then baselines; and over what the intervals are, if there are any."""
    experiment, unit = source.experiment, ""
    table = pd.DataFrame({"network": source.networks})
    if experiment is not None:
        # Heatmaps alone do not tell how their networks began.
        kinds = figures.network_kinds(source.networks, experiment.training.weights)
        table["kind"] = table["network"].map(kinds)
        accuracy = pictures._table(experiment.evaluation_folder, "accuracy_by_fold")
        if len(accuracy):
            ends = {"accuracy": "mean", "accuracy_lowest": "min", "accuracy_highest": "max"}
            table = table.join(accuracy.groupby("network")["accuracy"].agg(**ends), on="network")
    means, pooled = (_averages(found).set_index("network")[list(scores.METRICS)] for found in _scores(source))
    table = table.join(means.assign(iou_pooled=pooled["iou"]), on="network", how="inner")
    rows = []
    if source.masks:
        each = [scores.mask_scores(np.ones_like(mask), mask) for mask in source.masks.values()]
        white = pd.DataFrame(each).mean()
        rows.append({"network": _WHITE, "iou_pooled": white["iou"], **white})
    # Without masks, what an earlier run left is of other settings.
    intervals, baselines = (
        pictures._table(experiment.statistics_folder, name) if experiment and source.masks else pd.DataFrame()
        for name in ("intervals", "baselines")
    )
    if len(intervals):
        # Over subjects where these are known, else over folds.
        unit = "subject" if intervals["subject_low"].notna().any() else "fold"
        ends = {f"{unit}_low": "iou_low", f"{unit}_high": "iou_high"}
        whole = _averages(intervals[intervals["score"] == "iou"]).set_index("network")
        table = table.join(whole[list(ends)].rename(columns=ends), on="network")
    if len(baselines):
        known = _averages(baselines[baselines["score"] == "iou"]).dropna(subset="value")
        known = known[known["baseline"].isin(_BASELINES)]
        rows += [{"network": row.meaning, "iou": row.value} for row in known.itertuples()]
    table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    return (table if source.folds else table.drop(columns="iou_pooled")), unit


def _averages(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["expression"] == scores.AVERAGE]


def _scores(source: data._Source) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what `scores.summarise` makes of the folds' heatmaps, and of those of all folds together."""
    experiment = source.experiment
    if not source.masks:
        names = pd.DataFrame({"network": source.networks, "expression": source.expressions[0]})
        unknown = scores.summarise(names.reindex(columns=[*names, *scores.METRICS]))
        return unknown, unknown
    if experiment is not None and (experiment.scores_folder / "scores_by_fold.csv").exists():
        by_fold = scores.summarise(read_results(experiment, "scores", "scores_by_fold"))
        return by_fold, read_results(experiment, "scores", "scores_pooled")
    by_network = [(network, None) for network in source.networks]
    by_fold = list(product(source.networks, source.folds))
    folder, omit = source.heatmaps[source.explainer], Run().omit
    return tuple(
        scores.summarise(scores._score_heatmaps(folder, models, source.masks, omit))
        for models in (by_fold or by_network, by_network)
    )


def _provenance(source: data._Source) -> list[dict[str, Any]]:
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


def _faces(source: data._Source) -> dict[str, int] | None:
    """Count the prepared faces and their persons, if there are any."""
    if source.experiment is None or not source.experiment.manifest_path.exists():
        return None
    manifest = prepared.read_manifest(source.experiment)
    return {"all": len(manifest), "persons": manifest["subject"].nunique()}


def _explained(source: data._Source) -> dict[str, dict[str, float]]:
    """Return of each network how many faces are explained, and the mean R² of that."""
    if source.experiment is None:
        return {}
    table = pictures._table(source.experiment.facespace_folder, "explanations")
    if table.empty:
        return {}
    means = table.groupby("network", sort=False)[["r2", "r2_unseen"]].mean()
    return means.assign(faces=table["network"].value_counts()).to_dict("index")


_MOST_ROWS = 120
"""A page shows so many rows of a table at most; its file has all."""


def _linked_pages(experiment: Experiment, folder: Path) -> dict[str, dict[str, Any]]:
    """Copy the pictures and tables of the steps; return the values of each page that has some."""
    pages = {}
    for file, page in _PAGES.items():
        shown, tables = [], []
        for name in page.get("folders", ()):
            source, step = getattr(experiment, name), name.removesuffix("_folder")
            # Of all expressions first, of single folds last.
            paths = sorted(source.glob("*.png"))
            paths.sort(key=lambda path: ("_by_CV" in path.name, not path.name.startswith("By_")))
            shown += [_picture(path, folder, step) for path in paths]
            if page.get("tables", True):
                tables += [_table(path, folder, step) for path in sorted(source.glob("*.csv"))]
        tables = sorted(filter(None, tables), key=lambda table: len(table["rows"]))
        if shown or tables:
            pages[file] = {"template": "figures.html", "pictures": shown, "tables": tables}
    return pages


def _picture(path: Path, folder: Path, step: str) -> dict[str, Any]:
    """Copy a picture, and return what its page says of it: the texts are in the picture's file."""
    from PIL import Image

    name = f"{step}_{path.stem}"
    with Image.open(path) as picture:
        # Texts that stand before the pixels are read without decoding these.
        texts, dpi = picture.info, picture.info.get("dpi", (96, 96))[0]
        width, height = (round(pixels / dpi * 96) for pixels in picture.size)
    return {
        "name": name,
        "title": texts.get("Title", path.stem.replace("_", " ")),
        "caption": texts.get("Comment", ""),
        "width": width,
        "height": height,
        "file": _copy(path, folder / "figures" / f"{name}.png"),
    }


def _table(path: Path, folder: Path, step: str) -> dict[str, Any] | None:
    """Copy a table, and return what its page says of it: columns, and rows of texts and keys to sort by."""
    table = read_csv(path)
    if table.empty:
        return None
    name = f"{step}_{path.stem}"
    numeric = pd.api.types.is_numeric_dtype
    rows = table.head(_MOST_ROWS).itertuples(index=False)
    return {
        "name": name,
        "title": f"Table: {path.stem.replace('_', ' ')}",
        "cut": len(table) if len(table) > _MOST_ROWS else 0,
        "file": _copy(path, folder / "tables" / f"{name}.csv"),
        "columns": [(column.replace("_", " "), numeric(table[column])) for column in table],
        "rows": [[(_text(value), "" if pd.isna(value) else value) for value in row] for row in rows],
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
