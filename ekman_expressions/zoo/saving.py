"""Models and checkpoints as files: equal ones have equal bytes, nothing in a file is run; the 60 released models."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ekman_expressions.core.errors import (
    DataError,
    EkmanExpressionsError,
    MissingError,
    ModelError,
    check_option,
    check_type,
)
from ekman_expressions.core.files import atomic_path, sha256
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.zoo.networks import NETWORKS
from ekman_expressions.zoo.weights import _load_weights

if TYPE_CHECKING:
    import keras

_NO_DATE = "1980-01-01@00:00:00"
_PROGRESS = "progress.json"
# Values in a block of a variable: SilNet's largest has 0.7 GB, of which no copy is needed.
_BLOCK = 2**22
# Whichever of zipfile, NumPy, json and Keras meets the damage.
_DAMAGE = (OSError, EOFError, KeyError, ValueError, TypeError, struct.error, zipfile.BadZipFile, zlib.error)


class SavingError(EkmanExpressionsError, OSError):
    """A file could not be written: most often because the disk is full."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` while `path` is written into a `SavingError` that says what to do."""
    try:
        yield
    except SavingError:
        raise
    except OSError as error:
        raise SavingError(
            f"{path} could not be written ({error}). Nothing of it is left. Make room on the disk, or see "
            "to it that the folder may be written to, and run the step again: it resumes where it stood."
        ) from error


def save(model: keras.Model, path: Path) -> None:
    """Write a ``.keras`` file atomically; equal models give equal bytes. `SavingError` if the disk is full.

    Keras' own `save` holds up to three copies of the weights in memory, and puts the time into
    the archive and its metadata, and addresses in memory, as the names of shared objects, into the
    configuration. This puts the same members together without.
    """
    import keras

    metadata = {"keras_version": keras.__version__, "date_saved": _NO_DATE}
    texts = {
        "config.json": json.dumps(_without_addresses(keras.saving.serialize_keras_object(model))),
        "metadata.json": json.dumps(metadata),
    }
    with disk_errors(path), atomic_path(path) as temporary:
        weights = temporary.with_name(f"{temporary.stem}.weights.h5")
        try:
            model.save_weights(weights)
            with zipfile.ZipFile(temporary, "w") as archive:
                # A bare ZipInfo is dated 1980, the beginning of the format's time.
                for name, text in texts.items():
                    archive.writestr(zipfile.ZipInfo(name), text)
                member = zipfile.ZipInfo("model.weights.h5")
                member.file_size = weights.stat().st_size
                with open(weights, "rb") as source, archive.open(member, "w") as target:
                    shutil.copyfileobj(source, target, 2**20)
        finally:
            weights.unlink(missing_ok=True)


def load(path: Path) -> keras.Model:
    """Read a ``.keras`` file in safe mode, not compiled; `ModelError` if it is damaged, or holds code."""
    start_tensorflow()
    import keras

    def read(path: Path) -> keras.Model:
        return keras.saving.load_model(path, compile=False, safe_mode=True)

    try:
        if path.suffix != path.suffix.lower() or _keras_version(path).startswith("2."):
            return _read_copy(path, read)
        try:
            return read(path)
        except Exception:
            # Locked? If that is not it, the first reason is the one to tell.
            with contextlib.suppress(Exception):
                return _read_copy(path, read)
            raise
    except Exception as error:
        # Depending on where the damage is, Keras, zipfile, h5py or json raise.
        raise ModelError(f"{path} cannot be loaded as a Keras model ({error}).") from error


def _from_keras_2(model: Any) -> Any:
    """Return a tf_keras model (Keras 2) as a Keras 3 model with its weights; `ModelError` if that cannot be."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.save(path, include_optimizer=False)
        except Exception as error:
            # Subclassed models raise NotImplementedError, layers whatever their get_config raises.
            raise ModelError(f"A tf_keras (Keras 2) model cannot be saved as a file ({error}).") from error
        return load(path)


def _is_keras_2(model: Any) -> bool:
    """Whether a model is one of tf_keras, without importing it."""
    tf_keras = sys.modules.get("tf_keras")
    return tf_keras is not None and isinstance(model, tf_keras.Model)


def _keras_version(path: Path) -> str:
    """Return the version of Keras that wrote a file, empty where the file does not say."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("metadata.json"))["keras_version"]
    import h5py

    with h5py.File(path, locking=False) as file:
        return str(file.attrs.get("keras_version", ""))


