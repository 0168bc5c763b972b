"""The contract that every explainer keeps, as one table; what all must find; a new one in the registry."""

import gc
import re
import weakref
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from made_models import chain
from scipy.special import softmax

from ekman_expressions.core.errors import DataError, ModelError, SettingsError
from ekman_expressions.explainers import EXPLAINERS, Explainer, Option, Stored, StoredMap
from ekman_expressions.facespace.warp import POINTS

SIDE = 48
WIDTH = 60
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
CALLABLES = sorted(name for name, row in EXPLAINERS.items() if not row.gradients)


def network(*, activation="softmax", last=1.0):
    """A small Keras network of six classes, the weights of whose last layer are multiplied by `last`."""
    from keras import layers

    first = layers.Conv2D(6, 5, strides=2, activation="relu"), layers.Conv2D(8, 3, activation="relu")
    dense = layers.Dense(6, activation=activation)
    model = chain(SIDE, *first, layers.MaxPooling2D(2), layers.Flatten(), dense)
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.15, weight.shape) for weight in model.get_weights()]
    model.set_weights([*weights[:-2], *(last * weight for weight in weights[-2:])])
    return model


shared_network = cache(network)
"""Networks that several explainers explain are made, and compiled, once."""


@pytest.fixture
def model():
    return shared_network()


@pytest.fixture(scope="module")
def images():
    coarse = np.random.default_rng(0).random((3, 12, 12, 3), dtype=np.float32)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(params=sorted(EXPLAINERS))
def name(request):
    return request.param


def explained(name, model, images, targets, *, seed=1, **changes):
    """Explanations by an explainer that takes few samples."""
    settings = FAST[name] | changes
    if EXPLAINERS[name].landmarks:
        settings = {"landmarks": np.repeat(FACE[None], len(images), axis=0)} | settings
    return EXPLAINERS[name].explain(model, images, targets, seed=seed, **settings)


def explain(*arguments, **settings):
    """The signed maps of an explainer, (N, H, W)."""
    return np.stack([found.map for found in explained(*arguments, **settings)])


def colours(images):
    """Six classes: shares of red, green, blue and black in the left and right half."""
    red, green, blue = images.mean(axis=(1, 2)).T
    left = images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3))
    return softmax(np.stack([red, green, blue, left, 1 - left, red * 0], axis=1), axis=1)


def test_every_explainer_is_in_the_table_and_says_what_it_needs():
    assert set(EXPLAINERS) == set(FAST)
    for name, row in EXPLAINERS.items():
        assert row.name == name and row.records_of in EXPLAINERS and row.title and row.source and row.cost
        assert EXPLAINERS[row.records_of].query is row.query
        assert not set(row.shared) & set(row.options)


def test_what_is_found_does_not_depend_on_batches_containers_and_order(name, model, images):
    import tensorflow as tf

    targets = np.array([0, 3, 5])
    for found, target in zip(explained(name, model, images, targets), targets, strict=True):
        assert found.map.shape == (SIDE, SIDE) and found.map.dtype == np.float32
        assert np.isfinite(found.map).all() and found.map.any()
        assert (found.explainer, found.target) == (name, target) and found.passes > 0
    maps = explain(name, model, list(images), tf.constant(targets))
    assert np.array_equal(explain(name, model, images[1:2].astype(np.float64), (3,)), maps[1:2])
    np.random.default_rng().random()
    assert np.array_equal(explain(name, model, tf.constant(images[::-1]), [5, 3, 0]), maps[::-1])


@pytest.mark.parametrize("name", ["lime", "rise", "smooth_grad", "facial_regions"])
def test_the_seed_decides(name, model, images):
    first, second = (explain(name, model, images[:1], [0], seed=seed) for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", CALLABLES)
def test_any_callable_will_do(name, images):
    queried = []

    def model(copies):
        queried.append(len(copies))
        return colours(copies)

    found = explained(name, model, images, [0, 3, 5])
    assert all(each.map.shape == (SIDE, SIDE) for each in found) and found[0].map.any() and found[1].map.any()
    # The last group of masks may be filled up.
    passes = sum(each.passes for each in found)
    assert passes <= sum(queried) < passes + 3 * 32


def test_a_constant_model_has_nothing_to_explain(name, images):
    assert not explain(name, shared_network(last=0.0), images[:1], [0]).any()


def test_what_an_explainer_cannot_use_is_refused_in_words(name, model, images):
    image, logits, broken = images[:1], shared_network(activation=None), shared_network(last=np.nan)
    refused = [
        (logits, image, 0, ModelError, r"no probabilities \(logits\?\).*Add a softmax"),
        (broken, image, 0, ModelError, "NaN or infinity"),
        (model, image, 6, SettingsError, r"'target'.*\[0, 5\], but got 6"),
        (model, 255 * image, 0, DataError, r"in \[0, 1\].*Divide 8-bit images by 255"),
        (model, image[:, 2:-2, 2:-2], 0, (ModelError, DataError), r"\(48, 48, 3\).*\(44, 44, 3\)"),
    ]
    if EXPLAINERS[name].gradients:
        refused.append((colours, image, 0, ModelError, "gradients"))
    for refusing, given, target, error, message in refused:
        with pytest.raises(error, match=message):
            explain(name, refusing, given, [target])


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("rise", {"targets": [0, 1]}, DataError, "one class index for each of 3 images"),
        ("rise", {"images": [np.zeros((48, 48, 3)), np.zeros((44, 44, 3))]}, DataError, "all of one size"),
        ("rise", {"seed": "now"}, SettingsError, "'seed'"),
        ("rise", {"masks": 0}, SettingsError, "'masks'.*>= 2, but got 0"),
        ("grad_cam", {"layer": "tense"}, SettingsError, "no layer 'tense'"),
        ("facial_regions", {"landmarks": np.zeros((3, 68, 2))}, DataError, "must span a face"),
    ],
)
def test_bad_arguments_and_settings(name, model, images, change, error, message):
    arguments = {"model": model, "images": images, "targets": [0, 1, 2]} | change
    with pytest.raises(error, match=message):
        explain(name, **arguments)


