"""The contract that every explainer keeps, as one table; what all must find; a new one in the registry."""

import gc
import weakref

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, ModelError, SettingsError
from ekman_expressions.explainers import EXPLAINERS, Explainer, Option, Stored, StoredMap
from ekman_expressions.facespace.warp import POINTS

SIDE = 48
RECORDS = {"samples": 60, "segments": 12}
FACE = np.float32(POINTS[:68] / (224, 275))
FAST = {
    "lime": RECORDS,
    "kernel_shap": RECORDS,
    "superpixel_rise": RECORDS,
    "rise": {"masks": 70, "cells": 5},
    "occlusion": {"patch": 0.3, "stride": 0.15},
    "grad_cam": {},
    "integrated_gradients": {"steps": 11},
    "smooth_grad": {"copies": 10},
    "facial_regions": {"samples": 80},
    "causal": {"samples": 80, "hidden": 0.0},
}
GRADIENTS = sorted(name for name, row in EXPLAINERS.items() if row.gradients)
CALLABLES = sorted(set(EXPLAINERS) - set(GRADIENTS))


def network(*, side=SIDE, activation="softmax", most=None):
    """A small Keras network of six classes; for calls of more than `most` images memory is short."""
    import keras
    import tensorflow as tf

    def check(images):
        if len(images) > most:
            raise MemoryError("no more")
        return images

    class Limited(keras.layers.Layer):
        def call(self, images):
            outputs = images + 0 * tf.numpy_function(check, [images], tf.float32)
            outputs.set_shape(images.shape)
            return outputs

    random = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((side, side, 3)),
            *([] if most is None else [Limited()]),
            keras.layers.Conv2D(6, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation=activation),
        ]
    )
    model.set_weights([random.normal(0, 0.15, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def images():
    coarse = np.random.default_rng(0).random((3, 12, 12, 3), dtype=np.float32)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(params=sorted(EXPLAINERS))
def name(request):
    return request.param


def explain(name, model, images, targets, *, seed=1, **changes):
    """The signed maps of an explainer, (N, H, W)."""
    settings = FAST[name] | changes
    if EXPLAINERS[name].landmarks:
        settings = {"landmarks": np.repeat(FACE[None], len(images), axis=0)} | settings
    return np.stack(
        [found.map for found in EXPLAINERS[name].explain(model, images, targets, seed=seed, **settings)]
    )


def colours(images):
    """Six classes: shares of red, green, blue and black in the left and right half."""
    red, green, blue = images.mean(axis=(1, 2)).T
    left = images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3))
    odds = np.exp(np.stack([red, green, blue, left, 1 - left, red * 0], axis=1))
    return odds / odds.sum(axis=1, keepdims=True)


def test_every_explainer_is_in_the_table_and_says_what_it_needs():
    assert set(EXPLAINERS) == set(FAST)
    for name, row in EXPLAINERS.items():
        assert row.name == name and row.records_of in EXPLAINERS and row.title and row.source and row.cost
        assert EXPLAINERS[row.records_of].query is row.query
        assert not set(row.shared) & set(row.options)


def test_shape_type_and_whose_it_is(name, model, images):
    settings = FAST[name] | ({"landmarks": np.stack([FACE] * 3)} if EXPLAINERS[name].landmarks else {})
    for found, target in zip(
        EXPLAINERS[name].explain(model, images, [0, 3, 5], seed=1, **settings), (0, 3, 5), strict=True
    ):
        assert found.map.shape == (SIDE, SIDE) and found.map.dtype == np.float32
        assert np.isfinite(found.map).all() and found.map.any()
        assert (found.explainer, found.target) == (name, target) and found.passes > 0


def test_a_batch_of_one_other_containers_and_another_order(name, model, images):
    import tensorflow as tf

    maps = explain(name, model, images, np.array([0, 3, 5]))
    assert np.array_equal(explain(name, model, images[1:2], (3,)), maps[1:2])
    for given in (list(images), tf.constant(images), images.astype(np.float64)):
        assert np.array_equal(explain(name, model, given, tf.constant([0, 3, 5])), maps)
    np.random.default_rng().random()
    assert np.array_equal(explain(name, model, images[::-1], [5, 3, 0]), maps[::-1])


@pytest.mark.parametrize("name", sorted({"lime", "rise", "smooth_grad", "facial_regions"}))
def test_the_seed_decides(name, model, images):
    maps = explain(name, model, images, [0, 3, 5], seed=1)
    assert not np.array_equal(explain(name, model, images, [0, 3, 5], seed=2), maps)


@pytest.mark.parametrize("name", CALLABLES)
def test_any_callable_will_do(name, images):
    queried = []

    def model(copies):
        queried.append(len(copies))
        return colours(copies)

    maps = explain(name, model, images, [0, 3, 5])
    assert maps.shape == (3, SIDE, SIDE) and maps[:2].any(axis=(1, 2)).all()
    landmarks = {"landmarks": FACE[None]} if EXPLAINERS[name].landmarks else {}
    queried.clear()
    (found,) = EXPLAINERS[name].explain(model, images[:1], [0], seed=0, **FAST[name], **landmarks)
    # The last group of masks may be filled up.
    assert found.passes <= sum(queried) < found.passes + 32


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_callable_has_no_gradients(name, images):
    with pytest.raises(ModelError, match="gradients"):
        explain(name, colours, images, [0, 3, 5])


def test_a_constant_model_has_nothing_to_explain(name, images):
    model = network()
    model.layers[-1].set_weights([np.zeros_like(weight) for weight in model.layers[-1].get_weights()])
    assert not explain(name, model, images[:1], [0]).any()


def test_predictions_that_are_no_probabilities_are_refused_in_words(name, images):
    with pytest.raises(ModelError, match=r"no probabilities \(logits\?\).*Add a softmax"):
        explain(name, network(activation=None), images[:1], [0])
    broken = network()
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    with pytest.raises(ModelError, match="NaN or infinity"):
        explain(name, broken, images[:1], [0])


def test_images_of_another_size_are_refused(name, model, images):
    with pytest.raises((ModelError, DataError), match=r"\(48, 48, 3\).*\(44, 44, 3\)"):
        explain(name, model, images[:1, 2:-2, 2:-2], [0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"targets": [0, 1]}, DataError, "one class index for each of 3 images"),
        ({"targets": [0, 1, 6]}, SettingsError, r"'target'.*\[0, 5\], but got 6"),
        ({"images": [np.zeros((48, 48, 3)), np.zeros((44, 44, 3))]}, DataError, "all of one size"),
        ({"images": np.full((3, 48, 48, 3), 255.0)}, DataError, r"in \[0, 1\].*Divide 8-bit images by 255"),
        ({"seed": "now"}, SettingsError, "'seed'"),
        ({"model": "SongNet"}, SettingsError, "str"),
    ],
)
def test_bad_arguments(name, model, images, change, error, message):
    arguments = {"model": model, "images": images, "targets": [0, 1, 2], "seed": 0} | change
    with pytest.raises(error, match=message):
        explain(name, **arguments)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lime", {"hidden": 1.5}, r"'hidden'.*\[0, 1\], but got 1.5"),
        ("rise", {"masks": 0}, "'masks'.*>= 2, but got 0"),
        ("grad_cam", {"layer": "tense"}, "no layer 'tense'"),
        ("facial_regions", {"landmarks": np.zeros((3, 68, 2))}, "must span a face"),
    ],
)
def test_bad_settings(name, settings, message, model, images):
    with pytest.raises((SettingsError, DataError), match=message):
        explain(name, model, images, [0, 1, 2], **settings)


