"""The step "known_answers": explanations and Ekman masks against what moved in the faces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import read_arrays, sha256
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.explainers import EXPLAINERS, superpixels
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.cropping import on_all_cores
from ekman_expressions.faces.landmarks import _landmark_error
from ekman_expressions.faces.synthetic import PHOTOMETRIC, PIXELS, TOTAL, read_layers
from ekman_expressions.facespace.heatmaps import _RunningMean
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE, movement, normalise
from ekman_expressions.measures.known_answers import (
    _REFERENCES,
    CENTRE,
    ORACLE,
    READINGS,
    _iou_at_equal_area,
    _masks_against_movement,
    _summarise_localisation,
    changed_pixels,
    localisation_auc,
)
from ekman_expressions.measures.uncertainty import centre_distance, centre_ellipse
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explanations import read_explanation
from ekman_expressions.study.provenance import Run, _finished_entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_DATABASE = "synthetic"
"""The name of the synthetic faces in an experiment's settings."""

_SIDE = 224


@dataclass(frozen=True)
class _CausalMaps:
    """Mean displacement in face space by expression; each subject's; images that were left out, and why."""

    means: dict[str, np.ndarray]
    by_subject: dict[str, dict[str, np.ndarray]]
    omissions: list[dict[str, str]] = field(default_factory=list)

    @property
    def agreement(self) -> pd.DataFrame:
        """The `_iou_at_equal_area` of each Ekman mask (rows) with each mean causal map (columns)."""
        masks = {name: ekman_mask(name) for name in self.means}
        cells = {
            name: [_iou_at_equal_area(found, mask) for mask in masks.values()] for name, found in self.means.items()
        }
        return pd.DataFrame(cells, index=list(masks))


def _nothing_known(experiment: Experiment) -> str:
    """Say why nothing is known of an experiment's faces; an empty text if something is."""
    rows = prepared.read_manifest(experiment)
    if "neutral" in rows or _DATABASE in set(rows["dataset"]):
        return ""
    return (
        f"the prepared faces (of {', '.join(experiment.faces.datasets)}) have no known answers, since none "
        "is synthetic or has a neutral face: nobody knows which of their pixels an expression changed"
    )


def known_faces(experiment: Experiment) -> pd.DataFrame:
    """Return the prepared faces of an experiment of which it is known how they moved.

    Returns
    -------
    DataFrame
        Rows of the manifest. If any are synthetic: those, with the further columns of `synthetic.load`;
        ``source_id`` and ``source_path`` are the image's in the set. Else those with a neutral face.

    Raises
    ------
    SettingsError
        If there are no such faces.
    DataError
        If faces were prepared that the synthetic set does not hold.
    """
    if reason := _nothing_known(experiment):
        raise SettingsError(f"Nothing can be compared in {experiment.name!r}: {reason}.")
    rows = prepared.read_manifest(experiment)
    rendered = rows[rows["dataset"] == _DATABASE]
    if rendered.empty:
        return rows[rows["neutral"] != ""]
    rows = rendered.sort_values("image_id", ignore_index=True)
    source_id = rows["image_id"].str.removeprefix(f"{_DATABASE}_")
    listed = synthetic.load(experiment.faces.roots.get(_DATABASE)).set_index("image_id")
    unknown = source_id[~source_id.isin(listed.index)]
    if len(unknown):
        raise DataError(
            f"{len(unknown)} of the prepared faces are not in the synthetic set, such as {unknown.iloc[0]}: "
            "the set has changed since. Run the step 'faces' again."
        )
    known = listed.loc[source_id].rename(columns={"path": "source_path"}).reset_index(names="source_id")
    rows = rows.drop(columns="neutral", errors="ignore")
    return rows.join(known[[name for name in known.columns if name not in rows.columns]])


def known_changes(experiment: Experiment, row: Any) -> dict[str, np.ndarray]:
    """Return which pixels of a face changed, for `measures.localisation_auc`.

    Parameters
    ----------
    row : namedtuple
        Of `known_faces`, as ``itertuples`` yields it.

    Returns
    -------
    dict of str to (275, 224) ndarray of bool
        In face space. Of a synthetic face ``displacement`` and ``photometric``, else ``landmarks``, where those
        moved from the neutral face: see `measures.changed_pixels`.

    Raises
    ------
    MissingError
        If a file is not there.
    DataError
        If a file is damaged or has changed, or a mask lacks a layer.
    """
    return _changes(experiment, row)[0]


