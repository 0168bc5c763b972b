"""The step 'faces', the reading of what it wrote, and images that are bad, odd or crowded."""

import shutil

import numpy as np
import pandas as pd
import pytest
from made_databases import BUNDLED, experiment_on, small_database, write_database
from PIL import Image

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import read_arrays, read_image, read_json
from ekman_expressions.faces import landmark_outliers
from ekman_expressions.study import read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import (
    _face_path,
    _landmarks_path,
    prepared_faces,
    read_faces,
    read_landmarks,
    read_manifest,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    small_database(folder / "mine")
    experiment = experiment_on(folder)
    return experiment, run_steps(experiment, "faces")


def test_prepare_writes_faces_landmarks_and_manifest(prepared):
    experiment, run = prepared
    assert (run.done, run.skipped, run.omissions) == (6, 0, [])
    assert "faces without a neutral face of the same person: 4" in run.notes
    manifest = read_manifest(experiment)
    assert list(manifest["image_id"]) == sorted(manifest["image_id"]) and len(manifest) == 6
    assert set(manifest["subject"]) == {"mine/000", "mine/001", "mine/002"}
    assert set(manifest["fold"]) == {"CV1", "CV2"}
    for row in manifest.itertuples():
        assert experiment.faces_folder / row.path == _face_path(experiment, row.image_id)
        assert read_image(experiment.faces_folder / row.path).shape == (64, 64, 3)
        points = read_landmarks(experiment, row.image_id)
        eyes = points[36:48].reshape(2, 6, 2).mean(axis=1)
        np.testing.assert_allclose(eyes.mean(axis=0), [0.5, 0.38], atol=1e-5)
        assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1e-5) and eyes[0, 0] < eyes[1, 0]
    # Two expressions only: said for each fold.
    lacks = [note for note in run.notes if "has no image of disgust, fear, happiness, sadness" in note]
    assert len(lacks) == 2
    assert read_json(experiment.faces_folder / "run.json")["notes"] == run.notes


def test_strange_neutral_faces_are_noted(tmp_path):
    """A smile that is called neutral, and another person's neutral face."""
    named = {"id03_anger_0": "id03_happiness_0", "id05_anger_0": "id18_neutral_0"}
    rows = []
    (tmp_path / "mine").mkdir()
    for number, pair in enumerate(named.items()):
        for name, expression in zip(pair, ("anger", "neutral"), strict=True):
            shutil.copy(BUNDLED / "images" / f"{name}.webp", tmp_path / "mine" / f"{name}.webp")
            rows.append((name, f"{name}.webp", str(number), expression))
    write_database(tmp_path / "mine", rows, neutral=[named.get(row[0], "") for row in rows])
    experiment = experiment_on(tmp_path)
    run = run_steps(experiment, "faces")
    assert "neutral faces that do not look neutral, 1: mine_id03_happiness_0" in run.notes
    assert "faces whose neutral face may be another person's, 1: mine_id05_anger_0" in run.notes
    assert read_manifest(experiment)["neutral"].tolist() == ["mine_id03_happiness_0", "mine_id18_neutral_0"]
    actions = pd.read_csv(experiment.faces_folder / "blendshapes.csv", index_col="image_id")
    assert actions.shape == (4, 52) and actions["mouthSmileLeft"].idxmax() == "mine_id03_happiness_0"


def test_faces_are_read_at_any_size_in_the_order_asked(prepared):
    experiment, _ = prepared
    ids = list(read_manifest(experiment)["image_id"])[::-1]
    whole, half = read_faces(experiment, ids, 64), read_faces(experiment, ids, 32)
    np.testing.assert_array_equal(np.rint(whole[2] * 255), read_image(_face_path(experiment, ids[2])))
    np.testing.assert_allclose(half, whole.reshape(6, 32, 2, 32, 2, 3).mean(axis=(2, 4)), atol=1e-6)
    together = prepared_faces(experiment, ids)
    np.testing.assert_array_equal(together.at(32), half)
    assert list(together.table["image_id"]) == ids and "fold" in together.table


