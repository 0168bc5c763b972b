"""Models as people bring them: what normalises itself, is random, answers in per cent, knows fewer classes."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from made_models import FER2013, SIDE, function, keras_model, weights, write_onnx

from ekman_expressions import EXPRESSIONS, load_model
from ekman_expressions.core.errors import ModelError, SettingsError
from ekman_expressions.zoo.own_models import _predicted_expressions
from ekman_expressions.zoo.own_settings import OwnModel

MATRIX = weights(6)


def with_softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def load(model, **more):
    return load_model(model, **{"classes": EXPRESSIONS, "side": SIDE} | more)


@pytest.fixture
def images():
    return np.random.default_rng(1).random((5, SIDE, SIDE, 3), dtype=np.float32)


def test_a_model_that_normalises_each_image_is_taken_with_a_note(images):
    def model(x):
        with np.errstate(all="ignore"):
            x = (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)
        return with_softmax(x[:, ::4, ::4].reshape(len(x), -1)[:, :6])

    found = load(model)
    assert "image of one colour" in found.notes[0] and np.isfinite(found.predict(images)).all()
    with pytest.raises(ModelError, match="NaN or infinity"):
        load(lambda x: np.full((len(x), 6), np.nan))


def test_whole_number_inputs_want_whole_pixels(tmp_path):
    import tensorflow as tf

    # Of half as bright an image "unit" would make 0 of every pixel.
    noise = np.random.default_rng(0).random((2, SIDE, SIDE, 3), dtype=np.float32) * 0.49

    class Bytes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.uint8)])
        def __call__(self, x):
            return tf.nn.softmax(tf.reduce_mean(tf.cast(x, tf.float32), (1, 2)) @ tf.constant(MATRIX) / 255)

    module = Bytes()
    tf.saved_model.save(module, str(tmp_path / "bytes"), signatures=module.__call__)
    with pytest.raises(ModelError, match="takes whole numbers.*Say preprocessing = '255'"):
        load(tmp_path / "bytes")
    found = load(tmp_path / "bytes", preprocessing="255")
    assert np.abs(np.diff(found.predict(noise), axis=0)).max() > 1e-4
    onnx = pytest.importorskip("onnx")
    write_onnx(tmp_path / "bytes.onnx", MATRIX / 255, kind=onnx.TensorProto.UINT8)
    for preprocessing in ("unit", "minus_one_one"):
        with pytest.raises(ModelError, match="takes whole numbers.*Say preprocessing = '255'"):
            load(tmp_path / "bytes.onnx", preprocessing=preprocessing)
    with pytest.raises(ModelError, match="takes whole numbers"):
        load(tmp_path / "bytes.onnx", preprocessing="255", std=255)
    found = load(tmp_path / "bytes.onnx", preprocessing="255")
    np.testing.assert_allclose(found.predict(noise), function(MATRIX)(np.rint(noise * 255) / 255), atol=1e-6)


def test_a_model_that_answers_all_alike_is_noted():
    assert any(
        "the same for three quite different images" in note
        for note in load(lambda x: np.full((len(x), 6), 1 / 6)).notes
    )
    assert not load(function(MATRIX)).notes


@pytest.mark.parametrize(
    "wrap, kind",
    [(lambda x: (x, x), "tuple"), (lambda x: {"p": x}, "dict"), (lambda x: None, "NoneType")],
    ids=["tuple", "dict", "nothing"],
)
def test_functions_that_return_several_arrays_or_none(wrap, kind):
    with pytest.raises(ModelError, match=f"one array of numbers.* returned {kind}. Choose it in a function"):
        load(lambda x: wrap(function(MATRIX)(x)))


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1"])
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx"])
def test_what_a_failed_download_left_in_place_of_a_model(tmp_path, suffix, content):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    (tmp_path / f"net{suffix}").write_bytes(content)
    with pytest.raises(ModelError, match=f"has {len(content)} bytes and begins with .*Git LFS.*Download"):
        load(tmp_path / f"net{suffix}")


def test_classes_in_one_text_and_a_path_in_the_home_folder(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="'classes' must be a list of names, but got 'anger, sad'"):
        load(function(MATRIX), classes="anger, sad")
    monkeypatch.setenv("HOME", str(tmp_path))
    keras_model(MATRIX).save(tmp_path / "net.keras")
    assert load("~/net.keras").name == "net"


def test_a_random_model_is_refused():
    random = np.random.default_rng(0)
    with pytest.raises(ModelError, match="predicts differently each time.*dropout"):
        load(lambda x: with_softmax(random.normal(size=(len(x), 6))))


@pytest.mark.parametrize("output", ["probabilities", "logits"])
def test_percentages_are_told_and_no_logits(output):
    with pytest.raises(ModelError, match="sum to 100 in each row.*model\\(images\\) / 100"):
        load(lambda x: 100 * function(MATRIX)(x), output=output)


def test_code_in_a_file_may_have_dataclasses_and_neighbours(tmp_path, images):
    (tmp_path / "helper_of_mine.py").write_text("K = 6\n")
    (tmp_path / "my_code.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport numpy as np\n"
        "from helper_of_mine import K\n\n@dataclass\nclass Config:\n    side: int = 48\n\n"
        "def predict(x):\n    return np.full((len(x), K), 1 / K)\n"
    )
    found = load(f"{tmp_path / 'my_code.py'}:predict")
    assert found.predict(images).shape == (5, 6)
    # A neighbour of the same name in another folder is another module.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "helper_of_mine.py").write_text("K = 7\n")
    (tmp_path / "other" / "my_code.py").write_text((tmp_path / "my_code.py").read_text())
    assert load(f"{tmp_path / 'other' / 'my_code.py'}:predict", classes=FER2013).predict(images).shape == (
        5,
        7,
    )


@pytest.mark.parametrize("form", ["function", "keras", "torch"])
def test_a_model_of_fewer_classes_never_predicts_the_others(form, images):
    classes = ["Neutral", "Happy", "Sad", "Surprise", "Fear"]
    matrix = weights(5)
    source = {"function": function, "keras": keras_model, "torch": _torch}[form](matrix)
    found = load(source, classes=classes, output="logits" if form == "torch" else None)
    assert found.classes == (*EXPRESSIONS, "neutral")
    predictions = found.predict(images)
    want = function(matrix)(images)
    expected = np.zeros((5, 7))
    expected[:, [6, 3, 4, 5, 2]] = want
    np.testing.assert_allclose(predictions, expected, atol=1e-5)
    assert any("does not know anger, disgust" in note for note in found.notes)
    own = OwnModel(call=source, version="1", classes=classes, side=SIDE)
    names, six = _predicted_expressions(predictions, own)
    assert not set(names) & {"anger", "disgust"} and not six[:, :2].any()


def _torch(matrix):
    torch = pytest.importorskip("torch")

    class Corner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = torch.nn.Parameter(torch.tensor(matrix))

        def forward(self, x):
            half = x.shape[2] // 2
            return x[:, :, :half, :half].mean(dim=(2, 3)) @ self.matrix

    return Corner()


@pytest.mark.parametrize("form", ["function", "keras"])
def test_outputs_that_are_no_class_have_no_part_in_the_softmax(form, images):
    matrix = weights(9)
    classes = [*FER2013, "not a class", "Not a class"]
    source = {"function": function, "keras": keras_model}[form](matrix, softmax=False)
    found = load(source, classes=classes, output="logits")
    seven = with_softmax(function(matrix, softmax=False)(images)[:, :7])
    np.testing.assert_allclose(found.predict(images), seven[:, [0, 1, 2, 3, 4, 5, 6]], atol=1e-5)
    # Whatever valence and arousal are, the classes' probabilities stay.
    matrix[:, 7:] += 5
    other = {"function": function, "keras": keras_model}[form](matrix, softmax=False)
    np.testing.assert_allclose(
        load(other, classes=classes, output="logits").predict(images), found.predict(images), atol=1e-6
    )
    with pytest.raises(ModelError, match="as 'not a class'"):
        load(source, classes=FER2013, output="logits")


def test_a_suffix_in_capitals(tmp_path, images):
    keras_model(MATRIX).save(tmp_path / "net.keras")
    (tmp_path / "net.keras").rename(tmp_path / "MODEL.KERAS")
    found = load(tmp_path / "MODEL.KERAS")
    np.testing.assert_allclose(found.predict(images), function(MATRIX)(images), atol=1e-6)


_KERAS_2 = """
import numpy as np, tf_keras as keras
L = keras.layers
def separable():
    x = keras.Input((16, 16, 1))
    h = L.BatchNormalization()(L.Conv2D(8, 3)(x))
    h = L.SeparableConv2D(8, 3, kernel_regularizer=keras.regularizers.l2(0.01))(h)
    h = L.GlobalAveragePooling2D()(L.Conv2D(7, 3)(L.DepthwiseConv2D(3)(h)))
    return keras.Model(x, L.Activation("softmax")(h))
