"""Every picture that is drawn: functions take arrays or tables and return a matplotlib Figure.

Nothing here reads an experiment, so that every step may draw. A figure shows itself as the
last line of a notebook cell; `save` writes it.
"""

from __future__ import annotations

from ekman_expressions.figures.alignment import alignment_page
from ekman_expressions.figures.bars import accuracy_bars, barplot
from ekman_expressions.figures.causal import causal_layers, causal_wall
from ekman_expressions.figures.effort import training_effort
from ekman_expressions.figures.explainers import (
    agreement,
    cost_bars,
    explained_faces,
    region_bars,
    region_maps,
)
from ekman_expressions.figures.faces import explanation, faces_sheet, warp
from ekman_expressions.figures.known_answers import interval_dots, pair_table
from ekman_expressions.figures.learning import confusion_matrices, learning_curves
from ekman_expressions.figures.overview import overview
from ekman_expressions.figures.quality import (
    erasure_curves,
    reliability_boxes,
    sensitivity_matrices,
    untrained_wall,
)
from ekman_expressions.figures.regions import region_faces
from ekman_expressions.figures.statistics import (
    area_curves,
    null_distribution,
    rank_correlations,
    rank_intervals,
    score_intervals,
    specific_cells,
)
from ekman_expressions.figures.style import GROUP_COLOURS, PALETTE, network_kinds, save
from ekman_expressions.figures.tradeoff import tradeoff
from ekman_expressions.figures.trees import dendrogram
from ekman_expressions.figures.walls import atlas, heatmap_wall, masks_wall

__all__ = [
    "GROUP_COLOURS",
    "PALETTE",
    "accuracy_bars",
    "agreement",
    "alignment_page",
    "area_curves",
    "atlas",
    "barplot",
    "causal_layers",
    "causal_wall",
    "confusion_matrices",
    "cost_bars",
    "dendrogram",
    "erasure_curves",
    "explained_faces",
    "explanation",
    "faces_sheet",
    "heatmap_wall",
    "interval_dots",
    "learning_curves",
    "masks_wall",
    "network_kinds",
    "null_distribution",
    "overview",
    "pair_table",
    "rank_correlations",
    "rank_intervals",
    "region_bars",
    "region_faces",
    "region_maps",
    "reliability_boxes",
    "save",
    "score_intervals",
    "sensitivity_matrices",
    "specific_cells",
    "tradeoff",
    "training_effort",
    "untrained_wall",
    "warp",
]
