"""Random samples of superpixels: which are kept in each copy of an image.

All samplers keep each superpixel with probability 1/2, independently of the others *within a row*,
so that estimates from any of them tend to the same limit. They differ in how rows depend on each
other, and so in how fast the limit is reached.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ekman_expressions.errors import check_option, check_range


def _iid(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    samples = random.random((n_samples, n_superpixels)) < 0.5
    samples[0] = True
    return samples


def _antithetic(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    return _with_complements(random.random((n_samples // 2, n_superpixels)) < 0.5, n_samples)


def _orthogonal(n_superpixels: int, n_samples: int, random: np.random.Generator) -> np.ndarray:
    from scipy.linalg import hadamard

    order = 1 << (n_superpixels - 1).bit_length()
    matrix = hadamard(order, dtype=np.int8) > 0
    rows = [np.empty((0, n_superpixels), bool)]
    for _ in range(-(-(n_samples // 2) // order)):
        columns = random.permutation(order)[:n_superpixels]
        # A column turned over by the toss of a coin: with it, every row alone is uniform.
        turned = random.random(n_superpixels) < 0.5
        rows.append(matrix[random.permutation(order)][:, columns] ^ turned)
    return _with_complements(np.concatenate(rows), n_samples)


SAMPLERS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "iid": _iid,
    "antithetic": _antithetic,
    "orthogonal": _orthogonal,
}
"""Samplers by the name that ``explanation.sampler`` in the settings takes."""


def draw_samples(
    n_superpixels: int, n_samples: int, seed: int | np.random.Generator, sampler: str = "iid"
) -> np.ndarray:
    """Draw which superpixels are kept: each with probability 1/2, in the first sample all.

    The first rows stay the same when more are drawn from the same seed.

    Parameters
    ----------
    n_superpixels, n_samples : int, >= 1
        How many columns and rows.
    seed : int or Generator
        All randomness comes from it.
    sampler : {'iid', 'antithetic', 'orthogonal'}
        How rows depend on each other. ``'iid'``: not at all, as in the study. ``'antithetic'``
        [1]_: after the first row come pairs, a random row and its complement, so that what is even in the
        choice (interactions of two superpixels, say) cancels within the pair. ``'orthogonal'``: the
        first rows of the pairs are those of a Hadamard matrix, its columns drawn at random and each
        turned over at random, its rows shuffled; anew for each block of as many pairs as the
        smallest power of 2 that is not below `n_superpixels`. In a whole block any two superpixels are kept
        together exactly as often as not, as in a two-level design of resolution IV [2]_.

    Returns
    -------
    (n_samples, n_superpixels) ndarray of bool

    References
    ----------
    .. [1] Hammersley and Morton (1956), doi:10.1017/S0305004100031455.
    .. [2] Box and Hunter (1961), doi:10.1080/00401706.1961.10489951.
    """
    check_range(n_superpixels, "n_superpixels", 1, integer=True)
    check_range(n_samples, "n_samples", 1, integer=True)
    check_option(sampler, "sampler", SAMPLERS)
    return SAMPLERS[sampler](int(n_superpixels), int(n_samples), np.random.default_rng(seed))


def pairs(n_samples: int, sampler: str) -> np.ndarray:
    """Return which samples were drawn together: those that share a number are not independent.

    To be resampled, or their influences summed, as one.

    Returns
    -------
    (n_samples,) ndarray of int
        0, 1, 2, 3, ... for ``'iid'``; 0, 1, 1, 2, 2, ... for samplers that draw complements.
    """
    check_option(sampler, "sampler", SAMPLERS)
    places = np.arange(n_samples)
    return places if sampler == "iid" else (places + 1) // 2


def _with_complements(rows: np.ndarray, n_samples: int) -> np.ndarray:
    """Put the row that keeps all first, and after each row its complement, as many as wanted."""
    together = np.stack([rows, ~rows], axis=1).reshape(-1, rows.shape[1])
    return np.concatenate([np.ones((1, rows.shape[1]), bool), together])[:n_samples]
