"""The pictures that steps leave beside their tables: each is drawn from the tables of its step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import read_csv
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.measures.trees import pair_matrix
from ekman_expressions.study import known_answers, quality, training
from ekman_expressions.study.evaluation import none_of
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

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


class _Picture(NamedTuple):
    """A picture to be drawn: its file's name, how to read it, and what it shows in words."""

    name: str
    draw: Callable[[], Figure]
    caption: str
    alt: str


def _draw_pictures(experiment: Experiment, step: str, folder: Path, run: Run) -> None:
    """Draw the pictures of a step into its folder, as PNG with their captions as metadata.

    A picture that cannot be drawn is listed in `run`, and the others are drawn.
    """
    if step not in _PICTURES:
        return
    for picture in tqdm(list(_PICTURES[step](experiment)), desc="Drawing figures", unit="figure"):
        path = folder / f"{picture.name}.png"
        try:
            figures.save(picture.draw(), path, caption=picture.caption, alt=picture.alt)
        except DataError as error:
            run.omit(path.name, error, path)
        else:
            run.made(path, items=0)


def _training(experiment: Experiment) -> Iterator[_Picture]:
    table = training.learning_curves(experiment)
    for measure in ("accuracy", "loss") if len(table) else ():
        last = table.groupby(["network", "fold"], sort=False)[measure].last()
        means = last.groupby("network", sort=False).mean()
        yield _Picture(
            f"learning_{measure}",
            partial(
                figures.learning_curves, table, measure=measure, title=f"{measure.capitalize()} by epoch"
            ),
            "A line per fold. Values of training faces are means during the epoch, dropout included.",
            f"Curves, a panel per network. After the last epoch, mean over folds: {_listed(means)}.",
        )


def _evaluation(experiment: Experiment) -> Iterator[_Picture]:
    scores, table = (_table(experiment.evaluation_folder, name) for name in ("accuracy_by_fold", "confusion"))
    if scores is None or table is None:
        return
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    expressions = experiment.expressions
    chance = 1 / len(expressions)
    bars = {"label": "network", "value": "accuracy", "references": {f"chance ({chance:.3f})": chance}}
    yield _Picture(
        "accuracy",
        partial(figures.barplot, scores, groups=kinds, title="Accuracy on the test folds", **bars),
        "Bars: mean over folds. Points: folds.",
        f"Bars of accuracy: {_listed(scores.groupby('network', sort=False)['accuracy'].mean())}.",
    )
    classes = [name for name in (*expressions, none_of(expressions)) if name in set(table["predicted"])]
    matrices = {
        network: rows.pivot(index="expression", columns="predicted", values="images")
        .reindex(expressions, columns=classes, fill_value=0)
        .to_numpy()
        for network, rows in table.groupby("network", sort=False)
        if network in experiment.networks
    }
    yield _Picture(
        "confusion",
        partial(
            figures.confusion_matrices,
            matrices,
            names=[title(name) for name in expressions],
            title="What is taken for what",
        ),
        "Rows: the expression shown; columns: the predicted one; in percent of the row, all folds together.",
        " ".join(_confused(network, counts, expressions) for network, counts in matrices.items()),
    )


def _confused(network: str, counts: np.ndarray, expressions: tuple[str, ...]) -> str:
    """Say how much of a matrix is right, and which confusion is the most frequent."""
    square = counts[:, : len(counts)]
    wrong = square * (1 - np.eye(len(counts), dtype=int))
    shown, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    text = f"{network}: {np.trace(square) / max(counts.sum(), 1):.0%} right"
    if wrong.any():
        text += f", most often wrong {expressions[shown]} taken for {expressions[predicted]} ({wrong.max()})"
    return text + "."


def _explainers(experiment: Experiment) -> Iterator[_Picture]:
    for name, (value, heading, caption) in _AGREEMENT.items():
        table = _table(experiment.comparison_folder, name)
        # Two networks are in the same order or in the opposite one: nothing to draw.
        if table is None or (name == "rank_correlations" and len(experiment.networks) < 3):
            continue
        means = table.groupby(["first", "second"])[value].mean().dropna()
        if len(means):
            most, least = (
                f"{_NAMES[pair[0]]} and {_NAMES[pair[1]]} ({means[pair]:.2f})"
                for pair in (means.idxmax(), means.idxmin())
            )
            square = pair_matrix(table, value).rename_axis(index=None, columns=None)
            options = {"limits": (-1, 1), "names": _NAMES, "title": heading}
            yield _Picture(
                f"agreement_{name}",
                partial(figures.annotated_matrix, square, "correlation", **options),
                caption,
                f"Matrix of correlations of {len(square)} explainers. Most alike: {most}; least: {least}.",
            )


def _quality(experiment: Experiment) -> Iterator[_Picture]:
    areas, table = (_table(experiment.quality_folder, name) for name in ("curves", "reliability"))
    curves = {} if areas is None else quality.read_curves(experiment)
    for network in experiment.networks:
        cells = {title(name): cell for (of, name), cell in curves.items() if of == network}
        if cells:
            of_network = areas[areas["network"] == network]
            means = of_network.groupby("ranking", sort=False)[["deletion", "insertion"]].mean()
            few = len(of_network["image_id"].unique()) < quality._FEWEST_FACES
            pairs = (
                ["too few faces for means"]
                if few
                else [
                    f"{_NAMES.get(name, name)} {row.deletion:.2f} and {row.insertion:.2f}"
                    for name, row in means.iterrows()
                ]
            )
            options = {"titles": _NAMES, "title": f"{network}: deletion and insertion"}
            yield _Picture(
                f"curves_{network}",
                partial(figures.erasure_curves, cells, quality.CURVE_SHARES, **options),
                "Mean predicted probability and ± one standard error, all folds together. What is erased is "
                "blurred.",
                f"Mean area under the curves of deletion and insertion: {'; '.join(pairs)}.",
            )
    if table is not None:
        yield _Picture(
            "reliability",
            partial(figures.reliability_boxes, table, title="How well the explanations describe the models"),
            "Boxes: quartiles over faces; whiskers: 5th to 95th percentile. Hidden superpixels: "
            f"{experiment.explanation.hides_by}.",
            f"Mean R²: {_listed(table.groupby('network', sort=False)['r2'].mean())}; on unseen samples: "
            f"{_listed(table.groupby('network', sort=False)['r2_unseen'].mean())}.",
        )


