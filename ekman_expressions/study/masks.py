"""The step "masks": the six Ekman masks as pictures, and the table of regions."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_csv, write_image
from ekman_expressions.facespace.masks import atlas, ekman_mask, mask_path
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run


def masks(experiment: Experiment, run: Run) -> None:
    """Write the six Ekman masks as pictures, and the table of regions."""
    for expression in EXPRESSIONS:
        path = mask_path(experiment.masks_folder, expression)
        write_image(path, ekman_mask(expression).astype(np.uint8) * 255)
        run.made(path)
    path = experiment.masks_folder / "regions.csv"
    write_csv(path, atlas().table())
    run.made(path, items=0)


def mask_sources(experiment: Experiment) -> dict[str, Path]:
    """Return the files that come with the package and of which the masks are made, by name."""
    data = resources.files("ekman_expressions") / "data"
    return {name: Path(str(data / name)) for name in ("facial_regions.json", "template_landmarks.csv")}
