"""Measures of quality: curves, sign flips and R² of LIME's fit, untrained copies."""

import numpy as np
import pytest
from made_records import record_of
from tiny_network import SIDE, register

from ekman_expressions.core.errors import ModelError, SettingsError
from ekman_expressions.explainers import Explanation, lime
from ekman_expressions.explainers.record import _draw_samples
from ekman_expressions.measures.quality import (
    Ranking,
    cross_validated_r2,
    deletion_insertion,
    permuted_r2,
    untrained_copy,
)
from ekman_expressions.zoo import NETWORKS

SEGMENTS = np.arange(48).reshape(6, 8) % 8 // 2 + 4 * (np.arange(6)[:, None] // 3)
UNEVEN = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [2, 1, 1, 3]])


class Linear:
    """A model that is linear in the share of each superpixel that is white."""

    def __init__(self, segments, coefficients, intercept=0.1):
        self.masks = segments == np.arange(len(coefficients))[:, None, None]
        self.coefficients, self.intercept = coefficients, intercept

    def __call__(self, images):
        shown = np.einsum("nhw,shw->ns", images[..., 0], self.masks) / self.masks.sum(axis=(1, 2))
        first = self.intercept + shown @ self.coefficients
        return np.stack([first, 1 - first], axis=1)


def white(shape):
    return np.ones((*shape, 3), np.float32)


def test_the_areas_of_a_linear_model_equal_the_formula_of_superpixels_and_of_pixels():
    coefficients = np.array([0.2, 0.05, -0.1, 0.1, 0.3, 0.0, 0.02, 0.08])
    random, model = np.random.default_rng(0), Linear(SEGMENTS, coefficients)
    rankings = {
        "pixels": Ranking.by_map(coefficients.astype(np.float32)[SEGMENTS], 8, random),
        "superpixels": Ranking.by_weights(SEGMENTS, coefficients, random),
    }
    drawn, passes = deletion_insertion(model, white((6, 8)), 0, rankings, steps=8)
    # Equal parts, one in each step: the part of rank j is there for (j - 1/2) / S of the curve.
    ranked = np.sort(coefficients)[::-1]
    areas = [0.1 + ranked @ (np.arange(8) + 0.5) / 8, 0.1 + ranked @ (7.5 - np.arange(8)) / 8]
    for name in rankings:
        found = [drawn[name, kind].area for kind in ("deletion", "insertion")]
        assert found == pytest.approx(areas, abs=1e-6)
    # With parts of equal size the quantiles of pixels are the superpixels, and the images are the same.
    assert passes == 16
    with pytest.raises(SettingsError, match="'steps'"):
        deletion_insertion(model, white((6, 8)), 0, rankings, steps=1)


def test_parts_of_different_sizes_count_by_their_area():
    coefficients = np.array([0.1, 0.4, 0.2, 0.05])
    model = Linear(UNEVEN, coefficients)
    given = {"given": Ranking(parts=UNEVEN, order=np.array([3, 0, 2, 1]))}
    drawn, _ = deletion_insertion(model, white((3, 4)), 0, given, steps=2)
    # Halves of the area: [3, 0] covers 7 of 12 pixels, [2, 1] the rest.
    assert drawn["given", "deletion"].shares.tolist() == [0, 7 / 12, 1]
    # A part that goes between the shares a and b adds its coefficient times (a + b) / 2.
    deletion = 0.1 + 0.15 * (7 / 12) / 2 + 0.6 * (7 / 12 + 1) / 2
    assert drawn["given", "deletion"].area == pytest.approx(deletion, abs=1e-6)
    assert drawn["given", "insertion"].area == pytest.approx(0.2 + 0.75 - deletion, abs=1e-6)


