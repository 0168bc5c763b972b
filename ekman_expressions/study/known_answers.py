"""The step "known_answers": explanations and Ekman masks against what moved in synthetic faces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_arrays, read_csv, require, sha256, write_csv
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces.synthetic import PHOTOMETRIC, PIXELS, TOTAL, read_layers
from ekman_expressions.facespace.heatmaps import RunningMean
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.measures.chance import centre_distance
from ekman_expressions.measures.known_answers import (
    LOCALISATION_SCORES,
    changed_pixels,
    iou_at_equal_area,
    localisation_scores,
    masks_against_movement,
    summarise_localisation,
)
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explainers import compared
from ekman_expressions.study.provenance import Run, finished_entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_SIDE = 224


@dataclass(frozen=True)
class CausalMaps:
    """Mean causal maps in face space: displacement of the visible surface, in mm.

    Attributes
    ----------
    means : dict of expression to (275, 224) ndarray of float32
        The mean over a subject's images first, then over subjects.
    by_subject : dict of expression to dict of subject to (275, 224) ndarray of float32
        The mean over each subject's images.
    omissions : tuple of (str, str)
        Images that were left out, and why.
    """

    means: dict[str, np.ndarray]
    by_subject: dict[str, dict[str, np.ndarray]]
    omissions: tuple[tuple[str, str], ...] = ()


def warped_layers(experiment: Experiment, row: Any, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read layers of the causal mask of one prepared face, in face space.

    Parameters
    ----------
    experiment : Experiment
    row : row of `prepared.known_faces`
        As ``itertuples`` yields it.
    names : iterable of str
        Which layers.

    Returns
    -------
    dict of str to (275, 224) ndarray of float32
        In face space.

    Raises
    ------
    MissingError
        If the source image, the mask or the prepared face is not there.
    DataError
        If one of them is damaged, has changed, or the mask lacks a layer.
    """
    source = Path(row.source_path)
    if not source.is_file():
        raise MissingError(f"its source image {source} is not there any more")
    if sha256(source) != row.sha256:
        raise DataError("its source image has changed since it was prepared: run the step 'faces' again")
    layers = read_layers(row.source_id, experiment.faces.roots.get(prepared.DATABASE))
    lacking = sorted(set(names) - set(layers))
    if lacking:
        raise DataError(f"its mask has no layer {', '.join(lacking)}, only {row.layers or 'none'}")
    transform = prepared.read_transform(experiment, row.image_id)
    landmarks = prepared.read_landmarks(experiment, row.image_id)
    size = experiment.faces.size
    return {name: _layer_in_face_space(layers[name], transform, landmarks, size) for name in names}


def causal_maps(experiment: Experiment) -> CausalMaps:
    """Average the causal masks of an experiment's synthetic faces per expression, in face space.

    Images whose mask or landmarks cannot be read, or whose source image has changed since it was
    prepared, are left out by name.

    Raises
    ------
    SettingsError
        If the experiment has no synthetic faces.
    MissingError
        If the step 'faces' has not run.
    DataError
        If the set has no layers, or no image could be used.
    """
    rows = prepared.known_faces(experiment)
    means: dict[tuple[str, str], RunningMean] = {}
    omissions = []
    for row in tqdm(rows.itertuples(), desc="Averaging causal masks", unit="face", total=len(rows)):
        try:
            layer = warped_layers(experiment, row, [TOTAL])[TOTAL]
        except (DataError, MissingError) as error:
            omissions.append((row.image_id, str(error)))
            continue
        means.setdefault((row.expression, row.subject), RunningMean()).add(layer)
    if not means:
        reasons = "; ".join(f"{image_id}: {reason}" for image_id, reason in omissions[:5])
        raise DataError(
            f"No causal mask of {experiment.name!r} could be used, {len(omissions)} were left out "
            f"({reasons or 'none was listed'})."
        )
    by_subject: dict[str, dict[str, np.ndarray]] = {}
    for expression, subject in sorted(means, key=lambda cell: (EXPRESSIONS.index(cell[0]), cell[1])):
        by_subject.setdefault(expression, {})[subject] = np.float32(means[expression, subject].mean)
    # A subject with more usable images than another counts no more for that.
    return CausalMaps(
        means={name: np.mean(list(maps.values()), axis=0) for name, maps in by_subject.items()},
        by_subject=by_subject,
        omissions=tuple(omissions),
    )


