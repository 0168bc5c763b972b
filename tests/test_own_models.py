"""Models of one's own: known answers for every form, order and range; all kinds of files alike."""

import subprocess
import sys

import numpy as np
import pytest
from made_models import (
    AFFECTNET,
    FER2013,
    FERPLUS,
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

from ekman_expressions import OwnModel
from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.explainers.record import draw_samples
from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.zoo import own_readers
from ekman_expressions.zoo.asking import perturb
from ekman_expressions.zoo.own_adapter import preprocess
from ekman_expressions.zoo.own_checks import read_answers

COLOUR = (0.2, 0.4, 0.6)
# What a pixel of that colour is in each form, worked out by hand.
FORMS = {
    ("rgb", "unit"): (0.2, 0.4, 0.6),
    ("bgr", "unit"): (0.6, 0.4, 0.2),
    ("gray", "unit"): (0.363,),
    ("gray3", "unit"): (0.363, 0.363, 0.363),
    ("rgb", "255"): (51, 102, 153),
    ("gray", "255"): (92.565,),
    ("rgb", "minus_one_one"): (-0.6, -0.2, 0.2),
    ("bgr", "minus_one_one"): (0.2, -0.2, -0.6),
    ("gray", "minus_one_one"): (-0.274,),
    ("rgb", "imagenet"): (-0.285 / 0.229, -0.25, 0.194 / 0.225),
    ("gray3", "imagenet"): (-0.122 / 0.229, -0.093 / 0.224, -0.043 / 0.225),
    ("bgr", "caffe"): (49.061, -14.779, -72.68),
    ("rgb", "caffe"): (-72.68, -14.779, 49.061),
}


@pytest.fixture
def images():
    return np.random.default_rng(1).random((5, SIDE, SIDE, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def coloured():
    """Six images: `COLOUR` in the upper left quarter, the corners of the colour cube elsewhere."""
    images = np.random.default_rng(2).integers(0, 2, (6, SIDE, SIDE, 3)).astype(np.float32)
    images[:, : SIDE // 2, : SIDE // 2] = COLOUR
    return images


# --- known answers


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("channels", "preprocessing"), FORMS)
def test_a_model_is_given_what_it_was_trained_with(coloured, channels, preprocessing, layout):
    seen = []

    def model(images):
        seen.append(images.copy())
        return uniform(images)

    adapter = load(call=model, channels=channels, preprocessing=preprocessing, layout=layout)
    seen.clear()
    adapter(coloured)
    (given,) = seen
    expected = FORMS[channels, preprocessing]
    assert given.dtype == np.float32
    given = given if layout == "NHWC" else given.transpose(0, 2, 3, 1)
    assert given.shape[1:] == (SIDE, SIDE, len(expected))
    np.testing.assert_allclose(given[:6, 0, 0], [expected] * 6, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(given[6:], given[5:6].repeat(len(given) - 6, axis=0))
    # Black and white, where they are in the image.
    low = preprocess(np.zeros((1, 1, 1, 3), np.float32), adapter.own)
    black = (coloured == 0).all(axis=-1)
    np.testing.assert_allclose(given[:6][black], np.repeat(low[0, 0], black.sum(), axis=0))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("channels", "preprocessing"), FORMS)
def test_a_keras_model_answers_by_hand(coloured, channels, preprocessing, layout):
    form = np.array(FORMS[channels, preprocessing])
    matrix = weights(6, len(form)) / max(1, np.abs(form).max())
    model = load(
        call=keras_model(matrix, layout=layout), channels=channels, preprocessing=preprocessing, layout=layout
    )
    odds = np.exp(form @ matrix)
    np.testing.assert_allclose(model.predict_on_batch(coloured), [odds / odds.sum()] * 6, atol=1e-6)


def test_caffe_is_blue_first_unless_said_otherwise():
    assert own(preprocessing="caffe").channels == "bgr"
    assert own(preprocessing="imagenet").channels == "rgb"


@pytest.mark.parametrize(
    ("classes", "order"),
    [
        (EXPRESSIONS, (0, 1, 2, 3, 4, 5)),
        (FER2013, (0, 1, 2, 3, 4, 5, 6)),
        (AFFECTNET, (6, 5, 4, 1, 2, 3, 0, 7)),
        (FERPLUS, (4, 5, 6, 1, 3, 2, 0, 7, 8, 9)),
    ],
)
@pytest.mark.parametrize("keras", [False, True])
def test_classes_come_in_our_order(classes, order, keras, images):
    expected = np.random.default_rng(0).dirichlet(np.ones(len(classes))).astype(np.float32)
    matrix = np.log(expected) * np.ones((3, 1), np.float32)
    ones = np.ones_like(images) / 3
    model = load(call=keras_model(matrix) if keras else function(matrix), classes=classes)
    answers = np.asarray(model(ones))
    assert answers.shape == (5, len(classes)) and answers.dtype == np.float32
    np.testing.assert_allclose(answers, [expected[list(order)]] * 5, atol=1e-6)


def test_logits_become_probabilities(images):
    matrix = weights(6)
    wanted = load(call=function(matrix))(images)
    model = load(call=function(matrix, softmax=False), output="logits")
    np.testing.assert_allclose(model(images), wanted, atol=1e-6)
    model = load(call=keras_model(matrix, softmax=False), output="logits")
    np.testing.assert_allclose(model.predict_on_batch(images), wanted, atol=1e-6)


def test_an_extra_class_is_dropped_or_kept():
    # Happiness, neutral and contempt are likeliest in turn; in the last the six have nothing.
    answers = np.zeros((4, 8), np.float32)
    answers[0, [3, 6]] = 0.6, 0.4
    answers[1, [3, 5, 6]] = 0.3, 0.2, 0.5
    answers[2, [4, 6, 7]] = 0.3, 0.3, 0.4
    answers[3, 6] = 1
    classes = [*EXPRESSIONS, "neutral", "contempt"]
    predicted, six = read_answers(answers, "Mine", own(classes=classes))
    assert predicted.tolist() == ["happiness", "happiness", "sadness", "anger"]
    np.testing.assert_allclose(six[1], [0, 0, 0, 0.6, 0, 0.4], atol=1e-7)
    np.testing.assert_allclose(six[3], 1 / 6)
    predicted, six = read_answers(answers, "Mine", own(classes=classes, extra="keep"))
    assert predicted.tolist() == ["happiness", "neutral", "contempt", "neutral"]
    np.testing.assert_array_equal(six, answers[:, :6])


# --- all kinds of models


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Seven classes, BGR, channels first, logits: one function in each form."""
    folder = tmp_path_factory.mktemp("kinds")
    matrix = weights(7)
    model = keras_model(matrix, softmax=False, layout="NCHW")
    model.save(folder / "my.keras")
    model.save(folder / "my.h5")
    write_saved_model(folder / "saved", matrix, softmax=False, layout="NCHW")
    write_onnx(folder / "my.onnx", matrix, softmax=False, layout="NCHW")
    np.save(folder / "matrix.npy", matrix)
    (folder / "mine.py").write_text(
        "from pathlib import Path\nimport numpy as np\n"
        "matrix = np.load(Path(__file__).with_name('matrix.npy'))\n"
        "def predict(images):\n"
        "    return images[:, :, :8, :8].mean(axis=(2, 3)) @ matrix\n"
    )
    said = {
        "side": SIDE, "classes": FER2013, "channels": "bgr", "layout": "NCHW",
        "preprocessing": "minus_one_one", "output": "logits",
    }  # fmt: skip
    sources = {
        "call": {"call": function(matrix, softmax=False, layout="NCHW"), "version": "1"},
        "keras": {"path": folder / "my.keras"},
        "h5": {"path": str(folder / "my.h5")},
        "saved_model": {"path": folder / "saved"},
        "onnx": {"path": folder / "my.onnx"},
        "file": {"call": f"{folder / 'mine.py'}:predict", "version": "1"},
        "keras object": {"call": model, "version": "1"},
    }
    return {
        name: own_readers.load(OwnModel(**said, **source), "Mine", "CV1") for name, source in sources.items()
    }


KINDS = ("keras", "h5", "saved_model", "onnx", "file", "keras object")


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_answer_alike(kinds, kind, images):
    wanted = kinds["call"](images)
    answers = np.asarray(kinds[kind](images))
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, wanted, atol=1e-6)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(wanted, axis=0).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_are_explained_alike(kinds, kind, images):
    settings = {"seed": 0, "samples": 100, "segments": 9}
    targets = kinds["call"](images).argmax(axis=1)
    wanted = EXPLAINERS["lime"](kinds["call"], images, targets, **settings)
    maps = EXPLAINERS["lime"](kinds[kind], images, targets, **settings)
    assert wanted.max() > 1e-3
    np.testing.assert_allclose(maps, wanted, atol=1e-6)


def test_keras_models_take_the_fast_path(kinds):
    import keras

    assert {name for name, model in kinds.items() if isinstance(model, keras.Model)} == {
        "keras", "h5", "keras object",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["call", "saved_model", "onnx", "file"])
def test_answers_do_not_depend_on_how_many_are_asked(kinds, kind, images):
    segments = np.arange(SIDE).repeat(SIDE).reshape(SIDE, SIDE) // 4
    samples = draw_samples(4, 70, 0)
    many, few = (
        perturb(kinds[kind], images[0], segments, samples, batch_size=size, classes=7) for size in (64, 3)
    )
    assert np.array_equal(many, few) and len(np.unique(many, axis=0)) > 2


@pytest.mark.parametrize("batch", [1, 4])
def test_files_of_a_fixed_batch_size(tmp_path, images, batch):
    wanted = function(weights(6))(images)
    write_onnx(tmp_path / "my.onnx", weights(6), batch=batch)
    write_saved_model(tmp_path / "saved", weights(6), batch=batch)
    for path in ("my.onnx", "saved"):
        model = own_readers.load(
            OwnModel(path=tmp_path / path, side=SIDE, classes=EXPRESSIONS), "Mine", "CV1"
        )
        np.testing.assert_allclose(model(images), wanted, atol=1e-6)


def test_onnx_files_of_bytes(tmp_path, images):
    from onnx import TensorProto

    matrix = weights(6) / 255
    write_onnx(tmp_path / "my.onnx", matrix, kind=TensorProto.UINT8)
    said = {"side": SIDE, "classes": EXPRESSIONS, "preprocessing": "255"}
    model = own_readers.load(OwnModel(path=tmp_path / "my.onnx", **said), "Mine", "CV1")
    np.testing.assert_allclose(model(images), function(matrix)(np.rint(255 * images)), atol=1e-6)


def test_a_keras_export_is_a_saved_model(tmp_path, images, capfd):
    keras_model(weights(6)).export(tmp_path / "saved", verbose=False)
    model = own_readers.load(OwnModel(path=tmp_path / "saved", side=SIDE, classes=EXPRESSIONS), "Mine", "CV1")
    np.testing.assert_allclose(model(images), function(weights(6))(images), atol=1e-6)


def test_files_of_keras_2(tmp_path, images):
    """Some can be read as they are; what to do with the others, which have a layer that changed, is said."""
    code = """
import numpy as np, tf_keras as keras
image = keras.Input((16, 16, 3))
dense = keras.layers.Dense(6, activation="softmax")
plain = keras.Model(image, dense(keras.layers.Flatten()(image)))
changed = keras.Model(image, plain(keras.layers.DepthwiseConv2D(3, padding="same")(image)))
plain.save("plain.h5"), changed.save("changed.h5"), changed.save("changed.keras"), changed.export("changed")
images = np.load("images.npy")
np.savez("answers.npz", plain=plain.predict(images), changed=changed.predict(images))
"""
    np.save(tmp_path / "images.npy", images)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    with np.load(tmp_path / "answers.npz") as answers:
        for path, name in (("plain.h5", "plain"), ("changed", "changed")):
            model = load(call=None, path=tmp_path / path)
            np.testing.assert_allclose(np.asarray(model(images)), answers[name], atol=1e-6)
    for name in ("changed.h5", "changed.keras"):
        with pytest.raises(ModelError, match="of Keras 2.*model.export"):
            load(call=None, path=tmp_path / name)


def test_a_class_that_is_not_known_here(tmp_path):
    import keras

    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    layers = [Own(), keras.layers.Flatten(), keras.layers.Dense(6, "softmax")]
    keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers]).save(tmp_path / "my.keras")
    with pytest.raises(ModelError, match="class 'Own' is not known here.*file.py that loads the model"):
        load(call=None, path=tmp_path / "my.keras")


def test_one_model_per_fold(tmp_path, images):
    for seed, fold in enumerate(("CV1", "CV2")):
        write_onnx(tmp_path / f"my_{fold}.onnx", weights(6, seed=seed))
    mine = OwnModel(path=tmp_path / "my_{fold}.onnx", side=SIDE, classes=EXPRESSIONS)
    assert mine.per_fold and mine.files("CV2") == [tmp_path / "my_CV2.onnx"]
    for seed, fold in enumerate(("CV1", "CV2")):
        model = own_readers.load(mine, "Mine", fold)
        np.testing.assert_allclose(model(images), function(weights(6, seed=seed))(images), atol=1e-6)
