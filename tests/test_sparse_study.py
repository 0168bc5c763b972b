"""All steps of a study with one model, which only answers, and of which much is not there."""

import pandas as pd
import pytest
from made_steps import stand_in
from stub_study import make_study

from ekman_expressions import report
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_csv
from ekman_expressions.study import read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.check import check

STEPS = [name for name in report.STEPS if name != "faces"]


def _study(root, keep=lambda rows: rows):
    experiment = make_study(root, networks=1, folds=2, faces=2, positives=1)
    explanation = experiment.explanation.replace(compare=("grad_cam",), quality_faces=1, quality_samples=10)
    experiment = experiment.replace(explanation=explanation)
    manifest = pd.read_csv(experiment.manifest_path)
    with stand_in(experiment, "faces"):
        write_csv(experiment.manifest_path, keep(manifest))
    return experiment


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """One fold has no faces at all, and no face is called fear."""

    def keep(rows):
        return rows[(rows["expression"] != "fear") & (rows["fold"] != "CV2")]

    experiment = _study(tmp_path_factory.mktemp("sparse"), keep)
    run_steps(experiment, *STEPS, steps=report.STEPS)
    return experiment


def test_every_step_works_with_what_there_is_and_what_was_left_out_is_told_by_reason(sparse):
    assert set(read_results(sparse, "quality", "reliability")["fold"]) == {"CV1"}
    assert set(read_results(sparse, "regions", "regions")["expression"]) == set(EXPRESSIONS) - {"fear"}
    assert (sparse.report_folder / "index.html").exists()

    found = check(sparse, report.STEPS)
    assert found.findings == {}
    told = [line for line in found.summary().splitlines() if line.startswith("  left out by 'heatmaps'")]
    assert any("no face was predicted as fear" in line and "Stub01_CV1_Fear" in line for line in told)


def test_a_second_run_makes_nothing(sparse, capsys):
    before = {path: path.read_bytes() for path in sparse.root.rglob("run.json")}
    run_steps(sparse, *STEPS, steps=report.STEPS, echo=True)
    made = [line for line in capsys.readouterr().out.splitlines() if " made" in line]
    assert len(made) == len(STEPS) and all(line.strip().startswith("0 items made") for line in made), made
    assert {path: path.read_bytes() for path in sparse.root.rglob("run.json")} == before


def test_a_record_that_another_explainer_left_out_is_missing_all_the_same(sparse):
    record = next(sparse.records_folder.glob("*/*.npz"))
    kept = record.read_bytes()
    record.unlink()
    assert check(sparse, report.STEPS).findings[record] == ("missing", "run.json names it")
    record.write_bytes(kept)
