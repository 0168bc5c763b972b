"""Databases: miniature copies with the right names and the known traps; folders and tables of one's own."""

import hashlib
import os
import unicodedata

import numpy as np
import pandas as pd
import pytest
from database_replicas import (
    PIXEL,
    affectnet,
    affectnet_by_annotation,
    bu4dfe,
    ckplus,
    ckplus48,
    cross_validation,
    fega,
    fer_rows,
    found,
    ids,
    jaffe,
    png,
    put,
    reasons,
    sequence,
    wsefep,
)
from hypothesis import given
from hypothesis import strategies as st
from made_databases import write_database

from ekman_expressions import EXPRESSIONS, cli
from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.files import decode_image
from ekman_expressions.faces import survey
from ekman_expressions.faces.cropping import UnusableImage, read_source
from ekman_expressions.faces.folders import _IMAGE_ID, _safe_ids
from ekman_expressions.study.experiment import FaceSettings

# JAFFE


@pytest.mark.parametrize("pattern", ["{}.{}{}.{}.tiff", "{}_{}{}_{}.png", "sub folder/{}.{}{}.{}.tiff.png"])
def test_jaffe_has_the_counts_of_the_database(tmp_path, pattern):
    result = survey("jaffe", jaffe(tmp_path, pattern))
    assert list(found(result).values()) == [30, 29, 32, 31, 31, 30, 30] and len(result.rows) == 213
    assert (result.counts()["found"] == result.counts()["expected"]).all() and result.subjects == 10
    # NA is a person, not a missing value.
    assert "jaffe/NA" in set(result.rows["subject"]) and result.left_out.empty
    assert ids(result, "jaffe")[0].startswith("KA.AN1.")


def test_jaffe_traps(tmp_path):
    for name in ("KA.AN1.39.tiff", "KA_AN1_39.png", "ka.an1.39.jpg", "KA.XX1.40.tiff", "me.png", "README"):
        put(tmp_path / name)
    result = survey("jaffe", tmp_path)
    assert ids(result, "jaffe") == ["KA.AN1.39"] and result.rows["path"][0].endswith("KA.AN1.39.tiff")
    why = reasons(result)
    assert "KA.AN1.39.tiff is used" in why["KA_AN1_39.png"] and "ka.an1.39.jpg" in why
    assert "the code XX is no expression" in why["KA.XX1.40.tiff"] and "not like" in why["me.png"]
    assert len(why) == 4 and "29 fewer" in result.summary()


# CK+


@pytest.fixture(scope="module")
def ck(tmp_path_factory):
    return ckplus(tmp_path_factory.mktemp("ck"))


def test_ckplus_has_the_counts_of_the_database(ck):
    result = survey("ckplus", ck)
    assert found(result) == {
        "anger": 45, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28, "surprise": 83, "contempt": 18,
        "neutral": 327,
    }  # fmt: skip
    assert (result.counts()["found"] == result.counts()["expected"]).all()
    assert (len(result.rows), result.subjects, result.expected_subjects) == (2 * 327, 118, 118)
    assert set(result.left_out["reason"]) == {"no emotion label"} and len(result.left_out) == 593 - 327
    assert any(note.startswith("593 sequences of 123 persons") for note in result.notes)
    row = result.rows.iloc[1]
    assert (row["image_id"], row["subject"]) == ("ckplus_S005_001_00000003", "ckplus/S005")
    assert row["neutral"] == "ckplus_S005_001_00000001" == result.rows["image_id"][0]
    assert row["path"] == str(ck / "cohn-kanade-images" / "S005" / "001" / "S005_001_00000003.png")
    text = result.summary()
    assert "266: no emotion label" in text and "fewer" not in text and "more" not in text


def test_ckplus_takes_the_last_frames(ck):
    result = survey("ckplus", ck, {"frames": 2})
    assert len(result.rows) == 654 + 327 and result.expected["surprise"] == 166
    assert {name[-1] for name in result.rows["image_id"][result.rows["neutral"] != ""]} == {"2", "3"}
    notes = survey("ckplus", ck, {"frames": 9}).notes
    assert any("327 sequences have fewer than 9 frames" in note for note in notes)


