"""Databases: miniature copies with the right names and the known traps."""

import hashlib
import unicodedata

import numpy as np
import pytest
from made_databases import PIXEL, fega, fer_rows, ids, png, put, reasons

from ekman_expressions import EXPRESSIONS, Experiment, cli
from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.files import decode_image
from ekman_expressions.faces import DATABASES, survey
from ekman_expressions.faces.cropping import UnusableImage, read_source

# What a miniature copy consists of (names of tiny images; then texts by name), which images are used (id,
# person, expression, the neutral image of the person), and what is left out, with a part of the reason.
JAFFE = (
    "jaffe",
    "KA.AN1.39.tiff KA_AN1_39.png KA.XX1.40.tiff me.png README NA.HA2.3.tiff.png sub/YM.SU1.2.tiff",
    {},
    # NA is a person, not a missing value.
    "KA.AN1.39 KA anger, NA.HA2.3 NA happiness, YM.SU1.2 YM surprise",
    {
        "KA_AN1_39.png": "KA.AN1.39.tiff is used",
        "KA.XX1.40.tiff": "the code XX is no expression",
        "me.png": "not like",
    },
)
CKPLUS48 = (
    "ckplus48",
    "CK+48/anger/S010_004_00000017.png CK+48/contempt/S138_004_00000019.png CK+48/smug/S010_004_00000018.png "
    "CK+48/anger/Thumbs.db",
    {},
    "S010_004_00000017 S010 anger, S138_004_00000019 S138 contempt",
    {"CK+48/smug/S010_004_00000018.png": "the code SMUG is no expression"},
)


def ck_files(sequences, images="cohn-kanade-images", labels="Emotion"):
    """Names of images, and label files: for the last frame, or frame 2."""
    names, texts = [], {}
    for key, (label, *frames) in sequences.items():
        stem = key.replace("/", "_")
        names += [f"{images}/{key}/{stem}_{frame:08d}.png" for frame in frames]
        if label is not None:
            texts[f"{labels}/{key}/{stem}_{max(*frames, 2):08d}_emotion.txt"] = label
    return names, texts


