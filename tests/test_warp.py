"""The template, the warp into face space, the way back, and the facial regions of an image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekman_expressions.core.errors import DataError
from ekman_expressions.explainers.facial_regions import _region_names, _region_segments
from ekman_expressions.facespace import POINTS, SHAPE, masks, normalise, source_points, template_points, warp

OWN = POINTS[:68] / (224, 275)
"""The template's own landmarks, in units."""
PLACES = np.stack(np.meshgrid(np.arange(224) + 0.5, np.arange(275) + 0.5), axis=-1)
"""Continuous x and y of the middle of each pixel of face space."""


def moved(scale=0.7, shift=(0.12, 0.2), turn=0.15):
    """The template's landmarks turned about the middle, shrunk and shifted."""
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return ((OWN - 0.5) @ rotation + 0.5) * scale + shift


def wobbly(seed):
    return moved() + np.random.default_rng(seed).normal(0, 0.004, (68, 2))


def centres(height, width):
    """Continuous x and y of the pixel centres."""
    return np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5


def test_the_template_and_the_source_points_of_a_face():
    assert SHAPE == (275, 224)
    assert POINTS.shape == (89, 2) and not POINTS.flags.writeable
    assert np.array_equal(POINTS[68:85], POINTS[:17] * (1, 0))
    assert POINTS[85:].tolist() == [[0, 0], [0, 275], [224, 0], [224, 275]]
    np.testing.assert_allclose(source_points(OWN) * (224, 275), POINTS)
    points = source_points(moved())
    np.testing.assert_allclose(points[:85], [*moved(), *moved()[:17] * (1, 0)])
    assert points[85:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_an_image_that_lies_like_the_template_stays_as_it_is():
    image = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    np.testing.assert_allclose(normalise(image, OWN), image, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (100, 300)])
def test_a_ramp_stays_a_ramp(shape):
    height, width = shape
    x, y = centres(height, width)
    warped = normalise(np.stack(np.broadcast_arrays(x / width, y / height), axis=-1), OWN)
    # Beyond the centres of the border pixels values are continued, not extrapolated.
    border = 0.5 / np.array([width, height])
    np.testing.assert_allclose(warped, (PLACES / (224, 275)).clip(border, 1 - border), atol=1e-6)


def test_equals_scikit_image_on_the_same_triangles():
    from skimage.transform import PiecewiseAffineTransform, warp

    image = np.random.default_rng(0).random((224, 224), dtype=np.float32)
    landmarks = wobbly(0)
    mapping = PiecewiseAffineTransform.from_estimate(POINTS, source_points(landmarks) * 224)

    def inverse_map(indices):
        # Indices are 0 at the first pixel's centre, coordinates 0.5.
        return mapping(indices + 0.5) - 0.5

    expected = warp(image.astype(float), inverse_map, output_shape=SHAPE, order=1, mode="edge")
    assert np.abs(normalise(image, landmarks) - expected).max() < 1e-4


@pytest.mark.parametrize("shape", [(224, 224), (5, 300), (1, 7), (40, 30, 3)])
def test_opencv_and_numpy_give_the_same(shape, monkeypatch):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    by_opencv = normalise(image, wobbly(0))
    assert warp._remap_is_exact()
    monkeypatch.setattr("ekman_expressions.facespace.warp._remap_is_exact", lambda: False)
    np.testing.assert_allclose(normalise(image, wobbly(0)), by_opencv, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e6, 1e6, width=32), st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_constant_maps_stay_constant(value, height, width, seed):
    warped = normalise(np.full((height, width), value, np.float32), wobbly(seed))
    assert (warped == np.float32(value)).all()


def test_the_warp_and_back():
    landmarks, side = moved(), 300
    places = template_points(landmarks, (side, side))
    assert np.isfinite(places).all()
    # A picture of each pixel's place in face space, warped into face space, says where one is.
    back = normalise(places, landmarks)
    error = np.abs(back - PLACES).max(axis=-1)[masks.atlas().hull]
    assert np.median(error) < 0.01 and np.quantile(error, 0.99) < 1.5


def test_regions_of_the_template_are_the_atlas():
    segments, names = _region_segments(OWN, SHAPE)
    assert names == _region_names() and len(names) == 50
    atlas = masks.atlas()
    for place, name in enumerate(names):
        inside = segments == place
        expected = atlas.labels == 0 if name == "background" else atlas.region(name)
        assert (inside != expected).mean() < 1e-3


@pytest.mark.parametrize(
    "shape, landmarks, message",
    [
        ((8, 8), np.zeros((67, 2)), r"\(68, 2\), but got \(67, 2\)"),
        ((8, 8), np.full((68, 2), 0.5), "one point or line"),
        ((8, 8), POINTS[:68], "Divide pixels by width and height"),
        ((0, 8), OWN, "An image or map must have shape"),
        ((2, 8, 8, 3), OWN, "An image or map must have shape"),
    ],
)
def test_bad_images_and_landmarks(shape, landmarks, message):
    with pytest.raises(DataError, match=message):
        normalise(np.zeros(shape), landmarks)
