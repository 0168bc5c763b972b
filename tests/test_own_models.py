"""Models trained elsewhere: known answers for every form, order, range and kind; their descriptions."""

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
from scipy.special import softmax

from ekman_expressions import Experiment, explain
from ekman_expressions.core.errors import ModelError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_json
from ekman_expressions.faces import example_faces
from ekman_expressions.study.training import _own_files
from ekman_expressions.zoo.own_models import (
    _EXAMPLE,
    _predicted_expressions,
    _read_model,
    example_model,
    load_model,
)
from ekman_expressions.zoo.own_settings import _preprocess

COLOUR = (0.2, 0.4, 0.6)
# By hand, what a pixel of that colour is in each form: channels, preprocessing, mean and std of its own.
FORMS = {
    ("rgb", "unit"): (0.2, 0.4, 0.6),
    ("bgr", "unit"): (0.6, 0.4, 0.2),
    ("gray", "unit"): (0.363,),
    ("gray3", "unit"): (0.363, 0.363, 0.363),
    ("rgb", "255"): (51, 102, 153),
    ("rgb", "minus_one_one"): (-0.6, -0.2, 0.2),
    ("gray", "minus_one_one"): (-0.274,),
    ("rgb", "imagenet"): (-0.285 / 0.229, -0.25, 0.194 / 0.225),
    ("gray3", "imagenet"): (-0.122 / 0.229, -0.093 / 0.224, -0.043 / 0.225),
    ("bgr", "caffe"): (49.061, -14.779, -72.68),
    ("rgb", "caffe"): (-72.68, -14.779, 49.061),
    ("rgb", "unit", (0.1, 0.2, 0.3), (0.5, 0.25, 0.1)): (0.2, 0.8, 3),
    ("bgr", "255", (104, 117, 123)): (49, -15, -72),
    ("bgr", "255", (), (3, 2, 1)): (51, 51, 51),
    ("gray", "minus_one_one", 0.126, 0.5): (-0.8,),
    ("gray3", "unit", (0.363, 0.263, 0.163), 2): (0, 0.05, 0.1),
}


