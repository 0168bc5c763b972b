"""The pictures that steps leave beside their tables: from which tables."""

import pandas as pd
import pytest
from made_faces import make_experiment
from PIL import Image

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


def test_a_picture_has_its_title_and_caption_as_texts(experiment):
    pairs = [("lime", "rise", 0.9), ("lime", "grad_cam", -0.2), ("rise", "grad_cam", 0.1)]
    folder = experiment.comparison_folder
    for name, value in (("heatmap_correlations", "correlation"), ("rank_correlations", "spearman")):
        write_csv(folder / f"{name}.csv", pd.DataFrame(pairs, columns=["first", "second", value]))
    # Of two networks, whose order is the same or the opposite, no picture is drawn.
    (texts,) = drawn(experiment, "explainers", folder).values()
    assert texts["Title"].startswith("Heatmaps") and texts["Comment"].endswith("that all explained.")
