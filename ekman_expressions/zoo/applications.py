"""The eight networks of Keras Applications, flat, with preprocessing and head in one graph."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekman_expressions.errors import MissingError, ModelError

if TYPE_CHECKING:
    import keras

KERAS_FILES: dict[str, str] = {
    "InceptionV3": "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "VGG19": "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "VGG16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "ResNet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "ResNet101V2": "resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "Xception": "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "MobileNetV3Large": "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    "EfficientNetV2B0": "efficientnetv2-b0_notop.h5",
}
"""What Keras calls the file of each network's ImageNet weights without top."""

CAFFE_MEANS = (103.939, 116.779, 123.68)
"""Mean blue, green and red of ImageNet, taken off by the networks that come from Caffe."""

_CAFFE = ("VGG16", "VGG19", "ResNet50")
_SIGNED = ("InceptionV3", "ResNet101V2", "Xception")


def build(name: str, side: int, classes: int, weights: str, preprocessing: str) -> keras.Model:
    """Build a network of `KERAS_FILES`: preprocessing, backbone, average pooling, softmax.

    The parameters are those of `NetSpec.build`, which is where to read on.
    """
    import keras

    inputs = keras.Input((side, side, 3), name="image")
    values = native(name, inputs) if preprocessing == "native" else inputs
    if weights not in ("none", "imagenet") and not Path(weights).is_file():
        raise MissingError(f"There is no weights file {weights} for {name}. {_ways_out(name)}")
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


def native(name: str, images: Any) -> Any:
    """Turn images in [0, 1] into what a network was pre-trained with.

    Parameters
    ----------
    name : str
        One of `KERAS_FILES`.
    images : KerasTensor, (N, side, side, 3)
        RGB in [0, 1].

    Returns
    -------
    KerasTensor, (N, side, side, 3)
        BGR minus its mean over ImageNet, in gray values (VGG16, VGG19, ResNet50); RGB in
        [-1, 1] (InceptionV3, ResNet101V2, Xception); or RGB in [0, 255] (MobileNetV3Large and
        EfficientNetV2B0, which rescale inside). The same as the networks' own
        ``preprocess_input`` gives for gray values.
    """
    import keras

    if name in _CAFFE:
        reversed_channels = keras.ops.flip(images, axis=-1)
        means = [-mean for mean in CAFFE_MEANS]
        return keras.layers.Rescaling(255.0, means, name="gray_values_from_mean")(reversed_channels)
    if name in _SIGNED:
        return keras.layers.Rescaling(2.0, -1.0, name="from_minus_one_to_one")(images)
    return keras.layers.Rescaling(255.0, name="gray_values")(images)


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
        If none is.
    """
    for candidate in (f"{name}.weights.h5", f"{name}.h5", KERAS_FILES[name]):
        path = Path(folder).expanduser() / candidate
        if path.is_file():
            return path
    raise MissingError(f"There is no weights file of {name} in {folder}. {_ways_out(name)}")


def _ways_out(name: str) -> str:
    return (
        f"Pass a file with the network's weights without top: set training.weights to a folder that holds "
        f"{name}.weights.h5, or {KERAS_FILES[name]} as Keras offers it for download; "
        "or set training.weights = \"none\" to start at random."
    )


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else text[:500] + " ..."
