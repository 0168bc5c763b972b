import numpy as np
import pandas as pd
import pytest

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.figures import save

GRID = np.linspace(0, 1, 21)


def texts(figure):
    from matplotlib.text import Text

    return [item.get_text() for item in figure.findobj(Text)]


def overlaps(figure):
    """Pairs of texts that are drawn over each other."""
    from matplotlib.text import Text

    boxes = [
        (item.get_text(), item.get_window_extent())
        for item in figure.findobj(Text)
        if item.get_visible() and any(letter.isalpha() for letter in item.get_text())
    ]
    return [
        (first, second)
        for number, (first, box) in enumerate(boxes)
        for second, other in boxes[number + 1 :]
        if first != second and box.shrunk(0.9, 0.7).overlaps(other.shrunk(0.9, 0.7))
    ]


def test_erasure_curves_draw_the_mean_of_each_ranking():
    random = np.random.default_rng(0)
    curves = {
        name: {ranking: random.random((4, 2, 21)) for ranking in ("lime", "random", "centre")}
        for name in ("Anger", "Fear")
    }
    figure = figures.erasure_curves(curves, GRID, titles={"lime": "LIME"}, title="Net")
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    np.testing.assert_allclose(lines[0].get_ydata(), curves["Anger"]["lime"][:, 0].mean(axis=0))
    assert {"LIME", "random", "centre", "Net", "Fear\n4 faces"} <= set(texts(figure))
    assert overlaps(figure) == []
    with pytest.raises(DataError, match="shape"):
        figures.erasure_curves(curves, GRID[:5])
    with pytest.raises(DataError, match="no curves"):
        figures.erasure_curves({}, GRID)


def test_no_two_explainers_have_curves_that_look_alike():
    rankings = {name: np.zeros((1 + (name == "lime"), 2, len(GRID))) for name in (*SPECS, "random", "centre")}
    figure = figures.erasure_curves({"Anger": rankings}, GRID)
    lines = figure.legends[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(rankings) == 11
    assert "Anger\n1 to 2 faces" in texts(figure)


def test_reliability_boxes_leave_out_what_is_not_known(tmp_path):
    table = pd.DataFrame(
        {
            "network": ["A", "A", "B", "B"],
            "expression": ["fear", "anger", "fear", "fear"],
            "r2": [0.5, np.nan, 0.4, 0.6],
            "mean_standard_error": [0.1, 0.0, 0.2, 0.1],
            "weighted_flip_rate": [0.1, np.nan, 0.2, 0.3],
        }
    )
    figure = figures.reliability_boxes(table, title="Reliability")
    assert len(figure.axes) == 3 and overlaps(figure) == []
    save(figure, tmp_path / "boxes.png")
    with pytest.raises(DataError, match="no explanations"):
        figures.reliability_boxes(table[:0])


def test_the_untrained_wall_marks_what_is_missing():
    heatmap = np.random.default_rng(0).random((275, 224))
    cells = {("A", "Fear"): {"as set": heatmap, "untrained": heatmap}, ("B", "Fear"): {"as set": heatmap}}
    figure = figures.untrained_wall(cells, {("A", "Fear"): "r 1.00"}, title="Untrained")
    assert texts(figure).count("no data") == 1 and "r 1.00" in texts(figure)
    assert overlaps(figure) == []
    with pytest.raises(DataError, match="no heatmaps"):
        figures.untrained_wall({})


def test_sensitivity_matrices_show_their_values_and_all_labels_fit():
    variants = ("as set", "other samples", "hidden mean", "hidden blur", "15 superpixels", "facial regions")
    matrix = np.eye(6)
    matrix[0, 1] = np.nan
    cells = {(network, name): matrix for network in ("A", "B") for name in ("Anger", "Fear")}
    figure = figures.sensitivity_matrices(cells, variants, title="Sensitivity")
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array().filled(np.nan), matrix)
    height = figure.bbox.height
    for axes in figure.axes:
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), axes.yaxis.label):
            box = label.get_window_extent()
            assert not label.get_text() or (box.y0 >= 0 and box.x0 >= 0 and box.y1 <= height)
    with pytest.raises(DataError, match="square"):
        figures.sensitivity_matrices(cells, variants[:2])
