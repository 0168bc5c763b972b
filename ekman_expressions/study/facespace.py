"""The step "facespace": explanations are estimated, warped into face space, and gathered in files."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import (
    hash_of,
    read_arrays,
    read_csv,
    require,
    sha256,
    write_arrays,
    write_csv,
)
from ekman_expressions.explainers import Explanation
from ekman_expressions.facespace.warp import SHAPE, normalise
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.execution import Task, run_tasks
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explanations import read_explanation
from ekman_expressions.study.provenance import Run

_NUMBERS = ("superpixels", "intercept", "r2", "largest_weight", "mean_standard_error")
COLUMNS = ("network", "fold", "image_id", "expression", *_NUMBERS)
"""Columns of ``explanations.csv``: which face was explained, for which class, and how well. What an
explainer does not estimate is NaN; ``superpixels`` is 0 where pixels are explained."""

_readers: dict[str, Callable[[str], np.ndarray]] = {}


def facespace(experiment: Experiment, run: Run) -> None:
    """Estimate all explanations of an experiment, and bring them into face space.

    Writes ``explanations.csv`` (`COLUMNS`), and one ``.npz`` per model and predicted expression: `maps`
    (n, 275, 224) float32, `image_ids` (n,), the numbers of the table, and `source`, a hash of all that
    they were made from, by which the next run knows whether the file still holds.
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
    path = experiment.facespace_folder / "explanations.csv"
    if run.begun or not path.exists():
        write_csv(path, _tabulate(experiment, explained))
        run.made(path, items=0)
    else:
        run.kept(path, items=0)


def read_explanations(experiment: Experiment) -> pd.DataFrame:
    """Read ``explanations.csv``: a row per model and face, with the `COLUMNS`."""
    path = require(experiment.facespace_folder / "explanations.csv", "facespace")
    return read_csv(path, COLUMNS, dtype={"image_id": str})


def _normalise_model(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame, token: str) -> Run:
    """Write the files of one model, one per predicted expression."""
    run = Run()
    for expression in EXPRESSIONS:
        image_ids = rows["image_id"][rows["expression"] == expression]
        _normalise_cell(experiment, network, fold, expression, image_ids, run, _landmarks(experiment, token))
    return run


def _landmarks(experiment: Experiment, token: str) -> Callable[[str], np.ndarray]:
    """Return a reader that reads each face's landmarks once, not once per model that looks at it."""
    if token not in _readers:
        _readers.clear()
        _readers[token] = cache(partial(prepared.read_landmarks, experiment))
    return _readers[token]


def _normalise_cell(
    experiment: Experiment,
    network: str,
    fold: str,
    expression: str,
    image_ids: pd.Series,
    run: Run,
    landmarks: Callable[[str], np.ndarray],
) -> None:
    """Write the file of one model and one predicted expression, unless it is there and holds."""
    path = experiment.maps_path(network, fold, expression)
    sources = {}
    for image_id in image_ids:
        try:
            record = experiment.record_path(network, fold, image_id)
            if not record.exists():
                raise MissingError("it was not explained: see the omissions of the step 'explanations'")
            sources[image_id] = [sha256(record), hash_of(np.float32(landmarks(image_id)).tolist())]
        except (DataError, MissingError) as error:
            run.omit(f"{network}_{fold} {image_id}", error)
    settings = experiment.explanation
    source = hash_of([sources, settings.kernel_width, settings.alpha])
    if _holds(path, source, list(sources)):
        run.kept(path, items=len(sources))
        return
    # A quarter of a megabyte each, and no second time as a list.
    maps, used = np.empty((len(sources), *SHAPE), np.float32), []
    numbers: dict[str, list[float]] = {name: [] for name in _NUMBERS}
    for image_id in sources:
        try:
            found = read_explanation(experiment, network, fold, image_id, expression)
            # What speaks against the class is 0, as in the study.
            maps[len(used)] = normalise(np.maximum(found.map, 0), landmarks(image_id))
        except (DataError, MissingError) as error:
            run.omit(f"{network}_{fold} {image_id}", error)
            continue
        used.append(image_id)
        for name, value in _numbers(found).items():
            numbers[name].append(value)
    if not used:
        # What an earlier run may have left would be taken for this one's.
        path.unlink(missing_ok=True)
        return
    arrays = {"maps": maps[: len(used)], "image_ids": np.array(used), "source": np.array(source)}
    write_arrays(path, arrays | {name: np.array(values) for name, values in numbers.items()})
    run.made(path, items=len(used))


def _numbers(found: Explanation) -> dict[str, float]:
    errors = found.standard_errors
    return {
        "superpixels": 0 if found.segments is None else len(found.weights),
        "intercept": found.intercept,
        "r2": found.r2,
        "largest_weight": found.weights.max(),
        "mean_standard_error": np.nan if errors is None else errors.mean(),
    }


def _holds(path: Path, source: str, image_ids: list[str]) -> bool:
    """Say whether a file was made from `source`, and lacks none of `image_ids`."""
    try:
        stored = read_arrays(path, ("image_ids", "source"))
    except (FileNotFoundError, DataError):
        return False
    return str(stored["source"]) == source and stored["image_ids"].tolist() == image_ids


def _tabulate(experiment: Experiment, explained: pd.DataFrame) -> pd.DataFrame:
    tables = [pd.DataFrame(columns=COLUMNS)]
    for network, fold in experiment.pairs:
        for expression in EXPRESSIONS:
            path = experiment.maps_path(network, fold, expression)
            if path.exists():
                table = pd.DataFrame(read_arrays(path, ("image_ids", *_NUMBERS)))
                table = table.rename(columns={"image_ids": "image_id"})
                tables.append(table.assign(network=network, fold=fold, expression=expression))
    # In the order of the faces that were chosen.
    return explained[list(COLUMNS[:4])].merge(pd.concat(tables[1:] or tables))[list(COLUMNS)]