def _read_copy(path: Path, read: Callable) -> Any:
    """Read a copy, whose suffix is the one that Keras wants, and whose configuration is of Keras 3."""
    import h5py

    is_old, is_zip = _keras_version(path).startswith("2."), zipfile.is_zipfile(path)
    with tempfile.TemporaryDirectory() as folder:
        # Before the zip format, Keras wrote HDF5 under either suffix.
        copy = Path(folder) / f"{path.stem}{'.keras' if is_zip else '.h5'}"
        if is_old and is_zip:
            with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
                for name in old.namelist():
                    with old.open(name) as source, new.open(name, "w", force_zip64=True) as target:
                        if name == "config.json":
                            target.write(json.dumps(_as_keras_3(json.load(source))).encode())
                        else:
                            shutil.copyfileobj(source, target, 2**20)
            return read(copy)
        shutil.copyfile(path, copy)
        if is_old:
            with h5py.File(copy, "r+", locking=False) as file:
                if config := file.attrs.get("model_config"):
                    file.attrs["model_config"] = json.dumps(_as_keras_3(json.loads(config)))
        return read(copy)


# Arguments that Keras 2 writes for layers that have no use for them, and Keras 3 refuses.
_UNUSED = {
    "Conv2DTranspose": ("groups",),
    "DepthwiseConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SpatialDropout2D": ("noise_shape", "trainable"),
}

# Operations on tensors that have a layer: for two tensors, and scale and offset of one with a number.
_OPERATIONS = {
    "__operators__.add": ("Add", lambda y: (1, y)),
    "math.add": ("Add", lambda y: (1, y)),
    "nn.bias_add": (None, lambda y: (1, y)),
    "math.subtract": ("Subtract", lambda y: (1, -y)),
    "math.multiply": ("Multiply", lambda y: (y, 0)),
    "math.truediv": (None, lambda y: (1 / y, 0)),
}


