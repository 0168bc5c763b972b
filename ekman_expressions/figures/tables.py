"""Styled tables for notebooks: scores with their intervals, and the baselines in rows below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

from ekman_expressions.core.errors import DataError, check_option
from ekman_expressions.measures.heatmap_set import _MEANINGS
from ekman_expressions.measures.scores import AVERAGE

_TITLES: dict[str, str] = {
    "iou": "IoU at Otsu's threshold",
    "auc_hull": "AUC within the face hull",
    "residual": "correlation of residuals",
}
"""What the scores are called in captions and on axes."""

_UNITS: dict[str, str] = {"fold": "folds, Nadeau and Bengio", "subject": "subjects, bootstrap"}
"""The intervals of the table ``intervals``, by the prefix of their columns."""

_ROWS = ("white", "random_pixels", "ellipse_30", "other_masks", "face_prior", "mean_of_masks")
"""The baselines that are shown below scores unless others are asked for."""

_STYLES = [
    {"selector": "caption", "props": "caption-side: top; text-align: left; padding-bottom: 0.6em"},
    {"selector": "td, th", "props": "text-align: right; padding: 0.3em; font-size: 11px"},
    {"selector": "th.row_heading", "props": "min-width: 10em"},
]
_BASELINE = "color: #666666; font-style: italic"


def scores_table(
    intervals: pd.DataFrame,
    baselines: pd.DataFrame,
    score: str = "iou",
    *,
    unit: str = "fold",
    rows: Sequence[str] = _ROWS,
) -> Styler:
    """Lay out a score like the published tables, with intervals, and the baselines below.

    Parameters
    ----------
    intervals, baselines : DataFrame
        The tables of these names; see `heatmap_set.assess`.
    score : {'iou', 'auc_hull', 'residual'}
        Which score.
    unit : {'fold', 'subject'}
        Which interval.
    rows : sequence of str
        Which baselines, see `heatmap_set._MEANINGS`; those without the score are left out.

    Returns
    -------
    Styler
        Cells read ``estimate [low, high]``; the caption says what they are and of how many. Bold are those
        whose interval lies above an all-white mask, or, of scores that it does not have, above chance.

    Raises
    ------
    SettingsError
        If there is no such score, unit or baseline.
    """
    check_option(score, "score", intervals["score"].unique())
    check_option(unit, "unit", _UNITS)
    for row in rows:
        check_option(row, "baseline", _MEANINGS)
    chosen = intervals[intervals["score"] == score]
    references = baselines[(baselines["score"] == score) & baselines["value"].notna()]
    bar = references[references["baseline"] == "white"].set_index("expression")["value"]
    limit = chosen["expression"].map(bar).fillna(chosen["chance"])
    above = (chosen[f"{unit}_low"] > limit).to_numpy()
    text = [
        _with_interval(*values)
        for values in chosen[["estimate", f"{unit}_low", f"{unit}_high"]].itertuples(index=False)
    ]
    networks, expressions = list(dict.fromkeys(chosen["network"])), _average_first(chosen["expression"])
    chosen = chosen.assign(text=text, weight=np.where(above, "font-weight: bold", ""))
    cells, weights = (
        chosen.pivot(index="network", columns="expression", values=name).loc[networks, expressions]
        for name in ("text", "weight")
    )
    for name in rows:
        row = references[references["baseline"] == name].set_index("expression")["value"]
        if not row.empty:
            cells.loc[_MEANINGS[name]] = [_number(row.get(expression, np.nan)) for expression in expressions]
            weights.loc[_MEANINGS[name]] = _BASELINE
    count = "subjects" if unit == "subject" else "folds"
    whole = chosen[(chosen["network"] == AVERAGE) & (chosen["expression"] == AVERAGE)].iloc[0]
    chance = f"the baseline '{_MEANINGS['white']}'" if not bar.empty else f"chance ({whole['chance']:g})"
    caption = (
        f"Heatmaps and own masks: {_TITLES.get(score, score)}. Mean over folds [95 % interval over "
        f"{_UNITS[unit]}; n = {whole[count]} {count}]. Bold: the interval lies above {chance}. "
        "Italic: what maps score that know nothing of the network or of the expression."
    )
    return _styled(cells, weights, caption)


def tests_table(tests: pd.DataFrame, score: str = "iou") -> Styler:
    """Show the relabelling tests of one score (the table ``tests``): over all networks, and within each."""
    check_option(score, "score", tests["score"].unique())
    chosen = tests[tests["score"] == score].set_index("network")
    names = {
        "observed": "own masks",
        "chance": "mean of relabellings",
        "largest": "largest",
        "own_is_best": "own mask best of six",
        "p": "p",
        "p_holm": "p (Holm)",
        "heatmaps": "heatmaps",
    }
    cells = pd.DataFrame(index=chosen.index, columns=list(names.values()), dtype=object)
    for column, name in names.items():
        cells[name] = [f"{v:.0f}" if column == "heatmaps" else _number(v) for v in chosen[column]]
    weights = pd.DataFrame("", cells.index, cells.columns)
    weights.loc[(chosen["p_holm"] < 0.05).to_numpy(), ["p", "p (Holm)"]] = "font-weight: bold"
    above = " above that of as many random pixels" if score == "iou" else ""
    caption = (
        "Do heatmaps fit the mask of their own expression better than relabelled masks? "
        f"{_TITLES.get(score, score)}{above}; all {chosen['relabellings'].iloc[0]} relabellings, exact. Bold: "
        "p < 0.05, corrected for the number of networks. By chance the own mask is the best of six in 0.167."
    )
    return _styled(cells, weights, caption)


def ranking_table(ranking: pd.DataFrame, score: str = "iou") -> Styler:
    """Show the table ``ranking``: the networks with their sets of ranks over folds and over subjects."""
    check_option(score, "score", ranking["score"].unique())
    chosen = ranking[ranking["score"] == score]
    if chosen.empty:
        raise DataError("There is no network to rank.")
    first = chosen[chosen["unit"] == "folds"].set_index("network")
    cells = pd.DataFrame({"score": map(_number, first["estimate"]), "rank": map(_rank, first["rank"])})
    cells.index = first.index
    for unit, part in chosen.groupby("unit", sort=False):
        part = part.set_index("network").loc[first.index]
        ends = zip(part["low"], part["high"], strict=True)
        cells[f"rank, {unit}"] = ["–" if np.isnan(low) else f"{low:.0f} – {high:.0f}" for low, high in ends]
    caption = (
        f"Networks by {_TITLES.get(score, score)}, mean over expressions, and the ranks that each may have: from "
        "1 + the networks that are surely better to the number not surely worse (differences over folds, or "
        "over subjects, corrected for all pairs; 95 % for all networks at once). "
        f"1 – {len(cells)}: nothing is known."
    )
    return _styled(cells, pd.DataFrame("", cells.index, cells.columns), caption)


def _styled(cells: pd.DataFrame, weights: pd.DataFrame, caption: str) -> Styler:
    cells = cells.rename_axis(index=None, columns=None).fillna("–")
    weights = weights.rename_axis(index=None, columns=None)
    styled = cells.style.apply(lambda _: weights, axis=None).format(_unbroken)
    return styled.set_caption(caption).set_table_styles(_STYLES)


def _average_first(expressions: pd.Series) -> list[str]:
    # Where a page is too narrow for the table, it is the last column that is out of sight.
    return sorted(dict.fromkeys(expressions), key=lambda name: name != AVERAGE)


def _unbroken(cell: str) -> str:
    """Let a cell break before its interval only, where a page is too narrow for the table."""
    return cell.replace(" ", "\N{NO-BREAK SPACE}").replace("\N{NO-BREAK SPACE}[", " [")


def _with_interval(value: float, low: float, high: float) -> str:
    return _number(value) if np.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _rank(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:g}"
