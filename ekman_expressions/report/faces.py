"""The faces of a report: explained ones with their weights, and the mean face below heatmaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import write_image
from ekman_expressions.faces import databases
from ekman_expressions.facespace.heatmaps import RunningMean
from ekman_expressions.facespace.warp import POINTS, SHAPE, normalise
from ekman_expressions.figures.faces import CONTOURS
from ekman_expressions.report.data import pack, write_call
from ekman_expressions.report.source import Source
from ekman_expressions.study import evaluation, explanations, facespace, prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

MOST = 8
"""Faces shown per model and expression, spread evenly from the best to the worst described."""

_MEAN_OF = 120
"""So many faces, spread evenly over the manifest, make the mean."""

_FEWEST_PERSONS = 20
"""The mean of licensed faces of fewer persons might still look like one of them: it is not drawn."""

_SIDE = 224


def write_faces(source: Source, folder: Path, run: Run) -> list[dict[str, Any]]:
    """Write one script per model below ``faces/``, and return which models have how many faces.

    Returns
    -------
    list of dict
        ``network, fold, script, faces, of`` (explained faces, shown and in all).
    """
    experiment = source.experiment
    table = facespace.read_explanations(experiment)
    predictions = evaluation.read_predictions(experiment).set_index(["network", "fold", "image_id"])
    index_of: list[dict[str, Any]] = []
    pictures: set[str] = set()
    for network, fold in tqdm(experiment.pairs, desc="Packing explained faces", unit="model"):
        rows = table[(table["network"] == network) & (table["fold"] == fold)]
        entries = []
        for row in _choose(rows).itertuples():
            name = f"{network}_{fold} {row.image_id}"
            try:
                entries.append(_entry(experiment, row, predictions))
                if row.image_id not in pictures:
                    _write_face(experiment, row.image_id, folder)
                    pictures.add(row.image_id)
            except (DataError, MissingError) as error:
                run.omit(name, error)
        if entries:
            script = f"faces/{network}_{fold}.js"
            write_call(folder / script, "Ekman.faces", f"{network}_{fold}", entries)
            index_of.append(
                {"network": network, "fold": fold, "script": script, "faces": len(entries), "of": len(rows)}
            )
            run.done += len(entries)
    return index_of


def _choose(rows: pd.DataFrame) -> pd.DataFrame:
    chosen = []
    for _, group in rows.groupby("expression", sort=False):
        group = group.sort_values(["r2", "image_id"], ascending=[False, True], na_position="last")
        places = np.unique(np.linspace(0, len(group) - 1, min(MOST, len(group))).astype(int))
        chosen.append(group.iloc[places])
    return pd.concat(chosen) if chosen else rows


def _entry(experiment: Experiment, row: Any, predictions: pd.DataFrame) -> dict[str, Any]:
    found = explanations.read_explanation(experiment, row.network, row.fold, row.image_id, row.expression)
    prediction = predictions.loc[(row.network, row.fold, row.image_id)]
    segments = found.segments.astype(np.uint8 if found.segments.max() < 256 else np.uint16)
    return {
        "id": row.image_id,
        "image": f"faces/{quote(row.image_id)}.webp",
        "shown": title(prediction["expression"]),
        "predicted": title(row.expression),
        "probability": round(float(prediction[f"p_{row.expression}"]), 4),
        "r2": None if np.isnan(found.r2) else round(found.r2, 4),
        "segments": pack(segments),
        "size": list(segments.shape),
        "wide": segments.dtype == np.uint16,
        "weights": [round(float(value), 6) for value in found.weights],
        "errors": [round(float(value), 6) for value in found.standard_errors],
    }


def _write_face(experiment: Experiment, image_id: str, folder: Path) -> None:
    face = prepared.read_faces(experiment, [image_id], _SIDE)[0]
    write_image(folder / "faces" / f"{image_id}.webp", np.round(face * 255).astype(np.uint8), quality=85)


def shareable(experiment: Experiment) -> bool:
    """Whether all faces come from databases that are bundled, and so may be passed on."""
    known = databases.DATABASES
    return all(name in known and known[name].bundled for name in experiment.faces.datasets)


def write_background(source: Source, path: Path) -> str:
    """Write the picture, (275, 224), and return in words what it is."""
    chosen = _choose_for_mean(source.experiment) if source.experiment else None
    mean, count = _mean(source.experiment, chosen) if chosen is not None else (None, 0)
    if mean is None:
        write_image(path, _drawing(), quality=90)
        return "a drawing of the template's landmarks"
    write_image(path, np.round(mean * 255).astype(np.uint8), quality=88)
    return f"the mean of {count} faces of {chosen['subject'].nunique()} persons"


def _drawing() -> np.ndarray:
    """Draw the template's face with lines, (275, 224) uint8."""
    import cv2

    canvas = np.full(SHAPE, 225, np.uint8)
    for lines in CONTOURS.values():
        for line in lines:
            points = np.round(POINTS[list(line)] * 16).astype(np.int32)
            cv2.polylines(canvas, [points], False, 90, 1, cv2.LINE_AA, shift=4)
    return canvas


def _choose_for_mean(experiment: Experiment) -> pd.DataFrame | None:
    if not experiment.manifest_path.exists():
        return None
    manifest = prepared.read_manifest(experiment)
    # By fold, expression and subject, so that an even choice is balanced.
    manifest = manifest.sort_values(["fold", "expression", "subject", "image_id"], ignore_index=True)
    places = np.unique(np.linspace(0, len(manifest) - 1, min(_MEAN_OF, len(manifest))).astype(int))
    chosen = manifest.iloc[places]
    if not shareable(experiment) and chosen["subject"].nunique() < _FEWEST_PERSONS:
        return None
    return chosen


def _mean(experiment: Experiment, chosen: pd.DataFrame) -> tuple[np.ndarray | None, int]:
    mean = RunningMean()
    for image_id in tqdm(chosen["image_id"], desc="Averaging faces", unit="face"):
        try:
            face = prepared.read_faces(experiment, [image_id], _SIDE)[0]
            mean.add(normalise(face, prepared.read_landmarks(experiment, image_id)))
        except (DataError, MissingError):
            # The step 'faces' lists what is wrong with them; a background can do without.
            continue
    return (np.clip(mean.mean, 0, 1) if mean.weight else None), int(mean.weight)
