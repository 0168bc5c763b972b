"""The atlas of facial regions, and the Ekman masks against the released ones."""

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, read_image, write_image
from ekman_expressions.facespace import masks, warp
from ekman_expressions.measures import mask_scores
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.published import locate

RELEASED = locate(download=False)
ATLAS = masks.atlas()


@pytest.mark.skipif(RELEASED is None, reason="the released masks are not beside the checkout")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_ekman_mask_is_the_released_one(expression):
    released = read_image(masks._mask_path(RELEASED / "GROUND_TRUTH", expression), gray=True) > 127
    assert mask_scores(masks.ekman_mask(expression), released)["iou"] >= 0.99


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_ekman_mask_is_its_regions_and_one_pixel_of_border(expression):
    import cv2

    mask = masks.ekman_mask(expression)
    union = np.any([ATLAS.region(name) for name in ATLAS.expressions[expression]], axis=0)
    assert mask.shape == warp.SHAPE and mask.dtype == bool
    assert not (union & ~mask).any()
    widened = cv2.dilate(union.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert not (mask & ~widened).any()
    assert not set(ATLAS.expressions[expression]) - set(ATLAS.names)


def test_regions_tile_the_face_hull_without_overlap():
    regions, hull = np.stack([ATLAS.region(name) for name in ATLAS.names]), ATLAS.hull
    assert regions.sum(axis=0).max() == 1
    assert regions.any(axis=(1, 2)).all()
    assert not (hull & ~regions.any(axis=0)).any()
    groups = np.stack([ATLAS.group(name) for name in ATLAS.groups])
    np.testing.assert_array_equal(groups.any(axis=0), regions.any(axis=0))
    assert groups.sum() == regions.sum() == ATLAS.table()["area"].sum()
    assert ATLAS.table()["share"].sum() == pytest.approx(1)
    # The hull is bounded by the jaw.
    rows, columns = np.nonzero(hull)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (16, 208, 0, 269)
    assert hull[0, 16:208].all()


def test_write_makes_the_pictures_and_the_table(experiment):
    run = run_steps(experiment, "masks")
    assert run.done == 6 and not run.omissions
    folder = experiment.masks_folder
    assert (folder / "Anger_gt.png").is_file() and (folder / "run.json").is_file()
    for expression in EXPRESSIONS:
        gray = read_image(masks._mask_path(folder, expression), gray=True)
        np.testing.assert_array_equal(gray, 255 * np.uint8(masks.ekman_mask(expression)))
        np.testing.assert_array_equal(masks.read_mask(folder, expression), masks.ekman_mask(expression))
    table = read_csv(folder / "regions.csv", ("region", "group", "side", "area", "share", *EXPRESSIONS))
    row = table.set_index("region").loc["right_brow_inner"]
    assert row["anger"] and not row["disgust"]
    assert row["area"] == ATLAS.region("right_brow_inner").sum()


def test_read_mask_names_what_is_wrong(tmp_path):
    with pytest.raises(MissingError, match="Fear_gt.png.*'masks'"):
        masks.read_mask(tmp_path, "fear")
    write_image(masks._mask_path(tmp_path, "fear"), np.zeros((250, 224), np.uint8))
    with pytest.raises(DataError, match=r"Fear_gt.png has shape \(250, 224\).*\(275, 224\)"):
        masks.read_mask(tmp_path, "fear")


def test_parts_of_the_causal_explainer_tile_the_regions():
    np.testing.assert_array_equal(sum(map(np.uint8, ATLAS.parts.values())), ATLAS.labels > 0)
    assert len(ATLAS.parts) == 9 and not {"glabella", "jaw"} & set(ATLAS.parts)
    for part, joined in (("brows", "glabella"), ("chin", "jaw")):
        np.testing.assert_array_equal(ATLAS.parts[part], ATLAS.group(part) | ATLAS.group(joined))
