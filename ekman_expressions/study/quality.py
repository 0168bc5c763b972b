"""The step "quality": how good the explanations are, in five tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache, partial, reduce
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.files import read_arrays, read_csv, write_arrays, write_csv
from ekman_expressions.core.runtime import derive_seed, generator
from ekman_expressions.explainers import EXPLAINERS, PerturbationRecord, lime, superpixels
from ekman_expressions.facespace.heatmaps import _RunningMean, to_uint8
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.measures.quality import (
    Ranking,
    _correlations,
    deletion_insertion,
    untrained_copy,
)
from ekman_expressions.measures.scores import scores_at_otsu
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.execution import _run_tasks, _Task
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explanations import _numbers, _unseen_r2, read_explanation
from ekman_expressions.study.provenance import Run, _joined
from ekman_expressions.study.training import _kept_model
from ekman_expressions.zoo.model import GROUP, Model, as_model

_QUALITY_TABLES: dict[str, tuple[str, ...]] = {
    "reliability": (
        *("explainer", "network", "fold", "image_id", "expression", "hidden", "superpixels"),
        *("mean_standard_error", "r2", "r2_unseen"),
        "weighted_flip_rate",
    ),
    "hidden": ("network", "hidden", "faces", "r2", "r2_unseen", "described"),
    "curves": (
        *("network", "fold", "image_id", "expression", "ranking", "deletion", "insertion"),
        *("random_deletion", "random_insertion", "passes"),
    ),
    "erasing": (
        *("network", "ranking", "faces", "deletion", "deletion_gain", "deletion_error"),
        *("insertion", "insertion_gain", "insertion_error"),
    ),
    "untrained": (
        *("explainer", "network", "expression", "faces", "pearson"),
        *("iou_trained", "iou_untrained"),
    ),
}
"""The tables, ``quality/<name>.csv``, and their columns."""

_CURVE_SHARES = np.linspace(0, 1, 21)
"""Shares of the pixels at which curves are kept, so that they can be averaged."""

_DESCRIBED = 0.5
"""R² on unseen samples from which LIME is said to describe a network."""

_FEWEST_FACES = 10
"""With fewer faces, curves are not averaged into a table."""

AS_SET, UNTRAINED = "as set", "untrained"
_POINTS = tuple(f"{kind}_{share:.2f}" for kind in ("deletion", "insertion") for share in _CURVE_SHARES)
_COLOURS = {"black": 0.0, "mean": "mean", "blur": "blur", "superpixel_mean": "superpixel_mean"}
# All curves together take about this share of the forward passes that LIME took for the same model, but those
# of `_FEWEST_FACES` faces of each network are always drawn.
_SHARE = 0.1
_STEPS = 8
_AGAIN = ("untrained", "hidden", "heatmaps")


def _quality(experiment: Experiment, run: Run) -> None:
    """Measure how good the explanations are by the explainer in use and those of ``explanation.compare``: the
    `_QUALITY_TABLES`, and in ``parts`` those of single models, from which an interrupted run resumes.
    """
    # The longest first.
    parts = [((network,), _explained_again, _AGAIN) for network in experiment.networks]
    for pair in experiment.pairs:
        parts += [(pair, _reliability, ("reliability",)), (pair, _curves, ("curves",))]
    tasks = [
        _Task(name="_".join(part[0]), function=_write_parts, arguments=(experiment, run.resumed, *part))
        for part in parts
    ]
    _run_tasks(tasks, run, desc="Quality", unit="task")
    tables = {}
    for kind, columns in _QUALITY_TABLES.items():
        paths = [path for path in run.outputs if path.name.startswith(f"{kind}-")]
        # As they are written, in so many digits.
        tables[kind] = _joined((read_csv(path, dtype={"image_id": str}) for path in paths), columns)
    tables["erasing"] = _averaged(tables["curves"], run)[list(_QUALITY_TABLES["erasing"])]
    run.write(experiment.quality_folder, tables)
    for network, rows in tables["hidden"].groupby("network", sort=False):
        found = ", ".join(f"{row.hidden} {row.r2:.2f} ({row.r2_unseen:.2f})" for row in rows.itertuples())
        run.note(f"{network}: R² (on unseen samples) by what hidden superpixels look like: {found}")


def read_curves(experiment: Experiment) -> dict[str, dict[str, np.ndarray]]:
    """Read the curves by network and ranking: (N, 2, G) probabilities of N faces, of deletion and of
    insertion, at evenly spaced shares of the pixels, from 0 to 1; the models of all folds and all expressions
    together. Networks with fewer than `_FEWEST_FACES` faces are left out.
    """
    folder, columns = experiment.quality_folder / "parts", list(_POINTS)
    names = [f"curves-{network}_{fold}.*csv" for network, fold in experiment.pairs]
    parts = [read_csv(path) for name in names for path in folder.glob(name)]
    table = _joined(parts, (*_QUALITY_TABLES["curves"], *columns))
    found: dict[str, dict[str, np.ndarray]] = {}
    for (network, ranking), rows in table.groupby(["network", "ranking"], sort=False):
        if len(rows) >= _FEWEST_FACES:
            curves = rows[columns].to_numpy(float).reshape(-1, 2, len(_CURVE_SHARES))
            found.setdefault(network, {})[ranking] = curves
    return found


def read_untrained_heatmaps(experiment: Experiment) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Read the heatmaps by the explainer in use, of networks and of their untrained copies: by (network,
    expression) and ``'as set'`` or ``'untrained'``."""
    found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for network in experiment.networks:
        for path in (experiment.quality_folder / "parts").glob(f"heatmaps-{network}.*npz"):
            for key, heatmap in read_arrays(path).items():
                expression, _, variant = key.partition(" ")
                found.setdefault((network, expression), {})[variant] = heatmap
    return found


