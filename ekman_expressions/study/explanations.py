"""The steps "explanations", "facespace" and "explainers": faces are explained, and explainers compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import hash_of, read_arrays, require, sha256, write_arrays
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.explainers import (
    EXPLAINERS,
    Explanation,
    PerturbationRecord,
    Stored,
    face_parts,
    part_segments,
)
from ekman_expressions.explainers.explanation import _needs_neutral
from ekman_expressions.explainers.facial_regions import _region_names, _region_segments
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.measures.known_answers import _AGREEMENT, causal_agreement
from ekman_expressions.measures.quality import cross_validated_r2
from ekman_expressions.measures.scores import AVERAGE
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.execution import _run_tasks, _Task, _workers
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run, _joined, read_results
from ekman_expressions.study.training import _kept_model
from ekman_expressions.zoo.model import Model

_TASKS_PER_WORKER = 4
"""With so many tasks for each worker, none waits long for the last one."""

_NAMED = 5
"""So many faces are named in a note; the table of explanations has all."""


def _explanations(experiment: Experiment, run: Run) -> None:
    """Query each model about the faces chosen for it, and write what the explainer in use keeps of each."""
    explained = evaluation.read_explained(experiment)
    # Few models are divided among the workers; each part loads its model again.
    parts = -(-_TASKS_PER_WORKER * _workers() // len(experiment.pairs)) if _workers() > 1 else 1
    tasks = []
    for network, fold in experiment.pairs:
        rows = explained.query("network == @network and fold == @fold")
        for part in np.array_split(np.arange(len(rows)), max(min(parts, len(rows)), 1)):
            about = {"name": f"{network}_{fold}", "weight": len(part)}
            arguments = experiment, network, fold, rows.iloc[part]
            tasks.append(_Task(function=_explain_model, arguments=arguments, **about))
    _run_tasks(tasks, run, desc="Explaining", unit="image", own_bars=True)


def _query(experiment: Experiment, model: Model, network: str, fold: str, image_id: str, expression: str) -> Stored:
    """Query a model about one face as the explainer in use does, and return what is to be kept."""
    explainer, settings = EXPLAINERS[experiment.explanation.explainer], experiment.explanation.resolved
    side = experiment.side(network)
    if _needs_neutral(settings):
        settings["hidden"] = prepared.read_faces(experiment, [image_id], side, neutral=True)[0]
    return explainer.query(
        model,
        prepared.read_faces(experiment, [image_id], side)[0],
        experiment.expressions.index(expression),
        # From the names alone: order, workers and interruptions change nothing.
        seed=derive_seed(experiment.seed, "lime", f"{network}_{fold}", image_id),
        landmarks=prepared.read_landmarks(experiment, image_id) if explainer.landmarks else None,
        settings=settings,
    )


def read_explanation(experiment: Experiment, network: str, fold: str, image_id: str, expression: str) -> Explanation:
    """Return the explanation of one face by the explainer in use, from what was kept; no forward pass.

    `MissingError` if it was not explained, `DataError` if its file is damaged or holds another class.
    """
    stored = Stored.load(require(experiment.record_path(network, fold, image_id), "explanations"))
    explainer, target = EXPLAINERS[experiment.explanation.explainer], experiment.expressions.index(expression)
    return explainer.estimate(stored, target, experiment.explanation.resolved)


def _explain_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> Run:
    """Query one model about its faces (``image_id, expression``), unless they are done."""
    run, name = Run(), f"{network}_{fold}"
    todo, notes = [], {}
    for row in rows.itertuples():
        path = experiment.record_path(network, fold, row.image_id)
        done = _read_done(path, row.image_id, name)
        if done is not None:
            notes.setdefault(done.note, []).append(row.image_id)
            run.kept(path)
        else:
            todo.append((path, row.image_id, row.expression))
    try:
        model = _kept_model(experiment, network, fold, experiment.explanation.precision) if todo else None
    except (DataError, MissingError, ModelError) as error:
        for _, image_id, _ in todo:
            run.omit(f"{name} {image_id}", error)
        return run
    for path, image_id, expression in tqdm(todo, desc=f"Explaining {name}", unit="image"):
        with run.omits(f"{name} {image_id}", SettingsError):
            stored = _query(experiment, model, network, fold, image_id, expression)
            replace(stored, image_id=image_id, model=name).save(path)
            notes.setdefault(stored.note, []).append(image_id)
            run.made(path)
    for note in model.notes if model else ():
        run.note(f"{name}: {note}")
    for note, ids in notes.items():
        if note:
            named = ", ".join(ids[:_NAMED]) + ", ..." * (len(ids) > _NAMED)
            few = len(ids) < len(rows)
            some = f"{len(ids)} of {len(rows)} faces: {named}" if few else f"all {len(ids)} faces"
            run.note(f"{name}: {note} ({some})")
    return run


def _read_done(path: Path, image_id: str, model: str) -> Stored | None:
    """Read what was kept of a face; None if that is not there, damaged, or of another face or model."""
    try:
        found = Stored.load(path)
    except (FileNotFoundError, DataError):
        return None
    return found if (found.image_id, found.model) == (image_id, model) else None


_NUMBERS = (
    *("superpixels", "intercept", "r2", "r2_unseen", "largest_weight", "mean_standard_error"),
    *("completeness", "passes"),
)
_COLUMNS = ("network", "fold", "image_id", "expression", "hidden", *_NUMBERS)
"""Columns of ``explanations.csv``: which face was explained, for which class, what hidden parts looked like,
how well. ``r2_unseen``: on samples that the fit has not seen; ``completeness``: see `Explanation`. What an
explainer does not estimate is NaN; ``superpixels`` is 0 where pixels are explained."""


def _facespace(experiment: Experiment, run: Run) -> None:
    """Estimate all explanations and bring them into face space: per model and predicted expression, `maps`
    (n, 275, 224) float32, `image_ids` (n,), `_NUMBERS`, and `source`, a hash of what they were made from.
    """
    explained, tasks = evaluation.read_explained(experiment), []
    for (network, fold), expression in product(experiment.pairs, experiment.expressions):
        rows = explained.query("network == @network and fold == @fold and expression == @expression")
        about = {"name": f"{network}_{fold} {expression}", "weight": len(rows)}
        arguments = experiment, network, fold, expression, rows["image_id"]
        tasks.append(_Task(function=_normalise_cell, arguments=arguments, **about))
    _run_tasks(tasks, run, desc="Warping into face space", unit="image")
    run.write(experiment.facespace_folder, {"explanations": _tabulate(experiment, explained)})


def _normalise_cell(experiment: Experiment, network: str, fold: str, expression: str, image_ids: pd.Series) -> Run:
    """Write the file of one model and one predicted expression, unless it is there and holds."""
    run, settings = Run(), experiment.explanation
    path = experiment.maps_path(network, fold, expression)
    sources, landmarks = {}, {}
    for image_id in image_ids:
        with run.omits(f"{network}_{fold} {image_id}"):
            record = experiment.record_path(network, fold, image_id)
            if not record.exists():
                raise MissingError("it was not explained: see the omissions of the step 'explanations'")
            landmarks[image_id] = prepared.read_landmarks(experiment, image_id)
            sources[image_id] = [sha256(record), hash_of(np.float32(landmarks[image_id]).tolist())]
    source = hash_of([sources, settings.kernel_width, settings.alpha])
    with suppress(FileNotFoundError, DataError):
        stored = read_arrays(path, ("image_ids", "source", *_NUMBERS))
        if str(stored["source"]) == source and stored["image_ids"].tolist() == list(sources):
            run.kept(path, items=len(sources))
            return run
    # A quarter of a megabyte each, and no second time as a list.
    maps, used, numbers = np.empty((len(sources), *SHAPE), np.float32), [], []
    for image_id in sources:
        with run.omits(f"{network}_{fold} {image_id}"):
            stored = Stored.load(experiment.record_path(network, fold, image_id))
            target = experiment.expressions.index(expression)
            found = EXPLAINERS[settings.explainer].estimate(stored, target, settings.resolved)
            # What speaks against the class is 0, as in the study.
            maps[len(used)] = normalise(np.maximum(found.map, 0), landmarks[image_id])
            numbers.append(_numbers(experiment, stored, found))
            used.append(image_id)
    if not used:
        # What an earlier run may have left would be taken for this one's.
        path.unlink(missing_ok=True)
        return run
    arrays = {"maps": maps[: len(used)], "image_ids": np.array(used), "source": np.array(source)}
    write_arrays(path, arrays | {name: np.array([row[name] for row in numbers]) for name in _NUMBERS})
    run.made(path, items=len(used))
    return run


def _unseen_r2(experiment: Experiment, record: PerturbationRecord, target: int) -> float:
    """Return LIME's R² of a record on samples that the fit has not seen, by the settings of an experiment."""
    return cross_validated_r2(
        record,
        target,
        seed=derive_seed(experiment.seed, "unseen", record.model, record.image_id),
        kernel_width=experiment.explanation.kernel_width,
        alpha=experiment.explanation.alpha,
    )


