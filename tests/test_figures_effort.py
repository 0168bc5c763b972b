"""The figure of what training reached and took: means and spreads over folds, readable with all networks."""

import numpy as np
import pandas as pd
import pytest
from test_figures import assert_readable

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError
from ekman_expressions.zoo import NETWORKS


def _table(networks, folds=5):
    rng = np.random.default_rng(0)
    rows = [{"network": network, "fold": f"CV{fold + 1}"} for network in networks for fold in range(folds)]
    table = pd.DataFrame(rows)
    table["test_accuracy"] = rng.uniform(0.5, 0.9, len(table))
    table["seconds"] = rng.uniform(1000, 90_000, len(table))
    return table.assign(accuracy=0.9, peak_memory_mb=12_345.6)


def test_bars_are_means_and_whiskers_standard_deviations():
    table = pd.DataFrame(
        {"network": ["A", "A", "B", "B"], "fold": ["CV1", "CV2"] * 2, "seconds": [1.0, 3.0, 10.0, None]}
    )
    (axes,) = figures.training_effort(table).axes
    assert [bar.get_width() for bar in axes.patches] == [2, 10]
    whiskers = axes.containers[0].lines[2][0].get_segments()
    # With n - 1: sqrt(((1 - 2)^2 + (3 - 2)^2) / 1); one value has no spread.
    np.testing.assert_allclose(whiskers[0][:, 0], [2 - 2**0.5, 2 + 2**0.5])
    np.testing.assert_allclose(whiskers[1][:, 0], [10, 10])
    points = axes.lines[0].get_xydata()
    np.testing.assert_array_equal(points[:3], [[1, 0], [3, 0], [10, 1]])
    assert np.isnan(points[3, 0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "B"]


@pytest.mark.parametrize("networks", [list(NETWORKS), ["VGG16"]])
def test_the_figure_is_readable(networks):
    figure = figures.training_effort(_table(networks))
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "accuracy, test faces", "accuracy, training faces", "seconds per model", "peak memory, MB"
    ]  # fmt: skip
    assert_readable(figure)


def test_nothing_to_draw_is_said():
    empty, unmeasured = _table(["A"])[:0], _table(["A"])[["network", "fold"]]
    for table in (empty, unmeasured):
        with pytest.raises(DataError, match="nothing to draw"):
            figures.training_effort(table)
