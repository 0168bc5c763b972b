"""The pictures that steps leave beside their tables: from which tables, and what their words say."""

import itertools

import pandas as pd
import pytest
from made_faces import make_experiment
from PIL import Image

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_csv
from ekman_expressions.study.pictures import _draw_pictures
from ekman_expressions.study.provenance import Run


@pytest.fixture
def experiment(tmp_path):
    return make_experiment(tmp_path, networks=("SilNet", "WeiNet"))


def drawn(experiment, step, folder):
    """Draw a step's pictures; their words by their names."""
    run = Run(folder)
    _draw_pictures(experiment, step, folder, run)
    assert run.done == 0 and not run.omissions and set(run.outputs) == set(folder.glob("*.png"))
    texts = {}
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            texts[path.stem] = picture.text
    return texts


@pytest.mark.parametrize("step", ["explainers", "regions", "known_answers", "statistics"])
def test_without_tables_there_are_no_pictures(experiment, tmp_path, step):
    assert drawn(experiment, step, tmp_path / "none") == {}


def test_the_least_and_the_most_alike_explainers_are_named(experiment):
    pairs = [("lime", "rise", 0.9), ("lime", "grad_cam", -0.2), ("rise", "grad_cam", 0.1)]
    folder = experiment.comparison_folder
    for name, value in (("heatmap_correlations", "correlation"), ("rank_correlations", "spearman")):
        write_csv(folder / f"{name}.csv", pd.DataFrame(pairs, columns=["first", "second", value]))
    # Of two networks, whose order is the same or the opposite, no picture is drawn.
    (texts,) = drawn(experiment, "explainers", folder).values()
    assert "Most alike: LIME and RISE (0.90); least: LIME and Grad-CAM (-0.20)" in texts["Description"]
    assert texts["Title"].startswith("Heatmaps") and texts["Comment"].endswith("that all explained.")


def test_accuracies_and_confusions_are_put_in_words(experiment):
    confusion = pd.DataFrame(
        [
            (net, a, b, 3 * (a == b) + (b == "fear"))
            for net, a, b in itertools.product(experiment.networks, EXPRESSIONS, EXPRESSIONS)
        ],
        columns=["network", "expression", "predicted", "images"],
    )
    folder = experiment.evaluation_folder
    write_csv(folder / "confusion.csv", confusion)
    scores = pd.DataFrame({"network": experiment.networks, "fold": "CV1", "accuracy": [0.25, 0.5]})
    write_csv(folder / "accuracy_by_fold.csv", scores)
    texts = drawn(experiment, "evaluation", folder)
    assert texts["accuracy"]["Description"] == "Bars of accuracy: SilNet 0.250, WeiNet 0.500."
    # 19 of 24 are right.
    assert "SilNet: 79% right, most often wrong anger taken for fear (1)" in texts["confusion"]["Description"]