@pytest.mark.parametrize("name", ["kernel_shap", "superpixel_rise"])
def test_estimators_query_the_same_samples_as_lime(name, images):
    seen = {"lime": [], name: []}
    for explainer, totals in seen.items():

        def model(copies, totals=totals):
            totals.append(copies.sum(dtype=np.float64))
            return colours(copies)

        explain(explainer, model, images, [0, 1, 2])
    assert seen["lime"] == seen[name]


def test_no_explainer_keeps_a_model_alive(images):
    model = network()
    for name in EXPLAINERS:
        explain(name, model, images[:1], [0])
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


# --- when memory is short


def test_fewer_images_at_a_time_give_the_same_map(name, images):
    whole = explain(name, network(most=100), images[:1], [1])
    halved = explain(name, network(most=3), images[:1], [1])
    np.testing.assert_allclose(halved, whole, atol=2e-5 * np.abs(whole).max())


# --- a new one: two functions and a row


def red_share(model, image, target, *, seed, landmarks, settings):
    """Each pixel's red, as far as the model predicts the class."""
    share = model.predict_hidden(image, np.zeros(image.shape[:2], int), np.ones((1, 1), bool), image)[
        0, target
    ]
    found = (settings["strength"] * share * image[..., 0]).astype(np.float32)
    return StoredMap(image_id="", model=model.name, target=target, map=found, passes=1)