def backbone(side):
    x = keras.Input((side, side, 1))
    return keras.Model(x, L.GlobalAveragePooling2D()(L.Conv2D(4, 3, activation="relu")(x)))
def nested():
    x = keras.Input((16, 16, 1))
    return keras.Model(x, L.Dense(7, "softmax")(backbone(16)(x)))
def twice():
    x, inner = keras.Input((16, 16, 1)), backbone(8)
    parts = [inner(L.Cropping2D(crop)(x)) for crop in (((0, 8), (0, 8)), ((8, 0), (8, 0)))]
    return keras.Model(x, L.Dense(7, "softmax")(L.Concatenate()(parts)))
def deep():
    inner = keras.Sequential([L.Conv2D(4, 3), L.GlobalAveragePooling2D()])
    return keras.Sequential([L.Input((16, 16, 1)), inner, L.Dense(7, "softmax")])
def transfer():
    normal = L.Normalization()
    normal.adapt(np.random.default_rng(0).random((9, 16, 16, 1)))
    before = [L.Input((16, 16, 1)), L.Rescaling(2.0), normal, L.RandomFlip(), L.Resizing(8, 8)]
    return keras.Sequential([*before, backbone(8), L.Dense(7, "softmax")])
def operations():
    x = keras.Input((16, 16, 1))
    h = L.Conv2D(4, 3, name="a/b")((x - 0.5) / [0.25])
    h = L.Conv2DTranspose(4, 3)(h * 2 + L.Conv2D(4, 3)(x))
    return keras.Model(x, L.Dense(7, "softmax")(L.GlobalAveragePooling2D()(h)))