def test_random_insertion_is_that_of_the_reverse_order_without_passes():
    model = Linear(UNEVEN, np.array([0.1, 0.4, 0.2, 0.05]))
    order = np.array([3, 0, 2, 1])
    orders = {"random": order, "reverse": order[::-1]}
    rankings = {name: Ranking(parts=UNEVEN, order=each) for name, each in orders.items()}
    drawn, passes = deletion_insertion(model, white((3, 4)), 0, rankings, steps=2)
    for name in ("shares", "probabilities"):
        found, expected = (getattr(drawn[key, "insertion"], name) for key in rankings)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert drawn["random", "insertion"].shares == pytest.approx([0, 5 / 12, 1])
    assert passes == 4


def test_the_control_of_a_map_has_its_grain():
    """A random field with the map's spectrum: neighbours are as alike as in the map, at other places."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(0)
    for sigma in (0.1, 1.0, 4.0):
        values = gaussian_filter(random.standard_normal((64, 64)), sigma, mode="wrap")
        ranks = [rank(values, 8, random).parts for rank in (Ranking.by_map, Ranking.like_map)]
        alike = [np.corrcoef(np.ravel(r), np.ravel(np.roll(r, 1, axis=1)))[0, 1] for r in ranks]
        assert alike[1] == pytest.approx(alike[0], abs=0.06)
        assert abs(np.corrcoef(np.ravel(ranks[0]), np.ravel(ranks[1]))[0, 1]) < 0.35
    assert np.ptp(np.bincount(Ranking.like_map(np.zeros((8, 8)), 4, random).parts.ravel())) == 0


def test_the_control_from_the_centre_begins_in_the_middle():
    segments = np.arange(9).reshape(3, 3).repeat(4, 0).repeat(4, 1)
    order = Ranking.from_centre(segments).order
    assert order[0] == 4 and set(order[1:5]) == {1, 3, 5, 7} and set(order[5:]) == {0, 2, 6, 8}


def test_sign_flips_by_hand():
    halves = np.arange(2)[None]
    weights, errors = np.array([-1.0, 0.1]), np.array([0.0, 0.1])
    known = Explanation(explainer="lime", target=0, weights=weights, segments=halves, standard_errors=errors)
    # The second is one standard error from 0.
    assert known.weighted_flip_rate == pytest.approx(0.1 * 0.15866 / 1.1, abs=1e-5)

    constant = record_of(lambda kept: np.full(len(kept), 0.3), _draw_samples(8, 50, 0))
    assert np.isnan(lime(constant, 0).weighted_flip_rate)


SUPERPIXELS = 20
EQUAL = {"kernel_width": 1e3, "alpha": 0.0}
"""All samples count alike, and nothing is shrunk: ordinary least squares."""


def drawn_record(predict, samples=101, sampler="iid", seed=0):
    drawn = _draw_samples(SUPERPIXELS, samples, np.random.default_rng(seed), sampler)
    random = np.random.default_rng(seed + 1)
    return record_of(lambda kept: predict(kept, random), drawn, sampler)


def additive(samples, random):
    return 0.1 + samples @ (random.random(SUPERPIXELS) / 40)


def noise(samples, random):
    return random.random(len(samples))


def one_spike(samples, random):
    """Silent as soon as a superpixel is hidden: the regression sees one sample among all."""
    return samples.all(axis=1) * 0.9


@pytest.mark.parametrize("sampler", ["iid", "orthogonal"])
def test_a_linear_model_is_predicted_fully_and_a_spike_for_the_whole_image_not(sampler):
    assert cross_validated_r2(drawn_record(additive, sampler=sampler), 0, seed=0, **EQUAL) > 1 - 1e-6
    assert cross_validated_r2(drawn_record(one_spike, sampler=sampler), 0, seed=0) < 0.05


@pytest.mark.parametrize("sampler", ["iid", "orthogonal"])
def test_unseen_r2_leaves_out_whole_pairs(sampler):
    """With more parts than groups each group is a part: no draw is left, and a loop gives the same."""
    from sklearn.linear_model import Ridge

    record = drawn_record(noise, samples=41, sampler=sampler)
    y, groups = record.predictions[:, 0].astype(float), record.pairs
    unseen, means = np.empty((2, len(y)))
    for group in np.unique(groups):
        out = groups == group
        unseen[out] = Ridge(alpha=1.0).fit(record.samples[~out], y[~out]).predict(record.samples[out])
        means[out] = y[~out].mean()
    expected = 1 - ((y - unseen) ** 2).sum() / ((y - means) ** 2).sum()
    found = cross_validated_r2(record, 0, seed=0, parts=99, kernel_width=1e9, alpha=1.0)
    assert found == pytest.approx(expected, rel=1e-4)


def test_chance_is_the_number_of_superpixels_over_that_of_samples():
    for predict in (noise, additive):
        found = permuted_r2(drawn_record(predict), 0, seed=0, permutations=400, **EQUAL)
        assert found == pytest.approx(SUPERPIXELS / 100, abs=0.01)
    # The prediction for the whole image is kept: given to a lighter sample, the outlier would be fitted less.
    spike = drawn_record(one_spike)
    assert permuted_r2(spike, 0, seed=0) == pytest.approx(lime(spike, 0).r2)


def test_a_constant_model_has_no_r2_by_chance_and_the_seed_decides():
    constant, record = drawn_record(lambda samples, random: np.full(len(samples), 0.5)), drawn_record(noise)
    for measure in (cross_validated_r2, permuted_r2):
        assert np.isnan(measure(constant, 0, seed=0))
        assert measure(record, 0, seed=1) == measure(record, 0, seed=1) != measure(record, 0, seed=2)


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).random((8, SIDE, SIDE, 3), dtype=np.float32)


@pytest.fixture
def trained(monkeypatch):
    register(monkeypatch.setitem)
    import keras

    keras.utils.set_random_seed(0)
    return NETWORKS["Tiny"].build()


def test_the_copy_has_other_weights_the_same_architecture_and_is_deterministic(trained, faces):
    import keras

    keras.utils.set_random_seed(1)
    before = np.random.get_state()[1].copy()
    copy = untrained_copy(trained, faces, seed=3)
    assert np.array_equal(np.random.get_state()[1], before)
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in trained.layers]
    keras.utils.set_random_seed(2)
    # Another model of the same architecture, whose layers have other names.
    again, other = (untrained_copy(NETWORKS["Tiny"].build(), faces, seed=seed) for seed in (3, 4))
    weights = zip(*(model.weights for model in (trained, copy, again, other)), strict=True)
    for was, new, same, differs in weights:
        assert was.shape == new.shape and np.array_equal(new, same)
        # Biases and scales all start at 0 or 1.
        if "kernel" in was.path:
            assert not np.allclose(was, new) and not np.allclose(new, differs)


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_normalisations_get_the_statistics_of_the_faces(trained, faces, frozen):
    import keras

    trained.trainable = not frozen
    copy = untrained_copy(trained, faces, seed=0)
    place = [isinstance(layer, keras.layers.BatchNormalization) for layer in copy.layers].index(True)
    normalised = copy.layers[place]
    given = np.asarray(keras.Model(copy.input, copy.layers[place - 1].output)(faces))
    np.testing.assert_allclose(normalised.moving_mean, given.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(normalised.moving_variance, given.var(axis=(0, 1, 2)), rtol=1e-2)
    assert normalised.momentum == trained.layers[place].momentum
    assert normalised.trainable != frozen


def test_models_within_models_are_copied_and_what_has_no_weights_is_refused(faces):
    import keras

    image = keras.Input((SIDE, SIDE, 3))
    inner = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    scale = keras.layers.Normalization()
    scale.adapt(faces)
    model = keras.Model(image, keras.layers.Dense(6, activation="softmax")(inner(scale(image))))
    copy = untrained_copy(model, faces, seed=0)
    pairs = list(zip(model.weights, copy.weights, strict=True))
    same = [(weight.path.split("/")[-1], np.array_equal(weight, new)) for weight, new in pairs]
    assert {("mean", True), ("variance", True)} < set(same) and same.count(("kernel", False)) == 2
    with pytest.raises(ModelError, match="function has no weights"):
        untrained_copy(lambda images: images, faces, seed=0)
