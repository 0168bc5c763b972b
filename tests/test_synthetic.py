"""The synthetic set: its reading, the landmark error, and what the bundled set's data card says of it."""

import numpy as np
import pandas as pd
import pytest
from made_faces import make_experiment
from made_synthetic import LANDMARKS, flat, prepared, write_set
from PIL import Image

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.files import write_arrays
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.landmarks import _landmark_error
from ekman_expressions.study.known_answers import known_faces, landmark_errors
from ekman_expressions.study.prepared import _source_landmarks

LAYERS = {"total": flat(255), "photometric": flat(51), "au04": flat(17)}


@pytest.fixture
def root(tmp_path):
    ramp = np.arange(112, dtype=np.uint8)[:, None].repeat(112, axis=1)
    return write_set(
        tmp_path / "set",
        [
            ("id00", "neutral", 0, 90, {}),
            ("id00", "anger", 0, 100, {**LAYERS, "au12": ramp}),
            ("id01", "neutral", 0, 110, {}),
            ("id01", "fear", 0, 120, LAYERS),
        ],
    )


def test_layers_are_in_physical_units_and_in_the_order_of_the_manifest(root):
    layers = synthetic.read_layers("id00_anger_0", root)
    assert list(layers) == ["total", "photometric", "au04", "au12"]
    assert all(layer.shape == (112, 112) and layer.dtype == np.float32 for layer in layers.values())
    # 255 is 20 mm, or half of the range of RGB.
    np.testing.assert_allclose(layers["total"], 20)
    np.testing.assert_allclose(layers["photometric"], 0.1)
    np.testing.assert_allclose(layers["au04"], 17 / 255 * 20, rtol=1e-6)
    np.testing.assert_allclose(layers["au12"][:, 3], np.arange(112) * 20 / 255, rtol=1e-6)
    assert synthetic.read_layers("id00_neutral_0", root) == {}


def test_landmarks_of_prepared_faces_go_back_into_their_source_images_of_the_same_set(root, tmp_path):
    experiment = prepared(tmp_path, root)
    found = _source_landmarks(experiment, "synthetic_id00_anger_0")
    np.testing.assert_allclose(found, LANDMARKS, atol=1e-4)
    rows = known_faces(experiment)[["source_id", "subject"]]
    assert rows.to_numpy().tolist() == [["id00_anger_0", "synthetic/id00"], ["id01_fear_0", "synthetic/id01"]]
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("id01_fear_0", "id01_fear_9"))
    with pytest.raises(DataError, match="1 of the prepared faces.*id01_fear_0.*set has changed"):
        known_faces(experiment)
    with pytest.raises(SettingsError, match="'made': the prepared faces .* have no known answers"):
        known_faces(make_experiment(tmp_path / "made"))


def test_landmark_error_by_hand():
    truth = np.zeros((2, 68, 2))
    truth[:, 36], truth[0, 45], truth[1, 45] = (10, 10), (60, 10), (10, 210)
    detected = truth.copy()
    # Eye distances are 50 and 200: 5 and 20 pixels are both 10 %.
    detected[0, :17] += (3, 4)
    detected[1, :17] += (12, 16)
    # Opposite in the two faces: an error, but no bias.
    detected[0, 48:68] += (1, 0)
    detected[1, 48:68] -= (4, 0)
    # Of 12 points one is off, by 8 %, in one face.
    detected[0, 40] += (0, 4)
    table = _landmark_error(detected, truth)
    assert list(table.index) == ["jaw", "brows", "nose", "eyes", "mouth", "all"]
    assert table["n"].tolist() == [34, 20, 18, 24, 40, 136]
    expected = {"jaw": [10] * 4, "mouth": [2, 2, 2, 0], "eyes": [1 / 3, 0, 0, 1 / 3]}
    measures = ["mean", "median", "p95", "bias"]
    for part, values in expected.items():
        np.testing.assert_allclose(table.loc[part, measures].tolist(), values, atol=1e-9)
    np.testing.assert_allclose(table.loc["all", "mean"], (34 * 10 + 40 * 2 + 8) / 136)
    assert table.loc["all", "median"] == pytest.approx(2)
    assert (table.loc[["brows", "nose"], measures] == 0).all(axis=None)


def test_landmark_error_of_an_experiment(root, tmp_path):
    between = np.linalg.norm(LANDMARKS[36] - LANDMARKS[45])
    shifted = LANDMARKS + np.array([0.6, -0.8]) * between / 100
    experiment = prepared(tmp_path, root, detected=shifted)
    table = landmark_errors(experiment)
    np.testing.assert_allclose(table[["mean", "median", "p95", "bias"]], 1, atol=1e-4)
    assert table.loc["all", "n"] == 2 * 68
    arrays = {"image_id": np.array(["id00_anger_0"]), "points": np.float32([LANDMARKS])}
    write_arrays(root / "landmarks.npz", arrays)
    with pytest.raises(DataError, match="lacks 1.*id01_fear_0"):
        landmark_errors(experiment)


ROOT = synthetic.folder()
SIDE = synthetic.SIDE


@pytest.fixture(scope="module")
def manifest():
    return pd.read_csv(ROOT / "manifest.csv", keep_default_na=False)


def test_each_image_has_a_layer_for_each_active_unit_and_little_displacement_is_cut_off(manifest):
    """Only some jaws drop by 20 mm or more; the figures are those of the data card."""
    units = [column for column in manifest if column.startswith("au")]
    counts = {}
    for row in manifest.to_dict("records"):
        with Image.open(ROOT / row["path"]) as image:
            assert image.mode == "RGB" and image.size == (2 * SIDE, 2 * SIDE)
        layers = synthetic.read_layers(row["image_id"])
        if row["expression"] == "neutral":
            assert not layers and not row["mask"]
            continue
        assert list(layers) == ["total", "photometric", *(unit for unit in units if row[unit] > 0)]
        moved = layers["total"]
        counts.setdefault(row["expression"], []).append([(moved >= 20).sum(), (moved > 0.5).sum()])
    cut = {name: np.divide(*np.sum(each, axis=0)) for name, each in counts.items()}
    assert cut.pop("surprise") == pytest.approx(0.022, abs=0.0005) and set(cut.values()) == {0}
