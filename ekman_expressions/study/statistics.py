"""The steps "statistics" and "regions": what the scores are worth, and where the mass of heatmaps lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import read_arrays, read_csv, require
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.heatmap_set import TABLES, _HeatmapSet, assess, read_heatmaps
from ekman_expressions.measures.regions import _region_table, region_masses
from ekman_expressions.measures.uncertainty import (
    _RELIABLE,
    _SUBJECT_RESAMPLES,
    _fold_of,
    _resample_counts,
    _resampled_scores,
    _SubjectReplicates,
    split_half,
)
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import read_manifest
from ekman_expressions.study.provenance import Run

_REGIONS = (
    *("level", "network", "expression", "region", "area", "share", "density"),
    *("centre_prior", "even_face", "p_holm", "maps", "units", "unit"),
)
"""Some columns of ``regions.csv``; the ends of intervals stand beside ``share`` and ``density``."""


def statistics(experiment: Experiment, run: Run, *, resamples: int = _SUBJECT_RESAMPLES) -> None:
    """Say what the scores of an experiment, of any explainer, are worth.

    Parameters
    ----------
    experiment : Experiment
        See `Experiment.explained_by`.
    run : Run
        Takes note of tables made and heatmaps left out.
    resamples : int
        Resamples of subjects; 0 leaves the intervals over subjects out.
    """
    folder = experiment.heatmaps_folder
    expressions = tuple(experiment.mask_regions)
    masks = np.array([read_mask(experiment.masks_folder, expression) for expression in expressions])
    found = read_heatmaps(folder, masks, experiment.networks, experiment.folds, run.omit, expressions)
    if not found.present.any():
        run.note("There is no heatmap to score: the tables hold the baselines that need none.")
    subjects = None
    if resamples:
        try:
            subjects = _over_subjects(experiment, found, run, resamples)
        except MissingError as error:
            run.note(f"No intervals over subjects: {error}")

    if subjects is not None:
        known = subjects.reliability[np.isfinite(subjects.reliability)]
        if (known < _RELIABLE).any():
            run.note(
                f"{np.count_nonzero(known < _RELIABLE)} of {known.size} heatmaps have a reliability below "
                f"{_RELIABLE} (lowest {known.min():.2f}): those of other people would look different. Explain "
                "more faces."
            )

    tables = assess(found, seed=experiment.seed, subjects=subjects)
    run.write(experiment.statistics_folder, {name: tables[name] for name in TABLES}, items=1)


def regions(experiment: Experiment, run: Run) -> None:
    """Measure the mass of all explanations per region of the face.

    Writes ``regions.csv``: a row per level, network (and all together), expression and region, with
    bootstrap intervals over subjects.
    """
    manifest = read_manifest(experiment).set_index("image_id")
    none = region_masses(np.zeros((0, *heatmaps.SHAPE)))
    cells = {}
    for expression in tqdm(experiment.expressions, desc="Measuring regions", unit="expression"):
        for network in experiment.networks:
            masses, subjects = [none], []
            for fold in experiment.folds:
                maps, of_maps = _explanations(experiment, network, fold, expression, manifest, run)
                if of_maps.size:
                    masses.append(region_masses(maps))
                    subjects += of_maps.tolist()
            cells[network, expression] = pd.concat(masses, ignore_index=True), subjects
    table = _region_table(cells, seed=experiment.seed, unit="subjects", omit=run.omit)
    table = table if len(table) else pd.DataFrame(columns=_REGIONS)
    run.write(experiment.regions_folder, {"regions": table}, items=len(table))


def read_table(experiment: Experiment, name: str) -> pd.DataFrame:
    """Read one of the `TABLES` of the step "statistics"."""
    return read_csv(require(experiment.statistics_folder / f"{name}.csv", "statistics"))


def read_regions(experiment: Experiment) -> pd.DataFrame:
    """Read the table of the step "regions"."""
    return read_csv(require(experiment.regions_folder / "regions.csv", "regions"), _REGIONS)


def _over_subjects(
    experiment: Experiment, found: _HeatmapSet, run: Run, resamples: int
) -> _SubjectReplicates:
    """Resample the subjects of each fold and score the heatmaps made of them, a file at a time."""
    manifest = read_manifest(experiment).set_index("image_id")
    shape = found.present.shape
    scores = {name: np.full((resamples, *shape), np.nan, np.float32) for name in ("iou", "auc_hull")}
    counted, of_fold, reliability = np.zeros(shape, int), np.zeros(shape[1], int), np.full(shape, np.nan)
    bar = tqdm(total=np.prod(shape), desc="Resampling subjects", unit="heatmap")
    for f, fold in enumerate(experiment.folds):
        # The same draws for all trainings of a fold: they explain the same people.
        subjects = np.unique(manifest["subject"][manifest["fold"] == _fold_of(fold)].to_numpy(str))
        if not subjects.size:
            continue
        seed = derive_seed(experiment.seed, "subjects", _fold_of(fold))
        counts = _resample_counts(subjects.size, resamples, seed=seed)
        seen: set[str] = set()
        for n, network in enumerate(experiment.networks):
            for e, expression in enumerate(found.expressions):
                bar.update()
                maps, people = _explanations(experiment, network, fold, expression, manifest, run)
                if not people.size:
                    continue
                codes = np.searchsorted(subjects, people)
                drawn = _resampled_scores(maps, codes, counts, found.masks[e], found.hull)
                for name, values in drawn.items():
                    scores[name][:, n, f, e] = values
                counted[n, f, e] = np.unique(codes).size
                reliability[n, f, e] = split_half(maps, people, seed=seed)
                seen.update(people)
        of_fold[f] = len(seen)
    bar.close()
    return _SubjectReplicates(scores, counted, of_fold, reliability)


def _explanations(
    experiment: Experiment, network: str, fold: str, expression: str, manifest: pd.DataFrame, run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """Return the explanations in face space that can be used, and their subjects; none if there are none."""
    none = np.zeros((0, *heatmaps.SHAPE), np.float32), np.array([], str)
    path = experiment.maps_path(network, fold, expression)
    if not path.exists():
        return none
    try:
        stored = read_arrays(path, ("maps", "image_ids"))
    except DataError as error:
        run.omit(path.stem, error)
        return none
    maps, image_ids = stored["maps"], pd.Index(stored["image_ids"])
    of_fold = manifest.index[manifest["fold"] == _fold_of(fold)]
    usable = np.isfinite(maps).all(axis=(1, 2)) & image_ids.isin(of_fold)
    for image_id in image_ids[~usable]:
        run.omit(f"{path.stem} {image_id}", f"its explanation is not finite, or it is no face of {fold}")
    return maps[usable], manifest.loc[image_ids[usable], "subject"].to_numpy(str)
