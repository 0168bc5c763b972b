"""The command line: what it says, and with which status it ends."""

import pytest

from ekman_expressions import cli


def test_unknown_preset_and_step_are_told_in_one_line(tmp_path, capsys):
    assert cli.main(["run", "--preset", "dmeo", "--root", str(tmp_path)]) == 2
    assert "but got 'dmeo' instead" in capsys.readouterr().err
    assert cli.main(["run", "--preset", "smoke", "--root", str(tmp_path), "--steps", "faces,traning"]) == 2
    assert "Unknown step traning. The steps are faces, training" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_step_without_the_earlier_ones_names_them(tmp_path, capsys):
    assert cli.main(["run", "--preset", "smoke", "--root", str(tmp_path), "--steps", "training"]) == 2
    message = capsys.readouterr().err
    assert  "the step 'faces'" in message


def test_the_study_starts_with_the_step_that_is_named(tmp_path, capsys):
    assert cli.main(["run", "--preset", "smoke", "--root", str(tmp_path), "--from", "scores"]) == 2
    told = capsys.readouterr()
    assert told.out == "[1/9] scores\n" and "the step 'heatmaps': run it first" in told.err


def test_verify_of_a_wrong_folder_ends_with_two(tmp_path, capsys):
    assert cli.main(["verify", "--published", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == version("ekman_expressions")


def test_info_says_what_a_bug_report_needs(capsys):
    assert cli.main(["info"]) == 0
    told = capsys.readouterr().out
    for name in ("tensorflow 2", "numpy 2", "platform", "device", "landmark model", "root"):
        assert name in told
