import numpy as np
import pandas as pd
import pytest

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError

SAMPLERS = ("iid", "antithetic", "orthogonal")
NUMBERS = (64, 125, 250, 500)


def heatmaps():
    lines = [
        (level, network, sampler, samples, 1 - (place + 1) / samples)
        for level in ("fold", "network")
        for network in ("WeiNet", "MobileNetV3Large")
        for place, sampler in enumerate(SAMPLERS)
        for samples in NUMBERS
    ]
    return pd.DataFrame(lines, columns=["level", "network", "sampler", "samples", "correlation"])


def errors():
    lines = [
        (network, sampler, penalty, samples, (place + 1) / samples)
        for network in ("WeiNet", "MobileNetV3Large")
        for place, sampler in enumerate(SAMPLERS)
        for penalty in ("alpha = 1", "alpha / n fixed")
        for samples in (*NUMBERS, 2000)
    ]
    return pd.DataFrame(lines, columns=["network", "sampler", "penalty", "samples", "error"])


@pytest.mark.parametrize(("given", "panels"), [(None, 4), (errors(), 6)])
def test_panels_and_lines(given, panels):
    figure = figures.tradeoff(heatmaps(), given)
    assert len(figure.axes) == panels
    axes = figure.axes[0]
    drawn = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    of_each = {name: drawn[name] for name in SAMPLERS}
    numbers = NUMBERS if given is None else (*NUMBERS, 2000)
    for place, sampler in enumerate(SAMPLERS):
        expected = [(samples, (place + 1) / samples) for samples in numbers]
        np.testing.assert_allclose(of_each[sampler], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="sampler"), "'heatmaps' lacks sampler"),
        (lambda table: table.iloc[:0], "'heatmaps' has no row"),
        (lambda table: table.assign(correlation=np.nan), "not finite"),
    ],
)
def test_tables_that_cannot_be_drawn(change, message):
    with pytest.raises(DataError, match=message):
        figures.tradeoff(change(heatmaps()))
