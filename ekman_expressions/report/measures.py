"""What the later steps measured: quality, statistics, agreement of explainers, known answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ekman_expressions import figures
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import read_csv
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.report.pages import table_rows
from ekman_expressions.report.plots import Plot
from ekman_expressions.report.source import Source
from ekman_expressions.study import erasing, quality_tables

MOST_ROWS = 120
"""A page shows so many rows of a table at most; its file has all."""

QUALITY = (
    "Do the explanations say what matters to the model? Deletion hides the most relevant pixels first: the "
    "faster the probability falls, the better. Insertion shows them first: the faster it rises, the better. "
    "A random order and one from the centre outwards are what an explanation must beat."
)
STATISTICS = (
    "What the scores are worth: what maps score that know nothing of the network or of the expression, how "
    "sure the means are, and whether own masks fit better than those of other expressions."
)
EXPLAINERS = "How far different explainers agree on the same models and faces."
KNOWN = (
    "On synthetic faces it is known what changed. Here explanations are held against it: do they find the "
    "region that really moved?"
)

_BASELINES = ("white", "random_pixels", "ellipse_30", "other_masks")
_UNITS = ("subject", "fold")


def quality_plots(source: Source) -> Iterator[Plot]:
    """Yield deletion and insertion curves per network, and how the measures of reliability spread."""
    experiment = source.experiment
    if experiment is None or not (experiment.quality_folder / "curves.csv").exists():
        return
    areas, found = quality_tables.read(experiment, "curves"), quality_tables.read_curves(experiment)
    names = {name: spec.title for name, spec in SPECS.items()}
    for network in source.networks:
        cells = {
            title(expression): rankings for (name, expression), rankings in found.items() if name == network
        }
        if not cells:
            continue
        table = areas[areas["network"] == network]
        means = table.groupby("ranking", sort=False)[["deletion", "insertion"]].mean()
        told = [
            f"{names.get(name, name)} {row.deletion:.2f} and {row.insertion:.2f}"
            for name, row in means.iterrows()
        ]
        yield Plot(
            name=f"curves_{network}",
            title=f"{network}: deletion and insertion",
            caption="Mean answer and ± one standard error, all folds together.",
            alt=f"Curves for {len(cells)} expressions. Mean area under deletion and insertion: "
            f"{'; '.join(told)}.",
            draw=partial(figures.erasure_curves, cells, erasing.GRID, titles=names, title=network),
            table=table,
        )
    table = quality_tables.read(experiment, "reliability")
    if not table.empty:
        means = table.groupby("network", sort=False)["r2"].mean()
        yield Plot(
            name="reliability",
            title="How well the explanations describe the models",
            caption="Boxes: quartiles over faces; whiskers: 5th to 95th percentile.",
            alt="Boxes of R², standard errors and sign flips. Mean R²: "
            + ", ".join(f"{name} {value:.2f}" for name, value in means.items())
            + ".",
            draw=partial(figures.reliability_boxes, table),
            table=table,
        )


def statistics_plots(source: Source) -> Iterator[Plot]:
    """Yield scores with intervals and baselines, the IoU by marked area, and ranks."""
    intervals = source.table("statistics", "intervals.csv")
    baselines = source.table("statistics", "baselines.csv")
    if intervals is None or baselines is None:
        return
    whole = intervals[(intervals["score"] == "iou") & (intervals["expression"] == AVERAGE)]
    whole = whole[whole["network"] != AVERAGE]
    lines = averages(baselines, "iou")
    unit = interval_unit(whole)
    told = ", ".join(f"{row.network} {row.estimate:.3f}" for row in whole.itertuples())
    yield Plot(
        name="intervals_iou",
        title="IoU of the networks, with intervals and baselines",
        caption=f"Mean over folds and expressions; the interval is over {unit}s.",
        alt=f"Points with intervals: {told}. Baselines: "
        + ", ".join(f"{name} {value:.3f}" for name, value in lines.items())
        + ".",
        draw=partial(
            figures.score_intervals,
            whole,
            low=f"{unit}_low",
            high=f"{unit}_high",
            baselines=lines,
            groups=source.kinds,
            axis_label="IoU at Otsu's threshold",
            interval=f"95 % interval over {unit}s",
        ),
        table=whole,
    )
    curves = source.table("statistics", "area_curves.csv")
    if curves is not None and not curves.empty:
        yield Plot(
            name="area_curves",
            title="IoU by marked area",
            caption="The hottest pixels of each heatmap; a centred ellipse and random pixels of that area.",
            alt="Curves of IoU by the share of the canvas that is marked, a panel per expression.",
            draw=partial(figures.area_curves, curves, folds=len(source.folds)),
            table=curves,
        )
    ranks = source.table("statistics", "ranking.csv")
    if ranks is not None:
        chosen = ranks[(ranks["score"] == "iou") & (ranks["unit"] == "folds")]
        yield Plot(
            name="ranks",
            title="Ranks of the networks by IoU",
            caption="The interval is that of the ranks when folds are drawn anew.",
            alt="Ranks: " + ", ".join(f"{row.network} {row.rank:g}" for row in chosen.itertuples()) + ".",
            draw=partial(figures.rank_intervals, chosen, groups=source.kinds),
            table=ranks,
        )


def averages(baselines: pd.DataFrame, score: str) -> dict[str, float]:
    """Return the average of the chosen baselines by what they mean."""
    rows = baselines[(baselines["score"] == score) & (baselines["expression"] == AVERAGE)]
    rows = rows[rows["baseline"].isin(_BASELINES) & rows["value"].notna()]
    return {row.meaning: float(row.value) for row in rows.itertuples()}


def interval_unit(intervals: pd.DataFrame) -> str:
    """Return over what the intervals are: subjects where these are known, else folds."""
    return next((unit for unit in _UNITS if intervals[f"{unit}_low"].notna().any()), "fold")


def tables(source: Source, folder: Path, *parts: str) -> list[dict[str, Any]]:
    """Copy the CSV tables of a step and return them as a page takes them, smallest first."""
    if source.experiment is None:
        return []
    found = []
    for path in sorted(source.experiment.results_folder.joinpath(*parts).glob("*.csv")):
        target = folder / "tables" / f"{'_'.join(parts)}_{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        table = read_csv(path)
        if table.empty:
            continue
        shutil.copyfile(path, target)
        found.append(
            {
                "name": path.stem,
                "title": path.stem.replace("_", " ").capitalize(),
                "caption": "",
                "cut": len(table) if len(table) > MOST_ROWS else 0,
                "file": f"tables/{target.name}",
                **table_rows(table.head(MOST_ROWS)),
            }
        )
    return sorted(found, key=lambda entry: len(entry["rows"]))