@pytest.fixture
def images():
    return np.random.default_rng(1).random((5, SIDE, SIDE, 3), dtype=np.float32)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_model_is_given_what_it_was_trained_with(form):
    # Six images: `COLOUR` in the upper left quarter, the corners of the colour cube elsewhere.
    coloured = np.random.default_rng(2).integers(0, 2, (6, SIDE, SIDE, 3)).astype(np.float32)
    coloured[:, : SIDE // 2, : SIDE // 2] = COLOUR
    said = dict(zip(("channels", "preprocessing", "mean", "std"), form, strict=False))
    layout = "NCHW" if form[0] == "bgr" else "NHWC"
    expected = np.array(FORMS[form])
    matrix = weights(6, len(expected)) / max(1, np.abs(expected).max())
    seen = []

    def model(images):
        seen.append(images.copy())
        return function(matrix, layout=layout)(images)

    adapted = load(model, layout=layout, **said)
    seen.clear()
    answers = adapted.predict(coloured)
    (given,) = seen
    assert given.dtype == np.float32
    given = given.transpose(0, 2, 3, 1) if layout == "NCHW" else given
    assert given.shape[1:] == (SIDE, SIDE, len(expected))
    np.testing.assert_allclose(given[:6, 0, 0], [expected] * 6, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(given[6:], given[5:6].repeat(len(given) - 6, axis=0))
    # Black, where it is in the image.
    low = _preprocess(np.zeros((1, 1, 1, 3), np.float32), own(**said))
    black = (coloured == 0).all(axis=-1)
    np.testing.assert_allclose(given[:6][black], np.repeat(low[0, 0], black.sum(), axis=0))
    np.testing.assert_allclose(answers, [softmax(expected @ matrix)] * 6, atol=1e-6)
    keras = load(keras_model(matrix, layout=layout), layout=layout, **said)
    np.testing.assert_allclose(keras.predict(coloured), answers, atol=1e-6)
    assert form[1] != "caffe" or own(preprocessing="caffe").channels == "bgr"


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_faces_that_are_not_square(layout):
    matrix, faces = weights(6), example_faces(2)
    found = load(keras_model(matrix, side=(24, 16), layout=layout), side=None, layout=layout)
    assert found.side == (24, 16)
    expected = function(matrix)(faces.at((24, 16)))
    np.testing.assert_allclose(found.predict(faces.at(found.side)), expected, atol=1e-6)
    same = load(function(matrix, layout=layout), side=[24, 16], layout=layout)
    np.testing.assert_allclose(same.predict(faces.at((24, 16))), expected, atol=1e-6)
    assert explain(same, faces, "lime", samples=10).explanations[0].map.shape == (24, 16)
    with pytest.raises(ModelError, match="the image has"):
        found.predict(faces.at((16, 24)))


@pytest.mark.parametrize(
    ("classes", "order"), [(AFFECTNET, (6, 5, 4, 1, 2, 3, 0, 7)), (FERPLUS, (4, 5, 6, 1, 3, 2, 0, 7, 8, 9))]
)
@pytest.mark.parametrize("kind", [function, keras_model])
def test_classes_come_in_our_order(classes, order, kind, images):
    expected = np.random.default_rng(0).dirichlet(np.ones(len(classes))).astype(np.float32)
    matrix = np.log(expected) * np.ones((3, 1), np.float32)
    answers = load(kind(matrix), classes=classes).predict(np.ones_like(images) / 3)
    assert answers.shape == (5, len(classes)) and answers.dtype == np.float32
    np.testing.assert_allclose(answers, [expected[list(order)]] * 5, atol=1e-6)


def test_an_extra_class_is_dropped_or_kept():
    # Happiness, neutral and contempt are likeliest in turn; in the last the six have nothing.
    answers = np.zeros((4, 8), np.float32)
    answers[0, [3, 6]] = 0.6, 0.4
    answers[1, [3, 5, 6]] = 0.3, 0.2, 0.5
    answers[2, [4, 6, 7]] = 0.3, 0.3, 0.4
    answers[3, 6] = 1
    classes = [*EXPRESSIONS, "neutral", "contempt"]
    predicted, six = _predicted_expressions(answers, own(classes=classes))
    assert predicted.tolist() == ["happiness", "happiness", "sadness", "anger"]
    np.testing.assert_allclose(six[1], [0, 0, 0, 0.6, 0, 0.4], atol=1e-7)
    np.testing.assert_allclose(six[3], 1 / 6)
    predicted, six = _predicted_expressions(answers, own(classes=classes, extra="keep"))
    assert predicted.tolist() == ["happiness", "neutral", "contempt", "neutral"]
    np.testing.assert_array_equal(six, answers[:, :6])


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
    said = {"classes": FER2013, "channels": "bgr", "layout": "NCHW", "output": "logits"}
    said |= {"preprocessing": "minus_one_one"}
    sources = {
        "call": {"call": function(matrix, softmax=False, layout="NCHW")},
        "keras": {"call": None, "path": folder / "my.keras"},
        "h5": {"call": None, "path": str(folder / "my.h5")},
        "saved_model": {"call": None, "path": folder / "saved"},
        "onnx": {"call": None, "path": folder / "my.onnx"},
        "keras object": {"call": model},
    }
    return {name: _read_model(own(**said, **source), "Mine") for name, source in sources.items()}


@pytest.mark.parametrize("kind", ["keras", "h5", "saved_model", "onnx", "keras object"])
def test_all_kinds_answer_alike(kinds, kind, images):
    wanted = kinds["call"].predict(images)
    answers = kinds[kind].predict(images)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, wanted, atol=1e-6)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(wanted, axis=0).max() > 0.01
    segments = np.arange(SIDE).repeat(SIDE).reshape(SIDE, SIDE) // 4
    hidden = (images[0], segments, np.random.default_rng(0).random((70, 4)) < 0.5, "mean")
    found = kinds[kind].predict_hidden(*hidden)
    np.testing.assert_allclose(found, kinds["call"].predict_hidden(*hidden), atol=1e-6)
    assert kinds[kind].has_gradients == ("keras" in kind or kind == "h5")


def test_load_model_describes_and_reads_in_one_call(tmp_path, images, monkeypatch):
    matrix = weights(7)
    wanted = function(matrix)(images)
    # A Keras model says its side itself, in memory and in a file, also of a suffix in capitals.
    monkeypatch.setenv("HOME", str(tmp_path))
    keras_model(matrix).save(tmp_path / "net.keras")
    (tmp_path / "net.keras").rename(tmp_path / "NET.KERAS")
    for source in (keras_model(matrix), tmp_path / "NET.KERAS", "~/NET.KERAS"):
        model = load_model(source, classes=FER2013)
        np.testing.assert_allclose(model.predict(images), wanted, atol=1e-6)
        assert model.classes == (*EXPRESSIONS, "neutral") and model.side == (SIDE, SIDE)
    assert model.name == "NET"
    assert load_model("made_models:uniform", classes=EXPRESSIONS, side=SIDE, name="Me").name == "Me"
    for source, said, message in (
        (uniform, {}, "'classes' must be given"),
        (3, {}, "'source' must be a path"),
        (uniform, {"classes": EXPRESSIONS}, "'side' must be given"),
    ):
        with pytest.raises(SettingsError, match=message):
            load_model(source, **said)


def test_the_example_model_predicts_persons_that_it_has_not_seen():
    model = example_model()
    unseen = example_faces(subjects=list(model.unseen))
    assert len(unseen) == 192 and _EXAMPLE.stat().st_size < 4e6
    found = model.predict(unseen.at(64)).argmax(axis=1)
    accuracy = np.mean(np.array(model.classes)[found] == unseen.table["expression"])
    # As tools/train_example_model.py measured it.
    assert accuracy == pytest.approx(read_json(_EXAMPLE.with_suffix(".json"))["accuracy"]["unseen"], abs=0.02)
    assert accuracy > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": [*FER2013, "bored"]}, "Unknown expression 'bored'.*called 'other'"),
        ({"classes": [*FER2013, "joy"]}, "names happiness more than once"),
        ({"classes": ["neutral", "Angry", "other"]}, "two or more of the six expressions"),
        ({"classes": "fer2013"}, "'classes' must be a list of names, but got 'fer2013'"),
        ({"side": (48, 48, 3)}, "'side' must be the side of a square, or \\[height, width\\]"),
        ({"mean": [0.5, 0.5]}, "'mean' must have one number, or one for each of 3"),
        ({"std": [1, 0, 1]}, "above 0"),
        ({"std": 0.5, "preprocessing": "imagenet"}, "has a mean of its own"),
        ({"call": None}, "either a 'path' or a 'call', but neither"),
        ({"version": " "}, "'call' needs a 'version'"),
        ({"channels": "RGB"}, "'channels'.*'rgb', 'bgr'"),
        ({"channels": "gray", "preprocessing": "imagenet"}, "'gray' is one channel"),
    ],
)
def test_descriptions_that_cannot_be_used(changes, message):
    with pytest.raises(SettingsError, match=message):
        own(**changes)