def test_ckplus_passes_over_what_cannot_be_used(tmp_path):
    labels = (None, "   5.0000000e+00\n", "8.0", "happy", b"\xff\xfe\x00", "1.5", "", "nan")
    for number, label in enumerate(labels, start=1):
        sequence(tmp_path, f"S010/00{number}", label)
    sequence(tmp_path, "S011/001", "0")
    sequence(tmp_path, "S011/002", "7", frames=(9, 10, 11))
    sequence(tmp_path, "S011/003", "7")
    put(tmp_path / "Emotion" / "S011" / "003" / "S011_003_00000001_emotion.txt", "1")
    sequence(tmp_path, "S011/005", "6")
    (tmp_path / "cohn-kanade-images" / "S011" / "005" / "S011_005_00000002.png").unlink()
    put(tmp_path / "Emotion" / "S013" / "001" / "S013_001_00000001_emotion.txt", "1")
    images = tmp_path / "cohn-kanade-images"
    for junk in (".DS_Store", "S010/002/.DS_Store", "S010/002/._S010_002_00000003.png"):
        put(images / junk)
    put(tmp_path / "FACS" / "S010" / "002" / "S010_002_00000002_facs.txt", "5 3")
    put(images / "S010" / "002" / "S099_002_00000009.png")
    put(images / "S010" / "002" / "S010_002_00000002.tiff")
    result = survey("ckplus", tmp_path)
    assert dict(zip(ids(result, "ckplus"), result.rows["expression"], strict=True)) == {
        "S010_002_00000001": "neutral",
        "S010_002_00000002": "happiness",
        "S011_001_00000002": "neutral",
        "S011_002_00000009": "neutral",
        "S011_002_00000011": "surprise",
        "S011_005_00000001": "sadness",
    }
    why = reasons(result)
    assert why["S010/001"] == "no emotion label" and why["S010/003"] == "its label 8.0 is none of 0 to 7"
    for number in (4, 5, 7):
        assert why[f"S010/00{number}"] == "its label file does not hold a number"
    assert "1.5 is none of" in why["S010/006"] and "nan is none of" in why["S010/008"]
    assert why["S011/003"].startswith("2 label files")
    assert why["Emotion/S013/001/S013_001_00000001_emotion.txt"] == "a label without a sequence of images"
    assert "not like" in why["cohn-kanade-images/S010/002/S099_002_00000009.png"]
    assert why["cohn-kanade-images/S010/002/S010_002_00000002.tiff"] == "a second file for one frame"
    assert len(why) == 11
    assert any("the labelled frame 2 is not there, so 1 counts" in note for note in result.notes)


def test_ckplus_under_its_other_names_and_in_the_folders_that_archives_make(tmp_path):
    for root, (images, labels) in {
        tmp_path / "a": ("extended-cohn-kanade-images", "Emotion_labels"),
        tmp_path / "b": ("extended-cohn-kanade-images/cohn-kanade-images", "Emotion_labels/Emotion"),
    }.items():
        sequence(root, "S005/001", images=images, labels=labels)
        # The frames after the labelled one are not taken.
        put(root / images / "S005" / "001" / "S005_001_00000003.png")
        sequence(root, "S005/001", images="Landmarks", labels="FACS")
        assert ids(survey("ckplus", root), "ckplus") == ["S005_001_00000001", "S005_001_00000002"]


def test_ckplus_without_labels_or_with_none_that_can_be_used(tmp_path):
    sequence(tmp_path, "S005/001", label=None)
    with pytest.raises(MissingError, match="no file like Emotion/S005/001.*it holds cohn-kanade-images/"):
        survey("ckplus", tmp_path)
    sequence(tmp_path, "S005/001", "9")
    with pytest.raises(DataError, match="no usable image: 1 left out .S005/001: its label 9"):
        survey("ckplus", tmp_path)


def test_ckplus48_tells_persons_by_the_names_of_its_pictures(tmp_path):
    put(ckplus48(tmp_path) / "CK+48" / "anger" / "Thumbs.db")
    put(tmp_path / "CK+48" / "smug" / "S010_004_00000017.png")
    result = survey("ckplus48", tmp_path)
    assert (result.counts()["found"] == result.counts()["expected"]).all() and len(result.rows) == 981
    assert found(result)["contempt"] == 54 and result.subjects == result.expected_subjects == 118
    assert reasons(result)["CK+48/smug/S010_004_00000017.png"] == "the code SMUG is no expression"


