import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.explainers.lime import lime, sample_weights
from ekman_expressions.explainers.record import PerturbationRecord, draw_samples
from ekman_expressions.measures.reliability import bootstrap

COEFFICIENTS = np.array([0.25, -0.125, 0.03, 0.0625, 0.125, 0.1, -0.0625, 0.125])


def make_record(answer, samples):
    first = answer(samples.astype(float))
    return PerturbationRecord(
        image_id="a",
        model="m",
        segments=np.arange(samples.shape[1]).reshape(1, -1),
        samples=samples,
        predictions=np.stack([first, 1 - first], axis=1).astype(np.float32),
    )


def curved(kept):
    """Answers with interactions, so that no linear surrogate is perfect."""
    score = 2 * kept[:, 0] - kept[:, 1] + 2 * kept[:, 2] * kept[:, 3] - 2 * kept[:, 4] * kept[:, 5]
    return 1 / (1 + np.exp(-score))


def linear(kept):
    return 0.25 + kept @ COEFFICIENTS


def pairs(superpixels, samples, seed):
    """All kept, then masks and their complements, and the block of each row."""
    half = np.random.default_rng(seed).random(((samples - 1) // 2, superpixels)) < 0.5
    rows = np.stack([half, ~half], axis=1).reshape(-1, superpixels)
    drawn = np.concatenate([np.ones((1, superpixels), bool), rows])
    return drawn, np.concatenate([[-1], np.arange(len(rows)) // 2])


def of(record, *, width=0.25, **options):
    weights = sample_weights(record.samples, width)
    return bootstrap(record, 0, weights, **{"seed": 0, **options})


def test_a_linear_model_is_described_fully_and_flips_no_sign():
    found = of(make_record(linear, draw_samples(8, 300, 0)), alpha=0)
    np.testing.assert_allclose(found.weights, COEFFICIENTS, atol=1e-6)
    assert found.r2 == pytest.approx(1, abs=1e-9)
    assert found.standard_errors.max() < 1e-6 and found.r2_standard_error < 1e-9
    assert found.flip_rate == found.weighted_flip_rate == 0
    assert found.units == 299


@pytest.mark.parametrize("alpha", [0.0, 1.0, 30.0])
def test_weights_and_r2_are_those_of_lime(alpha):
    record = make_record(curved, draw_samples(12, 200, 1))
    found, wanted = of(record, alpha=alpha), lime(record, 0, alpha=alpha)
    np.testing.assert_allclose(found.weights, wanted.weights, atol=1e-9)
    assert found.r2 == pytest.approx(wanted.r2, abs=1e-9)


def test_each_replicate_is_the_fit_to_the_samples_that_it_drew():
    record = make_record(curved, draw_samples(6, 60, 1))
    replicates = 40
    refitted = []
    for picked in np.random.default_rng(5).integers(59, size=(replicates, 59)):
        rows = np.concatenate([[0], 1 + picked])
        again = make_record(curved, record.samples[rows])
        refitted.append(lime(again, 0).weights)
    found = of(record, seed=5, replicates=replicates)
    np.testing.assert_allclose(
        found.standard_errors, np.std(refitted, axis=0, ddof=1) * np.sqrt(59 / 58), atol=1e-9
    )
    flips = np.mean(np.sign(refitted) != np.sign(found.weights), axis=0)
    np.testing.assert_allclose(found.flips, flips)


def test_standard_errors_equal_the_spread_over_repeated_sampling():
    found = [of(make_record(curved, draw_samples(12, 300, seed)), replicates=100) for seed in range(200)]
    spread = np.std([one.weights for one in found], axis=0, ddof=1)
    stated = np.sqrt(np.mean([one.standard_errors**2 for one in found], axis=0))
    np.testing.assert_allclose(stated, spread, rtol=0.15)
    r2 = np.array([(one.r2, one.r2_standard_error) for one in found])
    assert np.sqrt(np.mean(r2[:, 1] ** 2)) == pytest.approx(r2[:, 0].std(ddof=1), rel=0.2)


def test_masks_and_their_complements_are_resampled_together():
    def odd(kept):
        return 0.5 + 0.2 * np.prod(2 * kept[:, :3] - 1, axis=1)

    found, ignored = [], []
    for seed in range(200):
        samples, blocks = pairs(6, 151, seed)
        record = make_record(odd, samples)
        found.append(of(record, width=5.0, blocks=blocks, replicates=100))
        ignored.append(of(record, width=5.0, replicates=50))
    assert found[0].units == 75
    spread = np.std([one.weights for one in found], axis=0, ddof=1)
    stated, naive = (
        np.sqrt(np.mean([one.standard_errors**2 for one in kind], axis=0)) for kind in (found, ignored)
    )
    np.testing.assert_allclose(stated, spread, rtol=0.2)
    # A mask and its complement say the same of an odd interaction: half of the rows add nothing.
    np.testing.assert_allclose(naive, spread / np.sqrt(2), rtol=0.2)


def test_signs_flip_as_often_as_a_normal_distribution_says():
    from scipy.stats import norm

    record = make_record(curved, draw_samples(12, 300, 7))
    found = of(record, replicates=4000)
    expected = norm.cdf(-np.abs(found.weights) / found.standard_errors)
    assert np.abs(found.flips - expected).max() < 0.04
    sizes = np.abs(found.weights)
    assert found.weighted_flip_rate == pytest.approx(found.flips @ sizes / sizes.sum())
    assert found.weighted_flip_rate < found.flip_rate == pytest.approx(found.flips.mean())


def test_a_constant_model_has_no_r2_and_no_sign():
    found = of(make_record(lambda kept: np.full(len(kept), 0.3), draw_samples(8, 50, 0)))
    assert not found.weights.any() and not found.standard_errors.any()
    for nothing in (found.r2, found.r2_standard_error, found.flip_rate, found.weighted_flip_rate):
        assert np.isnan(nothing)
    assert np.isnan(found.flips).all()


def test_the_seed_decides():
    record = make_record(curved, draw_samples(8, 60, 0))
    one, same, other = (of(record, seed=seed).standard_errors for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_many_superpixels_are_taken_in_parts(monkeypatch):
    from ekman_expressions.measures import reliability

    record = make_record(curved, draw_samples(20, 100, 0))
    whole = of(record)
    monkeypatch.setattr(reliability, "_AT_ONCE", 22 * 22 * 7)
    np.testing.assert_allclose(of(record).standard_errors, whole.standard_errors, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"replicates": 1}, SettingsError, "'replicates'"),
        ({"alpha": -1}, SettingsError, "'alpha'"),
        ({"blocks": np.arange(5)}, DataError, "'blocks' must be 20 whole numbers"),
        ({"blocks": np.zeros(20, int)}, DataError, "1 units that could be resampled"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        of(make_record(linear, draw_samples(8, 20, 0)), **options)


def test_bad_sample_weights():
    record = make_record(linear, draw_samples(8, 20, 0))
    with pytest.raises(DataError, match="20 numbers >= 0"):
        bootstrap(record, 0, np.zeros(20), seed=0)
