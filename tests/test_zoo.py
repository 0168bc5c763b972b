"""The twelve networks: exact sizes, flat graphs, preprocessing, initial weights."""

import numpy as np
import pytest

from ekman_expressions.core.errors import SettingsError
from ekman_expressions.zoo import NETWORKS, NetSpec, preprocessing_warning
from ekman_expressions.zoo.networks import _native as native
from ekman_expressions.zoo.weights import KERAS_FILES

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
        (112, 112, 64),
        (56, 56, 64),
        (28, 28, 32),
        (14, 14, 32),
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


@pytest.mark.parametrize("name", NETWORKS)
def test_paper_preprocessing_adds_nothing(name):
    # What the study did: these two rescale again inside.
    rescaled = {
        "MobileNetV3Large": [1 / 127.5 - 1, 0.5 / 127.5 - 1, -1],
        "EfficientNetV2B0": [(1 / 255 - 0.485) / 0.229, (0.5 / 255 - 0.456) / 0.224, -0.406 / 0.225],
    }
    model = NetSpec(name, 75, 0, "adam", 1e-3, 1, name in PRETRAINED).build()
    np.testing.assert_allclose(_at_first_weights(model), rescaled.get(name, [1, 0.5, 0]), rtol=1e-5)


@pytest.mark.parametrize("name", ["SilNet", "WeiNet", "AlexNet", "SongNet"])
def test_networks_from_scratch_know_one_preprocessing(name):
    model = NetSpec(name, 16, 0, "adam", 1e-3, 1, False).build(preprocessing="native")
    np.testing.assert_array_equal(_at_first_weights(model), [1, 0.5, 0])


def test_a_warning_says_why_weights_and_preprocessing_do_not_go_together():
    for name in NETWORKS:
        fine = [("none", "paper"), ("none", "native"), ("imagenet", "native"), ("released", "paper")]
        for weights, preprocessing in fine:
            assert preprocessing_warning(name, preprocessing, weights) is None
        for weights, preprocessing in [("imagenet", "paper"), ("/a/folder", "paper"), ("released", "native")]:
            warning = preprocessing_warning(name, preprocessing, weights)
            assert (warning is not None) == (name in PRETRAINED)
    assert "expect BGR gray values with" in preprocessing_warning("VGG16", "paper", "imagenet")
    assert "expect RGB in [-1, 1], but get [0, 1]" in preprocessing_warning("Xception", "paper", "imagenet")
    assert "nearly constant" in preprocessing_warning("EfficientNetV2B0", "paper", "imagenet")
    assert "trained on pixels / 255" in preprocessing_warning("ResNet50", "native", "released")
    with pytest.raises(SettingsError, match="'network'.*but got 'VGG'"):
        preprocessing_warning("VGG", "paper", "none")


def test_momentum_of_all_batch_normalisations_is_set(small):
    import keras

    def momenta(model):
        kind = keras.layers.BatchNormalization
        return {layer.momentum for layer in model.layers if isinstance(layer, kind)}

    assert momenta(small.build(batch_norm_momentum=0.9)) == {0.9}
    assert momenta(small.build()) == {0.999}


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
