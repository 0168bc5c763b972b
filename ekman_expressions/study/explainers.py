"""The step "explainers": other explainers through face space, heatmaps and tables, and how far they agree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.files import read_arrays, read_csv, require, write_csv
from ekman_expressions.explainers.specs import SPECS, resolved_options
from ekman_expressions.measures.explainer_agreement import (
    heatmap_correlations,
    rank_correlations,
    rank_networks,
)
from ekman_expressions.study import cost, dendrograms, evaluation, heatmaps
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explanations import explain
from ekman_expressions.study.facespace import normalise_explanations
from ekman_expressions.study.locks import locked
from ekman_expressions.study.provenance import Run, record, require_finished, settings_of
from ekman_expressions.study.region_table import regions_path, write_regions
from ekman_expressions.study.scores import read_scores, score

_STEP = "explainers"

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


@locked
def compare(experiment: Experiment) -> Run:
    """Take the explainers to be compared through all steps, and compare them (step "explainers").

    Each explainer of ``explanation.compare`` goes through explanations, face space, heatmaps, scores
    and dendrograms, in folders of its own: see `Experiment.explained_by`. Then
    ``results/<experiment>/explainers/`` gets the `TABLES`, and, with 'facial_regions', its
    ``regions.csv``. Without ``explanation.compare`` there is nothing to do.

    Raises
    ------
    MissingError
        If the steps up to "scores" have not come to their end.
    """
    total = Run()
    if not experiment.explanation.compare:
        total.note("explanation.compare names no explainer: nothing to compare")
        return total
    require_finished(experiment.scores_folder, "scores")
    names = compared(experiment)
    for name in names:
        if name != experiment.explanation.explainer:
            _through_all_steps(experiment.explained_by(name), total)
    settings = settings_of(experiment, "faces", "training", "models", "explanation")
    options = {name: resolved_options(experiment.explanation.options, name) for name in names}
    inputs = {}
    for name in names:
        each = experiment.explained_by(name)
        inputs[f"{name} facespace"] = require_finished(each.facespace_folder, "facespace")
        inputs[f"{name} scores"] = require_finished(each.scores_folder, "scores")
    with record(
        experiment.comparison_folder,
        _STEP,
        settings | {"compared": options},
        inputs=inputs,
        upstream=[experiment.scores_folder],
        redo=True,
    ) as run:
        paths = [experiment.comparison_folder / f"{name}.csv" for name in TABLES]
        if "facial_regions" in names:
            paths.append(regions_path(experiment))
        if run.finished_before and all(path.exists() for path in paths):
            run.skipped = len(paths)
        else:
            run.begin()
            _write_tables(experiment, names, run)
            run.done = len(paths)
    total.done += run.done
    total.skipped += run.skipped
    total.omissions += run.omissions
    return total


def read_table(experiment: Experiment, name: str) -> pd.DataFrame:
    """Read one of the `TABLES` of the comparison."""
    path = require(experiment.comparison_folder / f"{name}.csv", _STEP)
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


def _through_all_steps(experiment: Experiment, total: Run) -> None:
    explainer = experiment.explanation.explainer
    steps = (explain, normalise_explanations, heatmaps.make, score, dendrograms.dendrograms)
    for step in tqdm(steps, desc=SPECS[explainer].title, unit="step"):
        run = step(experiment)
        total.done += run.done
        total.skipped += run.skipped
        # What the first step leaves out, the later ones miss: told once.
        if step is explain:
            total.omissions += [
                {**entry, "item": f"{explainer} of {entry['item']}"} for entry in run.omissions
            ]


def _write_tables(experiment: Experiment, names: tuple[str, ...], run: Run) -> None:
    scores = {name: read_scores(experiment.explained_by(name)) for name in names}
    ranking = rank_networks(scores)
    correlations = pd.concat(list(_correlate(experiment, run)) or [pd.DataFrame()])
    if "facial_regions" in names:
        write_regions(experiment, run)
    tables = {
        "ranking": ranking,
        "rank_correlations": rank_correlations(ranking),
        "heatmap_correlations": correlations.reindex(columns=TABLES["heatmap_correlations"]),
        "cost": cost.measure(experiment, list(names), run),
    }
    for name, table in tables.items():
        write_csv(experiment.comparison_folder / f"{name}.csv", table[list(TABLES[name])])


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
