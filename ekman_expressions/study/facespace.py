"""The step "facespace": explanations painted, warped into face space, and gathered in files."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, index
from ekman_expressions.core.files import hash_of, read_arrays, sha256, write_arrays
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.execution import Task, run_tasks
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.maps import read_map
from ekman_expressions.study.provenance import Run

_readers: dict[str, Callable[[str], np.ndarray]] = {}


def facespace(experiment: Experiment, run: Run) -> None:
    """Bring all explanations of an experiment into face space.

    Writes one ``.npz`` per model and predicted expression: `maps` (n, 275, 224) float32,
    `image_ids` (n,), and `source`, a hash of all that the maps were made from, by which the
    next run knows whether the file still holds.
    """
    explained = evaluation.read_explained(experiment)
    # By this name each process keeps the landmarks that it has read, for this run only.
    token = uuid.uuid4().hex
    tasks = []
    for network, fold in experiment.pairs:
        rows = explained[(explained["network"] == network) & (explained["fold"] == fold)]
        tasks.append(
            Task(
                name=f"{network}_{fold}",
                function=_normalise_model,
                arguments=(experiment, network, fold, rows, token),
                weight=len(rows),
            )
        )
    run_tasks(tasks, run, desc="Warping into face space", unit="image")


def _normalise_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame, token: str) -> Run:
    """Write the files of one model, one per predicted expression."""
    run = Run()
    for expression in EXPRESSIONS:
        image_ids = rows["image_id"][rows["expression"] == expression]
        normalise_cell(experiment, network, fold, expression, image_ids, run, _landmarks(experiment, token))
    return run


def _landmarks(experiment: Experiment, token: str) -> Callable[[str], np.ndarray]:
    """Return a reader that reads each face's landmarks once, not once per model that looks at it."""
    if token not in _readers:
        _readers.clear()
        _readers[token] = cache(partial(prepared.read_landmarks, experiment))
    return _readers[token]


def normalise_cell(
    experiment: Experiment,
    network: str,
    fold: str,
    expression: str,
    image_ids: pd.Series,
    run: Run,
    landmarks: Callable[[str], np.ndarray],
) -> None:
    """Write the file of one model and one predicted expression, unless it is there and holds.

    Parameters
    ----------
    experiment : Experiment
        The settings and folders.
    network, fold, expression : str
        Which model, and what it predicted.
    image_ids : Series of str
        The faces that it predicted so and that are explained.
    run : Run
        Takes note of the explanations done, skipped, and left out.
    landmarks : callable
        From a face's ``image_id`` to its landmarks (68, 2).
    """
    path = experiment.maps_path(network, fold, expression)
    sources = {}
    for image_id in image_ids:
        try:
            sources[image_id] = _fingerprint(experiment, network, fold, image_id, landmarks(image_id))
        except (DataError, MissingError) as error:
            run.omit(f"{network}_{fold} {image_id}", error)
    settings = experiment.explanation
    source = hash_of([sources, settings.kernel_width, settings.alpha])
    if path.exists() and _holds(path, source, list(sources)):
        run.kept(path, items=len(sources))
        return
    # A quarter of a megabyte each, and no second time as a list.
    maps, used = np.empty((len(sources), *SHAPE), np.float32), []
    for image_id in sources:
        try:
            painted = read_map(experiment, network, fold, image_id, index(expression))
            maps[len(used)] = normalise(painted, landmarks(image_id))
        except (DataError, MissingError) as error:
            run.omit(f"{network}_{fold} {image_id}", error)
            continue
        used.append(image_id)
    if not used:
        # What an earlier run may have left would be taken for this one's.
        path.unlink(missing_ok=True)
        return
    arrays = {"maps": maps[: len(used)], "image_ids": np.array(used), "source": np.array(source)}
    write_arrays(path, arrays)
    run.made(path, items=len(used))


def _fingerprint(
    experiment: Experiment, network: str, fold: str, image_id: str, landmarks: np.ndarray
) -> list[str]:
    """Hash what an explanation in face space is made from."""
    path = experiment.record_path(network, fold, image_id)
    if not path.exists():
        raise MissingError("it was not explained: see the omissions of the step 'explanations'")
    return [sha256(path), hash_of(np.float32(landmarks).tolist())]


def _holds(path: Path, source: str, image_ids: list[str]) -> bool:
    """Say whether a file is whole, made from `source`, and lacks none of `image_ids`."""
    try:
        stored = read_arrays(path, ("maps", "image_ids", "source"))
    except DataError:
        return False
    return str(stored["source"]) == source and stored["image_ids"].tolist() == image_ids
