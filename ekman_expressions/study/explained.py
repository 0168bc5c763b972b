"""What the step "quality" starts from: the explanations of an experiment, by whichever explainer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import read_arrays, sha256
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.study import evaluation
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explainers import compared


def explained_faces(
    experiment: Experiment, network: str, fold: str, explainers: Iterable[str]
) -> pd.DataFrame:
    """Return the faces of a model that all of the explainers have explained.

    Returns
    -------
    DataFrame
        ``image_id, expression``, in an order that is random but always the same; expressions
        take turns, so that the first so many hold about as many of each.
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
    table = table.assign(place=places)
    turn = table.groupby("expression")["place"].rank(method="first")
    table = table.assign(turn=turn).sort_values(["turn", "place"], kind="stable")
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
    """Return those of the explainers compared that fit LIME's regression, which can be resampled."""
    return tuple(name for name in compared(experiment) if EXPLAINERS[name].has_surrogate)