def _write_parts(
    experiment: Experiment,
    resumed: bool,
    of: tuple[str, ...],
    make: Callable[..., tuple],
    kinds: tuple[str, ...],
) -> Run:
    """Make and write parts of the results, `of` a network or model, unless an earlier run has made them."""
    run, folder, name = Run(resumed=resumed), experiment.quality_folder / "parts", "_".join(of)
    paths = [folder / f"{kind}-{name}{'.npz' if kind == 'heatmaps' else '.csv'}" for kind in kinds]
    if resumed and all(path.exists() for path in paths):
        run.kept(*paths, items=len(paths))
        return run
    for path, part in zip(paths, make(experiment, *of, run), strict=True):
        # What was left out is to be tried, and listed, again.
        incomplete = path.with_suffix(f".incomplete{path.suffix}")
        written, other = (incomplete, path) if run.omissions else (path, incomplete)
        other.unlink(missing_ok=True)
        (write_arrays if path.suffix == ".npz" else write_csv)(written, part)
        run.made(written, items=len(part))
    return run


def _loader(experiment: Experiment, network: str) -> Callable[[str], Model]:
    """Return a function from fold to model, which keeps one at a time: five of one network can be large."""
    return lru_cache(maxsize=1)(partial(_kept_model, experiment, network, precision=experiment.explanation.precision))


def _faces(experiment: Experiment, network: str, folds: Iterable[str], explainers: Iterable[str]) -> pd.DataFrame:
    """Return ``image_id, expression, fold`` of a network's faces that all of the explainers have explained,
    in a random order that is always the same, in which expressions take turns.
    """
    tables = []
    for by in map(experiment.explained_by, explainers):
        rows = evaluation.read_explained(by).query("network == @network and fold in @folds")
        # Those without a record are listed by the step that could not make it.
        there = [by.record_path(network, row.fold, row.image_id).exists() for row in rows.itertuples()]
        tables.append(rows.loc[np.array(there, bool), ["image_id", "expression", "fold"]])
    table = reduce(pd.merge, tables)
    names = zip(table["fold"], table["image_id"], strict=True)
    table["place"] = [derive_seed(experiment.seed, "quality", network, *name) for name in names]
    table["turn"] = table.groupby(["fold", "expression"])["place"].rank("first")
    return table.sort_values(["turn", "place"], kind="stable", ignore_index=True)


