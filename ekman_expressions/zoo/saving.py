"""Models and checkpoints as files: equal ones have equal bytes, nothing in a file is run; the 60 released models."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ekman_expressions.core.errors import DataError, EkmanExpressionsError, MissingError, ModelError
from ekman_expressions.core.files import atomic_path, sha256
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.zoo.networks import NETWORKS

if TYPE_CHECKING:
    import keras

_PROGRESS = "progress.json"


class _SavingError(EkmanExpressionsError, OSError):
    """A file could not be written: most often because the disk is full."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` while `path` is written into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise _SavingError(
            f"{path} could not be written ({error}). Nothing of it is left. Make room on the disk, or see "
            "to it that the folder may be written to, and run the step again: it resumes where it stood."
        ) from error


def save(model: keras.Model, path: Path) -> None:
    """Write a ``.keras`` file atomically; equal models give equal bytes. `OSError` if the disk is full.

    Keras' own `save` holds up to three copies of the weights in memory, and puts the time into
    the archive and its metadata, and addresses in memory, as the names of shared objects, into the
    configuration. This puts the same members together without.
    """
    import keras

    config = json.dumps(keras.saving.serialize_keras_object(model))
    members = {
        "config.json": json.loads(config, object_hook=_without_addresses),
        "metadata.json": {"keras_version": keras.__version__, "date_saved": "1980-01-01@00:00:00"},
    }
    with disk_errors(path), atomic_path(path) as temporary:
        weights = temporary.with_name(f"{temporary.stem}.weights.h5")
        try:
            model.save_weights(weights)
            with zipfile.ZipFile(temporary, "w") as archive:
                # A bare ZipInfo is dated 1980, the beginning of the format's time.
                for name, content in members.items():
                    archive.writestr(zipfile.ZipInfo(name), json.dumps(content))
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

    try:
        with tempfile.TemporaryDirectory() as folder:
            return keras.saving.load_model(_readable(path, Path(folder)), compile=False, safe_mode=True)
    except Exception as error:
        # Depending on where the damage is, Keras, zipfile, h5py or json raise.
        raise ModelError(f"{path} cannot be loaded as a Keras model ({error}).") from error


def architecture(path: Path) -> str:
    """Return what a ``.keras`` file says of layers; empty where it says nothing, so that `load` tells why."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read("config.json").decode()
    except (OSError, zipfile.BadZipFile, KeyError):
        return ""


def load_into(model: keras.Model, path: Path) -> None:
    """Read the weights of a ``.keras`` file into a model of the same `architecture`; `ModelError` if damaged."""
    try:
        # Taken out of the archive: read within it, they take twice as long as building and reading another model.
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            model.load_weights(archive.extract("model.weights.h5", folder))
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded as a Keras model ({error}).") from error


def _from_keras_2(model: Any) -> Any:
    """Return a tf_keras model (Keras 2) as one of Keras 3, or raise `ModelError`; anything else as it is."""
    tf_keras = sys.modules.get("tf_keras")
    if tf_keras is None or not isinstance(model, tf_keras.Model):
        return model
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "model.h5"
        try:
            warnings.simplefilter("ignore")
            model.save(path, include_optimizer=False)
        except Exception as error:
            # Subclassed models raise NotImplementedError, layers whatever their get_config raises.
            raise ModelError(
                f"A tf_keras (Keras 2) model cannot be brought to Keras 3 ({error}). For predictions alone give a "
                "function: lambda images: model.predict_on_batch(images)"
            ) from error
        return load(path)


def _readable(path: Path, folder: Path) -> Path:
    """Return a file whose suffix and configuration Keras 3 reads: this one, or a copy in `folder`."""
    if not zipfile.is_zipfile(path):
        import h5py

        # Before the zip format, Keras wrote HDF5 under either suffix. A copy, since the file may be locked.
        copy = shutil.copyfile(path, folder / f"{path.stem}.h5")
        with h5py.File(copy, "r+", locking=False) as file:
            config = file.attrs.get("model_config")
            # Text, or bytes in old files.
            if config and not str(file.attrs["keras_version"]).startswith("3."):
                file.attrs["model_config"] = json.dumps(json.loads(config, object_hook=_as_keras_3))
        return copy
    with zipfile.ZipFile(path) as archive:
        is_old = json.loads(archive.read("metadata.json"))["keras_version"].startswith("2.")
        if path.suffix == ".keras" and not is_old:
            return path
        copy = folder / f"{path.stem}.keras"
        with zipfile.ZipFile(copy, "w") as new:
            for name in archive.namelist():
                content = archive.read(name)
                if is_old and name == "config.json":
                    content = json.dumps(json.loads(content, object_hook=_as_keras_3))
                new.writestr(name, content)
    return copy


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


def _as_keras_3(config: dict) -> Any:
    """Turn the configuration of Keras 2, of which all parts are already, into one that Keras 3 reads."""
    kind, inner = config.get("class_name"), config.get("config")
    if not isinstance(inner, dict):
        return config
    if kind == "Policy":
        return inner["name"]
    if kind == "Lambda":
        raise ValueError("A Lambda layer holds arbitrary code.")
    # How the layers of random changes draw, and the shapes that Keras 3 finds by itself.
    shape = () if kind == "InputLayer" else ("batch_input_shape",)
    for key in ("rng_type", *shape, *_UNUSED.get(kind, ())):
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
    waiting = [graph.get("input_layers"), graph.get("output_layers")]
    waiting += [layer.get("inbound_nodes") for layer in graph.get("layers", ())]
    found = []
    while waiting:
        item = waiting.pop()
        if isinstance(item, list) and [type(part) for part in item[:3]] == [str, int, int]:
            found.append(item)
        if isinstance(item, (list, dict)):
            waiting += item.values() if isinstance(item, dict) else item
    return found


def _write_checkpoint(path: Path, fingerprint: str, learner: keras.Model, progress: dict[str, Any]) -> None:
    """Write weights, random generators and optimiser atomically, array by array, an ``.npz`` with checksums.

    Not by Keras: HDF5 ends the process when the disk is full.
    """
    with disk_errors(path), atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_PROGRESS, json.dumps({"fingerprint": fingerprint, **progress}))
        for number, variable in enumerate([*learner.variables, *learner.optimizer.variables]):
            with archive.open(f"{number}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, variable.numpy(), allow_pickle=False)


def _read_checkpoint(path: Path, fingerprint: str, learner: keras.Model) -> dict[str, Any]:
    """Bring a compiled model into a checkpoint's state; return its curve's rows and the seconds that it took.

    `DataError`, the model as before, if the checkpoint is damaged or of another training.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # All checksums first, so that damage is found before anything is changed.
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} does not agree")
            progress = json.loads(archive.read(_PROGRESS))
            if progress.pop("fingerprint") != fingerprint:
                raise DataError(f"{path} is of a training with other settings, images or library versions.")
            for number, variable in enumerate([*learner.variables, *learner.optimizer.variables]):
                with archive.open(f"{number}.npy") as file:
                    variable.assign(np.lib.format.read_array(file, allow_pickle=False))
            return progress
    except DataError:
        raise
    except Exception as error:
        # Whichever of zipfile, NumPy, json and Keras meets the damage.
        raise DataError(f"{path} is damaged ({error}).") from error


