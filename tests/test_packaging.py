"""The wheel carries all that the library needs without its repository."""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
INSIDE = """
import contextlib
import io
import sys
from importlib import resources
from pathlib import Path

import ekman_expressions
from ekman_expressions import Experiment, cli
from ekman_expressions.faces import example_faces, survey, synthetic
from ekman_expressions.zoo import example_model

home = Path(ekman_expressions.__file__).parent
assert home.parent == Path(sys.argv[1]), home
assert home in synthetic.folder().parents
rows = survey("synthetic").rows
assert len(rows) == 1120 and all(Path(path).is_file() for path in rows["path"])
assert all((synthetic.folder() / mask).is_file() for mask in rows["mask"] if mask)
assert list(synthetic.read_layers("id00_fear_0"))
faces = example_faces(2)
assert example_model().predict(faces.at(64)).shape == (2, 6)
assert (synthetic.folder() / "README.md").is_file()
assert Experiment.preset("demo").name == "demo"
assert (home / "data" / "notebooks" / "start_here.ipynb").is_file()
picture, figure = synthetic.folder() / "images" / "id05_fear_1.webp", Path(sys.argv[1]) / "figure.png"
with contextlib.redirect_stdout(io.StringIO()) as told:
    assert cli.main(["explain", str(picture), "--explainer", "occlusion", "--out", str(figure)]) == 0
assert "id05_fear_1: fear" in told.getvalue() and figure.is_file()
assert all((home / "report" / name).is_file() for name in ("static/report.css", "templates/base.html"))
data = resources.files("ekman_expressions").joinpath("data")
print("\\n".join(sorted(item.name for item in data.iterdir() if item.is_file())))
"""


@pytest.mark.skipif(
    int(metadata.version("setuptools").split(".")[0]) < 77, reason="building the wheel takes setuptools >= 77"
)
def test_an_unpacked_wheel_works_alone(tmp_path):
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("ekman_expressions", "datasets/synthetic", "notebooks"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    offline = ["--no-index", "--no-deps", "--quiet"]
    run("pip", "wheel", "--no-build-isolation", *offline, "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "target"
    run("pip", "install", *offline, "--target", target, wheel)
    answer = subprocess.run(
        [sys.executable, "-c", INSIDE, str(target)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    data = REPOSITORY / "ekman_expressions" / "data"
    assert answer.stdout.split() == sorted(item.name for item in data.iterdir() if item.is_file())


def run(*command):
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, capture_output=True, text=True)
