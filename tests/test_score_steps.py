"""The steps "scores", "barplots" and "dendrograms": what they write, and what is left out."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_steps import stand_in

from ekman_expressions import Experiment, figures
from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_csv, write_arrays, write_csv, write_image
from ekman_expressions.facespace import heatmaps, masks
from ekman_expressions.facespace.heatmaps import heatmap_path
from ekman_expressions.measures import summarise
from ekman_expressions.study import read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.heatmaps import _BRANCHES, _DISTANCES, _STATISTICS


@pytest.fixture
def scored(tmp_path):
    """An experiment whose heatmaps are its masks, but for one that is missing and one that is flat."""
    experiment = Experiment.preset("smoke", root=tmp_path)
    run_steps(experiment, "masks")
    with stand_in(experiment, "heatmaps"):
        places = itertools.product(experiment.networks, (*experiment.folds, None), EXPRESSIONS)
        for network, fold, expression in places:
            gray = masks.ekman_mask(expression).astype(np.uint8) * 255
            if (network, fold, expression) == ("WeiNet", "CV1", "sadness"):
                gray[:] = 0
            if (network, fold, expression) == ("WeiNet", "CV1", "anger"):
                gray = 255 - gray
            if (network, fold, expression) != ("WeiNet", "CV2", "fear"):
                write_image(heatmap_path(experiment.heatmaps_folder, expression, network, fold), gray)
    return experiment


def test_score_writes_every_table_and_lists_what_cannot_be_scored(scored):
    run = run_steps(scored, "scores")
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert set(reasons) == {"WeiNet_CV2_Fear", "WeiNet_CV1_Sadness"}
    assert "no such heatmap" in reasons["WeiNet_CV2_Fear"]
    assert "0 everywhere" in reasons["WeiNet_CV1_Sadness"]
    assert run.done == 2 * 2 * 6 - 2 + 2 * 6

    by_fold = read_results(scored, "scores", "scores_by_fold")
    assert len(by_fold) == 2 * 2 * 6
    cells = by_fold.set_index(["network", "fold", "expression"])
    assert cells.loc[("WeiNet", "CV2", "fear")].isna().all()
    assert cells.loc[("WeiNet", "CV1", "anger"), "iou"] == 0
    assert (cells.loc["SongNet"] == 1).all(axis=None)

    table = read_results(scored, "scores", "scores").set_index(["network", "expression"])["iou"]
    assert table["WeiNet", "Anger"] == 0.5
    assert table["WeiNet", "Fear"] == 1
    assert table["WeiNet", "Average"] == pytest.approx(5.5 / 6)
    assert table["Average", "Anger"] == 0.75
    assert (read_results(scored, "scores", "scores_pooled")["iou"] == 1).all()
    wide = read_csv(scored.scores_folder / "table_iou_f1.csv", ("network", "Anger IoU", "Average F1"))
    assert wide["Anger IoU"].tolist() == [0.5, 1, 0.75]
    read_csv(scored.scores_folder / "table_precision_recall.csv", ("Fear Precision", "Average Recall"))

    write_image(masks._mask_path(scored.masks_folder, "fear"), np.zeros((275, 224), np.uint8))
    run = run_steps(scored, "scores")
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert "mask is empty" in reasons["WeiNet_CV1_Fear"]
    table = read_results(scored, "scores", "scores").set_index(["network", "expression"])["iou"]
    assert np.isnan(table["Average", "Fear"])


def test_a_table_that_cannot_be_read_says_what_there_is(scored):
    with pytest.raises(MissingError, match="'scores'"):
        read_results(scored, "scores", "scores")
    run_steps(scored, "scores")
    with pytest.raises(MissingError, match="no table 'score'. It has .*scores, scores_by_fold"):
        read_results(scored, "scores", "score")
    with pytest.raises(SettingsError, match="No step 'score'"):
        read_results(scored, "score", "scores")
    path = scored.scores_folder / "scores_by_fold.csv"
    path.write_text(path.read_text().replace("iou", "jaccard", 1))
    with pytest.raises(DataError, match="iou"):
        run_steps(scored, "barplots")


@pytest.fixture
def experiment(tmp_path):
    smoke = Experiment.preset("smoke", root=tmp_path)
    return smoke.replace(networks=("WeiNet", "SongNet", "VGG16"))


def _scores(experiment):
    places = itertools.product(experiment.pairs, EXPRESSIONS)
    rows = [(*model, expression, place / 40) for place, (model, expression) in enumerate(places)]
    table = pd.DataFrame(rows, columns=["network", "fold", "expression", "iou"])
    return table.assign(f1_score=table["iou"], precision=0.5, recall=1 - table["iou"])


def _write(experiment, table):
    run_steps(experiment, "masks")
    with stand_in(experiment, "scores"):
        write_csv(experiment.scores_folder / "scores_by_fold.csv", table)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, by file name; no pixel of them is drawn."""
    kept = {}

    def keep(figure, path, **words):
        kept[path.name] = figure
        path.write_text(path.name)

    monkeypatch.setattr(figures, "save", keep)
    return kept


