"""Superpixels, samples of them, and what is kept of a model's predictions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import read_arrays
from ekman_expressions.explainers import PerturbationRecord, Stored, StoredMap, superpixels
from ekman_expressions.explainers.record import _SAMPLERS, _draw_samples

NAMES = sorted(_SAMPLERS)


def test_superpixels_are_numbered_without_gaps_and_follow_colours():
    image = np.zeros((60, 60, 3), np.float32)
    image[:, 30:] = 1
    labels = superpixels(image, segments=8, compactness=1)
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert not set(labels[:, :29].ravel()) & set(labels[:, 31:].ravel())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "cannot be divided into 30"),
        (np.zeros((64, 64), np.float32), r"shape \(H, W, 3\).*received|got float32 of shape \(64, 64\)"),
        (np.full((64, 64, 3), 200.0), "Divide 8-bit images by 255"),
    ],
)
def test_images_that_cannot_be_divided(image, message):
    with pytest.raises(DataError, match=message):
        superpixels(image)


@pytest.mark.parametrize("sampler", NAMES)
@given(st.integers(1, 70), st.integers(1, 150), st.integers(1, 60), st.integers(0, 99))
def test_first_rows_stay_the_same_and_the_first_keeps_all(sampler, superpixels, samples, more, seed):
    drawn = _draw_samples(superpixels, samples, seed, sampler)
    assert drawn.dtype == bool and drawn.shape == (samples, superpixels)
    assert drawn[0].all()
    assert np.array_equal(_draw_samples(superpixels, samples + more, seed, sampler)[:samples], drawn)


def test_the_studys_samples_are_iid_and_as_they_always_were():
    random = np.random.default_rng(3).random((40, 9)) < 0.5
    assert np.array_equal(_draw_samples(9, 40, 3)[1:], random[1:])
    assert np.array_equal(_draw_samples(9, 40, 3, "iid"), _draw_samples(9, 40, 3))


@pytest.mark.parametrize("sampler", NAMES)
def test_each_row_alone_is_uniform(sampler):
    """All 2^3 patterns are equally frequent in a row, over seeds, also in the last of a block."""
    from scipy.stats import chisquare

    drawn = np.array([_draw_samples(3, 10, seed, sampler) for seed in range(2000)]) @ [1, 2, 4]
    for row in (1, 2, 5, 8, 9):
        assert chisquare(np.bincount(drawn[:, row], minlength=8)).pvalue > 1e-4


@pytest.mark.parametrize(("superpixels", "block"), [(1, 2), (2, 4), (30, 64), (32, 64), (33, 128)])
def test_orthogonal_rows_come_with_their_complements_and_make_whole_blocks_orthogonal(superpixels, block):
    drawn = _draw_samples(superpixels, 1 + 3 * block + 2, 0, "orthogonal")[1:]
    assert np.array_equal(drawn[::2], ~drawn[1::2])
    for start in range(0, 3 * block, block):
        signs = 2 * drawn[start : start + block].astype(int) - 1
        assert np.array_equal(signs.T @ signs, block * np.eye(superpixels))
        assert not signs.sum(axis=0).any()


def make_record(superpixel_count=6, samples=20, seed=0, **changes):
    kinds = {
        "segments": np.arange(300).reshape(15, 20) % superpixel_count,
        "samples": _draw_samples(superpixel_count, samples, seed),
        "predictions": np.random.default_rng(seed).dirichlet(np.ones(6), samples).astype(np.float32),
        "hidden": 0.25,
    }
    return PerturbationRecord(image_id="ka_anger_1", model="SongNet_CV3", **kinds | changes)


def test_paired_samples_have_the_sizes_of_shapleys_kernel():
    samples = _draw_samples(20, 20_002, 0, "paired")
    assert samples[0].all() and not samples[1].any()
    np.testing.assert_array_equal(samples[::2], ~samples[1::2])
    sizes = np.arange(1, 20)
    odds = 1 / (sizes * (20 - sizes))
    found = np.bincount(samples[2:].sum(axis=1), minlength=20)[1:] / 20_000
    np.testing.assert_allclose(found, odds / odds.sum(), atol=0.012)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40))
def test_a_record_comes_back_as_it_was(tmp_path_factory, superpixel_count, samples):
    sampler = NAMES[superpixel_count % 2]
    none = np.float32([0.5, 0.5, 0, 0, 0, 0]) if samples % 2 else None
    record = make_record(superpixel_count, samples, sampler=sampler, none=none)
    path = tmp_path_factory.mktemp("records") / "record.npz"
    record.save(path)
    found = Stored.load(path)
    for name in ("image_id", "model", "hidden", "sampler", "passes"):
        assert getattr(found, name) == getattr(record, name)
    assert bool(found.note) == (samples < 6 * superpixel_count)
    for name in ("segments", "samples", "predictions", "none"):
        assert np.array_equal(getattr(found, name), getattr(record, name))
    assert (found.samples.dtype, found.predictions.dtype) == (bool, np.float32)


def test_a_map_comes_back_with_its_note_and_what_is_no_record_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    kinds = {"completeness": 0.25, "note": "not complete"}
    StoredMap(image_id="a", model="m", target=2, map=np.ones((3, 4)), passes=9, **kinds).save(path)
    found = Stored.load(path)
    assert (found.target, found.passes, found.completeness, found.note) == (2, 9, 0.25, "not complete")
    with pytest.raises(DataError, match="no perturbation record.*is a StoredMap"):
        PerturbationRecord.load(path)
    with pytest.raises(DataError, match="finite"):
        make_record(predictions=np.full((20, 6), np.nan, np.float32))
    np.savez(path, maps=np.zeros(3))
    with pytest.raises(DataError, match="lacks 'image_id'"):
        Stored.load(path)
    make_record().save(path)
    arrays = read_arrays(path)
    for change in (
        {"samples": np.zeros((20, 9), np.uint8)},
        {"predictions": np.zeros((3, 6), np.float32)},
        {"segments": np.zeros(4)},
    ):
        np.savez(path, **(arrays | change))
        with pytest.raises(DataError, match="is no perturbation record"):
            PerturbationRecord.load(path)
