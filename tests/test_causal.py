"""Mean causal maps: their place, their means, their agreement with masks, and their pictures."""

import numpy as np
import pytest
from made_synthetic import LANDMARKS, flat, prepared, write_set
from skimage.draw import polygon2mask
from test_figures import assert_readable

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.faces.cropping import _crop_transform
from ekman_expressions.facespace import masks, warp
from ekman_expressions.facespace.warp import POINTS, SHAPE
from ekman_expressions.measures.known_answers import _iou_at_equal_area
from ekman_expressions.study import known_answers

HULL = polygon2mask(SHAPE, POINTS[[*range(17), 26, 24, 19, 17]][:, ::-1] - 0.5)


def in_face_space(layer, size=96, landmarks=LANDMARKS):
    """Warp a layer of the source image whose face has these landmarks."""
    transform = _crop_transform(landmarks, size)
    units = (landmarks @ transform[:, :2].T + transform[:, 2]) / size
    return known_answers._layer_in_face_space(np.float32(layer), transform, units, size)


def stretched():
    """Landmarks whose triangles differ from the template's, each in its own way."""
    moved = LANDMARKS.copy()
    moved[48:68] += (5, 3)
    moved[17:27] -= (0, 4)
    return moved


# The way into face space


@pytest.mark.parametrize("size", [48, 96, 301])
def test_every_pixel_comes_from_its_place_in_the_source_image(size):
    # Two layers that hold the coordinates of their own pixels' centres in the source image.
    y, x = 2 * np.indices((112, 112)) + 1
    landmarks = stretched()
    vertices, barycentric = warp._pixels()
    inside = (vertices < 68).all(axis=1) & HULL.ravel()
    assert inside.sum() > 20000
    places = np.einsum("pk,pkd->pd", barycentric[inside], landmarks[vertices[inside]])
    for layer, expected in ((x, places[:, 0]), (y, places[:, 1])):
        found = in_face_space(layer, size, landmarks).ravel()[inside]
        # A slip of half a pixel of the mask would be 1.
        np.testing.assert_allclose(found, expected, atol=0.15)


# Means


@pytest.fixture
def root(tmp_path):
    """Two subjects: of the first, anger twice; of the second, anger once and fear, with another unit."""
    angry = [{"total": flat(v), "photometric": flat(v + 10), "au04": flat(v + 20)} for v in (50, 100, 200)]
    fear = {"total": flat(30), "photometric": flat(60), "au04": flat(40), "au12": flat(90)}
    return write_set(
        tmp_path / "set",
        [
            ("id00", "neutral", 0, 10, {}),
            ("id00", "neutral", 1, 10, {}),
            ("id01", "neutral", 0, 10, {}),
            ("id00", "anger", 0, 40, angry[0]),
            ("id00", "anger", 1, 80, angry[1]),
            ("id01", "anger", 0, 200, angry[2]),
            ("id01", "fear", 0, 20, fear),
        ],
    )


def test_means_are_over_a_subjects_images_first_and_then_over_subjects(root, tmp_path):
    experiment = prepared(tmp_path, root)
    total = known_answers.causal_maps(experiment)
    assert list(total.means) == ["anger", "fear"] and total.omissions == ()
    # Pooled, anger would be 350 / 3.
    np.testing.assert_allclose(total.means["anger"], (75 + 200) / 2 * 12 / 255, rtol=1e-5)
    np.testing.assert_allclose(total.means["fear"], 30 * 12 / 255, rtol=1e-5)
    assert total.means["anger"].shape == SHAPE and total.means["anger"].dtype == np.float32


def test_one_bad_image_is_left_out_by_name(root, tmp_path):
    experiment = prepared(tmp_path, root)
    (root / "masks/id00_anger_0.png").write_bytes(b"no image")
    # Rendered anew since it was prepared: its landmarks are of another face.
    (root / "images/id01_anger_0.webp").write_bytes((root / "images/id01_fear_0.webp").read_bytes())
    (root / "images/id01_fear_0.webp").unlink()
    total = known_answers.causal_maps(experiment)
    reasons = dict(total.omissions)
    assert list(reasons) == [f"synthetic_{name}_0" for name in ("id00_anger", "id01_anger", "id01_fear")]
    assert "id00_anger_0.png" in reasons["synthetic_id00_anger_0"]
    assert "changed since it was prepared" in reasons["synthetic_id01_anger_0"]
    assert "not there" in reasons["synthetic_id01_fear_0"]
    assert list(total.means) == ["anger"]
    np.testing.assert_allclose(total.means["anger"], 100 * 12 / 255, rtol=1e-5)
    (root / "masks/id00_anger_1.png").unlink()
    with pytest.raises(DataError, match="'mini'.*4 were left out"):
        known_answers.causal_maps(experiment)


# Agreement with masks