def _without_addresses(part: dict) -> dict:
    return {key: value for key, value in part.items() if key != "shared_object_id"}


# On the Hugging Face hub.
_REPOSITORY = "Xavi3398/ekman_expressions"
_ADVICE = (
    f"Or fetch the files elsewhere with 'hf download {_REPOSITORY} --local-dir released', of the package "
    'huggingface_hub, and set training.released_folder = "released".'
)

_FOLDS = tuple(f"CV{number}" for number in range(1, 6))
"""The folds of the study, one released model each."""


def _file_name(network: str, fold: str) -> str:
    """Return what the authors call the file of one model: ``SongNet_CV3_weights.h5``."""
    return f"{network}_{fold}_weights.h5"


def _download(network: str, fold: str) -> Path:
    """Fetch a released file from the hub, or from the cache of `huggingface_hub`; check its SHA-256."""
    name = _file_name(network, fold)
    try:
        from huggingface_hub import hf_hub_download

        # The repository is public: no token of the user's is sent.
        path = Path(hf_hub_download(_REPOSITORY, name, token=False))
    except Exception as error:
        # No package or network, a proxy's answer, a full disk: what is raised depends on the library below.
        reason = " ".join(str(error).split())[:500]
        raise MissingError(
            f"{name} could not be downloaded ({reason}). It takes the network and "
            f"pip install 'ekman_expressions[released]'. {_ADVICE}"
        ) from error
    # In the cache, a big file is called as its SHA-256.
    content = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", content.name) and sha256(content) != content.name:
        raise ModelError(f"{content} is damaged: its sha256 is not its name. Delete it to download it again.")
    return path


def _load_released(network: str, path: Path, preprocessing: str = "paper") -> keras.Model:
    """Load a released file into our flat graph of the network, or raise `MissingError` or `ModelError`."""
    if not path.is_file():
        # Said before half a minute goes into building a big network.
        raise MissingError(f"There is no weights file {path}. {_ADVICE}")
    model = NETWORKS[network].build("none", preprocessing)
    _load_weights(model, path)
    return model


def _load_weights(model: keras.Model, path: Path) -> None:
    """Put the weights of a Keras 2 file (``.h5``), whose backbone is a model inside, into a network of ours.

    Keras matches layers by their order, since Keras 2 numbers the names anew in each session.
    """
    import keras

    target = model
    if model.layers[-2].name == "average":
        image = keras.Input(model.input_shape[1:])
        backbone = keras.Model(model.input, model.layers[-2].input)
        features = keras.layers.GlobalAveragePooling2D()(backbone(image))
        top = keras.layers.Dense(model.output_shape[-1], name="probabilities")
        target = keras.Model(image, top(features))
    try:
        with tempfile.TemporaryDirectory() as folder:
            # Of a copy, since some file systems and programs lock the file.
            target.load_weights(shutil.copyfile(path, Path(folder) / "copy.h5"))
        if target is not model:
            model.layers[-1].set_weights(top.get_weights())
        if not all(np.isfinite(values).all() for values in model.get_weights()):
            raise ValueError("some of its values are not finite")
    except Exception as error:
        # Depending on what is wrong, Keras and h5py raise OSError, KeyError, ValueError, RuntimeError ...
        raise ModelError(
            f"{path} ({path.stat().st_size} bytes) does not hold the weights of {model.name}, or is damaged "
            f"({' '.join(str(error).split())}). Take the file made for this network and number of classes."
        ) from error