def test_networks_and_own_models_together(tmp_path):
    alone = Experiment(name="x", models={"Mine": own(), "Yours": own()}, root=tmp_path)
    assert alone.networks == ("Mine", "Yours") and alone.trained_networks == ()
    mixed = Experiment(name="x", networks=("Mine", "WeiNet"), models={"Mine": own()}, root=tmp_path)
    assert mixed.trained_networks == ("WeiNet",)
    assert (mixed.side("Mine"), mixed.side("WeiNet")) == (SIDE, 64)
    for networks, model, message in (
        (("WeiNet",), "Mine", "'Mine' is described, but 'networks' does not name it"),
        (("Mien",), "Mine", "'WeiNet'.*'Mine', but got 'Mien'"),
        ((), "weinet", "taken by 'WeiNet'"),
        ((), "Average", "taken by"),
        ((), "my model", "letters, digits"),
        ((), "Mine_CV1", "not end like a fold"),
    ):
        with pytest.raises(SettingsError, match=message):
            Experiment(name="x", networks=networks, models={model: own()})


def test_a_settings_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[models.Mine]\npath = "my_{fold}.onnx"\nside = 48\nchannels = "gray"\n'
        f'classes = {FER2013}\n[models.Yours]\ncall = "yours.py:predict"\nversion = "2"\nside = 64\n'
        f"classes = {FER2013}\n"
    )
    experiment = Experiment.load(path, root=tmp_path)
    mine, yours = experiment.models.values()
    assert mine.source("CV3") == tmp_path / "my_CV3.onnx"
    assert yours.source("CV3") == f"{tmp_path / 'yours.py'}:predict"
    assert experiment.networks == ("Mine", "Yours") and mine.classes == (*EXPRESSIONS, "neutral")
    for line, message in (
        ("side = 48", r"\[models.Mine\]: The settings lack 'classes'"),
        ("size = 48", r"(?s)\[models.Mine\]: .*Unknown setting 'size'"),
    ):
        path.write_text(f'name = "mine"\n[models.Mine]\n{line}\n')
        with pytest.raises(SettingsError, match=message):
            Experiment.from_toml(path)


def test_what_is_recorded_is_independent_of_places(tmp_path):
    first, second = (own(call=None, path=tmp_path / name / "my.onnx").recorded() for name in "ab")
    assert first == second and str(tmp_path) not in str(first) and first["source"] == "onnx"
    assert own().recorded()["call"] == "made_models:uniform" and "mean" not in own().recorded()
    assert own(call=f"{tmp_path}/mine.py:predict").recorded()["call"] == "mine.py:predict"
    told = own(side=(24, 16), mean=0.5).recorded()
    assert (told["side"], told["mean"]) == ([24, 16], [0.5])


def test_files_beside_an_onnx_file_and_in_a_saved_model_belong_to_it(tmp_path):
    files = {
        "model Onnx": tmp_path / "my.onnx",
        "model Onnx my.onnx.data": tmp_path / "my.onnx.data",
        "model Saved saved_model.pb": tmp_path / "saved" / "saved_model.pb",
        "model Saved variables/variables.index": tmp_path / "saved" / "variables" / "variables.index",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    paths = {"Onnx": "my.onnx", "Saved": "saved", "Absent": "absent"}
    models = {name: own(call=None, path=tmp_path / path) for name, path in paths.items()}
    assert _own_files(Experiment(name="x", models=models, root=tmp_path)) == files
