"""LIME against the package lime, scikit-learn and known answers; its standard errors; painting."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import curved, record_of

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.explainers import Explanation, PerturbationRecord, lime
from ekman_expressions.explainers.lime import _sample_weights
from ekman_expressions.explainers.record import _SAMPLERS, _draw_samples


def make_record(model, superpixels=8, samples=300, seed=0, sampler="iid"):
    """A record of a model that predicts `model(samples)` for class 0."""
    return record_of(model, _draw_samples(superpixels, samples, seed, sampler), sampler)


COEFFICIENTS = np.array([0.25, -0.125, 0.0, 0.0625, 0.125, 0.0, -0.0625, 0.125])


def linear(kept):
    return 0.25 + kept @ COEFFICIENTS


def test_agrees_with_lime_base_given_the_same_samples():
    from lime.lime_base import LimeBase
    from sklearn.metrics import pairwise_distances

    record = make_record(curved)
    data = record.samples.astype(float)
    distances = pairwise_distances(data, data[:1], metric="cosine").ravel()
    ours = lime(record, 1)
    # Its kernel as lime_image defines it.
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
    intercept, pairs, score, local = base.explain_instance_with_data(
        data, record.predictions, distances, 1, num_features=100_000
    )
    assert np.abs(ours.weights - [weight for _, weight in sorted(pairs)]).max() < 1e-6
    assert abs(ours.intercept - intercept) < 1e-6 and abs(ours.r2 - score) < 1e-6
    assert abs(ours.intercept + ours.weights.sum() - local[0]) < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(2, 200), st.floats(1e-3, 100), st.floats(0.05, 5), st.integers(0, 99))
def test_agrees_with_scikit_learns_ridge(superpixels, samples, alpha, width, seed):
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(seed)
    record = make_record(lambda kept: random.random(len(kept)), superpixels, samples, seed)
    x, y = record.samples.astype(float), record.predictions[:, 0].astype(float)
    w = _sample_weights(record.samples, width)
    ridge = Ridge(alpha=alpha).fit(x, y, sample_weight=w)
    ours = lime(record, 0, kernel_width=width, alpha=alpha)
    assert np.abs(ours.weights - ridge.coef_).max() < 1e-6
    assert abs(ours.intercept - ridge.intercept_) < 1e-6
    if w @ (y - np.average(y, weights=w)) ** 2 > 1e-9:
        assert abs(ours.r2 - ridge.score(x, y, sample_weight=w)) < 1e-6


@pytest.mark.parametrize("sampler", sorted(_SAMPLERS))
def test_a_linear_model_gives_back_its_coefficients(sampler):
    explanation = lime(make_record(linear, sampler=sampler), 0, alpha=0)
    np.testing.assert_allclose(explanation.weights, COEFFICIENTS, atol=1e-6)
    np.testing.assert_allclose(explanation.intercept, 0.25, atol=1e-6)
    assert explanation.r2 == pytest.approx(1, abs=1e-9)
    assert explanation.standard_errors.max() < 1e-6


SIX = ("linear", "quadratic", "cubic", "logistic", "steep", "cliff")


def six_models(kept):
    """Predictions (n, 6) of models of 23 superpixels: additive, with interactions of two and of three, of a
    saturating unit, and two that fall as soon as anything is hidden."""
    random = np.random.default_rng(0)
    slopes = random.normal(0, 23**-0.5, 23)
    two, three = random.integers(0, 23, (20, 2)), random.integers(0, 23, (30, 3))
    signs = 2.0 * kept - 1
    linear = 0.5 + 0.08 * signs @ slopes
    quadratic = linear + 0.02 * signs[:, two].prod(axis=2) @ random.normal(size=20)
    cubic = linear + 0.02 * signs[:, three].prod(axis=2) @ random.normal(size=30)
    logistic = 1 / (1 + np.exp(-4 * (linear - 0.5) / 0.16))
    steep = np.exp(-6 * (1 - kept).mean(axis=1) - 2 * (1 - kept) @ np.abs(slopes))
    cliff = np.where(kept.all(axis=1), 0.95, 0.05 + 0.02 * signs @ slopes)
    return np.clip(np.stack([linear, quadratic, cubic, logistic, steep, cliff], axis=1), 0, 1)


@pytest.mark.parametrize("sampler", sorted(_SAMPLERS))
@pytest.mark.parametrize(("samples", "seeds"), [(100, 200), (1000, 60)])
def test_standard_errors_equal_the_spread_over_repeated_sampling(sampler, samples, seeds):
    weights, stated = np.empty((2, seeds, 6, 23))
    for seed in range(seeds):
        drawn = _draw_samples(23, samples, seed, sampler)
        record = PerturbationRecord(
            image_id="a",
            model="m",
            segments=np.arange(23)[None],
            samples=drawn,
            predictions=six_models(drawn).astype(np.float32),
            sampler=sampler,
        )
        for model in range(6):
            found = lime(record, model)
            weights[seed, model], stated[seed, model] = found.weights, found.standard_errors
    spread = weights.var(axis=0, ddof=1).sum(axis=1) ** 0.5
    ratios = dict(zip(SIX, (stated**2).mean(axis=0).sum(axis=1) ** 0.5 / spread, strict=True))
    covered = (np.abs(weights - weights.mean(axis=0)) < 1.96 * stated).mean(axis=(0, 2))
    smooth = ("quadratic", "cubic", "logistic")
    for name in SIX if sampler == "iid" else smooth:
        assert 0.9 < ratios[name] < (1.1 if sampler == "iid" else 1.2), ratios
    assert covered.min() > 0.91, covered
    if sampler == "iid":
        assert covered.max() < 0.97
    else:
        # Conservative, as documented.
        assert min(ratios[name] for name in ("linear", "steep", "cliff")) > 1.2


def test_standard_errors_are_those_of_the_whole_design():
    """HC2 written out: the leverage of a sample counts the intercept."""
    record = make_record(curved, superpixels=6, samples=20)
    x, y = record.samples.astype(float), record.predictions[:, 0].astype(float)
    w = _sample_weights(record.samples, 0.25)
    design = np.column_stack([np.ones(len(x)), x])
    inverse = np.linalg.inv((design.T * w) @ design)
    residuals = y - design @ inverse @ (design.T @ (w * y))
    leverages = w * np.einsum("ij,jk,ik->i", design, inverse, design)
    drawn = (design * (w * residuals / np.sqrt(1 - leverages))[:, None])[1:]
    spread = ((drawn - drawn.mean(axis=0)) @ inverse)[:, 1:]
    found = lime(record, 0, alpha=0).standard_errors
    np.testing.assert_allclose(found, np.linalg.norm(spread, axis=0), rtol=1e-4)


def test_what_cannot_be_fitted():
    record = make_record(linear)
    with pytest.raises(SettingsError, match="'kernel_width'"):
        lime(record, 0, kernel_width=0)
    some_hidden = ~record.samples.all(axis=1)
    record = replace(record, samples=record.samples[some_hidden], predictions=record.predictions[some_hidden])
    with pytest.raises(SettingsError, match="wider kernel"):
        lime(record, 0, kernel_width=1e-5)
    with pytest.raises(DataError, match=r"\(3,\), one per superpixel, but got \(2,\)"):
        Explanation(explainer="lime", target=0, weights=np.ones(2), segments=np.arange(3)[None])


def test_users_of_the_package_lime_see_what_ours_paints():
    record = make_record(curved)
    ours = lime(replace(record, segments=np.arange(48).reshape(6, 8) % 8), 1)
    image = np.random.default_rng(0).random((6, 8, 3))
    theirs = ours.to_lime(image)
    assert theirs.top_labels == [1] and theirs.score[1] == ours.r2 and theirs.intercept[1] == ours.intercept
    sizes = [abs(weight) for _, weight in theirs.local_exp[1]]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 8
    shown, mask = theirs.get_image_and_mask(1, positive_only=True, hide_rest=True, num_features=100)
    assert np.array_equal(mask == 1, ours.map > 0) and 0 < mask.mean() < 1
    assert np.array_equal(shown, np.where(mask[..., None] == 1, image, 0))
    _, mask = theirs.get_image_and_mask(1, positive_only=False, num_features=100)
    assert np.array_equal(mask, np.sign(ours.map))
