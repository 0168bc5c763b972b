import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.explainers.record import PerturbationRecord, draw_samples
from ekman_expressions.study.settings import ExplanationSettings
from ekman_expressions.zoo.asking import perturb
from ekman_expressions.zoo.background import background

SEGMENTS = np.arange(16).reshape(4, 4).repeat(10, 0).repeat(10, 1) // 4


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((40, 40, 3), dtype=np.float32)


def seen(image, samples, hidden, segments=SEGMENTS):
    """The images that a model is shown."""
    shown = []

    def look(images):
        shown.append(images)
        return np.full((len(images), 2), 0.5)

    perturb(look, image, segments, samples, hidden=hidden)
    return np.concatenate(shown)


@pytest.mark.parametrize("hidden", [0, 0.0, 0.25, 1, "mean", "blur"])
def test_hidden_superpixels_show_the_background_and_kept_ones_the_image(image, hidden):
    samples = draw_samples(4, 20, 0)
    behind = background(image, hidden)
    assert behind.shape == image.shape and behind.dtype == np.float32
    for copy, kept in zip(seen(image, samples, hidden), samples, strict=True):
        shown = kept[SEGMENTS]
        assert np.array_equal(copy[shown], image[shown])
        assert np.array_equal(copy[~shown], behind[~shown])


def test_the_mean_is_that_of_each_channel(image):
    image = image * np.float32([1, 0.5, 0.1])
    assert np.ptp(background(image, "mean"), axis=(0, 1)).max() == 0
    np.testing.assert_allclose(background(image, "mean")[0, 0], image.mean(axis=(0, 1)), rtol=1e-5)


def test_the_blur_keeps_flat_images_and_spreads_a_point_as_a_gaussian():
    flat = np.full((40, 60, 3), 0.3, np.float32)
    np.testing.assert_allclose(background(flat, "blur"), 0.3, rtol=1e-6)
    point = np.zeros((101, 161, 3), np.float32)
    point[50, 80, 1] = 1
    blurred = background(point, "blur")
    # A twentieth of the shorter side.
    assert blurred[50, 80, 1] == pytest.approx(1 / (2 * np.pi * 5.05**2), rel=1e-2)
    assert blurred[..., 1].sum() == pytest.approx(1, abs=1e-3)
    assert not blurred[..., [0, 2]].any()
    rows = np.arange(101) - 50
    assert np.sqrt(blurred[..., 1].sum(axis=1) @ rows**2) == pytest.approx(5.05, rel=2e-2)


def test_any_picture_may_lie_behind(image):
    picture = np.random.default_rng(1).random((40, 40, 3))
    none = np.zeros((1, 4), bool)
    assert np.array_equal(seen(image, none, picture)[0], picture.astype(np.float32))


def test_keras_models_see_the_same(image):
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, strides=3), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((40, 40, 3)), *layers, keras.layers.Dense(3, activation="softmax")])
    samples = draw_samples(4, 40, 0)
    for hidden in (0.3, "mean", "blur"):
        answers = perturb(model, image, SEGMENTS, samples, hidden=hidden)
        wanted = model.predict(seen(image, samples, hidden), verbose=0)
        np.testing.assert_allclose(answers, wanted, atol=1e-5)


@pytest.mark.parametrize("hidden", [0.25, "mean"])
def test_a_record_says_what_was_behind(tmp_path, hidden):
    record = PerturbationRecord(
        image_id="a",
        model="m",
        segments=np.array([[0, 1]]),
        samples=np.ones((2, 2), bool),
        predictions=np.full((2, 2), 0.5, np.float32),
        hidden=hidden,
    )
    record.save(tmp_path / "record.npz")
    assert PerturbationRecord.load(tmp_path / "record.npz").hidden == hidden


@pytest.mark.parametrize("hidden", [-0.1, 1.5, "grey", None, True, float("nan")])
def test_what_cannot_lie_behind_is_refused(image, hidden):
    with pytest.raises(SettingsError, match="hidden"):
        background(image, hidden)
    with pytest.raises(SettingsError, match="explanation.hidden"):
        ExplanationSettings(hidden=hidden)


def test_a_picture_of_another_shape_or_range_is_refused(image):
    for picture in (np.zeros((40, 41, 3)), np.full((40, 40, 3), 1.1), np.full((40, 40, 3), np.nan)):
        with pytest.raises(DataError, match="A background must"):
            background(image, picture)