def _as_keras_3(config: Any) -> Any:
    """Turn the configuration of a Keras 2 model into one that Keras 3 reads."""
    if isinstance(config, list):
        return [_as_keras_3(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: _as_keras_3(value) for key, value in config.items()}
    kind, inner = config.get("class_name"), config.get("config")
    if not isinstance(inner, dict):
        return config
    if kind == "Policy":
        return inner["name"]
    if kind == "Lambda":
        raise ValueError("A Lambda layer holds arbitrary code.")
    # How the layers of random changes draw, and the shapes that Keras 3 finds by itself.
    for key in (
        "rng_type",
        *_UNUSED.get(kind, ()),
        *(() if kind == "InputLayer" else ("batch_input_shape",)),
    ):
        inner.pop(key, None)
    config.pop("build_config", None)
    if kind == "BatchNormalization" and isinstance(inner["axis"], list):
        (inner["axis"],) = inner["axis"]
    if "module" in config and kind in ("Functional", "Model", "Sequential"):
        config["module"] = f"keras.src.models.{kind.lower()}"
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        _as_layer(config)
        inner = config["config"]
    # A model inside a model counts its own graph as its first call in Keras 2.
    models = [layer["config"]["name"] for layer in inner.get("layers", ()) if "layers" in layer["config"]]
    calls = _calls(inner)
    firsts = {name: min((call[1] for call in calls if call[0] == name), default=0) for name in models}
    for call in calls:
        call[1] -= firsts.get(call[0], 0)
        call[0] = call[0].replace("/", "_")
    for ends in ("input_layers", "output_layers"):
        # One input or output is a tensor, not a list of one: a Sequential passes it on as it is.
        if len(inner.get(ends) or ()) == 1:
            (inner[ends],) = inner[ends]
    # Keras 3 has no "/" in names.
    for named in (config, inner):
        if isinstance(named.get("name"), str):
            named["name"] = named["name"].replace("/", "_")
    return config


def _as_layer(config: dict) -> None:
    """Make a layer of an operation on tensors, such as ``x / 127.5`` or ``x + y``, where one does the same."""
    name = config["config"].get("function", config["class_name"])
    layer, scaling = _OPERATIONS.get(name, (None, None))
    ((first, *place, more),) = config["inbound_nodes"]
    other, options, nodes = more.get("y", more.get("bias")), {}, [[first, *place, {}]]
    if isinstance(other, list) and isinstance(other[0], str):
        nodes.append([*other, {}])
    elif scaling and other is not None:
        scale, offset = (np.asarray(value).tolist() for value in scaling(np.float64(other)))
        layer, options = "Rescaling", {"scale": scale, "offset": offset}
    if not layer or first == "_CONSTANT_VALUE":
        raise ValueError(f"Keras 3 has no layer for the operation {name!r} on tensors.")
    config |= {"class_name": layer, "inbound_nodes": [nodes], "registered_name": None}
    config["config"] = {key: config["config"][key] for key in ("name", "dtype")} | options
    if "module" in config:
        config["module"] = "keras.layers"


def _calls(graph: dict) -> list[list]:
    """List the references [layer, call, output ...] between the layers of a model, not those in models inside."""
    found, open_ = (
        [],
        [
            graph.get("input_layers"),
            graph.get("output_layers"),
            *(layer.get("inbound_nodes") for layer in graph.get("layers", ())),
        ],
    )
    while open_:
        item = open_.pop()
        if isinstance(item, list) and [type(part) for part in item[:3]] == [str, int, int]:
            found.append(item)
        if isinstance(item, (list, dict)):
            open_ += item.values() if isinstance(item, dict) else item
    return found


@dataclass
class _Progress:
    """How far the training of a model has come: the rows of `Trained.curve`, and the best epoch's weights."""

    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    best_epoch: int | None = None
    best: list[np.ndarray] = field(default_factory=list)


def _write_checkpoint(path: Path, fingerprint: str, learner: keras.Model, progress: _Progress) -> None:
    """Write weights, random generators and optimiser atomically, an uncompressed ``.npz`` with checksums,
    block by block.
    """
    content = {"fingerprint": fingerprint, "curve": progress.curve, "seconds": progress.seconds}
    with disk_errors(path), atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_PROGRESS, json.dumps(content | {"best_epoch": progress.best_epoch}))
        for name, variable in _variables(learner):
            _write_variable(archive, name, variable)
        for number, array in enumerate(progress.best):
            with _member(archive, f"best/{number}") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _read_checkpoint(path: Path, fingerprint: str, learner: keras.Model) -> _Progress:
    """Bring a compiled model into a checkpoint's state; `DataError`, the model as before, if damaged or of
    another.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # All checksums first, so that damage is found before anything is changed.
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} does not agree")
            content = json.loads(archive.read(_PROGRESS))
            if content.pop("fingerprint") != fingerprint:
                raise DataError(
                    f"{path} is of a training with other settings, images, library versions or devices."
                )
            for name, variable in _variables(learner):
                variable.assign(_read_array(archive, name))
            best = [] if content["best_epoch"] is None else range(len(learner.weights))
            return _Progress(**content, best=[_read_array(archive, f"best/{number}") for number in best])
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged ({error}).") from error


def _remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, and what a process that was killed while it wrote one left behind."""
    for leftover in path.parent.glob(f".*-{path.name}"):
        leftover.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _blocks(variable: keras.Variable) -> Iterator[np.ndarray]:
    """Yield a variable's values in blocks of some megabytes, row by row (its first axis), without a copy."""
    import tensorflow as tf

    values = tf.convert_to_tensor(variable.value)
    if values.shape.rank == 0:
        yield values.numpy()
        return
    rows = max(1, _BLOCK // max(1, math.prod(values.shape[1:])))
    for start in range(0, values.shape[0], rows):
        yield values[start : start + rows].numpy()


def _numbered(kind: str, variables: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{kind}/{number}", variable) for number, variable in enumerate(variables))


def _variables(learner: keras.Model) -> Iterator[tuple[str, Any]]:
    weights = {id(weight) for weight in learner.weights}
    yield from _numbered("weights", learner.weights)
    states = [state for layer in learner.layers for state in layer.variables if id(state) not in weights]
    yield from _numbered("random", states)
    yield from _numbered("optimizer", learner.optimizer.variables)


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A bare ZipInfo holds no time; large members need the 64-bit form from the start.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def _write_variable(archive: zipfile.ZipFile, name: str, variable: Any) -> None:
    kind = np.lib.format.dtype_to_descr(np.dtype(variable.value.dtype.as_numpy_dtype))
    header = {"descr": kind, "fortran_order": False, "shape": tuple(variable.shape)}
    with _member(archive, name) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in _blocks(variable):
            file.write(block.tobytes())


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _without_addresses(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_addresses(value) for key, value in config.items() if key != "shared_object_id"}
    return [_without_addresses(value) for value in config] if isinstance(config, (list, tuple)) else config


REPOSITORY = "Xavi3398/ekman_expressions"
"""The authors' repository on the Hugging Face hub."""

_FOLDS = tuple(f"CV{number}" for number in range(1, 6))
"""The folds of the study, one released model each."""


def _file_name(network: str, fold: str) -> str:
    """Return what the authors call the file of one model: ``SongNet_CV3_weights.h5``."""
    check_option(network, "network", NETWORKS)
    check_option(fold, "fold", _FOLDS)
    return f"{network}_{fold}_weights.h5"


def _download(network: str, fold: str, revision: str = "main") -> tuple[Path, str]:
    """Fetch one file from the hub, unless it is in the cache of `huggingface_hub`: its path, and the hash of
    its commit.

    `MissingError` if `huggingface_hub` is not installed or the hub cannot be reached; `ModelError` if the hub
    has no such file, or the contents are not those it has the hash of.
    """
    name = _file_name(network, fold)
    check_type(revision, "revision", str)
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise MissingError(
            f"To download {name}, the package huggingface_hub is needed: "
            f'pip install "ekman_expressions[released]". {_from_the_hub(name)}'
        ) from error
    try:
        # The repository is public: no token of the user's is sent.
        path = Path(hf_hub_download(REPOSITORY, name, revision=revision, token=False))
    except errors.RemoteEntryNotFoundError as error:
        raise ModelError(f"{REPOSITORY} has no file {name} at revision {revision}.") from error
    except Exception as error:
        # No network, a proxy's answer, no such revision, a full disk: what is raised depends on the
        # version of huggingface_hub and the library that it talks through.
        reason = " ".join(str(error).split())[:500]
        raise MissingError(
            f"{name} could not be downloaded from the Hugging Face hub ({REPOSITORY}, revision {revision}): "
            f"{reason}. {_from_the_hub(name)}"
        ) from error
    # In the cache, each commit has a folder, and big files are links to their SHA-256.
    commit, content = path.parent.name, path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", content) and sha256(path) != content:
        raise ModelError(
            f"{path.resolve()} is damaged: its sha256 is not its name. Delete it to download it again."
        )
    return path, commit


def _load_released(
    network: str, path: Path | str, classes: int = 6, preprocessing: str = "paper"
) -> keras.Model:
    """Load a released file into our flat graph of the network, or raise `MissingError` or `ModelError`."""
    check_option(network, "network", NETWORKS)
    if not Path(path).is_file():
        # Said before half a minute goes into building a big network.
        raise MissingError(f"There is no weights file {path}. {_from_the_hub(Path(path).name)}")
    model = NETWORKS[network].build("none", preprocessing, classes)
    _load_weights(model, path)
    return model


def _origin(entry: dict[str, str]) -> str:
    """Say in words where a released model is from."""
    return f"{entry['repository']} at {entry['commit']}" if "commit" in entry else "local file"


def _from_the_hub(name: str) -> str:
    return f"Or copy {name} from {REPOSITORY} on the hub to a folder, and set training.released_folder to it."
