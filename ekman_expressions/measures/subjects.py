"""Bootstrap over subjects: other people, the same models. Heatmaps are made anew from each resample.

A subject is drawn with all faces, within the fold it belongs to (the model of that fold never saw
it in training), and for all networks and expressions at once, so that networks stay comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ekman_expressions.facespace.heatmaps import threshold_otsu, to_uint8
from ekman_expressions.measures.heatmap_set import SCORES
from ekman_expressions.measures.threshold_free import auc

_CHUNK = 32


@dataclass(frozen=True)
class SubjectReplicates:
    """Scores of heatmaps made of resampled subjects.

    Attributes
    ----------
    scores : dict of str to (B, N, F, E) ndarray of float32
        Per score in `heatmap_set.SCORES`, that with the own mask; NaN where a resample has no
        face, or there is none at all.
    subjects : (N, F, E) ndarray of int
        How many subjects have a face in each cell.
    of_fold : (F,) ndarray of int
        How many subjects have a face in each fold, whatever the network and expression.
    """

    scores: dict[str, np.ndarray]
    subjects: np.ndarray
    of_fold: np.ndarray


def subject_sums(maps: np.ndarray, subjects: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up the explanations of each subject.

    Parameters
    ----------
    maps : (n, H, W) ndarray of float
        Normalised explanations.
    subjects : (n,) ndarray of str
        Whose face each is of.

    Returns
    -------
    names : (S,) ndarray
        The subjects, sorted.
    sums : (S, H * W) ndarray of float32
    sizes : (S,) ndarray of int
        How many explanations each has.
    """
    names, codes = np.unique(subjects, return_inverse=True)
    sums = np.zeros((names.size, maps[0].size), np.float32)
    np.add.at(sums, codes, maps.reshape(len(maps), -1))
    return names, sums, np.bincount(codes, minlength=names.size)


def resampled_scores(
    sums: np.ndarray, sizes: np.ndarray, counts: np.ndarray, mask: np.ndarray, hull: np.ndarray
) -> dict[str, np.ndarray]:
    """Score the heatmaps of resampled subjects with a mask.

    Parameters
    ----------
    sums, sizes
        As from `subject_sums`.
    counts : (B, S) ndarray of int
        How often each subject is in each resample; see `bootstrap.resample_counts`.
    mask, hull : (H, W) ndarray of bool
        The reference, and where the face is.

    Returns
    -------
    dict of str to (B,) ndarray of float32
        Per score in `heatmap_set.SCORES`; NaN for a resample without a face, or a constant heatmap.
    """
    scores = {name: np.full(len(counts), np.nan, np.float32) for name in SCORES}
    faces = counts @ sizes
    size = np.count_nonzero(mask)
    for start in range(0, len(counts), _CHUNK):
        chosen = counts[start : start + _CHUNK].astype(np.float32)
        for place, heatmap in enumerate(chosen @ sums, start=start):
            # The sum will do: a heatmap is stretched before it is scored.
            if not faces[place] or heatmap.min() == heatmap.max():
                continue
            gray = to_uint8(heatmap).reshape(mask.shape)
            marked = threshold_otsu(gray)[1]
            both = np.count_nonzero(marked & mask)
            scores["iou"][place] = both / (np.count_nonzero(marked) + size - both)
            scores["auc"][place] = auc(gray, mask)
            scores["auc_hull"][place] = auc(gray, mask, hull)
    return scores