# FER2013


@pytest.mark.parametrize(
    "name, separator, usage",
    [("fer2013/fer2013.csv", ",", True), ("icml_face_data.csv", ", ", True), ("train.csv", ",", False)],
)
def test_fer2013_reads_each_row_as_a_picture(tmp_path, name, separator, usage):
    pictures = np.random.default_rng(0).integers(0, 256, (9, 48, 48), dtype=np.uint8)
    table = fer_rows(pictures, [0, 1, 2, 3, 4, 5, 6, 7, ""], usage, separator)
    put(tmp_path / name, table.replace("\n", "\r\n") if usage else table)
    if usage:
        put(tmp_path / "train.csv", "emotion,pixels\n0,1\n")
    result = survey("fer2013", tmp_path)
    assert list(result.rows["expression"]) == [*EXPRESSIONS, "neutral"]
    assert ids(result, "fer2013") == [f"{number:05d}" for number in range(1, 8)] and result.subjects == 7
    assert reasons(result) == {
        f"{name}, row 8": "the label '7' is none of 0 to 6",
        f"{name}, row 9": "the label '' is none of 0 to 6",
    }
    assert result.rows["usage"][2] == ("PrivateTest" if usage else "")
    for path, picture in zip(result.rows["path"], pictures, strict=False):
        np.testing.assert_array_equal(decode_image(read_source(path), gray=True), picture)


def test_fer2013_rows_that_are_no_picture_are_left_out_by_the_step(tmp_path):
    put(tmp_path / "fer2013.csv", "emotion,pixels\n0,1 2 3\n1,1 2 300 4\n2,x\n")
    paths = survey("fer2013", tmp_path).rows["path"]
    for path, message in zip(paths, ("3 pixels, which make no", "something else", "something"), strict=True):
        with pytest.raises(UnusableImage, match=message):
            read_source(path)
    put(tmp_path / "fer2013.csv", "label,pixels\n")
    with pytest.raises(DataError, match="needs the columns emotion and pixels, but has label, pixels"):
        survey("fer2013", tmp_path)


# AffectNet


def test_affectnet_by_its_tables(tmp_path):
    names = affectnet(tmp_path, [*range(11), 6])
    (tmp_path / "Manually_Annotated" / "Manually_Annotated_Images" / names[0]).unlink()
    put(tmp_path / "Manually_Annotated" / "Manually_Annotated_Images" / "9" / "unlisted.jpg")
    put(tmp_path / "Manually_Annotated" / "Manually_Annotated_Images" / f"{names[1][:-4]}.png")
    put(tmp_path / "readme.csv", "a,b\n1,2\n")
    result, folder = survey("affectnet", tmp_path), "Manually_Annotated/Manually_Annotated_Images"
    assert found(result) == dict.fromkeys([*EXPRESSIONS, "contempt"], 1) | {"neutral": 0, "anger": 2}
    assert result.subjects == len(result.rows) == 8
    lists = "Manually_Annotated_file_lists/training.csv"
    assert reasons(result) == {
        f"{lists}: {names[0]}": "there is no such picture",
        f"{folder}/9/unlisted.jpg": "not in the list",
        f"{folder}/{names[1][:-4]}.png": "another file of the same picture is used",
    } | {f"{lists}: {names[code]}": f"the label '{code}' is no expression" for code in (8, 9, 10)}


def test_affectnet_by_the_annotations_beside_the_pictures(tmp_path):
    affectnet_by_annotation(tmp_path, ["6", 1, np.array("9"), np.array(["x"], object)])
    result = survey("affectnet", tmp_path)
    assert ids(result, "affectnet") == [f"{part}_set_images_{n}" for part in ("train", "val") for n in (0, 1)]
    assert list(result.rows["expression"]) == ["anger", "happiness"] * 2
    why = reasons(result)
    assert len(why) == 4 and why["val_set/annotations/2_exp.npy"] == "the label '9' is no expression"
    assert "allow_pickle" in why["train_set/annotations/3_exp.npy"]


# WSEFEP


