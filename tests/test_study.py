"""The whole study in small: notebooks and command line, twice the same bytes."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from ekman_expressions import cli, report

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = REPOSITORY / "notebooks"
ARTEFACTS = ("datasets", "models", "results", "heatmaps", "barplots", "dendograms")
TIMES = ("run.json", "_training.json", "provenance.html")


def _run(*command: str) -> str:
    answer = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=REPOSITORY)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout + answer.stderr


def _files(root: Path) -> dict[str, bytes]:
    """Contents of all artefacts but those that hold times, and executed notebooks, which hold paths."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ARTEFACTS
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and not path.name.endswith(TIMES) and "notebooks" not in path.parts
    }


@pytest.fixture(scope="module")
def by_command(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("command")
    _run("-m", "ekman_expressions.cli", "run", "--preset", "smoke", "--root", str(root))
    return root


@pytest.fixture(scope="module")
def by_notebooks(by_command, tmp_path_factory) -> Path:
    """All but the steps that take longest, which the notebooks find done if what goes in has the same bytes."""
    root = tmp_path_factory.mktemp("notebooks")
    steps = ("explanations", "explainers", "quality", "statistics", "known_answers")
    for folder in ("datasets", "models", *(f"results/smoke/{step}" for step in steps)):
        shutil.copytree(by_command / folder, root / folder)
    names = [path.name for path in NOTEBOOKS.glob("*.ipynb")]
    _run("tools/run_notebooks.py", "--preset", "smoke", "--root", str(root), "--one-kernel", *names)
    return root


def test_all_notebooks_run_with_the_smoke_preset(by_notebooks):
    """A cell that raises ends `tools/run_notebooks.py` with an error."""
    executed = by_notebooks / "results" / "smoke" / "notebooks"
    assert {path.name for path in executed.iterdir()} == {path.name for path in NOTEBOOKS.glob("*.ipynb")}
    for path in executed.iterdir():
        cells = nbformat.read(path, as_version=4).cells
        assert all(cell.execution_count for cell in cells if cell.cell_type == "code"), path


def test_command_line_and_notebooks_write_the_same_bytes(by_notebooks, by_command):
    notebooks, command = _files(by_notebooks), _files(by_command)
    assert sorted(notebooks) == sorted(command)
    assert [name for name in notebooks if notebooks[name] != command[name]] == []


def test_a_second_run_finds_all_done(by_command, capsys):
    before = _files(by_command)
    assert cli.main(["run", "--preset", "smoke", "--root", str(by_command)]) == 0
    told = capsys.readouterr().out
    made = [line.strip() for line in told.splitlines() if " made" in line]
    assert len(made) == len(report.STEPS)
    # What was left out is tried again: which faces the tiny networks leave out differs between processors.
    assert all(line.startswith("0 items made") or "left out" in line for line in made), made
    assert _files(by_command) == before


def test_the_study_is_sound_and_gives_the_expected_numbers(by_command, capsys):
    assert cli.main(["check", "smoke", "--root", str(by_command)]) == 0
    assert "0 missing, 0 stale, 0 foreign, 0 damaged" in capsys.readouterr().out
    assert cli.main(["expect", "smoke", "--root", str(by_command)]) == 0
