"""Checking an experiment on disk: each kind of fault is found, and nothing is changed."""

import shutil

import pytest
from stub_study import make_study

from ekman_expressions import cli
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.facespace import heatmaps
from ekman_expressions.study import evaluation, expected, explanations, facespace, integrity, masks
from ekman_expressions.study import heatmaps as heatmaps_step

STEPS = (
    evaluation.evaluate,
    explanations.explain,
    facespace.normalise_explanations,
    heatmaps_step.make,
    masks.write,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    experiment = make_study(tmp_path_factory.mktemp("made"))
    for step in STEPS:
        step(experiment)
    return experiment


@pytest.fixture
def experiment(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "root")
    return made.replace(root=tmp_path / "root")


def _found(experiment, kind):
    report = integrity.check(experiment)
    return [
        path.relative_to(experiment.root).as_posix() for found, path, _ in report.findings if found == kind
    ]


def test_a_sound_experiment_lacks_only_the_steps_that_were_not_run(experiment):
    before = {path: path.stat().st_mtime_ns for path in experiment.root.rglob("*")}
    report = integrity.check(experiment)
    assert {kind for kind, _, _ in report.findings} == {"missing"}
    lacking = {path.parent.name for _, path, _ in report.findings}
    assert lacking == {"scores", "made", "quality", "statistics", "regions", "report"} and report.files > 100
    assert {path: path.stat().st_mtime_ns for path in experiment.root.rglob("*")} == before


def test_damaged_files_are_named(experiment):
    record = next(experiment.records_folder.glob("*/*.npz"))
    record.write_bytes(record.read_bytes()[:-100])
    maps = next(experiment.facespace_folder.glob("*.npz"))
    content = bytearray(maps.read_bytes())
    content[len(content) // 2] ^= 255
    maps.write_bytes(content)
    heatmap = heatmaps.heatmap_path(experiment.heatmaps_folder, "anger")
    heatmap.write_bytes(heatmap.read_bytes()[:50])
    left = experiment.records_folder / ".writing-4194304-left.npz"
    left.touch()
    files = {path.relative_to(experiment.root).as_posix() for path in (record, maps, heatmap)}
    assert files <= set(_found(experiment, "damaged"))
    assert ".writing-4194304-left.npz" not in str(_found(experiment, "foreign"))


def test_foreign_and_missing_files_are_named(experiment):
    first, second, third = sorted(experiment.records_folder.glob("*/*.npz"))[:3]
    shutil.copy(first, second)
    third.unlink()
    (experiment.records_folder / "Stub01_CV1" / "stranger.npz").write_bytes(first.read_bytes())
    (experiment.results_folder / "notes.docx").write_text("x")
    foreign = set(_found(experiment, "foreign"))
    assert second.relative_to(experiment.root).as_posix() in foreign
    assert any("stranger.npz" in name for name in foreign) and any("notes.docx" in name for name in foreign)
    assert third.relative_to(experiment.root).as_posix() in _found(experiment, "missing")


def test_stale_artefacts_are_named_with_the_reason(experiment):
    explanation = experiment.explanation.replace(samples=30)
    report = integrity.check(experiment.replace(explanation=explanation))
    assert any(
        "explanation.samples = 20, but the experiment now says 30" in text for *_, text in report.findings
    )
    with open(experiment.manifest_path, "a") as file:
        file.write("\n")
    reasons = [text for kind, _, text in integrity.check(experiment).findings if kind == "stale"]
    assert any("manifest.csv" in text for text in reasons)


def test_omissions_are_told_by_reason_and_are_not_missing(experiment):
    from ekman_expressions.study import prepared

    broken = evaluation.read_explained(experiment)["image_id"][0]
    prepared.face_path(experiment, broken).write_bytes(b"")
    shutil.rmtree(experiment.results_folder / "explanations")
    explanations.explain(experiment)
    report = integrity.check(experiment)
    assert not [
        path for kind, path, _ in report.findings if kind == "missing" and "explanations" in str(path)
    ]
    assert f"left out by 'explanations', 2: {experiment.root}" in report.summary()


def test_the_command_ends_with_one_where_something_is_wrong(experiment, tmp_path, capsys):
    assert cli.main(["check", "smoke", "--root", str(tmp_path / "empty")]) == 1
    assert "the step 'faces' has not run" in capsys.readouterr().out


def test_expected_numbers_are_compared_within_their_tolerance(experiment, tmp_path):
    table = tmp_path / "expected.csv"
    head = "file,where,column,expected,tolerance,kind\n"
    row = "results/{name}/explanations/explanations.csv,network=Stub01;expression=fear,"
    table.write_text(f"{head}{row}rows,4,0,deterministic\n{row}r2,0.5,0.5,stochastic\n")
    found = expected.compare(experiment, table)
    assert found.ok and found.table["obtained"].iloc[0] == 4
    table.write_text(f"{head}{row}rows,3,0.5,deterministic\nresults/none.csv,,rows,1,9,deterministic\n")
    found = expected.compare(experiment, table)
    assert found.table["ok"].tolist() == [False, False]
    assert "0 of 2 numbers as expected" in found.summary() and "there is no" in found.summary()
    table.write_text(f"{head}{row}rows,3,0.5,deterministic\n")
    expected.update(experiment, table)
    assert expected.compare(experiment, table).ok


def test_tables_of_expected_numbers_are_checked(experiment, tmp_path):
    with pytest.raises(MissingError, match="only for demo, smoke"):
        expected.compare(experiment)
    table = tmp_path / "expected.csv"
    for row, message in (("a.csv,,rows,x,0,deterministic", "no number"), ("a.csv,,rows,1,0,exact", "exact")):
        table.write_text(f"file,where,column,expected,tolerance,kind\n{row}\n")
        with pytest.raises(DataError, match=message):
            expected.compare(experiment, table)
    for name in ("smoke", "demo"):
        assert len(expected.read_expected(expected.expected_path(name))) > 5
