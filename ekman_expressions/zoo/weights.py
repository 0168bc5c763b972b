"""Files of weights: those of ImageNet by Keras' names, and those of Keras 2, put into flat graphs.

Read by h5py; nothing in them is run. In a file of Keras 2, the root lists its layers in the attribute
``layer_names``; each has a group that lists its weights in ``weight_names``. A model inside a model counts as
one layer there: its group lists all weights of all its layers, first those that train. Lists too long for one
attribute are cut into ``layer_names0``, ``layer_names1`` ...
"""

from __future__ import annotations

import hashlib
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py
    import keras

from ekman_expressions.core.errors import MissingError, ModelError

_TAIL = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_KERAS_FILES: dict[str, tuple[str, str]] = {
    "InceptionV3": ("inception_v3" + _TAIL, "bcbd6486424b2319ff4ef7d526e38f63"),
    "VGG19": ("vgg19" + _TAIL, "253f8cb515780f3b799900260a226db6"),
    "VGG16": ("vgg16" + _TAIL, "6d6bbae143d832006294945121d1f1fc"),
    "ResNet50": ("resnet50" + _TAIL, "4d473c1dd8becc155b73f8504c6f6626"),
    "ResNet101V2": ("resnet101v2" + _TAIL, "c0ed64b8031c3730f411d2eb4eea35b5"),
    "Xception": ("xception" + _TAIL, "b0042744bf5b25fce3cb969f33bebb97"),
    "MobileNetV3Large": (
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "EfficientNetV2B0": ("efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"),
}
"""What Keras calls the file of each network's ImageNet weights without top, and its MD5."""


def _weights_file(folder: Path | str, name: str) -> Path:
    """Find a network's file: ``<name>.weights.h5``, ``<name>.h5``, or Keras' own name; `MissingError` without
    one.
    """
    for candidate in (f"{name}.weights.h5", f"{name}.h5", _KERAS_FILES[name][0]):
        path = Path(folder).expanduser() / candidate
        if path.is_file():
            return path
    raise MissingError(f"There is no weights file of {name} in {folder}. {_ways_out(name)}")


def _check_keras_file(path: Path, name: str) -> None:
    """Raise unless a file is there and, if it is called as Keras' own, whole."""
    if not path.is_file():
        raise MissingError(f"There is no weights file {path} for {name}. {_ways_out(name)}")
    keras_name, wanted = _KERAS_FILES[name]
    if path.name != keras_name:
        return
    with open(path, "rb") as file:
        # MD5, since that is what Keras publishes: against damage, not against forgery.
        received = hashlib.file_digest(file, "md5").hexdigest()
    if received != wanted:
        raise ModelError(
            f"{path} is called as Keras' own file, but its MD5 is {received}, not {wanted}: it is incomplete "
            f"or another file. Download it again, or rename it to {name}.weights.h5 if it is meant."
        )


def _ways_out(name: str) -> str:
    """Say where the weights of a network can come from instead."""
    return (
        f"Pass a file with the network's weights without top: set training.weights to a folder that holds "
        f"{name}.weights.h5, or {_KERAS_FILES[name][0]} as Keras offers it for download; "
        'or set training.weights = "none" to start at random.'
    )


def _load_weights(model: keras.Model, path: Path | str) -> None:
    """Put the weights of a Keras 2 file (``.h5``) into a model without models inside, if the whole file fits.

    Layers are matched by their order, since Keras numbers the names anew in each session, weights by name.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise MissingError(f"There is no weights file {path}.")
    try:
        with h5py.File(path, "r", locking=False) as file:
            given = _layers_in(file)
            wanted = _layers_of(model)
            _compare(model.name, path, given, wanted)
            values = [
                (variable, _finite(path, layer, weights[name]))
                for (layer, weights), (_, variables) in zip(given, wanted, strict=True)
                for name, variable in variables.items()
            ]
    except ModelError:
        raise
    except Exception as error:
        # Depending on where the damage is, h5py raises OSError, KeyError, RuntimeError, TypeError ...
        raise ModelError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a Keras 2 weights file: "
            f"{' '.join(str(error).split())}. If it is damaged, download or copy it again."
        ) from error
    for variable, value in values:
        variable.assign(value)


def _layers_in(file: h5py.File) -> list[tuple[str, dict[str, h5py.Dataset]]]:
    """List layers with their weights by name, those of models inside models too, in order."""
    # Whole models, saved with their architecture, keep the weights one level deeper.
    root = file["model_weights"] if "model_weights" in file else file
    layers: dict[tuple[str, str], dict[str, h5py.Dataset]] = {}
    for group in _texts(root, "layer_names"):
        for weight in _texts(root[group], "weight_names"):
            layer, _, variable = weight.rpartition("/")
            layers.setdefault((group, layer), {})[variable.partition(":")[0]] = root[group][weight]
    for weights in layers.values():
        # Keras 3 calls the kernel of a lone depthwise convolution like that of any other.
        if "depthwise_kernel" in weights and "pointwise_kernel" not in weights:
            weights["kernel"] = weights.pop("depthwise_kernel")
    return [(layer, weights) for (_, layer), weights in layers.items()]


def _texts(group: h5py.Group, attribute: str) -> list[str]:
    parts = [attribute] if attribute in group.attrs else []
    if not parts:
        while (part := f"{attribute}{len(parts)}") in group.attrs:
            parts.append(part)
    if not parts:
        raise KeyError(f"{group.name} has no attribute {attribute!r}")
    texts = [text for part in parts for text in group.attrs[part]]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _layers_of(model: keras.Model) -> list[tuple[str, dict[str, keras.Variable]]]:
    return [
        (layer.name, {variable.name: variable for variable in layer.weights})
        for layer in model.layers
        if layer.weights
    ]


def _compare(name: str, path: Path, given: list, wanted: list) -> None:
    for theirs, ours in zip_longest(given, wanted, fillvalue=("(none)", {})):
        received, expected = _shapes(theirs[1]), _shapes(ours[1])
        if received != expected:
            raise ModelError(
                f"{path} does not hold the weights of {name}: its layer {theirs[0]!r} has {received}, but "
                f"layer {ours[0]!r} of {name} has {expected}. The file has {len(given)} layers with weights, "
                f"{name} has {len(wanted)}. Take the file made for this network and number of classes."
            )


def _shapes(weights: dict) -> str:
    return ", ".join(f"{name} {tuple(weights[name].shape)}" for name in sorted(weights)) or "no weights"


def _finite(path: Path, layer: str, dataset: h5py.Dataset) -> np.ndarray:
    values = np.asarray(dataset, dtype=np.float32)
    wrong = np.count_nonzero(~np.isfinite(values))
    if wrong:
        raise ModelError(
            f"{path} is damaged: {wrong} of {values.size} values of {dataset.name} (layer {layer!r}) are not "
            "finite. Download or copy it again."
        )
    return values
