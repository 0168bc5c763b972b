"""Explainers: which parts of an image made a model answer as it did; see `registry`."""

from __future__ import annotations

from ekman_expressions.experiment import Experiment
from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.explainers.step import explain, read_explanations
from ekman_expressions.provenance import Run

__all__ = ["EXPLAINERS", "compare", "explain", "read_explanations"]


def compare(experiment: Experiment) -> Run:
    """Take other explainers through all steps and compare them (step "explainers").

    See `ekman_expressions.explainers.comparing.compare`.
    """
    # Imported late: the step calls those that come after this package.
    from ekman_expressions.explainers.comparing import compare

    return compare(experiment)
