"""Some of a model's faces explained again in other ways, and the maps compared, in one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError
from ekman_expressions.core.expressions import EXPRESSIONS, index
from ekman_expressions.core.files import hash_of, read_arrays, write_arrays
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import EXPLAINERS, PerturbationRecord
from ekman_expressions.facespace.heatmaps import RunningMean
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.measures.map_agreement import correlations
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explained import explained_faces, fingerprints, holds
from ekman_expressions.study.explainers import compared
from ekman_expressions.study.explanations import read_explanation, settings_of_explainer
from ekman_expressions.study.provenance import Run
from ekman_expressions.study.variants import (
    AS_SET,
    OTHER_SAMPLES,
    UNTRAINED,
    Variant,
    ask_again,
    halves,
    names_of,
    variants_of,
)
from ekman_expressions.zoo.asking import Asker


def path_of(experiment: Experiment, network: str, fold: str) -> Path:
    """The file of one model's faces that were explained again: see `remake`."""
    return experiment.quality_folder / "again" / f"{network}_{fold}.npz"


def explainers_again(experiment: Experiment) -> tuple[str, ...]:
    """Return the explainers whose maps are made again: those that are estimated from LIME's records,
    at no further model call, and those that take gradients, of untrained copies only."""
    return tuple(
        name
        for name in compared(experiment)
        if EXPLAINERS[name].records_of == "lime" or EXPLAINERS[name].gradients
    )


def choose(experiment: Experiment, network: str) -> pd.DataFrame:
    """Choose a network's faces to explain again: so many per expression, from all folds in turn.

    Returns
    -------
    DataFrame
        ``fold, image_id, expression``.
    """
    tables = []
    for fold in experiment.folds:
        rows = explained_faces(experiment, network, fold, compared(experiment))
        turn = rows.groupby("expression").cumcount()
        place = [derive_seed(experiment.seed, "again", network, fold, name) for name in rows["image_id"]]
        tables.append(rows.assign(fold=fold, turn=turn, place=place))
    table = pd.concat(tables).sort_values(["turn", "place"], kind="stable")
    table = table.groupby("expression", sort=False).head(experiment.explanation.quality_faces)
    return table[["fold", "image_id", "expression"]].reset_index(drop=True)


def remake(
    experiment: Experiment,
    network: str,
    fold: str,
    rows: pd.DataFrame,
    asker: Callable[[], Asker],
    untrained: Callable[[], Asker | None],
    settled_on: Sequence[str],
    run: Run,
) -> None:
    """Write what becomes of a model's maps when they are made in other ways, unless it is there.

    The file has, for N faces, E explainers and V variants: ``image_ids``, ``expressions``,
    ``explainers``, ``variants``, ``correlations`` (N, E, V, V) of the maps in face space, and, per
    expression, their means ``means`` (6, E, V, 275, 224) and ``counts`` (6, E, V); NaN and 0 where
    there is none; and `settled_on`.

    Parameters
    ----------
    rows : DataFrame
        The faces: ``image_id, expression``.
    asker, untrained : callable
        Return what asks the model, and an untrained copy of it or None; called only if needed.
    settled_on : sequence of str
        The faces whose statistics the untrained copy's batch normalisations have.
    """
    path = path_of(experiment, network, fold)
    names, variants = explainers_again(experiment), names_of(experiment.explanation)
    source = _source(experiment, network, fold, rows, names, variants)
    if rows.empty and not path.exists():
        return
    if holds(path, source) and _is_of_the_same_copy(path, settled_on):
        run.kept(path, items=len(rows))
        return
    used, correlated = [], []
    cells = len(EXPRESSIONS), len(names), len(variants)
    means = {cell: RunningMean() for cell in np.ndindex(cells)}
    for row in tqdm(
        rows.itertuples(), desc=f"Explaining again for {network}_{fold}", unit="image", total=len(rows)
    ):
        try:
            maps = _maps(experiment, network, fold, row.image_id, row.expression, asker(), untrained())
        except (DataError, MissingError, ModelError) as error:
            run.omit(f"{network}_{fold} {row.image_id}: explained again", error)
            continue
        number = EXPRESSIONS.index(row.expression)
        of_face = np.full((len(names), len(variants), len(variants)), np.nan)
        for place, name in enumerate(names):
            there = [spot for spot, variant in enumerate(variants) if (name, variant) in maps]
            found = np.stack([maps[name, variants[spot]] for spot in there])
            of_face[np.ix_([place], there, there)] = correlations(found)
            for spot, one in zip(there, found, strict=True):
                means[number, place, spot].add(one)
        correlated.append(of_face)
        used.append((row.image_id, row.expression))
    if not used:
        path.unlink(missing_ok=True)
        return
    image_ids, expressions = zip(*used, strict=True)
    filled = np.full((*cells, *SHAPE), np.nan, np.float32)
    for cell, mean in means.items():
        if mean.weight:
            filled[cell] = mean.mean
    arrays = {
        "source": np.array(source),
        "image_ids": np.array(image_ids),
        "expressions": np.array(expressions),
        "explainers": np.array(names),
        "variants": np.array(variants),
        "settled_on": np.array(settled_on),
        "correlations": np.array(correlated, np.float32),
        "means": filled,
        "counts": np.array([mean.weight for mean in means.values()], int).reshape(cells),
    }
    write_arrays(path, arrays)
    run.made(path, items=len(used))


