"""Square crops by landmarks, on drawn faces whose eyes and mouth are known."""

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces.cropping import _crop_face


def drawn_face(angle, eyes=(190.25, 140.5), apart=52.0, down=60.0, shape=(320, 400)):
    """Three soft blobs, eyes and mouth, turned by `angle` degrees about the eyes' centre."""
    turn = np.deg2rad(angle)
    along, below = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    left, right = np.array(eyes) - along * apart / 2, np.array(eyes) + along * apart / 2
    mouth = np.array(eyes) + below * down
    rows, columns = np.indices(shape) + 0.5
    image = np.zeros((*shape, 3))
    for channel, (x, y) in enumerate((left, right, mouth)):
        image[..., channel] = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
    points = np.tile(np.array(eyes), (68, 1))
    ring = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    points[36:42] = left + 6 * np.column_stack([np.cos(ring), np.sin(ring)])
    points[42:48] = right + 6 * np.column_stack([np.cos(ring), np.sin(ring)])
    ring = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    points[48:68] = mouth + 9 * np.column_stack([np.cos(ring), np.sin(ring)])
    return np.rint(image).astype(np.uint8), points


def centroid(channel):
    rows, columns = np.indices(channel.shape) + 0.5
    weights = channel / channel.sum()
    return np.array([(columns * weights).sum(), (rows * weights).sum()])


@pytest.mark.parametrize("angle, size", [(0, 48), (20, 160), (-35, 300), (180, 160)])
def test_a_turned_face_comes_out_level(angle, size):
    image, points = drawn_face(angle)
    crop, landmarks, transform = _crop_face(image, points, size)
    assert crop.shape == (size, size, 3) and crop.dtype == np.uint8 and landmarks.dtype == np.float32
    left, right, mouth = (centroid(crop[..., channel].astype(float)) / size for channel in range(3))
    half = 52 / 60 / 2.6 / 2
    tolerance = 0.15 / size
    np.testing.assert_allclose(left, [0.5 - half, 0.38], atol=tolerance)
    np.testing.assert_allclose(right, [0.5 + half, 0.38], atol=tolerance)
    np.testing.assert_allclose(mouth, [0.5, 0.38 + 1 / 2.6], atol=tolerance)
    np.testing.assert_allclose(landmarks[36:42].mean(0), [0.5 - half, 0.38], atol=1e-5)
    np.testing.assert_allclose(landmarks[48:68].mean(0), [0.5, 0.38 + 1 / 2.6], atol=1e-5)
    np.testing.assert_allclose(points @ transform[:, :2].T + transform[:, 2], landmarks.astype(float) * size, atol=1e-3)


def test_shrinking_averages_instead_of_aliasing():
    _, points = drawn_face(0)
    stripes = np.zeros((320, 400, 3), np.uint8)
    stripes[:, ::2] = 200
    crop, _, _ = _crop_face(stripes, points, 24)
    assert abs(int(crop.min()) - 100) < 20 and abs(int(crop.max()) - 100) < 20


def test_beyond_the_border_the_image_is_reflected():
    image = np.zeros((120, 120, 3), np.uint8)
    image[:10] = 255
    _, points = drawn_face(0, eyes=(60, 30), apart=40, down=50)
    crop, _, _ = _crop_face(image, points, 130)
    # The side is 130 pixels and the eye line 49.4 below the top: row 0 is 19.4 above the image.
    assert crop[12:27].min() > 200 and crop[:6].max() < 50 and crop[32:].max() < 50


@pytest.mark.parametrize("times, angle", [(3, 0), (4, 25), (7, 25)])
def test_a_larger_image_gives_the_same_crop(times, angle):
    """Only a part of a large image is read, shrunk before it is turned."""
    image, points = drawn_face(angle)
    large = image.repeat(times, axis=0).repeat(times, axis=1)
    crop, landmarks, _ = _crop_face(image, points, 96)
    same, moved, transform = _crop_face(large, points * times, 96)
    np.testing.assert_allclose(moved, landmarks, atol=1e-6)
    assert np.hypot(*transform[:, 0]) * times == pytest.approx(96 / (2.6 * 60))
    for channel in range(3):
        np.testing.assert_allclose(
            centroid(np.float64(same[..., channel])), centroid(np.float64(crop[..., channel])), atol=0.05
        )
    # Shrinking blurs, by less than a pixel of the crop.
    np.testing.assert_allclose(np.float64(same), crop, atol=8)


def test_a_face_without_extent_is_refused():
    with pytest.raises(DataError, match="coincide"):
        _crop_face(np.zeros((9, 9, 3), np.uint8), np.full((68, 2), 7.0), 100)
