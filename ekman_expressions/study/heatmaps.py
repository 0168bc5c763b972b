"""The steps "heatmaps" and "masks": means of explanations in face space, and the Ekman masks as pictures."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import read_arrays, read_csv, require, write_arrays, write_image
from ekman_expressions.facespace.heatmaps import (
    KINDS,
    _heatmap_name,
    _RunningMean,
    _to_jet,
    _to_overlay,
    heatmap_path,
    threshold_otsu,
    to_uint8,
)
from ekman_expressions.facespace.masks import _mask_path, atlas
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run

_STEP = "heatmaps"
_FACES = 30


def read_counts(experiment: Experiment) -> pd.DataFrame:
    """Read how many faces each fold's heatmap is the mean of: network, fold, expression, images."""
    path = require(experiment.heatmaps_folder / "counts.csv", _STEP)
    return read_csv(path, ("network", "fold", "expression", "images"))


def heatmaps(experiment: Experiment, run: Run) -> None:
    """Average the normalised explanations into heatmaps and write them.

    A fold's heatmap is the mean of its normalised explanations; a network's is the mean over
    its folds, and an expression's the mean over networks, both weighted by the number of faces.

    Raises
    ------
    DataError
        If a file of normalised explanations is damaged or of another shape.
    """
    counts = []
    with tqdm(
        total=len(experiment.expressions) * len(experiment.pairs), desc="Averaging", unit="heatmap"
    ) as bar:
        for expression in experiment.expressions:
            counts += _make_expression(experiment, expression, run, bar)
    table = pd.DataFrame(counts, columns=["network", "fold", "expression", "images"])
    names = (*experiment.networks, *experiment.folds, *experiment.expressions)
    order = {name: place for place, name in enumerate(names)}
    table = table.sort_values(["network", "fold", "expression"], key=lambda names: names.map(order))
    run.write(experiment.heatmaps_folder, {"counts": table})


def _make_expression(experiment: Experiment, expression: str, run: Run, bar: tqdm) -> list[tuple]:
    counts = []
    face = _mean_face(experiment, expression)
    total = _RunningMean()
    # Sorted: the order in which networks are named must not change the last bit of a sum.
    for network in sorted(experiment.networks):
        over_folds = _RunningMean()
        for fold in experiment.folds:
            maps = experiment.maps_path(network, fold, expression)
            of_fold = _mean_of(maps, run)
            _write(experiment, of_fold, run, face, expression, network, fold)
            if of_fold.weight:
                over_folds.add(of_fold.mean, of_fold.weight)
            counts.append((network, fold, expression, int(of_fold.weight)))
            bar.update()
        _write(experiment, over_folds, run, face, expression, network)
        if over_folds.weight:
            total.add(over_folds.mean, over_folds.weight)
    _write(experiment, total, run, face, expression)
    return counts


def _mean_face(experiment: Experiment, expression: str) -> np.ndarray:
    """Average about 30 faces of an expression in face space: (275, 224, 3) RGB in [0, 1], gray without any."""
    table = prepared.read_manifest(experiment) if experiment.manifest_path.exists() else None
    ids = [] if table is None else list(table["image_id"][table["expression"] == expression])
    mean = prepared.mean_face(experiment, ids[:: max(1, len(ids) // _FACES)])
    return mean.mean if mean.weight else np.full((*SHAPE, 3), 0.5)


def _mean_of(path: Path, run: Run) -> _RunningMean:
    """Average one file of normalised explanations; without the file, the mean of none."""
    mean = _RunningMean()
    if not path.exists():
        return mean
    stored = read_arrays(path, ("maps", "image_ids"))
    maps, image_ids = stored["maps"], stored["image_ids"]
    if maps.shape != (len(image_ids), *SHAPE):
        raise DataError(
            f"{path} should hold one map of shape {SHAPE} for each of {len(image_ids)} faces, but holds "
            f"{maps.shape}. Delete it and run the step 'facespace' again."
        )
    for place in np.argsort(image_ids, kind="stable"):
        if np.isfinite(maps[place]).all():
            mean.add(maps[place])
        else:
            run.omit(f"{path.stem} {image_ids[place]}", "its normalised explanation is not finite")
    return mean


def _write(
    experiment: Experiment,
    running: _RunningMean,
    run: Run,
    face: np.ndarray,
    expression: str,
    network: str | None = None,
    fold: str | None = None,
) -> None:
    name = _heatmap_name(expression, network, fold)
    paths = {
        kind: heatmap_path(experiment.heatmaps_folder, expression, network, fold, kind=kind) for kind in KINDS
    }
    floats = paths["GRAY"].with_suffix(".npz")
    if not running.weight:
        reason = f"no face was predicted as {expression}, or none could be explained"
        # A heatmap of an earlier run, when there still were faces, would be taken for this one's.
        run.omit(name, reason, *paths.values(), floats)
        return
    # Stretched from the float32 that is stored, so that a reader gets the same gray values.
    heatmap = running.mean.astype(np.float32)
    gray = to_uint8(heatmap)
    if heatmap.min() == heatmap.max():
        run.omit(name, f"the heatmap is {heatmap.flat[0]:g} everywhere; its pictures are black")
    write_arrays(floats, {"heatmap": heatmap})
    write_image(paths["GRAY"], gray)
    write_image(paths["COLORMAP_JET"], _to_jet(gray))
    write_image(paths["THRESHOLD"], threshold_otsu(gray)[1].astype(np.uint8) * 255)
    write_image(
        paths["OVERLAY"], _to_overlay(gray, face, atlas().mask(experiment.mask_regions.get(expression, ())))
    )
    run.made(*paths.values(), floats)


def masks(experiment: Experiment, run: Run) -> None:
    """Write the masks as pictures, the six of Ekman or those with one's own among them, and the table of regions."""
    for expression, names in (experiment.mask_regions if experiment.masks else atlas().expressions).items():
        path = _mask_path(experiment.masks_folder, expression)
        write_image(path, atlas().mask(names).astype(np.uint8) * 255)
        run.made(path)
    for expression in experiment.expressions if experiment.masks else ():
        if expression not in experiment.mask_regions:
            # It may have had one in an earlier run.
            _mask_path(experiment.masks_folder, expression).unlink(missing_ok=True)
    run.write(experiment.masks_folder, {"regions": atlas().table()})


def _mask_sources(experiment: Experiment) -> dict[str, Path]:
    """Return the files that come with the package and of which the masks are made, by name."""
    data = resources.files("ekman_expressions") / "data"
    return {name: Path(str(data / name)) for name in ("facial_regions.json", "template_landmarks.csv")}
