"""Checking an experiment on disk: each kind of fault is found, and nothing is changed."""

import shutil

import pytest
from made_steps import with_
from stub_study import make_study

from ekman_expressions import Experiment, cli, report
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.facespace import heatmaps
from ekman_expressions.study import run
from ekman_expressions.study.check import _render, _update_numbers, check, compare_numbers

NAMES = ("evaluation", "explanations", "facespace", "heatmaps", "masks")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    experiment = make_study(tmp_path_factory.mktemp("made"))
    run(experiment, *NAMES)
    return experiment


@pytest.fixture
def experiment(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "root")
    return made.replace(root=tmp_path / "root")


def _found(experiment, kind):
    return {path: reason for path, (found, reason) in check(experiment).findings.items() if found == kind}


def test_a_sound_experiment_lacks_only_the_steps_that_were_not_run(experiment):
    before = {path: path.stat().st_mtime_ns for path in experiment.root.rglob("*")}
    found = check(experiment, report.STEPS)
    assert {kind for kind, _ in found.findings.values()} == {"missing"}
    lacking = {path.parent.name for path in found.findings}
    assert lacking == {"scores", "made", "quality", "statistics", "regions", "report"} and found.files > 100
    assert {path: path.stat().st_mtime_ns for path in experiment.root.rglob("*")} == before


def test_damaged_foreign_and_missing_files_are_named(experiment):
    first, second, third = sorted(experiment.records_folder.glob("*/*.npz"))[:3]
    stranger = first.with_name("stranger.npz")
    shutil.copy(first, stranger)
    first.write_bytes(first.read_bytes()[:-100])
    second.unlink()
    table = experiment.heatmaps_folder / "counts.csv"
    table.write_bytes(table.read_bytes().replace(b"1", b"2"))
    heatmap = heatmaps.heatmap_path(experiment.heatmaps_folder, "anger")
    heatmap.write_bytes(heatmap.read_bytes()[:50])
    left = experiment.records_folder / ".writing-4194304-left.npz"
    left.touch()
    note = experiment.results_folder / "notes.docx"
    note.write_text("x")
    assert set(_found(experiment, "damaged")) == {first, table, heatmap, left}
    assert set(_found(experiment, "foreign")) == {stranger, note}
    missing = _found(experiment, "missing")
    assert second in missing and third not in missing


def test_stale_artefacts_are_named_with_the_reason(experiment):
    found = _found(with_(experiment, "explanation", samples=30), "stale")
    reason = "explanation.samples = 20, but the experiment now says 30"
    assert any(reason in text for text in found.values())
    models = {"Stub01": experiment.models["Stub01"]}
    assert _found(experiment.replace(networks=("Stub01",), models=models), "stale")
    with open(experiment.manifest_path, "a") as file:
        file.write("\n")
    found = _found(experiment, "stale")
    assert found[experiment.evaluation_folder / "run.json"] == "changed since it was made: faces/manifest.csv"
    assert experiment.manifest_path in _found(experiment, "damaged")
    entry = experiment.heatmaps_folder / "run.json"
    text = entry.read_text()
    entry.write_text(text[: text.index('"end"')] + '"end": null,' + text[text.index('"outputs"') - 1 :])
    assert "stopped before its end" in _found(experiment, "stale")[entry]


def test_the_command_ends_with_one_where_something_is_wrong(tmp_path, capsys):
    assert cli.main(["check", "smoke", "--root", str(tmp_path / "empty")]) == 1
    assert "the step 'faces' has not run" in capsys.readouterr().out


def test_expected_numbers_are_compared_within_their_tolerance(experiment, tmp_path):
    table = tmp_path / "expected.csv"
    row = "results/{name}/facespace/explanations.csv,network=Stub01;expression=fear,"

    def compare(*rows):
        table.write_text("\n".join(["file,where,column,expected,tolerance,kind", *rows]))
        return compare_numbers(experiment, table)

    found = compare(f"{row}rows,4,0,deterministic", f"{row}r2,0.5,0.5,stochastic")
    assert found["ok"].all() and found["obtained"].iloc[0] == 4
    found = compare(f"{row}rows,3,0.5,deterministic", "results/none.csv,,rows,1,9,deterministic")
    assert found["ok"].tolist() == [False, False]
    assert "0 of 2 numbers as expected" in _render(found) and "there is no" in _render(found)
    compare(f"{row}rows,3,0.5,deterministic")
    _update_numbers(experiment, table)
    assert compare_numbers(experiment, table)["ok"].all()
    with pytest.raises(DataError, match="no number"):
        compare("a.csv,,rows,x,0,deterministic")
    with pytest.raises(MissingError, match="only for demo, smoke"):
        compare_numbers(experiment)
    for name in ("smoke", "demo"):
        assert len(compare_numbers(Experiment.preset(name, root=tmp_path))) > 5