CK_NAMES, CK_TEXTS = ck_files(
    {
        "S010/001": (None, 1, 2), "S010/002": ("   5.0000000e+00\n", 1, 2), "S010/003": ("8.0", 1, 2),
        "S010/005": (b"\xff\xfe\x00", 1, 2), "S010/006": ("nan", 1, 2),
        "S011/001": ("0", 1, 2), "S011/002": ("7", 9, 10, 11), "S011/003": ("7", 1, 2), "S011/005": ("6", 1),
    }
)  # fmt: skip
CKPLUS = (
    "ckplus",
    # The frame after the labelled one is not taken.
    " ".join(CK_NAMES) + " cohn-kanade-images/S010/002/S010_002_00000003.png"
    " cohn-kanade-images/.DS_Store"
    " cohn-kanade-images/S010/002/S099_002_00000009.png cohn-kanade-images/S010/002/S010_002_00000002.tiff",
    CK_TEXTS
    | {
        "Emotion/S011/003/S011_003_00000001_emotion.txt": "1",
        "Emotion/S013/001/S013_001_00000001_emotion.txt": "1",
        "FACS/S010/002/S010_002_00000002_facs.txt": "5 3",
    },
    "S010_002_00000001 S010 neutral, S010_002_00000002 S010 happiness S010_002_00000001, "
    "S011_001_00000002 S011 neutral, S011_002_00000009 S011 neutral, "
    "S011_002_00000011 S011 surprise S011_002_00000009, S011_005_00000001 S011 sadness",
    {
        "S010/001": "no emotion label",
        "S010/003": "its label '8.0' is none of 0 to 7",
        "S010/005": "is none of 0 to 7",
        "S010/006": "'nan' is none of",
        "S011/003": "2 label files",
        "Emotion/S013/001/S013_001_00000001_emotion.txt": "a label without a sequence of images",
        "cohn-kanade-images/S010/002/S099_002_00000009.png": "not like",
        "cohn-kanade-images/S010/002/S010_002_00000002.tiff": "a second file for one frame",
    },
)
WSEFEP = (
    "wsefep",
    "p/MK_1.jpg p/MK_2.jpg p/MK1_3.jpg p/MK_4.jpg p/MK_6.jpg p/one.jpg",
    {
        "sheet.csv": "Nr;  picture id ;DISPLAY;Displayer ID\n1;MK_1.JPG;Joy;MK\n2;2;fear;MK\n;;;\n"
        '3;mk1_3;"anger";MK1\n4;MK_4;smug;MK\n6;MK_2;fear;MK\n7;MK_6;joy;\n10;MK_9;joy;MK\n',
        "other.csv": "a,b\n1,2\n",
    },
    "mk1_3 MK1 anger, mk_1 MK happiness, mk_2 MK fear",
    {
        "sheet.csv, line 6": "'smug' is no expression",
        "sheet.csv, line 7": "its picture is listed before",
        "sheet.csv, line 8": "does not say who is seen",
        "sheet.csv, line 9": "there is no such picture",
        "p/one.jpg": "not in the list",
    },
)
AFFECT_ROWS = [f"{number % 3}/{number:040x}.jpg,1,1.5;1.5,{number % 11}" for number in range(12)]
AFFECTNET = (
    "affectnet",
    " ".join(f"images/{row.split(',')[0]}" for row in AFFECT_ROWS[1:])
    + f" images/9/unlisted.jpg images/1/{1:040x}.png",
    {
        "lists/training.csv": "subDirectory_filePath,x,landmarks,expression\n" + "\n".join(AFFECT_ROWS[:11]),
        "lists/validation.csv": f"subDirectory_filePath,x,landmarks,expression\n{AFFECT_ROWS[11]}",
        "readme.csv": "a,b\n1,2\n",
    },
    ", ".join(
        f"images_{n % 3}_{n:040x} images/{n % 3}/{n:040x} {name}"
        for n, name in enumerate("happiness sadness surprise fear disgust anger contempt".split(), start=1)
    )
    + f", images_2_{11:040x} images/2/{11:040x} neutral",
    {
        "lists/training.csv: 0/" + "0" * 40 + ".jpg": "there is no such picture",
        "images/9/unlisted.jpg": "not in the list",
        f"images/1/{1:040x}.png": "another file of the same picture is used",
    }
    | {f"lists/training.csv: {n % 3}/{n:040x}.jpg": "is no expression" for n in (8, 9, 10)},
)
BU_CODES = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise")
BU_4DFE = (
    "bu4dfe",
    " ".join(
        [f"a/F001/Angry/{frame:03d}.jpg" for frame in range(38)]
        + [f"b/m002/Fear/{frame:03d}.jpg" for frame in (20, 25, 30, 35, 40)]
    )
    + " a/F001/Angry/20.png a/F001/Smug/20.png",
    {"a/F001/Angry/000.wrl": "mesh"},
    "F001_Angry_000 F001 neutral, "
    + ", ".join(f"F001_Angry_{frame:03d} F001 anger F001_Angry_000" for frame in (20, 25, 30, 35))
    + ", "
    + ", ".join(f"M002_Fear_{frame:03d} M002 fear" for frame in (20, 25, 30, 35, 40)),
    {
        "a/F001/Angry/20.png": "a second file for one frame",
        "a/F001/Smug/20.png": "not like F001/Angry/000.jpg",
        "F001/Angry/040": "no such frame",
    }
    | {f"F001/{code}": "no such sequence" for code in BU_CODES if code != "Angry"}
    | {f"M002/{code}": "no such sequence" for code in BU_CODES if code != "Fear"},
)
KDEF = (
    "kdef",
    "AF01AFS.JPG AF01ANS.JPG BM35NES.JPG BM35HAHL.JPG",
    {},
    "AF01AFS F01 fear, AF01ANS F01 anger, BM35NES M35 neutral",
    {"BM35HAHL.JPG": "another view"},
)
RAFD = (
    "rafd",
    "a/Rafd090_01_Caucasian_female_contemptuous_frontal.jpg a/Rafd045_01_Caucasian_female_angry_left.jpg",
    {},
    "090_01_CONTEMPTUOUS_FRONTAL 01 contempt",
    {"a/Rafd045_01_Caucasian_female_angry_left.jpg": "another view"},
)
RAF_LIST = "EmoLabel/list_patition_label.txt"
RAFDB = (
    "rafdb",
    "Image/aligned/train_00001_aligned.jpg Image/original/train_00001.jpg Image/original/test_0002.jpg "
    "Image/original/test_0003.jpg Image/original/test_0009.jpg",
    {RAF_LIST: "train_00001.jpg 5\ntest_0002.jpg 1\ntest_0003.jpg 9\ntest_0004.jpg 2\n\ntest_0002.jpg 2\n"},
    "test_0002 test_0002 surprise, train_00001 train_00001 sadness",
    {
        "Image/original/train_00001.jpg": "another file of the same picture is used",
        "Image/original/test_0009.jpg": "not in the list",
        f"{RAF_LIST}, line 3: test_0003.jpg": "the label '9' is no expression",
        f"{RAF_LIST}, line 4: test_0004.jpg": "there is no such picture",
        f"{RAF_LIST}, line 6: test_0002.jpg": "its picture is listed before",
    },
)


def write(root, names, texts):
    for name in names:
        put(root / name)
    for name, text in texts.items():
        put(root / name, text)


