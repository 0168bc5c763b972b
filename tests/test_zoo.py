"""The twelve networks: exact sizes, flat graphs, preprocessing, initial weights."""

import numpy as np
import pytest

from ekman_expressions.errors import MissingError, ModelError, SettingsError
from ekman_expressions.zoo import NETWORKS, NetSpec
from ekman_expressions.zoo.applications import KERAS_FILES, native, weights_file

PRETRAINED = tuple(KERAS_FILES)
CAFFE = (0 - 103.939, 127.5 - 116.779, 255 - 123.68)
NATIVE = {
    "InceptionV3": (1, 0, -1),
    "VGG19": CAFFE,
    "VGG16": CAFFE,
    "ResNet50": CAFFE,
    "ResNet101V2": (1, 0, -1),
    "Xception": (1, 0, -1),
    "MobileNetV3Large": (1, 0, -1),
    "EfficientNetV2B0": ((1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225),
}
"""By hand: what the first convolution sees of an orange pixel, R 1, G 0.5, B 0."""


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


@pytest.fixture
def _cheap_initial_weights(monkeypatch):
    """Zeros instead of SilNet's 185 million random numbers, which take half a minute."""
    import keras

    for name in ("GlorotNormal", "GlorotUniform"):
        monkeypatch.setattr(
            getattr(keras.initializers, name),
            "__call__",
            lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype),
        )


@pytest.fixture
def small():
    """MobileNetV3Large at another side, where it is cheap to run."""
    return NetSpec("MobileNetV3Large", 64, 0, "adam", 1e-3, 1, True)


def _at_first_weights(model):
    """What the first layer with weights gets for the middle pixel of an orange image."""
    import keras

    image = np.full((1, *model.input_shape[1:]), [1.0, 0.5, 0.0], np.float32)
    first = next(layer for layer in model.layers if layer.weights)
    seen = keras.Model(model.input, first.input)(image).numpy()
    return seen[0, seen.shape[1] // 2, seen.shape[2] // 2]


def test_the_registry_has_the_networks_of_the_study():
    assert len(NETWORKS) == 12
    assert [name for name, spec in NETWORKS.items() if spec.pretrained] == list(PRETRAINED)
    others = {name: spec.side for name, spec in NETWORKS.items() if spec.side != 224}
    assert others == {"SilNet": 150, "WeiNet": 64}


@pytest.mark.parametrize(
    ("name", "side", "parameters"),
    [
        ("SilNet", 150, 184_852_038),
        ("WeiNet", 64, 1_728_230),
        ("AlexNet", 224, 88_718_726),
        ("SongNet", 224, 172_678),
        ("InceptionV3", 224, 21_815_078),
        ("VGG19", 224, 20_027_462),
        ("VGG16", 224, 14_717_766),
        ("ResNet50", 224, 23_600_006),
        ("ResNet101V2", 224, 42_638_854),
        ("Xception", 224, 20_873_774),
        ("MobileNetV3Large", 224, 3_002_118),
        ("EfficientNetV2B0", 224, 5_926_998),
    ],
)
def test_each_network_has_its_input_and_its_exact_number_of_parameters(
    name, side, parameters, _cheap_initial_weights
):
    import keras

    # Preprocessing must not add any, so the fuller graph is counted.
    model = NETWORKS[name].build(preprocessing="native")
    assert model.count_params() == parameters == NETWORKS[name].parameters
    assert model.input_shape == (None, side, side, 3)
    assert model.output_shape == (None, 6)
    assert model.layers[-1].activation is keras.activations.softmax
    assert not [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if name in NATIVE:
        np.testing.assert_allclose(_at_first_weights(model), NATIVE[name], atol=1e-4)


def test_scratch_networks_have_the_layers_of_the_study():
    import keras

    def shapes(name, kind):
        model = NETWORKS[name].build()
        return [tuple(layer.output.shape[1:]) for layer in model.layers if isinstance(layer, kind)]

    assert shapes("WeiNet", keras.layers.MaxPooling2D) == [(64, 64, 32), (64, 64, 32), (64, 64, 64)]
    assert shapes("SongNet", keras.layers.MaxPooling2D) == [
        (112, 112, 64), (56, 56, 64), (28, 28, 32), (14, 14, 32),
    ]
    layers = NETWORKS["SongNet"].build().layers
    assert [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)] == [0.5, 0.5]


@pytest.mark.parametrize("name", PRETRAINED)
def test_native_preprocessing_equals_that_of_keras(name):
    import importlib
    import inspect

    import keras

    image = np.random.default_rng(0).random((1, 5, 4, 3), dtype=np.float32)
    inputs = keras.Input((5, 4, 3))
    graph = keras.Model(inputs, native(name, inputs))
    module = importlib.import_module(inspect.getmodule(getattr(keras.applications, name)).__name__)
    expected = module.preprocess_input(image * 255)
    np.testing.assert_allclose(graph(image).numpy(), expected, atol=2e-4)
    assert graph.count_params() == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VGG16", [1.0, 0.5, 0.0]),
        ("Xception", [1.0, 0.5, 0.0]),
        # What the study did: these two rescale again inside.
        ("MobileNetV3Large", [1 / 127.5 - 1, 0.5 / 127.5 - 1, -1]),
        ("EfficientNetV2B0", [(1 / 255 - 0.485) / 0.229, (0.5 / 255 - 0.456) / 0.224, -0.406 / 0.225]),
    ],
)
def test_paper_preprocessing_adds_nothing(name, expected):
    model = NetSpec(name, 72, 0, "adam", 1e-3, 1, True).build()
    np.testing.assert_allclose(_at_first_weights(model), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["VGG16", "Xception"])
