import logging

import numpy as np
import pytest

from ekman_expressions.core.errors import ModelError, SettingsError
from ekman_expressions.explainers.record import draw_samples, superpixels
from ekman_expressions.zoo.asking import Asker, perturb

SEGMENTS = np.arange(6).repeat(8).reshape(6, 8) % 6


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((6, 8, 3), dtype=np.float32)


def brightness(images):
    first = images.mean(axis=(1, 2, 3))
    return np.stack([first, 1 - first], axis=1)


def keras_model(*layers, shape=(6, 8, 3)):
    import keras

    keras.utils.set_random_seed(0)
    first = [keras.layers.Conv2D(8, 3, activation="relu"), *layers, keras.layers.Flatten()]
    return keras.Sequential([keras.Input(shape), *first, keras.layers.Dense(6, activation="softmax")])


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
            outputs = tf.numpy_function(check, [inputs], tf.float32)
            outputs.set_shape(inputs.shape)
            return outputs

    return Hungry()


# --- too little memory


def test_a_keras_model_out_of_memory_is_asked_about_half_as_many(image):
    seen = []
    model = keras_model(hungry_layer(10, seen))
    samples = draw_samples(6, 70, 0)
    asker = Asker(model, group=32)
    answers = asker.ask(image, SEGMENTS, samples)
    assert seen[:3] == [32, 16, 8] and set(seen[3:]) == {8} and asker.at_once == 8
    assert [note.split(" ", 1)[0] for note in asker.notes] == ["out", "out"]
    assert "with 16 images at a time, so from there on 8" in asker.notes[-1]
    # No earlier answer is mixed in: all are those of calls of 8.
    assert np.array_equal(answers, perturb(keras_model(), image, SEGMENTS, samples, group=8))
    seen.clear()
    asker.ask(image, SEGMENTS, samples)
    assert set(seen) == {8} and len(asker.notes) == 2


def test_too_little_memory_for_one_image(image):
    asker = Asker(keras_model(hungry_layer(0, [])), group=4)
    with pytest.raises(ModelError, match="not enough memory to ask the model about a single image"):
        asker.ask(image, SEGMENTS, draw_samples(6, 9, 0))


def test_a_callable_out_of_memory(image):
    def model(images):
        if len(images) > 5:
            raise MemoryError
        return brightness(images)

    asker = Asker(model, batch_size=64)
    samples = draw_samples(6, 70, 0)
    assert np.array_equal(asker.ask(image, SEGMENTS, samples), perturb(brightness, image, SEGMENTS, samples))
    assert asker.at_once == 4 and len(asker.notes) == 4


def test_other_errors_of_a_model_come_through(image):
    def model(images):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        perturb(model, image, SEGMENTS, draw_samples(6, 3, 0))


# --- the group


@pytest.mark.parametrize("group", [1, 5, 32])
def test_answers_in_groups_of_one_size_do_not_depend_on_number_or_order(image, group):
    model = keras_model()
    samples = draw_samples(6, 43, 0)
    answers = perturb(model, image, SEGMENTS, samples, group=group)
    turned = np.random.default_rng(1).permutation(len(samples))
    again = perturb(model, image, SEGMENTS, samples[turned][:20], group=group)
    assert np.array_equal(again, answers[turned][:20])
    np.testing.assert_allclose(answers, perturb(model, image, SEGMENTS, samples, group=7), atol=1e-6)


def test_many_models_do_not_make_tensorflow_warn_of_retracing(image, caplog):
    import tensorflow as tf

    samples = draw_samples(6, 3, 0)
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING, logger=logger.name):
            for _ in range(12):
                perturb(keras_model(), image, SEGMENTS, samples)
    finally:
        logger.removeHandler(caplog.handler)
    assert not [record.getMessage() for record in caplog.records if "retracing" in record.getMessage()]


# --- precision


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_half_precision_is_near_and_leaves_the_model_as_it_was(image, precision, bits):
    import keras

    model = keras_model(keras.layers.BatchNormalization(), keras.layers.Rescaling(2.0))
    samples = draw_samples(6, 40, 0)
    whole = perturb(model, image, SEGMENTS, samples)
    half = perturb(model, image, SEGMENTS, samples, precision=precision)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - whole).max() < 2.0 ** (3 - bits)
    # Less than float32 rounding, so that it did compute in another type.
    assert np.abs(half - whole).max() > 1e-6
    assert np.array_equal(perturb(model, image, SEGMENTS, samples), whole)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_half_precision_of_a_network_of_the_study():
    import keras

    from ekman_expressions.zoo import NETWORKS

    keras.utils.set_random_seed(0)
    model = NETWORKS["WeiNet"].build(weights="none")
    image = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    segments = np.arange(64).repeat(64).reshape(64, 64) // 16
    samples = draw_samples(4, 8, 0)
    half = perturb(model, image, segments, samples, precision="bfloat16", group=8)
    np.testing.assert_allclose(half, perturb(model, image, segments, samples, group=8), atol=0.02)
    assert len(np.unique(half, axis=0)) > 2


def test_half_precision_that_cannot_be(image):
    import keras

    class Subclassed(keras.Model):
        def call(self, inputs):
            return keras.ops.softmax(keras.ops.mean(inputs, axis=(1, 2)))

    with pytest.raises(ModelError, match=r'explanation\.precision = "float32"'):
        perturb(Subclassed(), image, SEGMENTS, draw_samples(6, 3, 0), precision="float16")
    with pytest.raises(SettingsError, match="needs a Keras model, but got function"):
        Asker(brightness, precision="float16")
    with pytest.raises(SettingsError, match="'precision'.*'float64'"):
        Asker(brightness, precision="float64")
    with pytest.raises(SettingsError, match="'group'"):
        Asker(keras_model(), group=0)


# --- small images


def test_an_image_with_as_many_pixels_as_superpixels():
    labels = superpixels(np.random.default_rng(0).random((4, 4, 3), dtype=np.float32), segments=16)
    assert 1 <= labels.max() + 1 <= 16
    answers = perturb(brightness, np.full((4, 4, 3), 0.5), labels, np.ones((2, labels.max() + 1), bool))
    assert answers.shape == (2, 2)
