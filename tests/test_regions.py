"""Shares of regions: planted maps, intervals by hand, and the table of an experiment."""

import numpy as np
import pytest
from made_faces import make_experiment
from made_steps import stand_in

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_arrays, write_image
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.heatmaps import heatmap_path
from ekman_expressions.facespace.masks import ekman_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures import read_heatmaps
from ekman_expressions.measures.regions import _ELSEWHERE, _region_shares, region_masses
from ekman_expressions.study import read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import read_manifest

ATLAS = masks.atlas()
REGIONS = [*ATLAS.names, _ELSEWHERE]


def lit(name):
    return np.float32(ATLAS.group(name))


def test_an_even_map_has_density_one_everywhere_and_one_that_is_lit_in_a_region_all_its_mass_there():
    for level, name, mask in (
        ("group", "mouth", ATLAS.group("mouth")),
        ("region", "left_eye", ATLAS.region("left_eye")),
    ):
        even, one = (
            _region_shares(region_masses(each[None]), ["s"], seed=0, level=level).set_index("region")
            for each in (np.ones(SHAPE), np.float32(mask))
        )
        np.testing.assert_allclose(even["density"], 1)
        assert even["area"].sum() == pytest.approx(1)
        assert one.loc[name, "share"] == 1 and one["share"].sum() == 1
        assert one.loc[name, "density"] == pytest.approx(1 / mask.mean())
        # With one unit nothing is known of the others.
        assert one[["share_low", "density_high"]].isna().all(axis=None)


def test_negative_values_have_no_mass_and_what_cannot_be_measured_is_refused():
    found = region_masses((lit("mouth") - 5 * lit("eyes"))[None]).iloc[0]
    assert found["left_eye"] == 0 and found.sum() == ATLAS.group("mouth").sum()
    assert list(found.index) == REGIONS and region_masses(np.zeros((0, *SHAPE))).shape == (0, 50)
    with pytest.raises(DataError, match=r"got \(1, 9, 9\)"):
        region_masses(np.ones((1, 9, 9)))


def test_interval_by_hand_is_over_clusters_not_maps():
    # Of each of 4 subjects two maps of one mass, all in the mouth or all in the eyes.
    area = ATLAS.group("mouth").sum()
    maps = [lit("mouth")] * 2 + [lit("eyes") * area / ATLAS.group("eyes").sum()] * 2
    found = _region_shares(region_masses(np.array(maps * 2)), np.repeat(list("abcd"), 2), seed=0)
    mouth = found.set_index("region").loc["mouth"]
    assert mouth["share"] == pytest.approx(0.5)
    # Standard error of a mean of (1, 0, 1, 0): sqrt(1/3)/2 = 0.289, times t(3) = 3.18: cut off at 0 and 1.
    assert (mouth["share_low"], mouth["share_high"]) == pytest.approx((0, 1))
    many = _region_shares(region_masses(np.array(maps * 20)), np.repeat(np.arange(40), 2), seed=0)
    mouth = many.set_index("region").loc["mouth"]
    expected = 2.023 * np.sqrt(0.25 * 40 / 39 / 40)
    assert mouth["share_high"] - mouth["share"] == pytest.approx(expected, rel=0.05)


@pytest.fixture
def experiment(tmp_path):
    """Explanations that all lie in the mouth for CV1, and in the eyes for CV2."""
    found = make_experiment(tmp_path)
    with stand_in(found, "facespace"):
        for fold, name in (("CV1", "mouth"), ("CV2", "eyes")):
            rows = read_manifest(found).query("fold == @fold")
            image_ids = list(rows["image_id"][rows["expression"] == "fear"]) * 2
            maps = np.stack([lit(name)] * len(image_ids))
            if fold == "CV2":
                maps[0] = np.nan
            path = found.maps_path(found.networks[0], fold, "fear")
            write_arrays(path, {"maps": maps, "image_ids": np.array(image_ids)})
    return found


def test_step_measures_explanations_over_subjects_and_names_what_is_left_out(experiment):
    run = run_steps(experiment, "regions")
    left_out = {entry["item"]: entry["reason"] for entry in run.omissions}
    network = experiment.networks[0]
    assert "not finite" in left_out[f"{network}_CV2_Fear made_s1_fear"]
    assert "no explanation" in left_out[f"{network} anger"]
    table = read_results(experiment, "regions", "regions")
    groups = table[(table["level"] == "group") & (table["network"] == network)].set_index("region")
    mouth, eyes = (ATLAS.group(name).sum() for name in ("mouth", "eyes"))
    assert groups.loc["mouth", "share"] == pytest.approx(4 * mouth / (4 * mouth + 3 * eyes))
    assert groups.loc["mouth", ["maps", "units", "unit"]].tolist() == [7, 4, "subjects"]
    assert (groups["share_low"] <= groups["share"]).all() and set(table["expression"]) == {"fear"}


def test_heatmaps_alone_are_measured_over_folds(tmp_path):
    gray = np.uint8(255 * lit("nose"))
    for fold in ("CV1", "CV2"):
        write_image(heatmap_path(tmp_path, "fear", "VGG16", fold), gray)
    masks, lacking = np.array([ekman_mask(name) for name in EXPRESSIONS]), []
    networks, folds = ["VGG16", "WeiNet"], ["CV1", "CV2", "CV3"]
    table = read_heatmaps(tmp_path, masks, networks, folds, lambda name, _: lacking.append(name)).regions()
    assert set(table["network"]) == {"VGG16"} and set(table["unit"]) == {"folds"}
    nose = table[(table["level"] == "group") & (table["region"] == "nose")].iloc[0]
    assert nose[["share", "share_low", "units"]].tolist() == [1, 1, 2]
    assert len(lacking) == 34 and "VGG16_CV3_Fear" in " ".join(lacking)
