"""The step "explainers": other explainers through face space, heatmaps and tables, and how far they agree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.files import read_arrays, read_csv, require, write_csv
from ekman_expressions.measures.explainer_agreement import (
    heatmap_correlations,
    rank_correlations,
    rank_networks,
)
from ekman_expressions.study import cost, evaluation
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.region_table import write_regions
from ekman_expressions.study.scores import read_scores

TABLES: dict[str, tuple[str, ...]] = {
    "ranking": ("explainer", "network", "iou", "rank"),
    "rank_correlations": ("first", "second", "networks", "spearman"),
    "heatmap_correlations": ("network", "expression", "faces", "first", "second", "correlation"),
    "cost": cost.COLUMNS,
}
"""The tables of the comparison, ``<name>.csv``, and their columns."""


def compared(experiment: Experiment) -> tuple[str, ...]:
    """Return the explainers that are compared: the experiment's own, then ``explanation.compare``."""
    settings = experiment.explanation
    return tuple(dict.fromkeys((settings.explainer, *settings.compare)))


def nothing_to_compare(experiment: Experiment) -> str:
    """Say why no explainers are compared; an empty text if some are."""
    return (
        "" if experiment.explanation.compare else "explanation.compare names no explainer: nothing to compare"
    )


def explainers(experiment: Experiment, run: Run) -> None:
    """Compare the explainers of ``explanation.compare``, and the experiment's own.

    Each has been through explanations, face space, heatmaps, scores and dendrograms before, in
    folders of its own: see `Experiment.explained_by`. Then ``results/<experiment>/explainers/`` gets
    the `TABLES`, and, with 'facial_regions', its ``regions.csv``.
    """
    names = compared(experiment)
    scores = {name: read_scores(experiment.explained_by(name)) for name in names}
    ranking = rank_networks(scores)
    correlations = pd.concat(list(_correlate(experiment, run)) or [pd.DataFrame()])
    if "facial_regions" in names:
        run.made(write_regions(experiment, run))
    tables = {
        "ranking": ranking,
        "rank_correlations": rank_correlations(ranking),
        "heatmap_correlations": correlations.reindex(columns=TABLES["heatmap_correlations"]),
        "cost": cost.measure(experiment, list(names), run),
    }
    for name, table in tables.items():
        path = experiment.comparison_folder / f"{name}.csv"
        write_csv(path, table[list(TABLES[name])])
        run.made(path)


def read_table(experiment: Experiment, name: str) -> pd.DataFrame:
    """Read one of the `TABLES` of the comparison."""
    path = require(experiment.comparison_folder / f"{name}.csv", "explainers")
    return read_csv(path, TABLES[name])


def common_heatmaps(
    experiment: Experiment, network: str, expression: str
) -> tuple[dict[str, np.ndarray], int]:
    """Average each explainer's maps of one network and expression over the faces that all explained.

    Returns
    -------
    heatmaps : dict of str to (275, 224) ndarray of float64
        By explainer; empty if no face was explained by all.
    faces : int
        How many faces.
    """
    sums: dict[str, np.ndarray] = {}
    faces = 0
    for fold in experiment.folds:
        paths = {
            name: experiment.explained_by(name).maps_path(network, fold, expression)
            for name in compared(experiment)
        }
        if not all(path.exists() for path in paths.values()):
            continue
        stored = {name: read_arrays(path, ("maps", "image_ids")) for name, path in paths.items()}
        common = set.intersection(*(set(arrays["image_ids"].tolist()) for arrays in stored.values()))
        faces += len(common)
        for name, arrays in stored.items():
            kept = np.isin(arrays["image_ids"], sorted(common))
            sums[name] = sums.get(name, 0) + arrays["maps"][kept].sum(axis=0, dtype=np.float64)
    return {name: total / faces for name, total in sums.items()} if faces else {}, faces


def _correlate(experiment: Experiment, run: Run) -> Iterator[pd.DataFrame]:
    explained = evaluation.read_explained(experiment)
    cells = explained[["network", "expression"]].drop_duplicates()
    cells = list(cells[cells["network"].isin(experiment.networks)].itertuples(index=False))
    for network, expression in tqdm(cells, desc="Correlating heatmaps", unit="heatmap"):
        means, faces = common_heatmaps(experiment, network, expression)
        if not faces:
            run.omit(f"{network} {expression}", MissingError("no face was explained by all explainers"))
            continue
        table = heatmap_correlations(means)
        yield table.assign(network=network, expression=expression, faces=faces)
