"""Files as people really bring them: nothing is lost in silence, names stay as they are, with reasons."""

import os
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_databases import BUNDLED, experiment_on, put, reasons, write_database

import ekman_expressions as ee
from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.faces import LandmarkDetector, survey
from ekman_expressions.faces.folders import _IMAGE_ID, _safe_ids
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
    "name, text",
    [
        ("NA", "image_id, path, subject, expression\nNA, a.png, NA, happy\n"),
        ("007", "\ufeffimage_id;path;subject;expression\r\n007;a.png;007;happy\r\n"),
        ("1e5", "image_id\tpath\tsubject\texpression\n1e5\ta.png\t1e5\thappy\n"),
        ("TRUE", "Image_ID,Path,Subject,Expression\nTRUE,a.png,TRUE,happy,,\n,,,,,\n"),
        ("S1", 'image_id;path;subject;expression;intensity\n"S1";"a.png";" S1 ";"happy\u00a0";0,5\n;;;;\n'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_as_spreadsheets_write_them_with_names_as_they_stand(tmp_path, name, text, encoding):
    put(tmp_path / "a.png")
    (tmp_path / "manifest.csv").write_bytes(text.encode(encoding))
    row = survey("lab", tmp_path).rows.iloc[0]
    assert (row["image_id"], row["subject"], row["expression"]) == (f"lab_{name}", f"lab/{name}", "happiness")


def test_a_table_of_ones_own(tmp_path):
    root = write_database(
        tmp_path / "mine",
        [("b", "b.png", "NA", "Angry"), ("a", "x/a.png", "007", "joy"), ("c", "c.png", "NA", "contempt")],
        intensity=["", "0.5", "1"],
        fold=["CV1", "CV2", "CV1"],
    )
    put(root / "x" / "more.png")
    result = survey("jaffe2", root)
    columns = ["image_id", "subject", "expression", "path", "fold"]
    assert result.rows[columns].to_numpy().tolist() == [
        ["jaffe2_a", "jaffe2/007", "happiness", str(root / "x/a.png"), "CV2"],
        ["jaffe2_b", "jaffe2/NA", "anger", str(root / "b.png"), "CV1"],
        ["jaffe2_c", "jaffe2/NA", "contempt", str(root / "c.png"), "CV1"],
    ]
    np.testing.assert_array_equal(result.rows["intensity"], [0.5, np.nan, 1])
    assert "manifest.csv does not name 1 pictures that lie there, such as x/more.png" in result.notes
    with pytest.raises(SettingsError, match="'subject' has no effect on a manifest.csv"):
        survey("mine", root, {"subject": "a"})


HEADER = "image_id,path,subject,expression"


@pytest.mark.parametrize(
    "text, message",
    [
        (f"{HEADER}\na,a.png,s,anger\nA,b.png,s,fear", "more than once.*A, a"),
        (f"{HEADER}\na/b,a.png,s,anger", "image_id 'a/b'"),
        (f"{HEADER}\n{'x' * 260},a.png,s,anger", "of 260 letters"),
        (f"{HEADER}\na,a.png,s,smug", "a: its label 'smug' is no expression"),
        (f"{HEADER}\na,x\\..\\..\\a.png,s,anger", "stay inside it"),
        (f"{HEADER}\na,C:\\a.png,s,anger", "must be relative"),
        (f"{HEADER}\na,a.png,s,anger\nb,b.png, ,anger", "no subject in line 3"),
        (f"{HEADER}\na,a.png,Doe, J.,happy", "more cells in its rows than the columns 'image_id'"),
        (f"{HEADER},intensity\na,a.png,s,anger,1.5", "image a: intensity must be .* got '1.5'"),
        ("image_id,expression\na,anger", "lacks the columns 'path', 'subject'"),
        (HEADER, "lists no images"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, text, message):
    put(tmp_path / "manifest.csv", text)
    with pytest.raises(DataError, match=message):
        survey("mine", tmp_path)


def test_missing_roots_and_tables_and_wrong_names(tmp_path):
    with pytest.raises(SettingsError, match=r"'mine' needs a root.*under \[faces.roots\]"):
        survey("mine")
    with pytest.raises(SettingsError, match="name of a database"):
        survey("../mine", tmp_path)
    put(tmp_path / "pictures" / "1.png")
    with pytest.raises(MissingError, match="no manifest.csv.*it holds pictures/"):
        survey("mine", tmp_path)


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
    with pytest.raises(SettingsError, match="'labels' has '4', which must stand for"):
        survey("lab", tmp_path, {"labels": {"4": "rage"}})


def test_folders_named_by_expressions_use_or_list_every_file(tmp_path):
    used = ("Happy/S1_a.pgm", "Happy/S2_a.JPG", "ANGER/S1_b.jfif", "neutral/S1_n.gif", "sad/day 1/S2_c.avif")
    listed = {
        "smug/S1_d.png": "its folder smug is no expression.",
        "suprise/S1_e.png": "its folder suprise is no expression. Is surprise meant?",
        "stray.png": "in no expression's folder",
        "sad/nobody.png": "the pattern '(S\\\\d)_' for the subject finds nothing in its path",
        "sad/S1_f.HEIC": "no image that can be read (.HEIC)",
        "sad/S5_g": "no image that can be read (no suffix)",
        "sad/h.zip": "an archive: unpack it (.zip)",
    }
    for name in (*used, *listed, "sad/.DS_Store", "sad/notes.txt"):
        put(tmp_path / name)
    with pytest.raises(SettingsError, match="the option 'subject', a regular expression"):
        survey("mine", tmp_path)
    result = survey("mine", tmp_path, {"subject": "(S\\d)_"})
    assert result.rows[["image_id", "subject", "expression"]].to_numpy().tolist() == [
        ["mine_ANGER_S1_b", "mine/S1", "anger"],
        ["mine_Happy_S1_a", "mine/S1", "happiness"],
        ["mine_Happy_S2_a", "mine/S2", "happiness"],
        ["mine_neutral_S1_n", "mine/S1", "neutral"],
        [result.rows["image_id"][4], "mine/S2", "sadness"],
    ]
    assert result.rows["image_id"][4].startswith("mine_sad_day-1_S2_c-")
    assert reasons(result) == listed and result.expected == {} and not result.private
    assert "no image of disgust, fear, surprise" in result.notes


def test_folders_in_another_language_or_numbered(tmp_path):
    put(tmp_path / "Freude" / "S1.png"), put(tmp_path / "2" / "S1.png")
    with pytest.raises(MissingError, match="no folder named like an expression, in .*Freude/.*'labels'"):
        survey("mine", tmp_path, ONE_EACH)
    found = survey("mine", tmp_path, ONE_EACH | {"labels": {"Freude": "happiness", "2": "fear"}})
    assert list(found.rows["expression"]) == ["fear", "happiness"]


def test_persons_folders_that_look_like_expressions(tmp_path):
    """Joy and Sa are persons here: the folders with most images count, and a tie is refused."""
    for person in ("Joy", "Sa"):
        for label in ("angry", "sad"):
            put(tmp_path / person / label / "a.png")
    pattern = {"subject": "^(?P<subject>[A-Za-z]+)/(angry)?"}
    with pytest.raises(DataError, match="named like expressions: Joy, Sa; and below them angry, sad"):
        survey("lab", tmp_path, pattern)
    put(tmp_path / "Ann" / "angry" / "a.png")
    rows = survey("lab", tmp_path, pattern).rows
    assert set(rows["expression"]) == {"anger", "sadness"}
    assert set(rows["subject"]) == {"lab/Ann", "lab/Joy", "lab/Sa"}


def test_links_in_circles_and_names_of_other_systems(tmp_path):
    put(tmp_path / "elsewhere" / "1.png")
    mine = tmp_path / "mine" / "happy"
    mine.mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", mine / "more")
    os.symlink(tmp_path / "mine", mine / "back")
    assert len(survey("mine", tmp_path / "mine", ONE_EACH).rows) == 1
    # Decomposed, as on macOS, and composed give the same ids.
    for form in ("NFC", "NFD"):
        put(tmp_path / form / "happy" / unicodedata.normalize(form, "José 1.png"))
    one, other = (survey("mine", tmp_path / form, ONE_EACH).rows for form in ("NFC", "NFD"))
    assert one["image_id"][0] == other["image_id"][0]
    assert one["subject"][0] == other["subject"][0] == "mine/happy/José 1.png"
    try:
        put(mine / os.fsdecode(b"Jos\xe9.png"))
    except OSError:
        pytest.skip("this file system refuses such names")
    result = survey("mine", tmp_path / "mine", ONE_EACH)
    assert len(result.rows) == 1 and "not valid UTF-8" in result.left_out["reason"][0]
    result.summary().encode()


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), unique=True))
@example(["a/b", "a_b", "A/B", "c"])
def test_ids_are_safe_short_and_unique_whatever_the_order(names):
    names = [f"{name}.png" for name in {unicodedata.normalize("NFC", name): None for name in names}]
    result = _safe_ids(names)
    assert all(_IMAGE_ID.fullmatch(name) and len(name) < 140 for name in result)
    assert len({name.lower() for name in result}) == len(names)
    assert _safe_ids(names[::-1]) == result[::-1]


def test_copies_are_noted_or_count_as_one_person(tmp_path):
    """One person where each picture counts as a person: collections whose halves share pictures."""
    for expression in ("anger", "surprise"):
        for person in (0, 1):
            picture = (BUNDLED / "images" / f"id0{person}_{expression}_0.webp").read_bytes()
            for half in ("train", "test"):
                put(tmp_path / "halves" / half / expression / f"im_{half}_{person}.webp", picture)
    put(tmp_path / "mine" / "a.webp", (BUNDLED / "images" / "id03_anger_0.webp").read_bytes())
    rows = [("a", "a.webp", "S1", "anger"), ("b", "a.webp", "S2", "anger"), ("c", "a.webp", "S2", "surprise")]
    write_database(tmp_path / "mine", rows, fold=["CV1", "CV2", "CV2"])
    experiment = experiment_on(tmp_path, names=("halves", "mine"), options={"halves": {"subject": ".+"}})
    notes = " ".join(run(experiment, "faces").notes)
    assert "4 images are copies of others, byte by byte, and count as the same person" in notes
    assert "3 images are copies of each other in different folds (such as mine_a)" in notes
    assert "1 images lie under two expressions with the same bytes, such as mine_a" in notes
    halves = read_manifest(experiment).query("dataset == 'halves'")
    assert len(halves) == 8 and halves["subject"].nunique() == 4
    assert (halves.groupby("sha256")["fold"].nunique() == 1).all() and halves["fold"].nunique() == 2


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
            return [(each, {}) for each in (mesh, 1.02 * mesh + 1, mesh * 0.5 + 300)]

    with Twice() as detector:
        assert detector.detect(np.zeros((500, 500, 3), np.uint8)).faces == 2


def test_load_faces_takes_labels_and_leaves_others_out_by_name():
    faces = ee.example_faces(2)
    given = {"expressions": ["4", "neither"], "landmarks": faces.landmarks * 256}
    with pytest.raises(DataError, match="label is no expression"):
        ee.load_faces(list(faces.images), **given)
    with pytest.warns(UserWarning, match="1 images have no usable face"):
        found = ee.load_faces(list(faces.images), labels={"4": "happiness"}, **given)
    assert list(found.table["expression"]) == ["happiness"]
    assert "no expression" in found.omissions["reason"][0]
