import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekman_expressions.core.errors import DataError, ModelError, SettingsError
from ekman_expressions.core.files import read_arrays
from ekman_expressions.explainers.record import PerturbationRecord, draw_samples, superpixels
from ekman_expressions.zoo.asking import GROUP, perturb
from ekman_expressions.zoo.compiled import _compiled

SEGMENTS = np.arange(6).repeat(8).reshape(6, 8) % 6


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((6, 8, 3), dtype=np.float32)


def brightness(images):
    """Two classes: the mean brightness, and the rest to 1."""
    first = images.mean(axis=(1, 2, 3))
    return np.stack([first, 1 - first], axis=1)


def masked_one_by_one(image, segments, samples, hidden):
    copies = []
    for sample in samples:
        copy = image.copy()
        for number, kept in enumerate(sample):
            if not kept:
                copy[segments == number] = hidden
        copies.append(copy)
    return np.stack(copies)


def keras_model(shape=(6, 8, 3), classes=6, activation="softmax"):
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(classes, activation=activation)])


# --- superpixels and samples


def test_superpixels_are_numbered_without_gaps_and_follow_colours():
    image = np.zeros((60, 60, 3), np.float32)
    image[:, 30:] = 1
    labels = superpixels(image, segments=8, compactness=1)
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert not set(labels[:, :29].ravel()) & set(labels[:, 31:].ravel())


def test_the_studys_setting_gives_about_30_superpixels():
    rows, columns = np.indices((224, 224)) / 224
    image = np.stack([rows, columns, 0.5 + 0.5 * np.sin(9 * rows)], axis=-1)
    assert 20 <= superpixels(image).max() + 1 <= 40


def test_one_superpixel():
    assert not superpixels(np.full((9, 9, 3), 0.5, np.float32), segments=1).any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "cannot be divided into 30"),
        (np.zeros((64, 64), np.float32), r"shape \(H, W, 3\).*received|got float32 of shape \(64, 64\)"),
        (np.zeros((64, 64, 3), np.uint8), "uint8"),
        (np.full((64, 64, 3), 200.0), "Divide 8-bit images by 255"),
        (np.full((64, 64, 3), np.nan), "nan"),
    ],
)
def test_images_that_cannot_be_divided(image, message):
    with pytest.raises(DataError, match=message):
        superpixels(image)


def test_first_sample_keeps_all_and_the_others_half():
    samples = draw_samples(30, 2000, 1)
    assert samples.dtype == bool and samples.shape == (2000, 30)
    assert samples[0].all()
    assert np.abs(samples[1:].mean(axis=0) - 0.5).max() < 0.05
    assert np.abs(np.corrcoef(samples[1:].T) - np.eye(30)).max() < 0.1


def test_samples_depend_on_the_seed_only_and_more_begin_alike():
    assert np.array_equal(draw_samples(7, 50, 3), draw_samples(7, 50, np.random.default_rng(3)))
    assert np.array_equal(draw_samples(7, 50, 3), draw_samples(7, 90, 3)[:50])
    assert not np.array_equal(draw_samples(7, 50, 3), draw_samples(7, 50, 4))


# --- asking a model


@pytest.mark.parametrize("hidden", [0.0, 0.3])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_callable_sees_the_masked_copies(image, hidden, batch_size):
    samples = draw_samples(6, 40, 0)
    seen = []

    def model(images):
        seen.append(images.copy())
        return brightness(images)

    answers = perturb(model, image, SEGMENTS, samples, hidden=hidden, batch_size=batch_size)
    expected = masked_one_by_one(image, SEGMENTS, samples, np.float32(hidden))
    assert np.array_equal(np.concatenate(seen), expected)
    assert max(len(images) for images in seen) <= batch_size
    assert answers.dtype == np.float32
    assert np.array_equal(answers, brightness(expected))


@pytest.mark.parametrize("hidden", [0.0, 0.3])
def test_a_keras_model_sees_the_masked_copies(image, hidden):
    model = keras_model()
    samples = draw_samples(6, GROUP + 9, 0)
    answers = perturb(model, image, SEGMENTS, samples, hidden=hidden)
    expected = model.predict_on_batch(masked_one_by_one(image, SEGMENTS, samples, np.float32(hidden)))
    np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_a_keras_model_is_traced_once_for_all_images_and_numbers_of_superpixels(image):
    import keras

    traces = []

    @keras.saving.register_keras_serializable()
    class Count(keras.layers.Layer):
        def call(self, inputs):
            traces.append(1)
            return inputs

    layers = [Count(), keras.layers.Flatten(), keras.layers.Dense(6, "softmax")]
    model = keras.Sequential([keras.Input((6, 8, 3)), *layers])
    traces.clear()
    for count, batch_size in ((6, 64), (3, 64), (1, 5)):
        segments = SEGMENTS % count
        perturb(model, image, segments, draw_samples(count, 70, 0), batch_size=batch_size)
    assert len(traces) == 1


