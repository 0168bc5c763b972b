"""Models as people bring them: files of Keras 2, what knows fewer classes, and what is refused or noted."""

import shutil
import sys
import warnings

import h5py
import keras2_files
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
from scipy.special import softmax

from ekman_expressions import EXPRESSIONS
from ekman_expressions.core.errors import MissingError, ModelError
from ekman_expressions.zoo.own_models import _predicted_expressions, _read_model

MATRIX = weights(6)
FORMS = {"function": function, "keras": keras_model}


@pytest.fixture
def images():
    return np.random.default_rng(1).random((5, SIDE, SIDE, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("source", "said", "message"),
    [
        (uniform, {"classes": FER2013}, "shape .3, 6., but 'classes' names 7 .*neutral, contempt or other"),
        (function(MATRIX, softmax=False), {}, "no probabilities.*sums to .*output = 'logits'"),
        (uniform, {"output": "logits"}, "second softmax. Say output = 'probabilities'"),
        (lambda x: 100 * uniform(x), {}, r"sum to 100 in each row.*model\(images\) / 100"),
        (lambda x: np.full((len(x), 6), np.nan), {}, "NaN or infinity. Is 'preprocessing'"),
        (lambda x: np.random.dirichlet(np.ones(6), len(x)), {}, "predicts differently each time.*dropout"),
        (lambda x: (uniform(x), x), {}, "one array of numbers.* returned tuple. Choose it in a function"),
        (lambda x: 1 / 0, {}, r"failed on float32 images of shape \(25, 16, 16, 3\).*Division"),
        ("math:pi", {}, "is no function, but float"),
        ("no_such_module:f", {}, "cannot be imported.*no_such_module"),
    ],
)
def test_models_that_answer_something_else(source, said, message):
    with pytest.raises(ModelError, match=message):
        load(source, **said)


@pytest.mark.parametrize("kind", ["keras", "onnx", "saved_model"])
def test_files_that_are_not_as_described(tmp_path, kind):
    path = tmp_path / {"keras": "my.keras", "onnx": "my.onnx", "saved_model": "saved"}[kind]
    if kind == "keras":
        keras_model(MATRIX).save(path)
    else:
        {"onnx": write_onnx, "saved_model": write_saved_model}[kind](path, MATRIX)
    for said, message in (
        ({"side": 24}, r"shape \(16, 16, 3\).*side = 24.*give it \(24, 24, 3\)"),
        ({"layout": "NCHW"}, r"layout = 'NCHW'.*\(3, 16, 16\)"),
        ({"classes": FER2013}, "'classes' names 7"),
    ):
        with pytest.raises(ModelError, match=message):
            load(path, **said)


@pytest.mark.parametrize("name", ["my.keras", "my.h5", "my.onnx", "saved"])
def test_files_that_are_missing_or_damaged(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(MissingError, match=f"There is no model .*{name}, the 'path' of Mine"):
        _read_model(own(call=None, path=path), "Mine")
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=f"{name} (cannot be loaded|is no model that can be read)"):
        load(path)
    # What a failed download leaves in place of a model.
    path.write_bytes(b"<!DOCTYPE html>")
    reason = "has 15 bytes and begins with .*Git LFS.*Download"
    with pytest.raises(ModelError, match="no model" if name == "saved" else reason):
        load(path)


@pytest.mark.parametrize("name", ["my.keras", "my.h5"])
def test_code_in_files_is_not_run_and_weights_alone_are_no_model(tmp_path, name):
    import keras

    layers = [keras.layers.Lambda(lambda x: x[:, 0, 0]), keras.layers.Dense(6, "softmax")]
    keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers]).save(tmp_path / name)
    with pytest.raises(ModelError, match="Lambda layer.*never run.*Rescaling.*'call'"):
        load(tmp_path / name)
    keras_model(MATRIX).save_weights(tmp_path / "my.weights.h5")
    with pytest.raises(ModelError, match="No model config found"):
        load(tmp_path / "my.weights.h5")


