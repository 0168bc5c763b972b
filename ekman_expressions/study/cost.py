"""What an explanation costs: model calls and seconds, measured on one face of each network."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError
from ekman_expressions.core.expressions import index
from ekman_expressions.core.files import require
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.explainers.registry import EXPLAIN_ONE
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.study import evaluation, model_files, prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.maps import arguments, weights_of
from ekman_expressions.study.provenance import Run

COLUMNS = ("explainer", "network", "passes", "gradients", "seconds")
"""Images that go through the model, whether gradients are taken too, and seconds per image."""


def measure(experiment: Experiment, explainers: list[str], run: Run) -> pd.DataFrame:
    """Explain one face of each network by each explainer, twice, and time the second time.

    So what is done once per model (compiling it) does not count. Explainers that share LIME's
    records cost what it takes to read a record and estimate from it.

    Returns
    -------
    DataFrame
        The `COLUMNS`; rows that could not be measured are missing and listed in `run`.
    """
    rows = []
    explained = evaluation.read_explained(experiment.explained_by("lime"))
    for network in tqdm(experiment.networks, desc="Measuring the cost", unit="network"):
        faces = explained[explained["network"] == network]
        if not len(faces):
            run.omit(f"cost of {network}", "none of its faces are explained")
            continue
        face = _with_record(experiment, faces)
        try:
            model = model_files.load_model(experiment, network, face["fold"])
            image = prepared.read_faces(experiment, [face["image_id"]], experiment.side(network))[0]
        except (DataError, MissingError, ModelError) as error:
            run.omit(f"cost of {network}", error)
            continue
        for explainer in explainers:
            try:
                passes, seconds = _time(experiment.explained_by(explainer), face, model, image)
            except (DataError, MissingError, ModelError, SettingsError) as error:
                run.omit(f"cost of {explainer} on {network}", error)
                continue
            rows.append((explainer, network, passes, SPECS[explainer].gradients, seconds))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _with_record(experiment: Experiment, faces: pd.DataFrame) -> pd.Series:
    """Return the first face that LIME has a record of, or else the first."""
    lime = experiment.explained_by("lime")
    there = [lime.record_path(row.network, row.fold, row.image_id).exists() for row in faces.itertuples()]
    return faces.iloc[there.index(True) if any(there) else 0]


def _time(experiment: Experiment, face: pd.Series, model: Any, image: Any) -> tuple[int, float]:
    explainer, target = experiment.explanation.explainer, index(face["expression"])
    path = experiment.record_path(face["network"], face["fold"], face["image_id"])
    own = {}
    if SPECS[explainer].landmarks:
        own["landmarks"] = prepared.read_landmarks(experiment, face["image_id"])

    def explain() -> int:
        if SPECS[explainer].records == "shared" and explainer != "lime":
            weights_of(experiment, PerturbationRecord.load(require(path, "explanations")), target)
            return 0
        settings = arguments(experiment, explainer) | own
        return EXPLAIN_ONE[explainer](model, image, target, seed=experiment.seed, **settings)[1]

    explain()
    start = time.perf_counter()
    passes = explain()
    return passes, time.perf_counter() - start