def rows_of_canvas(start, stop):
    canvas = np.zeros(SHAPE, bool)
    canvas[start:stop] = True
    return canvas


def iou(causal_map, mask):
    return _iou_at_equal_area(np.float32(causal_map), mask)


def test_agreement_by_hand():
    mask = rows_of_canvas(0, 100)
    falling = np.linspace(1, 0, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    assert iou(falling, mask) == pytest.approx(1) and iou(1 - falling, mask) == pytest.approx(0)
    # The highest 100 rows are 50 ... 149: half in the mask, 50 of 150 rows in both.
    assert iou(np.roll(falling, 50, axis=0), mask) == pytest.approx(50 / 150)
    # Thresholded at the mask's area, a map that is high on more than the mask has no more than it.
    assert iou(falling + rows_of_canvas(0, 200), mask) == pytest.approx(1)


def test_equal_pixels_count_in_part():
    mask = rows_of_canvas(100, 200)
    # 50 rows of the mask are lit. Of 225 dark rows 50 may still be marked: 2 / 9 of each.
    both = 50 + 50 * 2 / 9
    assert iou(rows_of_canvas(100, 150), mask) == pytest.approx(both / (200 - both))
    # Twice as many rows are lit: half of them may be marked.
    assert iou(rows_of_canvas(50, 250), mask) == pytest.approx(50 / 150)


def test_table_compares_each_mask_with_all_maps():
    wide = known_answers.mask_agreement({name: np.float32(masks.ekman_mask(name)) for name in EXPRESSIONS})
    assert list(wide) == list(wide.index) == list(EXPRESSIONS)
    np.testing.assert_allclose(np.diag(wide), 1)
    anger, fear = (masks.ekman_mask(name) for name in ("anger", "fear"))
    # So many of fear's pixels as anger has: each counts with anger's part of fear's area.
    both = (anger & fear).sum() * anger.sum() / fear.sum()
    assert wide.loc["anger", "fear"] == pytest.approx(both / (2 * anger.sum() - both))
    assert wide.loc["anger", "fear"] != pytest.approx(wide.loc["fear", "anger"])


# Pictures


def wall(names=("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise"), **changes):
    ramp = np.linspace(0, 1, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    parts = {
        "faces": {name: np.full((*SHAPE, 3), 0.5, np.float32) for name in names},
        "maps": {name: ramp * (place + 1) for place, name in enumerate(names)},
        "outlines": {name: rows_of_canvas(200, 250) for name in names},
        "ious": {name: 0.125 * place for place, name in enumerate(names)},
    }
    return figures.causal_wall(**(parts | changes))


def test_wall_highlights_as_much_of_the_face_as_the_mask_holds():
    figure = wall()
    assert_readable(figure)
    upper, lower = figure.axes[:6], figure.axes[6:12]
    assert upper[1].get_title() == "Disgust\nIoU 0.12" and upper[5].get_title() == "Surprise\nIoU 0.62"
    for axes in upper:
        lit = np.asarray(axes.images[0].get_array()).mean(axis=2) > 0.5
        # The ramp is highest in the last rows.
        np.testing.assert_array_equal(lit, rows_of_canvas(225, 275))
    for place, axes in enumerate(lower):
        assert axes.images[0].get_array().max() == pytest.approx(place + 1)
        # One scale for all.
        assert axes.images[0].get_clim() == (0, 6)
    for axes in figure.axes[:12]:
        x, y = np.concatenate([path.vertices for path in axes.collections[0].get_paths()]).T
        assert (y.min(), y.max()) == (200, 250)
    assert_readable(wall(("Fear",), title="One alone"))


def test_layers_of_one_face_share_one_scale_but_the_photometric():
    face = np.full((224, 224, 3), 120, np.uint8)
    values = {"total": 8.0, "photometric": 0.25, "au04": 3.0, **{f"au{k:02d}": 1.0 for k in range(10, 17)}}
    layers = {name: np.full((112, 112), value, np.float32) for name, value in values.items()}
    figure = figures.causal_layers(face // 2, face, layers, title="id00 anger")
    assert_readable(figure)
    shown = {axes.get_title(): axes for axes in figure.axes if axes.get_title() and axes.get_visible()}
    assert list(shown)[:5] == ["neutral", "expression", "total", "photometric", "AU04"] and len(shown) == 12
    np.testing.assert_allclose(shown["neutral"].images[0].get_array(), 60 / 255)
    assert shown["AU04"].images[0].get_clim() == shown["total"].images[0].get_clim() == (0, 8)
    assert shown["photometric"].images[0].get_clim() == (0, 0.25)
    assert shown["photometric"].get_xlabel() == "0 to 0.25 of RGB"
    assert_readable(figures.causal_layers(face, face, {"photometric": layers["photometric"]}))
