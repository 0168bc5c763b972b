"""The step "regions": on which parts of the face the heatmaps of an experiment have their mass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, read_csv, require, write_csv
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.facespace import heatmaps
from ekman_expressions.measures.regions import LEVELS, region_masses, region_shares
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import read_manifest
from ekman_expressions.study.provenance import Run

ALL = "all"
"""The name of all networks together."""

COLUMNS = ("level", "network", "expression", "region", "area", "share", "density", "maps", "units", "unit")
"""Some columns of ``regions.csv``; the ends of intervals stand beside ``share`` and ``density``."""


def regions(experiment: Experiment, run: Run) -> None:
    """Measure the mass of all explanations per region of the face.

    Writes ``regions.csv``: a row per level, network (and all together), expression and region, with
    bootstrap intervals over subjects.
    """
    subjects = read_manifest(experiment).set_index("image_id")["subject"]
    tables = []
    for expression in tqdm(EXPRESSIONS, desc="Measuring regions", unit="expression"):
        masses: dict[str, list] = {}
        for network, fold in experiment.pairs:
            masses.setdefault(network, []).append(
                _masses(experiment.maps_path(network, fold, expression), subjects, run)
            )
        tables += _of_expression(experiment, expression, masses, run)
    table = pd.concat(tables) if tables else pd.DataFrame(columns=COLUMNS)
    path = experiment.regions_folder / "regions.csv"
    write_csv(path, table)
    run.made(path, items=len(table))


def read_regions(experiment: Experiment) -> pd.DataFrame:
    """Read the table that the step wrote.

    Raises
    ------
    MissingError
        If it is not there.
    DataError
        If it is damaged.
    """
    return read_csv(require(experiment.regions_folder / "regions.csv", "regions"), COLUMNS)


def of_heatmaps(
    folder: Path | str,
    networks: Sequence[str],
    folds: Sequence[str],
    expressions: Iterable[str] = EXPRESSIONS,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure heatmaps of which only those of the folds are there, such as the released ones.

    Parameters
    ----------
    folder : Path
        Laid out like ``heatmaps/<experiment>``.
    networks, folds : sequence of str
        Which; a heatmap that is missing is passed over.
    expressions : iterable of str
    seed : int
        For the resamples.

    Returns
    -------
    DataFrame
        As ``regions.csv``, of 8-bit heatmaps, each fold counting alike; intervals are over folds,
        whose training faces overlap: they say what another fold would give, not another study.

    Raises
    ------
    MissingError
        If none of the heatmaps is there.
    """
    tables = []
    for expression in expressions:
        masses: dict[str, list] = {}
        for network in networks:
            for fold in folds:
                if heatmaps.heatmap_path(folder, expression, network, fold).exists():
                    gray = heatmaps.read_gray(folder, expression, network, fold)
                    of_fold = {level: region_masses(gray[None], level) for level in LEVELS}
                    masses.setdefault(network, []).append((of_fold, [fold]))
        for level in LEVELS:
            for network, parts in _with_all(masses).items():
                found = _shares(parts, level, derive_seed(seed, "regions", level, network, expression))
                tables.append(_labelled(found, level, network, expression, "folds"))
    if not tables:
        raise MissingError(f"{folder} has no heatmap of a fold of {', '.join(networks)}.")
    return pd.concat(tables, ignore_index=True)


def _masses(path: Path, subjects: pd.Series, run: Run) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the masses of one model's explanations on each level, and their subjects."""
    if not path.exists():
        return {}, []
    stored = read_arrays(path, ("maps", "image_ids"))
    usable = np.isfinite(stored["maps"]).all(axis=(1, 2)) & np.isin(stored["image_ids"], subjects.index)
    for image_id in stored["image_ids"][~usable]:
        run.omit(f"{path.stem} {image_id}", "its explanation is not finite, or it is not in the manifest")
    if not usable.any():
        return {}, []
    masses = {level: region_masses(stored["maps"][usable], level) for level in LEVELS}
    return masses, list(subjects.loc[stored["image_ids"][usable]])


def _of_expression(
    experiment: Experiment, expression: str, masses: dict[str, list], run: Run
) -> list[pd.DataFrame]:
    tables = []
    for network, parts in _with_all(masses).items():
        for level in LEVELS:
            seed = derive_seed(experiment.seed, "regions", level, network, expression)
            try:
                found = _shares(parts, level, seed)
            except DataError as error:
                if level == LEVELS[0]:
                    run.omit(f"{network} {expression}", error)
                continue
            tables.append(_labelled(found, level, network, expression, "subjects"))
    return tables


def _with_all(masses: dict[str, list]) -> dict[str, list]:
    """Add all networks together, where there are several."""
    if len(masses) < 2:
        return masses
    return masses | {ALL: [part for parts in masses.values() for part in parts]}


def _shares(parts: list, level: str, seed: int) -> pd.DataFrame:
    there = [(masses[level], clusters) for masses, clusters in parts if clusters]
    if not there:
        raise DataError("no explanation can be used")
    clusters = [cluster for _, of_part in there for cluster in of_part]
    return region_shares(np.concatenate([masses for masses, _ in there]), clusters, seed=seed, level=level)


def _labelled(found: pd.DataFrame, level: str, network: str, expression: str, unit: str) -> pd.DataFrame:
    labels = pd.DataFrame({"level": level, "network": network, "expression": expression}, index=found.index)
    return pd.concat([labels, found.assign(unit=unit)], axis=1)
