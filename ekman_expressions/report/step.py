"""The step "report": gather what there is, write data, figures and pages."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path
from typing import Any

from ekman_expressions import __version__, study
from ekman_expressions.core.files import write_csv
from ekman_expressions.report import answers, atlas, backdrop, faces, measures, overview, sections
from ekman_expressions.report.pages import Page, asset_files, write_pages
from ekman_expressions.report.plots import publish
from ekman_expressions.report.source import Source, of_experiment, of_heatmaps
from ekman_expressions.study.experiment import Experiment, find_root
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.steps import STEPS, Step

_ABOUT = {
    "wall.html": "All heatmaps side by side, networks × expressions, folds on demand.",
    "explorer.html": "One heatmap, or two with their difference: move the threshold and watch the scores.",
    "faces.html": "Single faces: superpixels, weights with standard errors, R².",
    "scores.html": "IoU with the Ekman masks as bars, per expression.",
    "dendrograms.html": "Which networks, folds and expressions show the same pattern.",
    "classification.html": "Accuracy and confusion matrices.",
    "training.html": "Learning curves.",
    "quality.html": "How faithful the explanations are: deletion and insertion curves, stability.",
    "statistics.html": "Chance baselines, permutation tests, intervals, regions.",
    "explainers.html": "How far different explainers agree.",
    "known.html": "Explanations against what is known of the synthetic faces.",
    "provenance.html": "Versions, settings, times, and what was left out and why.",
}
_OWNED = ("assets", "data", "faces", "figures", "tables")


def report(experiment: Experiment, run: Run, *, show_faces: bool | None = None) -> None:
    """Write ``results/<experiment>/report/index.html`` from what the steps have left.

    At least the step "heatmaps" has come to its end; each further section appears when its step has.

    Parameters
    ----------
    experiment : Experiment
        Whose files are shown.
    run : Run
        Takes note of heatmaps, explained faces and figures made, and of what was left out.
    show_faces : bool, optional
        Whether the pages show single faces. By default only if all come from bundled
        databases: the terms of others forbid copies to be passed on.
    """
    allowed = backdrop.shareable(experiment) if show_faces is None else show_faces
    _write(of_experiment(experiment), experiment.report_folder, run, show_faces=allowed)


STEP = Step(
    "report",
    report,
    "report_folder",
    "offline HTML report: open its index.html",
    reads=("heatmaps",),
    also=tuple(name for name in STEPS if name != "heatmaps"),
    every_explainer=True,
    files=lambda experiment: asset_files(),
)
"""The last step, of a table of its own: the study knows nothing of reports."""


def make(experiment: Experiment, *, show_faces: bool | None = None) -> Run:
    """Run the step "report", see `report`, and say what it did.

    Raises
    ------
    MissingError
        If the step "heatmaps" has not come to its end.
    """
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
    source = of_heatmaps(heatmaps, name)
    run = Run()
    _write(source, folder, run, show_faces=False)
    return run, folder / "index.html"


def _write(source: Source, folder: Path, run: Run, *, show_faces: bool) -> None:
    for name in _OWNED:
        shutil.rmtree(folder / name, ignore_errors=True)
    for page in folder.glob("*.html"):
        page.unlink()
    cells = atlas.write_heatmaps(source, folder, run)
    atlas.write_common(source, folder, cells)
    under = backdrop.write(source, folder / "assets" / "face.webp")
    table = overview.main_table(source)
    write_csv(folder / "tables" / "main.csv", table)
    steps = overview.steps(source)
    pages = [
        Page(
            file="index.html",
            title="Overview",
            template="overview.html",
            values={
                "words": overview.words(source),
                "table": table.to_dict("records"),
                "has_accuracy": "accuracy" in table,
                "references": table["network"][~table["network"].isin(source.networks)].tolist(),
                "interval_words": overview.interval_words(source),
                "about": _ABOUT,
                "omitted": sum(len(entry["omissions"]) for entry in steps),
                "has_steps": bool(steps),
            },
        ),
        Page(
            file="wall.html",
            title="Heatmap wall",
            template="wall.html",
            values={"plots": publish(sections.walls(source), folder, run), "under": under},
            scripts=("core.js", "wall.js"),
        ),
        Page(
            file="explorer.html",
            title="Explorer",
            template="explorer.html",
            values={"under": under},
            scripts=("core.js", "explorer.js"),
        ),
    ]
    pages += _faces_page(source, folder, run, show_faces)
    pages += _figure_pages(source, folder, run)
    if steps:
        values = {"steps": steps}
        pages.append(
            Page(file="provenance.html", title="Provenance", template="provenance.html", values=values)
        )
    write_pages(pages, folder, name=source.name, version=__version__)
    run.made(*(path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"), items=0)


def _faces_page(source: Source, folder: Path, run: Run, show_faces: bool) -> list[Page]:
    experiment = source.experiment
    if experiment is None or not (experiment.explanations_folder / "explanations.csv").exists():
        return []
    models = faces.write(source, folder, run) if show_faces else []
    values: dict[str, Any] = {"models": models, "allowed": show_faces, "most": faces.MOST}
    values["databases"] = ", ".join(experiment.faces.datasets)
    scripts = ("core.js", "faces.js") if models else ()
    return [
        Page(
            file="faces.html", title="Explained faces", template="faces.html", values=values, scripts=scripts
        )
    ]


def _figure_pages(source: Source, folder: Path, run: Run) -> list[Page]:
    pages = []
    for file, title, text, plots, folders in (
        ("scores.html", "Scores", sections.SCORES, sections.scores(source), ()),
        ("dendrograms.html", "Dendrograms", sections.DENDROGRAMS, sections.dendrograms(source), ()),
        (
            "classification.html",
            "Classification",
            sections.CLASSIFICATION,
            sections.classification(source),
            (),
        ),
        ("training.html", "Training", sections.TRAINING, sections.learning(source), ()),
        ("quality.html", "Quality", measures.QUALITY, measures.quality_plots(source), (("quality",),)),
        (
            "statistics.html",
            "Statistics",
            measures.STATISTICS,
            chain(measures.statistics_plots(source), answers.region_plots(source)),
            (("statistics",), ("regions",)),
        ),
        (
            "explainers.html",
            "Explainers",
            measures.EXPLAINERS,
            answers.explainer_plots(source),
            (("explainers",),),
        ),
        ("known.html", "Known answers", measures.KNOWN, answers.known_plots(source), (("known_answers",),)),
    ):
        published = publish(plots, folder, run)
        tables = [table for parts in folders for table in measures.tables(source, folder, *parts)]
        if published or tables:
            values = {"plots": published, "text": text, "tables": tables}
            pages.append(Page(file=file, title=title, template="figures.html", values=values))
    return pages
