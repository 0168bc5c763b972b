"""Where on the face does an expression classifier look, and is that where human faces move?

The names here are what a notebook of one's own needs; each is loaded when it is first used.

>>> import ekman_expressions as ee
>>> ee.ekman_mask("happiness").shape
(275, 224)
"""

import importlib
import os
import sys
from typing import Any

# Before TensorFlow is imported anywhere: its start-up notes would bury the progress bars.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow leaves oneDNN off on CPUs without AVX-512 VNNI, though it is faster there: see docs/training.md, Speed.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
if sys.stderr is None:  # as under pythonw or a service: tqdm, which reads this when imported, could not write
    os.environ.setdefault("TQDM_DISABLE", "1")

__version__ = "0.2.0"

_ROOMS = {
    "api": ("explain", "Explanations", "Heatmap"),
    "core.expressions": ("EXPRESSIONS",),
    "explainers": ("EXPLAINERS", "Explanation"),
    "faces": ("Faces", "load_faces", "example_faces"),
    "facespace": ("atlas", "ekman_mask", "normalise"),
    "measures.scores": ("auc", "mask_scores", "scores_at_otsu"),
    "study": ("STEPS", "run"),
    "study.experiment": ("Experiment",),
    "zoo": ("NETWORKS", "Model", "load_model", "example_model"),
    "zoo.own_settings": ("OwnModel",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted([*_HOME, "figures"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in ("explainers", "faces", "facespace", "figures", "measures", "study", "zoo"):
        return importlib.import_module(f"ekman_expressions.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'ekman_expressions' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ekman_expressions.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
