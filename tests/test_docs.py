"""The site of the documentation builds without a warning, and every page is in its menu."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ekman_expressions.core.errors import Settings
from ekman_expressions.report import STEPS
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.zoo.own_settings import OwnModel

DOCS = Path(__file__).parent.parent / "docs"


def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    options = "-b html -W --keep-going -q".split()
    command = [sys.executable, "-m", "sphinx", *options, "-d", tmp_path / "cache", DOCS, tmp_path / "site"]
    answer = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    home = (tmp_path / "site" / "index.html").read_text("utf-8")
    for page in DOCS.glob("*.md"):
        assert f'href="{page.stem}.html"' in home or page.stem == "index"
    settings = (tmp_path / "site" / "settings.html").read_text("utf-8")
    for name in ("batch_norm_momentum", "quality_samples", "minus_one_one", "whole number ≥ 2"):
        assert name in settings
    files = (tmp_path / "site" / "files.html").read_text("utf-8").replace("’", "'")
    assert all(step.what in files for step in STEPS.values())
    # The tutorial: each notebook's page has all pictures and tables that the notebook holds.
    for notebook in sorted((DOCS.parent / "notebooks").glob("*.ipynb")):
        page = (tmp_path / "site" / "tutorial" / f"{notebook.stem}.html").read_text("utf-8")
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        shown = [set(output.get("data", ())) for cell in cells for output in cell.get("outputs", ())]
        assert page.count("../_images/") >= sum(bool(kinds & {"image/png", "image/jpeg"}) for kinds in shown)
        assert page.count("<table") >= sum("text/html" in kinds for kinds in shown)
        assert f'href="tutorial/{notebook.stem}.html"' in home and ".ipynb)" not in page
    for loaded in ('src="http', 'rel="stylesheet" href="http'):
        assert loaded not in home


@pytest.mark.parametrize("part", ["", "faces", "training", "explanation", "overrides", "models"])
def test_each_setting_says_what_it_means(part):
    training = Experiment.model_fields["training"].annotation
    settings = {"": Experiment, "overrides": get_args(training.model_fields["overrides"].annotation)[1]}
    settings |= {"models": OwnModel}
    settings = settings.get(part) or Experiment.model_fields[part].annotation
    assert issubclass(settings, Settings)
    for name, field in settings.model_fields.items():
        assert field.description and field.description.strip().endswith("."), name
