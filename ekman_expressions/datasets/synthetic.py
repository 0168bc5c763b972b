"""The bundled synthetic faces: where they lie, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ekman_expressions.datasets import manifest

_PACKAGE = Path(__file__).resolve().parents[1]


def folder() -> Path:
    """Return the folder of the bundled faces: the installed one, else the checkout's."""
    installed = _PACKAGE / "data" / "synthetic_faces"
    return installed if installed.is_dir() else _PACKAGE.parent / "datasets" / "synthetic"


def load(root: Path | None = None) -> pd.DataFrame:
    """Read the rows of the synthetic faces; the data card beside them says what they are.

    Parameters
    ----------
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Returns
    -------
    DataFrame
        The contract's columns and what is known by construction: intensity, action units,
        sex, age, ethnicity, skin, hair, pose in degrees, mask.
    """
    return manifest.load(folder() if root is None else root)
