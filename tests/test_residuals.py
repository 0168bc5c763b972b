"""Landmark residuals: faces made from a known shape model, with known faults."""

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError
from ekman_expressions.faces.landmarks import landmark_outliers
from ekman_expressions.facespace.warp import POINTS as TEMPLATE

BASE = TEMPLATE[:68] / 224
EYES = np.linalg.norm(BASE[36:42].mean(axis=0) - BASE[42:48].mean(axis=0))


def made_faces(count, seed=0, noise=0.015):
    """Faces of two modes (the head turned, the mouth open), anywhere, of any size and turn.

    The noise is about what MediaPipe's landmarks of the bundled faces leave over.
    """
    random = np.random.default_rng(seed)
    depth = np.cos((BASE[:, 0] - 0.5) * np.pi)[None] - 0.5
    yaw, mouth = random.uniform(-1.7, 1.7, size=(2, count, 1))
    faces = np.repeat(BASE[None], count, axis=0)
    faces[:, :, 0] += 0.06 * yaw * depth
    faces[:, 56:60, 1] += 0.05 * np.abs(mouth)
    faces[:, 65:68, 1] += 0.05 * np.abs(mouth)
    faces += noise * EYES * random.normal(size=faces.shape)
    angle, size = random.uniform(-0.3, 0.3, count), random.uniform(0.5, 50, count)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.einsum("nic,dcn->nid", faces, turn) + random.normal(size=(count, 1, 2)), yaw[:, 0]


def spoilt(face, how):
    face = face.copy()
    eyes = face[42:48].mean(axis=0) - face[36:42].mean(axis=0)
    if how == "mouth shifted":
        face[48:] += 0.25 * eyes
    elif how == "eyes shifted":
        face[36:48] += 0.25 * eyes
    elif how == "mirrored":
        face[:, 0] = -face[:, 0]
    elif how == "left and right swapped":
        face[36:48] = np.roll(face[36:48], 6, axis=0)
    elif how == "something else":
        turn = np.linspace(0, 2 * np.pi, 68)
        face = face.mean(axis=0) + np.linalg.norm(eyes) * np.column_stack([np.cos(turn), np.sin(turn)])
    elif how == "a point":
        face[:] = face[0]
    return face


FAULTS = ("mouth shifted", "eyes shifted", "mirrored", "left and right swapped", "something else", "a point")


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("count", [8, 30, 200])
def test_a_spoilt_face_comes_first(how, count):
    faces, _ = made_faces(count, seed=count)
    faces[3] = spoilt(faces[3], how)
    table = landmark_outliers(faces)
    assert table["residual"].idxmax() == 3
    if count > 20:
        assert table["score"][3] > 6 and np.delete(table["score"].to_numpy(), 3).max() < 6


def test_several_faces_with_the_same_fault_do_not_hide_one_another():
    faces, _ = made_faces(60)
    for place in range(10):
        faces[place] = spoilt(faces[place], "mouth shifted")
    assert set(landmark_outliers(faces)["residual"].nlargest(10).index) == set(range(10))


def test_a_turned_head_is_not_odd():
    """Procrustes distance alone says little but the pose; the model's remainder does not."""
    faces, yaw = made_faces(200)
    residual = landmark_outliers(faces)["residual"]
    assert abs(np.corrcoef(residual, np.abs(yaw))[0, 1]) < 0.45
    shapes = faces[..., 0] + 1j * faces[..., 1]
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= shapes[:, 42:48].mean(axis=1, keepdims=True) - shapes[:, 36:42].mean(axis=1, keepdims=True)
    plain = np.abs(shapes - shapes.mean(axis=0)).std(axis=1)
    assert np.corrcoef(plain, np.abs(yaw))[0, 1] > 0.7


def test_residuals_have_the_unit_and_the_part_that_they_should():
    """Noise of 1 % of the eyes' distance is sqrt(2) % per point, less what the modes take up."""
    faces, _ = made_faces(300, noise=0.01)
    table = landmark_outliers(faces)
    assert np.median(table["residual"]) == pytest.approx(0.01 * np.sqrt(2), rel=0.15)
    assert np.median(table["score"]) == pytest.approx(0, abs=1e-9)
    for part, points in {"jaw": 4, "brows": 20, "nose": 30, "eyes": 40, "mouth": 50}.items():
        changed = faces.copy()
        changed[0, points] += 0.6 * (changed[0, 45] - changed[0, 36])
        result = landmark_outliers(changed)
        assert result["residual"].idxmax() == 0 and result["part"][0] == part


def test_position_size_turn_and_order_change_nothing():
    faces, _ = made_faces(40)
    residual = landmark_outliers(faces)["residual"].to_numpy()
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    np.testing.assert_allclose(landmark_outliers(faces * 7 + 3)["residual"], residual, atol=1e-9)
    np.testing.assert_allclose(landmark_outliers(faces[::-1])["residual"][::-1], residual, atol=1e-9)
    faces[4] = 0.1 * faces[4] @ turn.T - 9
    np.testing.assert_allclose(landmark_outliers(faces)["residual"], residual, atol=0.01)


def test_few_and_equal_faces_have_no_residual():
    for count in (1, 2, 5):
        table = landmark_outliers(np.repeat(BASE[None], count, axis=0))
        assert (table["residual"] < 1e-9).all() and (table["score"].abs() < 1e-3).all()
    assert list(landmark_outliers(np.empty((0, 68, 2))).columns) == ["residual", "score", "part"]


@pytest.mark.parametrize("points", [np.zeros((3, 5, 2)), np.zeros((68, 2)), np.full((2, 68, 2), np.nan)])
def test_other_arrays_are_refused(points):
    with pytest.raises(DataError, match="finite landmarks"):
        landmark_outliers(points)
