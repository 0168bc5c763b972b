"""Files as people really bring them: nothing is lost in silence, names are read as they stand, and reasons are given."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_databases import BUNDLED, experiment_on, fer_rows, ids, put, reasons, small_database, write_database
from PIL import Image

import ekman_expressions as ee
from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.expressions import parse_expression
from ekman_expressions.faces import LandmarkDetector, survey
from ekman_expressions.faces.landmarks import _Found
from ekman_expressions.facespace import normalise, template_points
from ekman_expressions.study import run
from ekman_expressions.study.prepared import read_manifest

ONE_EACH = {"subject": ".+"}


@pytest.mark.parametrize("name", ["images\\é a.png", "Images/É a.PNG", "images/e\u0301 a.png"])
def test_paths_written_on_another_system(tmp_path, name):
    """Of Windows, which knows no case, and of a Mac, which writes letters and accents apart."""
    there = put(tmp_path / "images" / "é a.png")
    write_database(tmp_path, [("a", name, "S1", "happy"), ("b", "b.png", "S2", "sad")])
    result = survey("lab", tmp_path)
    assert list(result.rows["path"]) == [str(there), str(tmp_path / "b.png")]
    assert "manifest.csv names 1 pictures that are not there, such as b.png" in result.notes


@pytest.mark.parametrize(
    "text",
    [
        "image_id, path, subject, expression\na, a.png, S1, happy\n",
        "\ufeffimage_id;path;subject;expression\r\na;a.png;S1;happy\r\n",
        "image_id\tpath\tsubject\texpression\na\ta.png\tS1\thappy\n",
        "Image_ID,Path,Subject,Expression\na,a.png,S1,happy,,\n,,,,,\n",
        'image_id;path;subject;expression;intensity\n"a";"a.png";" S1 ";"happy\u00a0";0,5\n;;;;\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_as_spreadsheets_write_them(tmp_path, text, encoding):
    put(tmp_path / "a.png")
    (tmp_path / "manifest.csv").write_bytes(text.encode(encoding))
    row = survey("lab", tmp_path).rows.iloc[0]
    assert (row["image_id"], row["subject"], row["expression"]) == ("lab_a", "lab/S1", "happiness")


@pytest.mark.parametrize("name", ["NA", "None", "nan", "007", "1e5", "TRUE", "-inf", "1.0"])
def test_names_are_read_as_the_texts_they_are(tmp_path, name):
    put(tmp_path / "a.png")
    write_database(tmp_path, [(name, "a.png", name, "happy")])
    row = survey("lab", tmp_path).rows.iloc[0]
    assert (row["image_id"], row["subject"]) == (f"lab_{name}", f"lab/{name}")


def test_a_separator_inside_a_name_does_not_move_the_cells(tmp_path):
    put(tmp_path / "manifest.csv", "image_id,path,subject,expression\na,a.png,Doe, J.,happy\n")
    with pytest.raises(
        DataError, match="more cells in its rows than the columns 'image_id'.*',' inside in quotes"
    ):
        survey("lab", tmp_path)


def test_every_file_is_used_or_listed(tmp_path):
    used = ("happy/S1_a.png", "happy/S2_b.jfif", "sad/S3_c.pgm", "sad/S3_d.gif", "sad/S4_e.avif")
    listed = ("sad/S1_f.HEIC", "sad/S5_g", "sad/subject01.happy", "sad/h.zip")
    for name in (*used, *listed, "sad/notes.txt", "sad/.DS_Store"):
        put(tmp_path / name)
    result = survey("lab", tmp_path, {"subject": r"(S\d+)_"})
    assert len(result.rows) == len(used)
    assert set(reasons(result)) == set(listed)
    assert reasons(result)["sad/h.zip"].startswith("an archive: unpack it")
    assert "no image of anger, disgust, fear, surprise" in result.notes


def test_labels_that_are_no_expression_leave_their_row_out_by_name(tmp_path):
    names = ("happy", "contemptuous", "uncertain", "4", "suprise")
    rows = [(f"i{n}", "a.png", f"S{n}", name) for n, name in enumerate(names)]
    put(tmp_path / "a.png")
    write_database(tmp_path, rows)
    result = survey("lab", tmp_path)
    assert list(result.rows["expression"]) == ["happiness", "contempt"]
    why = reasons(result)
    assert set(why) == {"i2", "i3", "i4"} and "option 'labels'" in why["i3"]
    write_database(tmp_path, [*rows[:3], ("i3", "a.png", "S3", "4.0"), rows[4]])
    again = survey("lab", tmp_path, {"labels": {"4": "anger", "suprise": "surprise"}})
    assert list(again.rows["expression"]) == ["happiness", "contempt", "anger", "surprise"]
    with pytest.raises(SettingsError, match="labels.4"):
        survey("lab", tmp_path, {"labels": {"4": "rage"}})


def test_class_folders_by_number_and_misspelt_ones(tmp_path):
    for folder in ("1", "2", "suprise"):
        put(tmp_path / folder / "S1.png")
    result = survey("raf", tmp_path, ONE_EACH | {"labels": {"1": "surprise", "2": "fear"}})
    assert list(result.rows["expression"]) == ["surprise", "fear"]
    assert reasons(result)["suprise/S1.png"] == "its folder suprise is no expression. Is surprise meant?"


def test_folders_in_another_language(tmp_path):
    put(tmp_path / "Freude" / "S1.png")
    with pytest.raises(
        MissingError, match="no folder named like an expression, in .*Freude/.*option 'labels'"
    ):
        survey("mine", tmp_path, ONE_EACH)
    found = survey("mine", tmp_path, ONE_EACH | {"labels": {"Freude": "happiness"}})
    assert list(found.rows["expression"]) == ["happiness"]


def test_kdefs_code_for_fear_in_folders_and_in_names(tmp_path):
    assert parse_expression("AF") == "fear"
    for code in ("AF", "AN", "DI", "HA", "NE", "SA", "SU"):
        put(tmp_path / f"AF01{code}S.JPG")
        put(tmp_path / f"BM35{code}HL.JPG")
    result = survey("kdef", tmp_path)
    assert dict(zip(ids(result, "kdef"), result.rows["expression"], strict=True))["AF01AFS"] == "fear"
    assert len(result.rows) == 7 and set(result.rows["subject"]) == {"kdef/F01"}
    assert len(result.left_out) == 7 and "another view" in result.left_out["reason"][0]


def test_rafd_takes_frontal_pictures(tmp_path):
    for code in ("angry", "contemptuous", "fearful", "neutral"):
        put(tmp_path / "rafd" / f"Rafd090_01_Caucasian_female_{code}_frontal.jpg")
        put(tmp_path / "rafd" / f"Rafd045_01_Caucasian_female_{code}_left.jpg")
    result = survey("rafd", tmp_path / "rafd")
    assert sorted(result.rows["expression"]) == ["anger", "contempt", "fear", "neutral"]


def test_raf_db_uses_or_lists_every_picture(tmp_path):
    put(
        tmp_path / "EmoLabel" / "list_patition_label.txt",
        "train_00001.jpg 5\ntest_0002.jpg 1\ntest_0003.jpg 9\ntest_0004.jpg 2\n\ntest_0002.jpg 2\n",
    )
    for name in (
        "aligned/train_00001_aligned.jpg",
        "original/train_00001.jpg",
        "original/test_0002.jpg",
        "original/test_0003.jpg",
        "original/test_0009.jpg",
    ):
        put(tmp_path / "Image" / name)
    result = survey("rafdb", tmp_path)
    rows = result.rows.set_index("image_id")
    assert rows["expression"].to_dict() == {"rafdb_test_0002": "surprise", "rafdb_train_00001": "sadness"}
    assert rows["path"]["rafdb_train_00001"].endswith("train_00001_aligned.jpg")
    table = "EmoLabel/list_patition_label.txt, line"
    assert reasons(result) == {
        "Image/original/train_00001.jpg": "another file of the same picture is used",
        "Image/original/test_0009.jpg": "not in the list",
        f"{table} 3: test_0003.jpg": "the label '9' is no expression",
        f"{table} 4: test_0004.jpg": "there is no such picture",
        f"{table} 6: test_0002.jpg": "its picture is listed before",
    }


def test_two_depths_named_like_expressions_are_refused_where_they_tie(tmp_path):
    for person in ("Joy", "Sa"):
        for label in ("angry", "sad"):
            put(tmp_path / person / label / "a.png")
    with pytest.raises(
        DataError, match="two depths are named like expressions: Joy, Sa; and below them angry, sad"
    ):
        survey("lab", tmp_path, ONE_EACH)
    put(tmp_path / "Ann" / "angry" / "a.png")
    assert set(survey("lab", tmp_path, ONE_EACH).rows["expression"]) == {"anger", "sadness"}


def test_ids_that_no_file_system_takes(tmp_path):
    put(tmp_path / "a.png")
    write_database(tmp_path, [("x" * 260, "a.png", "S1", "happy")])
    with pytest.raises(DataError, match="an image_id of 260 letters"):
        survey("lab", tmp_path)


def test_archives_and_class_folders_in_the_place_of_a_database_are_told(tmp_path):
    put(tmp_path / "zips" / "Emotion_labels.zip")
    with pytest.raises(MissingError, match="Unpack the archives"):
        survey("ckplus", tmp_path / "zips")
    put(tmp_path / "kaggle" / "anger" / "S005_001.png")
    with pytest.raises(MissingError, match="any other name, with the option 'subject'"):
        survey("ckplus", tmp_path / "kaggle")


def test_copies_in_two_folds_and_under_two_labels_are_noted(tmp_path):
    small_database(tmp_path / "mine", subjects=3)
    table = pd.read_csv(tmp_path / "mine" / "manifest.csv", dtype=str)
    first = table[table["expression"] == "anger"].iloc[0]
    copies = [first.copy() for _ in range(2)]
    copies[0]["image_id"], copies[0]["subject"] = "copy", "999"
    copies[1]["image_id"], copies[1]["subject"], copies[1]["expression"] = "other", "999", "surprise"
    pd.concat([table, pd.DataFrame(copies)]).to_csv(tmp_path / "mine" / "manifest.csv", index=False)
    notes = " ".join(run(experiment_on(tmp_path, folds=4), "faces").notes)
    assert "3 images are copies of each other in different folds" in notes
    assert "1 images lie under two expressions with the same bytes" in notes


def test_copies_are_one_person_where_each_picture_counts_as_one(tmp_path):
    """So that no picture is in training and test images, as in collections whose halves share pictures."""
    for expression in ("anger", "surprise"):
        for person in range(3):
            picture = (BUNDLED / "images" / f"id0{person}_{expression}_0.webp").read_bytes()
            for half in ("train", "test"):
                put(tmp_path / "mine" / half / expression / f"im_{half}_{person}.webp", picture)
    experiment = experiment_on(tmp_path, options={"mine": {"subject": ".+"}})
    result = run(experiment, "faces")
    assert "6 images are copies of others, byte by byte, and count as the same person" in result.notes
    manifest = read_manifest(experiment)
    assert len(manifest) == 12 and manifest["subject"].nunique() == 6
    assert (manifest.groupby("sha256")["fold"].nunique() == 1).all() and manifest["fold"].nunique() == 2
    assert not any("copies of each other in different folds" in note for note in result.notes)


@pytest.mark.parametrize("side", [48, 64])
def test_gray_pictures_cut_to_the_face_are_found_or_listed(tmp_path, side):
    """As FER2013's: detectors fail on faces that are cropped already, so they get a margin."""
    faces = ee.example_faces(12)
    crops = []
    for image, points in zip(faces.images, faces.landmarks * 256, strict=True):
        left, top = (points.min(axis=0) - 5).clip(0).astype(int)
        right, bottom = (points.max(axis=0) + 5).astype(int)
        crops.append(Image.fromarray(image[top:bottom, left:right]).convert("L").resize((side, side)))
    table = fer_rows([*crops, np.zeros((side, side), int)], [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5])
    put(tmp_path / "fer2013" / "fer2013.csv", table)
    rows = survey("fer2013", tmp_path / "fer2013").rows
    with pytest.warns(UserWarning, match="no usable face"):
        found = ee.load_faces(rows)
    assert len(found) >= 10 and len(found) + len(found.omissions) == 13
    assert dict(found.omissions.to_numpy())["fer2013_00013"] == "no face found"


