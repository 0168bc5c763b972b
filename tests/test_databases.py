"""The databases of the study, on miniature copies with the right names and the known traps."""

import pytest
from database_replicas import bu4dfe, found, ids, jaffe, put, reasons, wsefep

from ekman_expressions import EXPRESSIONS, Experiment, cli
from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.faces.databases import survey
from ekman_expressions.study.settings import FaceSettings

SIX = dict.fromkeys(EXPRESSIONS)


@pytest.mark.parametrize("pattern", ["{}.{}{}.{}.tiff", "{}_{}{}_{}.png", "sub folder/{}.{}{}.{}.tiff.png"])
def test_jaffe_has_the_counts_of_the_database(tmp_path, pattern):
    result = survey("jaffe", jaffe(tmp_path, pattern))
    assert list(found(result).values()) == [30, 29, 32, 31, 31, 30, 30] and len(result.rows) == 213
    assert (result.counts()["found"] == result.counts()["expected"]).all() and result.subjects == 10
    # NA is a person, not a missing value.
    assert "jaffe/NA" in set(result.rows["subject"]) and result.left_out.empty
    assert ids(result, "jaffe")[0].startswith("KA.AN1.")


def test_jaffe_traps(tmp_path):
    put(tmp_path / "KA.AN1.39.tiff")
    put(tmp_path / "KA_AN1_39.png")
    put(tmp_path / "ka.an1.39.jpg")
    put(tmp_path / "KA.XX1.40.tiff")
    put(tmp_path / "me.png")
    put(tmp_path / "README")
    result = survey("jaffe", tmp_path)
    assert ids(result, "jaffe") == ["KA.AN1.39"] and result.rows["path"][0].endswith("KA.AN1.39.tiff")
    why = reasons(result)
    assert "KA.AN1.39.tiff is used" in why["KA_AN1_39.png"] and "ka.an1.39.jpg" in why
    assert "the code XX is none of AN" in why["KA.XX1.40.tiff"] and "not like" in why["me.png"]
    assert len(why) == 4 and "29 fewer" in result.summary()


@pytest.mark.parametrize(
    "separator, encoding",
    [(",", "utf-8"), (";", "utf-8-sig"), (";", "cp1252"), (",", "utf-8-sig"), ("\t", "utf-16")],
)
def test_wsefep_has_the_counts_of_the_database(tmp_path, separator, encoding):
    result = survey("wsefep", wsefep(tmp_path, separator, encoding))
    assert set(found(result).values()) == {30} and len(result.rows) == 210 and result.subjects == 30
    assert result.left_out.empty
    labels = result.rows.set_index("image_id")["expression"]
    assert labels["wsefep_MK_7000"] == "happiness" and labels["wsefep_MK1_7003"] == "anger"
    people = result.rows.groupby("subject").size()
    assert people["wsefep/MK"] == people["wsefep/MK1"] == 7


def test_wsefep_reports_rows_without_picture_and_pictures_without_row(tmp_path):
    wsefep(tmp_path, skip=("AA_7000",))
    put(tmp_path / "new one_1.jpg")
    result = survey("wsefep", tmp_path)
    why = reasons(result)
    assert why == {"norms.csv, line 16": "no picture AA_7000", "new one_1.jpg": "not in the sheet"}
    assert "1 fewer" in result.summary() and len(result.rows) == 209


def test_wsefep_sheets_as_people_write_them(tmp_path):
    table = (
        "Norms of the set;;;\nNr;  picture_id ;DISPLAY;Displayer ID\n"
        "1;MK_1.JPG;Joy;MK\n2;2;fear;MK\n;;;\n3;MK1_3;anger;MK\n4;MK_4;smug;MK\n5;MK_5;joy;MK\n"
        '6;MK_5;fear;MK\n7;MK_6;joy;\n8;mk1_7;"joy";MK1\n9;MK_8\n'
    )
    put(tmp_path / "sheet.csv", table)
    for name in ("MK_1", "MK_2", "MK1_3", "MK_4", "MK_5", "MK_6", "MK1_7", "MK_8"):
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
    assert len(why) == 5


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


