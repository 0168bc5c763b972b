"""Face space: the template on which all faces lie alike, landmarks, and the warp."""

from __future__ import annotations

from ekman_expressions.experiment import Experiment
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.provenance import Run

__all__ = ["normalise", "normalise_explanations"]


def normalise_explanations(experiment: Experiment) -> Run:
    """Bring all explanations of an experiment into face space (step "facespace").

    See `ekman_expressions.facespace.step.normalise_explanations`.
    """
    # Imported late: the step reads faces' landmarks, whose module needs this package.
    from ekman_expressions.facespace.step import normalise_explanations

    return normalise_explanations(experiment)
