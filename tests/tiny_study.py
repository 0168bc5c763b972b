"""A study in small: prepared faces, tiny models under WeiNet's name, and faces chosen for them."""

import numpy as np
import pandas as pd
from made_steps import stand_in, write_faces

from ekman_expressions import Experiment
from ekman_expressions.core.files import write_csv
from ekman_expressions.facespace.warp import POINTS

SIDE = 64


def tiny_model(path, seed, *, nan=False):
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(4, 5, strides=3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="softmax"),
        ]
    )
    if nan:
        model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


def make_study(root, *, nan=(), **settings):
    """Make the study, with `settings` of its explanations; models of the folds in `nan` predict NaN."""
    experiment = Experiment(
        name="tiny",
        networks=("WeiNet",),
        faces=dict(folds=2, size=SIDE),
        explanation={"samples": 40, "segments": 12, **settings},
        root=root,
    )
    random = np.random.default_rng(0)
    made, explained = [], []
    for fold in experiment.folds:
        for number in range(6):
            image_id = f"face_{fold}_{number}"
            coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            points = POINTS[:68] / (224, 275) * 0.8 + random.normal(0.1, 0.003, (68, 2))
            made.append((image_id, coarse, fold, "anger", fold, points))
            explained.append(("WeiNet", fold, ("anger", "fear")[number % 2], image_id))
    write_faces(experiment, made, "synthetic")
    columns = ["network", "fold", "expression", "image_id"]
    with stand_in(experiment, "evaluation"):
        write_csv(experiment.evaluation_folder / "explained.csv", pd.DataFrame(explained, columns=columns))
    with stand_in(experiment, "training"):
        for seed, fold in enumerate(experiment.folds):
            tiny_model(experiment.model_path("WeiNet", fold), seed, nan=fold in nan)
    return experiment


def written_at(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
