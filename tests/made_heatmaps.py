"""Explanations in face space that are known by construction, and an experiment made of them."""

from itertools import product

import numpy as np
from made_steps import stand_in, write_faces

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_arrays
from ekman_expressions.core.runtime import generator
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import read_manifest

SUBJECTS = 3
"""Subjects in each fold, with two faces of each expression."""


def experiment_of(root, *, networks=("WeiNet", "MobileNetV3Large"), strength=0.4, missing=(), explainer="lime"):
    """Write a manifest, explanations in face space, heatmaps and masks.

    Explanations are coarse noise, and for the first network `strength` times the own mask;
    `missing` names (network, fold, expression) without any.
    """
    experiment = Experiment.preset("smoke", root=root).replace(networks=networks)
    experiment = experiment.explained_by(explainer)
    face = np.zeros((2, 2, 3), np.uint8)
    cells = product(experiment.folds, range(SUBJECTS), EXPRESSIONS, range(2))
    write_faces(
        experiment,
        [(f"made_{f}_{s}_{name}_{variant}", face, f"{f}_{s}", name, f) for f, s, name, variant in cells],
    )
    manifest = read_manifest(experiment)
    with stand_in(experiment, "facespace"):
        for network, fold in experiment.pairs:
            for expression in EXPRESSIONS:
                if (network, fold, expression) not in missing:
                    _write_cell(experiment, manifest, network, fold, expression, strength)
    run_steps(experiment, "heatmaps", "masks")
    return experiment


def _write_cell(experiment, manifest, network, fold, expression, strength):
    image_ids = manifest["image_id"][(manifest["fold"] == fold) & (manifest["expression"] == expression)]
    random = generator(0, network, fold, expression)
    maps = np.kron(random.random((len(image_ids), 25, 16)), np.ones((1, 11, 14)))
    assert maps.shape[1:] == SHAPE
    if network == experiment.networks[0]:
        maps = maps + strength * masks.ekman_mask(expression)
    path = experiment.maps_path(network, fold, expression)
    write_arrays(path, {"maps": maps.astype(np.float32), "image_ids": image_ids.to_numpy(str)})