@pytest.mark.parametrize(
    "name, images, texts, used, left_out",
    [JAFFE, CKPLUS, CKPLUS48, WSEFEP, AFFECTNET, BU_4DFE, KDEF, RAFD, RAFDB],
)
def test_a_copy_in_small_is_used_or_listed(tmp_path, name, images, texts, used, left_out):
    write(tmp_path, images.split(), texts)
    result = survey(name, tmp_path)
    told = result.rows.reindex(columns=["subject", "expression", "neutral"], fill_value="").to_numpy()
    told = [" ".join(cells).replace(f"{name}_", "").replace(f"{name}/", "").strip() for cells in told]
    found = [" ".join(pair) for pair in zip(ids(result, name), told, strict=True)]
    assert sorted(found) == sorted(used.split(", "))
    why = reasons(result)
    assert sorted(why) == sorted(left_out)
    assert all(part in why[item] for item, part in left_out.items())


def test_counts_of_complete_copies():
    """As the publications of the databases have them, neutral and contempt last."""
    names = [*EXPRESSIONS, "neutral", "contempt"]
    for name, images, persons in (
        ("jaffe", (30, 29, 32, 31, 31, 30, 30, 0), 10),
        ("ckplus", (45, 59, 25, 69, 28, 83, 327, 18), 118),
        ("ckplus48", (135, 177, 75, 207, 84, 249, 0, 54), 118),
        ("wsefep", (30, 30, 30, 30, 30, 30, 30, 0), 30),
        ("bu4dfe", (505, 505, 505, 505, 505, 505, 606, 0), 101),
    ):
        known = DATABASES[name]
        assert tuple(known.images.get(label, 0) for label in names) == images and known.subjects == persons


# CK+


def test_ckplus_frames_in_another_layout_and_counts(tmp_path):
    images = "extended-cohn-kanade-images/cohn-kanade-images"
    both = {"S005/001": ("3", 1, 2), "S006/001": ("3", 1, 2)}
    write(tmp_path, *ck_files(both, images, "Emotion_labels/Emotion"))
    result = survey("ckplus", tmp_path)
    assert ids(result, "ckplus") == [f"S00{n}_001_0000000{frame}" for n in (5, 6) for frame in (1, 2)]
    assert "57 fewer" in result.summary() and "116 fewer" in result.summary()
    two = survey("ckplus", tmp_path, {"frames": 2})
    assert list(two.rows["expression"]) == ["disgust"] * 4 and two.expected["surprise"] == 166


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
        f"{name}, row {row}": f"the label {label!r} is none of 0 to 6" for row, label in ((8, "7"), (9, ""))
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


def test_affectnet_by_the_annotations_beside_the_pictures(tmp_path):
    """Numbered pictures, the same numbers in both sets, an array for each."""
    for part in ("train_set", "val_set"):
        for place, label in enumerate(["6", 1, np.array("9"), np.array(["x"], object)]):
            put(tmp_path / part / "images" / f"{place}.jpg")
            (tmp_path / part / "annotations").mkdir(exist_ok=True)
            for kind, value in (("exp", label), ("val", "0.5"), ("lnd", np.ones(136))):
                np.save(tmp_path / part / "annotations" / f"{place}_{kind}.npy", value)
    result = survey("affectnet", tmp_path)
    assert ids(result, "affectnet") == [f"{part}_set_images_{n}" for part in ("train", "val") for n in (0, 1)]
    assert list(result.rows["expression"]) == ["anger", "happiness"] * 2
    why = reasons(result)
    assert len(why) == 4 and why["val_set/annotations/2_exp.npy"] == "the label '9' is no expression"
    assert "allow_pickle" in why["train_set/annotations/3_exp.npy"]


# FEGA, whose file names tell people's names


def test_fega_counts_people_and_never_tells_a_name(tmp_path):
    root = fega(tmp_path / "faces", (("Zenobia", "F", 31), ("Ósgood Smith_Jr", "M", 44)))
    put(root / "0_F_31_Zenobia_Felice_9.png")
    put(root / "Zenobia portrait.png")
    put(root / "0_F_31_Zenobia_Paura_9.png", b"")
    put(root / "Zenobia" / "0_F_31_Zenobia_Paura_1.png", png(77_777))
    (root / "0_F_31_Zenobia_Paura_8.png").symlink_to(tmp_path / "nowhere")
    result = survey("fega", root)
    assert result.private and result.subjects == 2 and result.expected_subjects == 51
    assert result.counts()["found"].to_dict() == dict.fromkeys((*EXPRESSIONS, "neutral"), 4)
    rows = result.rows.drop(columns="path")
    told = "\n".join((rows.to_csv(), result.left_out.to_csv(), *result.notes, result.summary()))
    told = unicodedata.normalize("NFKD", told).lower()
    assert not any(name in told for name in ("zenobia", "osgood", "smith", "portrait"))
    assert len(result.left_out) == 5 and all(result.left_out["item"].str.startswith(("sha256:", "(")))
    # The owner finds the file by its checksum.
    assert f"sha256:{hashlib.sha256(PIXEL).hexdigest()[:16]}" in set(result.left_out["item"])