TOY = Explainer(
    name="toy",
    title="Toy",
    source="this test",
    cost="one",
    query=red_share,
    options={"strength": Option(default=1.0, low=0)},
)


def test_a_new_explainer_is_two_functions_and_a_row(images, tmp_path, monkeypatch):
    monkeypatch.setitem(EXPLAINERS, "toy", TOY)
    (found,) = EXPLAINERS["toy"].explain(colours, images[:1], [2], seed=0, strength=2.0)
    share = colours(images[:1])[0, 2]
    np.testing.assert_allclose(found.map, 2 * share * images[0, ..., 0], rtol=1e-6)
    assert (found.explainer, found.target, found.passes) == ("toy", 2, 1)
    with pytest.raises(SettingsError, match="'strength'.*>= 0, but got -1"):
        EXPLAINERS["toy"].explain(colours, images[:1], [2], seed=0, strength=-1)
    # What is kept can be read without knowing which explainer made it.
    stored = StoredMap(image_id="a", model="m", target=2, map=found.map, passes=1)
    stored.save(tmp_path / "a.npz")
    again = TOY.estimate(Stored.load(tmp_path / "a.npz"), 2, TOY.resolve())
    assert np.array_equal(again.map, found.map) and (again.image_id, again.model) == ("a", "m")
    with pytest.raises(DataError, match="explains class 2, but the class wanted is 1"):
        TOY.estimate(stored, 1, TOY.resolve())


# --- known answers


def reading_a_square(width):
    """A network of two classes that reads how much brighter than 0.6 a square of its input is."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((SIDE, width, 3)),
            keras.layers.Conv2D(1, 1, activation="relu"),
            keras.layers.Cropping2D(((12, SIDE - 24), (24, width - 36))),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.set_weights(
        [np.full((1, 1, 3, 1), 1 / 3), np.array([-0.6]), np.array([[8.0, -8.0]]), np.array([-1.0, 1.0])]
    )
    return model


@pytest.mark.parametrize("width", [SIDE, 60])
def test_every_explainer_finds_a_planted_region(name, width):
    image = np.full((1, SIDE, width, 3), 0.6, np.float32)
    image[:, 12:24, 24:36] = 0.9
    more = {
        # Square, equal superpixels of 12 pixels, and enough samples for each.
        **dict.fromkeys(("lime", "kernel_shap", "superpixel_rise"), {"segments": width // 3, "samples": 600}),
        "rise": {"masks": 4000, "cells": 8},
        "occlusion": {"patch": 0.25, "stride": 0.125},
        "smooth_grad": {"noise": 0.05},
        "facial_regions": {"samples": 400},
        "causal": {"samples": 1024},
    }
    (found,) = np.maximum(explain(name, reading_a_square(width), image, [0], **more.get(name, {})), 0)
    inside = np.zeros((SIDE, width), bool)
    inside[12:24, 24:36] = True
    # A region of the face may be larger than the square, and blurred masks reach beyond it.
    blurred = name in ("rise", "occlusion", "facial_regions", "causal")
    assert found[inside].mean() > (3 if blurred else 30) * max(found[~inside].mean(), 1e-9)
    assert inside.flat[found.argmax()] or name in ("facial_regions", "causal")
