"""What a report is made of, and its heatmaps and faces as scripts.

A page opened from disk may load scripts; files it may not read.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import atomic_path, read_csv, write_image
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import databases
from ekman_expressions.facespace import heatmaps, masks
from ekman_expressions.facespace.heatmaps import _heatmap_name, _to_jet, threshold_otsu
from ekman_expressions.facespace.warp import POINTS, SHAPE
from ekman_expressions.figures.faces import _CONTOURS
from ekman_expressions.measures import scores
from ekman_expressions.study import explanations, prepared, read_results
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo import NETWORKS

_NAME = re.compile(r"(?P<network>.+?)(_(?P<fold>CV\d+(_S\d+)?))?_[A-Z][a-z]+_heatmap")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Source:
    """What a report is made of: an experiment or heatmaps alone, which lie in a folder per explainer."""

    name: str
    networks: tuple[str, ...]
    folds: tuple[str, ...]
    heatmaps: Mapping[str, Path]
    masks: Mapping[str, np.ndarray]
    experiment: Experiment | None = None

    @property
    def expressions(self) -> tuple[str, ...]:
        """The classes that are explained."""
        return self.experiment.expressions if self.experiment else EXPRESSIONS

    @property
    def explainer(self) -> str:
        """The explainer that the report shows first."""
        return next(iter(self.heatmaps))

    @property
    def shareable(self) -> bool:
        """Whether all faces come from databases that are bundled, and so may be passed on."""
        known, names = databases.DATABASES, self.experiment.faces.datasets if self.experiment else ()
        return all(name in known and known[name].bundled for name in names)

    def cells(self, explainer: str) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield (expression, network, fold) of the heatmaps of an explainer that are there, None standing
        for all: first those of all, then of each network, then of the folds.
        """
        by_network = [(network, None) for network in self.networks]
        for network, fold in [(None, None), *by_network, *product(self.networks, self.folds)]:
            for expression in self.expressions:
                if heatmaps.heatmap_path(self.heatmaps[explainer], expression, network, fold).exists():
                    yield expression, network, fold

    def counts(self, explainer: str) -> dict[tuple[str, str | None, str | None], int]:
        """Return how many faces each heatmap is the mean of, where that is known."""
        path = self.heatmaps[explainer] / "counts.csv"
        columns, counts = ("network", "fold", "expression", "images"), Counter()
        for row in read_csv(path, columns).itertuples() if path.exists() else ():
            if row.network in self.networks and row.fold in self.folds:
                for level in ((row.network, row.fold), (row.network, None), (None, None)):
                    counts[row.expression, *level] += int(row.images)
        return counts

    @classmethod
    def of_experiment(cls, experiment: Experiment) -> _Source:
        """Return an experiment's files as the source of a report; `MissingError` without any heatmap."""
        folders = {name: experiment.explained_by(name).heatmaps_folder for name in experiment.explainers}
        folders = {name: folder for name, folder in folders.items() if _has_heatmaps(folder)}
        if not folders:
            raise MissingError(
                f"{experiment.heatmaps_folder} holds no heatmaps. They are written by the step 'heatmaps': "
                "run it first."
            )
        return cls(
            name=experiment.name,
            networks=experiment.networks,
            folds=experiment.folds,
            heatmaps=folders,
            masks=_masks(experiment.masks_folder, experiment.mask_regions),
            experiment=experiment,
        )

    @classmethod
    def of_heatmaps(cls, folder: Path, name: str) -> _Source:
        """Return a folder of heatmaps laid out like the released ones as the source of a report.

        Networks and folds are those that the names of the files tell; `MissingError` without any heatmap.
        """
        folder = Path(folder)
        if not _has_heatmaps(folder):
            raise MissingError(
                f"{folder} holds no heatmaps. Name a folder with GRAY/heatmaps_by_cv, "
                "GRAY/heatmaps_by_net or GRAY/heatmaps_total, such as the released one."
            )
        files = [path.stem for path in (folder / "GRAY").glob("heatmaps_by_*/*.png")]
        found = [match for stem in files if (match := _NAME.fullmatch(stem))]
        networks = {match["network"] for match in found}
        folds = {match["fold"] for match in found if match["fold"]}
        return cls(
            name=name,
            networks=tuple(dict.fromkeys(net for net in (*NETWORKS, *sorted(networks)) if net in networks)),
            # CV10 comes after CV9.
            folds=tuple(sorted(folds, key=lambda fold: (len(fold), fold))),
            heatmaps={"lime": folder},
            masks=_masks(folder / "GROUND_TRUTH", masks.atlas().expressions),
        )


