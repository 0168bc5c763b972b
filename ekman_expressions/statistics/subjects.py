"""Bootstrap over subjects: other people, the same models. Heatmaps are made anew from each resample.

A subject is drawn with all faces, within the fold it belongs to (the model of that fold never saw
it in training), and for all networks and expressions at once, so that networks stay comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.datasets import read_manifest
from ekman_expressions.errors import DataError
from ekman_expressions.experiment import Experiment
from ekman_expressions.expressions import EXPRESSIONS
from ekman_expressions.heatmaps import threshold_otsu, to_uint8
from ekman_expressions.provenance import Run
from ekman_expressions.randomness import derive_seed
from ekman_expressions.statistics.bootstrap import resample_counts
from ekman_expressions.statistics.heatmap_set import SCORES
from ekman_expressions.statistics.threshold_free import auc
from ekman_expressions.storage import read_arrays

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


def over_subjects(
    experiment: Experiment, masks: np.ndarray, hull: np.ndarray, run: Run, *, resamples: int
) -> SubjectReplicates:
    """Resample the subjects of each fold and score the heatmaps made of them.

    Reads one file of explanations at a time.

    Parameters
    ----------
    experiment : Experiment
        Whose explanations in face space are read.
    masks : (E, H, W) ndarray of bool
        The mask of each expression.
    hull : (H, W) ndarray of bool
        Where the face is.
    run : Run
        Takes note of files that cannot be used.
    resamples : int
        How many.
    """
    manifest = read_manifest(experiment).set_index("image_id")
    shape = (len(experiment.networks), len(experiment.folds), len(EXPRESSIONS))
    scores = {name: np.full((resamples, *shape), np.nan, np.float32) for name in SCORES}
    found = np.zeros(shape, int)
    of_fold = np.zeros(len(experiment.folds), int)
    bar = tqdm(total=np.prod(shape), desc="Resampling subjects", unit="heatmap")
    for f, fold in enumerate(experiment.folds):
        subjects = np.unique(manifest["subject"][manifest["fold"] == fold].to_numpy(str))
        if not subjects.size:
            continue
        seed = derive_seed(experiment.seed, "subjects", fold)
        counts = resample_counts(subjects.size, resamples, seed=seed)
        seen: set[str] = set()
        for n, network in enumerate(experiment.networks):
            for e, expression in enumerate(EXPRESSIONS):
                bar.update()
                cell = _read(experiment, network, fold, expression, manifest, run)
                if cell is None:
                    continue
                names, sums, sizes = subject_sums(*cell)
                columns = counts[:, np.searchsorted(subjects, names)]
                for name, values in resampled_scores(sums, sizes, columns, masks[e], hull).items():
                    scores[name][:, n, f, e] = values
                found[n, f, e] = names.size
                seen.update(names)
        of_fold[f] = len(seen)
    bar.close()
    return SubjectReplicates(scores, found, of_fold)


def _read(
    experiment: Experiment, network: str, fold: str, expression: str, manifest: pd.DataFrame, run: Run
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the explanations of a cell that can be used, and their subjects; None if there are none."""
    path = experiment.maps_path(network, fold, expression)
    if not path.exists():
        return None
    try:
        stored = read_arrays(path, ("maps", "image_ids"))
    except DataError as error:
        run.omit(f"subjects of {path.stem}", error)
        return None
    maps, image_ids = stored["maps"], pd.Index(stored["image_ids"])
    usable = np.isfinite(maps).all(axis=(1, 2)) & image_ids.isin(manifest.index[manifest["fold"] == fold])
    if not usable.all():
        reason = f"{(~usable).sum()} explanations are not finite, or of no face of {fold}"
        run.omit(f"subjects of {path.stem}", reason)
    if not usable.any():
        return None
    return maps[usable], manifest.loc[image_ids[usable], "subject"].to_numpy(str)
