"""What heatmaps and explanations are worth: scores, chance, uncertainty, trees, regions, quality."""

from ekman_expressions.measures.chance import (
    centre_distance,
    centre_ellipse,
    random_pixels,
    relabelling_test,
    shift_null,
)
from ekman_expressions.measures.heatmap_set import HeatmapSet, assess, known_figures, read_heatmaps
from ekman_expressions.measures.known_answers import (
    changed_pixels,
    iou_at_equal_area,
    localisation_scores,
    masks_against_movement,
    summarise_localisation,
)
from ekman_expressions.measures.quality import (
    Ranking,
    correlations,
    deletion_insertion,
    similarity,
    untrained_copy,
)
from ekman_expressions.measures.regions import region_masses, region_table, regions_of_heatmaps
from ekman_expressions.measures.reliability import bootstrap_weights, cross_validated_r2, permuted_r2
from ekman_expressions.measures.scores import (
    auc,
    iou_table,
    layout,
    mask_scores,
    relevance_mass,
    score_heatmaps,
    scores_at_otsu,
    scores_without_threshold,
    summarise,
)
from ekman_expressions.measures.trees import (
    branch_support,
    branches,
    distances,
    fold_reliability,
    linkage,
    pair_matrix,
    split_test,
)
from ekman_expressions.measures.uncertainty import (
    Interval,
    SubjectReplicates,
    interval_of,
    resample_counts,
    resampled_scores,
)

__all__ = [
    "HeatmapSet",
    "Interval",
    "Ranking",
    "SubjectReplicates",
    "assess",
    "auc",
    "bootstrap_weights",
    "branch_support",
    "branches",
    "centre_distance",
    "centre_ellipse",
    "changed_pixels",
    "correlations",
    "cross_validated_r2",
    "deletion_insertion",
    "distances",
    "fold_reliability",
    "interval_of",
    "iou_at_equal_area",
    "iou_table",
    "known_figures",
    "layout",
    "linkage",
    "localisation_scores",
    "mask_scores",
    "masks_against_movement",
    "pair_matrix",
    "permuted_r2",
    "random_pixels",
    "read_heatmaps",
    "region_masses",
    "region_table",
    "regions_of_heatmaps",
    "relabelling_test",
    "relevance_mass",
    "resample_counts",
    "resampled_scores",
    "score_heatmaps",
    "scores_at_otsu",
    "scores_without_threshold",
    "shift_null",
    "similarity",
    "split_test",
    "summarise",
    "summarise_localisation",
    "untrained_copy",
]
