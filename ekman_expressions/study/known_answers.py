"""The step "known_answers": explanations and Ekman masks against what is known of synthetic faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, read_csv, require, write_csv
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.faces.synthetic import PHOTOMETRIC, is_unit
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.measures import localisation, reference_masks
from ekman_expressions.measures.localisation import CEILING, CENTRE, RANDOM
from ekman_expressions.study import causal, prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run, finished_entry

FACES = (
    "explainer",
    "network",
    "fold",
    "image_id",
    "subject",
    "expression",
    "predicted",
    "correct",
    "area",
    *localisation.SCORES,
)
"""Columns of ``localisation_faces.csv``: one row per explained face. Baselines have no network."""


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

    Of ``explanation.explainer`` and each of ``explanation.compare``. Writes ``localisation_faces.csv``
    (`FACES`), ``localisation.csv`` (`localisation.SUMMARY`), ``masks.csv`` and ``masks_summary.csv``
    (see `reference_masks`). Faces of other databases are passed over. Explainers whose explanations
    are not there, and faces whose masks cannot be used, are left out.

    Raises
    ------
    MissingError
        If no explainer has explanations in face space.
    DataError
        If the synthetic set's table is not as it must be.
    """
    rows = prepared.known_faces(experiment)
    found, lacking = _explained(experiment)
    if not found:
        raise MissingError(f"There is nothing to compare: {'; '.join(lacking.values())}")
    for name, reason in lacking.items():
        run.omit(f"explainer {name}", reason)
    truths = _Truths(experiment, rows, run)
    faces = _baselines(experiment, truths)
    for name in tqdm(found, desc="Scoring explanations", unit="explainer"):
        of_explainer = _score_explainer(experiment.explained_by(name), truths, run)
        faces += of_explainer
        run.done += bool(of_explainer)
    table = pd.DataFrame(faces, columns=FACES)
    tables = {
        "localisation_faces": table,
        "localisation": localisation.summarise(table, seed=experiment.seed),
        **_mask_tables(experiment, run),
    }
    for name, table in tables.items():
        path = experiment.known_answers_folder / f"{name}.csv"
        write_csv(path, table)
        run.made(path, items=0)


def read_localisation(experiment: Experiment, *, faces: bool = False) -> pd.DataFrame:
    """Read the benchmark: the averages, or with `faces` the scores of each face."""
    name, columns = ("localisation_faces", FACES) if faces else ("localisation", localisation.SUMMARY)
    return read_csv(require(experiment.known_answers_folder / f"{name}.csv", "known_answers"), columns)


