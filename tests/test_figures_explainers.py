"""Figures of explainers: nothing overlaps, and what cannot be drawn is refused."""

import numpy as np
import pandas as pd
import pytest
from test_figures import assert_readable

from ekman_expressions import EXPRESSIONS, figures
from ekman_expressions.core.errors import DataError
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.facespace import masks
from ekman_expressions.measures.explainer_agreement import matrix
from ekman_expressions.zoo import NETWORKS

NAMES = {name: spec.title for name, spec in SPECS.items()}
RANDOM = np.random.default_rng(0)


def pairs(value):
    rows = [(a, b, RANDOM.uniform(-1, 1)) for a in NAMES for b in NAMES if a < b]
    return pd.DataFrame(rows, columns=["first", "second", value])


def cost(networks):
    rows = [
        (name, network, passes, SPECS[name].gradients, 0.003 * (passes + 1) * (2 + place))
        for place, network in enumerate(networks)
        for name, passes in zip(NAMES, (1000, 0, 0, 4000, 101, 1, 50, 50, 1000), strict=True)
    ]
    return pd.DataFrame(rows, columns=["explainer", "network", "passes", "gradients", "seconds"])


def regions():
    rows = [
        (expression, name, RANDOM.normal(0, 0.02), 0.004)
        for expression in EXPRESSIONS
        for name in (*masks.atlas().names, "background")
    ]
    return pd.DataFrame(rows, columns=["expression", "region", "importance", "standard_error"])


def faces():
    shown = {
        f"{network}: happiness": RANDOM.random((64, 64, 3)) for network in ("WeiNet", "MobileNetV3Large")
    }
    maps = {(row, title): RANDOM.random((64, 64)) for row in shown for title in NAMES.values()}
    maps["WeiNet: happiness", "Grad-CAM"] = None
    return shown, maps


def importance():
    return {
        expression: dict(part[["region", "importance"]].to_numpy())
        for expression, part in regions().groupby("expression", sort=False)
    }


FIGURES = {
    "faces": lambda: figures.explained_faces(*faces(), title="The same face by all explainers"),
    "agreement": lambda: figures.agreement(
        {"Heatmaps": matrix(pairs("correlation"), "correlation"), "Ranks": matrix(pairs("r"), "r")}, NAMES
    ),
    "small agreement": lambda: figures.agreement(
        {"Ranks": pd.DataFrame([[1, np.nan], [np.nan, 1]], ["a", "b"])}
    ),
    "cost": lambda: figures.cost_bars(cost(["WeiNet", "MobileNetV3Large"]), NAMES),
    "cost of twelve": lambda: figures.cost_bars(cost(NETWORKS), NAMES),
    "regions": lambda: figures.region_maps(
        importance(),
        {name: masks.atlas().region(name) for name in masks.atlas().names},
        outlines={name: masks.ekman_mask(name) for name in EXPRESSIONS},
        title="Mean importance",
    ),
    "region bars": lambda: figures.region_bars(regions(), EXPRESSIONS, title="Facial regions"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_is_too_small(name):
    assert_readable(FIGURES[name]())


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(DataError, match="no explained faces"):
        figures.explained_faces({}, {})
    with pytest.raises(DataError, match=r"has shape \(3, 3\), its face \(4, 4\)"):
        figures.explained_faces({"a": np.zeros((4, 4, 3))}, {("a", "LIME"): np.zeros((3, 3))})
    with pytest.raises(DataError, match="no cost"):
        figures.cost_bars(cost([]))
    with pytest.raises(DataError, match="no correlations"):
        figures.agreement({})
