"""The eight networks of Keras Applications, flat, with preprocessing and head in one graph."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import MissingError, ModelError
from ekman_expressions.zoo.preprocessing import native

KERAS_FILES: dict[str, tuple[str, str]] = {
    "InceptionV3": (
        "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "VGG19": (
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "253f8cb515780f3b799900260a226db6",
    ),
    "VGG16": (
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "ResNet50": (
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "ResNet101V2": (
        "resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "c0ed64b8031c3730f411d2eb4eea35b5",
    ),
    "Xception": (
        "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "b0042744bf5b25fce3cb969f33bebb97",
    ),
    "MobileNetV3Large": (
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "EfficientNetV2B0": (
        "efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
}
"""What Keras calls the file of each network's ImageNet weights without top, and its MD5."""


def build(name: str, side: int, classes: int, weights: str, preprocessing: str) -> keras.Model:
    """Build a network of `KERAS_FILES`: preprocessing, backbone, average pooling, softmax.

    The parameters are those of `NetSpec.build`, which is where to read on.
    """
    import keras

    inputs = keras.Input((side, side, 3), name="image")
    values = native(name, inputs) if preprocessing == "native" else inputs
    if weights not in ("none", "imagenet"):
        _check_file(Path(weights), name)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            backbone = getattr(keras.applications, name)(
                include_top=False, input_tensor=values, weights=None if weights == "none" else weights
            )
        for warning in caught:
            # Keras goes on with random weights where a file lacks a layer.
            if "freshly-initialized" in str(warning.message):
                raise ModelError(str(warning.message))
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    except Exception as error:
        # Keras raises plain Exception when a download fails, and anything for a foreign file.
        if weights == "imagenet":
            raise MissingError(
                f"The ImageNet weights of {name} could not be downloaded ({_shortened(error)}). "
                f"{_ways_out(name)}"
            ) from error
        if weights == "none":
            raise
        raise ModelError(
            f"{weights} does not hold the weights of {name} without top ({_shortened(error)}). "
            f"{_ways_out(name)}"
        ) from error
    pooled = keras.layers.GlobalAveragePooling2D(name="average")(backbone.output)
    outputs = keras.layers.Dense(classes, activation="softmax", name="probabilities")(pooled)
    return keras.Model(inputs, outputs, name=name)


def weights_file(folder: Path | str, name: str) -> Path:
    """Find the weights file of a network in a folder.

    Parameters
    ----------
    folder : Path or str
        Where the files lie.
    name : str
        One of `KERAS_FILES`.

    Returns
    -------
    Path
        The first of ``<name>.weights.h5``, ``<name>.h5`` and Keras' own name that is there.

    Raises
    ------
    MissingError
        If none is. Whether Keras' own file is whole is checked by its hash when it is loaded.
    """
    for candidate in (f"{name}.weights.h5", f"{name}.h5", KERAS_FILES[name][0]):
        path = Path(folder).expanduser() / candidate
        if path.is_file():
            return path
    raise MissingError(f"There is no weights file of {name} in {folder}. {_ways_out(name)}")


def _check_file(path: Path, name: str) -> None:
    if not path.is_file():
        raise MissingError(f"There is no weights file {path} for {name}. {_ways_out(name)}")
    keras_name, wanted = KERAS_FILES[name]
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
    return (
        f"Pass a file with the network's weights without top: set training.weights to a folder that holds "
        f"{name}.weights.h5, or {KERAS_FILES[name][0]} as Keras offers it for download; "
        'or set training.weights = "none" to start at random.'
    )


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else text[:500] + " ..."