def test_fega_ids_cannot_be_computed_from_a_name_and_do_not_depend_on_the_others(tmp_path):
    people = (("Zenobia", "F", 31), ("Osgood", "M", 44))
    one = survey("fega", fega(tmp_path / "a", people)).rows
    # The same name with other faces is another id.
    other = survey("fega", fega(tmp_path / "b", (("Nobody", "F", 20), *people))).rows
    assert not set(one["subject"]) & set(other["subject"])
    for path in (tmp_path / "a").glob("*Osgood*"):
        path.unlink()
    alone = survey("fega", tmp_path / "a").rows
    assert set(alone["subject"]) < set(one["subject"]) and set(alone["image_id"]) < set(one["image_id"])


def test_fega_people_of_one_name(tmp_path):
    root = fega(tmp_path, (("Ana", "F", 20), ("Ana", "F", 60), ("Leo", "M", 30)), repeats=1)
    # The same name decomposed, as macOS writes it, and in capitals, is the same.
    put(root / "0_M_30_LEO_Paura_2.png", png(1000))
    put(root / unicodedata.normalize("NFD", "0_M_30_José_Paura_1.png"), png(2000))
    put(root / "0_M_30_José_Paura_2.png", png(2001))
    together = survey("fega", root)
    assert together.subjects == 3
    assert any("1 names come with several ages" in note for note in together.notes)


# All databases


SHEET = "Displayer ID,Picture ID,Display\nMK,MK_1,joy\n"


@pytest.mark.parametrize(
    "name, files, message",
    [
        ("ckplus", {CK_NAMES[0]: ""}, "no file like Emotion/S005/001.*it holds cohn-kanade-images/"),
        ("affectnet", {"my pictures/a.png": ""}, "training.csv.*it holds my pictures/"),
        ("wsefep", {"MK_1.jpg": "", "a.csv": SHEET, "b.csv": SHEET}, "no norms sheet.*it holds MK_1.jpg, a"),
        ("fega", {"Zenobia/Zenobia 1.png": ""}, "it holds 1 folders and 0 files"),
        ("ckplus", {"Emotion_labels.zip": ""}, "Unpack the archives"),
        ("ckplus", {"anger/S005_001.png": ""}, "any other name, with the option 'subject'"),
    ],
)
def test_a_wrong_root_says_what_was_looked_for_and_what_is_there(tmp_path, name, files, message):
    write(tmp_path / "root", [], files)
    with pytest.raises(MissingError, match=message) as error:
        survey(name, tmp_path / "root")
    assert "Zenobia" not in str(error.value)
    with pytest.raises(MissingError, match="that folder does not exist"):
        survey(name, tmp_path / "absent")
    with pytest.raises(MissingError, match="that is a file"):
        survey(name, tmp_path / "root" / list(files)[0])


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
        ({"ckplus": {"frame": 3}}, r"\[faces.options.ckplus\]: Unknown setting 'frame'.*, frames"),
        ({"ckplus": {"frames": 0}}, "'frames' must be >= 1"),
        ({"bu4dfe": {"frames": [1, "2"]}}, r"options.bu4dfe\]: 'frames.1' must"),
        ({"mine": {"subject": "("}}, r"options.mine\]: 'subject' must be a valid regular expression"),
    ],
)
def test_options_are_checked_with_the_settings(options, message):
    with pytest.raises(SettingsError, match=message):
        faces = {"datasets": ("ckplus", "bu4dfe", "mine"), "options": options}
        Experiment(name="trial", networks=("WeiNet",), faces=faces)


def test_command_line_lists_databases_and_checks_a_copy(tmp_path, capsys):
    assert cli.main(["datasets"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*DATABASES, "zenodo.org", "CC0"))
    assert cli.main(["datasets", "jaffe"]) == 0
    assert "KA.AN1.39.tiff" in capsys.readouterr().out
    put(tmp_path / "F001" / "Angry" / "001.jpg")
    assert cli.main(["datasets", "bu4dfe", str(tmp_path), "--option", "frames=[1, 2]"]) == 0
    text = capsys.readouterr().out
    assert all(f"{number} fewer" in text for number in (201, 606, 100))
    # Where the first frame is taken itself, no neutral image is expected.
    assert survey("bu4dfe", tmp_path, {"frames": [0, 1]}).expected["neutral"] == 0
    for arguments, told in ((["bu4dfe", "--option", "frames"], "KEY=VALUE"), (["ckplus"], "it holds F001/")):
        assert cli.main(["datasets", arguments[0], str(tmp_path), *arguments[1:]]) == 2
        assert told in capsys.readouterr().err
