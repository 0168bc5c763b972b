"""The step "report": gather what there is, write data, link pictures, fill the pages' templates."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

from ekman_expressions import __version__, figures, study
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import atomic_path
from ekman_expressions.report.data import MOST, write_background, write_faces, write_heatmaps
from ekman_expressions.report.pages import linked_pages, overview, provenance
from ekman_expressions.report.source import Source
from ekman_expressions.study.experiment import Experiment, find_root
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.steps import STEPS, Step

_OWNED = ("assets", "data", "faces", "figures", "tables")
_STATIC, _TEMPLATES = Path(__file__).parent / "static", Path(__file__).parent / "templates"


def report(experiment: Experiment, run: Run, *, show_faces: bool | None = None) -> None:
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
    source = Source.of_experiment(experiment)
    allowed = source.shareable if show_faces is None else show_faces
    _write(source, experiment.report_folder, run, show_faces=allowed)


def _templates(experiment: Experiment) -> dict[str, Path]:
    """Return templates, styles and scripts: when they change, reports are made again."""
    paths = (path for folder in (_STATIC, _TEMPLATES) for path in sorted(folder.iterdir()) if path.is_file())
    return {f"report/{path.parent.name}/{path.name}": path for path in paths}


STEP = Step(
    "report",
    report,
    "report_folder",
    "offline HTML report: open its index.html",
    reads=("heatmaps",),
    also=tuple(name for name in STEPS if name != "heatmaps"),
    every_explainer=True,
    files=_templates,
)
"""The last step, of a table of its own: the study knows nothing of reports."""


def make(experiment: Experiment, *, show_faces: bool | None = None) -> Run:
    """Run the step "report", see `report`, and say what it did."""
    options = {} if show_faces is None else {"show_faces": show_faces}
    return study.run(experiment, STEP.name, steps={STEP.name: STEP}, **options)


def make_of_heatmaps(
    heatmaps: Path | str, *, name: str | None = None, folder: Path | str | None = None
) -> tuple[Run, Path]:
    """Write a report of heatmaps alone: no faces, no models, no predictions.

    Parameters
    ----------
    heatmaps : Path
        A folder laid out like the released one: ``GRAY/heatmaps_by_cv``, ``GRAY/heatmaps_by_net``,
        ``GRAY/heatmaps_total`` (any of them), and ``GROUND_TRUTH``; without that the package's masks.
    name : str, optional
        What the report is called; by default the name of the folder, or of the one above if
        that is "heatmaps".
    folder : Path, optional
        Where it is written; by default ``results/<name>/report``.

    Returns
    -------
    Run, Path
        What was made and left out, and the page to open.

    Raises
    ------
    MissingError
        If there is no heatmap in the folder.
    """
    heatmaps = Path(heatmaps).resolve()
    name = name or (heatmaps.parent.name if heatmaps.name == "heatmaps" else heatmaps.name)
    folder = Path(folder) if folder is not None else find_root() / "results" / name / "report"
    run = Run()
    _write(Source.of_heatmaps(heatmaps, name), folder, run, show_faces=False)
    return run, folder / "index.html"


def _write(source: Source, folder: Path, run: Run, *, show_faces: bool) -> None:
    for name in _OWNED:
        shutil.rmtree(folder / name, ignore_errors=True)
    for page in folder.glob("*.html"):
        page.unlink()
    write_heatmaps(source, folder, run)
    under = write_background(source, folder / "assets" / "face.webp")
    steps = provenance(source)
    pages = [
        {
            "file": "index.html",
            "title": "Overview",
            "steps": steps,
            "omitted": sum(len(entry["omissions"]) for entry in steps),
            **overview(source, folder),
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
        pages += [{"template": "figures.html", **page} for page in linked_pages(source.experiment, folder)]
    if steps:
        about = "Versions, settings, times, and what was left out and why."
        pages.append({"file": "provenance.html", "title": "Provenance", "about": about, "steps": steps})
    _write_pages(pages, folder, source.name)
    run.made(*(path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"), items=0)


def _draw_wall(source: Source, folder: Path) -> str:
    """Draw the wall of networks × expressions for print, of the explainer that is shown first."""
    rows = {"all networks": None} | {network: network for network in source.networks}
    images = {
        (row, title(expression)): source.read_usable(expression, network)
        for row, network in rows.items()
        for expression in EXPRESSIONS
    }
    if all(image is None for image in images.values()):
        return ""
    outlines = {title(name): mask for name, mask in source.masks.items()}
    figures.save(figures.heatmap_wall(images, outlines=outlines), folder / "figures" / "wall.png")
    return "figures/wall.png"


def _faces_page(source: Source, folder: Path, run: Run, show_faces: bool) -> dict[str, Any]:
    models = write_faces(source, folder, run) if show_faces else []
    return {
        "file": "faces.html",
        "title": "Explained faces",
        "about": "Single faces: superpixels, weights with standard errors, R².",
        "models": models,
        "allowed": show_faces,
        "most": MOST,
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
