"""The step "explainers": how far other explainers agree with the one in use."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays
from ekman_expressions.explainers import face_parts, part_segments
from ekman_expressions.explainers.facial_regions import _region_names, _region_segments
from ekman_expressions.measures.known_answers import AGREEMENT, causal_agreement, part_masses
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explanations import read_explanation
from ekman_expressions.study.provenance import Run, read_results

_COMPARISON: dict[str, tuple[str, ...]] = {
    "ranking": ("explainer", "network", "iou", "rank"),
    "rank_correlations": ("first", "second", "networks", "spearman"),
    "heatmap_correlations": ("network", "expression", "faces", "first", "second", "correlation"),
    # With 'facial_regions' only; the network `_ALL` stands for all of them together.
    "facial_regions/regions": ("network", "expression", "region", "faces", "importance", "standard_error"),
    # With 'causal' only: how far each explainer agrees with it, per face; the Shapley values of each face's parts.
    "causal": ("network", "explainer", "fold", "image_id", "subject", "expression", *AGREEMENT),
    "causal_values": ("network", "fold", "image_id", "subject", "expression", *face_parts()),
}
"""The tables of the comparison, ``<name>.csv``, and their columns."""

_ALL = "all"


def compared(experiment: Experiment) -> tuple[str, ...]:
    """Return the explainers that are compared: the experiment's own, then ``explanation.compare``."""
    settings = experiment.explanation
    return tuple(dict.fromkeys((settings.explainer, *settings.compare)))


def _nothing_to_compare(experiment: Experiment) -> str:
    """Say why no explainers are compared; an empty text if some are."""
    names = experiment.explanation.compare
    return "" if names else "explanation.compare names no explainer"


def _explainers(experiment: Experiment, run: Run) -> None:
    """Compare the explainers of ``explanation.compare``, and the experiment's own.

    Each has been through explanations, face space, heatmaps, scores and dendrograms before, in
    folders of its own: see `Experiment.explained_by`. Then ``results/<experiment>/explainers/`` gets
    the `_COMPARISON`.
    """
    names = compared(experiment)
    ranking = _rank_networks(experiment, names)
    by_explainer = ranking.pivot(index="network", columns="explainer", values="iou")[list(names)]
    of_ranks = _correlations(by_explainer, "spearman").rename(columns={"rows": "networks"})
    of_heatmaps = pd.concat(list(_correlate(experiment, run)) or [pd.DataFrame()])
    tables = {
        "ranking": ranking,
        "rank_correlations": of_ranks,
        "heatmap_correlations": of_heatmaps.reindex(columns=_COMPARISON["heatmap_correlations"]),
    }
    if "facial_regions" in names:
        tables["facial_regions/regions"] = _region_table(experiment.explained_by("facial_regions"), run)
    if "causal" in names:
        tables["causal"], tables["causal_values"] = _causal_tables(experiment, names, run)
    tables = {name: table[list(_COMPARISON[name])] for name, table in tables.items()}
    run.write(experiment.comparison_folder, tables, items=1)


