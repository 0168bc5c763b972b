"""The public face: faces, a model, explanations, their heatmap, its scores and its picture, in memory."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ekman_expressions as ee
from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.faces import synthetic
from ekman_expressions.facespace import SHAPE


def mouth_reader(images):
    """Predict happiness by the brightness of the region where a crop's mouth lies, and nothing else."""
    rows, columns = images.shape[1:3]
    patch = images[:, int(0.66 * rows) : int(0.82 * rows), int(0.35 * columns) : int(0.65 * columns)]
    happy = patch.mean(axis=(1, 2, 3))[:, None]
    others = np.repeat((1 - happy) / 5, 5, axis=1)
    return np.hstack([others[:, :3], happy, others[:, 3:]]).astype(np.float32)


@pytest.fixture(scope="module")
def found() -> ee.Explanations:
    faces = ee.example_faces(12)
    return ee.explain(mouth_reader, faces, "lime", targets="happiness", samples=120, seed=3)


def test_the_public_face_is_small_and_complete():
    assert len(ee.__all__) <= 30
    for name in ee.__all__:
        assert getattr(ee, name).__doc__ or isinstance(getattr(ee, name), (tuple, dict))
    with pytest.raises(AttributeError, match="no attribute 'explian'"):
        ee.explian  # noqa: B018


def test_a_model_that_reads_the_mouth_highlights_the_mouth(found):
    heatmap = found.heatmap()
    mouth = ee.atlas().group("mouth")
    inside, outside = heatmap.values[mouth].mean(), heatmap.values[~mouth].mean()
    assert inside > 5 * outside
    scores = heatmap.scores(mouth)
    assert scores.loc["auc", "value"] > 0.85
    # Two subjects are too few for an interval.
    assert len(set(heatmap.subjects)) == 2 and scores[["low", "high"]].isna().all(axis=None)


def test_where_neutral_is_predicted_the_most_probable_expression_is_explained():
    def mostly_neutral(images):
        rest = mouth_reader(images)
        return np.hstack([0.2 * rest, np.full((len(rest), 2), 0.4, np.float32)])

    classes = [*ee.EXPRESSIONS, "neutral", "other"]
    model = ee.load_model(mostly_neutral, classes=classes, side=64)
    faces = ee.example_faces(1)
    most = ee.EXPRESSIONS[mouth_reader(faces.at(64))[0].argmax()]
    (row,) = ee.explain(model, faces, "occlusion").table.itertuples()
    assert (row.predicted, row.explained) == ("neutral", most) and row.probability == pytest.approx(0.4)
    assert ee.explain(model, faces, "occlusion", targets="neutral").table["explained"][0] == "neutral"


def test_tables_say_who_was_explained_and_how_well_and_maps_do_not_depend_on_the_order(found):
    table = found.table
    assert len(table) == len(found) == 12
    assert set(table["explained"]) == {"happiness"} and (table["passes"] == 120).all()
    assert table["r2"].between(0, 1).all() and (table["r2_unseen"] < table["r2"]).all()
    # Each part's share is its part of the map's mass.
    mouth, maps = ee.atlas().group("mouth"), found.maps
    share = maps[:, mouth].sum(axis=1) / maps.sum(axis=(1, 2))
    np.testing.assert_allclose(found.regions["mouth"], share, rtol=1e-3)
    np.testing.assert_allclose(table["probability"], found.predictions.max(axis=1))
    assert "12 faces by LIME of mouth_reader" in repr(found)
    again = ee.explain(mouth_reader, found.faces[[7, 2]], targets=["happiness"] * 2, samples=120, seed=3)
    np.testing.assert_array_equal(again.maps, maps[[7, 2]])


def test_heatmaps_are_of_what_was_predicted_or_of_the_label(found):
    labels = found.table["expression"]
    of_label = found.heatmap("fear", by="expression")
    assert len(of_label) == (labels == "fear").sum()
    np.testing.assert_allclose(of_label.values, found.maps[labels == "fear"].mean(axis=0), rtol=1e-5)
    with pytest.raises(DataError, match="No face has predicted = 'surprise'; there are"):
        found.heatmap("surprise")


