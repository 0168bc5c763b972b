"""A report's heatmaps as scripts: a page opened from disk may load a script, but may not read a file."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import atomic_path
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.heatmaps import heatmap_name, threshold_otsu, to_jet
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures import scores
from ekman_expressions.report.source import Source
from ekman_expressions.study.provenance import Run

_COLOUR_MAPS = ("viridis", "cividis", "magma", "gray", "jet")
"""The colour maps that a reader may choose, the first by default."""


def write_heatmaps(source: Source, folder: Path, run: Run) -> None:
    """Write each heatmap, and what wall and explorer share, as scripts below ``data/``."""
    _write_common(source, folder, _write_cells(source, folder, run))


def _write_cells(source: Source, folder: Path, run: Run) -> dict[str, Any]:
    """Write each heatmap, and return what pages know without loading them.

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
            "iou": scores.mask_scores(marked, source.masks[expression])["iou"] if marked.any() else None,
            "faces": counts[explainer].get((expression, network, fold)),
        }
        write_call(folder / "data" / explainer / f"{name}.js", "Ekman.receive", key, pack(gray))
        run.done += 1
    return cells


def _write_common(source: Source, folder: Path, cells: dict[str, Any]) -> None:
    """Write names, masks, regions and colour maps."""
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
            "titles": source.titles,
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
            "colours": {name: base64.b64encode(_colours(name)).decode() for name in _COLOUR_MAPS},
            "diverging": base64.b64encode(_colours("RdBu_r")).decode(),
        },
    )


def pack(image: np.ndarray) -> str:
    """Write an image as text that ``Ekman.unpack`` reads back to the bit.

    Parameters
    ----------
    image : (H, W) ndarray of uint8, uint16 or bool

    Returns
    -------
    str
        Base85 (`base64.b85encode`, with "," for "<", which would have to be escaped) of the zlib
        stream of each byte less its prediction (mod 256). That is the median of the byte to the
        left, the one above, and left + above - upper left, with 0 beyond the edges: the predictor of
        JPEG-LS, doi:10.1109/83.855427.
    """
    image = np.ascontiguousarray(image)
    little = image.astype(image.dtype.newbyteorder("<"), copy=False)
    rows = little.view(np.uint8).reshape(len(image), -1).astype(np.int16)
    padded = np.pad(rows, ((1, 0), (1, 0)))
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    low, high = np.minimum(left, above), np.maximum(left, above)
    rest = (rows - np.clip(left + above - corner, low, high)).astype(np.uint8)
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    packed = compressor.compress(rest.tobytes()) + compressor.flush()
    return base64.b85encode(packed).decode().replace("<", ",")


def write_call(path: Path, function: str, *values: Any) -> None:
    """Write a script that calls a function with JSON-able values."""
    with atomic_path(path) as temporary:
        arguments = ",".join(_as_script(value) for value in values)
        temporary.write_text(f"{function}({arguments});\n", encoding="utf-8")


def _as_script(value: Any) -> str:
    """Write a JSON-able value as an expression of JavaScript that cannot close its script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _colours(name: str) -> bytes:
    """Return a colour map as 256 RGB triples; JET is OpenCV's, which the study used."""
    levels = np.arange(256, dtype=np.uint8)
    if name == "jet":
        return to_jet(levels[:, None])[:, 0].tobytes()
    from matplotlib import colormaps

    return np.round(colormaps[name](levels)[:, :3] * 255).astype(np.uint8).tobytes()
