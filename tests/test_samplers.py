import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.explainers.lime import is_sure, lime
from ekman_expressions.explainers.record import SAMPLERS, PerturbationRecord, draw_samples, pairs

NAMES = sorted(SAMPLERS)
PAIRED = ["antithetic", "orthogonal"]


def make_record(answer, superpixels=8, samples=300, seed=0, sampler="iid", rows=slice(None)):
    """A record of a model that answers `answer(samples)` for class 0."""
    drawn = draw_samples(superpixels, samples, seed, sampler)[rows]
    first = np.asarray(answer(drawn.astype(float)))
    return PerturbationRecord(
        image_id="a",
        model="m",
        segments=np.arange(superpixels).reshape(1, -1),
        samples=drawn,
        predictions=np.stack([first, 1 - first], axis=1).astype(np.float32),
        sampler=sampler,
    )


def curved(kept):
    """Answers with interactions of two superpixels."""
    score = 2 * kept[:, 0] - kept[:, 1] + 2 * kept[:, 2] * kept[:, 3] - 2 * kept[:, 4] * kept[:, 5]
    return 1 / (1 + np.exp(-score))


def wavy(kept):
    """Answers whose interactions are odd: of three superpixels."""
    signs = 2 * kept - 1
    return 0.5 + 0.1 * signs[:, 0] + 0.1 * signs[:, 1] * signs[:, 2] * signs[:, 3]


COEFFICIENTS = np.array([0.25, -0.125, 0.0, 0.0625, 0.125, 0.0, -0.0625, 0.125])


def linear(kept):
    return 0.25 + kept @ COEFFICIENTS


# --- rows


@pytest.mark.parametrize("sampler", NAMES)
@given(st.integers(1, 70), st.integers(1, 150), st.integers(1, 60), st.integers(0, 99))
def test_first_rows_stay_the_same_and_the_first_keeps_all(sampler, superpixels, samples, more, seed):
    drawn = draw_samples(superpixels, samples, seed, sampler)
    assert drawn.dtype == bool and drawn.shape == (samples, superpixels)
    assert drawn[0].all()
    assert np.array_equal(draw_samples(superpixels, samples + more, seed, sampler)[:samples], drawn)


def test_the_studys_samples_are_iid_and_as_they_always_were():
    random = np.random.default_rng(3).random((40, 9)) < 0.5
    assert np.array_equal(draw_samples(9, 40, 3)[1:], random[1:])
    assert np.array_equal(draw_samples(9, 40, 3, "iid"), draw_samples(9, 40, 3))


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("row", [1, 2, 5, 8, 9])
def test_each_row_alone_is_uniform(sampler, row):
    """All 2^3 patterns are equally frequent in a row, over seeds, also in the last of a block."""
    from scipy.stats import chisquare

    rows = np.array([draw_samples(3, 10, seed, sampler)[row] for seed in range(2000)])
    counts = np.bincount(rows @ [1, 2, 4], minlength=8)
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("sampler", PAIRED)
def test_rows_come_with_their_complements(sampler):
    drawn = draw_samples(11, 61, 0, sampler)
    assert np.array_equal(drawn[1::2], ~drawn[2::2])


@pytest.mark.parametrize(("superpixels", "block"), [(1, 2), (2, 4), (30, 64), (32, 64), (33, 128)])
def test_in_a_whole_block_superpixels_are_orthogonal(superpixels, block):
    drawn = draw_samples(superpixels, 1 + 3 * block, 0, "orthogonal")[1:]
    for start in range(0, 3 * block, block):
        signs = 2 * drawn[start : start + block].astype(int) - 1
        assert np.array_equal(signs.T @ signs, block * np.eye(superpixels))
        assert not signs.sum(axis=0).any()


def test_blocks_and_seeds_differ():
    drawn = draw_samples(30, 129, 0, "orthogonal")
    assert not np.array_equal(drawn[1:65], drawn[65:])
    assert not np.array_equal(drawn, draw_samples(30, 129, 1, "orthogonal"))


def test_which_samples_belong_together():
    assert pairs(5, "iid").tolist() == [0, 1, 2, 3, 4]
    for sampler in PAIRED:
        assert pairs(6, sampler).tolist() == [0, 1, 1, 2, 2, 3]


