"""The atlas of named facial regions, and the six Ekman masks made of them.

An Ekman mask is a *reference, not a truth*: a drawing of where Ekman and Friesen say that a
face moves in an expression, made of polygons on landmarks. A heatmap that disagrees with it
is not thereby wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import check_option
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_image, require
from ekman_expressions.facespace.heatmaps import _in_face_space
from ekman_expressions.facespace.warp import POINTS, SHAPE

# Of groups, in `Atlas.parts`.
_JOINED = {"glabella": "brows", "jaw": "chin"}


@dataclass(frozen=True, eq=False)
class _Region:
    """A named part of the face, such as ``right_brow_inner`` of the group ``brows``. Right is the subject's,
    at the image's left; the action units move it; the polygon has vertices (x, y) in whole pixels.
    """

    name: str
    group: str
    side: str
    description: str
    action_units: list[int]
    polygon: np.ndarray


@dataclass(frozen=True, eq=False)
class Atlas:
    """Named regions in face space and the expressions that are unions of them.

    Vertices are pixel positions: a polygon drawn alone contains the pixels on its border
    (``cv2.fillPoly``), as in the masks that the authors released. So neighbours share the
    pixels on their common border. As *regions* (`labels`, `region`, `group`) each such pixel
    belongs only to the neighbour listed first: regions do not overlap, and shares add up. A
    *mask* (`mask`, `ekman_mask`) is the union of the polygons with their whole border: it
    holds its regions and, in places, one pixel of border around them.

    Attributes
    ----------
    regions : tuple of _Region
        The regions, from the forehead down to the chin.
    expressions : dict of str to tuple of str
        The regions of each Ekman mask.
    """

    regions: tuple[_Region, ...]
    expressions: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions."""
        return tuple(region.name for region in self.regions)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, each once, from the forehead down."""
        return tuple(dict.fromkeys(region.group for region in self.regions))

    @cached_property
    def labels(self) -> np.ndarray:
        """The region of each pixel: (275, 224) uint8, 0 where none, else its place + 1 in `regions`."""
        labels = np.zeros(SHAPE, np.uint8)
        for place, region in reversed(list(enumerate(self.regions, start=1))):
            labels[_fill(region.polygon)] = place
        labels.flags.writeable = False
        return labels

    def region(self, name: str) -> np.ndarray:
        """Return where a region is, (275, 224) bool; regions do not overlap."""
        check_option(name, "region", self.names)
        return self.labels == self.names.index(name) + 1

    def group(self, name: str) -> np.ndarray:
        """Return where the regions of a group are, (275, 224) bool; groups do not overlap."""
        check_option(name, "group", self.groups)
        places = [place for place, region in enumerate(self.regions, start=1) if region.group == name]
        return np.isin(self.labels, places)

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the `parts`, without drawing them, which would import OpenCV."""
        return tuple(name for name in self.groups if name not in _JOINED)

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """Where the nine parts are that the causal explainer puts back to neutral, (275, 224) bool each: the
        groups, the glabella joined to the brows and the jaw to the chin.
        """
        parts = {name: self.group(name) for name in self.part_names}
        for name, part in _JOINED.items():
            parts[part] |= self.group(name)
        for mask in parts.values():
            mask.flags.writeable = False
        return parts

    def mask(self, names: Iterable[str]) -> np.ndarray:
        """Return the union of the polygons of regions, or of groups, with their border, (275, 224) bool."""
        mask = np.zeros(SHAPE, bool)
        for name in names:
            check_option(name, "region", (*self.groups, *self.names))
            for region in self.regions:
                if name in (region.group, region.name):
                    mask |= _fill(region.polygon)
        return mask

    @cached_property
    def hull(self) -> np.ndarray:
        """The face, from the jaw line up to row 0: (275, 224) bool."""
        # The jaw, and the copies of its two ends on row 0.
        outline = POINTS[[*range(17), 84, 68]]
        hull = _fill(np.floor(outline).astype(np.int32))
        hull.flags.writeable = False
        return hull

    def table(self) -> pd.DataFrame:
        """Return one row per region: name, group, side, area, share, action units, expressions.

        ``area`` is in pixels and ``share`` the part of all regions' area, so shares sum to 1;
        a column per expression tells whether its Ekman mask contains the region.
        """
        areas = np.bincount(self.labels.ravel(), minlength=len(self.regions) + 1)[1:]
        rows = [
            {
                "region": region.name,
                "group": region.group,
                "side": region.side,
                "area": area,
                "share": area / areas.sum(),
                "action_units": " ".join(map(str, region.action_units)),
                **{name: region.name in self.expressions[name] for name in EXPRESSIONS},
                "description": region.description,
            }
            for region, area in zip(self.regions, areas, strict=True)
        ]
        return pd.DataFrame(rows)


@cache
def atlas() -> Atlas:
    """Return the atlas that comes with the package (`data/facial_regions.json`)."""
    text = resources.files("ekman_expressions").joinpath("data/facial_regions.json").read_text("utf-8")
    values = json.loads(text)
    for region in values["regions"]:
        # Rounded down to whole pixels, as fillPoly needs them.
        region["polygon"] = np.floor([_vertex(item) for item in region["polygon"]]).astype(np.int32)
    expressions = {name: tuple(regions) for name, regions in values["expressions"].items()}
    return Atlas(tuple(_Region(**region) for region in values["regions"]), expressions)


def ekman_mask(expression: str) -> np.ndarray:
    """Return the Ekman mask of an expression: a reference, not a truth.

    Parameters
    ----------
    expression : str
        One of `EXPRESSIONS`.

    Returns
    -------
    (275, 224) ndarray of bool
        True in the regions that are said to move.

    References
    ----------
    Ekman and Friesen, Unmasking the Face (1975); Gaya-Morey et al. (2024), arXiv:2401.11835,
    whose drawings these polygons follow.
    """
    check_option(expression, "expression", EXPRESSIONS)
    return atlas().mask(atlas().expressions[expression])


def _mask_path(folder: Path | str, expression: str) -> Path:
    """Return where a mask's picture lies in a folder of masks, such as ``heatmaps/GROUND_TRUTH``."""
    return Path(folder) / f"{title(expression)}_gt.png"


def read_mask(folder: Path | str, expression: str) -> np.ndarray:
    """Read a mask's picture, white where True: (275, 224) bool.

    Raises
    ------
    MissingError
        If it is not there.
    DataError
        If it is damaged, or not of the size of face space.
    """
    path = require(_mask_path(folder, expression), "masks")
    return _in_face_space(read_image(path, gray=True), path) > 127


def _vertex(item: Any) -> np.ndarray:
    """Return the (x, y) of a vertex as it is written in the JSON file."""
    if isinstance(item, int):
        return np.asarray(POINTS[item], float)
    if "between" in item:
        start, end = (_vertex(part) for part in item["between"])
        return start + (end - start) * item.get("at", 0.5)
    return np.array([POINTS[item["x"]][0], POINTS[item["y"]][1]], float)


def _fill(polygon: np.ndarray) -> np.ndarray:
    import cv2

    canvas = np.zeros(SHAPE, np.uint8)
    cv2.fillPoly(canvas, [polygon], 1)
    return canvas.astype(bool)
