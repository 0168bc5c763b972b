"""Face space: the template on which all faces are aligned, the warp, the atlas and Ekman masks, heatmaps."""

from ekman_expressions.facespace.heatmaps import KINDS, heatmap_path, read_gray, threshold_otsu, to_uint8
from ekman_expressions.facespace.masks import Atlas, atlas, ekman_mask, read_mask
from ekman_expressions.facespace.warp import (
    POINTS,
    SHAPE,
    movement,
    normalise,
    source_points,
    template_points,
    triangles,
)

__all__ = [
    "KINDS",
    "POINTS",
    "SHAPE",
    "Atlas",
    "atlas",
    "ekman_mask",
    "heatmap_path",
    "movement",
    "normalise",
    "read_gray",
    "read_mask",
    "source_points",
    "template_points",
    "threshold_otsu",
    "to_uint8",
    "triangles",
]
