"""Known answers of the explainers that need gradients, and where Grad-CAM looks."""

import numpy as np
import pytest
from made_models import chain

from ekman_expressions.core.errors import ModelError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.zoo import as_model
from ekman_expressions.zoo.own_models import load_model

SIDE = 32


def explain(name, model, image, target, **settings):
    """The signed map of one image."""
    (found,) = EXPLAINERS[name].explain(model, image[None], [target], seed=0, **settings)
    return found.map


def random_image(seed=0):
    coarse = np.random.default_rng(seed).random((8, 8, 3), dtype=np.float32)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


def smooth_network(classes=6, *, seed=0, scale=1.0):
    from keras import layers

    first = layers.Conv2D(5, 5, strides=2, activation="softplus")
    model = chain(SIDE, first, layers.Flatten(), layers.Dense(classes, activation="softmax"))
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, 0.1 * scale, weight.shape) for weight in model.get_weights()])
    return model


def linear_network():
    """A network whose centred logit is linear, and the slopes of its first class, (H, W, 3)."""
    from keras import layers

    weights = np.random.default_rng(1).normal(0, 0.1, (SIDE * SIDE * 3, 2))
    model = chain(SIDE, layers.Flatten(), layers.Dense(2, activation="softmax"))
    model.set_weights([weights, np.zeros(2)])
    return model, (weights[:, 0] - weights[:, 1]).reshape(SIDE, SIDE, 3) / 2


@pytest.mark.parametrize(("score", "hidden"), [("probability", 0.0), ("contrast", 0.5)])
def test_integrated_gradients_sum_to_what_the_image_adds(score, hidden):
    model, image = smooth_network(), random_image()
    gray = np.full_like(image, hidden)
    predictions = model(np.stack([image, gray])).numpy().astype(np.float64)
    logits = np.log(predictions) - np.log(predictions).mean(1, keepdims=True)
    values = predictions if score == "probability" else logits
    for target in (0, 4):
        found = explain("integrated_gradients", model, image, target, hidden=hidden, steps=64, score=score)
        assert found.sum(dtype=np.float64) == pytest.approx(values[0, target] - values[1, target], abs=2e-5)


def test_a_linear_score_has_exact_integrated_gradients_with_any_steps_and_its_slope_as_smooth_grad():
    model, slopes = linear_network()
    image = random_image()
    found = explain("integrated_gradients", model, image, 0, steps=2, score="contrast")
    np.testing.assert_allclose(found, (slopes * image).sum(axis=-1), atol=1e-6)
    found = explain("smooth_grad", model, image, 0, copies=5)
    np.testing.assert_allclose(found, np.abs(slopes).max(axis=-1), atol=1e-6)


def test_integrated_gradients_double_their_steps_until_they_are_complete():
    # A sure network, whose probability turns from 0 to 1 within a short part of the way from black.
    model, image = smooth_network(scale=12, seed=2), random_image()
    black, whole = model(np.stack([np.zeros_like(image), image])).numpy()
    target = int(whole.argmax())
    row, change = EXPLAINERS["integrated_gradients"], float(whole[target] - black[target])

    def query(tolerance):
        settings = row.resolve(steps=2, tolerance=tolerance)
        return row.query(as_model(model), image, target, seed=0, landmarks=None, settings=settings)

    few, enough, never = map(query, (1e9, 0.05, 0.0))
    for found in (few, enough, never):
        missed = abs(found.map.sum(dtype=np.float64) - change) / abs(change)
        assert found.completeness == pytest.approx(missed, abs=1e-4)
    assert few.passes == 3 and few.completeness > 0.05 and not few.note
    assert enough.completeness <= 0.05 and 3 < enough.passes <= 257 and not enough.note
    assert never.passes == 257 and never.completeness < 1e-3
    assert never.note == "attributions do not sum to f(image) - f(baseline) within 0% after 256 steps"
    # Points that were there before are used again: so are straight 256 steps.
    straight = explain("integrated_gradients", model, image, target, steps=256)
    np.testing.assert_allclose(never.map, straight, atol=1e-6)


# --- Grad-CAM


def one_channel(read, *, stride=1, classes=2):
    """Convolution that passes red, green and blue on, of which the answer reads one."""
    from keras import layers

    first = layers.Conv2D(3, 1, strides=stride, use_bias=False)
    last = layers.Dense(classes, activation="softmax", use_bias=False)
    model = chain(SIDE, first, layers.GlobalAveragePooling2D(), last)
    matrix = np.zeros((3, classes))
    matrix[read, :2] = 2, -2
    model.set_weights([np.eye(3)[None, None], matrix])
    return model


def test_grad_cam_on_a_network_that_reads_one_channel_and_enlarged_about_the_middle_of_pixels():
    image = random_image()
    found = explain("grad_cam", one_channel(2), image, 0)
    # The centred logit is 2 * mean, whose gradient at each of N pixels is 2 / N.
    np.testing.assert_allclose(found, image[..., 2] * 2 / SIDE**2, rtol=1e-5)
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[8:16, 16:24] = 1
    found = explain("grad_cam", one_channel(0, stride=8), image, 0)
    centre = [np.average(places, weights=found) for places in np.indices(found.shape)]
    assert centre == pytest.approx((11.5, 19.5), abs=0.05)


