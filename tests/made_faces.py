"""Prepared faces as the step 'faces' leaves them, drawn instead of photographed, for tests of later steps."""

import numpy as np
from made_steps import write_faces

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_arrays
from ekman_expressions.facespace.warp import POINTS


def make_experiment(root, networks=("WeiNet",), *, subjects=4, folds=2, faces=EXPRESSIONS, training=None, **settings):
    """Return an experiment whose faces of 32 pixels are there: one per subject and expression in `faces`.

    Each expression has a colour and each subject a brightness; subject k is in fold k modulo
    the number of folds.
    """
    experiment = Experiment(
        name="made",
        networks=networks,
        faces=dict(folds=folds, size=32),
        training=training or dict(weights="none", batch_size=8),
        root=root,
        **settings,
    )
    made = []
    for subject in range(subjects):
        for number, expression in enumerate(faces):
            colour = np.array([number % 2, number // 2 % 2, number // 4]) * 150 + 20 * subject + 20
            face = np.full((32, 32, 3), colour, np.uint8)
            face[10:14, 8:24] = 255
            fold = experiment.folds[subject % folds]
            made.append((f"made_s{subject}_{expression}", face, f"s{subject}", expression, fold))
    write_faces(experiment, made)
    return experiment


def write_landmarks(experiment):
    """Give each face about the template's landmarks, smaller."""
    random = np.random.default_rng(0)
    for path in (experiment.faces_folder / "faces").iterdir():
        points = np.float32(POINTS[:68] / (224, 275) * 0.8 + random.normal(0.1, 0.003, (68, 2)))
        write_arrays(experiment.faces_folder / "landmarks" / f"{path.stem}.npz", {"points": points})