def _is_of_the_same_copy(path: Path, settled_on: Sequence[str]) -> bool:
    stored = read_arrays(path)
    # Files of earlier versions do not say it.
    return "settled_on" not in stored or stored["settled_on"].tolist() == list(settled_on)


def _source(
    experiment: Experiment,
    network: str,
    fold: str,
    rows: pd.DataFrame,
    names: tuple[str, ...],
    variants: tuple[str, ...],
) -> str:
    settings = experiment.explanation
    hashes = [fingerprints(experiment.explained_by(name), network, fold, rows["image_id"]) for name in names]
    landmarks = [
        np.float32(prepared.read_landmarks(experiment, image_id)).tolist() for image_id in rows["image_id"]
    ]
    numbers = [settings.quality_samples, settings.kernel_width, settings.alpha, experiment.seed]
    return hash_of([names, variants, hashes, landmarks, numbers])


def _maps(
    experiment: Experiment,
    network: str,
    fold: str,
    image_id: str,
    expression: str,
    asker: Asker,
    untrained: Asker | None,
) -> dict[tuple[str, str], np.ndarray]:
    """Return a face's maps in face space by explainer and variant."""
    settings = experiment.explanation
    target = index(expression)
    image = prepared.read_faces(experiment, [image_id], experiment.side(network))[0]
    landmarks = prepared.read_landmarks(experiment, image_id)
    names = explainers_again(experiment)
    seed = derive_seed(experiment.seed, "again", f"{network}_{fold}", image_id)
    maps: dict[tuple[str, str], np.ndarray] = {}
    shared = [name for name in names if EXPLAINERS[name].records_of == "lime"]
    if shared:
        by = experiment.explained_by(shared[0])
        whole = PerturbationRecord.load(by.record_path(network, fold, image_id))
        first, second = halves(whole, settings.quality_samples)
        records = {AS_SET: first} | ({OTHER_SAMPLES: second} if second else {})

        def again(of: Asker, variant: Variant, name: str) -> PerturbationRecord:
            drawn = derive_seed(seed, name)
            return ask_again(
                of, first, variant, image, landmarks, compactness=settings.compactness, seed=drawn
            )

        records |= {name: again(asker, variant, name) for name, variant in variants_of(settings).items()}
        if untrained is not None:
            records[UNTRAINED] = again(untrained, Variant(), UNTRAINED)
        for name in shared:
            by = experiment.explained_by(name)
            for variant, record in records.items():
                found = EXPLAINERS[name].estimate(record, target, settings_of_explainer(by))
                maps[name, variant] = np.maximum(found.map, 0)
    for name in names:
        if name not in shared:
            by = experiment.explained_by(name)
            maps[name, AS_SET] = np.maximum(read_explanation(by, network, fold, image_id, expression).map, 0)
            if untrained is not None:
                maps[name, UNTRAINED] = _explained(by, untrained.model, image, target, seed)
    return {key: normalise(one, landmarks) for key, one in maps.items()}


def _explained(by: Experiment, model: Any, image: np.ndarray, target: int, seed: int) -> np.ndarray:
    name = by.explanation.explainer
    settings = settings_of_explainer(by)
    (found,) = EXPLAINERS[name].explain(model, image[None], [target], seed=seed, **settings)
    return np.maximum(found.map, 0)
