"""Shapley values from records: against brute force, and what must hold for any model."""

from dataclasses import replace
from itertools import permutations

import made_records
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekman_expressions.core.errors import SettingsError
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.explainers.record import _draw_samples

explained_by_kernel_shap = EXPLAINERS["kernel_shap"].estimate
superpixel_rise = EXPLAINERS["superpixel_rise"].estimate


def kernel_shap(record, target):
    return explained_by_kernel_shap(record, target).weights


def all_samples(count):
    """All 2^S samples, the first keeps all."""
    return _draw_samples(count, 2**count, 0, "paired")


def record_of(function, samples):
    """A record whose predictions are `function` of each sample."""
    return made_records.record_of(lambda rows: [function(row) for row in rows.astype(bool)], samples)


def game(count, seed):
    """Any model of `count` superpixels: a table of all its predictions, float32 as in records."""
    table = np.random.default_rng(seed).random(2**count, dtype=np.float32)
    places = 2 ** np.arange(count)
    return lambda row: table[int(row @ places)]


def brute_force(function, count):
    """The definition: the mean gain of each superpixel over all orders of uncovering."""
    values = np.zeros(count)
    orders = list(permutations(range(count)))
    for order in orders:
        row = np.zeros(count, bool)
        before = float(function(row))
        for place in order:
            row[place] = True
            after = float(function(row))
            values[place] += after - before
            before = after
    return values / len(orders)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_coalitions_give_the_definition_for_any_model(count):
    function = game(count, count)
    found = kernel_shap(record_of(function, all_samples(count)), 0)
    np.testing.assert_allclose(found, brute_force(function, count), atol=1e-6)


@given(st.integers(1, 25), st.integers(0, 2**32), st.sampled_from(["uniform", "paired", "no full"]))
def test_additive_models_give_their_terms(count, seed, kind):
    # The predictions are probabilities: 0.3 when all is hidden, and at least 0.1 and at most 0.9.
    terms = np.random.default_rng(seed).uniform(-0.2, 0.6, count) / count
    samples = _draw_samples(count, 8 * count + 20, seed, "paired" if kind == "paired" else "iid")
    samples = samples[kind == "no full" :]
    if len(np.unique(samples, axis=0)) > count:
        found = kernel_shap(made_records.record_of(lambda rows: 0.3 + rows @ terms, samples), 0)
        np.testing.assert_allclose(found, terms, atol=2e-5)


@given(st.integers(2, 9), st.integers(0, 2**32), st.integers(2, 200))
def test_values_sum_to_what_uncovering_all_adds(count, seed, number):
    function = game(count, seed)
    found = kernel_shap(record_of(function, _draw_samples(count, number, seed, "paired")), 0)
    whole, none = function(np.ones(count, bool)), function(np.zeros(count, bool))
    assert found.sum() == pytest.approx(float(whole) - float(none), abs=1e-5)


def test_where_hiding_all_was_queried_even_uniform_samples_give_the_exact_sum():
    """An intercept, extrapolated to no superpixel, would be off."""
    function, none = game(7, 0), np.zeros(7, bool)
    samples = _draw_samples(7, 40, 0)
    samples = samples[samples.any(axis=1)]
    record = record_of(function, samples)
    told = replace(record, none=np.float32([function(none), 1 - function(none)]))
    truth = float(function(~none)) - float(function(none))
    found = explained_by_kernel_shap(told, 0)
    assert found.weights.sum() == pytest.approx(truth, abs=1e-6)
    assert found.passes == record.passes + 1
    assert abs(kernel_shap(record, 0).sum() - truth) > 1e-3
    # One number, added to all: LIME's other estimates are as they were.
    assert np.ptp(found.weights - kernel_shap(record, 0)) < 1e-9
    assert np.array_equal(superpixel_rise(told, 0).weights, superpixel_rise(record, 0).weights)


@pytest.mark.parametrize("sampler", ["iid", "paired"])
def test_the_estimate_comes_nearer_to_the_truth_with_more_samples(sampler):
    count = 12
    pairs = np.random.default_rng(1).normal(0, 0.02, (count, count))

    def function(row):
        return 0.5 + row @ pairs @ row

    truth = kernel_shap(record_of(function, all_samples(count)), 0)
    errors = []
    for number in (100, 1600):
        drawn = [_draw_samples(count, number, seed, sampler) for seed in range(8)]
        several = [kernel_shap(record_of(function, samples), 0) for samples in drawn]
        errors.append(np.sqrt(np.mean((np.array(several) - truth) ** 2)))
    assert errors[1] < errors[0] / 2
    assert errors[1] < 0.1 * np.ptp(truth)


@pytest.mark.parametrize("estimate", [explained_by_kernel_shap, superpixel_rise])
def test_bad_input(estimate):
    flat = record_of(lambda row: 0.25, _draw_samples(7, 50, seed=0))
    assert not estimate(flat, 0).weights.any()
    with pytest.raises(SettingsError, match=r"'target'.*\[0, 1\], but got 2"):
        estimate(flat, 2)
    assert estimate(record_of(lambda row: 0.2, np.ones((1, 3), bool)), 0).weights.tolist() == [0, 0, 0]


def test_superpixel_rise_is_half_of_an_additive_models_terms():
    terms = np.array([0.3, 0.0, -0.1, 0.05])
    samples = np.concatenate([np.ones((1, 4), bool), all_samples(4)])
    found = superpixel_rise(record_of(lambda row: 0.4 + row @ terms, samples), 0).weights
    np.testing.assert_allclose(found, terms / 2, atol=1e-7)
