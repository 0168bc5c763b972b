"""Files as Keras 2 writes them give the same answers in our flat graphs; wrong ones are refused by layer."""

import h5py
import keras2_files
import numpy as np
import pytest

from ekman_expressions.core.errors import ModelError
from ekman_expressions.zoo import NETWORKS, NetSpec
from ekman_expressions.zoo.weights import _load_weights

SIDES = {"InceptionV3": 75, "Xception": 71, "AlexNet": 64, "SilNet": 16}
"""Sides at which the networks are cheap; the others take 32."""


def _small(name, classes=6):
    spec = NETWORKS[name]
    return NetSpec(name, SIDES.get(name, 32), 0, "adam", 1e-3, 1, spec.pretrained).build(classes=classes)


@pytest.fixture(scope="module")
def songnet_file(tmp_path_factory):
    """A file of a small SongNet, not to be changed."""
    path = tmp_path_factory.mktemp("keras2") / "SongNet_CV1_weights.h5"
    keras2_files.make_model("SongNet", 32).save_weights(path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_equal_those_of_keras_2(name, tmp_path):
    side = SIDES.get(name, 32)
    # The last two rescale inside, and would hardly see an image in [0, 1].
    brightest = 255 if name in ("MobileNetV3Large", "EfficientNetV2B0") else 1
    rng = np.random.default_rng(1)
    # Of different colours: noise alone looks the same to an average over a big image.
    colours = rng.random((8, 1, 1, 3), dtype=np.float32)
    images = colours * rng.random((8, side, side, 3), dtype=np.float32) * brightest
    theirs = keras2_files.make_model(name, side)
    keras2_files.randomise(theirs, images)
    expected = theirs(images, training=False).numpy()
    theirs.save_weights(tmp_path / "weights.h5")
    # Answers depend on the image, or equality would say little of the weights.
    assert np.ptp(expected, axis=0).max() > 5e-3
    ours = _small(name)
    _load_weights(ours, tmp_path / "weights.h5")
    np.testing.assert_allclose(ours(images, training=False).numpy(), expected, atol=1e-5)


def test_names_that_keras_counted_on_do_not_matter(songnet_file, tmp_path):
    # The second model of a session has other names, conv2d_4 instead of conv2d.
    path = tmp_path / "second.h5"
    theirs = keras2_files.make_model("SongNet", 32)
    theirs.save_weights(path)
    with h5py.File(songnet_file) as one, h5py.File(path) as two:
        assert list(one.attrs["layer_names"]) != list(two.attrs["layer_names"])
    ours = _small("SongNet")
    _load_weights(ours, path)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_whole_models_and_lists_cut_into_parts_are_read(songnet_file, tmp_path):
    path = tmp_path / "whole.h5"
    with h5py.File(songnet_file) as old, h5py.File(path, "w") as new:
        old.copy(old, new, name="model_weights")
        root = new["model_weights"]
        names = root.attrs["layer_names"]
        del root.attrs["layer_names"]
        root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:3], names[3:]
    whole, plain = _small("SongNet"), _small("SongNet")
    _load_weights(whole, path)
    _load_weights(plain, songnet_file)
    for one, two in zip(whole.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_another_number_of_classes_is_refused(songnet_file):
    model = _small("SongNet", classes=7)
    before = model.get_weights()
    with pytest.raises(
        ModelError,
        match=r"its layer 'dense\w*' has bias \(6,\), kernel \(128, 6\), but layer 'probabilities' of "
        r"SongNet has bias \(7,\), kernel \(128, 7\)",
    ):
        _load_weights(model, songnet_file)
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_layer_too_few_is_refused(songnet_file, tmp_path):
    path = tmp_path / "short.h5"
    path.write_bytes(songnet_file.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = file.attrs["layer_names"][:-1]
    with pytest.raises(ModelError, match=r"its layer '\(none\)' has no weights, but layer 'probabilities'"):
        _load_weights(_small("SongNet"), path)


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_file_cut_off_is_refused(songnet_file, tmp_path, share):
    path = tmp_path / "cut.h5"
    content = songnet_file.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"cut.h5 \(\d+ bytes\) cannot be read as a Keras 2 weights file"):
        _load_weights(_small("SongNet"), path)


def test_other_files_are_refused(songnet_file, tmp_path):
    model = _small("SongNet")
    model.save_weights(tmp_path / "keras3.weights.h5")
    with pytest.raises(ModelError, match="has no attribute 'layer_names'"):
        _load_weights(model, tmp_path / "keras3.weights.h5")
    path = tmp_path / "gap.h5"
    path.write_bytes(songnet_file.read_bytes())
    with h5py.File(path, "r+") as file:
        layer = file.attrs["layer_names"][0]
        del file[layer][file[layer].attrs["weight_names"][0]]
    with pytest.raises(ModelError, match="gap.h5 .*cannot be read as a Keras 2 weights file.*doesn't exist"):
        _load_weights(model, path)
    path.write_bytes(songnet_file.read_bytes())
    with h5py.File(path, "r+") as file:
        layer = file.attrs["layer_names"][0]
        file[layer][file[layer].attrs["weight_names"][0]][0, 0, 0, :3] = np.nan
    with pytest.raises(ModelError, match=r"gap.h5 is damaged: 3 of 4800 values of /conv2d.*kernel:0"):
        _load_weights(model, path)
