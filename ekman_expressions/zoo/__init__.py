"""The networks of the study, and one port to all models: `Model`."""

from __future__ import annotations

from ekman_expressions.zoo.model import Model, as_model
from ekman_expressions.zoo.own_models import load_model
from ekman_expressions.zoo.preprocessing import preprocessing_warning
from ekman_expressions.zoo.spec import NETWORKS, NetSpec

__all__ = ["NETWORKS", "Model", "NetSpec", "as_model", "load_model", "preprocessing_warning"]
