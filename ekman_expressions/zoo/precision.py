"""Copies of Keras models that compute in half precision."""

from __future__ import annotations

from typing import Any

from ekman_expressions.core.errors import ModelError, check_option

PRECISIONS: tuple[str, ...] = ("float32", "bfloat16", "float16")
"""What ``explanation.precision`` in the settings takes."""


def in_precision(model: Any, precision: str) -> Any:
    """Return a Keras model that computes in another precision; the model itself for float32.

    Weights stay float32 and are rounded as they are used; the layers of the last step, which make
    the answers, stay in float32.

    Parameters
    ----------
    model : keras.Model
        Sequential or functional.
    precision : {'float32', 'bfloat16', 'float16'}
        bfloat16 has 8 significant bits, float16 has 11 but ends at 65504.

    Raises
    ------
    ModelError
        If the model cannot be copied (a subclassed one).
    """
    check_option(precision, "precision", PRECISIONS)
    if precision == "float32":
        return model
    import keras

    last = {id(operation) for operation in _last_operations(model)}

    def lowered(layer: Any) -> Any:
        copy = type(layer).from_config(layer.get_config())
        if id(layer) not in last:
            copy.dtype_policy = keras.DTypePolicy(f"mixed_{precision}")
        return copy

    try:
        clone = keras.models.clone_model(model, clone_function=lowered, recursive=True)
        clone.set_weights(model.get_weights())
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"The model cannot be copied to compute in {precision} ({error}). "
            'Set explanation.precision = "float32".'
        ) from error
    return clone


def _last_operations(model: Any) -> list[Any]:
    outputs = getattr(model, "outputs", None) or []
    return [output._keras_history.operation for output in outputs]