def read_reference_masks(experiment: Experiment) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the tables of `reference_masks.compare`: of pairs, and the summary."""
    return tuple(
        read_csv(require(experiment.known_answers_folder / name, "known_answers"), columns)
        for name, columns in (
            ("masks.csv", reference_masks.COLUMNS),
            ("masks_summary.csv", reference_masks.STATISTICS),
        )
    )


class _Truths:
    """What is known of each face, read and warped when first asked for."""

    def __init__(self, experiment: Experiment, rows: pd.DataFrame, run: Run) -> None:
        self._experiment, self._run = experiment, run
        self.rows = {row.image_id: row for row in rows.itertuples()}
        self._known: dict[str, tuple[np.ndarray, float] | None] = {}
        self.within, self.centre = atlas().hull, localisation.centre_prior()
        self.ceilings: dict[str, dict[str, float]] = {}

    def get(self, image_id: str) -> tuple[np.ndarray, float] | None:
        """Return the changed pixels of a face and the centre prior's AUC on it; None if not known."""
        if image_id not in self._known:
            self._known[image_id] = self._read(image_id)
        return self._known[image_id]

    def used(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the faces that were asked for and are known."""
        return ((image_id, known[0]) for image_id, known in sorted(self._known.items()) if known)

    def _read(self, image_id: str) -> tuple[np.ndarray, float] | None:
        row = self.rows.get(image_id)
        if row is None:
            return None
        units = [name for name in row.layers.split() if is_unit(name)]
        try:
            layers = causal.warped_layers(self._experiment, row, [*units, PHOTOMETRIC])
            changed = localisation.changed_pixels(layers)
            centre = localisation.score(self.centre, changed, self.within)["auc"]
        except (DataError, MissingError) as error:
            self._run.omit(image_id, error)
            return None
        self.ceilings[image_id] = localisation.score(layers[PHOTOMETRIC], changed, self.within)
        return changed, centre


def _explained(experiment: Experiment) -> tuple[list[str], dict[str, str]]:
    """Return the finished explainers, and why the others are not there."""
    found, lacking = [], {}
    for name in dict.fromkeys([experiment.explanation.explainer, *experiment.explanation.compare]):
        try:
            finished_entry(experiment.explained_by(name).facespace_folder, "facespace")
            found.append(name)
        except MissingError as error:
            lacking[name] = str(error)
    return found, lacking


def _score_explainer(experiment: Experiment, truths: _Truths, run: Run) -> list[tuple]:
    """Score all explanations of one explainer, and the same explanations on other faces."""
    lines = []
    for network, fold in experiment.pairs:
        maps, image_ids, predicted = _read_maps(experiment, network, fold)
        known = [place for place, image_id in enumerate(image_ids) if image_id in truths.rows]
        labels = [truths.rows[i].expression if i in truths.rows else "" for i in image_ids]
        seed = derive_seed(experiment.seed, "another face", experiment.explanation.explainer, network, fold)
        partners = localisation.another(known, labels, seed)
        for place in known:
            truth = truths.get(image_ids[place])
            if truth is None:
                continue
            changed, centre = truth
            try:
                scores = localisation.score(maps[place], changed, truths.within)
            except DataError as error:
                run.omit(f"{experiment.explanation.explainer} {network}_{fold} {image_ids[place]}", error)
                continue
            swapped = np.nan
            if place in partners and np.isfinite(maps[partners[place]]).all():
                swapped = localisation.score(maps[partners[place]], changed, truths.within)["auc"]
            row = truths.rows[image_ids[place]]
            about = (experiment.explanation.explainer, network, fold, row.image_id, row.subject)
            lines.append(_line(about, row.expression, predicted[place], scores, centre, swapped))
    return lines


def _read_maps(experiment: Experiment, network: str, fold: str) -> tuple[np.ndarray, list[str], list[str]]:
    maps, image_ids, predicted = [], [], []
    for expression in EXPRESSIONS:
        path = experiment.maps_path(network, fold, expression)
        if path.exists():
            stored = read_arrays(path, ("maps", "image_ids"))
            maps += list(stored["maps"])
            image_ids += stored["image_ids"].tolist()
            predicted += [expression] * len(stored["image_ids"])
    return np.array(maps), image_ids, predicted


def _baselines(experiment: Experiment, truths: _Truths) -> list[tuple]:
    """Score what knows nothing of the network, and the ceiling, on all faces that are explained."""
    for name in dict.fromkeys([experiment.explanation.explainer, *experiment.explanation.compare]):
        for network, fold in experiment.pairs:
            for expression in EXPRESSIONS:
                path = experiment.explained_by(name).maps_path(network, fold, expression)
                if path.exists():
                    for image_id in read_arrays(path, ("image_ids",))["image_ids"].tolist():
                        truths.get(image_id)
    lines = []
    for image_id, changed in truths.used():
        row = truths.rows[image_id]
        centre = localisation.score(truths.centre, changed, truths.within)
        random = localisation.random_map(experiment.seed, image_id)
        for name, scores in (
            (CENTRE, centre),
            (RANDOM, localisation.score(random, changed, truths.within)),
            (CEILING, truths.ceilings[image_id]),
        ):
            about = (name, "none", row.fold, image_id, row.subject)
            lines.append(_line(about, row.expression, row.expression, scores, centre["auc"], np.nan))
    return lines


def _line(
    about: tuple, expression: str, predicted: str, scores: dict[str, float], centre: float, swapped: float
) -> tuple[Any, ...]:
    found = scores | {"over_centre": scores["auc"] - centre, "over_another": scores["auc"] - swapped}
    values = (found[name] for name in ("area", *localisation.SCORES))
    return (*about, expression, predicted, expression == predicted, *values)


def _mask_tables(experiment: Experiment, run: Run) -> dict[str, pd.DataFrame]:
    try:
        maps = causal.maps(experiment, by_subject=True)
        for image_id, reason in maps.omissions:
            run.omit(f"causal map {image_id}", reason)
        masks = {name: ekman_mask(name) for name in maps.means}
        pairs, summary = reference_masks.compare(
            maps.by_subject, masks, seed=derive_seed(experiment.seed, "reference masks")
        )
    except DataError as error:
        run.omit("Ekman masks", error)
        pairs = pd.DataFrame(columns=reference_masks.COLUMNS)
        summary = pd.DataFrame(columns=reference_masks.STATISTICS)
    return {"masks": pairs, "masks_summary": summary}
