"""Heatmaps: the arithmetic by hand, the files, and what happens when faces are missing."""

import numpy as np
import pytest
from made_steps import stand_in
from matplotlib import colormaps
from PIL import Image

from ekman_expressions import Experiment
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import write_arrays, write_image
from ekman_expressions.facespace import heatmaps
from ekman_expressions.study import read_results
from ekman_expressions.study import run as run_steps

SHAPE = (275, 224)


@pytest.fixture
def experiment(tmp_path):
    smoke = Experiment.preset("smoke", root=tmp_path)
    return smoke.replace(networks=("WeiNet", "SongNet"), faces=smoke.faces.replace(folds=2))


def _maps(seed, number):
    return np.random.default_rng(seed).random((number, *SHAPE), dtype=np.float32)


def _explain(experiment, maps):
    """Write normalised explanations as the step before does: {(network, fold, expression): maps}."""
    with stand_in(experiment, "facespace"):
        for key, values in maps.items():
            ids = np.array([f"face_{place}" for place in range(len(values))])
            write_arrays(experiment.maps_path(*key), {"maps": values, "image_ids": ids})


def test_gray_stretch_by_hand():
    heatmap = np.array([[-1, 0, 1], [2, 3, -0.5], [-1, 3, 2.99]])
    # 255 (h + 1) / 4, rounded down.
    expected = np.array([[0, 63, 127], [191, 255, 31], [0, 255, 254]], np.uint8)
    np.testing.assert_array_equal(heatmaps.to_uint8(heatmap), expected, strict=True)
    assert not heatmaps.to_uint8(np.full((3, 4), 7.3)).any()


def test_jet_is_blue_when_low_and_red_when_high_in_the_file(tmp_path):
    gray = np.array([[0, 128, 255]], np.uint8)
    write_image(tmp_path / "jet.png", heatmaps._to_jet(gray))
    with Image.open(tmp_path / "jet.png") as image:
        low, middle, high = np.asarray(image.convert("RGB"))[0].astype(int)
    assert low[2] > 100 and low[0] == low[1] == 0
    assert middle[1] > 200
    assert high[0] > 100 and high[1] == high[2] == 0


def test_otsu_splits_clusters_agrees_with_scikit_image_and_marks_nothing_of_a_constant():
    from skimage.filters import threshold_otsu

    for seed in range(20):
        gray = heatmaps.to_uint8(np.random.default_rng(seed).gamma(1.5, size=(40, 30)))
        # From 0 to 255, however the last bits were rounded.
        assert (gray.min(), gray.max()) == (0, 255)
        level, above = heatmaps.threshold_otsu(gray)
        assert level == threshold_otsu(gray)
        np.testing.assert_array_equal(above, gray > level)
    for value in (0, 7, 255):
        level, above = heatmaps.threshold_otsu(np.full((3, 3), value, np.uint8))
        assert level == value and not above.any()
    with pytest.raises(DataError, match="uint8"):
        heatmaps.threshold_otsu(np.zeros((3, 3)))


def test_an_overlay_has_the_face_the_outline_of_the_mask_and_a_scale():
    gray, mask = np.zeros((40, 30), np.uint8), np.zeros((40, 30), bool)
    gray[:, 15:], mask[10:20, 5:25] = 255, True
    face = np.zeros((40, 30, 3))
    face[30:] = 1
    found = heatmaps._to_overlay(gray, face, mask).astype(int)
    assert found.shape == (40, 46, 3)
    low, high = (0.6 * np.multiply(255, colormaps["viridis"](end)[:3]) for end in (0, 255))
    for (row, column), colour in {(0, 0): low, (0, 29): high, (15, 14): low, (39, 0): low + 102}.items():
        np.testing.assert_allclose(found[row, column], colour, atol=2)
    assert (found[10, 5:25] == 255).all() and (found[10:20, 24] == 255).all()
    np.testing.assert_allclose(found[[0, -1], -1] * 0.6, [high, low], atol=2)


def test_levels_are_weighted_means_and_all_files_are_written(experiment):
    maps = {
        ("WeiNet", "CV1", "fear"): _maps(1, 3),
        ("WeiNet", "CV2", "fear"): _maps(2, 1),
        ("SongNet", "CV1", "fear"): _maps(3, 2),
    }
    _explain(experiment, maps)
    run = run_steps(experiment, "heatmaps")
    assert run.done == 3 + 2 + 1
    folder = experiment.heatmaps_folder
    one, two, three = (values.mean(axis=0, dtype=np.float64) for values in maps.values())
    network = (3 * one + 1 * two) / 4
    total = (4 * network + 2 * three) / 6
    for expected, where in ((one, ("WeiNet", "CV1")), (network, ("WeiNet",)), (total, ())):
        found = heatmaps._read_float(folder, "fear", *where)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        gray = heatmaps.read_gray(folder, "fear", *where)
        np.testing.assert_array_equal(gray, heatmaps.to_uint8(found))
    for kind in heatmaps.KINDS:
        assert (folder / kind / "heatmaps_by_cv" / "WeiNet_CV1_Fear_heatmap.png").exists()
        assert (folder / kind / "heatmaps_by_net" / "WeiNet_Fear_heatmap.png").exists()
        assert (folder / kind / "heatmaps_total" / "Fear_heatmap.png").exists()
    with Image.open(folder / "THRESHOLD" / "heatmaps_total" / "Fear_heatmap.png") as image:
        np.testing.assert_array_equal(np.asarray(image) == 255, heatmaps.threshold_otsu(gray)[1])
    table = read_results(experiment, "heatmaps", "counts")
    assert len(table) == 2 * 2 * 6 and table["images"].sum() == 6
    counts = table.set_index(["network", "fold", "expression"])["images"]
    assert counts["WeiNet", "CV1", "fear"] == 3 and counts["SongNet", "CV2", "fear"] == 0
    missing = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert missing["SongNet_CV2_Fear"].startswith("no face was predicted as fear")
    assert "Anger" in missing and "Fear" not in missing


def test_constant_and_not_finite_maps_are_listed(experiment):
    folder, broken = experiment.heatmaps_folder, _maps(1, 2)
    broken[0, 5, 5] = np.nan
    zeros = np.zeros((2, *SHAPE), np.float32)
    _explain(experiment, {("WeiNet", "CV1", "anger"): zeros, ("WeiNet", "CV1", "fear"): broken})
    run = run_steps(experiment, "heatmaps")
    listed = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert "0 everywhere" in listed["WeiNet_CV1_Anger"]
    assert not heatmaps.read_gray(folder, "anger", "WeiNet", "CV1").any()
    assert "not finite" in listed["WeiNet_CV1_Fear face_0"]
    np.testing.assert_array_equal(heatmaps._read_float(folder, "fear", "WeiNet", "CV1"), broken[1])


def test_reading_says_what_is_missing_or_misshapen(tmp_path):
    with pytest.raises(MissingError, match="'heatmaps'"):
        heatmaps.read_gray(tmp_path, "anger", "WeiNet")
    path = heatmaps.heatmap_path(tmp_path, "anger", "WeiNet")
    assert path == tmp_path / "GRAY" / "heatmaps_by_net" / "WeiNet_Anger_heatmap.png"
    write_image(path, np.zeros((250, 224), np.uint8))
    with pytest.raises(DataError, match=r"\(250, 224\).*\(275, 224\)"):
        heatmaps.read_gray(tmp_path, "anger", "WeiNet")