def test_a_changed_image_or_table_is_noticed(tmp_path):
    rows = small_database(tmp_path / "mine", subjects=2)
    experiment = experiment_on(tmp_path)
    run_steps(experiment, "faces")
    before = read_manifest(experiment).set_index("image_id")["sha256"]
    shutil.copy(BUNDLED / "images" / "id07_anger_1.webp", tmp_path / "mine" / rows[0][1])
    run = run_steps(experiment, "faces")
    assert (run.done, run.skipped) == (1, 3)
    after = read_manifest(experiment).set_index("image_id")["sha256"]
    assert list(after.index[after != before]) == [f"mine_{rows[0][0]}"]
    write_database(tmp_path / "mine", [(*row[:3], "fear" if row[3] == "anger" else row[3]) for row in rows])
    run = run_steps(experiment, "faces")
    assert (run.done, run.skipped) == (0, 4)
    assert set(read_manifest(experiment)["expression"]) == {"fear", "surprise"}


def test_what_stops_the_whole_step(tmp_path, monkeypatch):
    clash, absent, model = (tmp_path / name for name in ("clash", "absent", "model"))
    write_database(clash / "a", [("b_c", "x.png", "s", "anger")])
    write_database(clash / "a_b", [("c", "x.png", "s", "anger")])
    with pytest.raises(DataError, match="give the same image_id: a_b_c"):
        run_steps(experiment_on(clash, names=("a", "a_b")), "faces")
    rows = [(f"i{number}", f"i{number}.png", f"s{number}", "anger") for number in range(3)]
    write_database(absent / "mine", rows)
    with pytest.raises(DataError, match="No usable face is left for CV1, CV2: 3 images .*no such image"):
        run_steps(experiment_on(absent), "faces")
    # A wrong landmark model is not blamed on the images.
    small_database(model / "mine")
    (tmp_path / "wrong.task").write_bytes(b"something else")
    monkeypatch.setenv("EKMAN_EXPRESSIONS_LANDMARKER", str(tmp_path / "wrong.task"))
    with pytest.raises(MissingError, match="sha256"):
        run_steps(experiment_on(model), "faces")


@pytest.fixture
def damaged(prepared, tmp_path):
    experiment, _ = prepared
    shutil.copytree(experiment.root, tmp_path / "root")
    return experiment.replace(root=tmp_path / "root")


def test_damaged_manifests_are_refused(damaged):
    table = read_manifest(damaged)
    for change, message in (
        (table.assign(fold="CV9"), "has the fold CV9"),
        (table.assign(image_id="same"), "more than once: same"),
        (table.assign(subject="mine/everyone"), "more than one fold: mine/everyone"),
        (table.drop(columns="fold"), "lacks the columns 'fold'"),
    ):
        change.to_csv(damaged.manifest_path, index=False)
        with pytest.raises(DataError, match=message):
            read_manifest(damaged)


def test_damaged_faces_and_landmarks_are_refused(damaged):
    experiment = damaged
    image_id = read_manifest(experiment)["image_id"][0]
    Image.new("RGB", (30, 20)).save(_face_path(experiment, image_id))
    with pytest.raises(DataError, match="64 pixels square .* is 30 x 20"):
        read_faces(experiment, [image_id], 32)
    path = _landmarks_path(experiment, image_id)
    before = path.read_bytes()
    np.savez(path, points=np.full((68, 2), np.nan))
    with pytest.raises(DataError, match="68 finite points"):
        read_landmarks(experiment, image_id)
    # The step makes both anew.
    path.write_bytes(before[:100])
    assert run_steps(experiment, "faces").done == 1 and path.read_bytes() == before


# Images


def beside(face, other):
    """One picture of two faces, the second smaller."""
    both = Image.new("RGB", (560, 256))
    both.paste(face, (0, 0))
    both.paste(other.resize((200, 200)), (330, 20))
    return both


