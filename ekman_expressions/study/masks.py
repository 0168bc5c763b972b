"""The step "masks": the six Ekman masks as pictures, and the table of regions."""

from __future__ import annotations

from importlib import resources

import numpy as np

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_csv, write_image
from ekman_expressions.facespace.masks import atlas, ekman_mask, mask_path
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.locks import locked
from ekman_expressions.study.provenance import Run, record

_STEP = "masks"


@locked
def write(experiment: Experiment) -> Run:
    """Write the six Ekman masks as pictures, and the table of regions (step "masks")."""
    paths = {name: mask_path(experiment.masks_folder, name) for name in EXPRESSIONS}
    folder = paths[EXPRESSIONS[0]].parent
    table_path = folder / "regions.csv"
    data = resources.files("ekman_expressions") / "data"
    with (
        resources.as_file(data / "facial_regions.json") as regions,
        resources.as_file(data / "template_landmarks.csv") as landmarks,
        record(folder, _STEP, {}, inputs={"regions": regions, "template": landmarks}, redo=True) as run,
    ):
        if run.finished_before and all(path.exists() for path in (*paths.values(), table_path)):
            run.skipped = len(paths)
            return run
        for expression, path in paths.items():
            write_image(path, ekman_mask(expression).astype(np.uint8) * 255)
            run.done += 1
        write_csv(table_path, atlas().table())
    return run
