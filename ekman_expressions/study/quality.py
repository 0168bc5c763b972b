"""The step "quality": how good the explanations are, in four tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, lru_cache, partial, reduce
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError
from ekman_expressions.core.expressions import EXPRESSIONS, index
from ekman_expressions.core.files import read_arrays, read_csv, require, write_arrays, write_csv
from ekman_expressions.core.seeds import derive_seed, generator
from ekman_expressions.explainers import EXPLAINERS, PerturbationRecord, superpixels
from ekman_expressions.facespace.heatmaps import RunningMean, to_uint8
from ekman_expressions.facespace.masks import ekman_mask
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.measures.quality import (
    Ranking,
    correlations,
    deletion_insertion,
    similarity,
    untrained_copy,
)
from ekman_expressions.measures.reliability import bootstrap_weights
from ekman_expressions.measures.scores import scores_at_otsu
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explainers import compared
from ekman_expressions.study.explanations import load_model, read_explanation, settings_of_explainer
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.model import GROUP, Model, as_model

QUALITY_TABLES: dict[str, tuple[str, ...]] = {
    "reliability": (
        *("explainer", "network", "fold", "image_id", "expression", "superpixels", "mean_standard_error"),
        *("r2", "r2_standard_error", "units", "flip_rate", "weighted_flip_rate"),
    ),
    "curves": ("network", "fold", "image_id", "expression", "ranking", "deletion", "insertion", "passes"),
    "untrained": (
        *("explainer", "network", "expression", "faces", "pearson", "spearman", "ssim"),
        *("iou_trained", "iou_untrained"),
    ),
    "sensitivity": (
        *("explainer", "network", "expression", "first", "second", "faces"),
        *("correlation", "heatmap_correlation"),
    ),
}
"""The tables, ``quality/<name>.csv``, and their columns."""

CURVE_SHARES = np.linspace(0, 1, 21)
"""Shares of the pixels at which curves are kept, so that they can be averaged."""

AS_SET, OTHER_SAMPLES, UNTRAINED = "as set", "other samples", "untrained"
_POINTS = tuple(f"{kind}_{share:.2f}" for kind in ("deletion", "insertion") for share in CURVE_SHARES)
# All curves together take at most this share of the forward passes that LIME took for the same model.
_SHARE = 0.1
# Steps of a curve: fewer show no curve; more cost passes and show nothing new.
_FEWEST, _MOST = 7, 19
_FAILURES = (DataError, MissingError, ModelError)
_Cell = tuple[str, str]


def quality(experiment: Experiment, run: Run) -> None:
    """Measure how good the explanations of an experiment are.

    For the explainer in use and those of ``explanation.compare`` together, in the folder ``quality`` of the
    explainer in use: `QUALITY_TABLES`, and in ``parts`` those of single models, from which an interrupted
    run resumes.

    - ``reliability``: weighted R², bootstrap standard errors, sign flips; no model call.
    - ``curves``: deletion and insertion, against a random order and one from the centre, of as many
      faces as a tenth of LIME's forward passes allows.
    - ``untrained``: heatmaps of untrained copies of the networks, of ``explanation.quality_faces``
      faces per network and expression, against those of the trained ones.
    - ``sensitivity``: the same faces, when other samples are drawn, hidden superpixels look otherwise,
      or the superpixels are others.
    """
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in QUALITY_TABLES}
    for network, fold in tqdm(experiment.pairs, desc="Resampling", unit="model"):
        tables["reliability"].append(_reliability(experiment, network, fold, run))
    for network in experiment.networks:
        # One at a time: five models of one network can be large.
        model = lru_cache(maxsize=1)(partial(load_model, experiment, network))
        spare = 0
        for fold in experiment.folds:
            table, spare = _curves(experiment, network, fold, model, spare, run)
            tables["curves"].append(table)
        untrained, sensitivity = _other_ways(experiment, network, model, run)
        tables["untrained"].append(untrained)
        tables["sensitivity"].append(sensitivity)
    for name, parts in tables.items():
        path = experiment.quality_folder / f"{name}.csv"
        write_csv(path, _joined(parts, QUALITY_TABLES[name]))
        run.made(path, items=0)
    faces = [part.drop_duplicates("image_id") for part in tables["curves"]]
    run.note(f"deletion and insertion took {sum(int(part['passes'].sum()) for part in faces)} forward passes")


def read_quality(experiment: Experiment, table: str) -> pd.DataFrame:
    """Read one of `QUALITY_TABLES`; `MissingError` if the step 'quality' has not run."""
    path = require(experiment.quality_folder / f"{table}.csv", "quality")
    return read_csv(path, QUALITY_TABLES[table], dtype={"image_id": str})


def read_curves(experiment: Experiment) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Read all deletion and insertion curves, the models of all folds together.

    Returns
    -------
    dict of (network, expression) to dict of ranking to (N, 2, G) ndarray
        The probabilities at the shares `CURVE_SHARES`, of deletion and of insertion, for N faces.
    """
    folder, columns = experiment.quality_folder / "parts", list(_POINTS)
    names = [f"curves-{network}_{fold}.*csv" for network, fold in experiment.pairs]
    parts = [read_csv(path) for name in names for path in folder.glob(name)]
    table = _joined(parts, (*QUALITY_TABLES["curves"], *columns))
    found: dict[_Cell, dict[str, np.ndarray]] = {
        cell: {
            ranking: rows[columns].to_numpy(float).reshape(-1, 2, len(CURVE_SHARES))
            for ranking, rows in of_cell.groupby("ranking", sort=False)
        }
        for cell, of_cell in table.groupby(["network", "expression"])
    }
    return {cell: found[cell] for cell in product(experiment.networks, EXPRESSIONS) if cell in found}


