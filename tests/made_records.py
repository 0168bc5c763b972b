"""Perturbation records of models that are functions of which superpixels are kept."""

from itertools import product
from math import comb

import numpy as np

from ekman_expressions.explainers import PerturbationRecord


def record_of(predict, samples, sampler="iid"):
    """Return the record of one image whose class 0 has the predictions `predict(samples)`."""
    first = np.asarray(predict(samples.astype(float)))
    return PerturbationRecord(
        image_id="a",
        model="m",
        segments=np.arange(samples.shape[1]).reshape(1, -1),
        samples=samples,
        predictions=np.stack([first, 1 - first], axis=1).astype(np.float32),
        sampler=sampler,
    )


def curved(kept):
    """Predictions with interactions of two superpixels, so that no linear surrogate is perfect."""
    score = 2 * kept[:, 0] - kept[:, 1] + 2 * kept[:, 2] * kept[:, 3] - 2 * kept[:, 4] * kept[:, 5]
    return 1 / (1 + np.exp(-score))


def shapley(value, count):
    """The definition: each player's mean gain over coalitions of the others, by size; `value` takes (N, S)."""
    every = np.array(list(product([False, True], repeat=count)))
    worth = dict(zip(map(bytes, every), value(every), strict=True))
    gains = np.zeros(count)
    for kept in every:
        for player in np.flatnonzero(~kept):
            more = kept.copy()
            more[player] = True
            gains[player] += (worth[bytes(more)] - worth[bytes(kept)]) / comb(count - 1, int(kept.sum()))
    return gains / count
