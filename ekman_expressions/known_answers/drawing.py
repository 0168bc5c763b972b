"""The figures of the known answers, from their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ekman_expressions import figures
from ekman_expressions.errors import DataError
from ekman_expressions.explainer_specs import SPECS
from ekman_expressions.expressions import title
from ekman_expressions.known_answers.localisation import CEILING, CENTRE, RANDOM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    names = {name: SPECS[name].title if name in SPECS else name for name in dots["explainer"]}
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
    shown = [title(name) for name in names]
    return figures.pair_table(
        wide.to_numpy(),
        shown,
        shown,
        row_label="Ekman mask of",
        column_label="what moves in",
        label="IoU at equal area",
        title="Do the Ekman masks describe what moves?",
        note=(
            f"own {found.loc['own', 'value']:.3f}, others {found.loc['others', 'value']:.3f}, difference "
            f"{difference['value']:.3f} [{difference['low']:.3f}, {difference['high']:.3f}]\n"
            f"95 % interval over {int(difference['subjects'])} subjects; "
            f"p = {difference['p']:.3f} over all relabellings"
        ),
    )


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
