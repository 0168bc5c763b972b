"""Models of one's own through the steps of a study, alone and beside the zoo's; the code of the guide."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from made_faces import make_experiment, write_landmarks
from made_models import keras_model, weights, write_onnx
from made_steps import confusions

from ekman_expressions import Experiment, OwnModel, cli
from ekman_expressions.core.errors import ConflictError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_csv, read_json
from ekman_expressions.facespace.heatmaps import heatmap_path
from ekman_expressions.study import evaluation, read_results
from ekman_expressions.study import run as run_steps

GUIDE = Path(__file__).parent.parent / "docs" / "own_model.md"
# Those of which all others are made.
MAIN = ["evaluation", "explanations", "facespace", "heatmaps", "masks", "scores"]
SIDE = 48
COLOURS = {
    "Neutral": (4.6, 4.6, 4.6),
    "Happy": (5.66, 5.66, 0),
    "Sad": (0, 0, 8),
    "Surprise": (5.66, 0, 5.66),
    "Fear": (0, 8, 0),
    "Disgust": (8, 0, 0),
    "Angry": (0, 0, 0),
}
CLASSES = list(COLOURS)
# Tells the made faces' colours apart; gray (anger) it takes for neutral.
READER = np.float32(list(COLOURS.values())).T


def prepare(root, **settings):
    """Return an experiment with made faces and landmarks; `settings` as of `made_faces.make_experiment`."""
    settings = {"explanation": dict(positives=1, samples=24, segments=12)} | settings
    experiment = make_experiment(root, **settings)
    write_landmarks(experiment)
    return experiment


def described(path, **changes):
    return OwnModel(**({"path": path, "side": SIDE, "classes": CLASSES} | changes))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A study with a network that is trained, an ONNX file that keeps neutral, and a Keras file per fold."""
    root = tmp_path_factory.mktemp("mixed")
    write_onnx(root / "my.onnx", READER, side=SIDE)
    for fold in ("CV1", "CV2"):
        keras_model(READER, side=SIDE).save(root / f"my_{fold}.keras")
    with pytest.MonkeyPatch.context() as patch:
        tiny_network.register(patch.setitem)
        experiment = prepare(
            root,
            networks=("Tiny", "Kept", "Dropped"),
            models={
                "Kept": described(root / "my.onnx", extra="keep"),
                "Dropped": described(root / "my_{fold}.keras"),
            },
            training=tiny_network.settings(epochs=1),
        )
        run_steps(experiment, "training", *MAIN, "barplots", "dendrograms")
        yield experiment


def test_the_steps_know_own_models(mixed):
    kept = [path.name for path in sorted(mixed.models_folder.glob("*.keras"))]
    assert kept == ["Tiny_CV1.keras", "Tiny_CV2.keras"]
    for network in mixed.networks:
        explained = evaluation.read_explained(mixed).query("network == @network")
        assert len(explained)
        for expression in explained["expression"].unique():
            assert heatmap_path(mixed.heatmaps_folder, expression, network).exists()
    table = read_csv(mixed.scores_folder / "table_iou_f1.csv")
    assert table["network"].tolist() == ["Tiny", "Kept", "Dropped", "Average"]
    assert (mixed.barplots_folder / "IoU_by_net.png").exists()
    pairs = read_csv(mixed.dendrograms_folder / "distances.csv").query("level == 'by_net'")
    # The same function, though in another format: the same heatmaps of what both explain.
    assert {"Kept", "Dropped"} in [set(pair) for pair in zip(pairs["first"], pairs["second"], strict=True)]


def test_predictions_of_extra_classes(mixed):
    predictions = read_results(mixed, "evaluation", "predictions")
    by_network = {name: rows.set_index("image_id") for name, rows in predictions.groupby("network")}
    kept, dropped = by_network["Kept"], by_network["Dropped"]
    assert set(dropped["predicted"]) <= set(EXPRESSIONS)
    neutral = kept["predicted"] == "neutral"
    assert 0 < neutral.sum() < len(kept)
    assert (kept["predicted"] == dropped["predicted"])[~neutral].all()
    explained = evaluation.read_explained(mixed)
    faces = explained.query("network == 'Kept'")
    assert (kept.loc[faces["image_id"], "predicted"].to_numpy() == faces["expression"].to_numpy()).all()
    # A face taken for neutral is wrong, but neutral is no seventh class of the means.
    scores = read_results(mixed, "evaluation", "accuracy").set_index("network")
    right = (kept["expression"] == kept["predicted"]).groupby(kept["fold"]).mean().mean()
    assert scores.loc["Kept", "accuracy"] == pytest.approx(right)
    assert scores.loc["Kept", "macro_recall"] == pytest.approx(right)
    matrices = confusions(mixed)
    assert {name: counts.shape for name, counts in matrices.items()} == {
        "Tiny": (6, 6), "Kept": (6, 7), "Dropped": (6, 6)
    }  # fmt: skip
    assert matrices["Kept"].sum() == len(kept) and matrices["Kept"][:, 6].sum() == neutral.sum()
    shown = {EXPRESSIONS[row] for row in np.flatnonzero(matrices["Kept"][:, 6])}
    assert shown == set(kept.loc[neutral, "expression"])


