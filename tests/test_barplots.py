"""The barplots of an experiment: which are drawn, of what, and what is left out."""

import numpy as np
import pandas as pd
import pytest
from made_steps import stand_in

from ekman_expressions import Experiment, figures
from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import write_csv
from ekman_expressions.facespace import masks
from ekman_expressions.study import run as run_steps


@pytest.fixture
def experiment(tmp_path):
    smoke = Experiment.preset("smoke", root=tmp_path)
    return smoke.replace(networks=("WeiNet", "SongNet", "VGG16"))


def _scores(experiment):
    rows = [
        (*model, expression, place / 40)
        for place, (model, expression) in enumerate(
            (model, expression) for model in experiment.pairs for expression in EXPRESSIONS
        )
    ]
    table = pd.DataFrame(rows, columns=["network", "fold", "expression", "iou"])
    return table.assign(f1_score=table["iou"], precision=0.5, recall=0.5)


def _write(experiment, table):
    run_steps(experiment, "masks")
    with stand_in(experiment, "scores"):
        write_csv(experiment.scores_folder / "scores_by_fold.csv", table)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, by file name."""
    kept, save = {}, figures.save

    def keep(figure, path, **words):
        kept[path.name] = figure
        save(figure, path)

    monkeypatch.setattr(figures, "save", keep)
    return kept


def _bars(figure):
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    return dict(zip(names, [bar.get_width() for bar in axes.patches], strict=True))


def test_bars_are_means_over_folds_then_networks(experiment, drawn):
    table = _scores(experiment)
    _write(experiment, table)
    run = run_steps(experiment, "barplots")
    assert run.done == 13 and not run.omissions
    names = {f"{title(name)}_{level}.png" for name in EXPRESSIONS for level in ("by_net", "by_CV")}
    assert (
        set(drawn)
        == {path.name for path in experiment.barplots_folder.glob("*.png")}
        == names | {"By_expression.png"}
    )
    fear = table[table["expression"] == "fear"]
    by_net = fear.groupby("network")["iou"].mean().sort_values(ascending=False)
    assert _bars(drawn["Fear_by_net.png"]) == pytest.approx(by_net.to_dict())
    assert list(_bars(drawn["Fear_by_net.png"])) == list(by_net.index)
    by_fold = dict(zip(fear["network"] + "_" + fear["fold"], fear["iou"], strict=True))
    assert _bars(drawn["Fear_by_CV.png"]) == pytest.approx(by_fold)
    means = table.groupby("expression")["iou"].mean()
    assert _bars(drawn["By_expression.png"]) == pytest.approx(
        {title(name): means[name] for name in EXPRESSIONS}
    )
    # The baseline is the share of the canvas that the mask covers.
    lines = [line for line in drawn["Fear_by_net.png"].axes[0].lines if line.get_marker() != "o"]
    assert lines[0].get_xdata()[0] == pytest.approx(masks.ekman_mask("fear").mean())


def test_expression_averages_weigh_networks_alike_when_folds_are_missing(experiment, drawn):
    table = _scores(experiment)
    table.loc[(table["network"] == "WeiNet") & (table["fold"] == "CV1"), "iou"] = np.nan
    _write(experiment, table)
    run_steps(experiment, "barplots")
    anger = table[table["expression"] == "anger"].groupby("network")["iou"].mean().mean()
    assert _bars(drawn["By_expression.png"])["Anger"] == pytest.approx(anger)
    assert any("(1 of 2)" in text.get_text() for text in drawn["Anger_by_net.png"].axes[0].texts)


def test_expressions_without_scores_are_listed_and_their_old_figures_removed(experiment, monkeypatch):
    # Which files there are does not depend on what is in them.
    monkeypatch.setattr(figures, "barplot", lambda *table, **options: None)
    monkeypatch.setattr(figures, "save", lambda figure, path, **words: write_csv(path, pd.DataFrame()))
    table = _scores(experiment)
    _write(experiment, table)
    run_steps(experiment, "barplots")
    assert run_steps(experiment, "barplots").skipped == 13
    (experiment.barplots_folder / "Anger_by_net.png").unlink()
    assert run_steps(experiment, "barplots").done == 13
    table.loc[table["expression"] == "sadness", "iou"] = np.nan
    _write(experiment, table)
    (experiment.scores_folder / "run.json").unlink()
    _write(experiment, table)
    run = run_steps(experiment, "barplots")
    assert {entry["item"] for entry in run.omissions} == {"Sadness_by_net.png", "Sadness_by_CV.png"}
    assert not list(experiment.barplots_folder.glob("Sadness*"))
    assert (experiment.barplots_folder / "By_expression.png").exists()


def test_scores_must_be_finished(experiment):
    with pytest.raises(MissingError, match="'scores'"):
        run_steps(experiment, "barplots")