def read_untrained_heatmaps(experiment: Experiment) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Read the heatmaps of trained networks and of their untrained copies, by the explainer in use.

    Returns
    -------
    dict of (network, expression) to dict of {'as set', 'untrained'} to (275, 224) ndarray of float32
    """
    found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for network in experiment.networks:
        for path in (experiment.quality_folder / "parts").glob(f"heatmaps-{network}.*npz"):
            for key, heatmap in read_arrays(path).items():
                expression, _, variant = key.partition(" ")
                found.setdefault((network, expression), {})[variant] = heatmap
    return found


def sensitivity_matrices(
    experiment: Experiment,
) -> tuple[dict[tuple[str, str], np.ndarray], tuple[str, ...]]:
    """Read the mean correlations of faces' maps that were made in different ways, by the explainer in use.

    Returns
    -------
    dict of (network, expression) to (V, V) ndarray
        NaN where there is none.
    tuple of V str
        The ways: all but the untrained copy.
    """
    names = (AS_SET, OTHER_SAMPLES, *_variants(experiment))
    table = read_quality(experiment, "sensitivity")
    table = table[table["explainer"] == experiment.explanation.explainer]
    matrices = {}
    for cell, rows in table.groupby(["network", "expression"], sort=False):
        wide = rows.pivot(index="first", columns="second", values="correlation").reindex(names, columns=names)
        matrix = wide.fillna(wide.T).to_numpy(copy=True)
        np.fill_diagonal(matrix, 1)
        matrices[cell] = matrix
    return matrices, names


def _joined(parts: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled)[list(columns)] if filled else pd.DataFrame(columns=columns)


def _part(experiment: Experiment, run: Run, name: str, make: Callable[[], Any], suffix: str = ".csv") -> Any:
    """Make a part of the results, or read it if an interrupted run has made all of it."""
    folder = experiment.quality_folder / "parts"
    whole, incomplete = folder / f"{name}{suffix}", folder / f"{name}.incomplete{suffix}"
    if run.resumed and whole.exists():
        part = read_csv(whole, dtype={"image_id": str}) if suffix == ".csv" else read_arrays(whole)
        run.kept(whole, items=len(part))
        return part
    before = len(run.omissions)
    part = make()
    # What was left out is to be tried, and listed, again.
    path, other = (incomplete, whole) if len(run.omissions) > before else (whole, incomplete)
    other.unlink(missing_ok=True)
    (write_csv if suffix == ".csv" else write_arrays)(path, part)
    run.made(path, items=len(part))
    return part


def _explained(experiment: Experiment, explainer: str, network: str, fold: str) -> pd.DataFrame:
    """Return ``image_id, expression`` of the faces of a model that an explainer has explained."""
    by = experiment.explained_by(explainer)
    rows = evaluation.read_explained(by).query("network == @network and fold == @fold")
    # Those without a record are listed by the step that could not make it.
    there = [by.record_path(network, fold, image_id).exists() for image_id in rows["image_id"]]
    return rows.loc[np.array(there, bool), ["image_id", "expression"]]


def _explained_by_all(
    experiment: Experiment, network: str, fold: str, explainers: Iterable[str]
) -> pd.DataFrame:
    """Return the faces of a model that all of the explainers have explained, in an order that is random but
    always the same; expressions take turns."""
    table = reduce(pd.merge, (_explained(experiment, name, network, fold) for name in explainers))
    places = [derive_seed(experiment.seed, "quality", network, fold, name) for name in table["image_id"]]
    table["place"] = np.array(places, np.uint64)
    table["turn"] = table.groupby("expression")["place"].rank(method="first")
    return table.sort_values(["turn", "place"], kind="stable", ignore_index=True)[["image_id", "expression"]]


def _reliability(experiment: Experiment, network: str, fold: str, run: Run) -> pd.DataFrame:
    """Bootstrap the explanations of a model by all explainers that fit LIME's regression."""
    settings = experiment.explanation

    def of_face(explainer: str, image_id: str, expression: str) -> tuple | None:
        item, by = f"{network}_{fold} {image_id}", experiment.explained_by(explainer)
        try:
            found = bootstrap_weights(
                PerturbationRecord.load(by.record_path(network, fold, image_id)),
                index(expression),
                seed=derive_seed(experiment.seed, "bootstrap", explainer, item),
                kernel_width=settings.kernel_width,
                alpha=settings.alpha,
            )
        except DataError as error:
            run.omit(f"{item}: reliability of {explainer}", error)
            return None
        if np.isnan(found.r2):
            reason = "the prediction is the same for all samples, so that there is nothing to explain"
            run.omit(f"{item}: R² and sign flips of {explainer}", reason)
        about = (explainer, network, fold, image_id, expression, len(found.weights))
        rates = (found.flip_rate, found.weighted_flip_rate)
        return (*about, found.standard_errors.mean(), found.r2, found.r2_standard_error, found.units, *rates)

    def make() -> pd.DataFrame:
        names = [name for name in compared(experiment) if EXPLAINERS[name].has_surrogate]
        faces = [(n, *row) for n in names for row in _explained(experiment, n, network, fold).to_numpy()]
        rows = [row for face in faces if (row := of_face(*face)) is not None]
        return pd.DataFrame(rows, columns=QUALITY_TABLES["reliability"])

    return _part(experiment, run, f"reliability-{network}_{fold}", make)


