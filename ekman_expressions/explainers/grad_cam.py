"""Grad-CAM: the last convolutional features, weighted by how the class' score depends on each."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ekman_expressions.core.errors import ModelError, SettingsError, check_range
from ekman_expressions.core.startup import silent_stderr
from ekman_expressions.explainers.gradients import (
    GRADIENT_GROUP,
    check_differentiable,
    check_gradients,
    score_of,
)
from ekman_expressions.zoo.checks import check_image, check_probabilities
from ekman_expressions.zoo.masked import check_input, compiled, halving

# Layers that only gather, drop or move what a convolution found.
_NO_FEATURES = ("Pool", "Dropout", "Cropping", "Padding", "Reshape", "Permute", "Sampling", "Resizing")


def explain_one(
    model: Any, image: np.ndarray, target: int, *, seed: int, layer: str = "", score: str = "logit"
) -> tuple[np.ndarray, int]:
    """Explain one image by Grad-CAM; see `ekman_expressions.explainers.registry` for the contract.

    ``Σ_k α_k A_k``, where A_k is the k-th feature map of a convolutional layer and α_k the mean over
    the map of the score's gradient ([1]_, equations 1 and 2), enlarged bilinearly to the image. With
    `positive`, as in the paper, negative values become 0. Nothing is random: `seed` is not used.

    Parameters
    ----------
    layer : str
        Name of the layer, also inside models that are layers themselves; ``""``: see `last_features`.
    score : {'probability', 'logit'}
        What is explained; see `ekman_expressions.explainers.gradients.input_gradients`. The authors
        take the logit.

    Raises
    ------
    ModelError
        If the model has no gradients, no such layer, or its layers are not known before it runs.

    References
    ----------
    .. [1] Selvaraju et al. (2017), Grad-CAM: visual explanations from deep networks via gradient-based
       localization, doi:10.1109/ICCV.2017.74.
    """
    import cv2

    image = check_image(image)
    check_differentiable(model)
    check_input(model, image)
    chosen = named_layer(model, layer) if layer else last_features(model)

    def ask(group: int) -> Any:
        # By identity: layers of two nested models may share a name.
        key = ("grad_cam", image.shape, id(chosen), score, group)
        function = compiled(model, key, lambda: _compile(model, (group, *image.shape), chosen, score))
        # Copies fill the call up. For a single image, the last bits would depend on the number of threads.
        return function(np.repeat(image[None], group, axis=0), np.int32(target))

    with silent_stderr():
        answers, features, gradients = (
            part.numpy()[:1] for part in halving(model, "grad_cam", GRADIENT_GROUP, ask)
        )
    check_probabilities(answers)
    check_range(target, "target", 0, answers.shape[1] - 1, integer=True)
    if getattr(chosen, "data_format", "channels_last") == "channels_first":
        features, gradients = (part.transpose(0, 2, 3, 1) for part in (features, gradients))
    features, gradients = features[0].astype(np.float32), check_gradients(gradients[0].astype(np.float32))
    found = features @ gradients.mean(axis=(0, 1))
    height, width = image.shape[:2]
    return cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), 1


def last_features(model: Any) -> Any:
    """Return the layer whose output Grad-CAM explains: the last spatial features of a Keras model.

    That is the last layer, at or after the last convolution, whose output has a height and a width
    of more than one pixel each, not counting pooling, dropout, cropping and the like: the
    activation behind the last convolution, or what joins several branches, such as the sum at the
    end of a ResNet. Models that are layers of others are looked into.

    Raises
    ------
    ModelError
        If there is no convolution, or the layers have no known outputs.
    """
    chosen, convolved = None, False
    for layer in flat_layers(model):
        kind = type(layer).__name__
        convolved = convolved or "Conv" in kind
        if convolved and _is_spatial(layer) and not any(part in kind for part in _NO_FEATURES):
            chosen = layer
    if chosen is None:
        raise ModelError(
            "Grad-CAM needs a functional or sequential Keras model with a convolutional layer, but "
            f"{model.name!r} shows none. Name the layer with explanation.options.grad_cam.layer, or use "
            "another explainer."
        )
    return chosen


def named_layer(model: Any, name: str) -> Any:
    """Return a layer by its name, also one inside a model that is a layer; `SettingsError` if none."""
    layers = {layer.name: layer for layer in flat_layers(model)}
    if name not in layers:
        raise SettingsError(
            f"The model {model.name!r} has no layer {name!r}. Its layers with features in space are "
            f"{', '.join(key for key, layer in layers.items() if _is_spatial(layer))}."
        )
    if not _is_spatial(layers[name]):
        raise SettingsError(f"The layer {name!r} of {model.name!r} has no features in space.")
    return layers[name]


def flat_layers(model: Any) -> Iterator[Any]:
    """Yield the layers of a Keras model in the order in which they run, nested models' too."""
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from flat_layers(layer)
        else:
            yield layer


def _is_spatial(layer: Any) -> bool:
    try:
        shape = getattr(layer.output, "shape", ())
    except (AttributeError, ValueError):
        return False  # Never connected, or connected more than once.
    if len(shape) != 4:
        return False
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return all(side is None or side > 1 for side in (shape[2:] if first else shape[1:3]))


def _compile(model: Any, shape: tuple[int, ...], layer: Any, score: str) -> Callable:
    import tensorflow as tf

    # Strong references would keep the model, key of the cache, alive for ever.
    model_of, layer_of = weakref.ref(model), weakref.ref(layer)

    def ask(image: Any, target: Any) -> Any:
        seen: list[Any] = []
        model, layer = model_of(), layer_of()
        usual = layer.call

        def call(*inputs: Any, **options: Any) -> Any:
            output = usual(*inputs, **options)
            tape.watch(output)
            seen.append(output)
            return output

        with tf.GradientTape() as tape:
            # The layer may lie inside a model in a model, whose graph has no tensor of it to ask for.
            layer.call = call
            try:
                answers = tf.cast(model(image, training=False), tf.float32)
            finally:
                layer.call = usual
            within = tf.clip_by_value(target, 0, tf.shape(answers)[1] - 1)
            value = tf.reduce_sum(score_of(answers, within, score))
        if len(seen) != 1:
            raise ModelError(f"The layer {layer.name!r} runs {len(seen)} times, but must run once.")
        gradient = tape.gradient(value, seen[0])
        if gradient is None:
            raise ModelError(
                f"The answer does not depend on the layer {layer.name!r} by differentiable steps."
            )
        return answers, seen[0], gradient

    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec((), tf.int32)]
    # Traced by name: after five first calls, of five models, TensorFlow would warn of retracing.
    with silent_stderr():
        return tf.function(ask, input_signature=signature, autograph=False).get_concrete_function()