def test_scores_stand_beside_what_chance_gives(found):
    heatmap = found.heatmap("happiness", by="expression")
    mask = ee.ekman_mask("happiness")
    scores = heatmap.scores()
    expected = ee.mask_scores(heatmap.marked, mask)
    assert all(scores.loc[name, "value"] == expected[name] for name in ("iou", "recall"))
    assert scores.loc["iou", "all_white"] == pytest.approx(mask.mean())
    # Means over draws of as many pixels, by simulation.
    random = np.random.default_rng(0)
    drawn = [ee.mask_scores(random.permuted(heatmap.marked.ravel()).reshape(SHAPE), mask) for _ in range(40)]
    means = pd.DataFrame(drawn).mean()
    np.testing.assert_allclose(scores["random"][list(means.index)], means, atol=2e-3)


def test_reliability_and_standard_error_are_those_of_a_mean_over_subjects():
    # Each person's map is a shared one plus noise of twice its variance: two means of n agree with
    # r = 1 / (1 + 2 / n), which halves and Spearman-Brown must give back.
    random = np.random.default_rng(0)
    maps = random.normal(size=SHAPE) + np.sqrt(2) * random.normal(size=(12, *SHAPE))
    heatmap = ee.Heatmap(maps=maps, subjects=[f"S{n}" for n in range(12)])
    assert heatmap.reliability == pytest.approx(1 / (1 + 2 / 12), abs=0.01)
    by_hand = maps[:, 0, 0].std(ddof=1) / np.sqrt(12)
    np.testing.assert_allclose(heatmap.standard_error[0, 0], by_hand, rtol=1e-5)
    one = ee.Heatmap(maps=maps, subjects=["S1"] * 12)
    assert np.isnan(one.reliability) and np.isnan(one.standard_error).all()


def test_what_does_not_fit_names_both_objects(found):
    heatmap = found.heatmap()
    with pytest.raises(DataError, match=r"'mask' is bool of shape \(250, 224\), but Heatmap\(.*\(275, 224\)"):
        heatmap.scores(np.ones((250, 224), bool))
    with pytest.raises(SettingsError, match="no mask of 'all expressions together'"):
        heatmap.scores()
    with pytest.raises(DataError, match=r"got maps of shape \(2, 224, 224\) and 2 subjects"):
        ee.Heatmap(maps=np.zeros((2, 224, 224)), subjects=["a", "b"])
    with pytest.raises(DataError, match="is 1 everywhere"):
        ee.Heatmap(maps=np.ones((1, *SHAPE)), subjects=["a"], expression="fear").scores()
    faces = found.faces[:2]
    for model, given, more, message in (
        (mouth_reader, faces, {"explainer": "limes"}, "'explainer'.*lime"),
        (mouth_reader, faces.images, {}, "'faces'"),
        (mouth_reader, faces, {"targets": ["fear"]}, "one class, or one for each of 2 faces"),
        (lambda images: np.full((len(images), 2), 0.5), faces, {}, "predicts 2 classes.*Name its classes"),
    ):
        with pytest.raises(SettingsError, match=message):
            ee.explain(model, given, **more)


def photographs(folder: Path) -> Path:
    """Six photographs: two of real persons that come with our dependencies, and four renderings."""
    import matplotlib
    from skimage import data, io

    folder.mkdir()
    io.imsave(folder / "astronaut.png", data.astronaut())
    sample = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    shutil.copy(sample, folder / sample.name)
    for name in ("id03_happiness_0", "id05_fear_1", "id08_anger_2", "id11_surprise_3"):
        shutil.copy(synthetic.folder() / "images" / f"{name}.webp", folder)
    return folder


