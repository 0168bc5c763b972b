"""Styled tables of statistics: they state n, the interval and the baseline."""

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from ekman_expressions.figures import tables
from ekman_expressions.measures.heatmap_set import _INTERVAL_COLUMNS, _MEANINGS, _TEST_COLUMNS

NAMES = ("Anger", "Fear", "Average")
NETWORKS = ("WeiNet", "VGG16", "Average")


@pytest.fixture
def intervals():
    """Fear of VGG16 has no heatmap; anger of WeiNet lies above all baselines."""
    table = pd.DataFrame(product(["iou"], NETWORKS, NAMES), columns=_INTERVAL_COLUMNS[:3])
    table = table.assign(estimate=0.2, chance=0.1, folds=3, subjects=7)
    table.loc[0, "estimate"], table.loc[4, ["estimate", "chance"]] = 0.6, np.nan
    for unit in ("fold", "subject"):
        table[f"{unit}_low"], table[f"{unit}_high"] = table["estimate"] - 0.05, table["estimate"] + 0.05
    return pd.concat([table, table.assign(score="residual", chance=0.0)], ignore_index=True)


@pytest.fixture
def baselines():
    return pd.DataFrame(product(_MEANINGS, NAMES), columns=["baseline", "expression"]).assign(score="iou", value=0.25)


def test_scores_stand_beside_their_intervals_and_baselines(intervals, baselines):
    styled = tables.scores_table(intervals, baselines)
    cells = styled.data
    assert list(cells.index[:3]) == list(NETWORKS) and list(cells.columns) == [NAMES[-1], *NAMES[:-1]]
    assert cells.loc["WeiNet", "Anger"] == "0.600 [0.550, 0.650]"
    assert cells.loc["VGG16", "Fear"] == "–" and cells.loc["an all-white mask", "Fear"] == "0.250"
    assert len(cells) == 3 + len(tables._ROWS)
    assert "n = 3 folds" in styled.caption and "all-white mask" in styled.caption
    html = styled.to_html()
    assert html.count("font-weight: bold") == 1 and "font-style: italic" in html
    # On a narrow page a cell breaks before its interval, not within.
    assert "0.600 [0.550,\N{NO-BREAK SPACE}0.650]" in html
    of_subjects = tables.scores_table(intervals, baselines, unit="subject", rows=["ellipse_30"])
    assert "n = 7 subjects" in of_subjects.caption and len(of_subjects.data) == 4
    # Of residuals there is no baseline but 0, which most intervals lie above.
    residual = tables.scores_table(intervals, baselines, "residual")
    assert len(residual.data) == 3 and "chance (0)" in residual.caption
    bold = re.search(r"((?:#T\S+,?\s*)+)\{\s*font-weight: bold", residual.to_html())
    assert bold.group(1).count("#T") == 8


def test_tests_and_ranks_read_as_numbers():
    rows = [
        ("iou", "all", 0.25, 0.24, 0.29, 0.19, 720, 0.379, 0.379, 360),
        ("iou", "WeiNet", np.nan, np.nan, np.nan, np.nan, 1, np.nan, np.nan, 0),
        ("iou", "VGG16", 0.3, 0.2, 0.3, 0.5, 720, 0.001, 0.002, 30),
    ]
    styled = tables.tests_table(pd.DataFrame(rows, columns=_TEST_COLUMNS))
    assert styled.data.loc["all", "p"] == "0.379" and styled.data.loc["WeiNet", "p"] == "–"
    assert "720 relabellings" in styled.caption and styled.data.loc["VGG16", "heatmaps"] == "30"
    assert styled.to_html().count("font-weight: bold") == 1
    rows = [("folds", "a", 0.3, 1, 1, 2), ("folds", "b", 0.2, 2, 1, 2)]
    rows += [("subjects", "b", 0.2, 2, np.nan, np.nan), ("subjects", "a", 0.3, 1, np.nan, np.nan)]
    ranking = pd.DataFrame(rows, columns=["unit", "network", "estimate", "rank", "low", "high"])
    cells = tables.ranking_table(ranking.assign(score="iou")).data
    assert cells.loc["a"].tolist() == ["0.300", "1", "1 – 2", "–"]