def _reliability(experiment: Experiment, network: str, fold: str, run: Run) -> tuple[pd.DataFrame]:
    """Say how sure the explanations of a model are, by all explainers that fit LIME's regression."""
    rows = []
    for name in experiment.explainers:
        if not EXPLAINERS[name].has_surrogate:
            continue
        by = experiment.explained_by(name)
        for face in _faces(experiment, network, [fold], [name]).to_dict("records"):
            item = f"{network}_{fold} {face['image_id']}"
            target = experiment.expressions.index(face["expression"])
            with run.omits(f"{item}: reliability of {name}"):
                record = PerturbationRecord.load(by.record_path(network, fold, face["image_id"]))
                found = EXPLAINERS[name].estimate(record, target, by.explanation.resolved)
                if np.isnan(found.r2):
                    reason = "the prediction is the same for all samples, so that there is nothing to explain"
                    run.omit(f"{item}: R² and sign flips of {name}", reason)
                about = {"explainer": name, "network": network, "hidden": record.hidden}
                flips = {"weighted_flip_rate": found.weighted_flip_rate}
                rows.append(face | about | _numbers(by, record, found) | flips)
    return (pd.DataFrame(rows, columns=_QUALITY_TABLES["reliability"]),)


def _curves(experiment: Experiment, network: str, fold: str, run: Run) -> tuple[pd.DataFrame]:
    """Draw the curves of as many of a model's faces, of those that all have explained, as may be."""
    names, found, load = experiment.explainers, [], _loader(experiment, network)
    own, faces = (_faces(experiment, network, [fold], of) for of in (names[:1], names))
    # Two curves by each explainer and from the centre; one in random order for superpixels, and for each map.
    per_face = (2 * len(names) + 3 + sum(EXPLAINERS[name].gives_map for name in names)) * (_STEPS - 1) + 2
    passes = int(_SHARE * len(own) * experiment.explanation.samples)
    faces = faces.head(max(passes // per_face, -(-_FEWEST_FACES // len(experiment.folds))))
    for row in tqdm(faces.itertuples(), desc=f"Curves of {network}_{fold}", unit="face", total=len(faces)):
        with run.omits(f"{network}_{fold} {row.image_id}: deletion and insertion"):
            found += _curves_of_face(experiment, (network, fold, row.image_id, row.expression), load(fold))
    return (pd.DataFrame(found, columns=[*_QUALITY_TABLES["curves"], *_POINTS]),)


def _curves_of_face(experiment: Experiment, face: tuple[str, str, str, str], model: Model) -> list[tuple]:
    """Return a row per explainer and control: `face` and the rest of the table, and the `_POINTS`."""
    network, fold, image_id, expression = face
    seeded = partial(generator, experiment.seed, "quality", f"{network}_{fold}", image_id)
    settings, explainers = experiment.explanation, experiment.explainers
    image = prepared.read_faces(experiment, [image_id], experiment.side(network))[0]
    segments = superpixels(image, segments=settings.segments, compactness=settings.compactness)
    controls = {"random": Ranking.at_random(segments, seeded()), "centre": Ranking.from_centre(segments)}
    rankings, control_of = {}, dict.fromkeys((*explainers, *controls), "random")
    for name in explainers:
        found, own = read_explanation(experiment.explained_by(name), *face), seeded(name)
        if found.segments is None:
            control_of[name] = f"random {name}"
            rankings[name] = Ranking.by_map(found.map, _STEPS, own)
            rankings[control_of[name]] = Ranking.like_map(found.map, _STEPS, own)
        else:
            rankings[name] = Ranking.by_weights(found.segments, found.weights, own)
    target, random = experiment.expressions.index(expression), tuple(set(control_of.values()))
    # Blurred, whatever the explanations hide by: hiding by black favours maps of what is bright.
    curves, passes = deletion_insertion(
        model, image, target, rankings | controls, steps=_STEPS, hidden="blur", random=random
    )
    rows = []
    for name, control in control_of.items():
        pair = [curves[name, kind] for kind in ("deletion", "insertion")]
        against = [curves[control, kind].area for kind in ("deletion", "insertion")]
        points = np.float32([curve.at(_CURVE_SHARES) for curve in pair]).ravel()
        rows.append((*face, name, *(curve.area for curve in pair), *against, passes, *points))
    return rows


def _averaged(curves: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Average the areas over faces, and what each ranking gains over its control, with standard errors."""
    table = curves.assign(
        deletion_gain=curves["random_deletion"] - curves["deletion"],
        insertion_gain=curves["insertion"] - curves["random_insertion"],
    )
    columns = {name: (name, "mean") for name in ("deletion", "insertion", "deletion_gain", "insertion_gain")}
    columns |= {f"{kind}_error": (f"{kind}_gain", "sem") for kind in ("deletion", "insertion")}
    means = table.groupby(["network", "ranking"], sort=False).agg(faces=("passes", "size"), **columns)
    for network, faces in means.groupby("network", sort=False)["faces"].max().items():
        few = f": no table of means, which takes {_FEWEST_FACES}" if faces < _FEWEST_FACES else ""
        run.note(f"{network}: deletion and insertion of {faces} faces{few}")
    return means[means["faces"] >= _FEWEST_FACES].reset_index()


def _explained_again(
    experiment: Experiment, network: str, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Explain some of a network's faces in other ways: its parts of the tables `_AGAIN`."""
    rows = [EXPLAINERS[name] for name in experiment.explainers]
    names = [row.name for row in rows if row.records_of == "lime" or row.gradients]
    # By explainer, expression and way.
    means: dict[tuple[str, str, str], _RunningMean] = defaultdict(_RunningMean)
    faces, load = _faces_again(experiment, network), _loader(experiment, network)
    fits, copies = [], []
    for row in tqdm(faces.itertuples(), desc=f"Explaining {network} again", unit="face", total=len(faces)):
        with run.omits(f"{network}_{row.fold} {row.image_id}: explained again"):
            model = load(row.fold)
            # Made once, since it does not depend on the fold.
            if not copies:
                copies.append(_untrained(experiment, network, faces["image_id"], model, run))
            maps, of_face = _maps_of_face(experiment, network, row, names, model, copies[0])
            fits += of_face
            for (name, way), found in maps.items():
                means[name, row.expression, way].add(found)
    untrained, heatmaps = [], {}
    for name, expression in product(names, experiment.expressions):
        found = {way: means[name, expression, way] for way in (AS_SET, UNTRAINED)}
        if name == experiment.explanation.explainer:
            heatmaps |= {f"{expression} {way}": np.float32(of.mean) for way, of in found.items() if of.weight}
        if found[UNTRAINED].weight:
            pair = [of.mean for of in found.values()]
            regions = experiment.mask_regions.get(expression)
            ious = [_iou(heatmap, regions) for heatmap in pair]
            alike = _correlations(np.stack(pair))[0, 1]
            untrained.append((name, network, expression, int(found[UNTRAINED].weight), alike, *ious))
    # Where the prediction never varies there is no R², which pandas leaves out.
    colours = pd.DataFrame(fits, columns=["hidden", "r2", "r2_unseen"]).groupby("hidden", sort=False)
    hidden = colours.agg(faces=("r2", "size"), r2=("r2", "mean"), r2_unseen=("r2_unseen", "mean"))
    hidden = hidden.loc[sorted(hidden.index, key=[*_COLOURS, *hidden.index].index)].reset_index()
    hidden = hidden.assign(network=network, described=hidden["r2_unseen"] >= _DESCRIBED)
    table = pd.DataFrame(untrained, columns=_QUALITY_TABLES["untrained"])
    return table, hidden[list(_QUALITY_TABLES["hidden"])], heatmaps


def _iou(heatmap: np.ndarray, regions: tuple[str, ...] | None) -> float:
    # A constant heatmap marks nothing.
    if not regions or np.ptp(heatmap) == 0:
        return float("nan")
    return scores_at_otsu(to_uint8(heatmap), atlas().mask(regions))["iou"]


def _faces_again(experiment: Experiment, network: str) -> pd.DataFrame:
    """Choose so many of a network's faces per expression, from all folds in turn."""
    table = _faces(experiment, network, experiment.folds, experiment.explainers)
    table = table.groupby("expression", sort=False).head(experiment.explanation.quality_faces)
    # So that each model is loaded once.
    return table.sort_values("fold", key=lambda folds: folds.map(experiment.folds.index), kind="stable")


def _untrained(experiment: Experiment, network: str, image_ids: Iterable[str], model: Model, run: Run) -> Model | None:
    """Return an untrained copy of a network; None, and listed or noted, if there can be none."""
    if not model.is_keras:
        # No omission: trying again would change nothing.
        run.note(f"{network}: no untrained copy, since only Keras models have weights that can be drawn anew")
        return None
    with run.omits(f"{network}: an untrained copy"):
        faces = prepared.read_faces(experiment, sorted(image_ids)[:GROUP], experiment.side(network))
        copy = untrained_copy(model, faces, seed=derive_seed(experiment.seed, "untrained", network))
        return as_model(copy, group=model.group, precision=experiment.explanation.precision)
    return None


def _maps_of_face(
    experiment: Experiment, network: str, row: Any, names: list[str], model: Model, untrained: Model | None
) -> tuple[dict[tuple[str, str], np.ndarray], list[tuple[str, float, float]]]:
    """Return a face's maps in face space by explainer and way; and LIME's R² by hidden colour."""
    settings, target = experiment.explanation, experiment.expressions.index(row.expression)
    face = network, row.fold, row.image_id
    read = partial(prepared.read_faces, experiment, [row.image_id], experiment.side(network))
    image, landmarks = read()[0], prepared.read_landmarks(experiment, row.image_id)
    behind = read(neutral=True)[0] if settings.hidden == "neutral" else settings.hidden
    records, fits, maps = [], [], {}

    def again(record: PerturbationRecord, model: Model, hidden: Any) -> PerturbationRecord:
        predictions = model.predict_hidden(image, record.segments, record.samples, hidden)
        return replace(record, predictions=predictions, none=None)

    if any(EXPLAINERS[name].records_of == "lime" for name in names):
        path = experiment.explained_by("lime").record_path(*face)
        record = _first_samples(PerturbationRecord.load(path), settings.quality_samples)
        others = {way: hidden for way, hidden in _COLOURS.items() if hidden != settings.hidden}
        ways = {settings.hides_by: record}
        ways |= {way: again(record, model, hidden) for way, hidden in others.items()}
        for way, each in ways.items():
            fit = lime(each, target, kernel_width=settings.kernel_width, alpha=settings.alpha)
            fits.append((way, fit.r2, _unseen_r2(experiment, each, target)))
        records = [record] if untrained is None else [record, again(record, untrained, behind)]
    for name in names:
        by = experiment.explained_by(name)
        explainer, options = EXPLAINERS[name], by.explanation.resolved
        if explainer.records_of == "lime":
            found = [explainer.estimate(each, target, options) for each in records]
        else:
            found = [read_explanation(by, *face, row.expression)]
            if untrained is not None:
                options |= {"hidden": behind} if "hidden" in options else {}
                seed = derive_seed(experiment.seed, "again", f"{network}_{row.fold}", row.image_id)
                found += explainer.explain(untrained, image[None], [target], seed=seed, **options)
        for way, each in zip((AS_SET, UNTRAINED), found, strict=False):
            maps[name, way] = normalise(np.maximum(each.map, 0), landmarks)
    return maps, fits


def _first_samples(record: PerturbationRecord, samples: int | None) -> PerturbationRecord:
    """Return a record of so many of a record's samples, by default half."""
    size = samples or max(len(record.samples) // 2, 2)
    return replace(record, samples=record.samples[:size], predictions=record.predictions[:size])
