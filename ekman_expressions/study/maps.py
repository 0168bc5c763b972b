"""Explanations as maps: read for any explainer, and made by those without perturbation records."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError
from ekman_expressions.core.expressions import index
from ekman_expressions.core.files import read_arrays, write_arrays
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers.kernel_shap import kernel_shap
from ekman_expressions.explainers.lime import lime, paint
from ekman_expressions.explainers.record import PerturbationRecord, make_record
from ekman_expressions.explainers.registry import EXPLAIN_ONE
from ekman_expressions.explainers.specs import SPECS, resolved_options
from ekman_expressions.explainers.superpixel_rise import superpixel_rise
from ekman_expressions.study import model_files, prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

_STORED = ("map", "image_id", "model", "target", "passes")


def weights_of(experiment: Experiment, record: PerturbationRecord, target: int) -> np.ndarray:
    """Return the (S,) weights that the explainer in use estimates from a record; no model call."""
    settings = experiment.explanation
    if SPECS[settings.explainer].surrogate:
        return lime(record, target, kernel_width=settings.kernel_width, alpha=settings.alpha).weights
    return {"kernel_shap": kernel_shap, "superpixel_rise": superpixel_rise}[settings.explainer](
        record, target
    )


def read_map(experiment: Experiment, network: str, fold: str, image_id: str, target: int) -> np.ndarray:
    """Return one explanation by the explainer in use, (H, W) float32, 0 where it speaks against the class.

    Raises
    ------
    FileNotFoundError
        If it was not made.
    DataError
        If its file is damaged, or holds another class.
    """
    path = experiment.record_path(network, fold, image_id)
    if SPECS[experiment.explanation.explainer].records != "none":
        record = PerturbationRecord.load(path)
        return paint(weights_of(experiment, record, target), record.segments)
    stored = read_arrays(path, _STORED)
    if int(stored["target"]) != target:
        raise DataError(
            f"{path} explains class {int(stored['target'])}, but the class wanted is {target}. Delete it "
            "and run its step again."
        )
    return np.maximum(stored["map"], 0)


def record_or_map(experiment: Experiment, path: Path) -> tuple[str, str]:
    """Read a record, or a map where the explainer in use stores maps, and say of which image and model.

    Raises
    ------
    DataError
        If it is damaged, or something else.
    """
    if SPECS[experiment.explanation.explainer].records != "none":
        record = PerturbationRecord.load(path)
        return record.image_id, record.model
    stored = read_arrays(path, _STORED)
    return str(stored["image_id"]), str(stored["model"])


def map_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> Run:
    """Write the maps of one model, unless they are there; as `explainers.step.explain_model`."""
    run = Run()
    name, explainer = f"{network}_{fold}", experiment.explanation.explainer
    todo = [
        (row.image_id, index(row.expression))
        for row in rows.itertuples()
        if not _is_done(experiment, network, fold, row.image_id)
    ]
    left = {image_id for image_id, _ in todo}
    for image_id in rows["image_id"]:
        if image_id not in left:
            run.kept(experiment.record_path(network, fold, image_id))
    if not todo:
        return run
    try:
        model = model_files.load_model(experiment, network, fold)
    except (DataError, MissingError, ModelError) as error:
        for image_id, _ in todo:
            run.omit(f"{name} {image_id}", error)
        return run
    for image_id, target in tqdm(todo, desc=f"{SPECS[explainer].title} of {name}", unit="image"):
        try:
            image = prepared.read_faces(experiment, [image_id], experiment.side(network))[0]
            # From the names alone: order, workers and interruptions change nothing.
            seed = derive_seed(experiment.seed, explainer, name)
            found, passes = EXPLAIN_ONE[explainer](
                model, image, target, seed=seed, **arguments(experiment, explainer)
            )
        except (DataError, MissingError, ModelError, SettingsError) as error:
            run.omit(f"{name} {image_id}", error)
            continue
        values = (found, image_id, name, target, passes)
        path = experiment.record_path(network, fold, image_id)
        write_arrays(path, {key: np.asarray(value) for key, value in zip(_STORED, values, strict=True)})
        run.made(path)
    return run


def arguments(experiment: Experiment, explainer: str) -> dict[str, Any]:
    """Return the settings of an experiment that an explainer's function takes, and its options."""
    taken = dict(inspect.signature(EXPLAIN_ONE[explainer]).parameters)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        # It hands on what is LIME's, and LIME what makes a record.
        taken |= inspect.signature(EXPLAIN_ONE["lime"]).parameters | inspect.signature(make_record).parameters
    shared = {
        name: value
        for name, value in vars(experiment.explanation).items()
        if name in taken and name not in SPECS[explainer].options and (name, value) != ("group", "auto")
    }
    return shared | resolved_options(experiment.explanation.options, explainer)


def _is_done(experiment: Experiment, network: str, fold: str, image_id: str) -> bool:
    path = experiment.record_path(network, fold, image_id)
    try:
        return path.exists() and record_or_map(experiment, path) == (image_id, f"{network}_{fold}")
    except DataError:
        return False
