"""CK+ on a miniature copy: sequences, their labels, and the known traps."""

import pytest
from database_replicas import ckplus, found, ids, put, reasons, sequence

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.faces.databases import survey


@pytest.fixture(scope="module")
def ck(tmp_path_factory):
    return ckplus(tmp_path_factory.mktemp("ck"))


def test_ckplus_has_the_counts_of_the_database(ck):
    result = survey("ckplus", ck)
    assert found(result) == {
        "anger": 45, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28, "surprise": 83, "contempt": 18
    }  # fmt: skip
    assert (result.counts()["found"] == result.counts()["expected"]).all()
    assert (len(result.rows), result.subjects, result.expected_subjects) == (327, 118, 118)
    assert set(result.left_out["reason"]) == {"no emotion label"} and len(result.left_out) == 593 - 327
    assert any(note.startswith("593 sequences of 123 persons") for note in result.notes)
    row = result.rows.iloc[0]
    assert (row["image_id"], row["subject"]) == ("ckplus_S005_001_00000003", "ckplus/S005")
    path = ck / "cohn-kanade-images" / "S005" / "001" / "S005_001_00000003.png"
    assert row["path"] == str(path)
    text = result.summary()
    assert "266: no emotion label" in text and "fewer" not in text and "more" not in text


def test_ckplus_takes_the_last_frames(ck):
    result = survey("ckplus", ck, {"frames": 2})
    assert len(result.rows) == 654 and result.expected["surprise"] == 166
    assert {image_id[-1] for image_id in ids(result, "ckplus")} == {"2", "3"}
    notes = survey("ckplus", ck, {"frames": 9}).notes
    assert any("327 sequences have fewer than 9 frames" in note for note in notes)


def test_ckplus_passes_over_what_cannot_be_used_and_goes_on(tmp_path):
    sequence(tmp_path, "S010/001", label=None)
    sequence(tmp_path, "S010/002", "   5.0000000e+00\n")
    sequence(tmp_path, "S010/003", "8.0")
    sequence(tmp_path, "S010/004", "happy")
    sequence(tmp_path, "S010/005", b"\xff\xfe\x00")
    sequence(tmp_path, "S010/006", "1.5")
    sequence(tmp_path, "S010/007", "")
    sequence(tmp_path, "S010/008", "nan")
    sequence(tmp_path, "S011/001", "0")
    sequence(tmp_path, "S011/002", "7", frames=(9, 10, 11))
    sequence(tmp_path, "S011/003", "7")
    put(tmp_path / "Emotion" / "S011" / "003" / "S011_003_00000001_emotion.txt", "1")
    (tmp_path / "Emotion" / "S011" / "004" / "S011_004_00000001_emotion.txt").mkdir(parents=True)
    sequence(tmp_path, "S011/004", None)
    sequence(tmp_path, "S011/005", "6")
    (tmp_path / "cohn-kanade-images" / "S011" / "005" / "S011_005_00000002.png").unlink()
    (tmp_path / "cohn-kanade-images" / "S012" / "001").mkdir(parents=True)
    put(tmp_path / "Emotion" / "S012" / "001" / "S012_001_00000001_emotion.txt", "1")
    put(tmp_path / "Emotion" / "S013" / "001" / "S013_001_00000001_emotion.txt", "1")
    images = tmp_path / "cohn-kanade-images"
    for junk in (".DS_Store", "S010/.DS_Store", "S010/002/.DS_Store", "S010/002/._S010_002_00000003.png"):
        put(images / junk)
    put(tmp_path / "Emotion" / "S010" / "002" / ".DS_Store")
    put(images / "S010" / "002" / "S099_002_00000009.png")
    put(images / "S010" / "002" / "S010_002_00000002.tiff")
    put(images / "notes" / "a.png")
    result = survey("ckplus", tmp_path)
    assert dict(zip(ids(result, "ckplus"), result.rows["expression"], strict=True)) == {
        "S010_002_00000002": "happiness",
        "S011_001_00000002": "neutral",
        "S011_002_00000011": "surprise",
        "S011_005_00000001": "sadness",
    }
    why = reasons(result)
    assert why["S010/001"] == "no emotion label"
    assert why["S010/003"] == "its label 8.0 is none of 0 to 7"
    for number in (4, 5, 7):
        assert why[f"S010/00{number}"] == "its label file does not hold a number"
    assert "1.5 is none of" in why["S010/006"] and "nan is none of" in why["S010/008"]
    assert why["S011/003"].startswith("2 label files") and "cannot be read" in why["S011/004"]
    assert why["S012/001"] == "a label, but no images"
    assert why["Emotion/S013/001/S013_001_00000001_emotion.txt"] == "a label without a sequence of images"
    assert why["cohn-kanade-images/notes"].startswith("not a person's folder")
    assert "not a frame" in why["cohn-kanade-images/S010/002/S099_002_00000009.png"]
    assert why["cohn-kanade-images/S010/002/S010_002_00000002.tiff"] == "a second file for one frame"
    assert len(why) == 14 and not any("DS_Store" in item or "._" in item for item in why)
    assert any("the labelled frame 2 is not there, so 1 counts" in note for note in result.notes)


def test_ckplus_under_its_other_names_and_in_the_folders_that_archives_make(tmp_path):
    for root, (images, labels) in {
        tmp_path / "a": ("extended-cohn-kanade-images", "Emotion_labels"),
        tmp_path / "b": ("extended-cohn-kanade-images/cohn-kanade-images", "Emotion_labels/Emotion"),
    }.items():
        sequence(root, "S005/001", images=images, labels=labels)
        sequence(root, "S005/001", images="Landmarks", labels="FACS")
        assert list(survey("ckplus", root).rows["expression"]) == ["disgust"]


def test_ckplus_frames_after_the_labelled_one_are_not_taken(tmp_path):
    sequence(tmp_path, "S005/001", frames=(1, 2))
    put(tmp_path / "cohn-kanade-images" / "S005" / "001" / "S005_001_00000003.png")
    assert ids(survey("ckplus", tmp_path), "ckplus") == ["S005_001_00000002"]


def test_ckplus_without_labels_says_which_folder_is_missing(tmp_path):
    sequence(tmp_path, "S005/001", label=None)
    with pytest.raises(MissingError, match="no folder Emotion or Emotion_labels .*cohn-kanade-images/"):
        survey("ckplus", tmp_path)


def test_nothing_usable_is_an_error_with_the_reasons(tmp_path):
    sequence(tmp_path, "S005/001", "9")
    with pytest.raises(DataError, match="no usable image: 1 left out .S005/001: its label 9"):
        survey("ckplus", tmp_path)
