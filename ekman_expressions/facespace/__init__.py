"""Face space: the template on which all faces are aligned, the warp, the atlas and Ekman masks, heatmaps."""

from ekman_expressions.facespace.heatmaps import (
    KINDS,
    RunningMean,
    heatmap_name,
    heatmap_path,
    read_float,
    read_gray,
    threshold_otsu,
    to_jet,
    to_uint8,
)
from ekman_expressions.facespace.masks import Atlas, Region, atlas, ekman_mask, read_mask
from ekman_expressions.facespace.warp import (
    LANDMARKS,
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
    "LANDMARKS",
    "POINTS",
    "SHAPE",
    "Atlas",
    "Region",
    "RunningMean",
    "atlas",
    "ekman_mask",
    "heatmap_name",
    "heatmap_path",
    "movement",
    "normalise",
    "read_float",
    "read_gray",
    "read_mask",
    "source_points",
    "template_points",
    "threshold_otsu",
    "to_jet",
    "to_uint8",
    "triangles",
]
