"""The step "statistics": chance, tests, intervals and scores without a threshold, as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, require, write_csv
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.assessment import TABLES, assess
from ekman_expressions.measures.heatmap_set import HeatmapSet, read
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.measures.subjects import SubjectReplicates
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.locks import locked
from ekman_expressions.study.provenance import Run, record, require_finished, settings_of
from ekman_expressions.study.subjects import over_subjects

RESAMPLES = 400
"""How many resamples of subjects are scored. For each, all heatmaps are made anew."""

_STEP = "statistics"


@locked
def analyse(experiment: Experiment, *, resamples: int = RESAMPLES) -> Run:
    """Say what the scores of an experiment are worth (step "statistics").

    Parameters
    ----------
    experiment : Experiment
        Of any explainer; see `Experiment.explained_by`.
    resamples : int
        Resamples of subjects; 0 leaves the intervals over subjects out.

    Raises
    ------
    MissingError
        If the step "heatmaps" or "masks" has not come to its end.
    """
    folder = statistics_folder(experiment)
    inputs = {
        "heatmaps": require_finished(experiment.heatmaps_folder, "heatmaps"),
        "masks": require_finished(experiment.masks_folder, "masks"),
    }
    settings = settings_of(experiment, "faces", "training", "models", "explanation")
    settings["statistics"] = {"resamples": resamples}
    with record(
        folder, _STEP, settings, inputs=inputs, upstream=[experiment.heatmaps_folder], redo=True
    ) as run:
        if run.finished_before and _covers(experiment):
            run.skipped = len(TABLES)
            return run
        run.begin()
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
            write_csv(folder / f"{name}.csv", tables[name])
            run.done += 1
    return run


def statistics_folder(experiment: Experiment) -> Path:
    """Return the folder of the tables, beside the scores of the same explainer."""
    return experiment.scores_folder.with_name("statistics")


def read_table(experiment: Experiment, name: str) -> pd.DataFrame:
    """Read one of `TABLES`."""
    path = require(statistics_folder(experiment) / f"{name}.csv", _STEP)
    return read_csv(path)


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


def _covers(experiment: Experiment) -> bool:
    """Whether the tables on disk are there and of exactly this experiment's networks."""
    folder = statistics_folder(experiment)
    if not all((folder / f"{name}.csv").exists() for name in TABLES):
        return False
    known = dict.fromkeys(read_table(experiment, "intervals")["network"])
    return tuple(known) == (*experiment.networks, AVERAGE)
