"""The site of the documentation builds without a warning, and every page is in its menu."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        tmp_path / "cache",
    ]
    answer = subprocess.run(
        [*command, DOCS, tmp_path / "site"], cwd=DOCS.parent, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    home = (tmp_path / "site" / "index.html").read_text("utf-8")
    for page in DOCS.glob("*.md"):
        assert f'href="{page.stem}.html"' in home or page.stem == "index"
    for loaded in ('src="http', 'rel="stylesheet" href="http'):
        assert loaded not in home