def _bars(figure, panel=0):
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    return dict(zip(names, [bar.get_width() for bar in figure.axes[panel].patches], strict=True))


NAMES = {"IoU_by_net.png", "Precision_by_net.png", "Recall_by_net.png", "By_expression.png"}


def test_bars_are_means_over_folds_then_networks(experiment, drawn):
    table = _scores(experiment)
    _write(experiment, table)
    run = run_steps(experiment, "barplots")
    assert run.done == 4 and not run.omissions
    assert set(drawn) == {path.name for path in experiment.barplots_folder.glob("*.png")} == NAMES
    for score, file in (("iou", "IoU_by_net.png"), ("recall", "Recall_by_net.png")):
        figure = drawn[file]
        panels = [axes.get_title() for axes in figure.axes if axes.get_visible()]
        assert panels == ["Average", *map(title, EXPRESSIONS)]
        # One order of networks for all panels, that of the average, the best first.
        cells = table.groupby(["network", "expression"])[score].mean().unstack()
        best = cells.mean(axis=1).sort_values(ascending=False)
        assert _bars(figure) == pytest.approx(best.to_dict()) and list(_bars(figure)) == list(best.index)
        for place, name in enumerate(EXPRESSIONS, start=1):
            assert _bars(figure, place) == pytest.approx(cells[name].to_dict())
            limits = figure.axes[place].get_xlim()
            assert limits == figure.axes[0].get_xlim() and limits[1] >= table[score].max()
        # What an all-white mask would score: the share of the canvas that the mask covers, or all of it.
        lines = [line for line in figure.axes[3].lines if line.get_marker() != "o"]
        area = masks.ekman_mask("fear").mean() if score == "iou" else 1
        assert lines[0].get_xdata()[0] == pytest.approx(area)
    means = table.groupby("expression")["iou"].mean()
    assert _bars(drawn["By_expression.png"]) == pytest.approx({title(n): means[n] for n in EXPRESSIONS})


def test_averages_are_those_of_the_tables_when_folds_or_scores_are_missing(experiment, drawn):
    table = _scores(experiment)
    # Of one fold, one expression is left, whose score must not weigh like that of six.
    lost = (table["network"] == "WeiNet") & (table["fold"] == "CV1") & (table["expression"] != "fear")
    table.loc[lost, "iou"] = np.nan
    _write(experiment, table)
    run_steps(experiment, "barplots")
    anger = table[table["expression"] == "anger"].groupby("network")["iou"].mean().mean()
    assert _bars(drawn["By_expression.png"])["Anger"] == pytest.approx(anger)
    averages = summarise(table).set_index(["expression", "network"])["iou"]["Average"].drop("Average")
    assert _bars(drawn["IoU_by_net.png"]) == pytest.approx(averages.to_dict())
    texts = [text.get_text() for text in drawn["IoU_by_net.png"].axes[1].texts]
    assert sum(text.endswith("*") for text in texts) == 1
    assert not any("*" in text.get_text() for text in drawn["Recall_by_net.png"].axes[1].texts)
    # A score of which nothing is left is listed, and its old figure removed.
    _write(experiment, table.assign(precision=np.nan))
    run = run_steps(experiment, "barplots")
    assert {entry["item"] for entry in run.omissions} == {"Precision_by_net.png"}
    left = {path.name for path in experiment.barplots_folder.glob("*.png")}
    assert left == NAMES - {"Precision_by_net.png"}


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
    table = read_csv(folder / "distances.csv", _DISTANCES)
    # 3 networks, 6 models, 6 expressions.
    assert table.groupby("level").size().to_dict() == {"by_net": 6 * 3, "by_cv": 6 * 15, "by_expression": 15}
    pair = ("WeiNet", "VGG16")
    row = table.query("level == 'by_net' and expression == 'fear' and first == @pair[0] and second == @pair[1]")
    pair = [heatmaps.read_gray(experiment.heatmaps_folder, "fear", network).ravel() for network in pair]
    assert row["distance"].item() == pytest.approx(1 - np.corrcoef(pair)[0, 1])
    assert set(table.query("level == 'by_expression'")["first"]) <= set(map(title, EXPRESSIONS))
    branches = read_csv(folder / "branches.csv", _BRANCHES)
    # A tree of 3 networks has 2 branches, one of 6 expressions 5; the root is always there.
    assert len(branches) == 6 * 2 + 5 and branches["support"].between(0, 1).all()
    leaves = branches["level"].map({"by_net": 3, "by_expression": 6})
    roots = branches[branches["leaves"].str.split().str.len() == leaves]
    assert len(roots) == 7 and (roots["support"] == 1).all()
    found = read_csv(folder / "statistics.csv", _STATISTICS)
    sizes = found.groupby("statistic").size().to_dict()
    assert sizes["cophenetic_correlation"] == 13 and sizes["reliability_auc"] == 6


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
    # Of two leaves the distance is kept, and no tree drawn.
    for name in ("Anger", "Fear"):
        assert not (experiment.dendrograms_folder / f"{name}_by_net.png").exists()
    table = read_csv(experiment.dendrograms_folder / "distances.csv")
    assert len(table.query("level == 'by_net' and expression == 'anger'")) == 1
