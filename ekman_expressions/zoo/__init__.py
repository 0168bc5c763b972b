"""The networks of the study, training of one model, and one port to all models: `Model`."""

from __future__ import annotations

from ekman_expressions.zoo.model import Model, as_model
from ekman_expressions.zoo.networks import NETWORKS, NetSpec
from ekman_expressions.zoo.own_models import example_model, load_model
from ekman_expressions.zoo.training import train

__all__ = [
    "NETWORKS",
    "Model",
    "NetSpec",
    "as_model",
    "example_model",
    "load_model",
    "train",
]