def pooled(end):
    """A small network with global pooling, whose softmax is written in one of several ways."""
    import keras

    keras.utils.set_random_seed(3)
    images = keras.Input((SIDE, SIDE, 3))
    features = keras.layers.Conv2D(7, 5, strides=3, activation="relu", name="features")(images)
    dense = keras.layers.Dense(4, name="dense", activation="softmax" if end == "activation" else None)
    found = dense(keras.layers.GlobalAveragePooling2D()(features))
    if end == "layer":
        found = keras.layers.Softmax()(found)
    if end == "operation in a model":
        inner = keras.Model(images, keras.ops.softmax(found))
        images = keras.Input((SIDE, SIDE, 3))
        found = keras.ops.take(inner(images), [2, 0, 3, 1], axis=-1)
    return keras.Model(images, found)


@pytest.mark.parametrize("end", ["activation", "layer", "operation in a model", "logits"])
def test_grad_cam_is_that_of_the_logit(end):
    """With global pooling, the logit's gradient at each of N places is its weight of the feature, over N."""
    model, image = pooled(end), random_image()
    flat = pooled("activation")
    weights = flat.get_layer("dense").get_weights()[0]
    relu = np.maximum(_convolved(flat, image), 0)
    port = as_model(model, output="logits" if end == "logits" else "probabilities")
    for target in range(4):
        own = [2, 0, 3, 1][target] if end == "operation in a model" else target
        features, gradients = port.features(image, target)
        np.testing.assert_allclose(features, relu, atol=1e-5)
        np.testing.assert_allclose(gradients[1, 2] * relu[..., 0].size, weights[:, own], rtol=1e-4)
        _, contrast = port.features(image, target, score="contrast")
        centred = weights[:, own] - weights.mean(axis=1)
        np.testing.assert_allclose(contrast[1, 2] * relu[..., 0].size, centred, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(port.predict(image[None])[0].sum(), 1, rtol=1e-5)
    assert port.notes == []


def _convolved(model, image):
    kernel, bias = model.get_layer("features").get_weights()
    windows = np.lib.stride_tricks.sliding_window_view(image, (5, 5), axis=(0, 1))[::3, ::3]
    return np.einsum("hwcij,ijck->hwk", windows, kernel) + bias


def test_what_grad_cam_cannot_know_is_noted():
    import keras

    image, flattened = random_image(), as_model(smooth_network())
    flattened.features(image, 0)
    assert "no global pooling follows the last features" in flattened.notes[0]
    base = pooled("logits")
    positive = keras.ops.softplus(base.output)
    other = as_model(keras.Model(base.input, positive / keras.ops.sum(positive, axis=-1, keepdims=True)))
    _, logit = other.features(image, 0)
    _, contrast = other.features(image, 0, score="contrast")
    assert np.array_equal(logit, contrast) and "does not end in a softmax" in " ".join(other.notes)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_grad_cam_looks_inside_a_model_in_a_model(channels):
    inner = one_channel(0, classes=6)
    model = load_model(inner, classes=EXPRESSIONS, channels=channels).source
    assert not any("Conv" in type(layer).__name__ for layer in model.layers)
    image = random_image()
    nested = explain("grad_cam", model, image, 0)
    flat = explain("grad_cam", inner, image if channels == "rgb" else image[..., ::-1], 0)
    np.testing.assert_allclose(nested, flat, rtol=1e-5)
    assert nested.max() > 0
    assert np.array_equal(explain("grad_cam", model, image, 0, layer=inner.layers[0].name), nested)


def branched():
    import keras
    from keras import layers

    images = keras.Input((SIDE, SIDE, 3))
    first = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(images)
    left = layers.Conv2D(4, 3, padding="same", name="left")(first)
    last = layers.ReLU(name="last")(layers.Add(name="total")([first, left]))
    pooled = layers.MaxPooling2D(2)(layers.Dropout(0.5)(last))
    # Squeezed features of one pixel are convolved too, but are no features in space.
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(pooled)
    dense = layers.Conv2D(2, 1, name="classes")(squeezed)
    return keras.Model(images, layers.Softmax()(layers.Flatten()(dense)))


def test_the_layer_is_the_last_with_features_in_space_unless_it_is_named():
    model, image = branched(), random_image()
    default = explain("grad_cam", model, image, 0)
    assert np.array_equal(explain("grad_cam", model, image, 0, layer="last"), default)
    assert not np.allclose(explain("grad_cam", model, image, 0, layer="first"), default)
    with pytest.raises(SettingsError, match="has no layer 'classes' with features in space"):
        explain("grad_cam", model, image, 0, layer="classes")
    with pytest.raises(ModelError, match="convolutional layer"):
        explain("grad_cam", linear_network()[0], image, 0)


def test_a_model_that_is_not_differentiable_is_refused():
    import keras

    class Rounding(keras.layers.Layer):
        def call(self, flat):
            share = keras.ops.round(keras.ops.mean(flat, axis=1, keepdims=True))
            share = keras.ops.cast(keras.ops.cast(share, "int32"), "float32")
            return keras.ops.concatenate([share, 1 - share], axis=1)

    with pytest.raises(ModelError, match="differentiable steps"):
        explain("smooth_grad", chain(SIDE, keras.layers.Flatten(), Rounding()), random_image(), 0, copies=2)
