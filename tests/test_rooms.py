"""The rooms of the package: each imports only from those below it, and the way in is light."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from ruff import find_ruff_bin

REPOSITORY = Path(__file__).resolve().parent.parent
HEAVY = ("tensorflow", "keras", "mediapipe", "matplotlib", "cv2", "skimage", "sklearn", "dask", "torch")


def test_each_room_imports_only_from_those_below_it():
    assert lint_imports(str(REPOSITORY / "pyproject.toml")) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_the_code_is_formatted_and_has_no_unused_names(command):
    found = subprocess.run([find_ruff_bin(), *command, REPOSITORY], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_importing_the_package_loads_no_heavy_library_and_figures_leave_matplotlib_as_it_is():
    code = (
        # Nor do its rooms, which are there without an import of their own.
        "import sys, ekman_expressions.cli, ekman_expressions as ee\n"
        "ee.measures.auc, ee.explainers.EXPLAINERS\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "import matplotlib\n"
        # To read the backend would choose one.
        "style = lambda: {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != 'backend'}\n"
        "before = style()\n"
        "figure = ee.figures.dendrogram([[0, 1, 0.5, 2]], ['a', 'b']); figure._repr_png_()\n"
        "assert style() == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
