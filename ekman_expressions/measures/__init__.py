"""What heatmaps and explanations are worth: scores, chance, uncertainty, trees, regions, quality."""

from ekman_expressions.measures.heatmap_set import TABLES, assess, read_heatmaps
from ekman_expressions.measures.known_answers import (
    CENTRE,
    ORACLE,
    READINGS,
    causal_agreement,
    changed_pixels,
    localisation_auc,
    summarise_agreement,
)
from ekman_expressions.measures.quality import (
    Ranking,
    cross_validated_r2,
    deletion_insertion,
    permuted_r2,
    untrained_copy,
)
from ekman_expressions.measures.regions import region_masses
from ekman_expressions.measures.scores import (
    AVERAGE,
    METRICS,
    auc,
    layout,
    mask_scores,
    scores_at_otsu,
    summarise,
)
from ekman_expressions.measures.trees import branch_support, branches, distances, linkage, pair_matrix
from ekman_expressions.measures.uncertainty import (
    centre_distance,
    centre_ellipse,
    random_pixels,
    relabelling_test,
    split_half,
)

__all__ = (
    ["AVERAGE", "METRICS", "auc", "layout", "mask_scores", "scores_at_otsu", "summarise"]
    + ["TABLES", "assess", "read_heatmaps", "region_masses"]
    + ["centre_distance", "centre_ellipse", "random_pixels", "relabelling_test", "split_half"]
    + ["branch_support", "branches", "distances", "linkage", "pair_matrix"]
    + ["Ranking", "cross_validated_r2", "deletion_insertion", "permuted_r2", "untrained_copy"]
    + ["CENTRE", "ORACLE", "READINGS", "causal_agreement", "changed_pixels", "localisation_auc"]
    + ["summarise_agreement"]
)
