import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.measures.curves import (
    FEWEST,
    MOST,
    Curve,
    Ranking,
    at_random,
    by_map,
    by_weights,
    centre_first,
    deletion_insertion,
    passes_of,
    steps_for,
)

SEGMENTS = np.arange(48).reshape(6, 8) % 8 // 2 + 4 * (np.arange(6)[:, None] // 3)
UNEVEN = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [2, 1, 1, 3]])


class Linear:
    """A model that is linear in the share of each superpixel that is white, and counts its images."""

    def __init__(self, segments, coefficients, intercept=0.1):
        self.masks = segments == np.arange(len(coefficients))[:, None, None]
        self.coefficients, self.intercept, self.passes = coefficients, intercept, 0

    def __call__(self, images):
        self.passes += len(images)
        shown = np.einsum("nhw,shw->ns", images[..., 0], self.masks) / self.masks.sum(axis=(1, 2))
        first = self.intercept + shown @ self.coefficients
        return np.stack([first, 1 - first], axis=1)


def white(shape):
    return np.ones((*shape, 3), np.float32)


def linear_areas(segments, order, coefficients, intercept, stages):
    """The areas of a linear model by a formula.

    A part that is hidden in the stage from share a to share b is wholly there until a, and by
    the trapezoidal rule for half of the stage: it adds its coefficient times (a + b) / 2 to the area
    under the deletion curve, and what is missing to 1 to that under the insertion curve.
    """
    areas = np.bincount(segments.ravel()) / segments.size
    deletion = intercept
    start = 0.0
    for stage in stages:
        parts = order[stage]
        end = start + areas[parts].sum()
        deletion += coefficients[parts].sum() * (start + end) / 2
        start = end
    return deletion, 2 * intercept + coefficients.sum() - deletion


# --- known answers


def test_the_areas_of_a_linear_model_equal_the_formula():
    coefficients = np.array([0.2, 0.05, -0.1, 0.1, 0.3, 0.0, 0.02, 0.08])
    model = Linear(SEGMENTS, coefficients)
    ranking = by_weights(SEGMENTS, coefficients, np.random.default_rng(0))
    drawn, passes = deletion_insertion(model, white((6, 8)), 0, {"explanation": ranking}, steps=8)
    areas = [drawn["explanation", kind].area for kind in ("deletion", "insertion")]
    # Equal parts, one in each step: the part of rank j is there for (j - 1/2) / S of the curve.
    ranked = np.sort(coefficients)[::-1]
    expected = 0.1 + ranked @ (np.arange(8) + 0.5) / 8
    assert areas[0] == pytest.approx(expected, abs=1e-6)
    assert areas[1] == pytest.approx(0.1 + ranked @ (7.5 - np.arange(8)) / 8, abs=1e-6)
    stages = [slice(i, i + 1) for i in range(8)]
    assert areas == pytest.approx(linear_areas(SEGMENTS, ranking.order, coefficients, 0.1, stages), abs=1e-6)
    assert passes == model.passes == 16


def test_parts_of_different_sizes_count_by_their_area():
    coefficients = np.array([0.1, 0.4, 0.2, 0.05])
    model = Linear(UNEVEN, coefficients)
    order = np.array([3, 0, 2, 1])
    drawn, _ = deletion_insertion(
        model, white((3, 4)), 0, {"given": Ranking(parts=UNEVEN, order=order)}, steps=2
    )
    # Halves of the area: [3, 0] covers 7 of 12 pixels, [2, 1] the rest.
    assert drawn["given", "deletion"].shares.tolist() == [0, 7 / 12, 1]
    expected = linear_areas(UNEVEN, order, coefficients, 0.1, [slice(0, 2), slice(2, 4)])
    areas = drawn["given", "deletion"].area, drawn["given", "insertion"].area
    assert areas == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_no_order_of_a_linear_model_is_better_than_that_of_its_coefficients(seed, steps):
    random = np.random.default_rng(seed)
    coefficients = random.uniform(-0.05, 0.07, 8)
    model = Linear(SEGMENTS, coefficients, 0.42)
    rankings = {
        "explanation": by_weights(SEGMENTS, coefficients, random),
        "random": at_random(SEGMENTS, random),
        "centre": centre_first(SEGMENTS),
    }
    drawn, _ = deletion_insertion(model, white((6, 8)), 0, rankings, steps=steps)
    for control in ("random", "centre"):
        assert drawn["explanation", "deletion"].area <= drawn[control, "deletion"].area + 1e-6
        assert drawn["explanation", "insertion"].area >= drawn[control, "insertion"].area - 1e-6
    for name in rankings:
        # All curves of a kind have their two ends in common.
        whole, none = 0.42 + coefficients.sum(), 0.42
        assert drawn[name, "deletion"].answers[[0, -1]] == pytest.approx([whole, none], abs=1e-6)
        assert drawn[name, "insertion"].answers[[0, -1]] == pytest.approx([none, whole], abs=1e-6)


