"""Mean causal maps of an experiment: where its synthetic faces really move in an expression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import sha256
from ekman_expressions.faces.synthetic import PIXELS, TOTAL, read_layers
from ekman_expressions.facespace.heatmaps import RunningMean
from ekman_expressions.facespace.masks import ekman_mask
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.measures.known_answers import iou_at_equal_area
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment

_SIDE = 224


@dataclass(frozen=True)
class CausalMaps:
    """Mean causal maps in face space: displacement of the visible surface, in mm.

    Attributes
    ----------
    means : dict of expression to (275, 224) ndarray of float32
        The mean over a subject's images first, then over subjects.
    by_subject : dict of expression to dict of subject to (275, 224) ndarray of float32
        The mean over each subject's images.
    omissions : tuple of (str, str)
        Images that were left out, and why.
    """

    means: dict[str, np.ndarray]
    by_subject: dict[str, dict[str, np.ndarray]]
    omissions: tuple[tuple[str, str], ...] = ()


def warped_layers(experiment: Experiment, row: Any, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read layers of the causal mask of one prepared face, in face space.

    Parameters
    ----------
    experiment : Experiment
    row : row of `prepared.known_faces`
        As ``itertuples`` yields it.
    names : iterable of str
        Which layers.

    Returns
    -------
    dict of str to (275, 224) ndarray of float32
        In face space.

    Raises
    ------
    MissingError
        If the source image, the mask or the prepared face is not there.
    DataError
        If one of them is damaged, has changed, or the mask lacks a layer.
    """
    source = Path(row.source_path)
    if not source.is_file():
        raise MissingError(f"its source image {source} is not there any more")
    if sha256(source) != row.sha256:
        raise DataError("its source image has changed since it was prepared: run the step 'faces' again")
    layers = read_layers(row.source_id, experiment.faces.roots.get(prepared.DATABASE))
    lacking = sorted(set(names) - set(layers))
    if lacking:
        raise DataError(f"its mask has no layer {', '.join(lacking)}, only {row.layers or 'none'}")
    transform = prepared.read_transform(experiment, row.image_id)
    landmarks = prepared.read_landmarks(experiment, row.image_id)
    size = experiment.faces.size
    return {name: _layer_in_face_space(layers[name], transform, landmarks, size) for name in names}


def causal_maps(experiment: Experiment) -> CausalMaps:
    """Average the causal masks of an experiment's synthetic faces per expression, in face space.

    Images whose mask or landmarks cannot be read, or whose source image has changed since it was
    prepared, are left out by name.

    Raises
    ------
    SettingsError
        If the experiment has no synthetic faces.
    MissingError
        If the step 'faces' has not run.
    DataError
        If the set has no layers, or no image could be used.
    """
    rows = prepared.known_faces(experiment)
    means: dict[tuple[str, str], RunningMean] = {}
    omissions = []
    for row in tqdm(rows.itertuples(), desc="Averaging causal masks", unit="face", total=len(rows)):
        try:
            layer = warped_layers(experiment, row, [TOTAL])[TOTAL]
        except (DataError, MissingError) as error:
            omissions.append((row.image_id, str(error)))
            continue
        means.setdefault((row.expression, row.subject), RunningMean()).add(layer)
    if not means:
        reasons = "; ".join(f"{image_id}: {reason}" for image_id, reason in omissions[:5])
        raise DataError(
            f"No causal mask of {experiment.name!r} could be used, {len(omissions)} were left out "
            f"({reasons or 'none was listed'})."
        )
    by_subject: dict[str, dict[str, np.ndarray]] = {}
    for expression, subject in sorted(means, key=lambda cell: (EXPRESSIONS.index(cell[0]), cell[1])):
        by_subject.setdefault(expression, {})[subject] = np.float32(means[expression, subject].mean)
    # A subject with more usable images than another counts no more for that.
    return CausalMaps(
        means={name: np.mean(list(maps.values()), axis=0) for name, maps in by_subject.items()},
        by_subject=by_subject,
        omissions=tuple(omissions),
    )


def mask_agreement(means: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare each Ekman mask with the mean causal map of its own and of the other expressions.

    Parameters
    ----------
    means : dict of expression to (275, 224) ndarray of float
        Such as ``causal_maps(experiment).means``.

    Returns
    -------
    DataFrame
        A row per mask, a column per causal map: see `iou_at_equal_area`.
    """
    masks = {name: ekman_mask(name) for name in means}
    return pd.DataFrame(
        {name: [iou_at_equal_area(found, mask) for mask in masks.values()] for name, found in means.items()},
        index=list(masks),
    )


def mean_faces(experiment: Experiment) -> dict[str, np.ndarray]:
    """Average the synthetic faces of each expression in face space, subjects counting alike.

    Returns
    -------
    dict of expression to (275, 224, 3) ndarray of float32, range [0, 1]
        RGB.

    Raises
    ------
    SettingsError, MissingError, DataError
        As `causal_maps`.
    """
    found = {}
    for expression, of_expression in prepared.known_faces(experiment).groupby("expression"):
        over_subjects = RunningMean()
        for _, of_subject in of_expression.groupby("subject"):
            over_images = RunningMean()
            for image_id in of_subject["image_id"]:
                face = prepared.read_faces(experiment, [image_id], 224)[0]
                over_images.add(normalise(face, prepared.read_landmarks(experiment, image_id)))
            over_subjects.add(over_images.mean)
        found[expression] = np.float32(over_subjects.mean)
    return {name: found[name] for name in EXPRESSIONS if name in found}


def _layer_in_face_space(
    layer: np.ndarray, transform: np.ndarray, landmarks: np.ndarray, size: int
) -> np.ndarray:
    """Warp a layer (112, 112) of a causal mask into face space, as explanations of the crop are warped.

    `transform`, (2, 3), is from continuous source pixels to those of the crop, whose side is `size` pixels;
    `landmarks`, (68, 2), are in units of that side. Where the crop reaches beyond the source image, the
    layer is reflected as the image is.
    """
    import cv2

    # The crop of the layer is always this large: a small crop of faces would lose detail.
    pixels = transform * (_SIDE / size)
    pixels[:, :2] *= PIXELS
    # OpenCV's coordinates are 0 at the middle of the first pixel, ours are 0.5 there.
    pixels[:, 2] += pixels[:, :2].sum(axis=1) / 2 - 0.5
    crop = cv2.warpAffine(
        np.float32(layer), pixels, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return normalise(crop, landmarks)
