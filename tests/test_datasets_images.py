"""Bad, odd and crowded images in the step 'faces': prepared like any other, or named with the reason."""

import numpy as np
import pandas as pd
import pytest
from made_databases import BUNDLED, experiment_on, small_database, write_database
from PIL import Image

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import read_arrays
from ekman_expressions.study import prepared
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import landmarks_path


def test_bad_images_are_left_out_by_name(tmp_path):
    rows = small_database(tmp_path / "mine")
    images = tmp_path / "mine" / "my faces"
    good = (images / f"{rows[0][0]}é.webp").read_bytes()
    (images / "cut.jpg").write_bytes(good[: len(good) // 2])
    (images / "text.jpg").write_text("no image")
    Image.new("RGB", (200, 200), "teal").save(images / "plain.png")
    bad = [
        (name, f"my faces/{name}{end}", "000", "fear")
        for name, end in (("cut", ".jpg"), ("text", ".jpg"), ("plain", ".png"), ("absent", ".png"))
    ]
    write_database(tmp_path / "mine", rows + bad)
    run = run_steps(experiment_on(tmp_path), "faces")
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert set(reasons) == {"mine_cut", "mine_text", "mine_plain", "mine_absent"}
    # By the path in the database, whose own place is nobody's business.
    assert reasons["mine_cut"].startswith("my faces/cut.jpg: the image cannot be read: it is damaged")
    assert reasons["mine_text"] == (
        "my faces/text.jpg: the image cannot be read: "
        "it is no image of a known format, or cut off at its start"
    )
    assert reasons["mine_plain"] == "my faces/plain.png: no face found"
    assert reasons["mine_absent"] == "my faces/absent.png: there is no such image"
    assert run.done == 6 and len(prepared.read_manifest(experiment_on(tmp_path))) == 6


def test_several_faces_are_reported_each_time(tmp_path):
    small_database(tmp_path / "mine", subjects=2)
    image = tmp_path / "mine" / "my faces" / "id01_anger_0é.webp"
    face = Image.open(image).convert("RGB")
    both = Image.new("RGB", (560, 256))
    both.paste(face, (0, 0))
    both.paste(face.resize((200, 200)), (330, 20))
    both.save(image)
    experiment = experiment_on(tmp_path)
    for _ in range(2):
        run = run_steps(experiment, "faces")
        assert "mine_id01_anger_0 shows 2 faces: the largest is used" in run.notes
    (faces,) = {int(read_arrays(landmarks_path(experiment, "mine_id01_anger_0"))["faces"])}
    assert faces == 2


def test_names_in_file_names_get_nowhere(tmp_path, capfd):
    """FEGA's file names say who is seen; nothing that is written or shown may."""
    root = tmp_path / "fega"
    root.mkdir()
    labels = {"Arrabbiato": "anger", "Sorpresa": "surprise"}
    for person, (name, age) in enumerate({"Zenobia": 31, "Ósgood": 44, "Quillon": 27}.items()):
        for label, expression in labels.items():
            image = (BUNDLED / "images" / f"id{person:02d}_{expression}_0.webp").read_bytes()
            (root / f"0_F_{age}_{name}_{label}_1.png").write_bytes(image)
    (root / "0_F_31_Zenobia_Paura_1.png").write_bytes(image[:2000])
    (root / "0_F_31_Zenobia_Paura_2.png").write_text("no image")
    (root / "0_F_31_Zenobia_Paura_3.png").write_bytes(b"")
    (root / "0_F_31_Zenobia_Paura_4.png").symlink_to(root / "Zenobia is gone.png")
    (root / "0_F_44_Ósgood_Gioioso_1.png").write_bytes(image)
    (root / "Quillon on holiday.png").write_bytes(image)
    plain = Image.new("RGB", (200, 200), "teal")
    plain.save(root / "0_F_44_Ósgood_Paura_5.png")
    both = Image.new("RGB", (560, 256))
    both.paste(Image.open(root / "0_F_44_Ósgood_Sorpresa_1.png"), (0, 0))
    both.paste(Image.open(root / "0_F_27_Quillon_Sorpresa_1.png").resize((200, 200)), (330, 20))
    both.save(root / "0_F_44_Ósgood_Tristezza_1.png")
    experiment = experiment_on(tmp_path, names=("fega",))
    for _ in range(2):
        run = run_steps(experiment, "faces")
        assert run.done + run.skipped == 7 and len(run.omissions) >= 6
        assert any("shows 2 faces" in note for note in run.notes)
        print(run.summary("faces"))
    shown = "".join(capfd.readouterr()).encode()
    written = b"".join(
        str(path.relative_to(experiment.root)).encode() + path.read_bytes()
        for path in experiment.root.rglob("*")
        if path.is_file()
    )
    for word in ("Zenobia", "sgood", "Quillon", str(root)):
        assert word.lower().encode() not in (shown + written).lower()


def test_odd_images_are_prepared_like_plain_ones(tmp_path):
    """CMYK, 16 bits, alpha, turned by the camera: the same crops, whatever the container."""
    root = tmp_path / "mine"
    small_database(root)
    face = Image.open(BUNDLED / "images" / "id05_anger_0.webp").convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    odd = root / "my faces" / "odd ones, Ünüsuäl"
    odd.mkdir()
    face.save(odd / "plain.png")
    face.convert("CMYK").save(odd / "cmyk.tif")
    face.convert("RGBA").save(odd / "alpha.webp", lossless=True)
    face.transpose(Image.Transpose.ROTATE_90).save(odd / "turned.png", exif=turned)
    Image.fromarray(np.uint16(face.convert("L")) * 257).save(odd / "deep.tif")
    names = sorted(path.name for path in odd.iterdir())
    rows = [(name.split(".")[0], f"my faces/{odd.name}/{name}", "1", "fear") for name in names]
    write_database(root, rows + [("b", "my faces/id01_anger_0é.webp", "2", "fear")])
    experiment = experiment_on(tmp_path)
    assert run_steps(experiment, "faces").done == 6
    crops = prepared.read_faces(experiment, [f"mine_{row[0]}" for row in rows], 64)
    faces = dict(zip(names, crops, strict=True))
    for name, crop in faces.items():
        if name == "deep.tif":
            assert np.ptp(crop, axis=2).max() == 0
            crop, wanted = crop.mean(axis=2), faces["plain.png"] @ np.float32([0.299, 0.587, 0.114])
        else:
            wanted = faces["plain.png"]
        assert np.abs(crop - wanted).mean() < 0.02, name


def test_a_second_look_is_reported_each_time(tmp_path):
    rows = small_database(tmp_path / "mine")
    image = tmp_path / "mine" / rows[0][1]
    face = Image.open(BUNDLED / "images" / "id05_anger_0.webp").convert("RGB")
    wide = Image.new("RGB", (2200, 2200), "gray")
    wide.paste(face, (600, 700))
    wide.save(image)
    experiment = experiment_on(tmp_path)
    for _ in range(2):
        run = run_steps(experiment, "faces")
        assert f"faces found on a second look only, 1: mine_{rows[0][0]}" in run.notes


def test_residuals_are_written_and_odd_faces_named(tmp_path):
    """Landmarks that are mirrored come first, and the report names the face."""
    small_database(tmp_path / "mine", subjects=11)
    experiment = experiment_on(tmp_path)
    run_steps(experiment, "faces")
    table = prepared.outlier_table(experiment)
    written = pd.read_csv(experiment.faces_folder / "residuals.csv")
    pd.testing.assert_frame_equal(written, table, check_exact=False, atol=1e-6)
    assert len(table) == 22 and table["residual"].is_monotonic_decreasing and table["residual"].max() < 0.1
    path = landmarks_path(experiment, "mine_id04_anger_0")
    stored = read_arrays(path)
    stored["points"][:, 0] = 1 - stored["points"][:, 0]
    np.savez(path, **stored)
    notes = run_steps(experiment, "faces").notes
    assert "faces whose landmarks are odd, to be looked at, 1: mine_id04_anger_0" in notes
    assert prepared.outlier_table(experiment)["image_id"][0] == "mine_id04_anger_0"


def test_a_wrong_landmark_model_is_not_blamed_on_the_images(tmp_path, monkeypatch):
    small_database(tmp_path / "mine")
    (tmp_path / "wrong.task").write_bytes(b"something else")
    monkeypatch.setenv("EKMAN_EXPRESSIONS_LANDMARKER", str(tmp_path / "wrong.task"))
    with pytest.raises(DataError, match="sha256"):
        run_steps(experiment_on(tmp_path), "faces")


def test_without_any_usable_face_the_step_says_why(tmp_path):
    rows = [(f"i{number}", f"i{number}.png", f"s{number}", "anger") for number in range(3)]
    write_database(tmp_path / "mine", rows)
    with pytest.raises(DataError, match="No usable face is left for CV1, CV2: 3 images .*no such image"):
        run_steps(experiment_on(tmp_path), "faces")