def half():
    keras.mixed_precision.set_global_policy("mixed_float16")
    x = keras.Input((16, 16, 1))
    return keras.Model(x, L.Activation("softmax", dtype="float32")(L.Dense(7)(L.Flatten()(x))))
def with_slice():
    x = keras.Input((16, 16, 1))
    return keras.Model(x, L.Dense(7, "softmax")(L.Flatten()(x[:, ::-1])))
def with_code():
    x = keras.Input((16, 16, 1))
    return keras.Model(x, L.Dense(7, "softmax")(L.Flatten()(L.Lambda(lambda given: given * 2)(x))))
"""


@pytest.fixture(scope="module")
def keras_2(tmp_path_factory):
    """Files of Keras 2, what it predicts for gray images, and its weights; then the first model in memory."""
    folder = tmp_path_factory.mktemp("keras_2")
    names = "separable nested twice deep transfer operations with_code with_slice half".split()
    code = f"""{_KERAS_2}
gray = np.random.default_rng(1).random((5, 16, 16, 1)).astype("float32")
keep = dict(gray=gray)
for name in {names}:
    model = globals()[name]()
    model.set_weights([w + np.random.default_rng(2).random(w.shape) / 4 for w in model.get_weights()])
    model.compile("adam", "categorical_crossentropy")
    model.save(name + ".hdf5")
    model.save(name + ".keras")
    keep[name] = model.predict(gray)
np.savez("kept.npz", **keep)
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return folder, dict(np.load(folder / "kept.npz"))


@pytest.mark.parametrize("suffix", ["hdf5", "keras"])
@pytest.mark.parametrize("name", ["separable", "nested", "twice", "deep", "transfer", "operations", "half"])
def test_files_of_keras_2_with_separable_convolutions_and_models_inside(keras_2, name, suffix):
    folder, kept = keras_2
    found = load(folder / f"{name}.{suffix}", classes=FER2013, channels="gray")
    tolerance = 2e-3 if name == "half" else 1e-5
    np.testing.assert_allclose(found.predict(kept["gray"].repeat(3, axis=3)), kept[name], atol=tolerance)
    assert found.has_gradients


def test_hdf5_under_the_suffix_of_the_zip_format(keras_2, tmp_path):
    """As Keras before 2.12 wrote it."""
    folder, kept = keras_2
    shutil.copyfile(folder / "deep.hdf5", tmp_path / "old.keras")
    found = load(tmp_path / "old.keras", classes=FER2013, channels="gray")
    np.testing.assert_allclose(found.predict(kept["gray"].repeat(3, axis=3)), kept["deep"], atol=1e-5)


@pytest.mark.parametrize("suffix", ["hdf5", "keras"])
@pytest.mark.parametrize(
    "name, reason",
    [
        ("with_code", "has a Lambda layer, .* code in files is never run"),
        ("with_slice", "no layer for the operation '__operators__.getitem'.*SavedModel"),
    ],
)
def test_code_in_a_file_of_keras_2_and_operations_without_a_layer_are_refused(keras_2, name, reason, suffix):
    with pytest.raises(ModelError, match=reason):
        load(keras_2[0] / f"{name}.{suffix}", classes=FER2013, channels="gray")


