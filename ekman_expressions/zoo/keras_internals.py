"""All that this package uses of Keras beyond its public interface; tests/test_zoo.py notices a change."""

from __future__ import annotations

from typing import Any


def output_operations(model: Any) -> list[Any]:
    """Return the layers or operations that make a functional model's outputs."""
    return [output._keras_history.operation for output in getattr(model, "outputs", None) or []]