def test_run_json_tells_of_own_models(mixed):
    entry = read_json(mixed.evaluation_folder / "run.json")
    own = {"model Kept", "model Dropped_CV1", "model Dropped_CV2"}
    assert own | {f"training/Tiny_{fold}.keras" for fold in mixed.folds} < set(entry["inputs"])
    kept = entry["settings"]["models"]["Kept"]
    assert (kept["source"], kept["extra"], kept["classes"][1]) == ("onnx", "keep", "happiness")
    assert list(entry["settings"]["training"]["networks"]) == ["Tiny"]
    notes = "\n".join(entry["notes"])
    assert "Kept was trained elsewhere and is the same in all folds" in notes
    assert "that of fold CVk must not have seen" in notes
    assert re.search(r"Kept_CV1: \d+ faces were taken for none of the six", notes)
    assert "models" not in read_json(mixed.models_folder / "run.json")["settings"]


def test_a_changed_file_or_description_is_refused(tmp_path):
    write_onnx(tmp_path / "my.onnx", READER, side=SIDE)
    experiment = prepare(tmp_path, networks=("Mine",), models={"Mine": described(tmp_path / "my.onnx")})
    run_steps(experiment, "evaluation", "explanations")
    other = experiment.replace(models={"Mine": described(tmp_path / "my.onnx", channels="bgr")})
    for step in ("evaluation", "explanations"):
        with pytest.raises(ConflictError, match="models.Mine.channels = 'rgb', but .* now says 'bgr'"):
            run_steps(other, step)
    write_onnx(tmp_path / "my.onnx", -READER, side=SIDE)
    for step in ("evaluation", "explanations"):
        with pytest.raises(ConflictError, match="another version of model Mine "):
            run_steps(experiment, step)


def test_a_model_of_fewer_classes_takes_part_for_what_it_knows(tmp_path):
    keras_model(READER[:, :5], side=(SIDE, 30)).save(tmp_path / "my.keras")
    five = described(tmp_path / "my.keras", classes=CLASSES[:5], side=[SIDE, 30])
    experiment = prepare(tmp_path, networks=("Five",), models={"Five": five})
    run = run_steps(experiment, *MAIN, "quality", "regions")
    assert any("does not know anger, disgust" in note for note in run.notes)
    assert set(evaluation.read_explained(experiment)["expression"]) <= {*EXPRESSIONS} - {"anger", "disgust"}
    assert len(read_csv(experiment.scores_folder / "scores.csv"))
    assert heatmap_path(experiment.heatmaps_folder, "sadness", "Five").exists()
    assert not heatmap_path(experiment.heatmaps_folder, "anger", "Five").exists()


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def test_the_guides_settings_file_runs(tmp_path, monkeypatch, capsys):
    """As a user runs it; only faces and samples are fewer."""
    text, _, _ = blocks("toml")
    (section,) = tomllib.loads(text)["models"].values()
    matrix = weights(len(section["classes"]), channels=1) / 255
    write_onnx(tmp_path / section["path"], matrix, side=section["side"], layout="NCHW", softmax=False)
    assert text.count("folds = 2") == 1
    text = text.replace("folds = 2", "folds = 2\nsize = 32")
    text += "\n[explanation]\npositives = 1\nsamples = 24\n"
    (tmp_path / "mine.toml").write_text(text.replace('name = "mine"', 'name = "made"'))
    (command,) = [line for block in blocks("") for line in block.splitlines()]
    assert command.split()[:1] == ["ekman-expressions"]
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command.split()[1:], "--root", str(tmp_path), "--steps", ",".join(MAIN)]) == 0
    assert "Where to look" in capsys.readouterr().out
    experiment = Experiment.load("mine.toml", root=tmp_path)
    explained = evaluation.read_explained(experiment)
    assert set(explained["network"]) == {"MyNet"}
    assert heatmap_path(experiment.heatmaps_folder, explained["expression"][0], "MyNet").exists()


def test_the_guides_python_runs_from_both_sides(tmp_path, monkeypatch):
    code, *_ = blocks("python")
    _, settings, classes = blocks("toml")
    (tmp_path / "classes.toml").write_text(classes)
    named = Experiment.load(tmp_path / "classes.toml")
    assert named.expressions[-1] == "happily-surprised"
    assert list(named.mask_regions) == list(named.expressions[:3])
    made = prepare(tmp_path)
    changes = {
        'Experiment.preset("demo")': "made",
        'name="mine"': 'name="made"',
        "run(experiment)": "run(experiment, *steps)",
    }
    for shown, tested in changes.items():
        assert code.count(shown) == 1
        code = code.replace(shown, tested)
    names = {"made": made, "steps": ("evaluation", "explanations")}
    exec(compile(code, "own_model.md", "exec"), names)
    found = read_results(names["experiment"], "evaluation", "predictions")
    assert (found["network"] == "MyNet").all() and len(found) == 24
    assert list(names["experiment"].records_folder.rglob("*.npz"))
    # The same function, out of a file that the settings name.
    function_alone = code[code.index("def predict") : code.index("mine = ")]
    (tmp_path / "my_code.py").write_text("import numpy as np\n\n" + function_alone)
    (tmp_path / "mine.toml").write_text(settings)
    monkeypatch.chdir("/")
    models = Experiment.load(tmp_path / "mine.toml").models
    again = made.replace(name="again", networks=(), models=models)
    made.faces_folder.rename(again.faces_folder)
    run_steps(again, "evaluation")
    assert read_results(again, "evaluation", "predictions").equals(found)
    assert "model MyNet" in read_json(again.evaluation_folder / "run.json")["inputs"]


def test_the_guide_names_every_setting():
    text = GUIDE.read_text("utf-8")
    for name in OwnModel.model_fields:
        assert f"`{name}`" in text or f"{name} = " in text
    assert all(title(expression).lower() in text.lower() for expression in EXPRESSIONS)
