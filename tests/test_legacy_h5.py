"""Files as Keras 2 writes them give the same answers in our flat graphs; wrong ones are refused by layer."""

import h5py
import keras2_files
import numpy as np
import pytest
from tiny_network import small

from ekman_expressions.core.errors import ModelError
from ekman_expressions.zoo import NETWORKS
from ekman_expressions.zoo.saving import _load_weights


@pytest.fixture(scope="module")
def songnet_file(tmp_path_factory):
    """A file of a small SongNet, not to be changed."""
    path = tmp_path_factory.mktemp("keras2") / "SongNet_CV1_weights.h5"
    keras2_files.make_model("SongNet", 32).save_weights(path)
    return path


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "ResNet101V2")) for name in NETWORKS]
)
def test_answers_equal_those_of_keras_2(name, tmp_path):
    side = small(name).side
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
    ours = small(name).build()
    _load_weights(ours, tmp_path / "weights.h5")
    np.testing.assert_allclose(ours(images, training=False).numpy(), expected, atol=1e-5)


def test_whole_models_and_names_that_keras_counted_on_or_cut_into_parts_are_read(songnet_file, tmp_path):
    path, whole = tmp_path / "second.h5", tmp_path / "whole.h5"
    theirs = keras2_files.make_model("SongNet", 32)
    theirs.save_weights(path)
    with h5py.File(songnet_file) as one, h5py.File(path) as two, h5py.File(whole, "w") as new:
        names = two.attrs["layer_names"]
        # The second model of a session has other names, conv2d_4 instead of conv2d.
        assert list(one.attrs["layer_names"]) != list(names)
        two.copy(two, new, name="model_weights")
        root = new["model_weights"]
        del root.attrs["layer_names"]
        root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:3], names[3:]
    for file in (path, whole):
        ours = small("SongNet").build()
        _load_weights(ours, file)
        for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_files_of_another_network_or_damaged_ones_are_refused(songnet_file, tmp_path):
    whole, path = songnet_file.read_bytes(), tmp_path / "bad.h5"

    def refused(change, reason, classes=6):
        path.write_bytes(whole)
        change()
        message = rf"bad.h5 \(\d+ bytes\) does not hold the weights of SongNet, or is damaged \(.*{reason}"
        with pytest.raises(ModelError, match=message):
            _load_weights(small("SongNet").build(classes=classes), path)

    def edit(edited):
        with h5py.File(path, "r+") as file:
            layer = file.attrs["layer_names"][0]
            edited(file, file[layer], file[layer].attrs["weight_names"][0])

    def shorten(file, layer, weight):
        file.attrs["layer_names"] = file.attrs["layer_names"][:-1]

    def remove(file, layer, weight):
        del layer[weight]

    def spoil(file, layer, weight):
        layer[weight][0, 0, 0, :3] = np.nan

    refused(lambda: None, r"named probabilities.*\(128, 7\).*\(128, 6\)", classes=7)
    refused(lambda: edit(shorten), "expected 5 layers, found 4")
    refused(lambda: edit(remove), "")
    refused(lambda: edit(spoil), "some of its values are not finite")
    refused(lambda: path.write_bytes(whole[: len(whole) // 2]), "")
