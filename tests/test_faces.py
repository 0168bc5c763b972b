"""Faces in memory: from files, folders, tables and arrays, and the bundled ones."""

import shutil

import numpy as np
import pandas as pd
import pytest
from made_databases import BUNDLED, fega, png, put
from PIL import Image

from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.files import read_image
from ekman_expressions.faces import Faces, example_faces, load_faces, survey

FEAR, JOY = (BUNDLED / "images" / f"{name}.webp" for name in ("id07_fear_1", "id03_happiness_0"))


def test_example_faces_are_balanced_and_the_same_each_time():
    faces = example_faces(12, size=64)
    assert faces.images.shape == (12, 64, 64, 3) and faces.landmarks.dtype == np.float32
    assert (faces.table["expression"].value_counts() == 2).all() and faces.table["subject"].nunique() == 2
    np.testing.assert_array_equal(faces.images, example_faces(12, size=64).images)
    some = example_faces(expression="neutral", subjects=["id07", "synthetic/id11"], size=8)
    assert set(some.table["image_id"].str[:14]) == {"synthetic_id07", "synthetic_id11"} and len(some) == 8
    assert example_faces(subjects=3, size=8).table["subject"].nunique() == 3
    for wrong in ({"n": 0}, {"subjects": ["id99"]}, {"expression": "fear", "n": 161}):
        with pytest.raises(SettingsError):
            example_faces(**wrong)


def test_example_faces_are_what_is_found_in_the_images():
    """So they are the study's crops."""
    stored = example_faces(expression="fear", subjects=["id07"])
    place = list(stored.table["image_id"]).index("synthetic_id07_fear_1")
    found = load_faces(FEAR)
    np.testing.assert_allclose(found.landmarks[0], stored.landmarks[place], atol=0.005)
    assert np.abs(np.float64(found.images[0]) - stored.images[place]).mean() < 1


def test_faces_are_indexed_and_resized():
    faces = example_faces(6, size=32)
    assert len(faces[2]) == len(faces[-1:]) == 1 and len(faces[[]]) == 0
    fear = faces[faces.table["expression"] == "fear"]
    assert list(fear.table["image_id"]) == list(faces[2].table["image_id"]) == ["synthetic_id00_fear_0"]
    np.testing.assert_array_equal(faces[[3, 1]].landmarks, faces.landmarks[[3, 1]])
    np.testing.assert_array_equal(faces.at(32), np.float32(faces.images) / 255)
    small = faces.at((8, 16))
    assert small.shape == (6, 8, 16, 3) and small.dtype == np.float32 and small.max() <= 1
    np.testing.assert_allclose(small.mean(axis=(1, 2)), faces.at(32).mean(axis=(1, 2)), atol=1e-5)


def test_what_is_no_faces_is_refused():
    faces = example_faces(2, size=16)
    for parts, message in (
        ((faces.images / 2, faces.landmarks, faces.table), "of uint8, but got .*float64"),
        ((faces.images, faces.landmarks[:1], faces.table), r"landmarks \(2, 68, 2\), but got \(1, 68, 2\)"),
        ((faces.images, faces.landmarks, faces.table[:1]), "has 1 rows"),
        ((faces.images, faces.landmarks, faces.table[["image_id"]]), "lacks subject, expression"),
    ):
        with pytest.raises(DataError, match=message):
            Faces(*parts)
    with pytest.raises(DataError, match=r"need the column 'neutral' in their table"):
        Faces(faces.images, faces.landmarks, faces.table.drop(columns="neutral"), neutrals=faces.images)


def test_files_and_arrays(tmp_path):
    broken = put(tmp_path / "broken.png", b"no image")
    gray = np.float32(read_image(JOY, gray=True)) / 255
    source = [FEAR, gray, broken, tmp_path / "absent.png", np.zeros((9, 9, 5))]
    with pytest.warns(UserWarning, match="3 images have no usable face.*broken.png: the image"):
        faces = load_faces(source, size=64, expressions=["fear", "joy", "", "", ""], subjects=list("abcde"))
    assert faces.table[["image_id", "subject", "expression"]].to_numpy().tolist() == [
        ["id07_fear_1", "a", "fear"],
        ["image001", "b", "happiness"],
    ]
    reasons = dict(faces.omissions.to_numpy())
    assert reasons["absent.png"] == "there is no such image" and "no gray" in reasons["image004"]
    assert np.ptp(faces.images[1], axis=2).max() == 0
    assert "2 of 64 x 64 pixels: 1 fear, 1 happiness; 2 subjects; 3 images left out" in repr(faces)