def test_native_graphs_load_in_safe_mode_with_equal_answers(name, tmp_path):
    import keras

    model = NetSpec(name, 72, 0, "adam", 1e-3, 1, True).build(preprocessing="native")
    image = np.random.default_rng(0).random((1, 72, 72, 3), dtype=np.float32)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(image).numpy(), model(image).numpy())


def test_momentum_of_all_batch_normalisations_is_set(small):
    import keras

    def momenta(model):
        kind = keras.layers.BatchNormalization
        return {layer.momentum for layer in model.layers if isinstance(layer, kind)}

    assert momenta(small.build(batch_norm_momentum=0.9)) == {0.9}
    assert momenta(small.build()) == {0.999}


def test_weights_without_top_come_from_a_file(small, tmp_path):
    import keras

    backbone = keras.applications.MobileNetV3Large(include_top=False, input_shape=(64, 64, 3), weights=None)
    backbone.save_weights(tmp_path / "MobileNetV3Large.weights.h5")
    for preprocessing in ("paper", "native"):
        model = small.build(weights_file(tmp_path, "MobileNetV3Large"), preprocessing)
        *ours, kernel, bias = model.get_weights()
        assert kernel.shape == (960, 6) and bias.shape == (6,)
        for mine, theirs in zip(ours, backbone.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_keras_own_file_names_are_found(tmp_path):
    with pytest.raises(MissingError, match="VGG16.weights.h5, or vgg16_weights_tf_dim_ordering.*notop.h5"):
        weights_file(tmp_path, "VGG16")
    for name in (KERAS_FILES["VGG16"], "VGG16.h5", "VGG16.weights.h5"):
        (tmp_path / name).touch()
        assert weights_file(tmp_path, "VGG16").name == name


def test_weights_of_another_network_are_refused_with_the_layer(tmp_path, small):
    import keras

    path = tmp_path / "MobileNetV3Large.weights.h5"
    other = keras.applications.MobileNetV3Small(include_top=False, input_shape=(64, 64, 3), weights=None)
    other.save_weights(path)
    with pytest.raises(ModelError, match="does not hold the weights of MobileNetV3Large.*expanded_conv"):
        small.build(path)


def test_weights_of_another_size_are_refused_with_both_shapes(tmp_path, small):
    import keras

    path = tmp_path / "MobileNetV3Large.weights.h5"
    keras.applications.MobileNetV3Large(
        include_top=False, input_shape=(64, 64, 3), weights=None, alpha=0.75
    ).save_weights(path)
    with pytest.raises(ModelError, match=r"expanded_conv_3_project.*\(1, 1, 72, 40\).*\(1, 1, 72, 32\)"):
        small.build(path)


def test_damaged_and_missing_weights_are_named(tmp_path, small):
    path = tmp_path / "MobileNetV3Large.weights.h5"
    with pytest.raises(MissingError, match="There is no weights file .*MobileNetV3Large.weights.h5"):
        small.build(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="does not hold the weights of MobileNetV3Large"):
        small.build(path)


def test_without_network_the_error_says_how_to_pass_a_file(monkeypatch):
    from keras.src.utils import file_utils

    def offline(*_, **__):
        raise Exception("URL fetch failure on https://storage.example: None -- no route")

    monkeypatch.setattr(file_utils, "get_file", offline)
    with pytest.raises(MissingError, match="no route.*training.weights to a folder.*Large.weights.h5"):
        NETWORKS["MobileNetV3Large"].build("imagenet")


def test_arguments_without_meaning_are_refused():
    wei = NETWORKS["WeiNet"]
    with pytest.raises(SettingsError, match="WeiNet is trained from scratch.*got 'imagenet'"):
        wei.build("imagenet")
    with pytest.raises(SettingsError, match="'paper', 'native', but got 'caffe'"):
        wei.build(preprocessing="caffe")
    with pytest.raises(SettingsError, match="'classes'.*>= 2, but got 1"):
        wei.build(classes=1)
    with pytest.raises(SettingsError, match=r"'batch_norm_momentum'.*\[0, 1\], but got 2"):
        wei.build(batch_norm_momentum=2)


def test_no_weights_and_none_both_start_at_random(small):
    import keras

    keras.utils.set_random_seed(0)
    one = NETWORKS["WeiNet"].build(None).get_weights()
    keras.utils.set_random_seed(0)
    two = NETWORKS["WeiNet"].build("none").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert small.build(None).count_params() == NETWORKS["MobileNetV3Large"].parameters
