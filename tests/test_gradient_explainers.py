"""Known answers of the explainers that need gradients, and where Grad-CAM looks."""

import gc
import weakref

import numpy as np
import pytest

from ekman_expressions.core.errors import ModelError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.explainers.grad_cam import flat_layers, last_features
from ekman_expressions.explainers.gradients import input_gradients
from ekman_expressions.explainers.integrated_gradients import integrated_gradients
from ekman_expressions.explainers.record import superpixels
from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.zoo.own_models import load_model

SIDE = 32


def random_image(seed=0):
    coarse = np.random.default_rng(seed).random((8, 8, 3), dtype=np.float32)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


def smooth_network(classes=6, *, seed=0, scale=1.0):
    import keras

    random = np.random.default_rng(seed)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(5, 5, strides=2, activation="softplus"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.set_weights([random.normal(0, 0.1 * scale, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("score", ["probability", "logit"])
@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_integrated_gradients_sum_to_what_the_image_adds(score, hidden):
    model, image = smooth_network(), random_image()
    gray = np.full_like(image, hidden)
    answers = model(np.stack([image, gray])).numpy().astype(np.float64)
    values = answers if score == "probability" else np.log(answers) - np.log(answers).mean(1, keepdims=True)
    for target in (0, 4):
        found = integrated_gradients(model, image, target, hidden=hidden, steps=64, score=score)
        assert found.sum() == pytest.approx(values[0, target] - values[1, target], abs=2e-5)


def test_integrated_gradients_of_a_linear_score_are_exact_with_any_steps():
    import keras

    weights = np.random.default_rng(1).normal(0, 0.1, (SIDE * SIDE * 3, 2))
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    )
    model.set_weights([weights, np.zeros(2)])
    image = random_image()
    found = integrated_gradients(model, image, 0, steps=2, score="logit")
    slopes = (weights[:, 0] - weights[:, 1]).reshape(SIDE, SIDE, 3) / 2
    np.testing.assert_allclose(found, slopes * image, atol=1e-6)


def test_integrated_gradients_summed_over_superpixels_keep_their_sum():
    model, image = smooth_network(), random_image()
    options = {"seed": 0, "steps": 20, "positive": False}
    (pixels,) = EXPLAINERS["integrated_gradients"](model, image[None], [1], **options)
    (summed,) = EXPLAINERS["integrated_gradients"](
        model, image[None], [1], **options, superpixels=True, segments=9
    )
    labels = superpixels(image, segments=9)
    for label in range(labels.max() + 1):
        inside = labels == label
        assert np.ptp(summed[inside]) == 0
        assert summed[inside][0] == pytest.approx(pixels[inside].sum(dtype=np.float64), abs=1e-6)


def test_gradients_are_slopes_and_do_not_depend_on_the_batch():
    model, image = smooth_network(), random_image()
    images = np.stack([random_image(seed) for seed in range(11)])
    answers, gradients = input_gradients(model, images, 2)
    alone = input_gradients(model, images[4:5], 2)
    assert np.array_equal(alone[0][0], answers[4]) and np.array_equal(alone[1][0], gradients[4])
    step = np.zeros_like(image)
    step[7, 9, 1] = 0.05
    more, less = model(np.stack([images[0] + step, images[0] - step])).numpy()[:, 2]
    assert gradients[0, 7, 9, 1] == pytest.approx((more - less) / 0.1, rel=0.02, abs=1e-6)


def test_the_logit_does_not_saturate():
    model, image = smooth_network(scale=6), random_image()
    target = int(model(image[None]).numpy().argmax())
    assert model(image[None]).numpy().max() > 0.9999
    _, saturated = input_gradients(model, image[None], target)
    _, logit = input_gradients(model, image[None], target, score="logit")
    assert np.abs(logit).max() > 1000 * np.abs(saturated).max()


def test_smooth_grad_of_a_linear_score_is_its_slope():
    import keras

    weights = np.random.default_rng(1).normal(0, 0.1, (SIDE * SIDE * 3, 2))
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    )
    model.set_weights([weights, np.zeros(2)])
    (found,) = EXPLAINERS["smooth_grad"](model, random_image()[None], [0], seed=0, copies=5)
    slopes = (weights[:, 0] - weights[:, 1]).reshape(SIDE, SIDE, 3) / 2
    np.testing.assert_allclose(found, np.abs(slopes).max(axis=-1), atol=1e-6)


# --- Grad-CAM


def one_channel(read, *, stride=1, classes=2):
    """Convolution that passes red, green and blue on, of which the answer reads one."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(3, 1, strides=stride, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax", use_bias=False),
        ]
    )
    matrix = np.zeros((3, classes))
    matrix[read, :2] = 2, -2
    model.set_weights([np.eye(3)[None, None], matrix])
    return model


@pytest.mark.parametrize("read", [0, 1, 2])
def test_grad_cam_on_a_network_that_reads_one_channel(read):
    image = random_image()
    (found,) = EXPLAINERS["grad_cam"](one_channel(read), image[None], [0], seed=0)
    # The centred logit is 2 * mean, whose gradient at each of N pixels is 2 / N.
    np.testing.assert_allclose(found, image[..., read] * 2 / SIDE**2, rtol=1e-5)
    (against,) = EXPLAINERS["grad_cam"](one_channel(read), image[None], [1], seed=0)
    assert not against.any()


def test_grad_cam_is_enlarged_about_the_middle_of_pixels():
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[8:16, 16:24] = 1
    (found,) = EXPLAINERS["grad_cam"](one_channel(0, stride=8), image[None], [0], seed=0)
    rows, columns = np.indices(found.shape)
    centre = (found * rows).sum() / found.sum(), (found * columns).sum() / found.sum()
    assert centre == pytest.approx((11.5, 19.5), abs=0.05)


@pytest.mark.parametrize(("own", "channel"), [({}, 1), ({"channels": "bgr"}, 1), ({"channels": "bgr"}, 0)])
def test_grad_cam_looks_inside_a_model_in_a_model(own, channel):
    inner = one_channel(channel, classes=6)
    model = load_model(inner, classes=EXPRESSIONS, **own).source
    assert not any("Conv" in type(layer).__name__ for layer in model.layers)
    image = random_image()
    (nested,) = EXPLAINERS["grad_cam"](model, image[None], [0], seed=0)
    seen = image[..., ::-1] if own else image
    (flat,) = EXPLAINERS["grad_cam"](inner, seen[None], [0], seed=0)
    np.testing.assert_allclose(nested, flat, rtol=1e-5)
    assert nested.max() > 0 and last_features(model).name == inner.layers[0].name
    named = EXPLAINERS["grad_cam"](model, image[None], [0], seed=0, layer=inner.layers[0].name)
    assert np.array_equal(named[0], nested)


def branched():
    import keras

    images = keras.Input((SIDE, SIDE, 3))
    first = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="first")(images)
    left = keras.layers.Conv2D(4, 3, padding="same", name="left")(first)
    total = keras.layers.Add(name="total")([first, left])
    last = keras.layers.ReLU(name="last")(total)
    pooled = keras.layers.MaxPooling2D(2)(keras.layers.Dropout(0.5)(last))
    # Squeezed features of one pixel are convolved too, but are no features in space.
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True)(pooled)
    dense = keras.layers.Conv2D(2, 1, name="classes")(squeezed)
    return keras.Model(images, keras.layers.Softmax()(keras.layers.Flatten()(dense)))


def test_the_layer_is_the_last_with_features_in_space():
    assert last_features(branched()).name == "last"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("VGG16", "block5_conv3"),
        ("ResNet50", "conv5_block3_out"),
        ("InceptionV3", "mixed10"),
        ("Xception", "block14_sepconv2_act"),
        ("EfficientNetV2B0", "top_activation"),
    ],
)
def test_the_usual_layers_of_keras_networks(network, layer):
    from ekman_expressions.zoo import NETWORKS

    assert last_features(NETWORKS[network].build()).name == layer


def test_models_without_features_in_space_or_gradients():
    import keras

    flat = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    )
    image = random_image()[None]
    with pytest.raises(ModelError, match="with a convolutional layer.*shows none"):
        EXPLAINERS["grad_cam"](flat, image, [0], seed=0)
    with pytest.raises(SettingsError, match="The layer 'classes' of .* has no features in space"):
        EXPLAINERS["grad_cam"](branched(), image, [0], seed=0, layer="classes")
    steps = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), _Rounding()])
    with pytest.raises(ModelError, match="differentiable steps"):
        EXPLAINERS["smooth_grad"](steps, image, [0], seed=0, copies=2)


def test_the_named_layer_is_used():
    model = branched()
    assert [layer.name for layer in flat_layers(model)][:2] == [model.layers[0].name, "first"]
    image = random_image()[None]
    first = EXPLAINERS["grad_cam"](model, image, [0], seed=0, layer="first", positive=False)
    last = EXPLAINERS["grad_cam"](model, image, [0], seed=0, positive=False)
    assert not np.allclose(first, last)


def test_no_explainer_keeps_a_model_alive():
    model = one_channel(0)
    for name in ("grad_cam", "smooth_grad", "rise", "integrated_gradients"):
        few = {"smooth_grad": {"copies": 1}, "rise": {"masks": 2}, "integrated_gradients": {"steps": 2}}
        EXPLAINERS[name](model, random_image()[None], [0], seed=0, **few.get(name, {}))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def _Rounding():
    import keras

    class Rounding(keras.layers.Layer):
        def call(self, flat):
            share = keras.ops.round(keras.ops.mean(flat, axis=1, keepdims=True))
            share = keras.ops.cast(keras.ops.cast(share, "int32"), "float32")
            return keras.ops.concatenate([share, 1 - share], axis=1)

    return Rounding()
