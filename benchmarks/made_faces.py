"""Prepared faces of noise, for measuring: their pixels are of no consequence, their number and size are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_csv, write_image
from ekman_expressions.study.settings import FaceSettings, TrainingSettings


def make_experiment(root: Path, network: str, images: int, batch_size: int, epochs: int) -> Experiment:
    """Return an experiment with `images` faces of 256 pixels to train the model of CV1 on."""
    experiment = Experiment(
        name="benchmark",
        networks=(network,),
        faces=FaceSettings(folds=2),
        training=TrainingSettings(
            weights="none", batch_size=batch_size, overrides={network: {"epochs": epochs}}
        ),
        root=root,
    )
    rng, rows = np.random.default_rng(0), []
    for number in range(images + 1):
        name = f"noise_{number:04d}"
        face = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        write_image(experiment.faces_folder / "faces" / f"{name}.png", face, compress_level=1)
        rows.append(
            {
                "image_id": name,
                "path": f"faces/{name}.png",
                "dataset": "noise",
                "subject": f"noise/{number}",
                "expression": EXPRESSIONS[number % len(EXPRESSIONS)],
                # One face is tested on, all others are trained on.
                "fold": "CV1" if number == images else "CV2",
            }
        )
    write_csv(experiment.manifest_path, pd.DataFrame(rows))
    return experiment
