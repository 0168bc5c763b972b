"""The pictures that steps leave beside their tables: each is drawn from the tables of its step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError, MissingError, check_option
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import read_csv
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.measures.trees import pair_matrix
from ekman_expressions.study import known_answers, quality, training
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

_Picture = tuple[str, "Callable[[], Figure]", str]
"""A picture to be drawn: its file's name, how it is drawn, and how to read it."""

_NAMES = {name: row.title for name, row in EXPLAINERS.items()}
_BASELINES = ("white", "random_pixels", "ellipse_30", "other_masks")
_AGREEMENT = {
    "heatmap_correlations": (
        "correlation",
        "Heatmaps: mean Pearson's r over networks and expressions",
        "Heatmaps of the faces that all explained.",
    ),
    "rank_correlations": (
        "spearman",
        "Order of networks: Spearman's correlation",
        "By mean IoU with the Ekman masks, each explainer on the faces that it explained.",
    ),
}


def draw(experiment: Experiment, step: str, name: str) -> Figure:
    """Draw a picture again that a step leaves beside its tables.

    Parameters
    ----------
    step, name : str
        Such as ``"known_answers", "localisation"``: the file's name without its ending.

    Raises
    ------
    SettingsError
        If the step leaves no pictures.
    MissingError
        If there is nothing to draw; the message names the pictures that there are.
    """
    check_option(step, "step", _PICTURES)
    found = {each: function for each, function, _ in _PICTURES[step](experiment)}
    if name not in found:
        raise MissingError(f"The step '{step}' has no picture {name!r}. It has {', '.join(found) or 'none'}.")
    return found[name]()


def _draw_pictures(experiment: Experiment, step: str, folder: Path, run: Run) -> None:
    """Draw the pictures of a step into its folder, as PNG with their captions as metadata."""
    if step not in _PICTURES:
        return
    for name, draw, caption in tqdm(list(_PICTURES[step](experiment)), desc="Drawing figures", unit="figure"):
        path = folder / f"{name}.png"
        try:
            figures.save(draw(), path, caption=caption)
        except DataError as error:
            run.omit(path.name, error, path)
        else:
            run.made(path, items=0)


def _training(experiment: Experiment) -> Iterator[_Picture]:
    table = training.learning_curves(experiment)
    caption = "A line per fold. Values of training faces are means during the epoch, dropout included."
    for measure in ("accuracy", "loss") if len(table) else ():
        options = {"measure": measure, "title": f"{measure.capitalize()} by epoch"}
        yield f"learning_{measure}", partial(figures.learning_curves, table, **options), caption


def _evaluation(experiment: Experiment) -> Iterator[_Picture]:
    scores, table = (_table(experiment.evaluation_folder, name) for name in ("accuracy_by_fold", "confusion"))
    if scores.empty or table.empty:
        return
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    chance = 1 / len(experiment.expressions)
    bars = {"label": "network", "value": "accuracy", "references": {f"chance ({chance:.3f})": chance}}
    yield (
        "accuracy",
        partial(figures.barplot, scores, groups=kinds, title="Accuracy on the test folds", **bars),
        "Bars: mean over folds. Points: folds.",
    )
    # The rows are in the order of the matrix.
    counts = {
        network: rows["images"].to_numpy().reshape(len(experiment.expressions), -1)
        for network, rows in table.groupby("network", sort=False)
    }
    options = {"names": [title(name) for name in experiment.expressions], "title": "What is taken for what"}
    yield (
        "confusion",
        partial(figures.confusion_matrices, counts, **options),
        "Rows: the expression shown; columns: the predicted one; in percent of the row, all folds together.",
    )


def _explainers(experiment: Experiment) -> Iterator[_Picture]:
    for name, (value, heading, caption) in _AGREEMENT.items():
        table = _table(experiment.comparison_folder, name)
        # Two networks are in the same order or in the opposite one: nothing to draw.
        few = name == "rank_correlations" and len(experiment.networks) < 3
        if len(table) and table[value].notna().any() and not few:
            square = pair_matrix(table, value).rename_axis(index=None, columns=None)
            options = {"limits": (-1, 1), "names": _NAMES, "title": heading}
            draw = partial(figures.annotated_matrix, square, "correlation", **options)
            yield f"agreement_{name}", draw, caption