def _changes(experiment: Experiment, row: Any) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return `known_changes`, and how much each pixel changed its colour, where that is known."""
    if not hasattr(row, "source_id"):
        return changed_pixels({"landmarks": _landmarks_moved(experiment, row)}), None
    units = [name for name in row.layers.split() if name.startswith("au")]
    layers = _warped_layers(experiment, row, [*units, PHOTOMETRIC])
    return changed_pixels(layers), layers[PHOTOMETRIC]


def _warped_layers(experiment: Experiment, row: Any, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read layers of the causal mask of one prepared face, in face space: name to (275, 224) float32."""
    source = Path(row.source_path)
    if not source.is_file():
        raise MissingError(f"its source image {source} is not there any more")
    if sha256(source) != row.sha256:
        raise DataError("its source image has changed since it was prepared: run the step 'faces' again")
    layers = read_layers(row.source_id, experiment.faces.roots.get(_DATABASE))
    lacking = sorted(set(names) - set(layers))
    if lacking:
        raise DataError(f"its mask has no layer {', '.join(lacking)}, only {row.layers or 'none'}")
    transform = prepared._read_transform(experiment, row.image_id)
    landmarks = prepared.read_landmarks(experiment, row.image_id)
    size = experiment.faces.size
    return {name: _layer_in_face_space(layers[name], transform, landmarks, size) for name in names}


def causal_maps(experiment: Experiment) -> _CausalMaps:
    """Average the causal masks of an experiment's synthetic faces per expression, in face space.

    If it has none, how far the landmarks moved from each person's neutral face (`facespace.movement`).
    Images whose mask or landmarks cannot be read, or whose source image has changed since then, are
    left out by name. `DataError` if no image could be used; other errors as of `known_faces`.
    """
    rows = known_faces(experiment)
    means: dict[tuple[str, str], _RunningMean] = defaultdict(_RunningMean)
    part = Run()
    for row in tqdm(rows.itertuples(), desc="Averaging causal masks", unit="face", total=len(rows)):
        with part.omits(row.image_id):
            if hasattr(row, "source_id"):
                layer = _warped_layers(experiment, row, [TOTAL])[TOTAL]
            else:
                layer = _landmarks_moved(experiment, row)
            means[row.expression, row.subject].add(layer)
    if not means:
        reasons = "; ".join(f"{entry['item']}: {entry['reason']}" for entry in part.omissions[:5])
        raise DataError(
            f"No causal mask of {experiment.name!r} could be used, {len(part.omissions)} were left out ({reasons})."
        )
    by_subject: dict[str, dict[str, np.ndarray]] = {}
    place_of = experiment.expressions.index
    for expression, subject in sorted(means, key=lambda cell: (place_of(cell[0]), cell[1])):
        by_subject.setdefault(expression, {})[subject] = np.float32(means[expression, subject].mean)
    # A subject with more usable images than another counts no more for that.
    return _CausalMaps(
        means={name: np.mean(list(maps.values()), axis=0) for name, maps in by_subject.items()},
        by_subject=by_subject,
        omissions=part.omissions,
    )


def _landmarks_moved(experiment: Experiment, row: Any) -> np.ndarray:
    return movement(*(prepared._read_mesh(experiment, image_id) for image_id in (row.image_id, row.neutral)))


