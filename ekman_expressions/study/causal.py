"""Mean causal maps of an experiment: where its synthetic faces really move in an expression."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, check_option
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import sha256
from ekman_expressions.faces.synthetic import PHOTOMETRIC, TOTAL, is_unit, read_mask_file
from ekman_expressions.facespace.heatmaps import RunningMean
from ekman_expressions.facespace.masks import ekman_mask
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.measures.causal_maps import (
    SIDE,
    CausalMaps,
    check_pair,
    iou_at_equal_area,
    to_face_space,
)
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import read_faces, read_landmarks


def warped_layers(experiment: Experiment, row: Any, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read layers of the causal mask of one prepared face, in face space.

    Parameters
    ----------
    experiment : Experiment
        Whose faces.
    row : row of `prepared.known_faces`
        As ``itertuples`` yields it.
    names : iterable of str
        Which layers.

    Returns
    -------
    dict of str to (275, 224) ndarray of float32
        See `to_face_space`.

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
    layers = read_mask_file(row.mask_path, row.layers.split())
    lacking = sorted(set(names) - set(layers))
    if lacking:
        raise DataError(f"its mask has no layer {', '.join(lacking)}, only {row.layers or 'none'}")
    transform = prepared.read_transform(experiment, row.image_id)
    landmarks = read_landmarks(experiment, row.image_id)
    return {name: to_face_space(layers[name], transform, landmarks, experiment.faces.size) for name in names}


def maps(experiment: Experiment, layer: str = TOTAL, *, by_subject: bool = False) -> CausalMaps:
    """Average a layer of the causal masks per expression, in face space.

    Parameters
    ----------
    experiment : Experiment
        Its faces must be prepared, and some of them synthetic.
    layer : {'total', 'photometric'}
        Displacement of the visible surface, or change of the image.
    by_subject : bool
        Keep the mean of each subject too, for intervals over subjects.

    Returns
    -------
    CausalMaps
        One mean per expression that occurs. Images whose mask or landmarks cannot be read, or
        whose source image has changed since it was prepared, are left out by name.

    Raises
    ------
    SettingsError
        If the layer is another one, or the experiment has no synthetic faces.
    MissingError
        If the step 'faces' has not run.
    DataError
        If the set has no layers, or no image could be used.
    """
    check_option(layer, "layer", (TOTAL, PHOTOMETRIC))
    rows = prepared.known_faces(experiment)
    return _average(
        experiment, rows, layer, EXPRESSIONS, lambda row: {row.expression: layer}, by_subject=by_subject
    )


def unit_maps(experiment: Experiment) -> CausalMaps:
    """Average the displacement that each action unit alone makes, over all faces that show it.

    Returns
    -------
    CausalMaps
        One mean per action unit, ``"au01"`` ...; else as `maps`.

    Raises
    ------
    SettingsError, MissingError, DataError
        As `maps`.
    """
    rows = prepared.known_faces(experiment)
    names = sorted(name for name in rows.columns if is_unit(name))
    return _average(
        experiment,
        rows,
        "action units",
        names,
        lambda row: {layer: layer for layer in row.layers.split() if layer in names},
    )


def agreement(means: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray] | None = None) -> pd.DataFrame:
    """Compare each Ekman mask with the mean causal map of its own and of the other expressions.

    Parameters
    ----------
    means : dict of expression to (275, 224) ndarray of float
        Mean causal maps, such as ``maps(experiment).means``.
    masks : dict of expression to (275, 224) ndarray of bool, optional
        By default the six Ekman masks.

    Returns
    -------
    DataFrame
        Long: one row per ``mask`` and ``causal_map`` (names of expressions) with ``iou``, of the
        mask and as many pixels of the map, the highest; and ``auc``, the probability that a pixel of
        the mask has a higher value than one outside. Where pixels are equal at the threshold, each
        counts with the share that still fits, so that no order of pixels plays a part.

    Raises
    ------
    DataError
        If shapes differ, a map is not finite or constant, or a mask is empty or full.

    Examples
    --------
    >>> half = np.arange(275 * 224).reshape(275, 224)
    >>> agreement({"anger": half}, {"anger": half >= 30800})[["iou", "auc"]].values.tolist()
    [[1.0, 1.0]]
    """
    from sklearn.metrics import roc_auc_score

    masks = {name: ekman_mask(name) for name in EXPRESSIONS} if masks is None else masks
    rows = []
    for mask_name, mask in masks.items():
        for map_name, causal_map in means.items():
            check_pair(mask_name, mask, map_name, causal_map)
            rows.append(
                {
                    "mask": mask_name,
                    "causal_map": map_name,
                    "iou": iou_at_equal_area(causal_map, mask),
                    "auc": float(roc_auc_score(mask.ravel(), causal_map.ravel())),
                }
            )
    return pd.DataFrame(rows, columns=["mask", "causal_map", "iou", "auc"])


def mean_faces(experiment: Experiment) -> dict[str, np.ndarray]:
    """Average the synthetic faces of each expression in face space, subjects counting alike.

    Returns
    -------
    dict of expression to (275, 224, 3) ndarray of float32, range [0, 1]
        RGB.

    Raises
    ------
    SettingsError, MissingError, DataError
        As `maps`.
    """
    rows = prepared.known_faces(experiment)
    found = {}
    for expression, of_expression in rows.groupby("expression"):
        over_subjects = RunningMean()
        for _, of_subject in of_expression.groupby("subject"):
            over_images = RunningMean()
            for image_id in of_subject["image_id"]:
                face = read_faces(experiment, [image_id], SIDE)[0]
                over_images.add(normalise(face, read_landmarks(experiment, image_id)))
            over_subjects.add(over_images.mean)
        found[expression] = np.float32(over_subjects.mean)
    return {name: found[name] for name in EXPRESSIONS if name in found}


def _average(
    experiment: Experiment,
    rows: pd.DataFrame,
    label: str,
    names: Iterable[str],
    wanted: Callable[[Any], dict[str, str]],
    *,
    by_subject: bool = False,
) -> CausalMaps:
    """Average layers by name; ``wanted(row)`` tells the names that a face goes into, and by which layer."""
    over_subjects = {name: RunningMean() for name in names}
    images = dict.fromkeys(over_subjects, 0)
    kept: dict[str, dict[str, np.ndarray]] = {}
    omissions = []
    with tqdm(total=len(rows), desc="Averaging causal masks", unit="face") as bar:
        for subject, of_subject in rows.groupby("subject"):
            over_images: dict[str, RunningMean] = {}
            for row in of_subject.itertuples():
                bar.update()
                layer_of = wanted(row)
                try:
                    warped = warped_layers(experiment, row, set(layer_of.values()))
                except (DataError, MissingError) as error:
                    omissions.append((row.image_id, str(error)))
                    continue
                for name, layer in layer_of.items():
                    over_images.setdefault(name, RunningMean()).add(warped[layer])
                    images[name] += 1
            # A subject with more usable images than another counts no more for that.
            for name, mean in over_images.items():
                over_subjects[name].add(mean.mean)
                if by_subject:
                    kept.setdefault(name, {})[subject] = np.float32(mean.mean)
    found = [name for name, mean in over_subjects.items() if mean.weight]
    if not found:
        reasons = "; ".join(f"{image_id}: {reason}" for image_id, reason in omissions[:5])
        raise DataError(
            f"No causal mask of {experiment.name!r} could be used, {len(omissions)} were left out "
            f"({reasons or 'none was listed'})."
        )
    counts = {"images": [images[name] for name in found]}
    counts["subjects"] = [int(over_subjects[name].weight) for name in found]
    return CausalMaps(
        layer=label,
        means={name: np.float32(over_subjects[name].mean) for name in found},
        counts=pd.DataFrame(counts, index=pd.Index(found, name="name")),
        omissions=tuple(omissions),
        by_subject={name: kept[name] for name in found if name in kept},
    )
