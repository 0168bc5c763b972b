"""The port to a model: what it is shown, batches of fixed size, memory, precision, what is refused."""

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, ModelError, SettingsError
from ekman_expressions.zoo.model import GROUP, as_model, background

SEGMENTS = np.arange(6).repeat(8).reshape(6, 8) % 6


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((6, 8, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def network():
    """A Keras model that no test changes."""
    return keras_model()


def samples_of(count, superpixels=6, seed=0):
    samples = np.random.default_rng(seed).random((count, superpixels)) < 0.5
    samples[0] = True
    return samples


def brightness(images):
    first = images.mean(axis=(1, 2, 3))
    return np.stack([first, 1 - first], axis=1)


def keras_model(*layers, shape=(6, 8, 3), classes=6, activation="softmax"):
    import keras

    keras.utils.set_random_seed(0)
    first = [keras.layers.Conv2D(8, 3, activation="relu"), *layers, keras.layers.Flatten()]
    return keras.Sequential([keras.Input(shape), *first, keras.layers.Dense(classes, activation=activation)])


def hungry_layer(most, seen):
    """A layer on a device with memory for at most so many images."""
    import keras
    import tensorflow as tf

    def check(inputs):
        seen.append(len(inputs))
        if len(inputs) > most:
            raise MemoryError(f"no memory for {len(inputs)} images")
        return inputs

    class Hungry(keras.layers.Layer):
        def call(self, inputs):
            # What is added has no gradient.
            checked = tf.numpy_function(check, [inputs], tf.float32)
            checked.set_shape(inputs.shape)
            return inputs + 0 * checked

    return Hungry()


def shown_copies(image, samples, behind, segments=SEGMENTS):
    shown = []

    def look(images):
        shown.append(images)
        return np.full((len(images), 2), 0.5)

    as_model(look).predict_hidden(image, segments, samples, behind)
    assert {len(images) for images in shown} == {GROUP}
    return np.concatenate(shown)[: len(samples)]


@pytest.mark.parametrize("hidden", [0, 0.25, "mean", "blur", "superpixel_mean", lambda image: 1 - image])
def test_hidden_superpixels_show_the_background_and_kept_ones_the_image(image, network, hidden):
    samples = samples_of(40)
    behind = background(image, hidden, SEGMENTS)
    if hidden == "superpixel_mean":
        assert np.abs(behind[SEGMENTS == 1] - image[SEGMENTS == 1].mean(axis=0)).max() < 1e-6
    assert behind.shape == image.shape and behind.dtype == np.float32
    copies = shown_copies(image, samples, hidden)
    for copy, kept in zip(copies, samples, strict=True):
        shown = kept[SEGMENTS]
        assert np.array_equal(copy[shown], image[shown])
        assert np.array_equal(copy[~shown], behind[~shown])
    found = as_model(network).predict_hidden(image, SEGMENTS, samples, hidden)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, network.predict_on_batch(copies), atol=1e-6)


def test_masked_copies_are_mixtures(image, network):
    masks = np.random.default_rng(1).random((30, 6, 8), dtype=np.float32)
    mixed = 0.25 + masks[..., None] * (image - np.float32(0.25))
    for model in (as_model(brightness), as_model(network)):
        np.testing.assert_allclose(model.predict_masked(image, masks, 0.25), model.predict(mixed), atol=1e-6)


def test_the_mean_is_of_each_channel_and_the_blur_spreads_a_point_as_a_gaussian(image):
    image = image * np.float32([1, 0.5, 0.1])
    assert np.ptp(background(image, "mean"), axis=(0, 1)).max() == 0
    np.testing.assert_allclose(background(image, "mean")[0, 0], image.mean(axis=(0, 1)), rtol=1e-5)
    flat = np.full((40, 60, 3), 0.3, np.float32)
    np.testing.assert_allclose(background(flat, "blur"), 0.3, rtol=1e-6)
    point = np.zeros((101, 161, 3), np.float32)
    point[50, 80, 1] = 1
    blurred = background(point, "blur")
    # A twentieth of the shorter side.
    assert blurred[50, 80, 1] == pytest.approx(1 / (2 * np.pi * 5.05**2), rel=1e-2)
    assert blurred[..., 1].sum() == pytest.approx(1, abs=1e-3)
    assert not blurred[..., [0, 2]].any()


def test_any_picture_of_the_same_size_may_lie_behind(image):
    picture = np.random.default_rng(1).random(image.shape)
    copies = shown_copies(image, np.zeros((1, 6), bool), picture)
    assert np.array_equal(copies[0], picture.astype(np.float32))
    for wrong in (np.zeros((6, 9, 3)), np.full((6, 8, 3), 1.1), np.full((6, 8, 3), np.nan)):
        with pytest.raises(DataError, match="A background must"):
            background(image, wrong)
    for wrong in (-0.1, "grey", None, True, float("nan")):
        with pytest.raises(SettingsError, match="hidden"):
            background(image, wrong)


def test_predictions_depend_neither_on_number_nor_on_order_to_the_bit(image):
    import keras

    source = keras_model(keras.layers.BatchNormalization())
    # Statistics other than those of a fresh layer, so that the mode matters.
    source(np.random.default_rng(2).random((8, *image.shape), dtype=np.float32), training=True)
    samples, every = samples_of(43), []
    turned = np.random.default_rng(1).permutation(len(samples))
    for group in (1, 5, 32):
        model = as_model(source, group=group)
        found = model.predict_hidden(image, SEGMENTS, samples)
        assert np.array_equal(model.predict_hidden(image, SEGMENTS, samples[turned][:20]), found[turned][:20])
        every.append(found)
    np.testing.assert_allclose(every[1:], every[:1] * 2, atol=1e-6)


def test_when_memory_is_short_batches_are_halved_and_stay_so(image, network):
    seen = []
    samples = samples_of(70)
    model = as_model(keras_model(hungry_layer(10, seen)), group=32)
    found = model.predict_hidden(image, SEGMENTS, samples)
    assert seen[:3] == [32, 16, 8] and set(seen[3:]) == {8}
    assert len(model.notes) == 2 and "with 16 images at a time, so from there on 8" in model.notes[-1]
    # No earlier prediction is mixed in: all are those of batches of 8.
    assert np.array_equal(found, as_model(network, group=8).predict_hidden(image, SEGMENTS, samples))
    seen.clear()
    model.predict_masked(image, np.ones((9, 6, 8)))
    assert set(seen) == {8} and len(model.notes) == 2
    # Gradients take more memory, so theirs are halved by themselves.
    faces = image[None].repeat(20, axis=0)
    found, expected = (of.gradients(faces, 0)[1] for of in (model, as_model(network, group=8)))
    assert seen[-3:] == [8] * 3 and "so from there on 8" in model.notes[-1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    starved = as_model(keras_model(hungry_layer(0, [])), group=4)
    with pytest.raises(ModelError, match="not enough memory for predictions .* for a single image"):
        starved.predict_hidden(image, SEGMENTS, samples)


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_half_precision_is_near_and_leaves_the_model_as_it_was(image, precision, bits):
    import keras

    model = keras_model(keras.layers.BatchNormalization(), keras.layers.Rescaling(2.0))
    samples = samples_of(40)
    whole = as_model(model).predict_hidden(image, SEGMENTS, samples)
    half = as_model(model, precision=precision).predict_hidden(image, SEGMENTS, samples)
    assert half.dtype == np.float32
    # More than float32 rounding, so that it did compute in another type.
    assert 1e-6 < np.abs(half - whole).max() < 2.0 ** (3 - bits)
    assert np.array_equal(as_model(model).predict_hidden(image, SEGMENTS, samples), whole)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_half_precision_that_cannot_be(image):
    import keras

    class Subclassed(keras.Model):
        def call(self, inputs):
            return keras.ops.softmax(keras.ops.mean(inputs, axis=(1, 2)))

    with pytest.raises(ModelError, match="Use precision = 'float32'"):
        as_model(Subclassed(), precision="float16").predict_hidden(image, SEGMENTS, samples_of(3))
    with pytest.raises(SettingsError, match="needs a Keras model or torch module, but got function"):
        as_model(brightness, precision="float16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((6, 8, 3), np.uint8)}, "float in"),
        ({"segments": SEGMENTS[:, :4]}, "'segments' has shape"),
        ({"segments": SEGMENTS * 2}, "without gaps"),
        ({"samples": np.ones((3, 5), bool)}, r"\(n, 6\)"),
    ],
)
def test_arguments_that_do_not_fit(image, change, message):
    arguments = {"image": image, "segments": SEGMENTS, "samples": np.ones((3, 6), bool)}
    with pytest.raises(DataError, match=message):
        as_model(brightness).predict_hidden(**(arguments | change))


def test_what_is_no_model_and_what_has_no_gradients(image):
    with pytest.raises(SettingsError, match="got str. Files are read by load_model"):
        as_model("WeiNet")
    with pytest.raises(ModelError, match="load_model"):
        as_model(keras_model(shape=(9, 8, 1)))
    model = as_model(brightness)
    assert not model.has_gradients and as_model(model) is model and model.name == "brightness"
    with pytest.raises(ModelError, match="brightness only predicts.*such as 'lime'"):
        model.gradients(image[None], 0)