def test_a_file_that_another_program_has_locked(keras_2):
    pytest.importorskip("fcntl")
    folder, kept = keras_2
    keras_model(MATRIX).save(folder / "locked.h5")
    code = (
        "import fcntl, sys, time\nfile = open('locked.h5', 'r+b')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        assert load(folder / "locked.h5").has_gradients
        other.stdin.close()


def test_a_model_of_keras_2_in_memory_has_gradients(keras_2):
    pytest.importorskip("tf_keras")
    space = {}
    exec(_KERAS_2, space)
    model = space["separable"]()
    found = load(model, classes=FER2013, channels="gray", side=None)
    gray = keras_2[1]["gray"]
    np.testing.assert_allclose(
        found.predict(gray.repeat(3, axis=3)), model.predict(gray, verbose=0), atol=1e-5
    )
    activations, gradients = found.features(gray[0].repeat(3, axis=2), 2)
    assert activations.shape == gradients.shape and np.abs(gradients).max() > 0


def test_a_branch_that_runs_twice_names_the_way_out():
    import keras

    layers = keras.layers
    inner = keras.Input((8, 8, 3))
    branch = keras.Model(inner, layers.ReLU(name="r")(layers.Conv2D(4, 3)(inner)))
    x = keras.Input((SIDE, SIDE, 3))
    parts = [branch(layers.Cropping2D(crop)(x)) for crop in (((0, 8), (0, 8)), ((8, 0), (8, 0)))]
    joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(part) for part in parts])
    model = load(keras.Model(x, layers.Dense(6, "softmax")(joined)))
    with pytest.raises(ModelError, match="'r' runs 2 times.*option 'layer'.*integrated_gradients"):
        model.features(np.zeros((SIDE, SIDE, 3), np.float32), 2)


def test_weights_in_a_file_beside_that_is_lost(tmp_path):
    onnx = pytest.importorskip("onnx")
    write_onnx(tmp_path / "whole.onnx", weights(6))
    parts = {"save_as_external_data": True, "location": "net.onnx.data", "size_threshold": 60}
    onnx.save(onnx.load(tmp_path / "whole.onnx"), tmp_path / "net.onnx", **parts)
    assert load(tmp_path / "net.onnx").side == (SIDE, SIDE)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"net\.onnx\.data"):
        load(tmp_path / "net.onnx")


def test_the_onnx_zoos_ferplus(tmp_path):
    """IR 3 lists initialisers among the inputs; one gray face of 64 x 64 in [0, 255] a time, eight logits."""
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper, onnx.TensorProto
    kernel, matrix = np.float32(weights(5).reshape(5, 1, 1, 3)), weights(8, 5) / 400
    inputs = {"kernel": kernel, "shape": np.array([1, 5]), "matrix": matrix}
    graph = make.make_graph(
        [
            make.make_node("Conv", ["face", "kernel"], ["found"], kernel_shape=[1, 3]),
            make.make_node("Relu", ["found"], ["positive"]),
            make.make_node("GlobalAveragePool", ["positive"], ["means"]),
            make.make_node("Reshape", ["means", "shape"], ["flat"]),
            make.make_node("MatMul", ["flat", "matrix"], ["logits"]),
        ],
        "ferplus",
        [
            make.make_tensor_value_info("face", kind.FLOAT, [1, 1, 64, 64]),
            *(
                make.make_tensor_value_info(name, make.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in inputs.items()
            ),
        ],
        [make.make_tensor_value_info("logits", kind.FLOAT, [1, 8])],
        [onnx.numpy_helper.from_array(value, name) for name, value in inputs.items()],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 8)], ir_version=3)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "ferplus.onnx")
    names = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
    more = {"side": 64, "channels": "gray", "preprocessing": "255", "layout": "NCHW", "output": "logits"}
    found = load(tmp_path / "ferplus.onnx", classes=names, **more)
    gray = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    pixels = np.lib.stride_tricks.sliding_window_view(gray * 255, 3, axis=2)
    means = np.maximum(pixels @ kernel[:, 0, 0].T, 0).mean(axis=(1, 2))
    expected = with_softmax(means @ matrix)
    assert np.ptp(expected, axis=0).max() > 1e-3
    predicted = found.predict(gray[..., None].repeat(3, axis=3))
    np.testing.assert_allclose(predicted, expected[:, [4, 5, 6, 1, 3, 2, 0, 7]], atol=1e-5)


def test_the_end_of_a_long_message_of_keras_is_shown(tmp_path):
    keras = pytest.importorskip("keras")

    class Odd(keras.layers.Layer):
        def __init__(self, table=(), **more):
            super().__init__(**more)
            if list(table) == [1] * 300:
                raise ValueError("Here is the reason.")
            self.table = [1] * 300

        def call(self, images):
            return images

        def get_config(self):
            return super().get_config() | {"table": self.table}

    Odd = keras.saving.register_keras_serializable("tests_of_models")(Odd)
    images = keras.Input((SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(Odd()(images))
    keras.Model(images, keras.layers.Dense(6, "softmax")(pooled)).save(tmp_path / "odd.keras")
    with pytest.raises(
        ModelError, match=r"(?s)\(\.\.\. .*Here is the reason\..*\) A file of Keras 2"
    ) as caught:
        load(tmp_path / "odd.keras")
    assert len(str(caught.value)) < 800