def _numbers(experiment: Experiment, stored: Stored, found: Explanation) -> dict[str, float]:
    errors, has_fit = found.standard_errors, EXPLAINERS[found.explainer].has_surrogate
    return {
        "superpixels": 0 if found.segments is None else len(found.weights),
        "intercept": found.intercept,
        "r2": found.r2,
        "r2_unseen": _unseen_r2(experiment, stored, found.target) if has_fit else np.nan,
        "largest_weight": found.weights.max(),
        "mean_standard_error": np.nan if errors is None else errors.mean(),
        "completeness": found.completeness,
        "passes": found.passes,
    }


def _tabulate(experiment: Experiment, explained: pd.DataFrame) -> pd.DataFrame:
    tables = []
    for (network, fold), expression in product(experiment.pairs, experiment.expressions):
        path = experiment.maps_path(network, fold, expression)
        if path.exists():
            found = read_arrays(path, ("image_ids", *_NUMBERS))
            about = {"network": network, "fold": fold, "image_id": found.pop("image_ids")}
            about |= {"expression": expression, "hidden": experiment.explanation.hides_by}
            tables.append(pd.DataFrame(about | found))
    # In the order of the faces that were chosen.
    return explained[list(_COLUMNS[:4])].merge(_joined(tables, _COLUMNS))[list(_COLUMNS)]


