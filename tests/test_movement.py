"""Movement of the landmarks from the neutral face: known by construction, whatever the pose."""

from contextlib import nullcontext

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import ekman_expressions as ee
from ekman_expressions.core.files import read_image
from ekman_expressions.faces import LandmarkDetector, synthetic
from ekman_expressions.faces.cropping import _crop_face
from ekman_expressions.faces.landmarks import _STILL, _eye_distance, _mesh_indices
from ekman_expressions.facespace import POINTS, SHAPE, atlas, movement, source_points
from ekman_expressions.facespace.warp import _corner_shares
from ekman_expressions.study.known_answers import _layer_in_face_space

LOWEST = POINTS[_STILL, 1].max()


@pytest.fixture(scope="module")
def neutral():
    """A bowl with the template's landmarks, other points at random among them."""
    random = np.random.default_rng(0)
    flat = random.uniform(POINTS[:68].min(axis=0), POINTS[:68].max(axis=0), (478, 2))
    flat[_mesh_indices()] = POINTS[:68]
    return np.column_stack([flat, ((flat - flat.mean(axis=0)) ** 2).sum(axis=1) / 300])


def turned(mesh, degrees):
    turn = Rotation.from_euler("yxz", [degrees, degrees / 2, 10], degrees=True)
    return 1.7 * turn.apply(mesh - mesh.mean(axis=0)) + (300, 200, 0)


@pytest.mark.parametrize("degrees", [0, 35])
def test_movement_is_what_was_moved_whatever_the_neutrals_pose(neutral, degrees):
    mesh = neutral.copy()
    # Below the lowest landmark that is still, sideways, the farther down the more.
    mesh[:, 0] += 0.2 * np.maximum(neutral[:, 1] - LOWEST, 0)
    found = movement(mesh, turned(neutral, degrees))
    # The template's crop is the template, so that the picture's height is known for each pixel of face space.
    height = _corner_shares() @ source_points(mesh[_mesh_indices(), :2] / SHAPE[::-1])[:, 1] * SHAPE[0]
    height = height.reshape(SHAPE)
    expected = 0.2 * np.maximum(height - LOWEST, 0) / _eye_distance(mesh)
    inner = atlas().hull & (height > LOWEST + 20) & (found > 0)
    assert inner.sum() > 5000 and expected[inner].max() > 0.15
    np.testing.assert_allclose(found[inner], expected[inner], atol=0.02)
    assert np.median(found[atlas().hull & (height < LOWEST)]) < 1e-6


@pytest.fixture(scope="module")
def detected():
    """A surprised face, the neutral one of its shot, and one of another."""
    names = ("surprise_0", "neutral_0", "neutral_1")
    with LandmarkDetector() as detector:
        return [detector.detect(read_image(synthetic.folder() / "images" / f"id03_{name}.webp")) for name in names]


def test_movement_is_that_of_the_rendered_surface(detected):
    face, *neutrals = detected
    _, landmarks, transform = _crop_face(np.zeros((224, 224, 3), np.uint8), face.points, 224)
    truth = _layer_in_face_space(synthetic.read_layers("id03_surprise_0")["total"], transform, landmarks, 224)
    for neutral in neutrals:
        found = movement(face.mesh, neutral.mesh)
        assert np.corrcoef(found[atlas().hull], truth[atlas().hull])[0, 1] > 0.8


@pytest.mark.parametrize("degrees, usable", [(20, True), (45, False)])
def test_a_neutral_face_that_is_turned_too_far_is_left_out_by_name(detected, degrees, usable):
    """The limit is about 30 degrees."""
    mesh, middle = detected[1].mesh, detected[1].mesh.mean(axis=0)
    turn = Rotation.from_euler("y", degrees, degrees=True)
    away = (turn.apply(mesh - middle) + middle)[_mesh_indices(), :2]
    pictures = [read_image(synthetic.folder() / "images" / "id03_neutral_0.webp")] * 2
    about = {"expressions": ["fear", "neutral"], "subjects": ["a", "a"], "size": 64}
    with nullcontext() if usable else pytest.warns(UserWarning, match="image000: .* turned too far"):
        faces = ee.load_faces(pictures, landmarks=[detected[1].points, away], **about)
    assert faces.has_neutral.tolist() == [usable, False]
    assert list(faces.omissions["item"]) == ([] if usable else ["neutral face of image000"])