def test_a_map_of_pixels_is_cut_into_quantiles():
    coefficients = np.array([0.2, 0.05, -0.1, 0.1, 0.3, 0.0, 0.02, 0.08])
    model = Linear(SEGMENTS, coefficients)
    painted = coefficients.astype(np.float32)[SEGMENTS]
    random = np.random.default_rng(0)
    rankings = {
        "pixels": by_map(painted, 8, random),
        "superpixels": by_weights(SEGMENTS, coefficients, random),
    }
    drawn, passes = deletion_insertion(model, white((6, 8)), 0, rankings, steps=8)
    # With parts of equal size the quantiles are the superpixels, and the images are the same.
    assert passes == model.passes == 16
    for kind in ("deletion", "insertion"):
        assert drawn["pixels", kind].answers == pytest.approx(drawn["superpixels", kind].answers)


def test_equal_values_of_a_map_are_ranked_at_random_not_from_the_top():
    values = np.zeros((20, 20), np.float32)
    values[3, 4] = 1
    ranking = by_map(values, 4, np.random.default_rng(0))
    assert ranking.parts[3, 4] == 0 and np.bincount(ranking.parts.ravel()).tolist() == [100] * 4
    assert np.abs(np.bincount(np.nonzero(ranking.parts == 0)[0] // 10) - 50).max() < 20


def test_a_random_insertion_is_the_deletion_of_the_reverse_order():
    random = np.random.default_rng(3)
    model = Linear(SEGMENTS, random.uniform(0, 0.1, 8))
    ranking = at_random(SEGMENTS, random)
    drawn, passes = deletion_insertion(model, white((6, 8)), 0, {"random": ranking}, steps=8)
    reverse = Ranking(parts=SEGMENTS, order=ranking.order[::-1])
    again, _ = deletion_insertion(model, white((6, 8)), 0, {"reverse": reverse}, steps=8)
    assert passes == 9
    assert drawn["random", "insertion"].answers == pytest.approx(again["reverse", "insertion"].answers)
    assert drawn["random", "insertion"].area == pytest.approx(drawn["random", "deletion"].area)


def test_the_control_from_the_centre_begins_in_the_middle():
    segments = np.arange(9).reshape(3, 3).repeat(4, 0).repeat(4, 1)
    order = centre_first(segments).order
    assert order[0] == 4 and set(order[1:5]) == {1, 3, 5, 7} and set(order[5:]) == {0, 2, 6, 8}


# --- a model that answers a constant, and one superpixel


def test_a_constant_model_has_flat_curves():
    model = Linear(SEGMENTS, np.zeros(8), 0.3)
    ranking = by_weights(SEGMENTS, np.zeros(8), np.random.default_rng(0))
    drawn, _ = deletion_insertion(model, white((6, 8)), 0, {"explanation": ranking}, steps=5)
    assert [curve.area for curve in drawn.values()] == pytest.approx([0.3, 0.3])


def test_one_superpixel_has_only_the_two_ends():
    segments = np.zeros((4, 4), int)
    ranking = Ranking(parts=segments, order=np.array([0]))
    drawn, passes = deletion_insertion(
        Linear(segments, np.array([0.5])), white((4, 4)), 0, {"one": ranking}, steps=7
    )
    assert passes == 2 and drawn["one", "deletion"].area == pytest.approx(0.35)


# --- the budget


@pytest.mark.parametrize(
    ("budget", "steps", "passes"), [(100, MOST, 92), (32, 7, 32), (64, 13, 62), (3, FEWEST, 32)]
)
def test_steps_follow_the_passes_that_are_allowed(budget, steps, passes):
    assert steps_for(budget) == steps and passes_of(steps) == passes


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(FEWEST, MOST))
def test_curves_and_controls_take_no_more_passes_than_stated(seed, steps):
    random = np.random.default_rng(seed)
    segments = np.unique(random.integers(0, 30, (12, 12)), return_inverse=True)[1].reshape(12, 12)
    count = segments.max() + 1
    model = Linear(segments, np.full(count, 0.5 / count))
    rankings = {
        "explanation": by_map(random.random((12, 12)), steps, random),
        "random": at_random(segments, random),
        "centre": centre_first(segments),
    }
    _, passes = deletion_insertion(model, white((12, 12)), 0, rankings, steps=steps)
    assert passes == model.passes <= passes_of(steps)


# --- bad input


def test_bad_rankings_and_steps_are_refused():
    with pytest.raises(DataError, match="each of 8 parts once"):
        Ranking(parts=SEGMENTS, order=np.arange(7))
    ranking = centre_first(SEGMENTS)
    other = Ranking(parts=np.zeros((2, 2), int), order=np.array([0]))
    model = Linear(SEGMENTS, np.zeros(8))
    with pytest.raises(DataError, match="one image"):
        deletion_insertion(model, white((6, 8)), 0, {"a": ranking, "b": other}, steps=3)
    with pytest.raises(SettingsError, match="'steps'"):
        deletion_insertion(model, white((6, 8)), 0, {"a": ranking}, steps=1)
    with pytest.raises(SettingsError, match="'target'"):
        deletion_insertion(model, white((6, 8)), 2, {"a": ranking}, steps=3)


def test_a_curve_between_its_stages_is_straight():
    curve = Curve(shares=np.array([0, 0.5, 1]), answers=np.array([1, 0.2, 0]))
    assert curve.at(np.array([0.25, 0.75])) == pytest.approx([0.6, 0.1])
    assert curve.reverse().answers.tolist() == [0, 0.2, 1] and curve.area == pytest.approx(0.35)
