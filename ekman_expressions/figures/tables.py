"""Tables, styled for notebooks or as matrices in colours, and dendrograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from pandas.io.formats.style import Styler

from ekman_expressions.core.errors import DataError, check_option
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.figures import _style as style
from ekman_expressions.measures.heatmap_set import _MEANINGS
from ekman_expressions.measures.scores import AVERAGE

_CLASSES = [title(expression) for expression in EXPRESSIONS]

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


@style._styled
def annotated_matrix(
    table: pd.DataFrame,
    label: str,
    *,
    limits: tuple[float, float] | None = None,
    signed: bool = True,
    p: pd.DataFrame | None = None,
    frame_own: bool = False,
    names: Mapping[str, str] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw a table in colours, with its values in the cells.

    Parameters
    ----------
    table : (R, C) DataFrame
        NaN is gray. The names of its index and columns, if it has any, are written at the axes.
    label : str
        What the values are, at the scale.
    limits : (float, float), optional
        The ends of the scale; by default as far as the values reach, from 0 if they are not `signed`.
    signed : bool
        Red and blue around 0, with the sign written; else viridis.
    p : (R, C) DataFrame, optional
        Corrected p-values: cells below 0.05 are bold and have a star, which `note` should explain.
    frame_own : bool
        Frame the cells whose row and column have the same name.
    names : dict, optional
        What to call rows and columns.
    note : str
        Below the figure.
    """
    from matplotlib.patches import Rectangle

    values = table.to_numpy(float)
    if not np.isfinite(values).any():
        raise DataError("There is no value to draw.")
    if limits is None:
        largest = max(float(np.nanmax(np.abs(values))), 1e-9)
        limits = (-largest, largest) if signed else (0, float(np.nanmax(values)) or 1)
    rows, columns = ([(names or {}).get(name, str(name)) for name in axis] for axis in table.axes)
    longest = 0.062 * max(map(len, rows))
    cell = 0.62 if p is not None else 0.5
    turned = 0.062 * max(map(len, columns)) > cell + 0.25
    wide = max(style.COLUMN, min(style.PAGE, longest + 1.3 + max(cell, 0 if turned else 0.8) * len(columns)))
    high = 0.5 + 0.24 * len(rows) + (0.062 * max(map(len, columns)) if turned else 0.2)
    high += 0.17 * (note.count("\n") + 1) * bool(note) + 0.2 * bool(table.columns.name)
    figure = style._new_figure(wide, max(high, 1.9), title)
    axes = figure.add_subplot()
    options = {"limits": limits, "signed": signed, "turned": turned}
    shown = _annotated(axes, values, rows, columns, "+z.2f" if signed else ".2f", **options)
    for text, (row, column) in zip(list(axes.texts), np.ndindex(values.shape), strict=True):
        if p is not None and p.iat[row, column] < 0.05:
            text.set(text=f"{text.get_text()} *", weight="bold")
        if frame_own and rows[row] == columns[column]:
            frame = {"edgecolor": style.PALETTE[5], "linewidth": 2.5, "fill": False}
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **frame))
    axes.set(xlabel=table.columns.name or "", ylabel=table.index.name or "")
    style._colour_bar(figure, shown, axes, label)
    if note:
        figure.supxlabel(note, fontsize=9)
    return figure