def _statistics(experiment: Experiment) -> Iterator[_Picture]:
    folder = experiment.statistics_folder
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    intervals, baselines = _table(folder, "intervals"), _table(folder, "baselines")
    if intervals is not None and baselines is not None:
        whole = intervals[(intervals["score"] == "iou") & (intervals["expression"] == AVERAGE)]
        whole = whole[whole["network"] != AVERAGE]
        unit = "subject" if whole["subject_low"].notna().any() else "fold"
        chance = baselines[(baselines["score"] == "iou") & (baselines["expression"] == AVERAGE)]
        chance = chance[chance["baseline"].isin(_BASELINES) & chance["value"].notna()]
        chance = chance.set_index("meaning")["value"]
        yield _Picture(
            "intervals_iou",
            partial(
                figures.score_intervals,
                whole,
                low=f"{unit}_low",
                high=f"{unit}_high",
                baselines=chance.to_dict(),
                groups=kinds,
                axis_label="IoU at Otsu's threshold",
                interval=f"95 % interval over {unit}s",
                title="IoU of the networks, with intervals and baselines",
            ),
            f"Mean over folds and expressions; the interval is over {unit}s.",
            f"{_listed(whole.set_index('network')['estimate'])}. Baselines: {_listed(chance)}.",
        )
    curves = _table(folder, "area_curves")
    if curves is not None:
        yield _Picture(
            "area_curves",
            partial(figures.area_curves, curves, folds=len(experiment.folds), title="IoU by marked area"),
            "The hottest pixels of each heatmap; a centred ellipse and random pixels of the same area.",
            "Curves of IoU by the share of the canvas that is marked, a panel per expression.",
        )


def _regions(experiment: Experiment) -> Iterator[_Picture]:
    table = _table(experiment.regions_folder, "regions")
    if table is None:
        return
    table = table[(table["level"] == "region") & (table["region"] != "elsewhere")]
    groups = {keys: rows.set_index("region") for keys, rows in table.groupby(["network", "expression"])}
    order = [
        (network, name) for network in dict.fromkeys(table["network"]) for name in experiment.expressions
    ]
    cells = {
        (network, title(name)): groups[network, name] for network, name in order if (network, name) in groups
    }
    means = table[table["network"] == table["network"].iloc[-1]].groupby("region")["density"].mean()
    densest = means.nlargest(3).rename(lambda name: name.replace("_", " "))
    yield _Picture(
        "regions",
        partial(
            figures.region_faces,
            {cell: rows["density"].to_dict() for cell, rows in cells.items()},
            {name: atlas().region(name) for name in atlas().names},
            certain={
                cell: list(rows.index[(rows["p_holm"] < 0.05) & (rows["density"] > rows["centre_prior"])])
                for cell, rows in cells.items()
            },
            title="Mass for the size of the region",
            note=f"95 % intervals over {figures.span(table['units'])} {table['unit'].iloc[0]}",
        ),
        "Red regions hold more of the heatmap's mass than their size would give, blue ones less. A thick "
        "outline: more than a bell in the middle of the canvas has, p < 0.05 corrected for the regions.",
        f"{len(cells)} drawn faces. Densest on average in the last row: {_listed(densest)}.",
    )


def _known_answers(experiment: Experiment) -> Iterator[_Picture]:
    folder = experiment.known_answers_folder
    table = _table(folder, "localisation")
    if table is not None and (table["network"] != "none").any():
        rows = table[(table["reference"] == table["reference"].iloc[0]) & (table["network"] != "none")]
        best = rows.loc[rows["value"].idxmax()]
        yield _Picture(
            "localisation",
            partial(known_answers.localisation_figure, table),
            "AUC: how often a changed pixel is hotter than another, 0.5 by chance; all maps blurred alike. "
            "Bands know no network: the middle of the face, how others move, the answer in superpixels.",
            f"Dots with intervals. Highest AUC: {_NAMES.get(best['explainer'], best['explainer'])} "
            f"({best['reading']}) on {best['network']}, {best['value']:.3f} ({best['low']:.3f} to "
            f"{best['high']:.3f}).",
        )
    pairs, summary = _table(folder, "masks"), _table(folder, "masks_summary")
    if pairs is not None and summary is not None:
        found = summary.set_index("statistic")["value"]
        yield _Picture(
            "masks",
            partial(known_answers.masks_figure, pairs, summary),
            "If the masks described what moves, the framed cells would be the highest of their rows.",
            f"IoU of masks with what moves: own {found['own']:.3f}, others {found['others']:.3f} on average.",
        )


def _table(folder: Path, name: str) -> pd.DataFrame | None:
    """Read a table of a step; None if it is not there or empty."""
    path = folder / f"{name}.csv"
    table = read_csv(path) if path.is_file() else None
    return None if table is None or table.empty else table


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


_PICTURES = {
    "training": _training,
    "evaluation": _evaluation,
    "explainers": _explainers,
    "quality": _quality,
    "statistics": _statistics,
    "regions": _regions,
    "known_answers": _known_answers,
}