def mask_agreement(means: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare each Ekman mask with the mean causal map of its own and of the other expressions.

    Parameters
    ----------
    means : dict of expression to (275, 224) ndarray of float
        Such as ``causal_maps(experiment).means``.

    Returns
    -------
    DataFrame
        A row per mask, a column per causal map: see `iou_at_equal_area`.
    """
    masks = {name: ekman_mask(name) for name in means}
    return pd.DataFrame(
        {name: [iou_at_equal_area(found, mask) for mask in masks.values()] for name, found in means.items()},
        index=list(masks),
    )


def mean_faces(experiment: Experiment) -> dict[str, np.ndarray]:
    """Average the synthetic faces of each expression in face space, subjects counting alike.

    Returns
    -------
    dict of expression to (275, 224, 3) ndarray of float32, range [0, 1]
        RGB.

    Raises
    ------
    SettingsError, MissingError, DataError
        As `causal_maps`.
    """
    found = {}
    for expression, of_expression in prepared.known_faces(experiment).groupby("expression"):
        over_subjects = RunningMean()
        for _, of_subject in of_expression.groupby("subject"):
            over_images = RunningMean()
            for image_id in of_subject["image_id"]:
                face = prepared.read_faces(experiment, [image_id], 224)[0]
                over_images.add(normalise(face, prepared.read_landmarks(experiment, image_id)))
            over_subjects.add(over_images.mean)
        found[expression] = np.float32(over_subjects.mean)
    return {name: found[name] for name in EXPRESSIONS if name in found}


def _layer_in_face_space(
    layer: np.ndarray, transform: np.ndarray, landmarks: np.ndarray, size: int
) -> np.ndarray:
    """Warp a layer (112, 112) of a causal mask into face space, as explanations of the crop are warped.

    `transform`, (2, 3), is from continuous source pixels to those of the crop, whose side is `size` pixels;
    `landmarks`, (68, 2), are in units of that side. Where the crop reaches beyond the source image, the
    layer is reflected as the image is.
    """
    import cv2

    # The crop of the layer is always this large: a small crop of faces would lose detail.
    pixels = transform * (_SIDE / size)
    pixels[:, :2] *= PIXELS
    # OpenCV's coordinates are 0 at the middle of the first pixel, ours are 0.5 there.
    pixels[:, 2] += pixels[:, :2].sum(axis=1) / 2 - 0.5
    crop = cv2.warpAffine(
        np.float32(layer), pixels, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return normalise(crop, landmarks)


_CENTRE, _RANDOM, _CHANGE = "centre prior", "random pixels", "photometric change"
_FACES = (
    *("explainer", "network", "fold", "image_id", "subject", "expression", "predicted", "correct", "area"),
    *LOCALISATION_SCORES,
)
_PANELS = {"auc": "AUC within the face", "density": "density on changed pixels"}


def nothing_known(experiment: Experiment) -> str:
    """Say why nothing is known of an experiment's faces; an empty text if something is."""
    if prepared.any_known(experiment):
        return ""
    return (
        f"the prepared faces (of {', '.join(experiment.faces.datasets)}) have no known answers, since "
        "none is synthetic: nobody knows which of their pixels an expression changed"
    )


def known_answers(experiment: Experiment, run: Run) -> None:
    """Compare all explanations, and the Ekman masks, with what moved.

    Of ``explanation.explainer`` and each of ``explanation.compare``. Writes ``localisation_faces.csv``, a row
    per explained face, and ``localisation.csv`` (see `summarise_localisation`), ``masks.csv`` and
    ``masks_summary.csv`` (see `masks_against_movement`). Baselines have no network. Faces of other databases
    are passed over. Explainers whose explanations are not there, and faces whose masks cannot be used, are
    left out.

    Raises
    ------
    MissingError
        If no explainer has explanations in face space.
    """
    rows = {row.image_id: row for row in prepared.known_faces(experiment).itertuples()}
    within = atlas().hull

    @cache
    def known(image_id: str) -> tuple[np.ndarray, dict[str, dict[str, float]]] | None:
        """Return the changed pixels of a face and the scores of the baselines on it."""
        units = [name for name in rows[image_id].layers.split() if name.startswith("au")]
        try:
            layers = warped_layers(experiment, rows[image_id], [*units, PHOTOMETRIC])
            changed = changed_pixels(layers)
        except (DataError, MissingError) as error:
            run.omit(image_id, error)
            return None
        seed = derive_seed(experiment.seed, "random pixels", image_id)
        baselines = {
            # A normal density with the canvas' proportions: a map that knows nothing but the middle.
            _CENTRE: np.exp(-2 * centre_distance() ** 2),
            _RANDOM: np.random.default_rng(seed).random(SHAPE),
            _CHANGE: layers[PHOTOMETRIC],
        }
        return changed, {name: localisation_scores(m, changed, within) for name, m in baselines.items()}

    def line(about: tuple, image_id: str, predicted: str, scores: dict[str, float], other: float) -> tuple:
        expression, (_, baselines) = rows[image_id].expression, known(image_id)
        scores = scores | {"over_centre": scores["auc"] - baselines[_CENTRE]["auc"], "over_another": other}
        values = (scores[name] for name in ("area", *LOCALISATION_SCORES))
        subject = rows[image_id].subject
        return (*about, image_id, subject, expression, predicted, expression == predicted, *values)

    def of_explainer(name: str) -> list[tuple]:
        lines = []
        by = experiment.explained_by(name)
        for network, fold in experiment.pairs:
            maps, image_ids, predicted = _read_maps(by, network, fold)
            places = [place for place, image_id in enumerate(image_ids) if image_id in rows]
            random = np.random.default_rng(derive_seed(experiment.seed, "another face", name, network, fold))
            for place in places:
                image_id = image_ids[place]
                # The same model's explanation of a face with another expression.
                expression = rows[image_id].expression
                others = [other for other in places if rows[image_ids[other]].expression != expression]
                other = others[random.integers(len(others))] if others else None
                if known(image_id) is None:
                    continue
                changed, _ = known(image_id)
                try:
                    scores = localisation_scores(maps[place], changed, within)
                except DataError as error:
                    run.omit(f"{name} {network}_{fold} {image_id}", error)
                    continue
                over_other = np.nan
                if other is not None and np.isfinite(maps[other]).all():
                    over_other = scores["auc"] - localisation_scores(maps[other], changed, within)["auc"]
                lines.append(line((name, network, fold), image_id, predicted[place], scores, over_other))
        return lines

    explained, lacking = [], []
    for name in tqdm(compared(experiment), desc="Scoring explanations", unit="explainer"):
        try:
            finished_entry(experiment.explained_by(name).facespace_folder, "facespace")
        except MissingError as error:
            run.omit(f"explainer {name}", error)
            lacking.append(str(error))
            continue
        of_name = of_explainer(name)
        explained += of_name
        run.done += bool(of_name)
    if len(lacking) == len(compared(experiment)):
        raise MissingError(f"There is nothing to compare: {'; '.join(lacking)}")
    baselines = [
        line((name, "none", rows[image_id].fold), image_id, rows[image_id].expression, scores, np.nan)
        for image_id in sorted({face[3] for face in explained})
        for name, scores in known(image_id)[1].items()
    ]
    faces = pd.DataFrame([*baselines, *explained], columns=_FACES)
    tables = {
        "localisation_faces": faces,
        "localisation": summarise_localisation(faces, seed=experiment.seed),
        **_mask_tables(experiment, run),
    }
    for name, table in tables.items():
        path = experiment.known_answers_folder / f"{name}.csv"
        write_csv(path, table)
        run.made(path, items=0)


def read_known_answers(experiment: Experiment, table: str) -> pd.DataFrame:
    """Read "localisation_faces", "localisation", "masks" or "masks_summary"; see `known_answers`."""
    path = experiment.known_answers_folder / f"{table}.csv"
    return read_csv(require(path, "known_answers"), dtype={"image_id": str})


def _read_maps(
    experiment: Experiment, network: str, fold: str
) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Return all maps of a model, with the image and the predicted expression of each."""
    maps, image_ids, predicted = [], [], []
    for expression in EXPRESSIONS:
        path = experiment.maps_path(network, fold, expression)
        if path.exists():
            stored = read_arrays(path, ("maps", "image_ids"))
            maps += list(stored["maps"])
            image_ids += stored["image_ids"].tolist()
            predicted += [expression] * len(stored["image_ids"])
    return maps, image_ids, predicted


def _mask_tables(experiment: Experiment, run: Run) -> dict[str, pd.DataFrame]:
    try:
        maps = causal_maps(experiment)
        for image_id, reason in maps.omissions:
            run.omit(f"causal map {image_id}", reason)
        masks = {name: ekman_mask(name) for name in maps.means}
        seed = derive_seed(experiment.seed, "reference masks")
        pairs, summary = masks_against_movement(maps.by_subject, masks, seed=seed)
    except DataError as error:
        run.omit("Ekman masks", error)
        pairs, summary = (
            pd.DataFrame(columns=["mask", "causal_map", "iou"]),
            pd.DataFrame(columns=["statistic"]),
        )
    return {"masks": pairs, "masks_summary": summary}


def localisation_figure(table: pd.DataFrame) -> Figure:
    """Draw the benchmark: explainers as rows, networks as colours, baselines as bands.

    Parameters
    ----------
    table : DataFrame
        See `summarise_localisation`; all explained faces are drawn.

    Raises
    ------
    DataError
        If the table has no explained faces.
    """
    chosen = table[(table["faces"] == "all") & table["score"].isin(_PANELS)]
    dots = chosen[chosen["network"] != "none"]
    if dots.empty:
        raise DataError("The table has no explained faces to draw.")
    names = {name: EXPLAINERS[name].title if name in EXPLAINERS else name for name in dots["explainer"]}
    bands = {
        (row.score, row.explainer): (row.low, row.high)
        for row in chosen[chosen["explainer"].isin([_CENTRE, _CHANGE])].itertuples()
    }
    return figures.interval_dots(
        dots.assign(panel=dots["score"], explainer=dots["explainer"].map(names)),
        panels=_PANELS,
        row="explainer",
        colour="network",
        chance={"auc": 0.5, "density": 1.0},
        bands=bands,
        title="Do explanations find the pixels that the active action units changed?",
        note=f"95 % intervals over subjects ({_span(dots['subjects'])}); {_span(dots['count'])} faces a dot",
    )


def localisation_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the benchmark for readers: a row per explainer, columns by score.

    Cells read ``0.571 [0.552, 0.590]``: mean and 95 % interval over subjects. Baselines come last.
    """
    columns = ["auc", "over_centre", "mass", "density"]
    chosen = table[(table["faces"] == "all") & table["score"].isin(columns)]
    cells = [f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in chosen.itertuples()]
    wide = chosen.assign(cell=cells).pivot(index=["network", "explainer"], columns="score", values="cell")
    order = list(dict.fromkeys(zip(chosen["network"], chosen["explainer"], strict=True)))
    order = sorted(order, key=lambda pair: pair[0] == "none")
    return wide.loc[order, [name for name in columns if name in wide]]


def masks_figure(pairs: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Draw the IoU of each Ekman mask with what moves in each expression; see `masks_against_movement`."""
    names = list(dict.fromkeys(pairs["mask"]))
    wide = pairs.pivot(index="mask", columns="causal_map", values="iou").loc[names, names]
    found = summary.set_index("statistic")
    difference = found.loc["difference"]
    return figures.annotated_matrix(
        wide.rename(index=title, columns=title).rename_axis(index="Ekman mask of", columns="what moves in"),
        "IoU at equal area",
        signed=False,
        frame_own=True,
        title="Do the Ekman masks describe what moves?",
        note=(
            f"own {found.loc['own', 'value']:.3f}, others {found.loc['others', 'value']:.3f}, difference "
            f"{difference['value']:.3f} [{difference['low']:.3f}, {difference['high']:.3f}]\n"
            f"95 % interval over {int(difference['subjects'])} subjects; "
            f"p = {difference['p']:.3f} over all relabellings"
        ),
    )


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