def test_no_explainer_keeps_a_model_alive(images):
    model = network()
    for name in EXPLAINERS:
        explain(name, model, images[:1], [0])
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


# --- a new one: two functions and a row


def test_the_guides_new_explainer_is_two_functions_and_a_row(images, tmp_path, monkeypatch):
    guide = (Path(__file__).parent.parent / "docs" / "explanations.md").read_text("utf-8")
    names = {"Explainer": Explainer, "Option": Option, "StoredMap": StoredMap}
    exec(re.search(r"### A new explainer.*?```python\n(.*?)```", guide, re.DOTALL)[1], names)
    toy = names["TOY"]
    monkeypatch.setitem(EXPLAINERS, "toy", toy)
    (found,) = EXPLAINERS["toy"].explain(colours, images[:1], [2], seed=0, strength=2.0)
    share = colours(images[:1])[0, 2]
    np.testing.assert_allclose(found.map, 2 * share * images[0, ..., 0], rtol=1e-6)
    assert (found.explainer, found.target, found.passes) == ("toy", 2, 1)
    with pytest.raises(SettingsError, match="'strength'.*>= 0, but got -1"):
        EXPLAINERS["toy"].explain(colours, images[:1], [2], seed=0, strength=-1)
    # What is kept can be read without knowing which explainer made it.
    stored = StoredMap(image_id="a", model="m", target=2, map=found.map, passes=1)
    stored.save(tmp_path / "a.npz")
    again = toy.estimate(Stored.load(tmp_path / "a.npz"), 2, toy.resolve())
    assert np.array_equal(again.map, found.map) and (again.image_id, again.model) == ("a", "m")
    with pytest.raises(DataError, match="explains class 2, but the class wanted is 1"):
        toy.estimate(stored, 1, toy.resolve())


# --- known answers


def reading_a_square():
    """A network of two classes that reads how much brighter than 0.6 a square of its input is."""
    from keras import layers

    model = chain(
        (SIDE, WIDTH, 3),
        layers.Conv2D(1, 1, activation="relu"),
        layers.Cropping2D(((12, SIDE - 24), (24, WIDTH - 36))),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, activation="softmax"),
    )
    dense = np.array([[8.0, -8.0]]), np.array([-1.0, 1.0])
    model.set_weights([np.full((1, 1, 3, 1), 1 / 3), np.array([-0.6]), *dense])
    return model


def test_every_explainer_finds_a_planted_region(name):
    image = np.full((1, SIDE, WIDTH, 3), 0.6, np.float32)
    image[:, 12:24, 24:36] = 0.9
    more = {
        # Square, equal superpixels of 12 pixels, and enough samples for each.
        **dict.fromkeys(("lime", "kernel_shap", "superpixel_rise"), {"segments": 20, "samples": 600}),
        "rise": {"masks": 4000, "cells": 8},
        "occlusion": {"patch": 0.25, "stride": 0.125},
        "smooth_grad": {"noise": 0.05},
        "facial_regions": {"samples": 400},
        "causal": {"samples": 1024},
    }
    (found,) = np.maximum(explain(name, reading_a_square(), image, [0], **more.get(name, {})), 0)
    inside = np.zeros((SIDE, WIDTH), bool)
    inside[12:24, 24:36] = True
    # A region of the face may be larger than the square, and blurred masks reach beyond it.
    blurred = name in ("rise", "occlusion", "facial_regions", "causal")
    assert found[inside].mean() > (3 if blurred else 30) * max(found[~inside].mean(), 1e-9)
    assert inside.flat[found.argmax()] or name in ("facial_regions", "causal")


def test_other_images_draw_other_samples(images):
    """Else all faces of a heatmap would share the errors of one draw."""
    drawn = []

    def query(model, image, target, *, seed, landmarks, settings):
        drawn.append(seed)
        return StoredMap(model=model.name, target=target, map=image[..., 0], passes=0)

    explainer = Explainer(name="mine", title="Mine", source="", cost="", query=query)
    for given in (images, images[::-1]):
        explainer.explain(lambda faces: np.full((len(faces), 6), 1 / 6), given, [0] * len(given), seed=3)
    assert len(set(drawn)) == len(images) > 1 and drawn[: len(images)] == drawn[len(images) :][::-1]