def test_keras_models_with_other_inputs_and_outputs():
    import keras

    first, second = keras.Input((SIDE, SIDE, 3)), keras.Input((SIDE, SIDE, 3))
    flat = keras.layers.Flatten()(first)
    dense = keras.layers.Dense(6, "softmax")
    with pytest.raises(ModelError, match="one output .*has 2"):
        load(keras.Model(first, [dense(flat), dense(flat)]))
    with pytest.raises(ModelError, match="one input, images, but has 2"):
        load(keras.Model([first, second], dense(flat + keras.layers.Flatten()(second))))
    with pytest.raises(ModelError, match="one output .*shape"):
        load(keras.Model(first, keras.layers.Conv2D(6, 1, activation="softmax")(first)))


@pytest.mark.parametrize(("signatures", "message"), [(0, "but has none"), (2, "but has first, second")])
def test_saved_models_without_a_clear_signature(tmp_path, signatures, message):
    write_saved_model(tmp_path / "saved", MATRIX, signatures=signatures)
    with pytest.raises(ModelError, match=f"'serving_default', or only one, {message}"):
        load(tmp_path / "saved")


def test_onnx_files_with_two_outputs_or_lost_weights_or_without_onnxruntime(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    write_onnx(tmp_path / "my.onnx", MATRIX, outputs=2)
    with pytest.raises(ModelError, match="one output, but .*outputs odds, means"):
        load(tmp_path / "my.onnx")
    write_onnx(tmp_path / "whole.onnx", MATRIX)
    parts = {"save_as_external_data": True, "location": "net.onnx.data", "size_threshold": 60}
    onnx.save(onnx.load(tmp_path / "whole.onnx"), tmp_path / "net.onnx", **parts)
    assert load(tmp_path / "net.onnx").side == (SIDE, SIDE)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"net\.onnx\.data"):
        load(tmp_path / "net.onnx")
    # None is how Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match=r"pip install 'ekman_expressions\[onnx\]'"):
        load(tmp_path / "whole.onnx")


@pytest.mark.parametrize("write", [write_onnx, write_saved_model])
def test_whole_number_inputs_want_whole_pixels(tmp_path, write):
    path = tmp_path / ("bytes.onnx" if write is write_onnx else "bytes")
    write(path, MATRIX / 255, kind="uint8")
    for said in ({"preprocessing": "unit"}, {"preprocessing": "255", "std": 255}):
        with pytest.raises(ModelError, match="takes whole numbers.*Say preprocessing = '255'"):
            load(path, **said)
    noise = np.random.default_rng(0).random((2, SIDE, SIDE, 3), dtype=np.float32)
    expected = function(MATRIX)(np.rint(noise * 255) / 255)
    np.testing.assert_allclose(load(path, preprocessing="255").predict(noise), expected, atol=1e-6)


def test_what_is_strange_is_noted():
    def normalising(x):
        with np.errstate(all="ignore"):
            x = (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)
        return softmax(x[:, ::4, ::4].reshape(len(x), -1)[:, :6], axis=1)

    assert "image of one colour" in load(normalising).notes[0]
    assert "the same for three quite different images" in " ".join(load(uniform).notes)
    assert not load(function(MATRIX)).notes


@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_fewer_classes_never_predicts_the_others(form, images):
    classes = ["Neutral", "Happy", "Sad", "Surprise", "Fear"]
    source = FORMS[form](weights(5))
    found = load(source, classes=classes)
    assert found.classes == (*EXPRESSIONS, "neutral")
    predictions = found.predict(images)
    expected = np.zeros((5, 7))
    expected[:, [6, 3, 4, 5, 2]] = function(weights(5))(images)
    np.testing.assert_allclose(predictions, expected, atol=1e-5)
    assert any("does not know anger, disgust" in note for note in found.notes)
    names, six = _predicted_expressions(predictions, own(call=source, classes=classes))
    assert not set(names) & {"anger", "disgust"} and not six[:, :2].any()


@pytest.mark.parametrize("form", FORMS)
def test_outputs_that_are_no_class_have_no_part_in_the_softmax(form, images):
    matrix = weights(9)
    # Whatever valence and arousal are, the classes' probabilities stay.
    matrix[:, 7:] += 5
    source = FORMS[form](matrix, softmax=False)
    found = load(source, classes=[*FER2013, "not a class", "Not a class"], output="logits")
    seven = softmax(function(matrix, softmax=False)(images)[:, :7], axis=1)
    np.testing.assert_allclose(found.predict(images), seven, atol=1e-5)
    with pytest.raises(ModelError, match="as 'not a class'"):
        load(source, classes=FER2013, output="logits")