def _causal_tables(
    experiment: Experiment, names: tuple[str, ...], run: Run
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare each explainer with the causal one on the faces that both have explained; no forward pass."""
    agreement, values = [], []
    subject_of = prepared.read_manifest(experiment).set_index("image_id")["subject"]
    for row in evaluation.read_explained(experiment.explained_by("causal")).itertuples():
        face = row.network, row.fold, row.image_id
        known = face + (subject_of[row.image_id], row.expression)
        try:
            truth = read_explanation(experiment.explained_by("causal"), *face, row.expression)
            landmarks = prepared.read_landmarks(experiment, row.image_id)
        except (DataError, MissingError) as error:
            run.omit("_".join(face), error)
            continue
        parts = part_segments(landmarks, truth.segments.shape)[1]
        values.append(dict(zip(_COMPARISON["causal_values"], known, strict=False)))
        values[-1] |= dict(zip(parts, truth.weights, strict=True))
        for name in names:
            if name == "causal":
                continue
            try:
                found = read_explanation(experiment.explained_by(name), *face, row.expression)
                masses = part_masses(found.map, truth.segments)
            except (DataError, MissingError) as error:
                run.omit(f"{name} {'_'.join(face)}", error)
                continue
            agreement.append(
                dict(zip(("network", "fold", "image_id", "subject", "expression"), known, strict=True))
                | {"explainer": name}
                | causal_agreement(truth, masses)
            )
    table = pd.DataFrame(values, columns=list(_COMPARISON["causal_values"]))
    for network, changes in table.set_index("network")[list(face_parts())].sum(axis=1).groupby(level=0):
        if (changes < 0).any():
            run.note(
                f"causal: {(changes < 0).sum()} of {len(changes)} faces on {network} are predicted less as "
                "their class than their neutral face is"
            )
    return pd.DataFrame(agreement, columns=list(_COMPARISON["causal"])), table


def _common_heatmaps(
    experiment: Experiment, network: str, expression: str
) -> tuple[dict[str, np.ndarray], int]:
    """Average each explainer's maps of one network and expression over the faces that all explained: by
    explainer (none if there is no such face), and how many faces.
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
        ids = {name: read_arrays(path, ("image_ids",))["image_ids"] for name, path in paths.items()}
        common = sorted(set.intersection(*(set(each.tolist()) for each in ids.values())))
        faces += len(common)
        for name, path in paths.items() if common else ():
            maps = read_arrays(path, ("maps",))["maps"][np.isin(ids[name], common)]
            sums[name] = sums.get(name, 0) + maps.sum(axis=0, dtype=np.float64)
    return {name: total / faces for name, total in sums.items()}, faces


def _summarise_regions(weights: pd.DataFrame, expressions: tuple[str, ...] = EXPRESSIONS) -> pd.DataFrame:
    """Average ``network, expression, region, weight`` over faces, per network and over all, with standard
    errors over faces (those of one subject are not independent, so they are rather too small).
    """
    both = pd.concat([weights, weights.assign(network=_ALL)])
    networks = [*dict.fromkeys(weights["network"]), _ALL]
    groups = both.groupby(["network", "expression", "region"])["weight"]
    table = groups.agg(faces="size", importance="mean", standard_error="sem")
    cells = pd.MultiIndex.from_product([networks, expressions, _region_names()], names=table.index.names)
    return table.loc[cells[cells.isin(table.index)]].reset_index()


def _rank_networks(experiment: Experiment, names: tuple[str, ...]) -> pd.DataFrame:
    """Rank the networks by the mean IoU of each explainer's heatmaps; NaN without a score."""
    tables = []
    if not experiment.mask_regions:
        cells = pd.MultiIndex.from_product([names, experiment.networks], names=["explainer", "network"])
        return pd.DataFrame({"iou": np.nan, "rank": np.nan}, cells).reset_index()
    for name in names:
        table = read_results(experiment.explained_by(name), "scores", "scores", ("network", "expression", "iou"))
        means = table[(table["expression"] == AVERAGE) & (table["network"] != AVERAGE)][["network", "iou"]]
        tables.append(means.assign(explainer=name, rank=means["iou"].rank(ascending=False)))
    return pd.concat(tables, ignore_index=True)


def _correlate(experiment: Experiment, run: Run) -> Iterator[pd.DataFrame]:
    explained = evaluation.read_explained(experiment)
    cells = explained[["network", "expression"]].drop_duplicates()
    cells = list(cells[cells["network"].isin(experiment.networks)].itertuples(index=False))
    for network, expression in tqdm(cells, desc="Correlating heatmaps", unit="heatmap"):
        means, faces = _common_heatmaps(experiment, network, expression)
        if not faces:
            run.omit(f"{network} {expression}", MissingError("no face was explained by all explainers"))
            continue
        table = _correlations(pd.DataFrame({name: mean.ravel() for name, mean in means.items()}), "pearson")
        table = table.rename(columns={"pearson": "correlation"})
        yield table.assign(network=network, expression=expression, faces=faces)


def _region_table(experiment: Experiment, run: Run) -> pd.DataFrame:
    """Average the weights of facial regions over faces; faces without a record are left out."""
    rows = []
    explained = evaluation.read_explained(experiment)
    for row in tqdm(explained.itertuples(), desc="Averaging regions", unit="face", total=len(explained)):
        path = experiment.record_path(row.network, row.fold, row.image_id)
        if (row.network, row.fold) not in experiment.pairs or not path.exists():
            continue
        try:
            found = read_explanation(experiment, row.network, row.fold, row.image_id, row.expression)
            names = _regions_of(experiment, row.image_id, found.segments)
        except (DataError, MissingError) as error:
            run.omit(f"regions of {row.network}_{row.fold} {row.image_id}", error)
            continue
        rows += [
            (row.network, row.expression, name, weight)
            for name, weight in zip(names, found.weights, strict=True)
        ]
    weights = pd.DataFrame(rows, columns=["network", "expression", "region", "weight"])
    return _summarise_regions(weights, experiment.expressions)


def _regions_of(experiment: Experiment, image_id: str, segments: np.ndarray) -> tuple[str, ...]:
    """Return what the segments of a record are."""
    if segments.max() + 1 == len(_region_names()):
        return _region_names()
    found, names = _region_segments(prepared.read_landmarks(experiment, image_id), segments.shape)
    if not np.array_equal(found, segments):
        raise DataError("its landmarks have changed since it was explained")
    return names


def _correlations(columns: pd.DataFrame, method: str) -> pd.DataFrame:
    """Correlate every two columns: ``first, second, rows`` that both have, and the correlation, or NaN."""
    matrix = columns.corr(method, min_periods=2)
    pairs = [
        (first, second, len(columns[[first, second]].dropna()), matrix.loc[first, second])
        for first, second in combinations(columns, 2)
    ]
    return pd.DataFrame(pairs, columns=["first", "second", "rows", method])