def test_bad_crowded_and_wide_images_are_left_out_or_reported_by_name_each_time(tmp_path):
    rows = small_database(tmp_path / "mine", subjects=2)
    images = tmp_path / "mine" / "my faces"
    good = (images / f"{rows[0][0]}é.webp").read_bytes()
    (images / "cut.jpg").write_bytes(good[: len(good) // 2])
    (images / "text.jpg").write_text("no image")
    Image.new("RGB", (200, 200), "teal").save(images / "plain.jpg")
    bad = [(name, f"my faces/{name}.jpg", "000", "fear") for name in ("cut", "text", "plain", "absent")]
    write_database(tmp_path / "mine", rows + bad)
    crowded, wide = rows[-2:]
    face = Image.open(BUNDLED / "images" / "id05_anger_0.webp").convert("RGB")
    beside(face, face).save(tmp_path / "mine" / crowded[1])
    large = Image.new("RGB", (2200, 2200), "gray")
    large.paste(face, (600, 700))
    large.save(tmp_path / "mine" / wide[1])
    experiment = experiment_on(tmp_path)
    for made in (4, 0):
        run = run_steps(experiment, "faces")
        reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
        # By the path in the database, whose own place is nobody's business.
        assert reasons.pop("mine_cut").startswith("my faces/cut.jpg: the image cannot be read: it is damaged")
        assert reasons == {
            "mine_text": "my faces/text.jpg: the image cannot be read: "
            "it is no image of a known format, or cut off at its start",
            "mine_plain": "my faces/plain.jpg: no face found",
            "mine_absent": "my faces/absent.jpg: there is no such image",
        }
        assert f"mine_{crowded[0]} shows 2 faces: the largest is used" in run.notes
        assert f"faces found on a second look only, 1: mine_{wide[0]}" in run.notes
        assert (run.done, len(read_manifest(experiment))) == (made, 4)


def test_names_in_file_names_get_nowhere(tmp_path, capfd):
    """FEGA's file names say who is seen; nothing that is written or shown may."""
    root = tmp_path / "fega"
    root.mkdir()
    labels = {"Arrabbiato": "anger", "Sorpresa": "surprise"}
    for person, (name, age) in enumerate({"Zenobia": 31, "Ósgood": 44}.items()):
        for label, expression in labels.items():
            image = (BUNDLED / "images" / f"id{person:02d}_{expression}_0.webp").read_bytes()
            (root / f"0_F_{age}_{name}_{label}_1.png").write_bytes(image)
    (root / "0_F_31_Zenobia_Paura_1.png").write_bytes(image[:2000])
    (root / "0_F_31_Zenobia_Paura_2.png").write_text("no image")
    (root / "0_F_31_Zenobia_Paura_3.png").symlink_to(root / "Zenobia is gone.png")
    (root / "Zenobia on holiday.png").write_bytes(image)
    Image.new("RGB", (200, 200), "teal").save(root / "0_F_44_Ósgood_Paura_5.png")
    face = Image.open(root / "0_F_44_Ósgood_Sorpresa_1.png")
    beside(face, face).save(root / "0_F_44_Ósgood_Tristezza_1.png")
    experiment = experiment_on(tmp_path, names=("fega",))
    for _ in range(2):
        run = run_steps(experiment, "faces")
        assert run.done + run.skipped == 5 and len(run.omissions) >= 5
        assert any("shows 2 faces" in note for note in run.notes)
        print(run.summary("faces"))
    shown = "".join(capfd.readouterr()).encode()
    files = [path for path in experiment.root.rglob("*") if path.is_file()]
    written = b"".join(str(path.relative_to(experiment.root)).encode() + path.read_bytes() for path in files)
    for word in ("Zenobia", "sgood", str(root)):
        assert word.lower().encode() not in (shown + written).lower()


def test_landmark_outliers_are_written_and_named(tmp_path):
    """Landmarks that are mirrored come first, and the report names the face."""
    small_database(tmp_path / "mine", subjects=11)
    experiment = experiment_on(tmp_path)
    run_steps(experiment, "faces")
    table = read_results(experiment, "faces", "landmark_outliers")
    points = np.array([read_landmarks(experiment, image_id) for image_id in table["image_id"]])
    scores = landmark_outliers(points)
    pd.testing.assert_frame_equal(table.drop(columns="image_id"), scores, check_exact=False, atol=1e-6)
    assert len(table) == 22 and table["residual"].is_monotonic_decreasing and table["residual"].max() < 0.1
    path = _landmarks_path(experiment, "mine_id04_anger_0")
    stored = read_arrays(path)
    stored["points"][:, 0] = 1 - stored["points"][:, 0]
    np.savez(path, **stored)
    notes = run_steps(experiment, "faces").notes
    assert "faces with a high landmark outlier score, to be looked at, 1: mine_id04_anger_0" in notes
    assert read_results(experiment, "faces", "landmark_outliers")["image_id"][0] == "mine_id04_anger_0"