def _has_heatmaps(folder: Path) -> bool:
    return any((folder / "GRAY").glob("heatmaps_*/*_heatmap.png"))


def _masks(folder: Path, regions: Mapping[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Read the masks that lie in a folder; if one is missing, draw all."""
    drawn = all((folder / f"{title(name)}_gt.png").exists() for name in regions)
    atlas = masks.atlas()
    return {name: masks.read_mask(folder, name) if drawn else atlas.mask(regions[name]) for name in regions}


_COLOUR_MAPS = ("viridis", "cividis", "magma", "gray", "jet")
"""The colour maps that a reader may choose, the first by default."""


def _write_cells(source: _Source, folder: Path, run: Run) -> dict[str, Any]:
    """Write each heatmap; return by ``<explainer>/<name>`` Otsu's level, the IoU and the number of faces."""
    cells = {}
    wanted = [(explainer, *cell) for explainer in source.heatmaps for cell in source.cells(explainer)]
    counts = {explainer: source.counts(explainer) for explainer in source.heatmaps}
    for explainer, expression, network, fold in tqdm(wanted, desc="Packing heatmaps", unit="heatmap"):
        name = _heatmap_name(expression, network, fold)
        key = f"{explainer}/{name}"
        with run.omits(key):
            gray = heatmaps.read_gray(source.heatmaps[explainer], expression, network, fold)
            level, marked = threshold_otsu(gray)
            known = expression in source.masks and marked.any()
            cells[key] = {
                "otsu": level,
                "iou": scores.mask_scores(marked, source.masks[expression])["iou"] if known else None,
                "faces": counts[explainer].get((expression, network, fold)),
            }
            _write_call(folder / "data" / explainer / f"{name}.js", "Ekman.receive", key, _pack(gray))
            run.done += 1
    return cells


def _write_common(source: _Source, folder: Path, cells: dict[str, Any]) -> None:
    """Write names, masks, regions and colour maps."""
    atlas = masks.atlas()
    parts_of = source.experiment.mask_regions if source.experiment else atlas.expressions
    places = {
        part: [place for place, region in enumerate(atlas.regions) if part in (region.name, region.group)]
        for part in (*atlas.groups, *atlas.names)
    }
    regions = {
        "labels": _pack(atlas.labels),
        "names": [{"name": one.name.replace("_", " "), "group": one.group} for one in atlas.regions],
        "expressions": {name: sum((places[part] for part in parts), []) for name, parts in parts_of.items()},
    }
    about = {
        "shape": SHAPE,
        "networks": source.networks,
        "folds": source.folds,
        "expressions": {name: title(name) for name in source.expressions},
        "explainers": list(source.heatmaps),
        "titles": {name: EXPLAINERS[name].title for name in source.heatmaps},
        "cells": cells,
        "masks": {name: _pack(mask.astype(np.uint8)) for name, mask in source.masks.items()},
        "regions": regions,
        "colours": {name: _colours(name) for name in _COLOUR_MAPS},
        "diverging": _colours("RdBu_r"),
    }
    _write_call(folder / "data" / "common.js", "Ekman.start", about)


def _pack(image: np.ndarray) -> str:
    """Write an image of uint8, uint16 or bool as text that ``Ekman.unpack`` reads back to the bit: base85,
    with "," for "<", of the zlib stream of each byte less the predictor of JPEG-LS (doi:10.1109/83.855427):
    the median of left, above, and left + above - upper left.
    """
    image = np.ascontiguousarray(image)
    little = image.astype(image.dtype.newbyteorder("<"), copy=False)
    rows = little.view(np.uint8).reshape(len(image), -1).astype(np.int16)
    padded = np.pad(rows, ((1, 0), (1, 0)))
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    low, high = np.minimum(left, above), np.maximum(left, above)
    rest = (rows - np.clip(left + above - corner, low, high)).astype(np.uint8)
    compressor = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    packed = compressor.compress(rest.tobytes()) + compressor.flush()
    return base64.b85encode(packed).decode().replace("<", ",")


def _write_call(path: Path, function: str, *values: Any) -> None:
    """Write a script that calls a function with JSON-able values."""
    with atomic_path(path) as temporary:
        arguments = ",".join(_as_script(value) for value in values)
        temporary.write_text(f"{function}({arguments});\n", encoding="utf-8")


def _as_script(value: Any) -> str:
    """Write a JSON-able value as an expression of JavaScript that cannot close its script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _colours(name: str) -> str:
    """Return a colour map as 256 RGB triples in base64; JET is OpenCV's, which the study used."""
    from matplotlib import colormaps

    levels = np.arange(256, dtype=np.uint8)[:, None]
    colours = _to_jet(levels) if name == "jet" else np.round(colormaps[name](levels)[..., :3] * 255)
    return base64.b64encode(colours.astype(np.uint8).tobytes()).decode()


_MOST = 8
"""Faces shown per model and expression, spread evenly from the best to the worst described."""

_MEAN_OF = 120
"""So many faces, spread evenly over the manifest, make the mean."""

_FEWEST_PERSONS = 20
"""The mean of licensed faces of fewer persons might still look like one of them: it is not drawn."""

_SIDE = 224


def _write_faces(source: _Source, folder: Path, run: Run) -> list[dict[str, Any]]:
    """Write one script per model below ``faces/``; return how many faces of each are shown, and explained."""
    experiment, models = source.experiment, []
    table = read_results(experiment, "facespace", "explanations")
    predictions = read_results(experiment, "evaluation", "predictions")
    predictions = predictions.set_index(["network", "fold", "image_id"])
    for network, fold in tqdm(experiment.pairs, desc="Packing explained faces", unit="model"):
        rows = table[(table["network"] == network) & (table["fold"] == fold)]
        entries = []
        for row in _choose(rows).itertuples():
            with run.omits(f"{network}_{fold} {row.image_id}"):
                entries.append(_entry(experiment, row, predictions))
                picture = folder / "faces" / f"{row.image_id}.webp"
                if not picture.exists():
                    face = prepared.read_faces(experiment, [row.image_id], _SIDE)[0]
                    write_image(picture, np.round(face * 255).astype(np.uint8), quality=85)
        if entries:
            script = f"faces/{network}_{fold}.js"
            _write_call(folder / script, "Ekman.faces", f"{network}_{fold}", entries)
            about = {"network": network, "fold": fold, "script": script}
            models.append(about | {"faces": len(entries), "of": len(rows)})
            run.done += len(entries)
    return models


def _choose(rows: pd.DataFrame) -> pd.DataFrame:
    best_first = {"by": ["r2", "image_id"], "ascending": [False, True]}
    groups = [group.sort_values(**best_first) for _, group in rows.groupby("expression", sort=False)]
    return pd.concat([_evenly(group, _MOST) for group in groups]) if groups else rows


def _evenly(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many rows, spread evenly over a table."""
    places = np.linspace(0, len(table) - 1, min(most, len(table)))
    return table.iloc[np.unique(places.astype(int))]


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
        "segments": _pack(segments),
        "size": list(segments.shape),
        "wide": segments.dtype == np.uint16,
        "weights": [round(float(value), 6) for value in found.weights],
        "errors": [round(float(value), 6) for value in found.standard_errors],
    }


def _write_background(source: _Source, path: Path) -> str:
    """Write the picture, (275, 224), and return in words what it is."""
    experiment = source.experiment
    if experiment is not None and experiment.manifest_path.exists():
        # By fold, expression and subject, so that an even choice is balanced.
        order = ["fold", "expression", "subject", "image_id"]
        chosen = _evenly(prepared.read_manifest(experiment).sort_values(order), _MEAN_OF)
        persons = chosen["subject"].nunique()
        if source.shareable or persons >= _FEWEST_PERSONS:
            ids = tqdm(chosen["image_id"], desc="Averaging faces", unit="face")
            mean = prepared.mean_face(experiment, ids)
            if mean.weight:
                write_image(path, np.round(np.clip(mean.mean, 0, 1) * 255).astype(np.uint8), quality=88)
                return f"the mean of {int(mean.weight)} faces of {persons} persons"
    write_image(path, _drawing(), quality=90)
    return "a drawing of the template's landmarks"


def _drawing() -> np.ndarray:
    """Draw the template's face with lines, (275, 224) uint8."""
    import cv2

    points = np.round(POINTS * 16).astype(np.int32)
    lines = [points[list(line)] for contours in _CONTOURS.values() for line in contours]
    return cv2.polylines(np.full(SHAPE, 225, np.uint8), lines, False, 90, 1, cv2.LINE_AA, shift=4)
