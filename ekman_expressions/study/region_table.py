"""The table of facial regions: how much each speaks for each expression, without any warp of the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, index
from ekman_expressions.core.files import read_csv, require, write_csv
from ekman_expressions.explainers.facial_regions import region_names, region_segments
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.maps import weights_of
from ekman_expressions.study.provenance import Run

COLUMNS = ("network", "expression", "region", "faces", "importance", "standard_error")
"""Columns of ``regions.csv``; the network ``all`` stands for all of them together."""

ALL = "all"


def summarise_regions(weights: pd.DataFrame) -> pd.DataFrame:
    """Average the weights of regions over faces, per network and over all networks.

    Parameters
    ----------
    weights : DataFrame
        ``network, expression, region, weight``: a row for each region of each explained face.

    Returns
    -------
    DataFrame
        The `COLUMNS`: the number of faces on which the region has a pixel, the mean weight (by how
        much keeping the region raises the probability of the expression), and the standard
        error of this mean over faces, NaN for a single face. Faces of one subject are not
        independent, so the error is rather too small.
    """
    both = pd.concat([weights, weights.assign(network=ALL)])
    order = [*dict.fromkeys(weights["network"]), ALL]
    table = both.groupby(["network", "expression", "region"])["weight"].agg(["size", "mean", "sem"])
    table = table.reset_index().set_axis(list(COLUMNS), axis="columns")
    places = {name: place for place, name in enumerate((*order, *EXPRESSIONS, *region_names()))}
    keys = table[list(COLUMNS[:3])].map(places.get)
    return table.iloc[np.lexsort(keys.to_numpy().T[::-1])].reset_index(drop=True)


def write_regions(experiment: Experiment, run: Run) -> Path:
    """Write ``regions.csv`` of the explainer 'facial_regions'; faces without a record are left out."""
    experiment = experiment.explained_by("facial_regions")
    rows = []
    explained = evaluation.read_explained(experiment)
    for row in tqdm(explained.itertuples(), desc="Averaging regions", unit="face", total=len(explained)):
        path = experiment.record_path(row.network, row.fold, row.image_id)
        if (row.network, row.fold) not in experiment.pairs or not path.exists():
            continue
        try:
            record = PerturbationRecord.load(path)
            names = _names(experiment, row.image_id, record.segments)
        except (DataError, MissingError) as error:
            run.omit(f"regions of {row.network}_{row.fold} {row.image_id}", error)
            continue
        weights = weights_of(experiment, record, index(row.expression))
        rows += [
            (row.network, row.expression, name, weight) for name, weight in zip(names, weights, strict=True)
        ]
    weights = pd.DataFrame(rows, columns=["network", "expression", "region", "weight"])
    path = regions_path(experiment)
    write_csv(path, summarise_regions(weights))
    return path


def _names(experiment: Experiment, image_id: str, segments: np.ndarray) -> tuple[str, ...]:
    """Return what the segments of a record are."""
    if segments.max() + 1 == len(region_names()):
        return region_names()
    found, names = region_segments(prepared.read_landmarks(experiment, image_id), segments.shape)
    if not np.array_equal(found, segments):
        raise DataError("its landmarks have changed since it was explained")
    return names


def regions_path(experiment: Experiment) -> Path:
    """Where ``regions.csv`` lies."""
    return experiment.comparison_folder / "facial_regions" / "regions.csv"


def read_regions(experiment: Experiment) -> pd.DataFrame:
    """Read ``regions.csv``, with the `COLUMNS`."""
    return read_csv(require(regions_path(experiment), "explainers"), COLUMNS)
