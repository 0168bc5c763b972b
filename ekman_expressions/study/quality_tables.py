"""The tables of the step "quality", made of the files of all models; and how both are read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, read_csv, require
from ekman_expressions.facespace.heatmaps import RunningMean, to_uint8
from ekman_expressions.facespace.masks import ekman_mask
from ekman_expressions.measures.map_agreement import correlations, similarity
from ekman_expressions.measures.scores import scores
from ekman_expressions.study import erasing, remaking, resampling
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explained import surrogates_of
from ekman_expressions.study.variants import AS_SET, UNTRAINED, names_of

TABLES: dict[str, tuple[str, ...]] = {
    "reliability": (
        *("explainer", "network", "fold", "image_id", "expression", "superpixels", "mean_standard_error"),
        *("r2", "r2_standard_error", "units", "flip_rate", "weighted_flip_rate"),
    ),
    "curves": (*("network", "fold", "image_id", "expression", "ranking", "deletion", "insertion", "passes"),),
    "untrained": (
        *("explainer", "network", "expression", "faces", "pearson", "spearman", "ssim"),
        *("iou_trained", "iou_untrained"),
    ),
    "sensitivity": (
        *("explainer", "network", "expression", "first", "second", "faces"),
        *("correlation", "heatmap_correlation"),
    ),
}
"""The tables, ``quality/<name>.csv``, and their columns."""


def read(experiment: Experiment, table: str) -> pd.DataFrame:
    """Read one of `TABLES`.

    Raises
    ------
    MissingError
        If the step 'quality' has not run.
    """
    path = require(experiment.quality_folder / f"{table}.csv", "quality")
    return read_csv(path, TABLES[table], dtype={"image_id": str})


def read_curves(experiment: Experiment) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Read all curves, by network and expression in their usual order, the models of all folds together.

    Returns
    -------
    dict of (network, expression) to dict of ranking to (N, 2, G) ndarray
        The answers at the shares `erasing.GRID`, of deletion and of insertion, for N faces.
    """
    found: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
    for network, fold in experiment.pairs:
        path = erasing.path_of(experiment, network, fold)
        if not path.exists():
            continue
        arrays = read_arrays(path, ("expressions", "rankings", "answers"))
        for expression, answers in zip(arrays["expressions"], arrays["answers"], strict=True):
            cell = found.setdefault((network, str(expression)), {})
            for ranking, curve in zip(arrays["rankings"], answers, strict=True):
                if np.isfinite(curve).all():
                    cell.setdefault(str(ranking), []).append(curve)
    return {
        cell: {ranking: np.stack(curves) for ranking, curves in found[cell].items()}
        for cell in product(experiment.networks, EXPRESSIONS)
        if cell in found
    }


