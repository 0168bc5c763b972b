"""Every picture that is drawn: functions take arrays or tables and return a matplotlib Figure.

Nothing here reads an experiment, so that every step may draw. A figure shows itself as the
last line of a notebook cell; `save` writes it. All have a `title`, above the panels. Where there is
nothing to draw, or shapes, names or numbers do not fit one another, all raise `DataError`.
"""

from __future__ import annotations

from ekman_expressions.figures._style import PALETTE, network_kinds, save, span
from ekman_expressions.figures.charts import (
    area_curves,
    barplot,
    erasure_curves,
    interval_dots,
    learning_curves,
    reliability_boxes,
    score_intervals,
)
from ekman_expressions.figures.faces import (
    alignment_page,
    causal_layers,
    explained_face,
    explained_faces,
    explanation,
    warp,
)
from ekman_expressions.figures.tables import (
    annotated_matrix,
    confusion_matrices,
    dendrogram,
    ranking_table,
    scores_table,
    tests_table,
)
from ekman_expressions.figures.walls import (
    agreement_wall,
    atlas,
    causal_wall,
    heatmap_figure,
    heatmap_wall,
    masks_wall,
    region_faces,
)

__all__ = (
    ["PALETTE", "network_kinds", "save", "span"]
    + ["area_curves", "barplot", "erasure_curves", "interval_dots"]
    + ["learning_curves", "reliability_boxes", "score_intervals"]
    + ["alignment_page", "causal_layers", "explained_face", "explained_faces", "explanation", "warp"]
    + ["annotated_matrix", "confusion_matrices", "dendrogram"]
    + ["ranking_table", "scores_table", "tests_table"]
    + ["agreement_wall", "atlas", "causal_wall", "heatmap_figure", "heatmap_wall", "masks_wall"]
    + ["region_faces"]
)
