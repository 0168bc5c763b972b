"""The contract that every explainer keeps, as one table, and what all must find."""

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, ModelError, SettingsError
from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.explainers.specs import SPECS
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
}
GRADIENTS = sorted(name for name, spec in SPECS.items() if spec.gradients)
CALLABLES = sorted(set(SPECS) - set(GRADIENTS))


def network(*, side=SIDE, activation="softmax", kernel=None):
    """A small Keras network of six classes with two convolutions and random weights."""
    import keras

    random = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((side, side, 3)),
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
    settings = FAST[name] | changes
    if SPECS[name].landmarks:
        settings = {"landmarks": np.repeat(FACE[None], len(images), axis=0)} | settings
    return EXPLAINERS[name](model, images, targets, seed=seed, **settings)


def colours(images):
    """Six classes: shares of red, green, blue and black in the left and right half."""
    red, green, blue = images.mean(axis=(1, 2)).T
    left = images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3))
    odds = np.exp(np.stack([red, green, blue, left, 1 - left, red * 0], axis=1))
    return odds / odds.sum(axis=1, keepdims=True)


class Counting:
    """A model that counts the images it is given."""

    def __init__(self):
        self.images = 0

    def __call__(self, images):
        self.images += len(images)
        return colours(images)


def test_every_explainer_is_described_and_in_the_table():
    assert set(EXPLAINERS) == set(SPECS) == set(FAST)


def test_shape_type_and_sign(name, model, images):
    maps = explain(name, model, images, [0, 3, 5])
    assert maps.shape == (3, SIDE, SIDE) and maps.dtype == np.float32
    assert np.isfinite(maps).all() and maps.min() >= 0
    signed = explain(name, model, images, [0, 3, 5], positive=False)
    assert signed.any(axis=(1, 2)).all()
    assert np.array_equal(np.maximum(signed, 0), maps)


def test_a_batch_of_one_and_other_containers(name, model, images):
    import tensorflow as tf

    maps = explain(name, model, images, np.array([0, 3, 5]))
    assert np.array_equal(explain(name, model, images[1:2], (3,)), maps[1:2])
    for given in (list(images), tuple(images), tf.constant(images)):
        assert np.array_equal(explain(name, model, given, [0, 3, 5]), maps)
    assert np.array_equal(explain(name, model, images, tf.constant([0, 3, 5])), maps)
    wide = images.astype(np.float64)
    assert np.array_equal(explain(name, model, wide, [0, 3, 5]), maps)


def test_neither_order_nor_time_matters(name, model, images):
    maps = explain(name, model, images, [0, 3, 5])
    np.random.default_rng().random()
    assert np.array_equal(explain(name, model, images[::-1], [5, 3, 0]), maps[::-1])


@pytest.mark.parametrize("name", sorted({"lime", "rise", "smooth_grad", "facial_regions"}))
def test_the_seed_decides(name, model, images):
    maps = explain(name, model, images, [0, 3, 5], seed=1)
    assert not np.array_equal(explain(name, model, images, [0, 3, 5], seed=2), maps)


@pytest.mark.parametrize("name", sorted({"lime", "occlusion", "facial_regions"}))
def test_the_batch_size_does_not_matter(name, model, images):
    maps = explain(name, model, images[:1], [2])
    assert np.array_equal(explain(name, model, images[:1], [2], batch_size=7), maps)


@pytest.mark.parametrize("name", CALLABLES)
def test_any_callable_will_do(name, images):
    maps = explain(name, colours, images, [0, 3, 5])
    assert maps.shape == (3, SIDE, SIDE) and maps[:2].any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_callable_has_no_gradients(name, images):
    with pytest.raises(ModelError, match="needs gradients.*a function that only answers.*'lime'"):
        explain(name, colours, images, [0, 3, 5])


def test_a_constant_model_has_nothing_to_explain(name, images):
    import keras

    model = network()
    model.layers[-1].set_weights([np.zeros_like(weight) for weight in model.layers[-1].get_weights()])
    assert isinstance(model, keras.Model)
    assert not explain(name, model, images[:1], [0], positive=False).any()


def test_logits_are_refused_in_words(name, images):
    with pytest.raises(ModelError, match=r"no probabilities \(logits\?\).*Add a softmax"):
        explain(name, network(activation=None), images[:1], [0])


@pytest.mark.parametrize("name", CALLABLES)
def test_a_model_without_classes_is_refused_in_words(name, images):
    with pytest.raises(ModelError, match="at least one class"):
        explain(name, lambda copies: np.zeros((len(copies), 0)), images[:1], [0])


def test_nan_is_refused_in_words(name, images):
    model = network()
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(ModelError, match="NaN or infinity"):
        explain(name, model, images[:1], [0])