@pytest.mark.parametrize("separator, encoding", [(",", "utf-8"), (";", "cp1252"), ("\t", "utf-16")])
def test_wsefep_has_the_counts_of_the_database(tmp_path, separator, encoding):
    result = survey("wsefep", wsefep(tmp_path, separator, encoding))
    assert set(found(result).values()) == {30} and len(result.rows) == 210 and result.subjects == 30
    assert result.left_out.empty
    labels = result.rows.set_index("image_id")["expression"]
    assert labels["wsefep_MK_7000"] == "happiness" and labels["wsefep_MK1_7003"] == "anger"
    people = result.rows.groupby("subject").size()
    assert people["wsefep/MK"] == people["wsefep/MK1"] == 7


def test_wsefep_sheets_as_people_write_them(tmp_path):
    table = (
        "Norms of the set;;;\nNr;  picture_id ;DISPLAY;Displayer ID\n"
        "1;MK_1.JPG;Joy;MK\n2;2;fear;MK\n;;;\n3;MK1_3;anger;MK\n4;MK_4;smug;MK\n5;MK_5;joy;MK\n"
        '6;MK_5;fear;MK\n7;MK_6;joy;\n8;mk1_7;"joy";MK1\n9;MK_8\n10;MK_9;joy;MK\n'
    )
    put(tmp_path / "sheet.csv", table)
    for name in ("MK_1", "MK_2", "MK1_3", "MK_4", "MK_5", "MK_6", "MK1_7", "MK_8", "new one"):
        put(tmp_path / "pictures" / f"{name}.jpg")
    result = survey("wsefep", tmp_path)
    rows = result.rows[["image_id", "subject", "expression"]].to_numpy().tolist()
    assert rows == [
        ["wsefep_MK1_7", "wsefep/MK1", "happiness"],
        ["wsefep_MK_1", "wsefep/MK", "happiness"],
        ["wsefep_MK_2", "wsefep/MK", "fear"],
    ]
    why = reasons(result)
    assert "another person's picture than MK's" in why["sheet.csv, line 6"]
    assert "'smug' is no expression" in why["sheet.csv, line 7"]
    assert "different things" in why["sheet.csv, line 8"] and "MK, fear" in why["sheet.csv, line 8"]
    assert why["sheet.csv, line 10"] == why["sheet.csv, line 12"] == "no Displayer ID"
    assert (
        why["sheet.csv, line 13"] == "no picture MK_9" and why["pictures/new one.jpg"] == "not in the sheet"
    )
    assert len(why) == 7


def test_wsefep_without_or_with_several_sheets(tmp_path):
    put(tmp_path / "AD_1.jpg")
    put(tmp_path / "norms.xlsx")
    put(tmp_path / "other.csv", "a,b\n1,2\n")
    with pytest.raises(MissingError, match=r"no norms sheet.*save norms.xlsx as CSV.*it holds AD_1.jpg"):
        survey("wsefep", tmp_path)
    for name in ("a.csv", "b.csv"):
        put(tmp_path / name, "Displayer ID,Picture ID,Display\nAD,AD_1,joy\n")
    with pytest.raises(SettingsError, match="several norms sheets: a.csv, b.csv.*option 'sheet'"):
        survey("wsefep", tmp_path)
    assert len(survey("wsefep", tmp_path, {"sheet": "b.csv"}).rows) == 1
    with pytest.raises(DataError, match="no line with the columns"):
        survey("wsefep", tmp_path, {"sheet": "other.csv"})
    with pytest.raises(MissingError, match="no sheet c.csv"):
        survey("wsefep", tmp_path, {"sheet": "c.csv"})


# BU-4DFE


def test_bu4dfe_takes_frames_around_the_apex(tmp_path):
    result = survey("bu4dfe", bu4dfe(tmp_path))
    assert found(result) == dict.fromkeys(EXPRESSIONS, 3 * 5) | {"neutral": 18} and result.subjects == 3
    assert set(result.expected.values()) == {505, 606} and result.expected_subjects == 101
    assert ids(result, "bu4dfe")[:3] == ["F001_Angry_000", "F001_Angry_020", "F001_Angry_025"]
    assert result.rows["neutral"][2] == "bu4dfe_F001_Angry_000"
    assert result.rows["path"][2] == str(tmp_path / "F001" / "Angry" / "025.jpg")
    assert result.left_out.empty and "490 fewer" in result.summary()
    few = survey("bu4dfe", tmp_path, {"frames": [0, 44]})
    assert len(few.rows) == 36 and few.expected["fear"] == 202


