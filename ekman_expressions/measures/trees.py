"""How alike heatmaps are: distances, trees, and how far trees can be believed.

A tree is drawn from any distances, also from those of noise. What it says is tested against the folds (would
others have given the same branches?) and against relabelled networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, combinations_with_replacement
from math import comb, factorial, prod

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures.scores import auc
from ekman_expressions.measures.uncertainty import _RESAMPLES, _mean_known

_MOST_DRAWS = 500


def distances(maps: Sequence[np.ndarray], names: Sequence[str] | None = None) -> np.ndarray:
    """Return the correlation distances between heatmaps, (N, N).

    Parameters
    ----------
    maps : (N, H, W) array_like
        8-bit heatmaps; any numbers will do, and no affine rescaling changes the result.
    names : sequence of N str, optional
        What the heatmaps are called in messages.

    Returns
    -------
    (N, N) ndarray of float, range [0, 2]
        1 − Pearson's r over all pixels: 0 for maps that are alike, 1 for unrelated ones, 2 for a map and
        its negative. `DataError` if shapes differ, or a map is constant: it correlates with nothing.
    """
    names = [str(place) for place in range(len(maps))] if names is None else list(names)
    shapes = {name: np.shape(image) for name, image in zip(names, maps, strict=True)}
    if len(set(shapes.values())) > 1:
        raise DataError(f"Heatmaps must have one shape to be compared, but got {shapes}.")
    flat = np.array([np.ravel(image) for image in maps], dtype=np.float64)
    constant = [name for name, row in zip(names, flat, strict=True) if row.min() == row.max()]
    if constant:
        raise DataError(
            f"A constant heatmap has no correlation with another, but constant are: {', '.join(constant)}. "
            "Leave them out."
        )
    centred = flat - flat.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    return _as_distances(centred @ centred.T)


def linkage(matrix: np.ndarray) -> np.ndarray:
    """Join N >= 2 leaves into a tree by average linkage (UPGMA) of their distances, (N, N).

    Returns
    -------
    (N - 1, 4) ndarray
        As of `scipy.cluster.hierarchy.linkage`: the two clusters joined, the mean distance between their
        leaves, the number of leaves.
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(matrix) < 2:
        raise DataError(f"A tree needs at least 2 leaves, but got {len(matrix)}.")
    return hierarchy.linkage(squareform(np.asarray(matrix, dtype=np.float64)), method="average")


def branches(tree: np.ndarray) -> list[frozenset[int]]:
    """Return the leaves below each branching of a tree, in the order of its rows.

    Examples
    --------
    >>> [sorted(leaves) for leaves in branches([[0, 2, 0.1, 2], [1, 3, 0.5, 3]])]
    [[0, 2], [0, 1, 2]]
    """
    tree = np.asarray(tree)
    below = [frozenset([leaf]) for leaf in range(len(tree) + 1)]
    for first, second in tree[:, :2].astype(int):
        below.append(below[first] | below[second])
    return below[len(tree) + 1 :]


