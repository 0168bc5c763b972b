"""The step "known_answers": explanations and Ekman masks against what moved in the faces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
    """Mean displacement in face space by expression, over subjects; each subject's; and images left out, and
    why.
    """

    means: dict[str, np.ndarray]
    by_subject: dict[str, dict[str, np.ndarray]]
    omissions: tuple[tuple[str, str], ...] = ()

    @property
    def agreement(self) -> pd.DataFrame:
        """The `_iou_at_equal_area` of each Ekman mask (rows) with each mean causal map (columns)."""
        masks = {name: ekman_mask(name) for name in self.means}
        cells = {
            name: [_iou_at_equal_area(found, mask) for mask in masks.values()]
            for name, found in self.means.items()
        }
        return pd.DataFrame(cells, index=list(masks))


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
    if not _any_synthetic(experiment):
        rows = prepared.read_manifest(experiment)
        if "neutral" in rows:
            return rows[rows["neutral"] != ""]
    return _synthetic_faces(experiment)


def _any_synthetic(experiment: Experiment) -> bool:
    asked = _DATABASE in experiment.faces.datasets
    return asked and _DATABASE in set(prepared.read_manifest(experiment)["dataset"])


def _synthetic_faces(experiment: Experiment) -> pd.DataFrame:
    if _DATABASE not in experiment.faces.datasets:
        raise SettingsError(
            f"The experiment {experiment.name!r} has faces of {', '.join(experiment.faces.datasets)}. How a "
            "face moved is only known where it was rendered: use an experiment with "
            f"datasets = [\"{_DATABASE}\"], such as the preset 'demo'."
        )
    rows = prepared.read_manifest(experiment)
    rows = rows[rows["dataset"] == _DATABASE].sort_values("image_id", ignore_index=True)
    if rows.empty:
        raise DataError(
            f"{experiment.manifest_path} lists no face of {_DATABASE}. Run the step 'faces' again."
        )
    source_id = rows["image_id"].str.removeprefix(f"{_DATABASE}_")
    root = synthetic.folder(experiment.faces.roots.get(_DATABASE))
    listed = synthetic.load(root).set_index("image_id")
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
    means: dict[tuple[str, str], _RunningMean] = {}
    omissions = []
    for row in tqdm(rows.itertuples(), desc="Averaging causal masks", unit="face", total=len(rows)):
        try:
            if hasattr(row, "source_id"):
                layer = _warped_layers(experiment, row, [TOTAL])[TOTAL]
            else:
                layer = _landmarks_moved(experiment, row)
        except (DataError, MissingError) as error:
            omissions.append((row.image_id, str(error)))
            continue
        means.setdefault((row.expression, row.subject), _RunningMean()).add(layer)
    if not means:
        reasons = "; ".join(f"{image_id}: {reason}" for image_id, reason in omissions[:5])
        raise DataError(
            f"No causal mask of {experiment.name!r} could be used, {len(omissions)} were left out "
            f"({reasons or 'none was listed'})."
        )
    by_subject: dict[str, dict[str, np.ndarray]] = {}
    place_of = experiment.expressions.index
    for expression, subject in sorted(means, key=lambda cell: (place_of(cell[0]), cell[1])):
        by_subject.setdefault(expression, {})[subject] = np.float32(means[expression, subject].mean)
    # A subject with more usable images than another counts no more for that.
    return _CausalMaps(
        means={name: np.mean(list(maps.values()), axis=0) for name, maps in by_subject.items()},
        by_subject=by_subject,
        omissions=tuple(omissions),
    )


def _landmarks_moved(experiment: Experiment, row: Any) -> np.ndarray:
    return movement(*(prepared._read_mesh(experiment, image_id) for image_id in (row.image_id, row.neutral)))


def _layer_in_face_space(
    layer: np.ndarray, transform: np.ndarray, landmarks: np.ndarray, size: int
) -> np.ndarray:
    """Warp a layer (112, 112) of a causal mask into face space, as explanations of the crop are warped, which
    the `transform`, (2, 3), cut out of the source; beyond the source, the layer is reflected as the image is.
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
    rows = _synthetic_faces(experiment)
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


def _nothing_known(experiment: Experiment) -> str:
    """Say why nothing is known of an experiment's faces; an empty text if something is."""
    if _any_synthetic(experiment) or "neutral" in prepared.read_manifest(experiment):
        return ""
    return (
        f"the prepared faces (of {', '.join(experiment.faces.datasets)}) have no known answers, since none "
        "is synthetic or has a neutral face: nobody knows which of their pixels an expression changed"
    )