def _curves(
    experiment: Experiment, network: str, fold: str, model: Callable[[str], Model], spare: int, run: Run
) -> tuple[pd.DataFrame, int]:
    """Draw the curves of as many of a model's faces as the forward passes allow; return also what is left.

    With explainers to compare, half of the passes goes to faces that all have explained, and their
    curves; the rest to further faces and the curves of the explainer in use alone.
    """
    own, *others = compared(experiment)

    def passes(explainers: int) -> int:
        # Two curves by each explainer and from the centre, and one in random order, whose deletion is the
        # insertion of its reverse. All share their two ends.
        return (2 * explainers + 3) * (steps - 1) + 2

    rows = _explained_by_all(experiment, network, fold, [own])
    left = spare + int(_SHARE * len(rows) * experiment.explanation.samples)
    steps = int(np.clip((left / max(len(rows), 1) - 2) // 5 + 1, _FEWEST, _MOST))
    plan: list[tuple[str, str, tuple[str, ...]]] = []
    if others:
        common = _explained_by_all(experiment, network, fold, [own, *others])
        common = common.head(left // 2 // passes(1 + len(others)))
        plan += [(*row, (own, *others)) for row in common.to_numpy()]
        left -= passes(1 + len(others)) * len(common)
        rows = rows[~rows["image_id"].isin(common["image_id"])]
    rows = rows.head(left // passes(1))
    plan += [(*row, (own,)) for row in rows.to_numpy()]

    def make() -> pd.DataFrame:
        found = []
        for image_id, expression, names in tqdm(plan, desc=f"Curves of {network}_{fold}", unit="face"):
            about = (network, fold, image_id, expression)
            try:
                found += [
                    (*about, *row) for row in _curves_of_face(experiment, *about, names, steps, model(fold))
                ]
            except _FAILURES as error:
                run.omit(f"{network}_{fold} {image_id}: deletion and insertion", error)
        return pd.DataFrame(found, columns=[*QUALITY_TABLES["curves"], *_POINTS])

    return _part(experiment, run, f"curves-{network}_{fold}", make), left - passes(1) * len(rows)


def _curves_of_face(
    experiment: Experiment,
    network: str,
    fold: str,
    image_id: str,
    expression: str,
    explainers: tuple[str, ...],
    steps: int,
    model: Model,
) -> list[tuple]:
    """Return ``ranking, deletion, insertion, passes`` and the `_POINTS` by each explainer and control."""
    settings, target = experiment.explanation, index(expression)
    random = generator(experiment.seed, "quality", f"{network}_{fold}", image_id)
    image = prepared.read_faces(experiment, [image_id], experiment.side(network))[0]
    segments = superpixels(image, segments=settings.segments, compactness=settings.compactness)
    # The controls first, so that they do not depend on which explainers are compared.
    controls = {"random": Ranking.at_random(segments, random), "centre": Ranking.from_centre(segments)}
    rankings = {}
    for name in explainers:
        found = read_explanation(experiment.explained_by(name), network, fold, image_id, expression)
        if found.segments is None:
            rankings[name] = Ranking.by_map(found.map, steps, random)
        else:
            rankings[name] = Ranking.by_weights(found.segments, found.weights, random)
    rankings |= controls
    curves, passes = deletion_insertion(model, image, target, rankings, steps=steps, hidden=settings.hidden)
    rows = []
    for name in rankings:
        pair = curves[name, "deletion"], curves[name, "insertion"]
        points = np.float32([curve.at(CURVE_SHARES) for curve in pair]).ravel()
        rows.append((name, *(curve.area for curve in pair), passes, *points))
    return rows


def _other_ways(
    experiment: Experiment, network: str, load: Callable[[str], Model], run: Run
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Explain some of a network's faces in other ways: the rows of "untrained" and "sensitivity".

    By the explainers that are estimated from LIME's records, and by those that take gradients, of which
    only untrained copies are explained.
    """
    rows = [EXPLAINERS[name] for name in compared(experiment)]
    names = [row.name for row in rows if row.records_of == "lime" or row.gradients]
    # By explainer and expression: the mean map of each way, and the correlations of faces' maps.
    means: dict[_Cell, dict[str, RunningMean]] = {cell: {} for cell in product(names, EXPRESSIONS)}
    related: dict[tuple[str, ...], list[float]] = {}

    @cache
    def explain_again() -> None:
        faces = _faces_of_all_folds(experiment, network)
        copy: list[Model | None] = []
        for row in tqdm(
            faces.itertuples(), desc=f"Explaining {network} again", unit="face", total=len(faces)
        ):
            try:
                model = load(row.fold)
                if not copy:
                    # Made once, since it does not depend on the fold.
                    copy.append(_untrained(experiment, network, faces["image_id"], model, run))
                maps = _maps_of_face(experiment, network, row, names, model, copy[0])
            except _FAILURES as error:
                run.omit(f"{network}_{row.fold} {row.image_id}: explained again", error)
                continue
            for name, of_name in maps.items():
                matrix = np.float32(correlations(np.stack(list(of_name.values()))))
                for way, found in of_name.items():
                    means[name, row.expression].setdefault(way, RunningMean()).add(found)
                for (i, first), (j, second) in combinations(enumerate(of_name), 2):
                    related.setdefault((name, row.expression, first, second), []).append(matrix[i, j])

    def untrained() -> pd.DataFrame:
        explain_again()
        rows = []
        for (explainer, expression), of_cell in means.items():
            if UNTRAINED in of_cell:
                pair = of_cell[AS_SET].mean, of_cell[UNTRAINED].mean
                ious = [_iou(heatmap, expression) for heatmap in pair]
                about = (explainer, network, expression, int(of_cell[UNTRAINED].weight))
                rows.append((*about, *similarity(*pair).values(), *ious))
        return pd.DataFrame(rows, columns=QUALITY_TABLES["untrained"])

    def sensitivity() -> pd.DataFrame:
        explain_again()
        rows = []
        for cell, of_cell in means.items():
            matrix = correlations(np.stack([mean.mean for mean in of_cell.values()])) if of_cell else None
            for (i, first), (j, second) in combinations(enumerate(of_cell), 2):
                values = np.float32(related[*cell, first, second])
                values = values[np.isfinite(values)]
                mean = values.mean() if len(values) else np.nan
                rows.append((cell[0], network, cell[1], first, second, len(values), mean, matrix[i, j]))
        return pd.DataFrame(rows, columns=QUALITY_TABLES["sensitivity"])

    def heatmaps() -> dict[str, np.ndarray]:
        explain_again()
        return {
            f"{expression} {way}": np.float32(mean.mean)
            for (explainer, expression), of_cell in means.items()
            for way, mean in of_cell.items()
            if explainer == experiment.explanation.explainer and way in (AS_SET, UNTRAINED)
        }

    tables = (
        _part(experiment, run, f"untrained-{network}", untrained),
        _part(experiment, run, f"sensitivity-{network}", sensitivity),
    )
    _part(experiment, run, f"heatmaps-{network}", heatmaps, ".npz")
    return tables


def _iou(heatmap: np.ndarray, expression: str) -> float:
    # A constant heatmap marks nothing.
    return scores_at_otsu(to_uint8(heatmap), ekman_mask(expression))["iou"] if np.ptp(heatmap) > 0 else float("nan")


def _faces_of_all_folds(experiment: Experiment, network: str) -> pd.DataFrame:
    """Choose so many of a network's faces per expression, from all folds in turn."""
    tables = []
    for fold in experiment.folds:
        rows = _explained_by_all(experiment, network, fold, compared(experiment))
        place = [derive_seed(experiment.seed, "again", network, fold, name) for name in rows["image_id"]]
        turn = rows.groupby("expression").cumcount()
        tables.append(rows.assign(fold=fold, turn=turn, place=np.array(place, np.uint64)))
    table = pd.concat(tables).sort_values(["turn", "place"], kind="stable")
    table = table.groupby("expression", sort=False).head(experiment.explanation.quality_faces)
    # So that each model is loaded once.
    return table.sort_values("fold", key=lambda folds: folds.map(experiment.folds.index), kind="stable")


def _untrained(
    experiment: Experiment, network: str, image_ids: Iterable[str], model: Model, run: Run
) -> Model | None:
    """Return an untrained copy of a network; None, and listed, if there can be none."""
    try:
        faces = prepared.read_faces(experiment, sorted(image_ids)[:GROUP], experiment.side(network))
        copy = untrained_copy(model, faces, seed=derive_seed(experiment.seed, "untrained", network))
        return as_model(copy, group=model.group, precision=experiment.explanation.precision)
    except _FAILURES as error:
        run.omit(f"{network}: an untrained copy", error)
        return None


def _variants(experiment: Experiment) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return ways that differ from the settings: whose query (none: same superpixels), and what changes."""
    settings = experiment.explanation
    colours = {"hidden black": 0.0, "hidden mean": "mean", "hidden blur": "blur"}
    return {
        **{way: ("", {"hidden": colour}) for way, colour in colours.items() if colour != settings.hidden},
        **{f"{n} superpixels": ("lime", {"segments": n}) for n in (15, 30, 60) if n != settings.segments},
        "facial regions": ("facial_regions", {}),
    }


def _maps_of_face(
    experiment: Experiment, network: str, row: Any, names: list[str], model: Model, untrained: Model | None
) -> dict[str, dict[str, np.ndarray]]:
    """Return a face's maps in face space by explainer and way."""
    settings, target = experiment.explanation, index(row.expression)
    image = prepared.read_faces(experiment, [row.image_id], experiment.side(network))[0]
    landmarks = prepared.read_landmarks(experiment, row.image_id)
    seed = derive_seed(experiment.seed, "again", f"{network}_{row.fold}", row.image_id)

    def query_again(first: PerturbationRecord, way: str, name: str, change: dict) -> PerturbationRecord:
        if name:
            values = settings_of_explainer(experiment.explained_by(name)) | {"samples": len(first.samples)}
            kinds = {"seed": derive_seed(seed, way), "landmarks": landmarks, "settings": values | change}
            return EXPLAINERS[name].query(model, image, target, **kinds)
        hidden = change.get("hidden", settings.hidden)
        queried = untrained if way == UNTRAINED else model
        predictions = queried.predict_hidden(image, first.segments, first.samples, hidden)
        return replace(first, predictions=predictions, hidden=hidden)

    records: dict[str, PerturbationRecord] = {}
    maps: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        by = experiment.explained_by(name)
        explainer, options = EXPLAINERS[name], settings_of_explainer(by)
        if explainer.records_of != "lime":
            found = read_explanation(by, network, row.fold, row.image_id, row.expression)
            explanations = {AS_SET: found}
            if untrained is not None:
                explained = explainer.explain(untrained, image[None], [target], seed=seed, **options)
                explanations[UNTRAINED] = explained[0]
        else:
            if not records:
                path = by.record_path(network, row.fold, row.image_id)
                records = _halves(PerturbationRecord.load(path), settings.quality_samples)
                variants = _variants(experiment) | ({} if untrained is None else {UNTRAINED: ("", {})})
                records |= {
                    way: query_again(records[AS_SET], way, *variant) for way, variant in variants.items()
                }
            explanations = {
                way: explainer.estimate(record, target, options) for way, record in records.items()
            }
        maps[name] = {
            way: normalise(np.maximum(found.map, 0), landmarks) for way, found in explanations.items()
        }
    return maps


def _halves(record: PerturbationRecord, samples: int | None) -> dict[str, PerturbationRecord]:
    """Divide a record's samples in two, of `samples` each (by default half), both with that which keeps all.

    What other samples alone change is so seen at no model call; if they are too few, there is one part.
    """
    count = len(record.samples)
    size = min(samples or max(count // 2, 2), count)
    places = {AS_SET: np.arange(size), OTHER_SAMPLES: np.r_[0, size : min(2 * size - 1, count)]}
    return {
        way: replace(record, samples=record.samples[rows], predictions=record.predictions[rows])
        for way, rows in places.items()
        if len(rows) == size
    }
