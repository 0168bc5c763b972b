"""What a report is made of, and its heatmaps and faces as scripts.

A page opened from disk may load scripts; files it may not read.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
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
    """What a report is made of: an experiment, or heatmaps alone: by explainer a folder laid out like
    ``heatmaps/<experiment>``; the mask of each expression; the kind of each network.
    """

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
    def regions(self) -> Mapping[str, tuple[str, ...]]:
        """The regions or groups of the atlas that make up each mask."""
        return self.experiment.mask_regions if self.experiment else masks.atlas().expressions

    @property
    def explainer(self) -> str:
        """The explainer that the report shows first."""
        return next(iter(self.heatmaps))

    @property
    def shareable(self) -> bool:
        """Whether all faces come from databases that are bundled, and so may be passed on."""
        known, names = databases.DATABASES, self.experiment.faces.datasets if self.experiment else ()
        return all(name in known and known[name].bundled for name in names)

    @property
    def titles(self) -> dict[str, str]:
        """What the explainers are called."""
        return {name: EXPLAINERS[name].title for name in self.heatmaps}

    @property
    def levels(self) -> tuple[tuple[str | None, str | None], ...]:
        """All (network, fold), None standing for all: first all, then each network, then the folds."""
        pairs = [(network, fold) for network in self.networks for fold in self.folds]
        return ((None, None), *((network, None) for network in self.networks), *pairs)

    def cells(self, explainer: str) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield (expression, network, fold) of the heatmaps of an explainer that are there."""
        folder = self.heatmaps[explainer]
        for network, fold in self.levels:
            for expression in self.expressions:
                if heatmaps.heatmap_path(folder, expression, network, fold).exists():
                    yield expression, network, fold

    def counts(self, explainer: str) -> dict[tuple[str, str | None, str | None], int]:
        """Return how many faces each heatmap is the mean of, where that is known."""
        path = self.heatmaps[explainer] / "counts.csv"
        if not path.exists():
            return {}
        table = read_csv(path, ("network", "fold", "expression", "images"))
        table = table[table["network"].isin(self.networks) & table["fold"].isin(self.folds)]
        counts: dict[tuple[str, str | None, str | None], int] = {}
        for row in table.itertuples():
            for level in ((row.network, row.fold), (row.network, None), (None, None)):
                counts[row.expression, *level] = counts.get((row.expression, *level), 0) + int(row.images)
        return counts

    def table(self, folder: str, name: str) -> pd.DataFrame | None:
        """Read a table of one of the experiment's folders; None if it is not there."""
        path = getattr(self.experiment, folder) / f"{name}.csv" if self.experiment else None
        return read_csv(path) if path is not None and path.is_file() else None

    @classmethod
    def of_experiment(cls, experiment: Experiment) -> _Source:
        """Return an experiment's files as the source of a report; `MissingError` without any heatmap."""
        folders = {name: experiment.explained_by(name).heatmaps_folder for name in experiment.explainers}
        folders = {name: folder for name, folder in folders.items() if _has_heatmaps(folder)}
        if not folders:
            raise MissingError(
                f"{experiment.heatmaps_folder} holds no heatmaps. They are written by the step 'heatmaps': run it first."
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
        known = [network for network in NETWORKS if network in networks]
        ordered = (*known, *sorted(networks - set(known)))
        return cls(
            name=name,
            networks=ordered,
            folds=tuple(sorted(folds, key=lambda fold: int(fold[2:]))),
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
    """Write each heatmap; return, by ``<explainer>/<name>``, Otsu's level, the IoU at it, and of how many
    faces it is.
    """
    cells = {}
    wanted = [(explainer, *cell) for explainer in source.heatmaps for cell in source.cells(explainer)]
    counts = {explainer: source.counts(explainer) for explainer in source.heatmaps}
    for explainer, expression, network, fold in tqdm(wanted, desc="Packing heatmaps", unit="heatmap"):
        name = _heatmap_name(expression, network, fold)
        key = f"{explainer}/{name}"
        try:
            gray = heatmaps.read_gray(source.heatmaps[explainer], expression, network, fold)
        except DataError as error:
            run.omit(key, error)
            continue
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
    _write_call(
        folder / "data" / "common.js",
        "Ekman.start",
        {
            "shape": list(SHAPE),
            "networks": list(source.networks),
            "folds": list(source.folds),
            "expressions": {name: title(name) for name in source.expressions},
            "explainers": list(source.heatmaps),
            "titles": source.titles,
            "cells": cells,
            "masks": {name: _pack(mask.astype(np.uint8)) for name, mask in source.masks.items()},
            "regions": {
                "labels": _pack(atlas.labels),
                "names": [
                    {"name": region.name.replace("_", " "), "group": region.group} for region in atlas.regions
                ],
                "expressions": {
                    name: [
                        place
                        for part in parts
                        for place, region in enumerate(atlas.regions)
                        if part in (region.name, region.group)
                    ]
                    for name, parts in source.regions.items()
                },
            },
            "colours": {name: base64.b64encode(_colours(name)).decode() for name in _COLOUR_MAPS},
            "diverging": base64.b64encode(_colours("RdBu_r")).decode(),
        },
    )


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
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
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


def _colours(name: str) -> bytes:
    """Return a colour map as 256 RGB triples; JET is OpenCV's, which the study used."""
    levels = np.arange(256, dtype=np.uint8)
    if name == "jet":
        return _to_jet(levels[:, None])[:, 0].tobytes()
    from matplotlib import colormaps

    return np.round(colormaps[name](levels)[:, :3] * 255).astype(np.uint8).tobytes()


_MOST = 8
"""Faces shown per model and expression, spread evenly from the best to the worst described."""

_MEAN_OF = 120
"""So many faces, spread evenly over the manifest, make the mean."""

_FEWEST_PERSONS = 20
"""The mean of licensed faces of fewer persons might still look like one of them: it is not drawn."""

_SIDE = 224


def _write_faces(source: _Source, folder: Path, run: Run) -> list[dict[str, Any]]:
    """Write one script per model below ``faces/``, and return each model's explained faces, shown and in all."""
    experiment = source.experiment
    key = ["network", "fold", "image_id"]
    table = read_results(experiment, "facespace", "explanations", (*key, "expression", "r2"))
    predictions = read_results(experiment, "evaluation", "predictions", (*key, "predicted")).set_index(key)
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
            _write_call(folder / script, "Ekman.faces", f"{network}_{fold}", entries)
            index_of.append(
                {"network": network, "fold": fold, "script": script, "faces": len(entries), "of": len(rows)}
            )
            run.done += len(entries)
    return index_of


def _choose(rows: pd.DataFrame) -> pd.DataFrame:
    chosen = []
    for _, group in rows.groupby("expression", sort=False):
        group = group.sort_values(["r2", "image_id"], ascending=[False, True], na_position="last")
        places = np.unique(np.linspace(0, len(group) - 1, min(_MOST, len(group))).astype(int))
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
        "segments": _pack(segments),
        "size": list(segments.shape),
        "wide": segments.dtype == np.uint16,
        "weights": [round(float(value), 6) for value in found.weights],
        "errors": [round(float(value), 6) for value in found.standard_errors],
    }


def _write_face(experiment: Experiment, image_id: str, folder: Path) -> None:
    face = prepared.read_faces(experiment, [image_id], _SIDE)[0]
    write_image(folder / "faces" / f"{image_id}.webp", np.round(face * 255).astype(np.uint8), quality=85)


def _write_background(source: _Source, path: Path) -> str:
    """Write the picture, (275, 224), and return in words what it is."""
    chosen = _choose_for_mean(source)
    ids = [] if chosen is None else tqdm(chosen["image_id"], desc="Averaging faces", unit="face")
    mean = prepared.mean_face(source.experiment, ids)
    if not mean.weight:
        write_image(path, _drawing(), quality=90)
        return "a drawing of the template's landmarks"
    write_image(path, np.round(np.clip(mean.mean, 0, 1) * 255).astype(np.uint8), quality=88)
    return f"the mean of {int(mean.weight)} faces of {chosen['subject'].nunique()} persons"


def _drawing() -> np.ndarray:
    """Draw the template's face with lines, (275, 224) uint8."""
    import cv2

    canvas = np.full(SHAPE, 225, np.uint8)
    for lines in _CONTOURS.values():
        for line in lines:
            points = np.round(POINTS[list(line)] * 16).astype(np.int32)
            cv2.polylines(canvas, [points], False, 90, 1, cv2.LINE_AA, shift=4)
    return canvas


def _choose_for_mean(source: _Source) -> pd.DataFrame | None:
    experiment = source.experiment
    if experiment is None or not experiment.manifest_path.exists():
        return None
    manifest = prepared.read_manifest(experiment)
    # By fold, expression and subject, so that an even choice is balanced.
    manifest = manifest.sort_values(["fold", "expression", "subject", "image_id"], ignore_index=True)
    places = np.unique(np.linspace(0, len(manifest) - 1, min(_MEAN_OF, len(manifest))).astype(int))
    chosen = manifest.iloc[places]
    if not source.shareable and chosen["subject"].nunique() < _FEWEST_PERSONS:
        return None
    return chosen
