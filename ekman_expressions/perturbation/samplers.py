"""Random samples of superpixels: which are kept in each copy of an image."""

from __future__ import annotations

import numpy as np

from ekman_expressions.errors import check_range


def draw_samples(n_superpixels: int, n_samples: int, seed: int | np.random.Generator) -> np.ndarray:
    """Draw which superpixels are kept: each with probability 1/2, in the first sample all.

    The first rows stay the same when more are drawn from the same seed.

    Returns
    -------
    (n_samples, n_superpixels) ndarray of bool
    """
    check_range(n_superpixels, "n_superpixels", 1, integer=True)
    check_range(n_samples, "n_samples", 1, integer=True)
    samples = np.random.default_rng(seed).random((n_samples, n_superpixels)) < 0.5
    samples[0] = True
    return samples
