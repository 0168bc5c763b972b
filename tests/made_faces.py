"""Prepared faces as the step 'faces' leaves them, drawn instead of photographed, for tests of later steps."""

import numpy as np
import pandas as pd
from made_steps import stand_in

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_arrays, write_csv, write_image
from ekman_expressions.facespace.warp import POINTS
from ekman_expressions.study.experiment import FaceSettings, TrainingSettings


def make_experiment(
    root, networks=("WeiNet",), *, subjects=4, folds=2, faces=EXPRESSIONS, training=None, **settings
):
    """Return an experiment whose faces of 32 pixels are there: one per subject and expression in `faces`.

    Each expression has a colour and each subject a brightness; subject k is in fold k modulo
    the number of folds.
    """
    experiment = Experiment(
        name="made",
        networks=networks,
        faces=FaceSettings(folds=folds, size=32),
        training=training or TrainingSettings(weights="none", batch_size=8),
        root=root,
        **settings,
    )
    rows = []
    for subject in range(subjects):
        for number, expression in enumerate(faces):
            image_id = f"made_s{subject}_{expression}"
            colour = np.array([number % 2, number // 2 % 2, number // 4]) * 150 + 20 * subject + 20
            face = np.full((32, 32, 3), colour, np.uint8)
            face[10:14, 8:24] = 255
            write_image(experiment.faces_folder / "faces" / f"{image_id}.png", face)
            rows.append(
                {
                    "image_id": image_id,
                    "path": f"faces/{image_id}.png",
                    "dataset": "made",
                    "subject": f"made/s{subject}",
                    "expression": expression,
                    "fold": experiment.folds[subject % folds],
                }
            )
    with stand_in(experiment, "faces"):
        write_csv(experiment.manifest_path, pd.DataFrame(rows))
    return experiment


def write_landmarks(experiment):
    """Give each face about the template's landmarks, smaller."""
    random = np.random.default_rng(0)
    for path in (experiment.faces_folder / "faces").iterdir():
        points = np.float32(POINTS[:68] / (224, 275) * 0.8 + random.normal(0.1, 0.003, (68, 2)))
        write_arrays(experiment.faces_folder / "landmarks" / f"{path.stem}.npz", {"points": points})
