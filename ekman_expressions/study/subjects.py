"""Bootstrap over the subjects of an experiment: its explanations in face space, made into heatmaps anew."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.measures.bootstrap import resample_counts
from ekman_expressions.measures.heatmap_set import SCORES
from ekman_expressions.measures.subjects import SubjectReplicates, resampled_scores, subject_sums
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import read_manifest
from ekman_expressions.study.provenance import Run


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