def test_compiled_functions_go_with_their_model(image):
    model = keras_model()
    perturb(model, image, SEGMENTS, draw_samples(6, 3, 0))
    reference = weakref.ref(model)
    assert model in _compiled
    del model
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("network", ["WeiNet", "SongNet", "MobileNetV3Large"])
def test_answers_depend_neither_on_batch_size_nor_on_order_to_the_bit(network):
    import keras

    from ekman_expressions.zoo import NETWORKS

    keras.utils.set_random_seed(0)
    model = NETWORKS[network].build(weights="none", batch_norm_momentum=0.1)
    side = NETWORKS[network].side
    image = np.random.default_rng(0).random((side, side, 3), dtype=np.float32)
    segments = np.arange(side).repeat(side).reshape(side, side) // (side // 8)
    samples = draw_samples(int(segments.max()) + 1, GROUP + 5, 0)
    # MobileNetV3's untrained batch norms answer 1/6 whatever they see.
    for _ in range(3 if network == "MobileNetV3Large" else 0):
        model(masked_one_by_one(image, segments, samples[:8], 0), training=True)
    answers = perturb(model, image, segments, samples, batch_size=64)
    turned = np.random.default_rng(1).permutation(len(samples))
    assert np.array_equal(perturb(model, image, segments, samples[turned], batch_size=64), answers[turned])
    assert np.array_equal(perturb(model, image, segments, samples[:9], batch_size=3), answers[:9])
    assert len(np.unique(answers, axis=0)) > 20


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.full((n, 5), 0.2), "6 classes. Received: 5"),
        (
            lambda n: np.where(np.arange(n)[:, None] == 2, np.nan, np.full((n, 6), 1 / 6)),
            "for 1 of 3 samples, first for sample 2",
        ),
        (lambda n: np.full((n, 6), np.inf), "NaN or infinity"),
        (lambda n: np.tile(np.arange(6.0), (n, 1)), "logits"),
        (lambda n: np.tile([2.0, -1, 0, 0, 0, 0], (n, 1)), "logits"),
        (lambda n: np.full(n, 0.5), r"answered shape \(3,\)"),
        (lambda n: np.full((n + 1, 6), 1 / 6), r"answered shape \(4, 6\)"),
    ],
)
def test_answers_that_are_no_probabilities(image, answer, message):
    with pytest.raises(ModelError, match=message):
        perturb(lambda images: answer(len(images)), image, SEGMENTS, draw_samples(6, 3, 0), classes=6)


def test_keras_models_that_do_not_fit(image):
    samples = draw_samples(6, 3, 0)
    with pytest.raises(ModelError, match=r"takes images of shape \(9, 8, 3\)"):
        perturb(keras_model((9, 8, 3)), image, SEGMENTS, samples)
    with pytest.raises(ModelError, match="Received: 4"):
        perturb(keras_model(classes=4), image, SEGMENTS, samples, classes=6)
    with pytest.raises(ModelError, match="logits"):
        perturb(keras_model(activation=None), image, SEGMENTS, samples)
    broken = keras_model()
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    with pytest.raises(ModelError, match="NaN"):
        perturb(broken, image, SEGMENTS, samples)


def test_two_outputs(image):
    import keras

    inputs = keras.Input((6, 8, 3))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, [keras.layers.Dense(6, "softmax")(flat) for _ in range(2)])
    with pytest.raises(ModelError, match="one array"):
        perturb(model, image, SEGMENTS, draw_samples(6, 3, 0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden": 1.5}, SettingsError, "'hidden'"),
        ({"batch_size": 0}, SettingsError, "'batch_size'"),
        ({"model": "WeiNet"}, SettingsError, "got str"),
        ({"segments": SEGMENTS[:, :4]}, DataError, "'segments' has shape"),
        ({"segments": SEGMENTS + 1}, DataError, "without gaps"),
        ({"segments": SEGMENTS * 2}, DataError, "without gaps"),
        ({"segments": SEGMENTS.astype(float)}, DataError, "whole numbers"),
        ({"samples": np.ones((3, 5), bool)}, DataError, r"\(n, 6\)"),
        ({"samples": np.ones((3, 6))}, DataError, "bool"),
    ],
)
def test_arguments_that_do_not_fit(image, change, error, message):
    arguments = {"model": brightness, "image": image, "segments": SEGMENTS, "samples": np.ones((3, 6), bool)}
    with pytest.raises(error, match=message):
        perturb(**(arguments | change))


# --- records


def make_record(superpixel_count=6, samples=20, seed=0):
    segments = np.arange(300).reshape(15, 20) % superpixel_count
    answers = np.random.default_rng(seed).dirichlet(np.ones(6), samples).astype(np.float32)
    return PerturbationRecord(
        image_id="ka_anger_1",
        model="SongNet_CV3",
        segments=segments,
        samples=draw_samples(superpixel_count, samples, seed),
        predictions=answers,
        hidden=0.25,
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40))
def test_a_record_comes_back_as_it_was(tmp_path_factory, superpixel_count, samples):
    record = make_record(superpixel_count, samples)
    path = tmp_path_factory.mktemp("records") / "record.npz"
    record.save(path)
    found = PerturbationRecord.load(path)
    assert (found.image_id, found.model, found.hidden) == (record.image_id, record.model, record.hidden)
    for name in ("segments", "samples", "predictions"):
        assert np.array_equal(getattr(found, name), getattr(record, name))
    assert (found.samples.dtype, found.predictions.dtype) == (bool, np.float32)


def test_equal_records_have_equal_bytes_and_are_small(tmp_path):
    make_record(30, 1000).save(tmp_path / "a.npz")
    make_record(30, 1000).save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").stat().st_size < 32_000


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_truncated_or_altered_records_raise_only_our_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("records") / "record.npz"
    make_record().save(path)
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
    try:
        PerturbationRecord.load(path)
    except DataError:
        pass


def test_files_that_are_no_records(tmp_path):
    path = tmp_path / "record.npz"
    np.savez(path, maps=np.zeros(3))
    with pytest.raises(DataError, match="lacks image_id"):
        PerturbationRecord.load(path)
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
    with pytest.raises(FileNotFoundError):
        PerturbationRecord.load(tmp_path / "none.npz")


def test_a_record_with_nan_is_refused():
    answers = np.full((20, 6), np.nan, np.float32)
    with pytest.raises(DataError, match="finite"):
        PerturbationRecord(
            image_id="a", model="m", segments=SEGMENTS, samples=draw_samples(6, 20, 0), predictions=answers
        )