def test_unknown_samplers():
    with pytest.raises(SettingsError, match="'sampler'.*'iid', 'antithetic', 'orthogonal'.*'sobol'"):
        draw_samples(3, 4, 0, "sobol")
    with pytest.raises(SettingsError, match="'sampler'"):
        pairs(4, "sobol")
    with pytest.raises(DataError, match="'sampler'.*'sobol'"):
        make_record(linear).__class__(**(make_record(linear).__dict__ | {"sampler": "sobol"}))


@pytest.mark.parametrize("sampler", NAMES)
def test_records_keep_their_sampler(sampler, tmp_path):
    make_record(linear, sampler=sampler).save(tmp_path / "record.npz")
    assert PerturbationRecord.load(tmp_path / "record.npz").sampler == sampler


def test_records_of_earlier_versions_are_iid(tmp_path):
    path = tmp_path / "record.npz"
    make_record(linear).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files if name in EARLIER}
    np.savez_compressed(path, **arrays)
    assert PerturbationRecord.load(path).sampler == "iid"


EARLIER = ("image_id", "model", "segments", "samples", "predictions", "hidden")


# --- estimates from them


@pytest.mark.parametrize("sampler", NAMES)
def test_a_linear_model_gives_back_its_coefficients(sampler):
    explanation = lime(make_record(linear, sampler=sampler), 0, alpha=0)
    np.testing.assert_allclose(explanation.weights, COEFFICIENTS, atol=1e-6)
    assert explanation.r2 == pytest.approx(1, abs=1e-9)
    assert explanation.intercept == pytest.approx(0.25, abs=1e-6)
    assert explanation.standard_errors.max() < 1e-6


@pytest.mark.parametrize("sampler", PAIRED)
def test_what_is_even_cancels_within_pairs(sampler):
    def even(kept):
        signs = 2 * kept - 1
        return (
            0.5
            + 0.1 * signs[:, 0] * signs[:, 1]
            - 0.2 * signs[:, 2] * signs[:, 3] * signs[:, 4] * signs[:, 5]
        )

    # Without the first row, which has no complement, and with equal weights.
    only_pairs = make_record(even, samples=41, sampler=sampler, rows=slice(1, None))
    found = lime(only_pairs, 0, kernel_width=1e9, alpha=0)
    np.testing.assert_allclose(found.weights, 0, atol=1e-7)
    # As lone samples the same number do not.
    assert np.abs(lime(make_record(even, samples=41), 0, kernel_width=1e9).weights).max() > 0.01


@pytest.mark.parametrize("sampler", NAMES)
def test_all_samplers_have_the_same_limit(sampler):
    limit = lime(make_record(curved, samples=60_000, seed=9), 0).weights
    found = lime(make_record(curved, samples=20_000, sampler=sampler), 0)
    assert (np.abs(found.weights - limit) < 5 * found.standard_errors + 1e-3).all()


@pytest.mark.parametrize("sampler", PAIRED)
@pytest.mark.parametrize(("answer", "samples"), [(curved, 65), (curved, 300), (wavy, 100), (wavy, 301)])
def test_standard_errors_equal_the_spread_over_seeds(sampler, answer, samples):
    """Taken as lone samples, they would be wrong by a third either way."""
    found = [lime(make_record(answer, 12, samples, seed, sampler), 0, alpha=0.1) for seed in range(500)]
    spread = np.std([explanation.weights for explanation in found], axis=0, ddof=1)
    stated = np.sqrt(np.mean([explanation.standard_errors**2 for explanation in found], axis=0))
    # Of the whole vector: designs that are orthogonal vary from superpixel to superpixel.
    assert np.sqrt((stated**2).sum() / (spread**2).sum()) == pytest.approx(1, abs=0.12)


# --- how many are enough


def test_sure_is_a_matter_of_tolerance_and_samples():
    few, many = (make_record(curved, 12, samples, 0) for samples in (100, 4000))
    assert is_sure(many, 0, tolerance=0.03) and not is_sure(few, 0, tolerance=0.03)
    assert is_sure(few, 0, tolerance=1.0)
    assert is_sure(make_record(lambda kept: np.full(len(kept), 0.3)), 0, tolerance=1e-6)