_ALL = "all"


def _nothing_to_compare(experiment: Experiment) -> str:
    """Say why no explainers are compared; an empty text if some are."""
    names = experiment.explanation.compare
    return "" if names else "explanation.compare names no explainer"


def _explainers(experiment: Experiment, run: Run) -> None:
    """Compare the explainers of ``explanation.compare`` and the one in use; all have their scores."""
    names = experiment.explainers
    ranking = _rank_networks(experiment, names)
    by_explainer = ranking.pivot(index="network", columns="explainer", values="iou")[list(names)]
    tables = {
        "ranking": ranking,
        "rank_correlations": _correlations(by_explainer, "spearman").rename(columns={"rows": "networks"}),
        "heatmap_correlations": _joined(
            _correlate(experiment, run), ("network", "expression", "faces", "first", "second", "correlation")
        ),
    }
    if "facial_regions" in names:
        tables["facial_regions/regions"] = _region_table(experiment.explained_by("facial_regions"), run)
    if "causal" in names:
        tables["causal"], tables["causal_values"] = _causal_tables(experiment, names, run)
    run.write(experiment.comparison_folder, tables, items=1)


def _causal_tables(experiment: Experiment, names: tuple[str, ...], run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare each explainer with the causal one on the faces that both have explained; no forward pass."""
    agreement, values = [], []
    subject_of = prepared.read_manifest(experiment).set_index("image_id")["subject"]
    causal = experiment.explained_by("causal")
    for face in evaluation.read_explained(causal).to_dict("records"):
        known = face | {"subject": subject_of[face["image_id"]]}
        item = f"{face['network']}_{face['fold']}_{face['image_id']}"
        with run.omits(item):
            truth = read_explanation(causal, **face)
            landmarks = prepared.read_landmarks(experiment, face["image_id"])
            parts = part_segments(landmarks, truth.segments.shape)[1]
            values.append(known | dict(zip(parts, truth.weights, strict=True)))
            for name in [name for name in names if name != "causal"]:
                with run.omits(f"{name} {item}"):
                    found = read_explanation(experiment.explained_by(name), **face)
                    agreement.append(known | {"explainer": name} | causal_agreement(truth, found.map))
    about = ["fold", "image_id", "subject", "expression"]
    table = pd.DataFrame(values, columns=["network", *about, *face_parts()])
    for network, changes in table.set_index("network")[list(face_parts())].sum(axis=1).groupby(level=0):
        if (changes < 0).any():
            run.note(
                f"causal: {(changes < 0).sum()} of {len(changes)} faces on {network} are predicted less as "
                "their class than their neutral face is"
            )
    return pd.DataFrame(agreement, columns=["network", "explainer", *about, *_AGREEMENT]), table


def _common_heatmaps(experiment: Experiment, network: str, expression: str) -> tuple[dict[str, np.ndarray], int]:
    """Average each explainer's maps of one network and expression over the faces that all explained."""
    sums: dict[str, np.ndarray] = {}
    faces = 0
    explained = {name: experiment.explained_by(name) for name in experiment.explainers}
    for fold in experiment.folds:
        paths = {name: by.maps_path(network, fold, expression) for name, by in explained.items()}
        if not all(path.exists() for path in paths.values()):
            continue
        ids = {name: read_arrays(path, ("image_ids",))["image_ids"] for name, path in paths.items()}
        common = reduce(np.intersect1d, ids.values())
        faces += len(common)
        for name, path in paths.items() if len(common) else ():
            maps = read_arrays(path, ("maps",))["maps"][np.isin(ids[name], common)]
            sums[name] = sums.get(name, 0) + maps.sum(axis=0, dtype=np.float64)
    return {name: total / faces for name, total in sums.items()}, faces


def _summarise_regions(weights: pd.DataFrame, expressions: tuple[str, ...] = EXPRESSIONS) -> pd.DataFrame:
    """Average ``network, expression, region, weight`` over faces, per network and over all. Faces of one
    subject are not independent, so that the standard errors are rather too small.
    """
    both = pd.concat([weights, weights.assign(network=_ALL)])
    networks = [*dict.fromkeys(weights["network"]), _ALL]
    groups = both.groupby(["network", "expression", "region"])["weight"]
    table = groups.agg(faces="size", importance="mean", standard_error="sem")
    cells = pd.MultiIndex.from_product([networks, expressions, _region_names()], names=table.index.names)
    return table.loc[cells[cells.isin(table.index)]].reset_index()


def _rank_networks(experiment: Experiment, names: tuple[str, ...]) -> pd.DataFrame:
    """Rank the networks by the mean IoU of each explainer's heatmaps; NaN without a score."""
    tables = []
    for name in names:
        means = pd.DataFrame({"network": experiment.networks, "iou": np.nan})
        if experiment.mask_regions:
            columns = ("network", "expression", "iou")
            table = read_results(experiment.explained_by(name), "scores", "scores", columns)
            means = table[(table["expression"] == AVERAGE) & (table["network"] != AVERAGE)]
            means = means[["network", "iou"]]
        tables.append(means.assign(explainer=name, rank=means["iou"].rank(ascending=False)))
    return pd.concat(tables, ignore_index=True)[["explainer", "network", "iou", "rank"]]


def _correlate(experiment: Experiment, run: Run) -> Iterator[pd.DataFrame]:
    explained = evaluation.read_explained(experiment)
    cells = explained[["network", "expression"]].drop_duplicates()
    cells = list(cells[cells["network"].isin(experiment.networks)].itertuples(index=False))
    for network, expression in tqdm(cells, desc="Correlating heatmaps", unit="heatmap"):
        means, faces = _common_heatmaps(experiment, network, expression)
        if not faces:
            run.omit(f"{network} {expression}", "no face was explained by all explainers")
            continue
        maps = pd.DataFrame({name: mean.ravel() for name, mean in means.items()})
        table = _correlations(maps, "pearson").rename(columns={"pearson": "correlation"})
        yield table.assign(network=network, expression=expression, faces=faces)


def _region_table(experiment: Experiment, run: Run) -> pd.DataFrame:
    """Average the weights of facial regions over faces; faces without a record are left out."""
    rows, explained = [], evaluation.read_explained(experiment)
    for row in tqdm(explained.itertuples(), desc="Averaging regions", unit="face", total=len(explained)):
        face = row.network, row.fold, row.image_id
        if face[:2] not in experiment.pairs or not experiment.record_path(*face).exists():
            continue
        with run.omits(f"regions of {row.network}_{row.fold} {row.image_id}"):
            found = read_explanation(experiment, *face, row.expression)
            names = _region_names()
            if len(found.weights) < len(names):
                # Some regions are too small for the image.
                landmarks = prepared.read_landmarks(experiment, row.image_id)
                segments, names = _region_segments(landmarks, found.segments.shape)
                if not np.array_equal(segments, found.segments):
                    raise DataError("its landmarks have changed since it was explained")
            cells = zip(names, found.weights, strict=True)
            rows += [(row.network, row.expression, name, weight) for name, weight in cells]
    weights = pd.DataFrame(rows, columns=["network", "expression", "region", "weight"])
    return _summarise_regions(weights, experiment.expressions)


def _correlations(columns: pd.DataFrame, method: str) -> pd.DataFrame:
    """Correlate every two columns: ``first, second, rows`` that both have, and the correlation, or NaN."""
    matrix = columns.corr(method, min_periods=2)
    pairs = [
        (first, second, len(columns[[first, second]].dropna()), matrix.loc[first, second])
        for first, second in combinations(columns, 2)
    ]
    return pd.DataFrame(pairs, columns=["first", "second", "rows", method])