def test_folders_and_tables(tmp_path):
    root = tmp_path / "classes"
    for name in ("sad/p1_a.webp", "Joy/p1_b.webp", "Joy/p2_c.webp"):
        put(root / name, JOY.read_bytes())
    put(root / "stray.png")
    with pytest.warns(UserWarning, match="stray.png: in no expression's folder"):
        faces = load_faces(root, size=16, subjects=r"(p\d)_")
    columns = ["image_id", "subject", "expression"]
    expected = [["p1_a", "p1", "sadness"], ["p1_b", "p1", "happiness"], ["p2_c", "p2", "happiness"]]
    assert sorted(faces.table[columns].to_numpy().tolist()) == expected
    plain = load_faces(str(root / "Joy"), size=16)
    assert plain.table[columns].to_numpy().tolist() == [["p1_b", "p1_b", ""], ["p2_c", "p2_c", ""]]
    put(root / "list.csv", "path,expression,age\nJoy/p1_b.webp,joy,3\nsad/p1_a.webp,,4\n")
    listed = load_faces(root / "list.csv", size=16).table
    assert listed[["expression", "age"]].to_numpy().tolist() == [["happiness", "3"], ["", "4"]]
    rows = pd.DataFrame({"path": [str(root / "Joy/p1_b.webp")], "expression": ["joy"], "subject": "x"})
    assert load_faces(rows, size=16).table["subject"].tolist() == ["x"]


def test_a_database_is_loaded_without_its_paths(tmp_path):
    """Paths may say who is seen, and so may what is left out."""
    root = fega(tmp_path / "faces", (("Zenobia", "F", 31),), repeats=1)
    shutil.copy(JOY, root / "0_F_31_Zenobia_Allegria_1.png")
    with pytest.warns(UserWarning) as caught:
        faces = load_faces(survey("fega", root).rows, size=16)
    assert len(faces) == 1 and len(faces.omissions) == 6
    told = str(caught[0].message) + faces.table.to_csv() + faces.omissions.to_csv() + repr(faces)
    assert "zenobia" not in told.lower() and "path" not in faces.table


def test_given_landmarks_and_whole_images():
    image, points = example_faces(1, size=100).images, example_faces(1).landmarks
    given = load_faces(image, size=50, crop=False, landmarks=points * 100)
    np.testing.assert_allclose(given.landmarks, points, atol=1e-5)
    assert given.images.shape == (1, 50, 50, 3)
    with pytest.raises(DataError, match="must be square"):
        load_faces([image[0, :50]], crop=False, landmarks=points * 100)
    with pytest.raises(DataError, match="'landmarks' has 2 values for 1 images"):
        load_faces(image, landmarks=[points[0]] * 2)


def test_nothing_usable_says_why(tmp_path):
    Image.new("RGB", (200, 200), "teal").save(tmp_path / "plain.png")
    with pytest.raises(DataError, match="No image has a usable face: 1 left out .plain.png: no face found"):
        load_faces(tmp_path)
    for source, error, message in (
        (tmp_path / "absent.jpg", MissingError, "There is no file or folder .*absent.jpg"),
        ([], DataError, "it is empty"),
        ([FEAR, FEAR], DataError, "id07_fear_1.webp is listed twice"),
        (pd.DataFrame({"file": ["a"]}), DataError, "needs the column 'path'"),
        (pd.DataFrame({"path": ["a"], "expression": ["smug"]}), DataError, "Unknown expression 'smug'"),
    ):
        with pytest.raises(error, match=message):
            load_faces(source)
    (tmp_path / "plain.png").unlink()
    put(tmp_path / "notes.txt", png())
    with pytest.raises(MissingError, match="no image in .*it holds notes.txt"):
        load_faces(tmp_path)
