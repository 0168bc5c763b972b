"""Explainers: which parts of an image made a model answer as it did; see `registry`."""

from __future__ import annotations

from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.explainers.step import explain, read_explanations

__all__ = ["EXPLAINERS", "explain", "read_explanations"]