def _quality(experiment: Experiment) -> Iterator[_Picture]:
    table = _table(experiment.quality_folder, "reliability")
    if curves := quality.read_curves(experiment):
        options = {"titles": _NAMES, "title": "Deletion and insertion"}
        yield (
            "curves",
            partial(figures.erasure_curves, curves, quality._CURVE_SHARES, **options),
            "Mean predicted probability and ± one standard error over faces, all folds and expressions together. "
            "What is erased is blurred.",
        )
    if len(table):
        yield (
            "reliability",
            partial(figures.reliability_boxes, table, title="How well the explanations describe the models"),
            "Boxes: quartiles over faces; whiskers: 5th to 95th percentile. Hidden superpixels: "
            f"{experiment.explanation.hides_by}.",
        )


def _statistics(experiment: Experiment) -> Iterator[_Picture]:
    names = ("intervals", "baselines", "area_curves")
    intervals, baselines, curves = (_table(experiment.statistics_folder, name) for name in names)
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    if len(intervals) and len(baselines):
        intervals, baselines = (
            table[(table["score"] == "iou") & (table["expression"] == AVERAGE)] for table in (intervals, baselines)
        )
        whole = intervals[intervals["network"] != AVERAGE]
        unit = "subject" if whole["subject_low"].notna().any() else "fold"
        chance = baselines[baselines["baseline"].isin(_BASELINES) & baselines["value"].notna()]
        options = {
            "low": f"{unit}_low",
            "high": f"{unit}_high",
            "baselines": chance.set_index("meaning")["value"].to_dict(),
            "axis_label": "IoU at Otsu's threshold",
            "interval": f"95 % interval over {unit}s",
            "title": "IoU of the networks, with intervals and baselines",
        }
        yield (
            "intervals_iou",
            partial(figures.score_intervals, whole, groups=kinds, **options),
            f"Mean over folds and expressions; the interval is over {unit}s.",
        )
    if len(curves):
        yield (
            "area_curves",
            partial(figures.area_curves, curves, folds=len(experiment.folds), title="IoU by marked area"),
            "The hottest pixels of each heatmap; a centred ellipse and random pixels of the same area.",
        )


def _regions(experiment: Experiment) -> Iterator[_Picture]:
    table = _table(experiment.regions_folder, "regions")
    if table.empty:
        return
    table = table[(table["level"] == "region") & (table["region"] != "elsewhere")]
    groups = {keys: rows.set_index("region") for keys, rows in table.groupby(["network", "expression"])}
    cells = {
        (network, title(name)): groups[network, name]
        for network, name in product(table["network"].unique(), experiment.expressions)
        if (network, name) in groups
    }
    certain = {
        cell: list(rows.index[(rows["p_holm"] < 0.05) & (rows["density"] > rows["centre_prior"])])
        for cell, rows in cells.items()
    }
    draw = partial(
        figures.region_faces,
        {cell: rows["density"].to_dict() for cell, rows in cells.items()},
        {name: atlas().region(name) for name in atlas().names},
        certain=certain,
        title="Mass for the size of the region",
        note=f"95 % intervals over {figures.span(table['units'])} {table['unit'].iloc[0]}",
    )
    caption = (
        "Red regions hold more of the heatmap's mass than their size would give, blue ones less. A thick "
        "outline: more than a bell in the middle of the canvas has, p < 0.05 corrected for the regions."
    )
    yield "regions", draw, caption


def _known_answers(experiment: Experiment) -> Iterator[_Picture]:
    names = ("localisation", "masks", "masks_summary")
    table, pairs, summary = (_table(experiment.known_answers_folder, name) for name in names)
    if len(table) and (table["network"] != "none").any():
        yield (
            "localisation",
            partial(known_answers._localisation_figure, table),
            "AUC: how often a changed pixel is hotter than another, 0.5 by chance; all maps blurred alike. "
            "Bands know no network: the middle of the face, how others move, the answer in superpixels.",
        )
    if len(pairs) and len(summary):
        yield (
            "masks",
            partial(known_answers._masks_figure, pairs, summary),
            "If the masks described what moves, the framed cells would be the highest of their rows.",
        )


def _table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table of a step; one without rows if it is not there."""
    path = folder / f"{name}.csv"
    return read_csv(path) if path.is_file() else pd.DataFrame()


_PICTURES = {
    "training": _training,
    "evaluation": _evaluation,
    "explainers": _explainers,
    "quality": _quality,
    "statistics": _statistics,
    "regions": _regions,
    "known_answers": _known_answers,
}
