"""Landmarks that another program found, and pictures that are cropped already: no detection."""

import shutil

import numpy as np
import pandas as pd
import pytest
from made_databases import BUNDLED, experiment_on, png, put, small_database

import ekman_expressions as ee
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import read_image, write_image
from ekman_expressions.faces import LandmarkDetector, survey
from ekman_expressions.study import run
from ekman_expressions.study.prepared import prepared_faces, read_landmarks

SIDE = 224  # of the bundled pictures
NAMES = [f"id0{person}_{expression}_0.webp" for person in (0, 3) for expression in ("fear", "happiness")]


def no_detection(self, image):
    raise AssertionError("a face was looked for")


def write_points(path, names, points):
    """As OpenFace: blanks in the header, a column of its own, points in space before those in the picture."""
    columns = {"path": names, " confidence": 0.98, " X_0": 1.5}
    for axis, values in zip("xy", np.moveaxis(np.array(points), 2, 0), strict=True):
        columns |= {f" {axis}_{place}": values[:, place] for place in range(68)}
    pd.DataFrame(columns).to_csv(path, index=False)


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    """Four pictures, what detection makes of them, and its points."""
    root = tmp_path_factory.mktemp("photos")
    for name in NAMES:
        shutil.copy(BUNDLED / "images" / name, root / name)
    with LandmarkDetector() as detector:
        points = np.array([detector.detect(read_image(root / name)).points for name in NAMES])
    return root, points, ee.load_faces([root / name for name in NAMES])


@pytest.mark.parametrize("kind", ["csv", "npz", "cropped"])
def test_own_landmarks_give_the_faces_of_detection(detected, tmp_path, monkeypatch, kind):
    root, points, expected = detected
    file = tmp_path / ("points.csv" if kind == "csv" else "points.npz")
    monkeypatch.setattr(LandmarkDetector, "detect", no_detection)
    if kind == "cropped":
        root, points = tmp_path / "crops", expected.landmarks * 256
        for name, image in zip(NAMES, expected.images, strict=True):
            write_image(root / f"{name[:-5]}.png", image)
    if kind == "csv":
        write_points(file, [f"C:\\lab\\{name}" for name in NAMES], points)
    else:
        np.savez(file, names=[name[:-5] for name in NAMES[::-1]], points=points[::-1])
    found = ee.load_faces(root, landmarks=file, crop=kind != "cropped")
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=1e-5)
    assert np.abs(np.float64(found.images) - expected.images).mean() < 0.1


def test_the_study_takes_given_landmarks_and_whole_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(LandmarkDetector, "detect", no_detection)
    rows = small_database(tmp_path / "mine")
    ids = [row[0] for row in rows]
    points = ee.example_faces(len(rows)).landmarks * SIDE
    # One more face, a smaller one, in the first picture; nothing in the last.
    names = [*ids[:-2], f"mine_{ids[-2]}", ids[0], "stranger"]
    points = np.concatenate([points[:-1], points[:1] / 2, points[:1]])
    points[1] = 0
    write_points(tmp_path / "mine" / "points.csv", names, points)
    options = {"mine": {"landmarks": "points.csv", "crop": False}}
    experiment = experiment_on(tmp_path, size=SIDE, options=options)
    result = run(experiment, "faces")
    left_out = {entry["item"]: entry["reason"] for entry in result.omissions}
    assert left_out == {f"mine: {rows[n][1]}": "points.csv has no landmarks of it" for n in (1, -1)}
    assert "mine: points.csv has landmarks of 1 pictures that are not used, such as stranger" in result.notes
    assert f"mine_{ids[0]} shows 2 faces: the largest is used" in result.notes
    np.testing.assert_allclose(read_landmarks(experiment, f"mine_{ids[0]}"), points[0] / SIDE, atol=1e-5)
    whole = read_image(tmp_path / "mine" / rows[0][1])
    np.testing.assert_array_equal(prepared_faces(experiment, [f"mine_{ids[0]}"]).images[0], whole)
    # Other landmarks are another face.
    points[0] += 1
    write_points(tmp_path / "mine" / "points.csv", names, points)
    assert run(experiment, "faces").done == 1


def test_files_that_hold_no_landmarks_say_what_is_wrong(tmp_path):
    put(tmp_path / "a.png", png())
    points = np.random.default_rng(0).random((1, 68, 2))
    lab = {"landmarks": "points.csv"}
    put(tmp_path / "manifest.csv", "image_id,path,subject,expression\na,a.png,S1,happy\n")
    with pytest.raises(MissingError, match="no file of landmarks .*points.csv"):
        survey("lab", tmp_path, lab)
    for names, scale, message in ((["a"], 1, "in pixels of the picture"), (["b"], 99, "names none of the 1")):
        write_points(tmp_path / "points.csv", names, points * scale)
        with pytest.raises(DataError, match=message):
            survey("lab", tmp_path, lab)
    put(tmp_path / "points.csv", "file,x_0,y_0\na.png,1,2\n")
    with pytest.raises(DataError, match="needs the column 'image_id' or 'path'.*'file', 'x_0', 'y_0'"):
        survey("lab", tmp_path, lab)
