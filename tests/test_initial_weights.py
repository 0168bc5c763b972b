"""Weights to start from: files without top, Keras' own files and their hashes."""

import hashlib

import numpy as np
import pytest

from ekman_expressions.core.errors import MissingError, ModelError
from ekman_expressions.zoo import NETWORKS, NetSpec
from ekman_expressions.zoo.weights import _KERAS_FILES, _weights_file


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


@pytest.fixture
def small():
    """MobileNetV3Large at another side, where it is cheap to run."""
    return NetSpec("MobileNetV3Large", 64, 0, "adam", 1e-3, 1, True)


def test_weights_without_top_come_from_a_file(small, tmp_path):
    import keras

    backbone = keras.applications.MobileNetV3Large(include_top=False, input_shape=(64, 64, 3), weights=None)
    backbone.save_weights(tmp_path / "MobileNetV3Large.weights.h5")
    for preprocessing in ("paper", "native"):
        model = small.build(_weights_file(tmp_path, "MobileNetV3Large"), preprocessing)
        *ours, kernel, bias = model.get_weights()
        assert kernel.shape == (960, 6) and bias.shape == (6,)
        for mine, theirs in zip(ours, backbone.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_keras_own_file_names_are_found(tmp_path):
    with pytest.raises(MissingError, match="VGG16.weights.h5, or vgg16_weights_tf_dim_ordering.*notop.h5"):
        _weights_file(tmp_path, "VGG16")
    for name in (_KERAS_FILES["VGG16"][0], "VGG16.h5", "VGG16.weights.h5"):
        (tmp_path / name).touch()
        assert _weights_file(tmp_path, "VGG16").name == name


def test_missing_and_damaged_weights_and_those_of_another_size_are_named(tmp_path, small):
    import keras

    path = tmp_path / "MobileNetV3Large.weights.h5"
    with pytest.raises(MissingError, match="There is no weights file .*MobileNetV3Large.weights.h5"):
        small.build(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="does not hold the weights of MobileNetV3Large"):
        small.build(path)
    shape = {"input_shape": (64, 64, 3), "weights": None, "alpha": 0.75}
    keras.applications.MobileNetV3Large(include_top=False, **shape).save_weights(path)
    with pytest.raises(ModelError, match=r"expanded_conv_3_project.*\(1, 1, 72, 40\).*\(1, 1, 72, 32\)"):
        small.build(path)


def test_without_network_the_error_says_how_to_pass_a_file(monkeypatch):
    from keras.src.utils import file_utils

    def offline(*_, **__):
        raise Exception("URL fetch failure on https://storage.example: None -- no route")

    monkeypatch.setattr(file_utils, "get_file", offline)
    with pytest.raises(MissingError, match="no route.*training.weights to a folder.*Large.weights.h5"):
        NETWORKS["MobileNetV3Large"].build("imagenet")


@pytest.mark.parametrize("name", _KERAS_FILES)
def test_names_and_hashes_are_those_that_keras_downloads(name, monkeypatch):
    from keras.src.utils import file_utils

    asked = {}

    def watched(fname, origin, *, file_hash, **_):
        asked.update(origin=origin, found=(fname, file_hash))
        raise Exception("seen")

    monkeypatch.setattr(file_utils, "get_file", watched)
    with pytest.raises(MissingError, match="seen"):
        NETWORKS[name].build("imagenet")
    assert asked["found"] == _KERAS_FILES[name]
    assert asked["origin"].endswith(_KERAS_FILES[name][0])


def test_keras_own_file_is_checked_by_its_hash_before_it_is_read(tmp_path):
    path = tmp_path / _KERAS_FILES["MobileNetV3Large"][0]
    path.write_bytes(b"half a download")
    digest = hashlib.md5(b"half a download").hexdigest()
    with pytest.raises(ModelError, match=f"its MD5 is {digest}, not 07fb09a5933dd0c8ea.*: it is incomplete"):
        NETWORKS["MobileNetV3Large"].build(path)
