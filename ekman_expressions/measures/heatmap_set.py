"""All fold heatmaps of an experiment beside the masks, and the score of each heatmap with each mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.measures import baselines
from ekman_expressions.measures.threshold_free import auc

SCORES: tuple[str, ...] = ("iou", "auc", "auc_hull")
"""The scores that get baselines, tests and intervals: IoU at Otsu's threshold, AUC over the canvas
and within the face hull."""


@dataclass(frozen=True)
class HeatmapSet:
    """Heatmaps of networks, folds and expressions, in one face space with the masks.

    Attributes
    ----------
    networks, folds : tuple of str
    maps : (N, F, E, H, W) ndarray of uint8
        Zeros where there is none.
    present : (N, F, E) ndarray of bool
        Which heatmaps there are.
    masks : (E, H, W) ndarray of bool
        The mask of each expression.
    hull : (H, W) ndarray of bool
        Where the face is.
    labels : (H, W) ndarray of int
        The facial region of each pixel, 0 where none.
    """

    networks: tuple[str, ...]
    folds: tuple[str, ...]
    maps: np.ndarray
    present: np.ndarray
    masks: np.ndarray
    hull: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.networks), len(self.folds), len(self.masks))
        if self.maps.shape != (*shape, *self.masks.shape[1:]) or self.present.shape != shape:
            raise DataError(
                f"{shape[0]} networks, {shape[1]} folds and masks of shape {self.masks.shape} do not fit "
                f"heatmaps of shape {self.maps.shape} (present: {self.present.shape})."
            )

    @cached_property
    def marked(self) -> np.ndarray:
        """Where each heatmap is above Otsu's threshold, (N, F, E, H, W) bool."""
        return baselines.otsu(self.maps)

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """Per score, the (N, F, E, E) table of each heatmap with the mask of each expression."""
        tables = {"iou": baselines.iou_table(self.marked, self.masks)}
        for name, within in (("auc", None), ("auc_hull", self.hull)):
            tables[name] = np.full(tables["iou"].shape, np.nan)
            for place in np.argwhere(self.present):
                for expression, mask in enumerate(self.masks):
                    tables[name][(*place, expression)] = auc(self.maps[tuple(place)], mask, within)
        tables["iou"][~self.present] = np.nan
        return tables

    @cached_property
    def own(self) -> dict[str, np.ndarray]:
        """Per score, the (N, F, E) scores with the own mask; NaN where there is no heatmap."""
        return {name: np.diagonal(table, axis1=-2, axis2=-1) for name, table in self.tables.items()}


def read(
    folder: Path | str,
    masks: np.ndarray,
    networks: Sequence[str],
    folds: Sequence[str],
    omit: Callable[[str, object], None],
) -> HeatmapSet:
    """Read fold heatmaps beside masks.

    Parameters
    ----------
    folder : Path
        Laid out like ``heatmaps/<experiment>``, such as that of the released heatmaps.
    masks : (E, H, W) ndarray of bool
        The mask of each expression.
    networks, folds : sequence of str
        Which.
    omit : callable
        Called with the name of each heatmap that cannot be scored, and the reason.

    """
    shape = (len(networks), len(folds), len(EXPRESSIONS))
    maps = np.zeros((*shape, *masks.shape[1:]), np.uint8)
    present = np.zeros(shape, bool)
    for n, f, e in np.ndindex(shape):
        name = heatmaps.heatmap_name(EXPRESSIONS[e], networks[n], folds[f])
        try:
            gray = heatmaps.read_gray(folder, EXPRESSIONS[e], networks[n], folds[f])
        except MissingError:
            omit(name, "there is no such heatmap; the step 'heatmaps' says why")
            continue
        except DataError as error:
            omit(name, error)
            continue
        if gray.min() == gray.max():
            omit(name, f"the heatmap is {gray.flat[0]} everywhere, so it marks nothing")
            continue
        maps[n, f, e], present[n, f, e] = gray, True
    return HeatmapSet(
        networks=tuple(networks),
        folds=tuple(folds),
        maps=maps,
        present=present,
        masks=masks,
        hull=atlas().hull,
        labels=atlas().labels,
    )
