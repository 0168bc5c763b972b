"""What the step "quality" starts from: the explanations of an experiment, by whichever explainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions import evaluation
from ekman_expressions.errors import DataError
from ekman_expressions.experiment import Experiment
from ekman_expressions.explainer_specs import SPECS
from ekman_expressions.explainers.kernel_shap import kernel_shap
from ekman_expressions.explainers.lime import lime
from ekman_expressions.explainers.superpixel_rise import superpixel_rise
from ekman_expressions.expressions import EXPRESSIONS
from ekman_expressions.perturbation import PerturbationRecord
from ekman_expressions.randomness import derive_seed
from ekman_expressions.settings import ExplanationSettings
from ekman_expressions.storage import read_arrays, sha256

Estimate = Callable[[PerturbationRecord, int], np.ndarray]


def explainers_of(experiment: Experiment) -> tuple[str, ...]:
    """Return the explainer in use and those compared with it, each once."""
    settings = experiment.explanation
    return tuple(dict.fromkeys((settings.explainer, *settings.compare)))


def estimator(name: str, settings: ExplanationSettings) -> Estimate:
    """Return how an explainer with records makes signed weights of a record and a class."""
    if SPECS[name].surrogate:
        return lambda record, target: (
            lime(record, target, kernel_width=settings.kernel_width, alpha=settings.alpha).weights
        )
    return {"kernel_shap": kernel_shap, "superpixel_rise": superpixel_rise}[name]


def explained_faces(
    experiment: Experiment, network: str, fold: str, explainers: Iterable[str]
) -> pd.DataFrame:
    """Return the faces of a model that all of the explainers have explained.

    Returns
    -------
    DataFrame
        ``image_id, expression``, in an order that is random but always the same; expressions
        take turns, so that the first so many hold as many of each as there are.
    """
    table: pd.DataFrame | None = None
    for name in explainers:
        by = experiment.explained_by(name)
        rows = evaluation.read_explained(by)
        rows = rows[(rows["network"] == network) & (rows["fold"] == fold)]
        there = [by.record_path(network, fold, image_id).exists() for image_id in rows["image_id"]]
        rows = rows.loc[there, ["image_id", "expression"]]
        table = rows if table is None else table.merge(rows, on=["image_id", "expression"])
    if table is None or table.empty:
        return pd.DataFrame(columns=["image_id", "expression"])
    places = [derive_seed(experiment.seed, "quality", network, fold, name) for name in table["image_id"]]
    table = table.assign(place=places, expression_place=table["expression"].map(EXPRESSIONS.index))
    turn = table.groupby("expression")["place"].rank(method="first")
    table = table.assign(turn=turn).sort_values(["turn", "expression_place"], kind="stable")
    return table[["image_id", "expression"]].reset_index(drop=True)


def fingerprints(experiment: Experiment, network: str, fold: str, image_ids: Iterable[str]) -> dict[str, str]:
    """Hash the explanations of some faces, by which a file made of them knows whether it still holds."""
    return {name: sha256(experiment.record_path(network, fold, name)) for name in image_ids}


def holds(path: Path, source: str) -> bool:
    """Say whether a file of arrays is whole and was made from `source`."""
    if not path.exists():
        return False
    try:
        return str(read_arrays(path, ("source",))["source"]) == source
    except DataError:
        return False


def surrogates_of(experiment: Experiment) -> tuple[str, ...]:
    """Return those of `explainers_of` that fit LIME's regression, which can be resampled."""
    return tuple(name for name in explainers_of(experiment) if SPECS[name].surrogate)


def signed_map(by: Experiment, network: str, fold: str, image_id: str) -> np.ndarray:
    """Read the map (H, W) of an explainer that has no records."""
    return read_arrays(by.record_path(network, fold, image_id), ("map",))["map"]
