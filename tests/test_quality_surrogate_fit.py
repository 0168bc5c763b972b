import numpy as np
import pytest

from ekman_expressions.core.errors import SettingsError
from ekman_expressions.explainers.lime import lime
from ekman_expressions.explainers.record import PerturbationRecord, draw_samples
from ekman_expressions.measures.surrogate_fit import cross_validated_r2, permuted_r2

SUPERPIXELS = 20
EQUAL = {"kernel_width": 1e3, "alpha": 0.0}
"""All samples count alike, and nothing is shrunk: ordinary least squares."""


def make_record(answers, samples=101, sampler="iid", seed=0):
    drawn = draw_samples(SUPERPIXELS, samples, np.random.default_rng(seed), sampler)
    found = answers(drawn, np.random.default_rng(seed + 1))
    return PerturbationRecord(
        image_id="a",
        model="m",
        segments=np.arange(SUPERPIXELS).reshape(1, -1),
        samples=drawn,
        predictions=np.stack([found, 1 - found], axis=1).astype(np.float32),
        sampler=sampler,
    )


def linear(samples, random):
    return 0.1 + samples @ (random.random(SUPERPIXELS) / 40)


def noise(samples, random):
    return random.random(len(samples))


def one_spike(samples, random):
    """Silent as soon as a superpixel is hidden: the regression sees one sample among all."""
    return samples.all(axis=1) * 0.9


@pytest.mark.parametrize("sampler", ["iid", "orthogonal"])
def test_a_linear_model_is_predicted_fully(sampler):
    assert cross_validated_r2(make_record(linear, sampler=sampler), 0, seed=0, **EQUAL) > 1 - 1e-6


def test_chance_is_the_number_of_superpixels_over_that_of_samples():
    expected = SUPERPIXELS / 100
    for answers in (noise, linear):
        found = permuted_r2(make_record(answers), 0, seed=0, permutations=400, **EQUAL)
        assert found == pytest.approx(expected, abs=0.01)


def test_noise_is_fitted_but_not_predicted():
    records = [make_record(noise, seed=seed) for seed in range(20)]
    fitted = np.mean([lime(record, 0, **EQUAL).r2 for record in records])
    unseen = np.mean([cross_validated_r2(record, 0, seed=0, **EQUAL) for record in records])
    # By theory about S / (n - 1), and minus S / (n - S) or a little below.
    assert 0.15 < fitted < 0.25 and -0.40 < unseen < -0.15


@pytest.mark.parametrize("sampler", ["iid", "orthogonal"])
def test_an_answer_to_the_whole_image_alone_is_not_predicted(sampler):
    assert cross_validated_r2(make_record(one_spike, sampler=sampler), 0, seed=0) < 0.05


def test_complements_lie_in_one_part():
    """Answers that depend on the pair alone: who saw one of it would know something of the other."""

    def of_pairs(samples, random):
        return np.repeat(random.random(len(samples) // 2 + 1), 2)[1 : len(samples) + 1]

    records = [make_record(of_pairs, sampler="orthogonal", seed=seed) for seed in range(10)]
    apart = [
        cross_validated_r2(
            PerturbationRecord(**{**vars(record), "sampler": "iid"}), 0, seed=0, parts=101, **EQUAL
        )
        for record in records
    ]
    together = [cross_validated_r2(record, 0, seed=0, parts=51, **EQUAL) for record in records]
    # Least squares fit nothing even to pairs: alone in its part, a sample is pushed to the other side.
    assert np.mean(together) > np.mean(apart) + 0.02


def test_a_constant_model_has_no_r2_and_the_seed_decides():
    record = make_record(lambda samples, random: np.full(len(samples), 0.5))
    assert np.isnan(cross_validated_r2(record, 0, seed=0)) and np.isnan(permuted_r2(record, 0, seed=0))
    record = make_record(noise)
    for measure in (cross_validated_r2, permuted_r2):
        assert measure(record, 0, seed=1) == measure(record, 0, seed=1) != measure(record, 0, seed=2)


def test_bad_arguments():
    record = make_record(noise, samples=9)
    for parts in (1, 10):
        with pytest.raises(SettingsError, match="parts"):
            cross_validated_r2(record, 0, seed=0, parts=parts)
    with pytest.raises(SettingsError, match="permutations"):
        permuted_r2(record, 0, seed=0, permutations=0)
    with pytest.raises(SettingsError, match="target"):
        permuted_r2(record, 2, seed=0)
