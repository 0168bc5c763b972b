"""How good an explanation is: what it depends on, and whether the model needs what it names.

`reliability` resamples a record, `surrogate_fit` says what LIME's R² is worth, `curves` hides what an
explanation names first, `untrained` makes a network that has learned nothing, `variants` explains a
face in other ways, and `agreement` compares maps. `step` does all but the second for a study, and
`tables` reads what came of it.
"""

from __future__ import annotations

from ekman_expressions.quality.agreement import correlations, similarity
from ekman_expressions.quality.curves import Curve, Ranking, deletion_insertion
from ekman_expressions.quality.reliability import Reliability, bootstrap
from ekman_expressions.quality.step import measure
from ekman_expressions.quality.surrogate_fit import cross_validated_r2, permuted_r2
from ekman_expressions.quality.tables import TABLES, read, read_curves, read_heatmaps, sensitivity_matrices
from ekman_expressions.quality.untrained import untrained_copy

__all__ = [
    "TABLES",
    "Curve",
    "Ranking",
    "Reliability",
    "bootstrap",
    "correlations",
    "cross_validated_r2",
    "deletion_insertion",
    "measure",
    "permuted_r2",
    "read",
    "read_curves",
    "read_heatmaps",
    "sensitivity_matrices",
    "similarity",
    "untrained_copy",
]
