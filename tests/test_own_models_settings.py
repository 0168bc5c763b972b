"""How models of one's own are described: what is refused, what is recorded, which files belong to them."""

import pytest
from made_models import AFFECTNET, FER2013, SIDE, own, weights, write_onnx, write_saved_model

from ekman_expressions import Experiment, OwnModel
from ekman_expressions.core.errors import SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.study.models import own_files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": [*FER2013, "bored"]}, "Unknown expression 'bored'.*called 'other'"),
        ({"classes": [*FER2013, "joy"]}, "names happiness more than once"),
        ({"classes": [*AFFECTNET, "neutral"]}, "names neutral more than once"),
        ({"classes": FER2013[1:]}, "lacks anger"),
        ({"classes": "fer2013"}, "'classes' must be a list of names, but got 'fer2013'"),
        ({"classes": [0, 1, 2, 3, 4, 5]}, "'classes' must be a list of names"),
        ({"side": 0}, "'side'"),
        ({"side": (48, 48)}, "'side'"),
        ({"call": None}, "either a 'path' or a 'call', but neither"),
        ({"path": "my.keras"}, "either a 'path' or a 'call', but got both"),
        ({"version": " "}, "'call' needs a 'version'"),
        ({"call": "mine.predict"}, "file.py:function"),
        ({"call": 3}, "'call' must be a function"),
        ({"channels": "RGB"}, "'channels'.*'rgb', 'bgr'"),
        ({"preprocessing": "torch"}, "'preprocessing'.*'imagenet'"),
        ({"layout": "nchw"}, "'layout'"),
        ({"output": "sigmoid"}, "'output'"),
        ({"extra": "ignore"}, "'extra'.*'drop' or 'keep'"),
        ({"channels": "gray", "preprocessing": "imagenet"}, "'gray' is one channel"),
    ],
)
def test_descriptions_that_cannot_be_used(changes, message):
    with pytest.raises(SettingsError, match=message):
        own(**changes)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"WeiNet": own()}, "taken by 'WeiNet'"),
        ({"weinet": own()}, "taken by 'WeiNet'"),
        ({"Mine": own(), "mine": own()}, "taken by 'Mine'"),
        ({"Average": own()}, "taken by"),
        ({"my model": own()}, "letters, digits"),
        ({"Mine_CV1": own()}, "not end like a fold"),
        ({"Mine": "my.keras"}, "valid dictionary or instance of OwnModel"),
        ([own()], "must be a valid dictionary"),
    ],
)
def test_names_that_cannot_be_used(models, message):
    with pytest.raises(SettingsError, match=message):
        Experiment(name="x", models=models)


def test_networks_and_own_models_together(tmp_path):
    alone = Experiment(name="x", models={"Mine": own(), "Yours": own()}, root=tmp_path)
    assert alone.networks == ("Mine", "Yours") and alone.trained_networks == ()
    mixed = Experiment(name="x", networks=("Mine", "WeiNet"), models={"Mine": own()}, root=tmp_path)
    assert mixed.trained_networks == ("WeiNet",)
    assert (mixed.side("Mine"), mixed.side("WeiNet")) == (SIDE, 64)
    with pytest.raises(SettingsError, match="'Mine' is described, but 'networks' does not name it"):
        Experiment(name="x", networks=("WeiNet",), models={"Mine": own()})
    with pytest.raises(SettingsError, match="'WeiNet'.*'Mine', but got 'Mien'"):
        Experiment(name="x", networks=("Mien",), models={"Mine": own()})


def test_a_settings_file(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[models.Mine]\npath = "my_{fold}.onnx"\nside = 48\nchannels = "gray"\n'
        f'classes = {FER2013}\n[models.Yours]\ncall = "yours.py:predict"\nversion = "2"\nside = 64\n'
        f"classes = {FER2013}\n"
    )
    monkeypatch.chdir("/")
    experiment = Experiment.load(tmp_path / "mine.toml", root=tmp_path)
    assert experiment.networks == ("Mine", "Yours")
    mine, yours = experiment.models.values()
    assert mine.source("CV3") == tmp_path / "my_CV3.onnx"
    assert yours.source("CV3") == f"{tmp_path / 'yours.py'}:predict"
    assert mine.classes == (*EXPRESSIONS, "neutral")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("[models]\nMine = 3", "'models.Mine' must be a valid dictionary"),
        ("[models.Mine]\nside = 48", r"\[models.Mine\]: The settings lack 'classes'"),
        ("[models.Mine]\nsize = 48", r"(?s)\[models.Mine\]: .*Unknown setting 'size'"),
        (f"[models.Mine]\nside = 48\nclasses = {FER2013}", r"\[models.Mine\]: .* neither was given"),
    ],
)
def test_settings_files_that_cannot_be_used(tmp_path, section, message):
    (tmp_path / "mine.toml").write_text(f'name = "mine"\n{section}\n')
    with pytest.raises(SettingsError, match=message):
        Experiment.from_toml(tmp_path / "mine.toml")


def test_what_is_recorded_is_independent_of_places(tmp_path):
    first = OwnModel(path=tmp_path / "a" / "my.onnx", side=48, classes=FER2013).recorded()
    assert first == OwnModel(path=tmp_path / "b" / "my.onnx", side=48, classes=FER2013).recorded()
    assert str(tmp_path) not in str(first) and first["source"] == "onnx"
    assert own().recorded()["call"] == "made_models:uniform"
    assert own(call=f"{tmp_path}/mine.py:predict").recorded()["call"] == "mine.py:predict"


def test_files_beside_an_onnx_file_and_in_a_saved_model_belong_to_it(tmp_path):
    write_onnx(tmp_path / "my.onnx", weights(6))
    (tmp_path / "my.onnx.data").write_bytes(b"weights")
    write_saved_model(tmp_path / "saved", weights(6))
    models = {
        "Onnx": own(call=None, path=tmp_path / "my.onnx"),
        "Saved": own(call=None, path=tmp_path / "saved"),
        "Absent": own(call=None, path=tmp_path / "absent"),
    }
    found = own_files(Experiment(name="x", models=models, root=tmp_path))
    assert found["model Onnx"] == tmp_path / "my.onnx" and found["model Onnx my.onnx.data"].exists()
    assert found["model Saved saved_model.pb"].exists() and found["model Saved variables/variables.index"].exists()
    assert not [name for name in found if name.startswith("model Absent")]