def test_the_onnx_zoos_ferplus(tmp_path):
    """IR 3 lists initialisers among the inputs; one gray face of 64 x 64 in [0, 255] a time, eight logits."""
    matrix = weights(8, channels=1)
    form = {"side": 64, "layout": "NCHW"}
    write_onnx(tmp_path / "ferplus.onnx", matrix / 255, softmax=False, batch=1, ir=3, **form)
    names = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
    form |= {"channels": "gray", "preprocessing": "255", "output": "logits"}
    found = load(tmp_path / "ferplus.onnx", classes=names, **form)
    gray = np.random.default_rng(0).random((3, 64, 64, 1), dtype=np.float32)
    expected = function(matrix)(gray)[:, [4, 5, 6, 1, 3, 2, 0, 7]]
    np.testing.assert_allclose(found.predict(gray.repeat(3, axis=3)), expected, atol=1e-5)


def test_code_in_a_file_may_have_dataclasses_and_neighbours(tmp_path, images):
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport numpy as np\n"
        "from helper_of_mine import K\n\n@dataclass\nclass Config:\n    side: int = 48\n\n"
        "def predict(x):\n    return np.full((len(x), K), 1 / K)\n"
    )
    # A neighbour of the same name in another folder is another module.
    for classes in (EXPRESSIONS, FER2013):
        folder = tmp_path / str(len(classes))
        folder.mkdir()
        (folder / "helper_of_mine.py").write_text(f"K = {len(classes)}\n")
        (folder / "my_code.py").write_text(code)
        found = load(f"{folder / 'my_code.py'}:predict", classes=classes)
        assert found.predict(images).shape == (5, len(classes))


@pytest.fixture(scope="module")
def keras_2(tmp_path_factory):
    """A folder with files of Keras 2; of each, the model in memory and its answers; and the gray images."""
    folder = tmp_path_factory.mktemp("keras_2")
    random = np.random.default_rng(2)
    gray = random.random((5, SIDE, SIDE, 1), dtype=np.float32)
    kept = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in keras2_files.odd_models(SIDE).items():
            model.set_weights([values + random.random(values.shape) / 4 for values in model.get_weights()])
            model.compile("adam", "categorical_crossentropy")
            model.save(folder / f"{name}.hdf5")
            model.save(folder / f"{name}.keras")
            kept[name] = model, model.predict(gray, verbose=0)
    return folder, kept, gray


@pytest.mark.parametrize("suffix", ["hdf5", "keras"])
@pytest.mark.parametrize("name", ["separable", "nested", "twice", "deep", "transfer", "operations", "half"])
def test_files_of_keras_2_with_separable_convolutions_and_models_inside(keras_2, name, suffix):
    folder, kept, gray = keras_2
    found = load(folder / f"{name}.{suffix}", classes=FER2013, channels="gray")
    tolerance = 2e-3 if name == "half" else 1e-5
    np.testing.assert_allclose(found.predict(gray.repeat(3, axis=3)), kept[name][1], atol=tolerance)
    assert found.has_gradients


def test_a_model_of_keras_2_in_memory_and_in_hdf5_under_the_suffix_of_the_zip_format(keras_2, tmp_path):
    folder, kept, gray = keras_2
    model, answers = kept["separable"]
    # As Keras before 2.12 wrote it, and its texts as bytes, as before 2.4.
    shutil.copyfile(folder / "separable.hdf5", tmp_path / "old.keras")
    with h5py.File(tmp_path / "old.keras", "r+") as file:
        for key in ("keras_version", "model_config"):
            file.attrs[key] = np.bytes_(file.attrs[key])
    for source in (model, tmp_path / "old.keras"):
        found = load(source, classes=FER2013, channels="gray", side=None)
        np.testing.assert_allclose(found.predict(gray.repeat(3, axis=3)), answers, atol=1e-5)
        activations, gradients = found.features(gray[0].repeat(3, axis=2), 2)
        assert activations.shape == gradients.shape and np.abs(gradients).max() > 0


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
