"""Distances and trees by hand, and the dendrograms of an experiment."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from made_steps import stand_in

from ekman_expressions import Experiment
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, write_arrays, write_csv, write_image
from ekman_expressions.facespace import heatmaps
from ekman_expressions.measures import trees
from ekman_expressions.study import dendrograms
from ekman_expressions.study import run as run_steps

MAPS = arrays(np.uint8, (3, 4, 5)).filter(lambda maps: all(np.ptp(one) for one in maps))


def test_distance_of_a_map_to_its_negative_and_to_a_rescaled_copy():
    one = np.arange(12, dtype=np.uint8).reshape(3, 4) ** 2
    matrix = trees.distances([one, 255 - one, 0.3 * one + 7])
    np.testing.assert_allclose(matrix, [[0, 2, 0], [2, 0, 2], [0, 2, 0]], atol=1e-12)


def test_distance_by_hand():
    # r = sum(ab) / sqrt(sum(a²) sum(b²)) of the centred (-1, 0, 1) and (0, -1, 1).
    matrix = trees.distances([np.array([[0, 1, 2]]), np.array([[1, 0, 2]])])
    assert matrix[0, 1] == pytest.approx(0.5)


@given(MAPS)
def test_distances_are_those_of_numpy_and_symmetric(maps):
    matrix = trees.distances(maps)
    np.testing.assert_allclose(matrix, 1 - np.corrcoef(maps.reshape(3, -1)), atol=1e-9)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any() and matrix.min() >= 0 and matrix.max() <= 2


def test_average_linkage_by_hand():
    # First 0 and 1 join at 0.2; then 2, at the mean of its distances 0.6 and 1.0 to them.
    tree = trees.linkage(np.array([[0, 0.2, 0.6], [0.2, 0, 1.0], [0.6, 1.0, 0]]))
    np.testing.assert_allclose(tree, [[0, 1, 0.2, 2], [2, 3, 0.8, 3]])


def test_what_cannot_be_compared_is_refused_by_name():
    ramp = np.arange(6).reshape(2, 3)
    with pytest.raises(DataError, match="constant are: flat"):
        trees.distances([ramp, np.full((2, 3), 9)], ["ramp", "flat"])
    with pytest.raises(DataError, match=r"\(3, 2\)"):
        trees.distances([ramp, ramp.T])
    with pytest.raises(DataError, match="at least 2 leaves, but got 1"):
        trees.linkage(np.zeros((1, 1)))


@pytest.fixture
def experiment(tmp_path):
    smoke = Experiment.preset("smoke", root=tmp_path)
    return smoke.replace(networks=("WeiNet", "SongNet", "VGG16"))


def _write_heatmaps(experiment, *, constant=(), absent=()):
    generator = np.random.default_rng(0)
    with stand_in(experiment, "heatmaps"):
        for expression in EXPRESSIONS:
            for where in [(), *((network,) for network in experiment.networks), *experiment.pairs]:
                gray = generator.integers(0, 256, (275, 224)).astype(np.uint8)
                if (expression, *where) in constant:
                    gray[:] = 0
                if (expression, *where) not in absent:
                    path = heatmaps.heatmap_path(experiment.heatmaps_folder, expression, *where)
                    write_image(path, gray)
                    write_arrays(path.with_suffix(".npz"), {"heatmap": np.float32(gray)})
        rows = [(*pair, expression, 3) for expression in EXPRESSIONS for pair in experiment.pairs]
        table = pd.DataFrame(rows, columns=["network", "fold", "expression", "images"])
        write_csv(experiment.heatmaps_folder / "counts.csv", table)


def test_every_tree_is_drawn_and_its_distances_are_written(experiment):
    _write_heatmaps(experiment)
    run = run_steps(experiment, "dendrograms")
    folder = experiment.dendrograms_folder
    names = {f"{name.capitalize()}_{level}.png" for name in EXPRESSIONS for level in ("by_net", "by_CV")}
    assert {path.name for path in folder.glob("*.png")} == names | {"By_expression.png"}
    assert run.done == 13 and not run.omissions
    table = read_csv(folder / "distances.csv", dendrograms.COLUMNS)
    # 3 networks, 6 models, 6 expressions.
    assert table.groupby("level").size().to_dict() == {"by_net": 6 * 3, "by_cv": 6 * 15, "by_expression": 15}
    row = table.query(
        "level == 'by_net' and expression == 'fear' and first == 'WeiNet' and second == 'VGG16'"
    )
    pair = [
        heatmaps.read_gray(experiment.heatmaps_folder, "fear", network).ravel()
        for network in ("WeiNet", "VGG16")
    ]
    assert row["distance"].item() == pytest.approx(1 - np.corrcoef(pair)[0, 1])
    assert set(table.query("level == 'by_expression'")["first"]) <= {
        name.capitalize() for name in EXPRESSIONS
    }
    branches = read_csv(folder / "branches.csv", dendrograms.BRANCHES)
    # A tree of 3 networks has 2 branches, one of 6 expressions 5; the root is always there.
    assert len(branches) == 6 * 2 + 5 and branches["support"].between(0, 1).all()
    roots = branches[
        branches["leaves"].str.split().str.len() == branches["level"].map({"by_net": 3, "by_expression": 6})
    ]
    assert len(roots) == 7 and (roots["support"] == 1).all()
    found = read_csv(folder / "statistics.csv", dendrograms.STATISTICS)
    sizes = found.groupby("statistic").size().to_dict()
    assert sizes["cophenetic_correlation"] == 13 and sizes["reliability_auc"] == 6
    before = (folder / "Anger_by_net.png").read_bytes()
    assert run_steps(experiment, "dendrograms").skipped == 13
    (folder / "Fear_by_CV.png").unlink()
    run_steps(experiment, "dendrograms")
    assert (folder / "Fear_by_CV.png").exists()
    assert (folder / "Anger_by_net.png").read_bytes() == before


def test_missing_and_constant_heatmaps_are_listed(experiment):
    _write_heatmaps(
        experiment,
        constant=[("anger", "WeiNet"), ("fear", "WeiNet")],
        absent=[("fear", "SongNet"), ("sadness",)],
    )
    run = run_steps(experiment, "dendrograms")
    listed = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert "constant" in listed["WeiNet in Anger_by_net.png"]
    assert "no such heatmap" in listed["SongNet in Fear_by_net.png"]
    assert "at least 2" in listed["Fear_by_net.png"]
    assert "no such heatmap" in listed["Sadness in By_expression.png"]
    assert not (experiment.dendrograms_folder / "Fear_by_net.png").exists()
    table = read_csv(experiment.dendrograms_folder / "distances.csv")
    assert len(table.query("level == 'by_net' and expression == 'anger'")) == 1


def test_heatmaps_must_be_finished(experiment):
    with pytest.raises(MissingError, match="heatmaps"):
        run_steps(experiment, "dendrograms")