def read_heatmaps(
    experiment: Experiment, explainer: str | None = None
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Read the mean maps of the faces that were explained again.

    Parameters
    ----------
    experiment : Experiment
    explainer : str, optional
        By default the one in use.

    Returns
    -------
    dict of (network, expression) to dict of variant to (275, 224) ndarray of float64
    """
    explainer = explainer or experiment.explanation.explainer
    found = {}
    for name, network, expression, means, _ in _merged(experiment):
        if name == explainer:
            found[network, expression] = {variant: mean.mean for variant, mean in means.items()}
    return found


def sensitivity_matrices(
    experiment: Experiment, explainer: str | None = None
) -> tuple[dict[tuple[str, str], np.ndarray], tuple[str, ...]]:
    """Read the mean correlations of faces' maps that were made in different ways, as matrices.

    Returns
    -------
    dict of (network, expression) to (V, V) ndarray
        NaN where there is none.
    tuple of V str
        The variants: all but the untrained copy.
    """
    explainer = explainer or experiment.explanation.explainer
    names = tuple(name for name in names_of(experiment.explanation) if name != UNTRAINED)
    table = read(experiment, "sensitivity")
    table = table[table["explainer"] == explainer]
    matrices = {}
    for cell, rows in table.groupby(["network", "expression"], sort=False):
        matrix = np.full((len(names), len(names)), np.nan)
        np.fill_diagonal(matrix, 1)
        for row in rows.itertuples():
            if row.first in names and row.second in names:
                places = names.index(row.first), names.index(row.second)
                matrix[places] = matrix[places[::-1]] = row.correlation
        matrices[cell] = matrix
    return matrices, names


def make(experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Make all `TABLES` from the files of the models that are there."""
    reliability, curves = [], []
    for network, fold in experiment.pairs:
        model = {"network": network, "fold": fold}
        for explainer in surrogates_of(experiment):
            path = resampling.path_of(experiment, explainer, network, fold)
            if path.exists():
                rows = resampling.tabulate(read_arrays(path))
                reliability.append(rows.assign(explainer=explainer, **model))
        path = erasing.path_of(experiment, network, fold)
        if path.exists():
            curves.append(erasing.tabulate(read_arrays(path)).assign(**model))
    untrained, sensitivity = [], []
    for explainer, network, expression, means, correlated in _merged(experiment):
        cell = {"explainer": explainer, "network": network, "expression": expression}
        if UNTRAINED in means and AS_SET in means:
            untrained.append(cell | _untrained(means, expression))
        sensitivity += [cell | row for row in _sensitivity(means, correlated)]
    return {
        "reliability": _table("reliability", pd.concat(reliability) if reliability else []),
        "curves": _table("curves", pd.concat(curves) if curves else []),
        "untrained": _table("untrained", untrained),
        "sensitivity": _table("sensitivity", sensitivity),
    }


def _table(name: str, rows: pd.DataFrame | list) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(TABLES[name]))


def _untrained(means: dict[str, RunningMean], expression: str) -> dict[str, float]:
    trained, fresh = means[AS_SET].mean, means[UNTRAINED].mean
    mask = ekman_mask(expression)
    return {
        "faces": int(means[UNTRAINED].weight),
        **similarity(trained, fresh),
        "iou_trained": _iou(trained, mask),
        "iou_untrained": _iou(fresh, mask),
    }


def _iou(heatmap: np.ndarray, mask: np.ndarray) -> float:
    try:
        return scores(to_uint8(heatmap), mask)["iou"]
    except DataError:
        # A constant heatmap marks nothing.
        return float("nan")


def _sensitivity(means: dict[str, RunningMean], correlated: np.ndarray) -> list[dict]:
    """Return a row for each two variants; `correlated` (N, V, V) of all, in the order of `means`."""
    names = list(means)
    of_heatmaps = correlations(np.stack([mean.mean for mean in means.values()]))
    rows = []
    for one in range(len(names)):
        for other in range(one + 1, len(names)):
            values = correlated[:, one, other]
            values = values[np.isfinite(values)]
            rows.append(
                {
                    "first": names[one],
                    "second": names[other],
                    "faces": len(values),
                    "correlation": values.mean() if len(values) else np.nan,
                    "heatmap_correlation": of_heatmaps[one, other],
                }
            )
    return rows


def _merged(
    experiment: Experiment,
) -> Iterator[tuple[str, str, str, dict[str, RunningMean], np.ndarray]]:
    """Yield explainer, network, expression, the mean map of each variant over all folds, and the
    correlations (N, V, V) of the faces' maps, of the variants that there are."""
    for network in experiment.networks:
        paths = [remaking.path_of(experiment, network, fold) for fold in experiment.folds]
        files = [read_arrays(path) for path in paths if path.exists()]
        if not files:
            continue
        variants = files[0]["variants"].tolist()
        for place, explainer in enumerate(files[0]["explainers"].tolist()):
            for number, expression in enumerate(EXPRESSIONS):
                means = {}
                for spot, variant in enumerate(variants):
                    mean = RunningMean()
                    for arrays in files:
                        if weight := arrays["counts"][number, place, spot]:
                            mean.add(arrays["means"][number, place, spot], weight)
                    if mean.weight:
                        means[variant] = mean
                if not means:
                    continue
                spots = [variants.index(variant) for variant in means]
                correlated = [
                    arrays["correlations"][arrays["expressions"] == expression, place] for arrays in files
                ]
                yield explainer, network, expression, means, np.concatenate(correlated)[:, spots][:, :, spots]