def test_bu4dfe_takes_frames_around_the_apex(tmp_path):
    result = survey("bu4dfe", bu4dfe(tmp_path))
    assert found(result) == dict.fromkeys(SIX, 3 * 5) and result.subjects == 3
    assert set(result.expected.values()) == {505} and result.expected_subjects == 101
    assert ids(result, "bu4dfe")[:2] == ["F001_Angry_020", "F001_Angry_025"]
    assert result.rows["path"][1] == str(tmp_path / "F001" / "Angry" / "025.jpg")
    assert result.left_out.empty and "490 fewer" in result.summary()
    few = survey("bu4dfe", tmp_path, {"frames": [0, 44]})
    assert len(few.rows) == 36 and few.expected["fear"] == 202


def test_bu4dfe_traps(tmp_path):
    bu4dfe(tmp_path / "part 1", ("F001",), frames=38)
    bu4dfe(tmp_path / "part 2", ("m002",), frames=45)
    put(tmp_path / "part 1" / ".DS_Store")
    put(tmp_path / "part 1" / "readme.txt")
    put(tmp_path / "part 1" / "F003" / "HAPPY" / "20.png")
    (tmp_path / "part 1" / "F003" / "Sad").mkdir()
    (tmp_path / "part 1" / "F003" / "Smug").mkdir()
    result = survey("bu4dfe", tmp_path)
    assert len(result.rows) == 6 * 4 + 6 * 5 + 1
    assert set(result.rows["subject"]) == {"bu4dfe/F001", "bu4dfe/M002", "bu4dfe/F003"}
    why = reasons(result)
    assert why["part 1/F001/Angry/040"] == "no such frame" and why["F003/Fear"] == "no such sequence"
    assert why["part 1/F003/Sad"].startswith("no frames") and "not an expression's" in why["part 1/F003/Smug"]
    assert "not a person's folder" in why["part 1/readme.txt"]


@pytest.mark.parametrize(
    "name, looked_for",
    [
        ("ckplus", "cohn-kanade-images or extended-cohn-kanade-images"),
        ("jaffe", "KA.AN1.39.tiff"),
        ("wsefep", "norms sheet"),
        ("bu4dfe", "F001/Angry"),
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


def test_options_are_checked_with_the_settings(tmp_path):
    for options, message in [
        ({"ckplus": {"frame": 3}}, "Unknown option 'frame' in faces.options.ckplus. Known are frames"),
        ({"ckplus": {"frames": 0}}, "'faces.options.ckplus.frames' must be a whole number >= 1"),
        ({"jaffe": {"frames": 1}}, "This database has no options"),
        ({"bu4dfe": {"frames": []}}, "one or more different frames"),
        ({"bu4dfe": {"frames": [1, "2"]}}, "faces.options.bu4dfe.frames"),
        ({"fega": {"person": "age"}}, "'name', 'name_sex_age', but got 'age'"),
        ({"mine": {"subject": "("}}, "no regular expression"),
        ({"mine": {"layout": "tree"}}, "'manifest', 'folders', 'cross_validation'"),
        ({"absent": {}}, "but got 'absent'"),
        ({"mine": 3}, "faces.options.mine"),
    ]:
        with pytest.raises(SettingsError, match=message):
            FaceSettings(datasets=("ckplus", "jaffe", "bu4dfe", "fega", "mine"), options=options)
    put(tmp_path / "my.toml", 'name = "x"\nnetworks = ["WeiNet"]\n[faces]\ndatasets = ["ckplus"]\n'
        "[faces.options.ckplus]\nframes = 3\n")  # fmt: skip
    assert Experiment.from_toml(tmp_path / "my.toml").faces.options == {"ckplus": {"frames": 3}}


def test_databases_combine(tmp_path):
    wsefep(tmp_path / "w")
    bu4dfe(tmp_path / "b", ("F001",))
    tables = [survey("wsefep", tmp_path / "w").rows, survey("bu4dfe", tmp_path / "b", {"frames": [20]}).rows]
    assert [len(table) for table in tables] == [210, 6]
    assert {subject.split("/")[0] for table in tables for subject in table["subject"]} == {"wsefep", "bu4dfe"}


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
