"""The figures of the known answers, from their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import title
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.measures.localisation import CEILING, CENTRE, RANDOM
from ekman_expressions.study.probes import DIFFERENCE, TRAINED, UNTRAINED

_PANELS = {"auc": "AUC within the face", "density": "density on changed pixels"}
_CHANCE = {"auc": 0.5, "density": 1.0}


def localisation_figure(table: pd.DataFrame, faces: str = "all") -> Figure:
    """Draw the benchmark: explainers as rows, networks as colours, baselines as bands.

    Parameters
    ----------
    table : DataFrame
        See `localisation.summarise`.
    faces : {'all', 'correct'}
        All explained faces, or those that were classified correctly.

    Raises
    ------
    DataError
        If the table has no such rows.
    """
    chosen = table[(table["faces"] == faces) & table["score"].isin(_PANELS)]
    dots = chosen[chosen["network"] != "none"]
    if dots.empty:
        raise DataError(f"The table has no explained faces ({faces}) to draw.")
    names = {name: EXPLAINERS[name].title if name in EXPLAINERS else name for name in dots["explainer"]}
    dots = dots.assign(panel=dots["score"], explainer=dots["explainer"].map(names))
    bands = {
        (line.score, line.explainer if line.explainer != CEILING else f"{CEILING} (ceiling)"): (
            line.low,
            line.high,
        )
        for line in chosen[chosen["explainer"].isin([CENTRE, CEILING])].itertuples()
    }
    counts, subjects = dots["count"], dots["subjects"]
    return figures.interval_dots(
        dots,
        panels=_PANELS,
        row="explainer",
        colour="network",
        chance=_CHANCE,
        bands=bands,
        title="Do explanations find the pixels that the active action units changed?",
        note=f"95 % intervals over subjects ({_span(subjects)}); {_span(counts)} faces ({faces}) a dot",
    )


def localisation_table(table: pd.DataFrame, faces: str = "all") -> pd.DataFrame:
    """Return the benchmark for readers: a row per explainer, columns by network and score.

    Cells read ``0.571 [0.552, 0.590]``: mean and 95 % interval over subjects. Baselines come last.
    """
    chosen = table[(table["faces"] == faces) & table["score"].isin(("auc", "mass", "density", "over_centre"))]
    cells = [f"{line.value:.3f} [{line.low:.3f}, {line.high:.3f}]" for line in chosen.itertuples()]
    wide = chosen.assign(cell=cells).pivot(index=["network", "explainer"], columns="score", values="cell")
    order = list(dict.fromkeys(zip(chosen["network"], chosen["explainer"], strict=True)))
    order = sorted(order, key=lambda pair: (pair[0] == "none", pair[1] in (CENTRE, RANDOM, CEILING)))
    return wide.loc[order, [c for c in ("auc", "over_centre", "mass", "density") if c in wide]]


def masks_figure(pairs: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Draw the IoU of each Ekman mask with what moves in each expression; see `reference_masks`."""
    names = list(dict.fromkeys(pairs["mask"]))
    wide = pairs.pivot(index="mask", columns="causal_map", values="iou").loc[names, names]
    found = summary.set_index("statistic")
    difference = found.loc["difference"]
    return figures.annotated_matrix(
        wide.rename(index=title, columns=title).rename_axis(index="Ekman mask of", columns="what moves in"),
        "IoU at equal area",
        signed=False,
        frame_own=True,
        title="Do the Ekman masks describe what moves?",
        note=(
            f"own {found.loc['own', 'value']:.3f}, others {found.loc['others', 'value']:.3f}, difference "
            f"{difference['value']:.3f} [{difference['low']:.3f}, {difference['high']:.3f}]\n"
            f"95 % interval over {int(difference['subjects'])} subjects; "
            f"p = {difference['p']:.3f} over all relabellings"
        ),
    )


def probes_figure(table: pd.DataFrame) -> Figure:
    """Draw how far probe networks, and their untrained copies, light the region that they learned from.

    Parameters
    ----------
    table : DataFrame
        See `probes.SUMMARY`.

    Raises
    ------
    DataError
        If it is empty.
    """
    if table.empty:
        raise DataError("There are no probe networks to draw.")
    dots = table[table["state"].isin([TRAINED, UNTRAINED])]
    of_heatmap = dots.assign(
        ratio=dots["heatmap"], low=dots["heatmap_low"], high=dots["heatmap_high"], panel="heatmap"
    )
    dots = pd.concat([dots.assign(panel="ratio"), of_heatmap])
    names = [
        f"{line.network}, {line.probe}: {EXPLAINERS[line.explainer].title}"
        for line in dots.itertuples(index=False)
    ]
    accuracy = table.groupby(["network", "probe"], sort=False)["accuracy"].first()
    return figures.interval_dots(
        dots.assign(row=names, value=dots["ratio"]),
        panels={"ratio": "mean over faces", "heatmap": "mean heatmap"},
        row="row",
        colour="state",
        chance={"ratio": 1.0, "heatmap": 1.0},
        title="Do networks light the one region that they can have learned from?",
        note=(
            "share of the mass in the region over its share of the canvas; 95 % intervals over "
            f"{_span(dots['subjects'])} persons, {_span(dots['samples'])} samples\n"
            f"accuracy on these persons {accuracy.min():.2f} to {accuracy.max():.2f} (chance 0.33)"
        ),
    )


def probes_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the probe networks for readers: ``1.94 [0.47, 3.41]``, mean and 95 % interval over persons."""
    rows = table.assign(
        faces=[f"{line.ratio:.2f} [{line.low:.2f}, {line.high:.2f}]" for line in table.itertuples()],
        heatmap=[
            f"{line.heatmap:.2f} [{line.heatmap_low:.2f}, {line.heatmap_high:.2f}]"
            for line in table.itertuples()
        ],
    )
    keys = ["network", "probe", "accuracy", "explainer"]
    wide = rows.pivot(index=keys, columns="state", values=["faces", "heatmap"])
    order = pd.MultiIndex.from_frame(table[keys].drop_duplicates())
    states = [(value, state) for value in ("faces", "heatmap") for state in (TRAINED, UNTRAINED, DIFFERENCE)]
    return wide.loc[order, states]


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
