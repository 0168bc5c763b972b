"""The steps "scores", "barplots", "statistics" and "regions": what heatmaps mark, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import title
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.heatmap_set import TABLES, _HeatmapSet, assess, read_heatmaps
from ekman_expressions.measures.regions import _region_table, region_masses
from ekman_expressions.measures.scores import AVERAGE, METRICS, _score_heatmaps, layout, summarise
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
from ekman_expressions.study.heatmaps import _read_maps
from ekman_expressions.study.prepared import read_manifest
from ekman_expressions.study.provenance import Run, read_results

_BASELINE = "all-white mask (no information)"
_LAYOUTS = {"table_iou_f1": ("iou", "f1_score"), "table_precision_recall": ("precision", "recall")}


def _nothing_masked(experiment: Experiment) -> str:
    """Say why there is nothing to score; an empty text if there is."""
    return "" if experiment.mask_regions else "no class has a mask: heatmaps are shown, but not scored"


def _scores(experiment: Experiment, run: Run) -> None:
    """Score heatmaps against masks: ``scores.csv`` has means over the folds' heatmaps, the reading of the
    published tables; ``scores_pooled.csv`` the networks' heatmaps, which pool the folds first: the other
    reading.
    """

    def omit(item: str, error: Exception) -> None:
        missing = isinstance(error, MissingError)
        run.omit(item, "there is no such heatmap; the step 'heatmaps' says why" if missing else error)

    if without := [name for name in experiment.expressions if name not in experiment.mask_regions]:
        run.note(f"classes without a mask, which are not scored: {', '.join(without)}")
    folder = experiment.heatmaps_folder
    masks = {expression: read_mask(experiment.masks_folder, expression) for expression in experiment.mask_regions}
    models = tqdm(experiment.pairs, desc="Scoring", unit="model")
    by_fold = _score_heatmaps(folder, models, masks, omit)
    pooled = _score_heatmaps(folder, [(name, None) for name in experiment.networks], masks, omit)
    table = summarise(by_fold)
    tables = {"scores": table, "scores_pooled": summarise(pooled), "scores_by_fold": by_fold}
    for name, metrics in _LAYOUTS.items():
        wide = layout(table, metrics)
        tables[name] = wide.set_axis(wide.columns.map(" ".join), axis="columns").reset_index()
    run.write(experiment.scores_folder, tables)
    run.done = int(by_fold["iou"].notna().sum() + pooled["iou"].notna().sum())


def _barplots(experiment: Experiment, run: Run) -> None:
    """Draw the scores of heatmaps as sorted bars beside those of an all-white mask; without F1, which is
    2 IoU / (1 + IoU) of each heatmap and would show the same as IoU.
    """
    for file, table, value, options in tqdm(list(_bars(experiment)), desc="Drawing barplots", unit="figure"):
        path = experiment.barplots_folder / file
        if table[value].isna().all():
            run.omit(file, "there is no score to draw", path)
            continue
        figure = figures.barplot(table, value=value, **options)
        figures.save(figure, path, caption=f"Bars: means. Points: {options.get('points', 'fold')}s.")
        run.made(path)


def _bars(experiment: Experiment) -> Iterator[tuple[str, pd.DataFrame, str, dict]]:
    """Yield of each barplot its file name, its table, and the value and options of `figures.barplot`."""
    columns = ("network", "fold", "expression", *METRICS)
    table = read_results(experiment, "scores", "scores_by_fold", columns)
    table = table[table["network"].isin(experiment.networks) & table["fold"].isin(experiment.folds)]
    table = table.assign(expression=table["expression"].map(title))
    area = {title(name): read_mask(experiment.masks_folder, name).mean() for name in experiment.mask_regions}
    area[AVERAGE] = sum(area.values()) / len(area)
    mask = "mask" if experiment.masks else "Ekman mask"
    white = {"iou": area, "precision": area, "recall": 1.0}
    # An expression that a fold lacks counts as in the other folds, so that bars are the averages of the tables.
    known = table.fillna(table.groupby(["network", "expression"])[list(white)].transform("mean"))
    average = known.groupby(["network", "fold"], sort=False)[list(white)].mean().reset_index()
    both = pd.concat([average.assign(expression=AVERAGE), table])
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    for value, reference in white.items():
        name = "IoU" if value == "iou" else value.capitalize()
        options = {
            "label": "network",
            "panels": "expression",
            "groups": kinds,
            "references": {_BASELINE: reference},
            "title": f"{name} of networks, mean over {len(experiment.folds)} folds",
            "axis_label": f"{name} of heatmap (Otsu) and {mask}",
        }
        yield f"{name}_by_net.png", both, value, options
    # Folds first, then networks: the averages of the published table.
    means = table.groupby(["expression", "network"], sort=False)["iou"].mean().reset_index()
    options = {"label": "expression", "points": "network", "title": "IoU of expressions, mean over networks"}
    options |= {"references": {_BASELINE: area}, "axis_label": f"IoU of heatmap (Otsu) and {mask}"}
    yield "By_expression.png", means, "iou", options


def _statistics(experiment: Experiment, run: Run, *, resamples: int = _SUBJECT_RESAMPLES) -> None:
    """Say what the scores of an experiment are worth, with intervals over so many resamples of subjects."""
    folder, expressions = experiment.heatmaps_folder, tuple(experiment.mask_regions)
    masks = np.array([read_mask(experiment.masks_folder, expression) for expression in expressions])
    found = read_heatmaps(folder, masks, experiment.networks, experiment.folds, run.omit, expressions)
    if not found.present.any():
        run.note("There is no heatmap to score: the tables hold the baselines that need none.")
    subjects = None
    try:
        subjects = _over_subjects(experiment, found, run, resamples)
    except MissingError as error:
        run.note(f"No intervals over subjects: {error}")
    else:
        known = subjects.reliability[np.isfinite(subjects.reliability)]
        low = known[known < _RELIABLE]
        if low.size:
            run.note(
                f"{low.size} of {known.size} heatmaps have a reliability below {_RELIABLE} (lowest "
                f"{low.min():.2f}): those of other people would look different. Explain more faces."
            )
    tables = assess(found, seed=experiment.seed, subjects=subjects)
    run.write(experiment.statistics_folder, {name: tables[name] for name in TABLES}, items=1)


def _regions(experiment: Experiment, run: Run) -> None:
    """Measure the mass of all explanations per region of the face, with bootstrap intervals over subjects."""
    manifest = read_manifest(experiment).set_index("image_id")
    cells = {}
    for expression in tqdm(experiment.expressions, desc="Measuring regions", unit="expression"):
        for network in experiment.networks:
            masses, subjects = [], []
            for fold in experiment.folds:
                maps, of_maps = _explanations(experiment, network, fold, expression, manifest, run)
                masses.append(region_masses(maps))
                subjects += of_maps.tolist()
            cells[network, expression] = pd.concat(masses, ignore_index=True), subjects
    table = _region_table(cells, seed=experiment.seed, unit="subjects", omit=run.omit)
    table = table if len(table) else pd.DataFrame(columns=["level", "network", "expression", "region"])
    run.write(experiment.regions_folder, {"regions": table}, items=len(table))


def _over_subjects(experiment: Experiment, found: _HeatmapSet, run: Run, resamples: int) -> _SubjectReplicates:
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
    path = experiment.maps_path(network, fold, expression)
    maps, image_ids = np.zeros((0, *SHAPE), np.float32), np.array([], str)
    with run.omits(path.stem):
        maps, image_ids = _read_maps(path, run)
    usable = np.isin(image_ids, manifest.index[manifest["fold"] == _fold_of(fold)])
    for image_id in image_ids[~usable]:
        run.omit(f"{path.stem} {image_id}", f"it is no face of {fold}")
    return maps[usable], manifest.loc[image_ids[usable], "subject"].to_numpy(str)
