"""The last finished epoch of a model in training, in a file from which it goes on to the same end."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import DataError, ModelError
from ekman_expressions.core.files import atomic_path
from ekman_expressions.zoo import saving
from ekman_expressions.zoo.blocks import blocks

_PROGRESS = "progress.json"
# Whichever of zipfile, NumPy, json and Keras meets the damage.
_DAMAGE = (OSError, EOFError, KeyError, ValueError, TypeError, struct.error, zipfile.BadZipFile, zlib.error)


@dataclass
class Progress:
    """How far the training of a model has come.

    Attributes
    ----------
    curve : list of dict
        Per finished epoch: ``epoch`` (from 1), ``loss``, ``accuracy``, and ``val_loss``,
        ``val_accuracy`` where there are held-out images.
    seconds : float
        What the finished epochs took, in all runs together.
    best_epoch : int or None
        The epoch with the lowest ``val_loss``, where the epoch is chosen by it.
    best : list of ndarray
        The weights after that epoch.
    """

    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    best_epoch: int | None = None
    best: list[np.ndarray] = field(default_factory=list)


def write(path: Path, fingerprint: str, learner: keras.Model, progress: Progress) -> None:
    """Write the state of a compiled model and its optimiser, atomically.

    An uncompressed ``.npz``, made a block at a time. The archive has a checksum (CRC-32) of
    every array.

    Parameters
    ----------
    path : Path
        The checkpoint's file.
    fingerprint : str
        Of all that the training depends on; `restore` wants the same.
    learner : keras.Model
        Weights, states of the random generators (dropout) and optimiser are kept.
    progress : Progress
        What goes with them.

    Raises
    ------
    SavingError
        If there is no room; an earlier checkpoint stays as it was.
    """
    content = {
        "fingerprint": fingerprint,
        "curve": progress.curve,
        "seconds": progress.seconds,
        "best_epoch": progress.best_epoch,
    }
    with saving.disk_errors(path), atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(_PROGRESS, json.dumps(content))
            for name, variable in _variables(learner):
                _write_blocks(archive, name, variable)
            for number, array in enumerate(progress.best):
                with _member(archive, f"best/{number}") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)


def restore(path: Path, fingerprint: str, learner: keras.Model) -> Progress:
    """Bring a compiled model and its optimiser into the state that a checkpoint keeps.

    Returns
    -------
    Progress
        How far the training had come.

    Raises
    ------
    DataError
        If the file is damaged, or of a training with another fingerprint; the model is as
        before then.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = _read_progress(archive)
            if content["fingerprint"] != fingerprint:
                raise DataError(
                    f"{path} is of a training with other settings, images, library versions or devices."
                )
            _assign(archive, _variables(learner))
            best = [] if content["best_epoch"] is None else range(len(learner.weights))
            return Progress(
                content["curve"],
                content["seconds"],
                content["best_epoch"],
                [_read_array(archive, f"best/{number}") for number in best],
            )
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged ({error}).") from error


def read_weights(path: Path, model: keras.Model) -> int:
    """Bring a model's weights into the state that a checkpoint keeps, and return its epoch, from 1.

    Raises
    ------
    ModelError
        If the file is damaged, or of another network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = _read_progress(archive)
            _assign(archive, _named("weights", model.weights))
            return len(content["curve"])
    except _DAMAGE as error:
        raise ModelError(
            f"{path} is damaged, or of another network ({error}). Delete it to train from the beginning."
        ) from error


def remove(path: Path) -> None:
    """Remove a checkpoint, and what a process that was killed while it wrote one left behind."""
    for leftover in path.parent.glob(f".*-{path.name}"):
        leftover.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _named(kind: str, variables: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{kind}/{number}", variable) for number, variable in enumerate(variables))


def _variables(learner: keras.Model) -> Iterator[tuple[str, Any]]:
    weights = {id(weight) for weight in learner.weights}
    yield from _named("weights", learner.weights)
    states = [state for layer in learner.layers for state in layer.variables if id(state) not in weights]
    yield from _named("random", states)
    yield from _named("optimizer", learner.optimizer.variables)


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A bare ZipInfo holds no time; large members need the 64-bit form from the start.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def _write_blocks(archive: zipfile.ZipFile, name: str, variable: Any) -> None:
    kind = np.lib.format.dtype_to_descr(np.dtype(variable.value.dtype.as_numpy_dtype))
    header = {"descr": kind, "fortran_order": False, "shape": tuple(variable.shape)}
    with _member(archive, name) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks(variable):
            file.write(block.tobytes())


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_progress(archive: zipfile.ZipFile) -> dict[str, Any]:
    # All checksums first, so that damage is found before anything is changed.
    damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} does not agree")
    return json.loads(archive.read(_PROGRESS))


def _assign(archive: zipfile.ZipFile, variables: Iterator[tuple[str, Any]]) -> None:
    for name, variable in variables:
        variable.assign(_read_array(archive, name))
