"""Settings: presets, TOML files, validation, and the paths that follow from them."""

import pickle

import pytest

from ekman_expressions import Experiment
from ekman_expressions.core.errors import SettingsError
from ekman_expressions.zoo import NETWORKS


def test_paper_preset_has_the_numbers_of_the_study():
    paper = Experiment.preset("paper")
    assert paper.networks == tuple(NETWORKS)
    assert len(paper.pairs) == 60
    assert paper.pairs[:6] == (*(("SilNet", f"CV{k}") for k in range(1, 6)), ("WeiNet", "CV1"))
    lime = paper.explanation
    assert (lime.segments, lime.compactness, lime.samples) == (30, 20, 1000)
    assert (lime.kernel_width, lime.alpha, lime.hidden) == (0.25, 1, 0)
    assert (lime.positives, paper.training.batch_size, paper.training.weights) == (100, 128, "imagenet")
    assert paper.training.of("SongNet") == dict(
        optimizer="rmsprop", learning_rate=1e-4, schedule="constant", warmup=0, side=224, epochs=25,
        batch_norm_momentum=None,
    )  # fmt: skip


def test_fast_preset_is_paper_with_twice_the_faces_and_few_orthogonal_samples():
    fast, paper = Experiment.preset("fast"), Experiment.preset("paper")
    lime = fast.explanation
    assert (lime.samples, lime.sampler, lime.positives) == (65, "orthogonal", 200)
    as_paper = lime.replace(samples=1000, sampler="iid", hidden=0.0, positives=100)
    assert fast.replace(name="paper", explanation=as_paper) == paper


@pytest.mark.parametrize("name", Experiment.presets())
def test_every_preset_loads_and_names_its_folders(name, tmp_path):
    experiment = Experiment.preset(name, root=tmp_path)
    assert experiment.name == name
    assert experiment.model_path("WeiNet", "CV1") == tmp_path / "models" / name / "WeiNet_CV1.keras"
    assert experiment.dendrograms_folder == tmp_path / "dendograms" / name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "../x"}, "'name' must be made of letters"),
        ({"faces": {"folds": 1}}, r"'faces.folds' must be >= 2, but got 1"),
        ({"faces": {"datasets": ["a", "a"]}}, "must list different names, but got .'a', 'a'"),
        ({"explanation": {"hidden": 2}}, r"in \[0, 1\], but got 2"),
        ({"explanation": {"explainer": "gradcam"}}, "'grad_cam'.*but got 'gradcam'"),
        ({"explanation": {"options": {"rise": {"mask": 9}}}}, "options.rise'.*'masks'.*but got 'mask'"),
        ({"explanation": {"options": {"grad_cam": {"score": "odds"}}}}, "'contrast', but got 'odds'"),
        ({"training": {"overrides": {"WeiNet": {"lr": 1}}}}, "WeiNet.: Unknown setting 'lr'.*learning_rate"),
        ({"training": {"overrides": {"WeiNet": {"schedule": "step"}}}}, "'cosine', but got 'step'"),
        ({"faces": {"folds": 1, "size": "s"}, "sed": 1}, "(?s)faces.folds.*faces.size.*setting 'sed'"),
    ],
)
def test_bad_settings_say_what_was_received(settings, message):
    with pytest.raises(SettingsError, match=message):
        Experiment(**{"name": "x", "networks": ("WeiNet",)} | settings)


def test_toml_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nnetworks = ["WeiNet"]\n[faces]\ndatasets = ["lab"]\nfolds = 4\n'
        '[faces.roots]\nlab = "/data/lab"\n'
    )
    experiment = Experiment.load(str(path), root=tmp_path)
    assert experiment.folds == ("CV1", "CV2", "CV3", "CV4")
    assert experiment.faces.roots == {"lab": "/data/lab"}
    changed = pickle.loads(pickle.dumps(experiment.replace(seed=3)))
    assert (changed.seed, experiment.seed) == (3, 0)


MODEL = 'path = "m.onnx"\nside = 48\nclasses = ["pain", "sad"]\nmasks = { pain = ["mouth"] }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lack 'networks'"),
        ('networks = ["WeiNet"]\nfold = 3', "Unknown setting 'fold'. Known are name, seed"),
        ('networks = ["WeiNet"]\n[explanation]\nsample = 3', r"'sample' in \[explanation\].*samples"),
        (f'networks = ["WeiNet"]\n[models.M]\n{MODEL}', r"\[models.M\] has 'masks'.*the section \[masks\]"),
    ],
)
def test_bad_toml_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(f'name = "x"\n{text}')
    with pytest.raises(SettingsError, match=message):
        Experiment.from_toml(path)


def test_root_is_found_from_a_subfolder(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "datasets").mkdir()
    monkeypatch.delenv("EKMAN_EXPRESSIONS_ROOT", raising=False)
    monkeypatch.chdir(tmp_path / "notebooks")
    assert Experiment.find_root() == tmp_path
    monkeypatch.setenv("EKMAN_EXPRESSIONS_ROOT", str(tmp_path / "elsewhere"))
    assert Experiment.find_root() == tmp_path / "elsewhere"
