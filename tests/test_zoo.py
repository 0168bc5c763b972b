"""The twelve networks: sizes, flat graphs, preprocessing; each learns and is saved without loss."""

import numpy as np
import pytest
from tiny_network import small

from ekman_expressions.core.errors import MissingError
from ekman_expressions.zoo import NETWORKS, saving
from ekman_expressions.zoo.networks import _preprocessing_warning

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
"""By hand, for those with weights of ImageNet: what the first convolution sees of R 1, G 0.5, B 0."""


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


def _at_first_weights(model):
    """What the first layer with weights gets for the middle pixel of an orange image."""
    import keras

    image = np.full((1, *model.input_shape[1:]), [1.0, 0.5, 0.0], np.float32)
    first = next(layer for layer in model.layers if layer.weights)
    seen = keras.Model(model.input, first.input)(image).numpy()
    return seen[0, seen.shape[1] // 2, seen.shape[2] // 2]


PARAMETERS = dict(SilNet=184_852_038, WeiNet=1_728_230, AlexNet=88_718_726, SongNet=172_678)
PARAMETERS |= dict(InceptionV3=21_815_078, VGG19=20_027_462, VGG16=14_717_766, ResNet50=23_600_006)
PARAMETERS |= dict(ResNet101V2=42_638_854, Xception=20_873_774, MobileNetV3Large=3_002_118)
PARAMETERS |= dict(EfficientNetV2B0=5_926_998)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_has_its_input_and_its_exact_number_of_parameters(name, _cheap_initial_weights):
    import keras

    side = {"SilNet": 150, "WeiNet": 64}.get(name, 224)
    # Preprocessing must not add any, so the fuller graph is counted.
    model = NETWORKS[name].build(preprocessing="native")
    assert model.count_params() == PARAMETERS[name] == NETWORKS[name].parameters
    assert model.input_shape == (None, side, side, 3) and NETWORKS[name].pretrained == (name in NATIVE)
    assert model.output_shape == (None, 6)
    assert model.layers[-1].activation is keras.activations.softmax
    assert not [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if name == "SongNet":
        rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert rates == [0.5, 0.5]
    # Those that start from scratch know one preprocessing.
    np.testing.assert_allclose(_at_first_weights(model), NATIVE.get(name, (1, 0.5, 0)), atol=1e-4)


def test_a_warning_says_why_weights_and_preprocessing_do_not_go_together():
    for name in NETWORKS:
        fine = [("none", "paper"), ("none", "native"), ("imagenet", "native"), ("released", "paper")]
        for weights, preprocessing in fine:
            assert _preprocessing_warning(name, preprocessing, weights) is None
        for weights, preprocessing in [("imagenet", "paper"), ("released", "native")]:
            warning = _preprocessing_warning(name, preprocessing, weights)
            assert (warning is not None) == (name in NATIVE)
    assert "expect BGR gray values with" in _preprocessing_warning("VGG16", "paper", "imagenet")
    assert "expect RGB in [-1, 1], but get [0, 1]" in _preprocessing_warning("Xception", "paper", "imagenet")
    assert "nearly constant" in _preprocessing_warning("EfficientNetV2B0", "paper", "imagenet")
    assert "expect pixels / 255" in _preprocessing_warning("ResNet50", "native", "released")


def test_without_network_the_error_says_where_to_put_the_file(monkeypatch):
    from keras.src.utils import file_utils

    def offline(*_, **__):
        raise Exception("URL fetch failure on https://storage.example: None -- no route")

    monkeypatch.setattr(file_utils, "get_file", offline)
    with pytest.raises(MissingError, match="no route.*~/.keras/models.*training.weights"):
        NETWORKS["MobileNetV3Large"].build("imagenet")


def test_momentum_of_all_batch_normalisations_is_set():
    import keras

    for given, expected in ((0.9, 0.9), (None, 0.999)):
        layers = small("MobileNetV3Large").build(batch_norm_momentum=given).layers
        normalisations = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert {layer.momentum for layer in normalisations} == {expected}


# VGG16 stands for VGG19, and Xception and the mobile networks for others that take long.
BIG = ("VGG19", "ResNet50", "ResNet101V2", "InceptionV3")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in BIG)) for name in NETWORKS])
def test_saved_models_answer_equal_to_the_bit_and_one_step_of_training_lowers_the_loss(name, tmp_path):
    import keras

    spec = small(name)
    keras.utils.set_random_seed(0)
    # With pixels / 255, some networks hardly see an image that is not theirs to rescale.
    model = spec.build(preprocessing="native")
    images = np.random.default_rng(0).random((4, spec.side, spec.side, 3), dtype=np.float32)
    targets = np.eye(6, dtype=np.float32)[[0, 2, 3, 5]]
    saving.save(model, tmp_path / "model.keras")
    loaded = saving.load(tmp_path / "model.keras")
    answers = model(images, training=False).numpy()
    np.testing.assert_array_equal(loaded(images, training=False).numpy(), answers)
    assert loaded.name == name
    seeds = [layer.seed_generator.state for layer in model.layers if hasattr(layer, "seed_generator")]
    values = [keras.ops.copy(seed) for seed in seeds]

    def loss():
        # The same units are dropped each time, so that losses can be compared.
        for seed, value in zip(seeds, values, strict=True):
            seed.assign(value)
        answers = model(images, training=True)
        return float(keras.ops.mean(keras.losses.categorical_crossentropy(targets, answers)))

    kinds = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    learner = keras.Model(model.input, model.output)
    optimizer = kinds[spec.optimizer](spec.learning_rate)
    # Eagerly: to compile a graph takes far longer than one step.
    learner.compile(optimizer=optimizer, loss="categorical_crossentropy", run_eagerly=True)
    before = loss()
    for seed, value in zip(seeds, values, strict=True):
        seed.assign(value)
    learner.train_on_batch(images, targets)
    assert 0.5 < before < 10
    assert loss() < before