def test_bu4dfe_traps(tmp_path):
    bu4dfe(tmp_path / "part 1", ("F001",), frames=38)
    bu4dfe(tmp_path / "part 2", ("m002",), frames=45)
    put(tmp_path / "part 1" / "F003" / "HAPPY" / "20.png")
    put(tmp_path / "part 1" / "F003" / "Smug" / "20.png")
    put(tmp_path / "part 1" / "F003" / "HAPPY" / "020.tif")
    result = survey("bu4dfe", tmp_path)
    assert len(result.rows) == 6 * 5 + 6 * 6 + 1
    assert set(result.rows["subject"]) == {"bu4dfe/F001", "bu4dfe/M002", "bu4dfe/F003"}
    why = reasons(result)
    assert why["part 1/F003/HAPPY/20.png"] == "a second file for one frame"
    assert why["F001/Angry/040"] == "no such frame" and why["F003/Fear"] == "no such sequence"
    assert "not like F001/Angry/000.jpg" in why["part 1/F003/Smug/20.png"]


# FEGA, whose file names tell people's names


def everything_but_paths(result):
    """All that a survey tells, except `path`."""
    rows = result.rows.drop(columns="path")
    parts = (rows.to_csv(), result.left_out.to_csv(), *result.notes, result.summary())
    return unicodedata.normalize("NFKD", "\n".join(parts)).lower()


def test_fega_counts_people_and_never_tells_a_name(tmp_path):
    root = fega(tmp_path / "faces", (("Zenobia", "F", 31), ("Ósgood Smith_Jr", "M", 44)))
    put(root / "0_F_31_Zenobia_Felice_9.png")
    put(root / "Zenobia portrait.png")
    put(root / "0_F_31_Zenobia_Paura_9.png", b"")
    put(root / "Zenobia" / "0_F_31_Zenobia_Paura_1.png", png(77_777))
    (root / "0_F_31_Zenobia_Paura_8.png").symlink_to(tmp_path / "nowhere")
    result = survey("fega", root)
    assert result.private and result.subjects == 2 and result.expected_subjects == 51
    assert found(result) == dict.fromkeys((*EXPRESSIONS, "neutral"), 4)
    text = everything_but_paths(result)
    assert not any(name in text for name in ("zenobia", "osgood", "smith", "portrait"))
    assert all(item.startswith(("sha256:", "(")) for item in result.left_out["item"])
    assert len(result.left_out) == 5
    assert any("label is none of arrabbiato" in reason for reason in result.left_out["reason"])
    # The owner finds the file by its checksum.
    assert f"sha256:{hashlib.sha256(PIXEL).hexdigest()[:16]}" in set(result.left_out["item"])


def test_fega_ids_cannot_be_computed_from_a_guessed_name_and_do_not_depend_on_the_others(tmp_path):
    people = (("Zenobia", "F", 31), ("Osgood", "M", 44))
    one = survey("fega", fega(tmp_path / "a", people)).rows
    # The same name with other faces is another id, so that the name alone does not give it.
    other = survey("fega", fega(tmp_path / "b", (("Nobody", "F", 20), *people))).rows
    assert not set(one["subject"]) & set(other["subject"])
    for path in (tmp_path / "a").glob("*Osgood*"):
        path.unlink()
    alone = survey("fega", tmp_path / "a").rows
    assert set(alone["subject"]) < set(one["subject"])
    assert alone["image_id"].isin(one["image_id"]).all()


def test_fega_people_of_one_name(tmp_path):
    root = fega(tmp_path, (("Ana", "F", 20), ("Ana", "F", 60), ("Leo", "M", 30)), repeats=1)
    # The same name decomposed, as macOS writes it, and in capitals, is the same.
    put(root / "0_M_30_LEO_Paura_2.png", png(1000))
    together = survey("fega", root)
    assert together.subjects == 2 and len(together.rows) == 22
    assert any("1 names come with several ages" in note for note in together.notes)
    apart = survey("fega", root, {"person": "name_sex_age"})
    assert apart.subjects == 3 and len(apart.rows) == 22 and not apart.notes
    put(root / unicodedata.normalize("NFD", "0_M_30_José_Paura_1.png"), png(2000))
    put(root / "0_M_30_José_Paura_2.png", png(2001))
    assert survey("fega", root).subjects == 3


