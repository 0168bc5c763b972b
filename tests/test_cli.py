"""The command line and scripts in odd surroundings: one plain line says what to do."""

import errno
import re
import subprocess
import sys

import numpy as np
import pytest
import test_api
from PIL import Image
from tqdm import tqdm

from ekman_expressions import cli, report
from ekman_expressions.core.errors import SettingsError
from ekman_expressions.study.experiment import Experiment


def _python(*arguments, shell_end=""):
    command = " ".join(f"'{word}'" for word in (sys.executable, *map(str, arguments))) + shell_end
    return subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)


def test_steps_are_listed_and_planned_and_what_cannot_run_is_told(tmp_path, capsys):
    assert cli.main(["run", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(report.STEPS)
    here = ["--root", str(tmp_path)]
    assert cli.main(["run", "smoke", "--steps", "faces, training", "--dry-run", *here]) == 0
    assert capsys.readouterr().out.split("\n")[1] == "training       run: after faces"
    assert not any(tmp_path.iterdir())
    for options, told in (
        (["smoke", "--preset", "demo"], "'smoke' and 'demo'"),
        (["--preset", "dmeo"], "There is no preset 'dmeo', only demo, fast, paper, small, smoke"),
        (["smoke", "--steps", "faces,traning"], "Unknown step traning. The steps are faces, training"),
        (["smoke", "--from", "scores"], "the step 'heatmaps': run it first"),
    ):
        assert cli.main(["run", *options, *here]) == 2
        found = capsys.readouterr()
        assert told in found.err
    # Where it begins.
    assert found.out == "[1/9] scores\n"
    assert cli.main(["info"]) == 0
    told = capsys.readouterr().out
    for name in ("tensorflow 2", "numpy 2", "platform", "device", "landmark model", "root"):
        assert name in told


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied"), "write to with --root"),
        (ImportError("libGL.so.1: cannot open shared object file"), "opencv-python-headless"),
    ],
)
def test_errors_of_the_machine_are_one_line_with_the_advice_that_fits(monkeypatch, capsys, error, advice):
    def fail():
        raise error

    monkeypatch.setattr(cli, "info", fail)
    assert cli.main(["info"]) == 2
    told = capsys.readouterr().err
    assert advice in told and told.count("\n") == 1


def test_a_script_without_main_guard_is_told_so_before_processes_start(tmp_path):
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(
        "from ekman_expressions.study import Run, execution\n"
        "with execution.using('local:2'):\n"
        "    execution._run_tasks([], Run(), desc='', unit='')\n"
    )
    found = _python(script)
    assert found.returncode == 1
    assert "__main__" in found.stderr.splitlines()[-1]
    assert "bootstrapping" not in found.stderr


def test_quiet_draws_no_bars_and_verbose_says_where_an_error_arose(monkeypatch, capsys):
    def count():
        list(tqdm(range(3)))
        raise SettingsError("something is wrong")

    monkeypatch.setattr(cli, "info", count)
    for option, bars, trace in (([], True, False), (["-q"], False, False), (["-q", "-v"], False, True)):
        assert cli.main(["info", *option]) == 2
        told = capsys.readouterr().err
        assert ("3/3" in told, "in count" in told) == (bars, trace) and "something is wrong" in told


def test_notebooks_and_settings_are_written_and_none_is_replaced(tmp_path, capsys):
    mine = tmp_path / "mine" / "start_here.ipynb"
    mine.parent.mkdir()
    mine.write_text("changed")
    assert cli.main(["notebooks", str(mine.parent)]) == 0
    assert mine.read_text() == "changed" and f"left as it is: {mine}" in capsys.readouterr().out
    assert {"start_here.ipynb", "0_datasets.ipynb"} <= {path.name for path in mine.parent.iterdir()}
    mine = tmp_path / "mine.toml"
    assert cli.main(["init", str(mine), "--preset", "smoke"]) == 0
    assert Experiment.load(mine).name == "mine"
    assert cli.main(["init", str(mine)]) == 2
    assert "must be new" in capsys.readouterr().err
    assert cli.main(["init", str(tmp_path / "bad name.toml")]) == 2
    assert not (tmp_path / "bad name.toml").exists()


def test_pictures_are_explained_in_one_command(tmp_path, capsys):
    pictures, out = tmp_path / "pictures", tmp_path / "new" / "folder" / "figure.png"
    test_api.photographs(pictures)
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(pictures / "noise.png")
    classes = "anger, disgust, fear, happy, sad, surprise"
    options = ["--model", f"{test_api.__file__}:mouth_reader", "--classes", classes, "--out", str(out)]
    options += "--side 64 --explainer facial_regions --target happiness".split()
    options += "--option samples=200 --option hidden=0.0".split()
    assert cli.main(["explain", str(pictures), *options]) == 0
    told = capsys.readouterr().out
    assert "left out: noise.png: no face found" in told
    parts = re.findall(r"^  (\w+) \d+%", told, re.MULTILINE)
    assert len(parts) == 6 and parts.count("mouth") >= 5
    assert len(re.findall(r"R² \d.\d\d, on unseen samples \d.\d\d: the weights tell more", told)) == 6
    drawn = {path.name for path in out.parent.iterdir() if path.stat().st_size > 10_000}
    assert drawn == {f"figure_{path.stem}.png" for path in pictures.iterdir() if path.stem != "noise"}
    # One face, and the network that comes with the package.
    one = ["explain", str(pictures / "id08_anger_2.webp"), "--explainer", "occlusion", "--out", str(out)]
    assert cli.main(one) == 0
    told = capsys.readouterr().out
    assert out.is_file() and "id08_anger_2: anger, probability" in told and "cannot be told" in told


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["noise.png"], "no face found). Faces are found where they are upright"),
        (["noise.png", "--side", "64"], "name its file with --model"),
        (["noise.png", "--model", "no.onnx", "--classes", "happy,sad"], "There is no model"),
    ],
)
def test_pictures_that_cannot_be_explained_are_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, advice):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((64, 64), np.uint8)).save("noise.png")
    assert cli.main(["explain", *arguments]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("ekman-expressions: ") and advice in told
    assert [path.name for path in tmp_path.iterdir()] == ["noise.png"]
