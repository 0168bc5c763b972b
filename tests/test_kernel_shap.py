"""Shapley values from records: against brute force, and what must hold for any model."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import record_of, shapley

from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.explainers.record import _draw_samples

kernel_shap = EXPLAINERS["kernel_shap"].estimate
superpixel_rise = EXPLAINERS["superpixel_rise"].estimate


def game(count, seed):
    """Any model of `count` superpixels: a table of all its predictions, float32 as in records."""
    table = np.random.default_rng(seed).random(2**count, dtype=np.float32).astype(float)
    return lambda rows: table[(rows @ 2 ** np.arange(count)).astype(int)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_coalitions_give_the_definition_for_any_model(count):
    function = game(count, count)
    record = record_of(function, _draw_samples(count, 2**count, 0, "paired"))
    np.testing.assert_allclose(kernel_shap(record, 0).weights, shapley(function, count), atol=1e-6)


@given(st.integers(1, 25), st.integers(0, 2**32), st.sampled_from(["uniform", "paired", "no full"]))
def test_additive_models_give_their_terms(count, seed, kind):
    # The predictions are probabilities: 0.3 when all is hidden, and at least 0.1 and at most 0.9.
    terms = np.random.default_rng(seed).uniform(-0.2, 0.6, count) / count
    samples = _draw_samples(count, 8 * count + 20, seed, "paired" if kind == "paired" else "iid")
    samples = samples[kind == "no full" :]
    if len(np.unique(samples, axis=0)) > count:
        found = kernel_shap(record_of(lambda rows: 0.3 + rows @ terms, samples), 0)
        np.testing.assert_allclose(found.weights, terms, atol=2e-5)


def test_where_hiding_all_was_queried_even_uniform_samples_give_the_exact_sum():
    """An intercept, extrapolated to no superpixel, would be off."""
    function, samples = game(7, 0), _draw_samples(7, 40, 0)
    record = record_of(function, samples[samples.any(axis=1)])
    whole, none = function(np.stack([np.ones(7), np.zeros(7)]))
    told = replace(record, none=np.float32([none, 1 - none]))
    found, without = kernel_shap(told, 0), kernel_shap(record, 0)
    assert found.weights.sum() == pytest.approx(whole - none, abs=1e-6)
    assert found.passes == record.passes + 1
    assert abs(without.weights.sum() - (whole - none)) > 1e-3
    # One number, added to all: other estimates are as they were.
    assert np.ptp(found.weights - without.weights) < 1e-9
    assert np.array_equal(superpixel_rise(told, 0).weights, superpixel_rise(record, 0).weights)


@pytest.mark.parametrize("sampler", ["iid", "paired"])
def test_the_estimate_comes_nearer_to_the_truth_with_more_samples(sampler):
    pairs = np.random.default_rng(1).normal(0, 0.02, (10, 10))

    def function(rows):
        return 0.5 + np.einsum("ni,ij,nj->n", rows, pairs, rows)

    truth, errors = shapley(function, 10), []
    for number in (100, 1600):
        records = [record_of(function, _draw_samples(10, number, seed, sampler)) for seed in range(8)]
        several = [kernel_shap(record, 0).weights for record in records]
        errors.append(np.sqrt(np.mean((np.array(several) - truth) ** 2)))
    # Pairs are exact for interactions of two, but for rounding.
    assert errors[1] < max(errors[0] / 2, 1e-6) and errors[1] < 0.1 * np.ptp(truth)


@pytest.mark.parametrize("estimate", [kernel_shap, superpixel_rise])
def test_the_whole_image_alone_tells_nothing(estimate):
    alone = record_of(lambda rows: np.full(len(rows), 0.2), np.ones((1, 3), bool))
    assert estimate(alone, 0).weights.tolist() == [0, 0, 0]


def test_superpixel_rise_is_half_of_an_additive_models_terms():
    terms = np.array([0.3, 0.0, -0.1, 0.05])
    samples = np.concatenate([np.ones((1, 4), bool), _draw_samples(4, 16, 0, "paired")])
    found = superpixel_rise(record_of(lambda rows: 0.4 + rows @ terms, samples), 0).weights
    np.testing.assert_allclose(found, terms / 2, atol=1e-7)
