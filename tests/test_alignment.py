"""The page of faces with the contours of their landmarks."""

import numpy as np
import pytest

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.facespace.warp import POINTS as TEMPLATE

POINTS = TEMPLATE[:68] / (224, 275)


def drawn(axes):
    """All points of all lines, each once, in units of the face."""
    points = np.unique(np.concatenate([line.get_xydata() for line in axes.lines]), axis=0)
    return points / (40, 50)


def page(count, **options):
    faces = [np.full((50, 40, 3), number, np.uint8) for number in range(count)]
    return figures.alignment_page(faces, [POINTS + number / 1000 for number in range(count)], **options)


def shown(figure):
    """The gray values of the faces, in order."""
    axes = [axes for axes in figure.axes if axes.get_visible()]
    return [round(float(item.images[0].get_array().max()) * 255) for item in axes]


def test_every_landmark_is_drawn_where_it_lies_and_no_other():
    figure = page(2)
    for number, axes in enumerate(figure.axes[:2]):
        wanted = np.unique(POINTS + number / 1000, axis=0)
        np.testing.assert_allclose(drawn(axes), wanted, atol=1e-9)


def test_contours_close_round_eyes_and_lips_only():
    lines = [line.get_xydata() for line in page(1).axes[0].lines]
    assert [len(line) for line in lines] == [17, 5, 5, 4, 5, 7, 7, 13, 9]
    assert [bool(np.array_equal(line[0], line[-1])) for line in lines] == [False] * 5 + [True] * 4
    (legend,) = page(1).legends
    assert [text.get_text() for text in legend.get_texts()] == ["jaw", "brows", "nose", "eyes", "mouth"]


def test_the_oddest_faces_come_first_and_say_how_odd():
    figure = page(4, titles=["a", "b", "c", "d"], residuals=[0.1, 0.3, 0.05, 0.2], title="Faces")
    assert shown(figure) == [1, 3, 0, 2]
    assert figure.axes[0].get_title() == "b\nresidual 0.300" and figure.get_suptitle() == "Faces"
    assert shown(page(4)) == [0, 1, 2, 3]


def test_a_page_holds_so_many_and_says_of_how_many():
    figure = page(9, residuals=np.arange(9), most=4, columns=3, title="Faces")
    assert shown(figure) == [8, 7, 6, 5] and figure.get_suptitle() == "Faces (4 of 9)"


def test_saved_twice_it_has_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        figures.save(page(3, residuals=[1, 2, 3]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_wrong_arguments_are_refused():
    with pytest.raises(DataError, match="no faces"):
        page(0)
    with pytest.raises(DataError, match="3 faces, but 2 titles"):
        page(3, titles=["a", "b"])
    with pytest.raises(DataError, match="3 faces, but 1 residuals"):
        page(3, residuals=[1])
    with pytest.raises(SettingsError, match="'columns'"):
        page(3, columns=0)
