"""A study of classes beyond the six: fewer expressions, names and masks of one's own, one without a mask."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import stub_study
import tiny_network
from made_steps import confusions
from stub_study import SIDE

from ekman_expressions import Experiment, OwnModel, report
from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS, parse_expression, title
from ekman_expressions.core.files import read_csv, read_image, read_json, write_image
from ekman_expressions.faces.surveys import survey
from ekman_expressions.facespace import heatmaps, warp
from ekman_expressions.facespace.masks import atlas, ekman_mask, read_mask
from ekman_expressions.measures.heatmap_set import TABLES
from ekman_expressions.study import explanations, prepared, read_results, run
from ekman_expressions.study.training import read_model

CLASSES = ("happiness", "anger", "disgust", "smirk", "low-pain")
MASKS = {"smirk": ["right_mouth_corner", "nose"], "anger": ["mouth"]}
# Of the stub's six outputs, each bright in its block of the face; the sixth is no class of the study.
SAID = ["Smirk", "Happy", "low-pain", "Angry", "Disgust", "Sad"]
SHOWN = ["smirk", "happy", "a little pain", "Angry", "DISGUST"]
NINE = ("low-pain", *(f"c{letter}" for letter in "abcdefgh"))


def write_pictures(folder: Path, persons: int = 4, copies: int = 2) -> None:
    """Write pictures as of `stub_study`, a table of them, and their landmarks: nothing is to be detected."""
    random = np.random.default_rng(0)
    rows, points = [], []
    for person in range(persons):
        for place, label in enumerate([*SHOWN, "sad"] * copies):
            row, column = divmod(place % 6, 4)
            face = random.integers(60, 120, (SIDE, SIDE, 3), np.uint8)
            face[row * 16 : row * 16 + 16, column * 8 : column * 8 + 8] += np.uint8(100)
            name = f"p{person}_{place}.png"
            write_image(folder / name, face)
            rows.append((name[:-4], name, f"p{person}", label))
            points.append(warp.POINTS[:68] / np.array(warp.SHAPE[::-1]) * SIDE)
    np.savez(folder / "points.npz", names=[row[0] for row in rows], points=np.float32(points))
    table = pd.DataFrame(rows, columns=["image_id", "path", "subject", "expression"])
    table.to_csv(folder / "manifest.csv", index=False)


def settings(root: Path, classes=CLASSES, **changes) -> dict:
    options = {"landmarks": "points.npz", "crop": False, "labels": {"a little pain": "low-pain"}}
    faces = dict(datasets=("lab",), roots={"lab": str(root / "lab")}, options={"lab": options})
    faces |= dict(folds=2, size=SIDE, classes=classes)
    explanation = dict(positives=2, samples=20, segments=8, quality_faces=1, quality_samples=10)
    return dict(name="lab", root=root, faces=faces, masks=MASKS, explanation=explanation) | changes


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """All steps and the report with two functions, which know the order of the classes differently."""
    root = tmp_path_factory.mktemp("classes")
    write_pictures(root / "lab")
    stub = {"side": SIDE, "call": f"{Path(stub_study.__file__).resolve()}:answer", "version": "1"}
    models = {"Stub": stub | {"classes": SAID}, "Turned": stub | {"classes": SAID[::-1], "extra": "keep"}}
    experiment = Experiment(**settings(root, models=models))
    total = run(experiment)
    report.make(experiment)
    return experiment, total


def test_faces_with_the_users_labels_are_kept(study):
    manifest = prepared.read_manifest(study[0])
    assert manifest["expression"].value_counts().to_dict() == dict.fromkeys(CLASSES, 8)
    assert "images of sadness, not used: 8" in " ".join(study[1].notes)


def test_own_models_have_their_classes_in_the_order_of_the_study(study):
    experiment, _ = study
    assert read_model(experiment, "Stub", "CV1").classes == (*CLASSES, "sadness")
    predictions = read_results(experiment, "evaluation", "predictions")
    assert list(predictions.columns[-5:]) == [f"p_{name}" for name in CLASSES]
    right = predictions["expression"] == predictions["predicted"]
    assert right[predictions["network"] == "Stub"].all()
    matrices = confusions(experiment)
    np.testing.assert_array_equal(matrices["Stub"], 8 * np.eye(5))
    # The outputs of the other are turned round: a smirk it takes for sadness, which is no class here.
    assert matrices["Turned"].shape == (5, 6)
    assert matrices["Turned"][CLASSES.index("smirk")].tolist() == [0, 0, 0, 0, 0, 8]
    assert matrices["Turned"][CLASSES.index("happiness"), CLASSES.index("disgust")] == 8
    assert "Turned_CV1: 4 faces were taken for none of the 5; they are no positives" in study[1].notes


def test_networks_have_as_many_outputs_as_classes(study, monkeypatch):
    tiny_network.register(monkeypatch.setitem)
    training = dict(weights="none", batch_size=5, overrides={"Tiny": {"epochs": 1}})
    experiment = study[0].replace(name="trained", networks=("Tiny",), models={}, training=training)
    shutil.copytree(study[0].faces_folder, experiment.faces_folder)
    run(experiment, "training", "evaluation")
    model = read_model(experiment, "Tiny", "CV1")
    assert model.classes == CLASSES and model.source.output_shape == (None, 5)
    assert confusions(experiment)["Tiny"].shape == (5, 5)


def test_masks_are_the_union_of_their_regions(study):
    experiment, _ = study
    folder = experiment.masks_folder
    assert folder == experiment.heatmaps_folder / "GROUND_TRUTH"
    names = sorted(path.name for path in folder.glob("*.png"))
    assert names == ["Anger_gt.png", "Disgust_gt.png", "Happiness_gt.png", "Smirk_gt.png"]
    expected = atlas().mask(["right_mouth_corner"]) | atlas().mask(["nose"])
    np.testing.assert_array_equal(read_mask(folder, "smirk"), expected)
    # A group, in place of Ekman's mask.
    np.testing.assert_array_equal(read_mask(folder, "anger"), atlas().mask(["mouth"]))
    np.testing.assert_array_equal(read_mask(folder, "disgust"), ekman_mask("disgust"))


def test_what_has_no_mask_is_shown_and_not_scored(study):
    experiment, total = study
    for name in CLASSES:
        assert heatmaps.heatmap_path(experiment.heatmaps_folder, name, "Stub", kind="OVERLAY").exists()
    scored = ["Happiness", "Anger", "Disgust", "Smirk", "Average"]
    scores = read_results(experiment, "scores", "scores")
    assert list(scores["expression"].unique()) == scored
    assert "classes without a mask, which are not scored: low-pain" in total.notes
    of_stub = scores[scores["network"] == "Stub"].set_index("expression")["iou"]
    assert of_stub["Average"] == pytest.approx(of_stub[scored[:4]].mean())
    where = experiment.heatmaps_folder, "smirk", "Stub", "CV1"
    marked = read_image(heatmaps.heatmap_path(*where, kind="THRESHOLD"), gray=True) > 0
    mask = read_mask(experiment.masks_folder, "smirk")
    by_fold = read_csv(experiment.scores_folder / "scores_by_fold.csv")
    (found,) = by_fold.query("network == 'Stub' and fold == 'CV1' and expression == 'smirk'")["iou"]
    assert found == pytest.approx((marked & mask).sum() / (marked | mask).sum())
    assert set(read_results(experiment, "statistics", "cells")["expression"]) == set(scored[:4])
    # All ways to swap four masks.
    assert read_results(experiment, "statistics", "tests")["relabellings"].max() == 24
    assert all((experiment.statistics_folder / f"{name}.csv").exists() for name in TABLES)
    trees = read_csv(experiment.dendrograms_folder / "distances.csv").query("level == 'by_expression'")
    assert {*trees["first"], *trees["second"]} == set(map(title, CLASSES))
    regions = read_csv(experiment.regions_folder / "regions.csv")
    assert set(regions["expression"]) == set(CLASSES)


def test_the_report_shows_all_classes(study):
    folder = study[0].report_folder
    common = (folder / "data" / "common.js").read_text("utf-8")
    assert '"low-pain":"Low-pain"' in common
    start = common.index('"masks":{')
    assert '"smirk":' in common[start:] and '"low-pain":' not in common[start:]
    assert (folder / "data" / "lime" / "Stub_CV1_Low-pain.js").exists()
    assert "5 classes" in (folder / "index.html").read_text("utf-8")


def test_run_json_names_the_classes_and_masks_only_where_they_are_not_the_six(study, tmp_path):
    experiment, _ = study
    told = read_json(experiment.evaluation_folder / "run.json")["settings"]["faces"]
    assert tuple(told["classes"]) == CLASSES
    assert read_json(experiment.heatmaps_folder / "run.json")["choices"]["masks"]["anger"] == ["mouth"]
    six = Experiment(name="six", networks=("WeiNet",), faces=dict(classes=EXPRESSIONS), root=tmp_path)
    assert "classes" not in six.faces.recorded()
    assert six.masks_folder == tmp_path / "heatmaps" / "GROUND_TRUTH"
    run(six, "masks")
    assert read_json(six.masks_folder / "run.json")["choices"] == {}


def test_no_class_has_a_mask(study):
    nothing = study[0].replace(masks=dict.fromkeys(CLASSES, []))
    assert not nothing.mask_regions
    total = run(nothing, "heatmaps", "masks", "scores", "barplots", "statistics")
    assert "no class has a mask: heatmaps are shown, but not scored" in total.notes
    report.make(nothing)
    assert pd.read_csv(nothing.report_folder / "tables" / "main.csv")["iou"].isna().all()
    assert explanations._rank_networks(nothing, ("lime",))["rank"].isna().all()


def test_a_class_without_a_face_is_told_with_what_there_is(tmp_path):
    write_pictures(tmp_path / "lab", persons=2, copies=1)
    experiment = Experiment(**settings(tmp_path, classes=(*CLASSES, "boredom"), networks=("WeiNet",)))
    with pytest.raises(DataError, match=r"No face shows boredom.*there are 2 smirk"):
        run(experiment, "faces")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": {"smirk": ["cheeky"]}}, "cheeky"),
        ({"masks": {"pain": ["nose"]}}, r"\[masks\] has pain, but faces.classes only happiness, anger"),
        ({"classes": ("anger", "a/b")}, "part of file names.*'a/b'"),
        ({"classes": ("anger", "average")}, "none of all, average"),
        ({"classes": ("anger", "Pain", "pain"), "masks": {}}, "different classes"),
        ({"classes": ("anger",), "masks": {}}, "two or more"),
        ({"training": dict(weights="released")}, "released models are of anger"),
        ({"classes": NINE, "masks": dict.fromkeys(NINE, ["nose"])}, "At most 8 classes"),
    ],
)
def test_settings_that_cannot_be(tmp_path, changes, message):
    changes = dict(changes)
    classes = changes.pop("classes", CLASSES)
    with pytest.raises(SettingsError, match=message):
        Experiment(**settings(tmp_path, classes, networks=("WeiNet",), **changes))


def test_an_own_model_in_python_says_what_it_explains(tmp_path):
    model = OwnModel(call=lambda images: images, version="1", side=SIDE, classes=SAID, explained=CLASSES)
    assert model.order == (1, 3, 4, 0, 2, 5)
    experiment = Experiment(**settings(tmp_path, CLASSES[::-1], models={"Mine": model}))
    assert experiment.models["Mine"].ordered_classes == (*CLASSES[::-1], "sadness")
    with pytest.raises(SettingsError, match="Unknown expression 'Smirk'"):
        OwnModel(call=lambda images: images, version="1", side=SIDE, classes=SAID)


def test_labels_of_ones_own_are_known_in_any_case():
    assert parse_expression(" Pain", {"pain": "pain"}) == "pain"
    assert parse_expression("7", {"7": "Pain", "pain": "pain"}) == "pain"
    assert parse_expression("sa", {"sa": "sa"}) == "sadness"
    with pytest.raises(DataError):
        parse_expression("pain", {"boredom": "boredom"})


def test_class_folders_may_be_named_like_classes_of_ones_own(tmp_path):
    for place, label in enumerate(["Happy", "low-pain", "Smirk"]):
        write_image(tmp_path / label / f"p{place}.png", np.zeros((8, 8, 3), np.uint8))
    faces = dict(datasets=("lab",), roots={"lab": str(tmp_path)}, classes=CLASSES)
    faces["options"] = {"lab": {"subject": r"(p\d)"}}
    experiment = Experiment(name="lab", networks=("WeiNet",), faces=faces)
    found = survey("lab", tmp_path, experiment.faces.options_of("lab")).rows
    assert sorted(found["expression"]) == ["happiness", "low-pain", "smirk"]
    # A label is read once: what it stands for is no label again.
    labels = {"Happy": "sadness", "sadness": "happiness", "low-pain": "low-pain"}
    found = survey("lab", tmp_path, {"subject": r"(p\d)", "labels": labels}).rows
    assert sorted(found["expression"]) == ["low-pain", "sadness"]