def test_fega_a_wrong_root_tells_no_name(tmp_path):
    for name in ("Zenobia 1.png", "Zenobia 2.png"):
        put(tmp_path / "Zenobia" / name)
    with pytest.raises(MissingError, match="it holds 1 folders and 0 files") as error:
        survey("fega", tmp_path)
    assert "Zenobia" not in str(error.value)


# All databases


@pytest.mark.parametrize(
    "name, looked_for",
    [
        ("ckplus", "cohn-kanade-images/S005/001"),
        ("jaffe", "KA.AN1.39.tiff"),
        ("affectnet", "training.csv"),
    ],
)
def test_a_wrong_root_says_what_was_looked_for_and_what_is_there(tmp_path, name, looked_for):
    put(tmp_path / "holiday pictures" / "a.png")
    with pytest.raises(MissingError, match=f"{looked_for}.*it holds holiday pictures/"):
        survey(name, tmp_path)
    with pytest.raises(MissingError, match="that folder does not exist"):
        survey(name, tmp_path / "absent")
    with pytest.raises(MissingError, match="that is a file"):
        survey(name, tmp_path / "holiday pictures" / "a.png")


def test_a_manifest_in_the_root_of_a_known_database_comes_first(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "manifest.csv", "image_id,path,subject,expression\nx,a.png,s,anger\n")
    result = survey("ckplus", tmp_path)
    assert list(result.rows["image_id"]) == ["ckplus_x"] and "manifest.csv" in result.notes[0]
    with pytest.raises(SettingsError, match="manifest.csv.*frames"):
        survey("ckplus", tmp_path, {"frames": 2})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"ckplus": {"frame": 3}}, "Unknown option 'frame' in faces.options.ckplus. Known are frames"),
        ({"ckplus": {"frames": 0}}, "'faces.options.ckplus.frames' must be a whole number >= 1"),
        ({"bu4dfe": {"frames": [1, "2"]}}, "faces.options.bu4dfe.frames"),
        ({"fega": {"person": "age"}}, "'name', 'name_sex_age', but got 'age'"),
        ({"mine": {"subject": "("}}, "no regular expression"),
        ({"mine": {"layout": "tree"}}, "'manifest', 'folders', 'cross_validation'"),
    ],
)
def test_options_are_checked_with_the_settings(options, message):
    with pytest.raises(SettingsError, match=message):
        FaceSettings(datasets=("ckplus", "jaffe", "bu4dfe", "fega", "mine"), options=options)


