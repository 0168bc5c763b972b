"""The bootstrap of all explanations of a model, in one file; no model call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import index
from ekman_expressions.core.files import hash_of, write_arrays
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers.lime import sample_weights
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.measures.reliability import Reliability, bootstrap
from ekman_expressions.study import evaluation
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explained import fingerprints, holds
from ekman_expressions.study.provenance import Run

_PER_FACE = ("r2", "r2_standard_error", "units", "flip_rate", "weighted_flip_rate")
_PER_SUPERPIXEL = ("weights", "standard_errors", "flips")


def path_of(experiment: Experiment, explainer: str, network: str, fold: str) -> Path:
    """The file of one model's bootstraps: see `resample`."""
    return experiment.quality_folder / "reliability" / explainer / f"{network}_{fold}.npz"


def resample(experiment: Experiment, explainer: str, network: str, fold: str, run: Run) -> None:
    """Write the bootstrap of each explanation of a model, unless it is there and holds.

    The file has, per face, ``image_ids``, ``expressions``, ``superpixels`` (how many), ``r2``,
    ``r2_standard_error``, ``units``, ``flip_rate`` and ``weighted_flip_rate``, and, per
    superpixel, the faces one after another, ``weights``, ``standard_errors`` and ``flips``;
    see `ekman_expressions.measures.reliability.Reliability`.
    """
    by = experiment.explained_by(explainer)
    rows = evaluation.read_explained(by)
    rows = rows[(rows["network"] == network) & (rows["fold"] == fold)]
    # Those without a record are listed by the step that could not make it.
    there = [by.record_path(network, fold, image_id).exists() for image_id in rows["image_id"]]
    rows = rows[np.array(there, bool)]
    path = path_of(experiment, explainer, network, fold)
    settings = experiment.explanation
    made_of = fingerprints(by, network, fold, rows["image_id"])
    source = hash_of([made_of, settings.kernel_width, settings.alpha, experiment.seed])
    if rows.empty and not path.exists():
        return
    if holds(path, source):
        run.kept(path, items=len(rows))
        return
    kept: list[tuple[str, str, Reliability]] = []
    for row in rows.itertuples():
        name = f"{network}_{fold} {row.image_id}"
        try:
            record = PerturbationRecord.load(by.record_path(network, fold, row.image_id))
            found = bootstrap(
                record,
                index(row.expression),
                sample_weights(record.samples, settings.kernel_width),
                seed=derive_seed(experiment.seed, "bootstrap", explainer, name),
                alpha=settings.alpha,
            )
        except DataError as error:
            run.omit(f"{name}: reliability of {explainer}", error)
            continue
        if np.isnan(found.r2):
            run.omit(
                f"{name}: R² and sign flips of {explainer}",
                "the model answered the same to all copies, so that there is nothing to explain",
            )
        kept.append((row.image_id, row.expression, found))
    if not kept:
        path.unlink(missing_ok=True)
        return
    write_arrays(path, {"source": np.array(source), **_arrays(kept)})
    run.made(path, items=len(kept))


def tabulate(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the numbers per face of a file, with the means over its superpixels."""
    ends = np.cumsum(arrays["superpixels"])[:-1]
    errors = [part.mean() for part in np.split(arrays["standard_errors"], ends)]
    return pd.DataFrame(
        {
            "image_id": arrays["image_ids"],
            "expression": arrays["expressions"],
            "superpixels": arrays["superpixels"],
            "mean_standard_error": errors,
            **{name: arrays[name] for name in _PER_FACE},
        }
    )


def _arrays(kept: list[tuple[str, str, Reliability]]) -> dict[str, np.ndarray]:
    image_ids, expressions, found = zip(*kept, strict=True)
    return {
        "image_ids": np.array(image_ids),
        "expressions": np.array(expressions),
        "superpixels": np.array([len(one.weights) for one in found]),
        **{name: np.array([getattr(one, name) for one in found]) for name in _PER_FACE},
        **{name: np.concatenate([getattr(one, name) for one in found]) for name in _PER_SUPERPIXEL},
    }
