"""The report's figures of explainers, known answers and regions, from their tables."""

import numpy as np
import pandas as pd
import pytest
from made_faces import make_experiment

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_csv
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.measures.localisation import SUMMARY
from ekman_expressions.report import answers
from ekman_expressions.report.source import Source


@pytest.fixture
def source(tmp_path):
    experiment = make_experiment(tmp_path, networks=("SilNet", "WeiNet"))
    return Source(
        name=experiment.name,
        networks=experiment.networks,
        folds=experiment.folds,
        heatmaps={"lime": experiment.heatmaps_folder},
        masks={name: ekman_mask(name) for name in EXPRESSIONS},
        kinds={},
        experiment=experiment,
    )


def _write(source, rows, *parts):
    write_csv(source.experiment.results_folder.joinpath(*parts), pd.DataFrame(rows))


def test_without_tables_there_are_no_figures(source):
    for plots in (answers.explainer_plots, answers.known_plots, answers.region_plots):
        assert list(plots(source)) == []


def test_the_least_and_the_most_alike_explainers_are_named(source):
    pairs = [("lime", "rise", 0.9), ("lime", "grad_cam", -0.2), ("rise", "grad_cam", 0.1)]
    rows = [{"first": a, "second": b, "correlation": r} for a, b, r in pairs]
    _write(source, rows, "explainers", "heatmap_correlations.csv")
    ranks = [{"first": a, "second": b, "spearman": 1.0} for a, b, _ in pairs]
    _write(source, ranks, "explainers", "rank_correlations.csv")
    # Of two networks, whose order is the same or the opposite, no figure is drawn.
    (plot,) = answers.explainer_plots(source)
    assert "Most alike: LIME and RISE (0.90); least: LIME and Grad-CAM (-0.20)" in plot.alt
    assert len(plot.draw().axes) == 2


def test_the_best_localisation_is_told(source):
    rows = [
        (*pair, "all", score, value, value - 0.02, value + 0.02, 12, 6)
        for pair, value in {
            ("centre prior", "none"): 0.55,
            ("lime", "SilNet"): 0.53,
            ("rise", "WeiNet"): 0.61,
        }.items()
        for score in ("auc", "density")
    ]
    _write(
        source, [dict(zip(SUMMARY, row, strict=True)) for row in rows], "known_answers", "localisation.csv"
    )
    (plot,) = answers.known_plots(source)
    assert "Highest AUC: RISE on WeiNet, 0.610 (0.590 to 0.630)" in plot.alt
    assert plot.draw().axes


def test_faces_of_regions_name_the_densest(source):
    names = atlas().names
    density = np.linspace(0.2, 1.9, len(names))
    rows = [
        {
            "level": "region",
            "network": "SilNet",
            "expression": "fear",
            "region": name,
            "density": value,
            "density_low": value - 0.3,
            "units": 5,
            "unit": "subjects",
        }
        for name, value in zip(names, density, strict=True)
    ]
    _write(source, rows, "regions", "regions.csv")
    (plot,) = answers.region_plots(source)
    assert f"{names[-1].replace('_', ' ')} 1.90" in plot.alt
    assert plot.draw().axes