def test_command_line_lists_databases_and_checks_a_copy(tmp_path, capsys):
    assert cli.main(["datasets"]) == 0
    text = capsys.readouterr().out
    for name in ("ckplus", "jaffe", "wsefep", "bu4dfe", "fega", "synthetic", "zenodo.org", "CC0"):
        assert name in text
    assert cli.main(["datasets", "jaffe"]) == 0
    assert "KA.AN1.39.tiff" in capsys.readouterr().out
    bu4dfe(tmp_path, ("F001",))
    assert cli.main(["datasets", "bu4dfe", str(tmp_path), "--option", "frames=[1, 2]"]) == 0
    text = capsys.readouterr().out
    assert "200 fewer" in text and "100 fewer" in text
    assert cli.main(["datasets", "bu4dfe", str(tmp_path), "--option", "frames"]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err
    assert cli.main(["datasets", "ckplus", str(tmp_path)]) == 2
    assert "it holds F001/" in capsys.readouterr().err


# A table of one's own


def test_a_table_of_ones_own(tmp_path):
    root = write_database(
        tmp_path / "mine",
        [("b", "b.png", "NA", "Angry"), ("a", "x/a.png", "007", "joy"), ("c", "c.png", "NA", "contempt")],
        intensity=["", "0.5", "1"],
        fold=["CV1", "CV2", "CV1"],
    )
    rows = survey("jaffe2", root).rows
    assert list(rows["image_id"]) == ["jaffe2_a", "jaffe2_b", "jaffe2_c"]
    assert list(rows["subject"]) == ["jaffe2/007", "jaffe2/NA", "jaffe2/NA"]
    assert list(rows["expression"]) == ["happiness", "anger", "contempt"]
    assert list(rows["path"]) == [str(root / name) for name in ("x/a.png", "b.png", "c.png")]
    np.testing.assert_array_equal(rows["intensity"], [0.5, np.nan, 1])
    assert list(rows["fold"]) == ["CV2", "CV1", "CV1"]
    put(root / "x" / "more.png")
    notes = survey("mine", root).notes
    assert "manifest.csv does not name 1 pictures that lie there, such as x/more.png" in notes
    with pytest.raises(SettingsError, match="'subject' has no effect on a manifest.csv"):
        survey("mine", root, {"subject": "a"})


GOOD = ("a", "a.png", "s", "anger")


@pytest.mark.parametrize(
    "rows, columns, message",
    [
        ([GOOD, ("A", "b.png", "s", "fear")], {}, "more than once.*A, a"),
        ([("a/b", "a.png", "s", "anger")], {}, "image_id 'a/b'"),
        ([("a", "a.png", "s", "smug")], {}, "a: its label 'smug' is no expression"),
        ([("a", "x\\..\\..\\a.png", "s", "anger")], {}, "stay inside it"),
        ([("a", "C:\\a.png", "s", "anger")], {}, "must be relative"),
        ([GOOD, ("b", "b.png", " ", "anger")], {}, "no subject in line 3"),
        ([], {}, "lists no images"),
        ([GOOD], {"intensity": "1.5"}, "image a: intensity must be .* got '1.5'"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, rows, columns, message):
    root = write_database(tmp_path / "mine", rows, **columns)
    with pytest.raises(DataError, match=message):
        survey("mine", root)


def test_missing_columns_roots_and_wrong_names(tmp_path):
    with pytest.raises(SettingsError, match=r"'mine' needs a root.*under \[faces.roots\]"):
        survey("mine")
    with pytest.raises(SettingsError, match="name of a database"):
        survey("../mine", tmp_path)
    put(tmp_path / "pictures" / "1.png")
    with pytest.raises(MissingError, match="no manifest.csv.*it holds pictures"):
        survey("mine", tmp_path)
    with pytest.raises(MissingError, match="no folder named like an expression.*it holds pictures/"):
        survey("mine", tmp_path, {"layout": "folders", "subject": "."})
    with pytest.raises(MissingError, match="no pair of folders like CV1 and CV1_test.*it holds pictures/"):
        survey("mine", tmp_path, {"layout": "cross_validation"})
    pd.DataFrame({"image_id": ["a"], "expression": ["anger"]}).to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(DataError, match="lacks the columns 'path', 'subject'"):
        survey("mine", tmp_path)


# Ids made of paths


def test_ids_are_readable_and_told_apart_whatever_their_order():
    names = ["anger/S005_001.png", "joy/José Núñez.jpg", "joy/Łukasz.png", "a/ü/Straße.tif", "日本/笑.png"]
    result = _safe_ids(names)
    assert result[0] == "anger_S005_001"
    assert [name[:-9] for name in result[1:]] == ["joy_Jose-Nunez", "joy_Lukasz", "a_u_Strasse", "-_-"]
    names = ["a/b.png", "a_b.png", "A/B.jpg", "c.png"]
    result = _safe_ids(names)
    assert result[3] == "c" and all(len(name) == 12 for name in result[:3])
    assert _safe_ids(names[::-1]) == result[::-1]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), unique=True))
def test_ids_are_safe_short_and_unique(names):
    names = list({unicodedata.normalize("NFC", name): None for name in names})
    result = _safe_ids([f"{name}.png" for name in names])
    assert all(_IMAGE_ID.fullmatch(name) and len(name) < 140 for name in result)
    assert len({name.lower() for name in result}) == len(names)


def test_names_decomposed_as_on_macos_give_the_same_ids(tmp_path):
    for form in ("NFC", "NFD"):
        put(tmp_path / form / "happy" / unicodedata.normalize(form, "José 1.png"))
    composed, decomposed = (
        survey("mine", tmp_path / form, {"subject": ".+"}).rows for form in ("NFC", "NFD")
    )
    assert list(composed["image_id"]) == list(decomposed["image_id"])
    assert list(composed["subject"]) == list(decomposed["subject"]) == ["mine/happy/José 1.png"]


# Folders by expression


