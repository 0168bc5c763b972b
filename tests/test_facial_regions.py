"""The warp backwards, the regions it gives each image, and LIME on them."""

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError
from ekman_expressions.explainers.facial_regions import region_names, region_segments
from ekman_expressions.explainers.registry import EXPLAINERS
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.warp import POINTS, SHAPE, normalise, source_points, template_points

FACE = POINTS[:68] / (SHAPE[1], SHAPE[0])


def turned(angle=0.2, scale=0.6):
    """The template's face, turned and made smaller, in a square image."""
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (FACE - 0.5) @ matrix.T + 0.5


def test_the_template_is_its_own_place():
    places = template_points(FACE, SHAPE)
    columns, rows = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
    np.testing.assert_allclose(places, np.stack([columns, rows], axis=-1), atol=1e-6)


def test_the_warp_and_back():
    landmarks, side = turned(), 300
    places = template_points(landmarks, (side, side))
    assert np.isfinite(places).all()
    # A picture of each pixel's place in face space, warped into face space, says where one is.
    back = normalise(places, landmarks)
    columns, rows = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
    hull = masks.atlas().hull
    error = np.abs(back - np.stack([columns, rows], axis=-1)).max(axis=-1)[hull]
    assert np.median(error) < 0.01 and np.quantile(error, 0.99) < 1.5


def test_against_scikit_image():
    from skimage.transform import PiecewiseAffineTransform

    landmarks, side = turned(-0.1, 0.8), 64
    other = PiecewiseAffineTransform.from_estimate(source_points(landmarks) * side, POINTS)
    columns, rows = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    expected = other(np.column_stack([columns.ravel(), rows.ravel()])).reshape(side, side, 2)
    found = template_points(landmarks, (side, side))
    # It triangulates the image instead of the template, so a few triangles differ.
    error = np.abs(found - expected).max(axis=-1)
    assert np.median(error) < 1e-6 and (error < 0.5).mean() > 0.7


def test_odd_faces_leave_no_crash():
    folded = FACE.copy()
    folded[0], folded[16] = FACE[16], FACE[0]
    places = template_points(folded, (40, 60))
    assert places.shape == (40, 60, 2)
    segments, names = region_segments(folded, (40, 60))
    assert segments.max() + 1 == len(names)
    with pytest.raises(DataError, match="span a face"):
        template_points(np.zeros((68, 2)), (40, 60))


def test_regions_of_the_template_are_the_atlas():
    segments, names = region_segments(FACE, SHAPE)
    assert names == region_names() and len(names) == 50
    atlas = masks.atlas()
    for place, name in enumerate(names):
        inside = segments == place
        expected = atlas.labels == 0 if name == "background" else atlas.region(name)
        assert (inside != expected).mean() < 1e-3


def test_every_face_has_the_same_regions_at_the_same_places():
    for landmarks in (turned(), turned(-0.3, 0.5)):
        segments, names = region_segments(landmarks, (224, 224))
        assert names == region_names()
        eye = segments == names.index("left_eye")
        rows, columns = np.nonzero(eye)
        middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / 224
        np.testing.assert_allclose(middle, landmarks[42:48].mean(axis=0), atol=0.02)


def test_small_images_lack_small_regions():
    segments, names = region_segments(turned(0, 0.5), (24, 24))
    assert set(names) < set(region_names()) and segments.max() + 1 == len(names)
    assert list(names) == sorted(names, key=region_names().index)


def test_a_model_that_reads_one_eye():
    landmarks, side = turned(), 96
    segments, names = region_segments(landmarks, (side, side))
    eye = segments == names.index("left_eye")

    def model(images):
        first = images[:, eye].mean(axis=(1, 2))
        return np.stack([first, 1 - first], axis=1)

    image = np.full((1, side, side, 3), 0.8, np.float32)
    options = {"seed": 0, "samples": 300, "landmarks": landmarks[None], "positive": False}
    (found,) = EXPLAINERS["facial_regions"](model, image, [0], **options)
    assert found[eye].min() > 0.3 and np.ptp(found[eye]) == 0
    assert np.abs(found[~eye]).max() < 0.1 * found[eye].min()
