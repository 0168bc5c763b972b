"""What heatmaps and explanations are worth: scores, chance, uncertainty, trees, regions, quality."""

from ekman_expressions.measures.heatmap_set import assess, read_heatmaps
from ekman_expressions.measures.known_answers import changed_pixels
from ekman_expressions.measures.quality import (
    Ranking,
    cross_validated_r2,
    deletion_insertion,
    permuted_r2,
    untrained_copy,
    weighted_flip_rate,
)
from ekman_expressions.measures.regions import region_masses, regions_of_heatmaps
from ekman_expressions.measures.scores import auc, layout, mask_scores, scores_at_otsu, summarise
from ekman_expressions.measures.trees import branch_support, branches, distances, linkage, pair_matrix
from ekman_expressions.measures.uncertainty import (
    centre_distance,
    centre_ellipse,
    random_pixels,
    relabelling_test,
    split_half,
)

__all__ = (
    ["centre_distance", "centre_ellipse", "random_pixels", "relabelling_test"]
    + ["assess", "read_heatmaps", "changed_pixels"]
    + ["Ranking", "cross_validated_r2", "deletion_insertion"]
    + ["permuted_r2", "untrained_copy", "weighted_flip_rate"]
    + ["region_masses", "regions_of_heatmaps"]
    + ["auc", "layout", "mask_scores", "scores_at_otsu", "summarise"]
    + ["branch_support", "branches", "distances", "linkage", "pair_matrix"]
    + ["split_half"]
)