def test_one_more_face_than_asked_for_is_looked_for(monkeypatch):
    """Where MediaPipe is asked for one face, it may find none in a picture of two."""
    from mediapipe.tasks.python import vision

    asked = {}
    found = SimpleNamespace(face_landmarks=[], face_blendshapes=[])
    nothing = SimpleNamespace(detect=lambda _: found, close=lambda: None)
    monkeypatch.setattr(vision, "FaceLandmarkerOptions", lambda **options: asked.update(options))
    monkeypatch.setattr(vision.FaceLandmarker, "create_from_options", lambda options: nothing)
    with LandmarkDetector() as detector:
        assert detector.detect(np.zeros((300, 300, 3), np.uint8)) is None
    assert asked["num_faces"] > 1


def test_closed_eyes_and_mouth_make_flat_triangles_and_no_nan():
    """Landmarks that fall together leave triangles without area."""
    faces = ee.example_faces(1)
    points = faces.landmarks[0].copy()
    points[60:68], points[37:42], points[43:48] = points[60], points[36], points[42]
    warped = normalise(np.float32(faces.images[0]) / 255, points)
    assert np.isfinite(warped).all() and warped.max() > 0.3
    places = template_points(points, (256, 256))
    x, y = np.moveaxis(places[np.isfinite(places).all(axis=-1)], -1, 0).astype(int)
    labels = ee.atlas().labels[y.clip(0, 274), x.clip(0, 223)]
    assert len(labels) > 200**2 and set(labels) <= set(np.unique(ee.atlas().labels))


def test_one_face_that_comes_back_twice_is_one_face():
    mesh = np.random.default_rng(0).random((478, 3)) * 100 + 50

    class Twice(LandmarkDetector):
        def _meshes(self, image):
            return [_Found(each, {}) for each in (mesh, 1.02 * mesh + 1, mesh * 0.5 + 300)]

    with Twice() as detector:
        assert detector.detect(np.zeros((500, 500, 3), np.uint8)).faces == 2


def test_load_faces_takes_labels_and_leaves_others_out_by_name():
    faces = ee.example_faces(2)
    with pytest.raises(DataError, match="label is no expression"):
        ee.load_faces(list(faces.images), expressions=["neither", "what"], landmarks=faces.landmarks * 256)
    with pytest.warns(UserWarning, match="1 images have no usable face"):
        found = ee.load_faces(
            list(faces.images), expressions=["4", "neither"], landmarks=faces.landmarks * 256,
            labels={"4": "happiness"},
        )  # fmt: skip
    assert (
        list(found.table["expression"]) == ["happiness"] and "no expression" in found.omissions["reason"][0]
    )
