"""The heatmaps of a report as data: packed pixels, thresholds, masks, regions and colour maps."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.heatmaps import heatmap_name, threshold_otsu, to_jet
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures import scores
from ekman_expressions.report.scripts import pack, write_call
from ekman_expressions.report.source import Source
from ekman_expressions.study.provenance import Run

COLOUR_MAPS = ("viridis", "cividis", "magma", "gray", "jet")
"""The colour maps that a reader may choose, the first by default."""


def area_matched_level(gray: np.ndarray, mask: np.ndarray) -> int:
    """Return the threshold above which a heatmap marks an area as large as the mask.

    Parameters
    ----------
    gray : (H, W) ndarray of uint8
    mask : (H, W) ndarray of bool

    Returns
    -------
    int, range [0, 255]
        The level with the marked area nearest to the mask's; of two equally near, the lower.

    Raises
    ------
    DataError
        If the shapes differ, or the heatmap is not 8-bit.
    """
    gray, mask = np.asarray(gray), np.asarray(mask)
    if gray.shape != mask.shape or gray.dtype != np.uint8:
        raise DataError(
            f"An 8-bit heatmap and a mask of one shape are needed, but got {gray.dtype} {gray.shape} and "
            f"{mask.shape}."
        )
    above = gray.size - np.cumsum(np.bincount(gray.ravel(), minlength=256))
    return int(np.argmin(np.abs(above - np.count_nonzero(mask))))


def write_heatmaps(source: Source, folder: Path, run: Run) -> dict[str, Any]:
    """Write each heatmap as a script below ``data/``, and return what pages know without loading them.

    Returns
    -------
    dict
        For each key ``<explainer>/<name>``: ``otsu``, the level; ``iou`` at it (None where
        nothing is marked); ``faces``, of how many it is the mean (None where not known).
    """
    cells = {}
    wanted = [(explainer, *cell) for explainer in source.heatmaps for cell in source.cells(explainer)]
    counts = {explainer: source.counts(explainer) for explainer in source.heatmaps}
    for explainer, expression, network, fold in tqdm(wanted, desc="Packing heatmaps", unit="heatmap"):
        name = heatmap_name(expression, network, fold)
        key = f"{explainer}/{name}"
        try:
            gray = source.read(expression, network, fold, explainer)
        except DataError as error:
            run.omit(key, error)
            continue
        level, marked = threshold_otsu(gray)
        cells[key] = {
            "otsu": level,
            "iou": scores.iou(marked, source.masks[expression]) if marked.any() else None,
            "faces": counts[explainer].get((expression, network, fold)),
        }
        write_call(folder / "data" / explainer / f"{name}.js", "Ekman.receive", key, pack(gray))
        run.done += 1
    return cells


def write_common(source: Source, folder: Path, cells: dict[str, Any]) -> None:
    """Write what the wall and the explorer share: names, masks, regions and colour maps."""
    atlas = masks.atlas()
    write_call(
        folder / "data" / "common.js",
        "Ekman.start",
        {
            "shape": list(SHAPE),
            "networks": list(source.networks),
            "folds": list(source.folds),
            "expressions": {name: title(name) for name in EXPRESSIONS},
            "explainers": list(source.heatmaps),
            "titles": {name: explainer_title(name) for name in source.heatmaps},
            "cells": cells,
            "masks": {name: pack(mask.astype(np.uint8)) for name, mask in source.masks.items()},
            "regions": {
                "labels": pack(atlas.labels),
                "names": [
                    {"name": region.name.replace("_", " "), "group": region.group} for region in atlas.regions
                ],
                "expressions": {
                    name: [atlas.names.index(region) for region in regions]
                    for name, regions in atlas.expressions.items()
                },
            },
            "colours": {name: base64.b64encode(_colours(name)).decode() for name in COLOUR_MAPS},
            "diverging": base64.b64encode(_colours("RdBu_r")).decode(),
        },
    )


def explainer_title(name: str) -> str:
    """Return what an explainer is called in figures and tables."""
    return SPECS[name].title if name in SPECS else name


def _colours(name: str) -> bytes:
    """Return a colour map as 256 RGB triples; JET is OpenCV's, which the study used."""
    levels = np.arange(256, dtype=np.uint8)
    if name == "jet":
        return to_jet(levels[:, None])[:, 0].tobytes()
    from matplotlib import colormaps

    return np.round(colormaps[name](levels)[:, :3] * 255).astype(np.uint8).tobytes()