def test_images_of_another_size_are_refused(name, model, images):
    with pytest.raises(ModelError, match=r"takes images of shape \(48, 48, 3\).*\(44, 44, 3\)"):
        explain(name, model, images[:1, 2:-2, 2:-2], [0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"targets": [0, 1]}, DataError, "one class index for each of 3 images"),
        ({"targets": [0.0, 1.0, 2.0]}, DataError, "float64"),
        ({"targets": [0, 1, 6]}, SettingsError, r"'target'.*\[0, 5\], but got 6"),
        ({"targets": [-1, 1, 2]}, SettingsError, r"'target'.*\[0, 5\], but got -1"),
        ({"images": [np.zeros((48, 48, 3)), np.zeros((44, 44, 3))]}, DataError, "all of one size"),
        ({"images": np.zeros((48, 48, 3))}, DataError, r"\(N, H, W, 3\)"),
        ({"images": np.zeros((0, 48, 48, 3)), "targets": []}, DataError, "N >= 1"),
        ({"images": np.full((3, 48, 48, 3), 255.0)}, DataError, r"in \[0, 1\].*Divide 8-bit images by 255"),
        ({"seed": "now"}, SettingsError, "'seed'"),
        ({"model": "SongNet"}, SettingsError, "a Keras model or a callable.*but got str"),
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
        ("rise", {"hidden": -1}, r"'hidden'.*\[0, 1\], but got -1"),
        ("rise", {"masks": 0}, "'masks'.*>= 2, but got 0"),
        ("occlusion", {"patch": 2}, r"'patch'.*\[0.01, 1.0\], but got 2"),
        ("smooth_grad", {"noise": "much"}, "'noise' must be of type Real"),
        ("grad_cam", {"layer": "tense"}, "has no layer 'tense'.*conv2d"),
        ("facial_regions", {"landmarks": None}, r"'landmarks' must have shape \(3, 68, 2\)"),
        ("facial_regions", {"landmarks": np.zeros((3, 68, 2))}, "must span a face"),
    ],
)
def test_bad_settings(name, settings, message, model, images):
    with pytest.raises((SettingsError, DataError), match=message):
        explain(name, model, images, [0, 1, 2], **settings)


@pytest.mark.parametrize("name", ["lime", "kernel_shap", "superpixel_rise"])
def test_one_superpixel_only(name, model, images):
    maps = explain(name, model, images, [0, 1, 2], segments=1, positive=False)
    assert maps.shape == (3, SIDE, SIDE) and (np.ptp(maps, axis=(1, 2)) == 0).all()


@pytest.mark.parametrize("name", ["kernel_shap", "superpixel_rise"])
@pytest.mark.parametrize("samples", [60, "auto"])
def test_estimators_ask_about_the_same_samples_as_lime(name, images, samples):
    asked, counted = [], {}
    for explainer in ("lime", name):

        def model(images, explainer=explainer):
            asked.append((explainer, images.sum(dtype=np.float64)))
            return colours(images)

        explain(explainer, model, images, [0, 1, 2], samples=samples, tolerance=0.2)
        counted[explainer] = [total for key, total in asked if key == explainer]
    assert counted["lime"] == counted[name]


# --- known answers


def reading_a_square():
    """A network of two classes that reads how much brighter than 0.6 a square of its input is."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(1, 1, activation="relu"),
            keras.layers.Cropping2D(((12, SIDE - 24), (24, SIDE - 36))),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.set_weights(
        [np.full((1, 1, 3, 1), 1 / 3), np.array([-0.6]), np.array([[8.0, -8.0]]), np.array([-1.0, 1.0])]
    )
    return model


def test_every_explainer_finds_a_planted_region(name):
    image = np.full((1, SIDE, SIDE, 3), 0.6, np.float32)
    image[:, 12:24, 24:36] = 0.9
    more = {
        # Square, equal superpixels of 12 pixels, and enough samples for each.
        **dict.fromkeys(("lime", "kernel_shap", "superpixel_rise"), {"segments": 16, "samples": 400}),
        "rise": {"masks": 4000, "cells": 8},
        "occlusion": {"patch": 0.25, "stride": 0.125},
        "smooth_grad": {"noise": 0.05},
        "facial_regions": {"samples": 400},
    }
    (found,) = explain(name, reading_a_square(), image, [0], **more.get(name, {}))
    inside = np.zeros((SIDE, SIDE), bool)
    inside[12:24, 24:36] = True
    # A region of the face may be larger than the square, and blurred masks reach beyond it.
    blurred = name in ("rise", "occlusion", "facial_regions")
    assert found[inside].mean() > (3 if blurred else 30) * max(found[~inside].mean(), 1e-9)
    assert inside.flat[found.argmax()] or name == "facial_regions"


def test_explainers_that_ask_say_how_many_images_they_gave():
    from ekman_expressions.explainers.registry import EXPLAIN_ONE

    image = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)
    for name in CALLABLES:
        model = Counting()
        own = {"landmarks": FACE} if SPECS[name].landmarks else {}
        _, count = EXPLAIN_ONE[name](model, image, 0, seed=0, **FAST[name], **own)
        # The last group of masks is filled up.
        assert count <= model.images < count + 32, name


def test_another_class_costs_no_call():
    from ekman_expressions.explainers.lime import lime
    from ekman_expressions.explainers.record import make_record

    model = Counting()
    image = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)
    found = make_record(model, image, seed=0, samples=50)
    asked = model.images
    weights = [lime(found, target).weights for target in range(6)]
    assert asked == model.images == 50
    assert not np.allclose(weights[0], weights[1])