def branch_support(
    maps: np.ndarray, tree: np.ndarray, *, weights: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Return how often each branch of a tree comes back when other folds are drawn.

    The folds are drawn with replacement, the same for all leaves; each leaf's heatmap is the mean over the
    drawn ones, and a new tree is made of them. With up to 6 folds every possible draw is made once and
    counts with its probability, so that there is no sampling error [1]_.

    Parameters
    ----------
    maps : (N, F, H, W) ndarray
        The heatmap of each leaf and fold.
    tree : (N - 1, 4) ndarray
        The tree of the N leaves; see `linkage`.
    weights : (N, F) ndarray, optional
        What each heatmap counts in its leaf's mean, such as its number of faces; 0 where there is none.
    seed : int
        For the draws, with more than 6 folds.

    Returns
    -------
    (N - 1,) ndarray of float, range [0, 1]
        For each row of the tree, the share of draws whose tree has a branch with exactly the same leaves
        [2]_; 1 for the root. Draws in which a leaf has no heatmap, or a constant one, are passed over; NaN
        where all are.

    References
    ----------
    .. [1] Fisher and Hall (1991), J. Statistical Planning and Inference 27, 157-169.
    .. [2] Felsenstein (1985), doi:10.1111/j.1558-5646.1985.tb00420.x.
    """
    maps, tree = np.asarray(maps, float), np.asarray(tree, float)
    weights = np.ones(maps.shape[:2]) if weights is None else np.asarray(weights, float)
    if maps.ndim != 4 or tree.shape != (len(maps) - 1, 4) or weights.shape != maps.shape[:2]:
        raise DataError(
            f"Maps (N, F, H, W), the tree of N leaves and weights (N, F) must fit, but got {maps.shape}, "
            f"{tree.shape} and {weights.shape}."
        )
    leaves, folds = maps.shape[:2]
    flat = maps.reshape(leaves, folds, -1)
    # Means of maps are sums of their inner products, so the pixels are only touched once.
    flat = (flat - flat.mean(axis=2, keepdims=True)).reshape(leaves * folds, -1)
    products = (flat @ flat.T).reshape(leaves, folds, leaves, folds)
    wanted = branches(tree)
    found, drawn = np.zeros(len(wanted)), 0.0
    for counts, probability in _fold_draws(folds, seed):
        shares = weights * counts
        if not (shares.sum(axis=1) > 0).all():
            continue
        shares = shares / shares.sum(axis=1, keepdims=True)
        covariance = np.einsum("if,ifjg,jg->ij", shares, products, shares, optimize=True)
        norms = np.sqrt(np.maximum(np.diag(covariance), 0))
        if not (norms > 1e-9 * max(norms.max(), 1e-300)).all():
            continue
        present = set(branches(linkage(_as_distances(covariance / np.outer(norms, norms)))))
        found += probability * np.array([branch in present for branch in wanted])
        drawn += probability
    return found / drawn if drawn else np.full(len(wanted), np.nan)


def _fold_reliability(
    matrix: np.ndarray, networks: Sequence[str], folds: Sequence[str], *, seed: int = 0
) -> dict[str, float]:
    """Test by distances (N, N) whether heatmaps of one network in two folds are more alike than those of two.

    ``auc`` says how often a pair of one network is closer, 0.5 by chance; ``p`` is one-sided, from exchanging
    names within folds. Heatmaps of one fold share their faces, and are not compared.
    """
    matrix, networks, folds = np.asarray(matrix, float), np.asarray(networks), np.asarray(folds)
    pairs = np.argwhere(np.triu(folds[:, None] != folds)).T
    values = matrix[*pairs]
    same = networks[pairs[0]] == networks[pairs[1]]
    observed = _excess(values, pairs, networks)
    random = np.random.default_rng(seed)
    places = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    # The names as they are count as one exchange: p is never 0 (doi:10.2202/1544-6115.1585).
    as_extreme = 1
    for _ in range(_RESAMPLES):
        shuffled = networks.copy()
        for place in places:
            shuffled[place] = random.permutation(networks[place])
        as_extreme += _excess(values, pairs, shuffled) >= observed - 1e-12
    return {
        "same": float(values[same].mean()),
        "different": float(values[~same].mean()),
        "auc": auc(-values, same),
        "p": float(as_extreme / (_RESAMPLES + 1)),
        "pairs": int(same.sum()),
    }


def _split_test(matrices: Sequence[np.ndarray], first: Sequence[bool]) -> dict[str, float]:
    """Test by distances, (N, N) per expression, whether two groups of networks lie apart: p is exact.

    Mantel 1967, Cancer Research 27, 209-220; Clarke 1993, doi:10.1111/j.1442-9993.1993.tb00438.x.
    """
    matrix = np.mean([np.asarray(one, float) for one in matrices], axis=0)
    first = np.asarray(first, bool)
    places = np.arange(len(first))
    pairs = np.array(np.triu_indices(len(first), k=1))
    values = matrix[*pairs]
    observed = _excess(values, pairs, first)
    # The same relabelling in all matrices.
    ways = (np.isin(places, chosen) for chosen in combinations(places, int(first.sum())))
    null = np.array([_excess(values, pairs, chosen) for chosen in ways])
    p = float((null >= observed - 1e-12).mean())
    return {"difference": observed, "p": p, "relabellings": len(null)}


def _excess(values: np.ndarray, pairs: np.ndarray, groups: np.ndarray) -> float:
    """Return the mean value of pairs, (2, P), of two groups less that of pairs of one; NaN without both."""
    alike = groups[pairs[0]] == groups[pairs[1]]
    return float(_mean_known(values[~alike], axis=0) - _mean_known(values[alike], axis=0))


def pair_matrix(pairs: pd.DataFrame, value: str) -> pd.DataFrame:
    """Lay a table of pairs, ``first, second``, out as a symmetric matrix with ones on its diagonal.

    Several rows of a pair are averaged.
    """
    names = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    means = pairs.groupby(["first", "second"])[value].mean()
    table = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
    for (first, second), mean in means.items():
        table.loc[first, second] = table.loc[second, first] = mean
    return table


def _as_distances(correlation: np.ndarray) -> np.ndarray:
    """Return 1 - r, symmetric: matrix products may round the two halves differently."""
    matrix = np.clip(1 - correlation, 0, 2)
    np.fill_diagonal(matrix, 0)
    return (matrix + matrix.T) / 2


def _fold_draws(folds: int, seed: int) -> Iterator[tuple[np.ndarray, float]]:
    """Yield how often each fold is drawn, and with which probability."""
    if comb(2 * folds - 1, folds) <= _MOST_DRAWS:
        for chosen in combinations_with_replacement(range(folds), folds):
            counts = np.bincount(chosen, minlength=folds)
            yield counts, factorial(folds) / prod(map(factorial, counts.tolist())) / folds**folds
    else:
        random = np.random.default_rng(seed)
        for _ in range(_MOST_DRAWS):
            yield np.bincount(random.integers(0, folds, folds), minlength=folds), 1 / _MOST_DRAWS
