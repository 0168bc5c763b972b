"""The step "statistics": chance, tests, intervals and scores without a threshold, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, require, write_csv
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.assessment import TABLES, assess
from ekman_expressions.measures.heatmap_set import HeatmapSet, read
from ekman_expressions.measures.subjects import SubjectReplicates
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.subjects import over_subjects

RESAMPLES = 400
"""How many resamples of subjects are scored. For each, all heatmaps are made anew."""


def statistics(experiment: Experiment, run: Run, *, resamples: int = RESAMPLES) -> None:
    """Say what the scores of an experiment, of any explainer, are worth.

    Parameters
    ----------
    experiment : Experiment
        See `Experiment.explained_by`.
    run : Run
        Takes note of tables made and heatmaps left out.
    resamples : int
        Resamples of subjects; 0 leaves the intervals over subjects out.
    """
    masks = np.array([read_mask(experiment.masks_folder, expression) for expression in EXPRESSIONS])
    found = read(experiment.heatmaps_folder, masks, experiment.networks, experiment.folds, run.omit)
    if not found.present.any():
        run.note("There is no heatmap to score: the tables hold the baselines that need none.")
    subjects = _resample(experiment, found, run, resamples)

    def unstretched(expression: str, network: str, fold: str) -> np.ndarray:
        try:
            return heatmaps.read_float(experiment.heatmaps_folder, expression, network, fold)
        except (MissingError, DataError) as error:
            run.omit(f"{heatmaps.heatmap_name(expression, network, fold)}, unstretched", error)
            return heatmaps.read_gray(experiment.heatmaps_folder, expression, network, fold)

    tables = assess(found, seed=experiment.seed, subjects=subjects, unstretched=unstretched)
    for name in TABLES:
        path = experiment.statistics_folder / f"{name}.csv"
        write_csv(path, tables[name])
        run.made(path)


def read_table(experiment: Experiment, name: str) -> pd.DataFrame:
    """Read one of `TABLES`."""
    return read_csv(require(experiment.statistics_folder / f"{name}.csv", "statistics"))


def _resample(
    experiment: Experiment, found: HeatmapSet, run: Run, resamples: int
) -> SubjectReplicates | None:
    if not resamples:
        return None
    try:
        return over_subjects(experiment, found.masks, found.hull, run, resamples=resamples)
    except MissingError as error:
        run.note(f"No intervals over subjects: {error}")
        return None