@style._styled
def confusion_matrices(
    matrices: Mapping[str, np.ndarray], *, names: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Draw confusion matrices, each row in percent of the faces of that expression.

    Parameters
    ----------
    matrices : dict of network to (C, C) or (C, C + 1) ndarray of int
        Counts, true expression by row, predicted by column. A last column beyond the classes:
        taken for none of them. A row without any face is gray with dashes.
    names : sequence of C str, optional
        Names of the classes; the six expressions by default.
    """
    names = list(_CLASSES if names is None else names)
    style._require(matrices, "confusion matrices")
    classes = len(names)
    matrices = {network: np.asarray(counts, float) for network, counts in matrices.items()}
    for network, counts in matrices.items():
        if counts.shape not in ((classes, classes), (classes, classes + 1)):
            raise DataError(f"The matrix of {network} has shape {counts.shape}, but there are {classes} classes.")
    width = max(counts.shape[1] for counts in matrices.values())
    predicted = names if width == classes else [*names, "None of them"]
    columns = min(3, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = style._new_figure(min(style.PAGE, 1.5 + 1.9 * columns), 1.1 + 1.75 * rows, title)
    grid = style._panels(figure, len(matrices), columns, sharex=True, sharey=True)
    for place, (axes, (network, counts)) in enumerate(zip(grid, matrices.items(), strict=True)):
        counts = np.pad(counts, ((0, 0), (0, width - counts.shape[1])))
        sums = counts.sum(axis=1, keepdims=True)
        percent = np.divide(100 * counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)
        shown = _annotated(axes, percent, names, predicted, ".0f", limits=(0, 100))
        axes.set_title(network)
        # The lowest matrix of each column carries the names, also where the last row is short.
        axes.tick_params(labelbottom=place + columns >= len(matrices))
    style._colour_bar(figure, shown, grid, "% of the row")
    figure.supxlabel("predicted")
    figure.supylabel("true")
    return figure


@style._styled
def dendrogram(
    linkage: np.ndarray,
    labels: Sequence[str],
    *,
    groups: Mapping[str, str] | None = None,
    support: Sequence[float] | None = None,
    title: str = "",
) -> Figure:
    """Draw a tree of N leaves.

    Parameters
    ----------
    linkage : (N - 1, 4) ndarray
        As `scipy.cluster.hierarchy.linkage` returns it.
    labels : sequence of N str
        Names of the leaves, in the order of the distances.
    groups : dict of label to group, optional
        Colours the names, and adds a legend.
    support : sequence of N - 1 float, range [0, 1], optional
        How often each branch appears in resamples of the folds, written at it in per cent; the
        root, which always does, has none. See `measures.trees.branch_support`.
    """
    linkage = np.asarray(linkage)
    if len(labels) != len(linkage) + 1:
        raise DataError(f"The tree has {len(linkage) + 1} leaves, but got {len(labels)} labels.")
    if support is not None and len(support) != len(linkage):
        raise DataError(f"The tree has {len(linkage)} branches, but got support of {len(support)}.")
    # Sixty leaves still fit on a page, and letters of 7 printed points into their rows.
    row = np.clip((style.PAGE_HEIGHT - 1.2) / len(labels), 0.125, 0.165) if support is None else 0.21
    figure = style._new_figure(style.PAGE, 0.9 + row * len(labels) + (0.25 if groups else 0), title)
    axes = figure.add_subplot()
    branches = _draw_tree(axes, linkage, labels, groups)
    if groups:
        style._legend(figure, style._group_entries(groups, labels, marker="s", linestyle="none"))
    axis_label = "1 − Pearson's r (average linkage)"
    if support is not None:
        _write_support(axes, branches, support, row)
        axis_label += "; at the branches: support over folds (%)"
    axes.set_xlabel(axis_label)
    return figure


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
    above = chosen[f"{unit}_low"] > limit
    values = chosen[["estimate", f"{unit}_low", f"{unit}_high"]].to_numpy(float)
    text = [_with_interval(*row) for row in values]
    chosen = chosen.assign(text=text, weight=np.where(above, "font-weight: bold", ""))
    networks = list(dict.fromkeys(chosen["network"]))
    # Where a page is too narrow for the table, it is the last column that is out of sight.
    expressions = sorted(dict.fromkeys(chosen["expression"]), key=lambda name: name != AVERAGE)
    cells, weights = (
        chosen.pivot(index="network", columns="expression", values=name).loc[networks, expressions]
        for name in ("text", "weight")
    )
    for name in rows:
        row = references[references["baseline"] == name].set_index("expression")["value"]
        if not row.empty:
            cells.loc[_MEANINGS[name]] = [_number(row.get(expression, np.nan)) for expression in expressions]
            weights.loc[_MEANINGS[name]] = _BASELINE
    whole = chosen[(chosen["network"] == AVERAGE) & (chosen["expression"] == AVERAGE)].iloc[0]
    chance = f"the baseline '{_MEANINGS['white']}'" if not bar.empty else f"chance ({whole['chance']:g})"
    caption = (
        f"Heatmaps and own masks: {_TITLES.get(score, score)}. Mean over folds [95 % interval over "
        f"{_UNITS[unit]}; n = {whole[f'{unit}s']} {unit}s]. Bold: the interval lies above {chance}. "
        "Italic: what maps score that know nothing of the network or of the expression."
    )
    return _captioned(cells, weights, caption)


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
    }
    cells = chosen[list(names)].map(_number).rename(columns=names)
    cells["heatmaps"] = chosen["heatmaps"].map("{:.0f}".format)
    weights = pd.DataFrame("", cells.index, cells.columns)
    weights.loc[(chosen["p_holm"] < 0.05).to_numpy(), ["p", "p (Holm)"]] = "font-weight: bold"
    above = " above that of as many random pixels" if score == "iou" else ""
    caption = (
        "Do heatmaps fit the mask of their own expression better than relabelled masks? "
        f"{_TITLES.get(score, score)}{above}; all {chosen['relabellings'].iloc[0]} relabellings, exact. "
        "Bold: p < 0.05, corrected for the number of networks. By chance the own mask is the best of six in "
        "0.167."
    )
    return _captioned(cells, weights, caption)


def ranking_table(ranking: pd.DataFrame, score: str = "iou") -> Styler:
    """Show the table ``ranking``: the networks with their sets of ranks over folds and over subjects."""
    check_option(score, "score", ranking["score"].unique())
    chosen = ranking[ranking["score"] == score].set_index("network")
    first = chosen[chosen["unit"] == "folds"]
    ranks = first["rank"].map(lambda rank: _number(rank, "g"))
    cells = pd.DataFrame({"score": first["estimate"].map(_number), "rank": ranks})
    for unit, part in chosen.groupby("unit", sort=False):
        ranks = part["low"].map("{:.0f} – ".format) + part["high"].map("{:.0f}".format)
        cells[f"rank, {unit}"] = ranks.where(part["low"].notna(), "–")
    caption = (
        f"Networks by {_TITLES.get(score, score)}, mean over expressions, and the ranks that each may have: "
        "from 1 + the networks that are surely better to the number not surely worse (differences over "
        "folds, or over subjects, corrected for all pairs; 95 % for all networks at once). "
        f"1 – {len(cells)}: nothing is known."
    )
    return _captioned(cells, pd.DataFrame("", cells.index, cells.columns), caption)


def _draw_tree(
    axes: Axes, linkage: np.ndarray, labels: Sequence[str], groups: Mapping[str, str] | None
) -> list[tuple[float, float, float]]:
    """Draw a tree, its leaves at the right; return each branch's height and the two places that it joins."""
    from scipy.cluster import hierarchy

    leaves = hierarchy.dendrogram(linkage, no_plot=True)["leaves"]
    nodes, branches = {leaf: (0, 10 * place + 5) for place, leaf in enumerate(leaves)}, []
    for first, second, height, _ in linkage:
        (x0, y0), (x1, y1) = nodes[first], nodes[second]
        axes.plot([x0, height, height, x1], [y0, y0, y1, y1], color="#333333", solid_capstyle="projecting")
        nodes[len(nodes)] = height, (y0 + y1) / 2
        branches.append((height, min(y0, y1), max(y0, y1)))
    axes.set_yticks(10 * np.arange(len(labels)) + 5, [labels[leaf] for leaf in leaves])
    axes.set_ylim(10 * len(labels), 0)
    axes.set_xlim(1.03 * max(linkage[:, 2].max(), 1e-9), 0)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for text in axes.get_yticklabels() if groups else ():
        text.set_color(style._group_colour(groups, text.get_text()))
    return branches


def _write_support(
    axes: Axes, branches: Sequence[tuple[float, float, float]], support: Sequence[float], row: float
) -> None:
    """Write the support of branches at them, where neither another one nor an upright line is in the way."""
    # Printed inches; the axes' width is about the page's without the names of leaves.
    wide, high, scale = 0.24, 0.13, (style.PAGE - 1.4) / axes.get_xlim()[0]
    upright = [(height * scale, low / 10 * row, top / 10 * row) for height, low, top in branches]
    side, taken = wide / 2 + 0.03, []
    for (height, low, top), value in zip(branches[:-1], support[:-1], strict=True):
        if not np.isfinite(value):
            continue
        place = (low + top) / 2
        x, y = height * scale, place / 10 * row
        free = [
            at
            for at in (x - side, x + side)
            if at > wide / 2
            and not any(abs(at - c) < wide and abs(y - d) < high for c, d in taken)
            and not any(abs(at - c) < wide / 2 and a - high / 2 < y < b + high / 2 for c, a, b in upright)
        ]
        at = free[0] if free else x + side
        taken.append((at, y))
        look = {"weight": "bold", "ha": "center", "va": "center", "zorder": 4}
        box = {"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"}
        axes.text(at / scale, place, f"{100 * value:.0f}", bbox=box, **look)


def _annotated(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    spec: str = ".2f",
    *,
    limits: tuple[float, float],
    signed: bool = False,
    turned: bool = True,
) -> AxesImage:
    """Draw a matrix in colours with its values written into the cells, NaN in gray."""
    from matplotlib import colormaps

    colours = colormaps[style.SIGNED if signed else style.UNSIGNED].with_extremes(bad=style.MISSING)
    shown = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        known = np.isfinite(value)
        dark = known and np.dot(colours(shown.norm(value))[:3], (0.3, 0.59, 0.11)) < 0.5
        look = {"ha": "center", "va": "center", "color": "white" if dark else "black"}
        axes.text(column, row, format(value, spec) if known else "–", **look)
    axes.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return shown


def _captioned(cells: pd.DataFrame, weights: pd.DataFrame, caption: str) -> Styler:
    cells = cells.rename_axis(index=None, columns=None).fillna("–")
    weights = weights.rename_axis(index=None, columns=None)
    shown = cells.style.apply(lambda _: weights, axis=None).format(_unbroken)
    return shown.set_caption(caption).set_table_styles(_STYLES)


def _unbroken(cell: str) -> str:
    """Let a cell break before its interval only, where a page is too narrow for the table."""
    return cell.replace(" ", "\N{NO-BREAK SPACE}").replace("\N{NO-BREAK SPACE}[", " [")


def _with_interval(value: float, low: float, high: float) -> str:
    return _number(value) if np.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float, spec: str = ".3f") -> str:
    return "–" if np.isnan(value) else format(value, spec)
