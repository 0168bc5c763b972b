"""What lies under the heatmaps of a report: the mean face of the data, or a drawing of the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import write_image
from ekman_expressions.faces import databases
from ekman_expressions.facespace.heatmaps import RunningMean
from ekman_expressions.facespace.warp import POINTS, SHAPE, normalise
from ekman_expressions.figures.faces import CONTOURS
from ekman_expressions.report.source import Source
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment

MOST_FACES = 120
"""So many faces, spread evenly over the manifest, make the mean."""

FEWEST_PERSONS = 20
"""The mean of licensed faces of fewer persons might still look like one of them: it is not drawn."""

_SIDE = 224


def shareable(experiment: Experiment) -> bool:
    """Whether all faces come from databases that are bundled, and so may be passed on."""
    known = databases.DATABASES
    return all(name in known and known[name].bundled for name in experiment.faces.datasets)


def write(source: Source, path: Path) -> str:
    """Write the picture, (275, 224), and return in words what it is."""
    chosen = _choose(source.experiment) if source.experiment else None
    mean, count = _mean(source.experiment, chosen) if chosen is not None else (None, 0)
    if mean is None:
        write_image(path, drawing(), quality=90)
        return "a drawing of the template's landmarks"
    write_image(path, np.round(mean * 255).astype(np.uint8), quality=88)
    return f"the mean of {count} faces of {chosen['subject'].nunique()} persons"


def drawing() -> np.ndarray:
    """Draw the template's face with lines, (275, 224) uint8."""
    import cv2

    canvas = np.full(SHAPE, 225, np.uint8)
    for lines in CONTOURS.values():
        for line in lines:
            points = np.round(POINTS[list(line)] * 16).astype(np.int32)
            cv2.polylines(canvas, [points], False, 90, 1, cv2.LINE_AA, shift=4)
    return canvas


def _choose(experiment: Experiment) -> pd.DataFrame | None:
    if not experiment.manifest_path.exists():
        return None
    manifest = prepared.read_manifest(experiment)
    # By fold, expression and subject, so that an even choice is balanced.
    manifest = manifest.sort_values(["fold", "expression", "subject", "image_id"], ignore_index=True)
    places = np.unique(np.linspace(0, len(manifest) - 1, min(MOST_FACES, len(manifest))).astype(int))
    chosen = manifest.iloc[places]
    if not shareable(experiment) and chosen["subject"].nunique() < FEWEST_PERSONS:
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
