"""The command line and scripts in odd surroundings: one plain line says what to do."""

import errno
import subprocess
import sys

import pytest

from ekman_expressions import cli
from ekman_expressions.study.experiment import Experiment


def _python(*arguments, shell_end=""):
    command = " ".join(f"'{word}'" for word in (sys.executable, *map(str, arguments))) + shell_end
    return subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)


def test_steps_are_listed_and_one_experiment_is_named(capsys):
    assert cli.main(["run", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(cli.STEPS)
    assert cli.main(["run", "smoke", "--preset", "demo"]) == 2
    assert "'smoke' and 'demo'" in capsys.readouterr().err


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


def test_other_import_errors_are_not_hidden(monkeypatch):
    def fail():
        raise ImportError("nothing about OpenCV")

    monkeypatch.setattr(cli, "info", fail)
    with pytest.raises(ImportError, match="nothing about"):
        cli.main(["info"])


def test_without_standard_error_there_are_no_bars_and_no_crash(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import ekman_expressions, sys\n"
        "assert sys.stderr is None\n"
        "from tqdm import tqdm\n"
        "from ekman_expressions.core.startup import silent_stderr\n"
        "with silent_stderr():\n"
        "    print(sum(tqdm(range(3))))\n"
    )
    found = _python(script, shell_end=" 2>&-")
    assert (found.returncode, found.stdout) == (0, "3\n")


def test_a_script_without_main_guard_is_told_so_before_processes_start(tmp_path):
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(
        "from ekman_expressions.study import execution\n"
        "with execution.using('local:2'):\n"
        "    print(execution.workers())\n"
    )
    found = _python(script)
    assert found.returncode == 1
    assert "ClusterError" in found.stderr.splitlines()[-1] and "__main__" in found.stderr.splitlines()[-1]
    assert "bootstrapping" not in found.stderr


def test_init_writes_settings_that_load_under_the_name_of_the_file(tmp_path, capsys):
    mine = tmp_path / "mine.toml"
    assert cli.main(["init", str(mine), "--preset", "smoke"]) == 0
    assert Experiment.load(mine).name == "mine"
    assert cli.main(["init", str(mine)]) == 2
    assert "must be new" in capsys.readouterr().err
    assert cli.main(["init", str(tmp_path / "bad name.toml")]) == 2
    assert not (tmp_path / "bad name.toml").exists()
