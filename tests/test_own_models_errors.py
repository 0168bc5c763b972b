"""Models of one's own that are not what was said of them: each error says what was wrong and what to do."""

import sys

import numpy as np
import pytest
from made_models import (
    FER2013,
    SIDE,
    function,
    keras_model,
    load,
    own,
    uniform,
    weights,
    write_onnx,
    write_saved_model,
)

from ekman_expressions.core.errors import DataError, MissingError, ModelError
from ekman_expressions.zoo.own_checks import read_answers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"call": lambda images: np.full((len(images), 7), 1 / 7)}, "shape .3, 7., but 'classes' names 6"),
        ({"classes": FER2013}, "'classes' names 7 .*neutral, contempt or other"),
        ({"call": function(weights(6), softmax=False)}, "no probabilities.*sums to .*output = 'logits'"),
        ({"output": "logits"}, "second softmax. Say output = 'probabilities'"),
        ({"call": lambda images: np.full((len(images), 6), np.nan)}, "NaN or infinity. Is 'preprocessing'"),
        ({"call": lambda images: np.full(6, 1 / 6)}, r"25 images.*answered float64 of shape \(6,\)"),
        ({"call": lambda images: 1 / 0}, r"failed on float32 images of shape \(25, 16, 16, 3\).*Division"),
        ({"call": lambda images: None}, "answered object"),
        ({"call": "math:pi"}, "is no function, but float"),
        ({"call": "math:cosin"}, "cannot be imported.*cosin"),
        ({"call": "no_such_module:f"}, "cannot be imported.*no_such_module"),
    ],
)
def test_models_that_answer_something_else(changes, message):
    with pytest.raises(ModelError, match=message):
        load(**changes)


@pytest.mark.parametrize(
    ("made", "said", "message"),
    [
        ({"side": 24}, {}, r"shape \(24, 24, 3\).*side = 16.*give it \(16, 16, 3\)"),
        ({}, {"channels": "gray"}, r"\(16, 16, 1\)"),
        ({}, {"layout": "NCHW"}, r"layout = 'NCHW'.*\(3, 16, 16\)"),
        ({}, {"classes": FER2013}, "'classes' names 7"),
        ({"softmax": False}, {}, "say output = 'logits'"),
        ({}, {"output": "logits"}, "second softmax"),
    ],
)
@pytest.mark.parametrize("kind", ["keras", "onnx", "saved_model"])
def test_files_that_are_not_as_described(tmp_path, kind, made, said, message):
    path = tmp_path / {"keras": "my.keras", "onnx": "my.onnx", "saved_model": "saved"}[kind]
    if kind == "keras":
        keras_model(weights(6), **made).save(path)
    else:
        {"onnx": write_onnx, "saved_model": write_saved_model}[kind](path, weights(6), **made)
    with pytest.raises(ModelError, match=message):
        load(call=None, path=path, **said)


@pytest.mark.parametrize("name", ["my.keras", "my.h5", "my.onnx", "saved", "my.pt"])
def test_files_that_are_missing_or_damaged(tmp_path, name):
    with pytest.raises(MissingError, match=f"There is no model .*{name}, the 'path' of Mine"):
        load(call=None, path=tmp_path / name)
    (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(ModelError, match=f"{name} (cannot be loaded|is no model that can be read)"):
        load(call=None, path=tmp_path / name)


@pytest.mark.parametrize("name", ["my.keras", "my.h5"])
def test_code_in_files_is_not_run(tmp_path, name):
    import keras

    path = tmp_path / name
    layers = [keras.layers.Lambda(lambda x: x[:, 0, 0]), keras.layers.Dense(6, "softmax")]
    keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers]).save(path)
    with pytest.raises(ModelError, match="Lambda layer.*never run.*Rescaling.*'call'"):
        load(call=None, path=path)


def test_weights_without_a_network(tmp_path):
    keras_model(weights(6)).save_weights(tmp_path / "my.weights.h5")
    with pytest.raises(ModelError, match="weights only.*model.save"):
        load(call=None, path=tmp_path / "my.weights.h5")


def test_keras_models_with_other_inputs_and_outputs():
    import keras

    first, second = keras.Input((SIDE, SIDE, 3)), keras.Input((SIDE, SIDE, 3))
    flat = keras.layers.Flatten()(first)
    dense = keras.layers.Dense(6, "softmax")
    with pytest.raises(ModelError, match="one output .*has 2"):
        load(call=keras.Model(first, [dense(flat), dense(flat)]))
    with pytest.raises(ModelError, match="one input, images, but has 2"):
        load(call=keras.Model([first, second], dense(flat + keras.layers.Flatten()(second))))
    with pytest.raises(ModelError, match="one output .*shape"):
        load(call=keras.Model(first, keras.layers.Conv2D(6, 1, activation="softmax")(first)))


def test_an_onnx_file_with_two_outputs(tmp_path):
    write_onnx(tmp_path / "my.onnx", weights(6), extra_output=True)
    with pytest.raises(ModelError, match="one output, but .*outputs odds, means"):
        load(call=None, path=tmp_path / "my.onnx")


@pytest.mark.parametrize(("signatures", "message"), [(0, "but has none"), (2, "but has first, second")])
def test_saved_models_without_a_clear_signature(tmp_path, signatures, message):
    write_saved_model(tmp_path / "saved", weights(6), signatures=signatures)
    with pytest.raises(ModelError, match=f"'serving_default', or only one, {message}"):
        load(call=None, path=tmp_path / "saved")


def test_without_onnxruntime(tmp_path, monkeypatch):
    write_onnx(tmp_path / "my.onnx", weights(6))
    # None is how Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match=r"pip install 'ekman_expressions\[onnx\]'"):
        load(call=None, path=tmp_path / "my.onnx")


def test_images_of_another_size():
    images = np.zeros((5, SIDE, SIDE, 3))
    with pytest.raises(DataError, match=r"\(N, 16, 16, 3\), but got \(5, 8, 16, 3\)"):
        load()(images[:, :8])


def test_a_function_that_goes_wrong_later():
    def model(images):
        if images[0].max() == 0:
            raise RuntimeError("it is dark")
        return uniform(images)

    with pytest.raises(ModelError, match="Mine failed .*RuntimeError: it is dark"):
        load(call=model)(np.zeros((1, SIDE, SIDE, 3)))
    with pytest.raises(ModelError, match="NaN or infinity for 1 of 2 images"):
        read_answers(np.array([[1 / 6] * 6, [np.nan] * 6]), "Mine", own())