def test_the_snippets_of_the_readme_run_as_pasted_and_give_its_numbers(tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
    first, second = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    variables: dict = {}
    exec(compile(first, "README.md", "exec"), variables)
    assert "iou" in capsys.readouterr().out
    scores = variables["heatmap"].scores()
    for row, score in (("IoU", "iou"), ("AUC within the face", "auc_hull")):
        value, interval, *others = re.search(rf"\| {row} \| (.*) \|", readme)[1].split(" | ")
        shown = [float(number) for number in (value, *interval.split(" to "), *others)]
        # Another processor may round otherwise.
        columns = ["value", "low", "high", "random", "all_white", "centre"]
        assert scores.loc[score, columns].tolist() == pytest.approx(shown, abs=0.02), score
    assert (tmp_path / "happiness.png").stat().st_size > 10_000
    # The second is for files of the reader's own: a folder and a network that this test makes.
    photographs(tmp_path / "photos")
    assert second.count('ee.load_model("net.onnx", classes=') == 1 and second.count("samples=1000") == 1
    second = second.replace('"net.onnx"', "network").replace("samples=1000", "samples=20")
    variables["network"] = lambda images: np.full((len(images), 6), 1 / 6, np.float32)
    exec(compile(second, "README.md", "exec"), variables)
    faces, table = variables["faces"], variables["found"].table
    assert len(table) == 6 and not len(faces.omissions)
    # Faces are cropped as those that the first's network learned from.
    odds = pd.DataFrame(ee.example_model().predict(faces.at(64)), table["image_id"], ee.EXPRESSIONS)
    predicted = odds.idxmax(axis=1)[["id03_happiness_0", "id11_surprise_3"]]
    assert list(predicted) == ["happiness", "surprise"]


def test_classes_of_ones_own_are_compared_with_masks_of_ones_own(tmp_path):
    def pain_reader(images):
        happy = mouth_reader(images)[:, 3:4]
        return np.hstack([1.9 * happy, 1 - happy, 1 - 0.9 * happy]) / 2

    masks = {"Pain": ["mouth"], "no pain": [], "happiness": ["mouth", "right_eye"]}
    model = ee.load_model(pain_reader, classes=["pain", "No pain", "Happy"], masks=masks, side=64)
    assert model.classes == (*ee.EXPRESSIONS, "pain", "no pain")
    found = ee.explain(model, ee.example_faces(4), samples=100, targets="pain", seed=0)
    assert list(found.table["explained"]) == ["pain"] * 4
    assert np.isin(found.table["predicted"], ["pain", "no pain", "happiness"]).all()
    mouth = ee.atlas().group("mouth")
    for name in found.table["predicted"].unique():
        heatmap = found.heatmap(name)
        if name == "no pain":
            assert heatmap.reference is None and heatmap.plot() is not None
            with pytest.raises(SettingsError, match="no mask of 'no pain'.*masks="):
                heatmap.scores()
        else:
            regions = masks.get(name, ["mouth"])
            assert (heatmap.reference == ee.atlas().mask(regions)).all() and heatmap.reference[mouth].all()
            pd.testing.assert_frame_equal(heatmap.scores(), heatmap.scores(ee.atlas().mask(regions)))
    assert "pain" in set(found.table["predicted"])
    assert found.heatmap("pain").scores().loc["auc", "value"] > 0.8
    # Labels of one's own are kept where they are said to stand for themselves.
    (tmp_path / "pain").mkdir()
    shutil.copy(synthetic.folder() / "images" / "id03_happiness_0.webp", tmp_path / "pain")
    faces = ee.load_faces(tmp_path, labels={"pain": "pain"})
    assert len(ee.explain(model, faces, "occlusion").heatmap("pain", by="expression")) == 1
    for classes, masks, message in (
        (["pain", "happy"], {"pain": ["mouht"]}, "'mouth'.*'mouht'"),
        (["happy", "sad"], {"pain": ["mouth"]}, "'masks' has pain, but 'classes' only happiness, sadness"),
        (["pain", "happy", "sad"], None, "Unknown expression 'pain'.*a place in 'masks'"),
    ):
        with pytest.raises(SettingsError, match=message):
            ee.load_model(pain_reader, classes=classes, masks=masks, side=64)
