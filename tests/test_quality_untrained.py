import numpy as np
import pytest
from scipy.stats import spearmanr
from tiny_network import SIDE, register

from ekman_expressions.core.errors import DataError, ModelError
from ekman_expressions.measures.map_agreement import correlations, similarity
from ekman_expressions.measures.untrained import untrained_copy
from ekman_expressions.zoo import NETWORKS


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).random((8, SIDE, SIDE, 3), dtype=np.float32)


@pytest.fixture
def trained():
    register()
    import keras

    keras.utils.set_random_seed(0)
    return NETWORKS["Tiny"].build()


# --- the untrained copy


def test_the_copy_has_other_weights_the_same_architecture_and_is_deterministic(trained, faces):
    import keras

    keras.utils.set_random_seed(1)
    copy = untrained_copy(trained, faces, seed=3)
    keras.utils.set_random_seed(2)
    # Another model of the same architecture, whose layers have other names.
    trained = NETWORKS["Tiny"].build()
    again, other = untrained_copy(trained, faces, seed=3), untrained_copy(trained, faces, seed=4)
    weights = list(zip(*(model.weights for model in (trained, copy, again, other)), strict=True))
    for was, new, same, differs in weights:
        assert was.shape == new.shape
        assert np.array_equal(new, same)
        # Biases and scales all start at 0 or 1.
        if "kernel" in was.path:
            assert not np.allclose(was, new) and not np.allclose(new, differs)
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in trained.layers]
    assert not np.allclose(copy(faces), trained(faces))


def test_weights_are_drawn_as_the_layers_say(trained, faces):
    import keras

    layers = untrained_copy(trained, faces, seed=0).layers
    kernel = next(np.asarray(layer.kernel) for layer in layers if isinstance(layer, keras.layers.Dense))
    limit = np.sqrt(6 / sum(kernel.shape))
    assert np.abs(kernel).max() <= limit and kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)


def test_no_global_generator_is_touched(trained, faces):
    before = np.random.get_state()[1].copy()
    untrained_copy(trained, faces, seed=0)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_normalisations_get_the_statistics_of_the_faces(trained, faces, frozen):
    import keras

    trained.trainable = not frozen
    copy = untrained_copy(trained, faces, seed=0)
    place = next(
        number
        for number, layer in enumerate(copy.layers)
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    normalised = copy.layers[place]
    given = np.asarray(keras.Model(copy.input, copy.layers[place - 1].output)(faces))
    np.testing.assert_allclose(normalised.moving_mean, given.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(normalised.moving_variance, given.var(axis=(0, 1, 2)), rtol=1e-2)
    assert normalised.momentum == trained.layers[place].momentum
    assert normalised.trainable != frozen


def test_models_within_models_are_copied_and_preprocessing_is_kept(faces):
    import keras

    inner = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    )
    image = keras.Input((SIDE, SIDE, 3))
    scale = keras.layers.Normalization()
    scale.adapt(faces)
    answer = keras.layers.Dense(6, activation="softmax")(inner(scale(image)))
    model = keras.Model(image, answer)
    copy = untrained_copy(model, faces, seed=0)
    same = {
        weight.path.split("/")[-1]: np.array_equal(weight, new)
        for weight, new in zip(model.weights, copy.weights, strict=True)
    }
    assert same["mean"] and same["variance"]
    kernels = [
        (weight, new)
        for weight, new in zip(model.weights, copy.weights, strict=True)
        if weight.path.endswith("kernel")
    ]
    assert len(kernels) == 2 and not any(np.array_equal(*pair) for pair in kernels)


def test_what_has_no_weights_is_refused(faces):
    with pytest.raises(ModelError, match="function has no weights"):
        untrained_copy(lambda images: images, faces, seed=0)


# --- how alike heatmaps are


def test_a_heatmap_is_like_itself_in_any_range_and_unlike_its_negative():
    heatmap = np.random.default_rng(0).random((30, 40))
    assert similarity(heatmap, 3 * heatmap + 2) == pytest.approx({"pearson": 1, "spearman": 1, "ssim": 1})
    opposite = similarity(heatmap, -heatmap)
    assert opposite["pearson"] == pytest.approx(-1) and opposite["spearman"] == pytest.approx(-1)
    assert opposite["ssim"] < 0


def test_similarity_agrees_with_scipy():
    first, second = np.random.default_rng(0).random((2, 30, 40)) ** 3
    second += 0.3 * first
    found = similarity(first, second)
    assert found["pearson"] == pytest.approx(np.corrcoef(first.ravel(), second.ravel())[0, 1])
    assert found["spearman"] == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)


def test_similarity_of_a_constant_heatmap_is_no_number():
    heatmap = np.random.default_rng(0).random((30, 40))
    assert np.isnan(list(similarity(heatmap, np.full((30, 40), 0.2)).values())).all()
    with pytest.raises(DataError, match="different shapes"):
        similarity(heatmap, heatmap[1:])


def test_correlations_of_several_maps():
    maps = np.random.default_rng(0).random((4, 5, 6))
    maps[2] = 0.1
    found = correlations(maps)
    kept = [0, 1, 3]
    np.testing.assert_allclose(found[np.ix_(kept, kept)], np.corrcoef(maps[kept].reshape(3, -1)), atol=1e-12)
    assert np.isnan(found[2]).all() and np.isnan(found[:, 2]).all()