def _known_answers(experiment: Experiment, run: Run) -> None:
    """Compare all explanations, and the Ekman masks, with what moved.

    Of ``explanation.explainer`` and each of ``explanation.compare``, in two readings, all blurred alike.
    Writes ``localisation_faces.csv``, a row per explained face and reading, ``localisation.csv`` (see
    `_summarise_localisation`), ``masks.csv`` and ``masks_summary.csv`` (see `_masks_against_movement`).
    Baselines have no network. Where no face is synthetic, what moved is taken from the landmarks. Else
    faces that are not synthetic are passed over; explainers without explanations
    (`MissingError` if none has any) and faces whose masks or meshes cannot be used are left out.
    """
    rows = {row.image_id: row for row in known_faces(experiment).itertuples()}
    rendered = _any_synthetic(experiment)
    if not rendered:
        run.note("no face is synthetic: what moved is taken from the landmarks, less the neutral face's")
    names, lacking = [], []
    for name in experiment.explainers:
        try:
            _finished_entry(experiment.explained_by(name).facespace_folder, "facespace")
            names.append(name)
        except MissingError as error:
            run.omit(f"explainer {name}", error)
            lacking.append(str(error))
    if not names:
        raise MissingError(f"There is nothing to compare: {'; '.join(lacking)}")
    try:
        moved = causal_maps(experiment)
    except DataError as error:
        run.omit("Ekman masks", error)
        moved = _CausalMaps({}, {})
    for image_id, reason in moved.omissions:
        run.omit(f"causal map {image_id}", reason)

    explained = [
        (name, network, fold, image_id, predicted)
        for name in names
        for network, fold in experiment.pairs
        for image_id, predicted in _explained(experiment.explained_by(name), network, fold)
        if image_id in rows
    ]

    def known(image_id: str) -> tuple[dict[str, np.ndarray], list] | Exception:
        """Return which pixels of a face moved, and changed colour most, where that is known; and its baselines."""
        try:
            changed, change = _changes(experiment, rows[image_id])
            return changed, _score_baselines(experiment, rows[image_id], change, changed, moved)
        except (DataError, MissingError) as error:
            return error

    def scored(name: str, network: str, fold: str, image_id: str, predicted: str) -> list[tuple] | Exception:
        """Return a row for each reading of one explanation."""
        row = rows[image_id]
        about = (image_id, row.subject, row.expression, predicted, row.expression == predicted)
        try:
            found = read_explanation(experiment.explained_by(name), network, fold, image_id, predicted).map
            found = normalise(found, prepared.read_landmarks(experiment, image_id))
        except (DataError, MissingError) as error:
            return error
        scores = {
            reading: localisation_auc(read(found), answers[image_id][0]).values()
            for reading, read in READINGS.items()
        }
        return [(name, network, fold, *about, reading, *found) for reading, found in scores.items()]

    answers, faces = {}, []
    image_ids = list(dict.fromkeys(image_id for *_, image_id, _ in explained))
    for image_id, found in zip(image_ids, on_all_cores(known, image_ids, "Reading what moved"), strict=True):
        if isinstance(found, Exception):
            run.omit(image_id, found)
        else:
            answers[image_id] = found
    explained = [each for each in explained if each[3] in answers]
    of_all = on_all_cores(lambda each: scored(*each), explained, "Scoring explanations")
    for (name, network, fold, image_id, _), found in zip(explained, of_all, strict=True):
        if isinstance(found, Exception):
            run.omit(f"{name} {network}_{fold} {image_id}", found)
        else:
            faces += found
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
        **_mask_tables(experiment, moved, run),
    }
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
        name: (np.bincount(labels[hull], truth[hull], len(parts)) / sizes)[labels]
        for name, truth in changed.items()
    }
    scored = [(name, localisation_auc(found, changed)) for name, found in maps.items()]
    oracle = {name: localisation_auc(best[name], {name: truth})[name] for name, truth in changed.items()}
    return [*scored, (ORACLE, oracle)]


def _explained(experiment: Experiment, network: str, fold: str) -> Iterator[tuple[str, str]]:
    """Yield the faces that a model's explanations in face space are of, and the predicted expression."""
    for expression in experiment.expressions:
        path = experiment.maps_path(network, fold, expression)
        if path.exists():
            for image_id in read_arrays(path, ("image_ids",))["image_ids"].tolist():
                yield image_id, expression


def _mask_tables(experiment: Experiment, moved: _CausalMaps, run: Run) -> dict[str, pd.DataFrame]:
    try:
        regions = experiment.mask_regions
        masks = {name: atlas().mask(regions[name]) for name in moved.means if name in regions}
        seed = derive_seed(experiment.seed, "reference masks")
        moves = {name: moved.by_subject[name] for name in masks}
        pairs, summary = _masks_against_movement(moves, masks, seed=seed)
    except DataError as error:
        run.omit("Ekman masks", error)
        pairs = pd.DataFrame(columns=["mask", "causal_map", "iou"])
        summary = pd.DataFrame(columns=["statistic"])
    return {"masks": pairs, "masks_summary": summary}


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
    cells = {
        "AUC": [f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in table.itertuples()],
        "fraction": [
            f"{row.fraction:.2f} [{row.fraction_low:.2f}, {row.fraction_high:.2f}]"
            for row in table.itertuples()
        ],
    }
    wide = (
        table[[*keys, "reference"]].assign(**cells).pivot(index=keys, columns="reference", values=list(cells))
    )
    order = sorted(
        dict.fromkeys(table[keys].itertuples(index=False, name=None)), key=lambda row: row[0] == "none"
    )
    known = [name for name in _REFERENCES if (table["reference"] == name).any()]
    return wide.loc[order, [(cell, name) for name in known for cell in cells]]


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