def _layer_in_face_space(layer: np.ndarray, transform: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """Warp a layer (112, 112) of a causal mask into face space, as explanations of the crop are, which the
    `transform` (2, 3) cut out of the source; beyond the source, the layer is reflected as the image is.
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


def landmark_errors(experiment: Experiment) -> pd.DataFrame:
    """Tabulate the `_landmark_error` of an experiment's synthetic faces against vertices of their mesh.

    The 68 vertices were chosen on other persons as those nearest to what the same detector
    finds on neutral, frontal faces. So the table says how steadily the same place on the skin is
    found under expression, pose and light, not whether an anatomist would choose that place.
    """
    rows = known_faces(experiment)
    if "source_id" not in rows:
        raise SettingsError(
            f"{experiment.name!r} has no synthetic face, whose mesh is known. Use an experiment with "
            f"datasets = [\"{_DATABASE}\"], such as the preset 'demo'."
        )
    truth = synthetic.mesh_landmarks(experiment.faces.roots.get(_DATABASE))
    missing = [image_id for image_id in rows["source_id"] if image_id not in truth]
    if missing:
        raise DataError(
            f"landmarks.npz of the synthetic set lacks {len(missing)} of the prepared faces, such as "
            f"{missing[0]}. Take all files of the set from one version."
        )
    detected = [prepared._source_landmarks(experiment, image_id) for image_id in rows["image_id"]]
    return _landmark_error(np.array(detected), np.array([truth[image_id] for image_id in rows["source_id"]]))


_FACES = (
    *("explainer", "network", "fold", "image_id", "subject"),
    *("expression", "predicted", "correct", "reading"),
)
_PANELS = {
    "displacement": "AUC, pixels that moved",
    "photometric": "AUC, pixels whose colour changed",
    "landmarks": "AUC, pixels where landmarks moved",
}


def _known_answers(experiment: Experiment, run: Run) -> None:
    """Compare the explanations of all explainers, in two readings and all blurred alike, and the Ekman masks,
    with what moved: known by construction in synthetic faces, else by the landmarks. Baselines have no
    network.
    """
    table = known_faces(experiment)
    rows = {row.image_id: row for row in table.itertuples()}
    rendered = "source_id" in table
    if not rendered:
        run.note("no face is synthetic: what moved is taken from the landmarks, less the neutral face's")
    names = []
    for name in experiment.explainers:
        with run.omits(f"explainer {name}"):
            _finished_entry(experiment.explained_by(name).facespace_folder, "facespace")
            names.append(name)
    if not names:
        reasons = "; ".join(entry["reason"] for entry in run.omissions)
        raise MissingError(f"There is nothing to compare: {reasons}")
    moved = _CausalMaps({}, {})
    with run.omits("Ekman masks"):
        moved = causal_maps(experiment)
    for entry in moved.omissions:
        run.omit(f"causal map {entry['item']}", entry["reason"])
    explained = []
    for name, (network, fold), predicted in product(names, experiment.pairs, experiment.expressions):
        path = experiment.explained_by(name).maps_path(network, fold, predicted)
        if path.exists():
            ids = read_arrays(path, ("image_ids",))["image_ids"].tolist()
            explained += [(name, network, fold, image_id, predicted) for image_id in ids if image_id in rows]
    # By face: which of its pixels changed, and the scores of its baselines.
    answers: dict[str, tuple[dict[str, np.ndarray], list]] = {}

    def find_answers(image_id: str) -> Run:
        part = Run()
        with part.omits(image_id):
            changed, change = _changes(experiment, rows[image_id])
            answers[image_id] = changed, _score_baselines(experiment, rows[image_id], change, changed, moved)
        return part

    def score(one: tuple[str, ...]) -> tuple[Run, list[tuple]]:
        """Return a row for each reading of one explanation."""
        name, network, fold, image_id, predicted = one
        row, part, scored = rows[image_id], Run(), []
        about = (image_id, row.subject, row.expression, predicted, row.expression == predicted)
        with part.omits(f"{name} {network}_{fold} {image_id}"):
            found = read_explanation(experiment.explained_by(name), network, fold, image_id, predicted).map
            found = normalise(found, prepared.read_landmarks(experiment, image_id))
            for reading, read in READINGS.items():
                scores = localisation_auc(read(found), answers[image_id][0]).values()
                scored.append((name, network, fold, *about, reading, *scores))
        return part, scored

    image_ids = list(dict.fromkeys(image_id for *_, image_id, _ in explained))
    for part in on_all_cores(find_answers, image_ids, "Reading what moved"):
        run.add(part)
    explained = [one for one in explained if one[3] in answers]
    faces = []
    for part, scored in on_all_cores(score, explained, "Scoring explanations"):
        run.add(part)
        faces += scored
    run.done += len({row[0] for row in faces})
    for image_id, (_, baselines) in sorted(answers.items()):
        row = rows[image_id]
        about = (row.fold, image_id, row.subject, row.expression, row.expression, True, "baseline")
        faces += [(name, "none", *about, *scores.values()) for name, scores in baselines]
    references = _REFERENCES[:2] if rendered else _REFERENCES[2:]
    table = pd.DataFrame(faces, columns=[*_FACES, *references])
    tables = {
        "localisation_faces": table,
        "localisation": _summarise_localisation(table, seed=experiment.seed),
        "masks": pd.DataFrame(columns=["mask", "causal_map", "iou"]),
        "masks_summary": pd.DataFrame(columns=["statistic"]),
    }
    regions = experiment.mask_regions
    masks = {name: atlas().mask(regions[name]) for name in moved.means if name in regions}
    with run.omits("Ekman masks"):
        moves = {name: moved.by_subject[name] for name in masks}
        seed = derive_seed(experiment.seed, "reference masks")
        tables["masks"], tables["masks_summary"] = _masks_against_movement(moves, masks, seed=seed)
    run.write(experiment.known_answers_folder, tables)


def _score_baselines(
    experiment: Experiment,
    row: Any,
    change: np.ndarray | None,
    changed: dict[str, np.ndarray],
    moved: _CausalMaps,
) -> list[tuple[str, dict[str, float]]]:
    """Score what knows nothing of a network on one face; the oracle knows the answer, in superpixels."""
    import cv2

    face = prepared.read_faces(experiment, [row.image_id], _SIDE)[0]
    landmarks = prepared.read_landmarks(experiment, row.image_id)
    gray = cv2.cvtColor(np.float32(face), cv2.COLOR_RGB2GRAY)
    edges = np.hypot(cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1))
    seed = derive_seed(experiment.seed, "random pixels", row.image_id)
    maps = {
        CENTRE: np.exp(-2 * centre_distance() ** 2),
        "ellipse": centre_ellipse(0.4),
        "random pixels": np.random.default_rng(seed).random(SHAPE),
        "image edges": normalise(edges, landmarks),
    }
    if change is not None:
        maps["photometric change"] = change
    own = moved.by_subject.get(row.expression, {})
    others = [found for subject, found in own.items() if subject != row.subject]
    if others:
        maps["movement of others"] = np.mean(others, axis=0)
    settings = experiment.explanation
    # As LIME has them, at the size that the networks see.
    face = prepared.read_faces(experiment, [row.image_id], max(map(experiment.side, experiment.networks)))[0]
    segments = superpixels(face, segments=settings.segments, compactness=settings.compactness)
    parts = np.arange(segments.max() + 1)
    # In face space a pixel belongs to the superpixel that covers most of it.
    labels, hull = normalise(segments[..., None] == parts, landmarks).argmax(axis=-1), atlas().hull
    sizes = np.maximum(np.bincount(labels[hull], minlength=len(parts)), 1)
    best = {
        name: (np.bincount(labels[hull], truth[hull], len(parts)) / sizes)[labels] for name, truth in changed.items()
    }
    scored = [(name, localisation_auc(found, changed)) for name, found in maps.items()]
    oracle = {name: localisation_auc(best[name], {name: truth})[name] for name, truth in changed.items()}
    return [*scored, (ORACLE, oracle)]


def _localisation_figure(table: pd.DataFrame) -> Figure:
    """Draw the benchmark: explainers and readings as rows, networks as colours, baselines as bands."""
    dots = table[table["network"] != "none"]
    names = [f"{EXPLAINERS[row.explainer].title}, {row.reading}" for row in dots.itertuples()]
    bands = {
        (row.reference, row.explainer): (row.low, row.high)
        for row in table[table["explainer"].isin([CENTRE, "movement of others", ORACLE])].itertuples()
    }
    panels = {name: title for name, title in _PANELS.items() if (dots["reference"] == name).any()}
    return figures.interval_dots(
        dots.assign(panel=dots["reference"], row=names),
        panels=panels,
        row="row",
        colour="network",
        chance=dict.fromkeys(panels, 0.5),
        bands=bands,
        title="Do explanations find what changed in the face?",
        note=f"95 % intervals over subjects ({figures.span(dots['subjects'])}); "
        f"{figures.span(dots['count'])} faces a dot",
    )


def localisation_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the benchmark for readers: a row per network, explainer and reading; baselines come last.

    Cells read ``0.571 [0.552, 0.590]``: mean and 95 % interval over subjects, of the AUC and of its place
    between the centre prior (0) and the oracle (1).
    """
    keys = ["network", "explainer", "reading"]
    rows = list(table.itertuples())
    cells = {
        "AUC": [f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in rows],
        "fraction": [f"{row.fraction:.2f} [{row.fraction_low:.2f}, {row.fraction_high:.2f}]" for row in rows],
    }
    wide = table.assign(**cells).pivot(index=keys, columns="reference", values=list(cells))
    order = dict.fromkeys(table[keys].itertuples(index=False, name=None))
    known = [name for name in _REFERENCES if (table["reference"] == name).any()]
    columns = [(cell, name) for name in known for cell in cells]
    return wide.loc[sorted(order, key=lambda row: row[0] == "none"), columns]


def _masks_figure(pairs: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Draw the IoU of each Ekman mask with what moves in each expression; see `_masks_against_movement`."""
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
