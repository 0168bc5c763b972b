"""A study in small, in seconds: two functions as models, drawn faces, the steps that the report shows."""

import functools

import numpy as np
from made_faces import make_experiment, write_landmarks

from ekman_expressions import OwnModel, report
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.study import run as run_steps

STEPS = ("evaluation", "explanations", "facespace", "heatmaps", "masks", "scores", "barplots", "dendrograms")
_READ = np.random.default_rng(5).normal(0, 3, (3, 6))


def upper(images):
    """Answer by the colours of the upper left quarter."""
    return _odds(images[:, :16, :16].mean(axis=(1, 2)))


def lower(images):
    """Answer by the colours of the lower right quarter."""
    return _odds(images[:, 16:, 16:].mean(axis=(1, 2)))


@functools.cache
def reported_study(root):
    """Return the study with its report, made once for all modules of tests in a session."""
    experiment = make_study(root / "report")
    report.make(experiment)
    return experiment


def make_study(root, **settings):
    """Return an experiment of which all steps but the report are done."""
    own = {
        name: OwnModel(call=call, version="1", side=32, classes=EXPRESSIONS)
        for name, call in (("Upper", upper), ("Lower", lower))
    }
    explanation = dict(positives=2, samples=32, segments=12)
    experiment = make_experiment(root, tuple(own), models=own, explanation=explanation)
    experiment = experiment.replace(**settings)
    write_landmarks(experiment)
    run_steps(experiment, *STEPS)
    return experiment


def _odds(colours):
    odds = np.exp(4 * (colours - colours.mean(axis=1, keepdims=True)) @ _READ)
    return odds / odds.sum(axis=1, keepdims=True)
