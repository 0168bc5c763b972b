"""A study in miniature whose models answer at once: faces, landmarks and models without TensorFlow.

A face is a gray square in which one of six blocks is bright; a model calls it after the brightest block.
So each expression has its positives, and the explanation of each lies on its block.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_steps import write_faces

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.facespace import warp
from ekman_expressions.zoo.own_settings import OwnModel

SIDE = 32


def answer(images: np.ndarray) -> np.ndarray:
    """Six probabilities: the softmax of the mean brightness of six blocks."""
    blocks = np.asarray(images).mean(axis=-1).reshape(len(images), 2, SIDE // 2, 4, SIDE // 4)
    bright = blocks.mean(axis=(2, 4)).reshape(len(images), 8)[:, :6]
    powers = np.exp(8 * (bright - bright.max(axis=1, keepdims=True)))
    return powers / powers.sum(axis=1, keepdims=True)


def make_study(root: Path, *, faces: int = 2, positives: int = 2, **settings) -> Experiment:
    """Make an experiment whose step 'faces' is done, with `faces` images per fold and expression.

    Models are ``Stub01`` ... , each a Python function of this file; `settings` as of `describe`.
    """
    experiment = describe(root, positives=positives, **settings)
    write_blocks(experiment, faces)
    return experiment


def describe(
    root: Path,
    networks: int = 2,
    folds: int = 2,
    positives: int = 3,
    samples: int = 20,
    segments: int = 8,
) -> Experiment:
    """Return the experiment of `make_study`, and write nothing."""
    where = f"{Path(__file__).resolve()}:answer"
    own = OwnModel(side=SIDE, classes=EXPRESSIONS, call=where, version="1")
    names = tuple(f"Stub{number:02d}" for number in range(1, networks + 1))
    return Experiment(
        name="made",
        networks=names,
        models=dict.fromkeys(names, own),
        faces=dict(folds=folds, size=SIDE),
        explanation=dict(positives=positives, samples=samples, segments=segments),
        root=root,
    )


def write_blocks(experiment: Experiment, faces: int) -> None:
    """Write `faces` faces of each expression for each fold."""
    random = np.random.default_rng(0)
    points = warp.POINTS[:68] / np.array(warp.SHAPE[::-1])
    made = []
    for fold in experiment.folds:
        for place, expression in enumerate(EXPRESSIONS):
            for number in range(faces):
                row, column = divmod(place, 4)
                face = random.integers(60, 120, (SIDE, SIDE, 3), np.uint8)
                face[row * 16 : row * 16 + 16, column * 8 : column * 8 + 8] += np.uint8(100)
                moved = points + random.normal(0, 0.005, points.shape)
                image_id = f"{fold}_{expression}_{number:04d}"
                made.append((image_id, face, f"{fold}_{number % 10}", expression, fold, moved))
    write_faces(experiment, made)