def test_folders_named_by_expressions(tmp_path):
    names = "Happy/S1_a.png Happy/S2_a.JPG ANGER/S1_b.png neutral/S1_n.png sad/.DS_Store sad/notes.txt"
    for name in (*names.split(), "sad/day 1/S2_c.tiff", "smug/S1_d.png", "sad/nobody.png", "stray.png"):
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
    assert reasons(result) == {
        "smug/S1_d.png": "its folder smug is no expression",
        "stray.png": "in no expression's folder",
        "sad/nobody.png": "the pattern '(S\\\\d)_' for the subject finds nothing in its path",
    }
    assert result.expected == {} and not result.private


def test_persons_folders_that_look_like_expressions_do_not_confuse(tmp_path):
    # SA and AN are initials here, not sadness and anger.
    for person in ("SA", "AN", "KA", "KL"):
        put(tmp_path / person / "happy" / "1.png")
        put(tmp_path / person / "fear" / "1.png")
    rows = survey("mine", tmp_path, {"layout": "folders", "subject": "^(?P<subject>[A-Z]+)/(happy)?"}).rows
    assert sorted(set(rows["expression"])) == ["fear", "happiness"]
    assert sorted(set(rows["subject"])) == ["mine/AN", "mine/KA", "mine/KL", "mine/SA"]


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "mine" / "happy").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", tmp_path / "mine" / "happy" / "more")
    os.symlink(tmp_path / "mine", tmp_path / "mine" / "happy" / "back")
    assert len(survey("mine", tmp_path / "mine", {"subject": ".+"}).rows) == 1


def test_names_that_are_no_utf8_are_left_out(tmp_path):
    put(tmp_path / "happy" / "1.png")
    try:
        put(tmp_path / "happy" / os.fsdecode(b"Jos\xe9.png"))
    except OSError:
        pytest.skip("this file system refuses such names")
    result = survey("mine", tmp_path, {"subject": ".+"})
    assert len(result.rows) == 1 and "not valid UTF-8" in result.left_out["reason"][0]
    result.summary().encode()


# Folders of given folds


def test_folds_of_the_studys_layout_are_taken_as_they_are(tmp_path):
    result = survey("study", cross_validation(tmp_path), {"subject": "p\\d+"})
    assert (
        len(result.rows) == 20
        and result.left_out.empty
        and result.notes == ("no image of disgust, fear, sadness, surprise",)
    )
    for row in result.rows.itertuples():
        assert row.fold == f"CV{int(row.subject.removeprefix('study/p')) % 5 + 1}"
        assert f"{row.fold}_test" in row.path
    assert "study_Anger_p0_1" in set(result.rows["image_id"])
    each = survey("study", tmp_path)
    assert each.subjects == 20 and "each image counts as a person" in each.notes[0]


def test_differences_between_the_folders_are_reported(tmp_path):
    cross_validation(tmp_path)
    put(tmp_path / "CV2_test" / "Anger" / "p0_1.png")  # also in CV1_test
    put(tmp_path / "CV3" / "Anger" / "p99_1.png")  # in no test folder
    put(tmp_path / "CV2" / "Happy" / "p1_1.png")  # own test image
    put(tmp_path / "CV1" / "Smug" / "p3_1.png")
    put(tmp_path / "CV4_test" / "Smug" / "p3_1.png")
    result = survey("study", tmp_path, {"subject": "p\\d+"})
    assert reasons(result) == {
        "Anger/p0_1.png": "in the test folders of CV1, CV2: its fold is unclear",
        "Anger/p99_1.png": "in training folders only: its fold is unclear",
        "Smug/p3_1.png": "its folder Smug is no expression",
    }
    assert len(result.rows) == 19
    notes = "\n".join(result.notes)
    assert "CV2 has 1 of its own test images among its training images (such as Happy/p1_1.png)" in notes


def test_test_folders_alone_will_do_and_a_missing_one_is_an_error(tmp_path):
    cross_validation(tmp_path, folds=2)
    for path in sorted((tmp_path / "CV1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "CV1").rmdir()
    assert len(survey("study", tmp_path).rows) == 20
    (tmp_path / "CV3").mkdir()
    with pytest.raises(MissingError, match="no test folder CV3_test .*it holds CV1_test/, CV2/, CV2_test/"):
        survey("study", tmp_path)
