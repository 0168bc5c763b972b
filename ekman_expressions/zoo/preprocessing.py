"""What each network does first with an image in [0, 1], and whether that suits its weights."""

from __future__ import annotations

from typing import Any

from ekman_expressions.core.errors import check_option

CAFFE_MEANS = (103.939, 116.779, 123.68)
"""Mean blue, green and red of ImageNet, taken off by the networks that come from Caffe."""

_CAFFE = ("VGG16", "VGG19", "ResNet50")
_SIGNED = ("InceptionV3", "ResNet101V2", "Xception")


def native(name: str, images: Any) -> Any:
    """Turn images in [0, 1] into what a network was pre-trained with.

    Parameters
    ----------
    name : str
        One of `ekman_expressions.zoo.applications.KERAS_FILES`.
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


def preprocessing_warning(network: str, preprocessing: str, weights: str) -> str | None:
    """Say why a way of preprocessing and initial weights do not go together.

    Parameters
    ----------
    network : str
        One of `ekman_expressions.zoo.NETWORKS`.
    preprocessing : {'paper', 'native'}
        As in `NetSpec.build`.
    weights : str
        As in `TrainingSettings.weights`: ``'none'``, ``'imagenet'``, ``'released'`` or a folder,
        whose files are taken for weights made on ImageNet.

    Returns
    -------
    str or None
        The reason, for a reader; None where they do go together: with random weights, with
        networks that know only one way, and for the pairs the weights were made with.

    Examples
    --------
    >>> preprocessing_warning("VGG16", "native", "imagenet")
    >>> preprocessing_warning("SongNet", "native", "released")
    """
    from ekman_expressions.zoo import NETWORKS

    check_option(network, "network", NETWORKS)
    check_option(preprocessing, "preprocessing", ("paper", "native"))
    if not NETWORKS[network].pretrained or weights == "none":
        return None
    if weights == "released":
        if preprocessing == "paper":
            return None
        return (
            f"{network}: the released weights were trained on pixels / 255, but preprocessing 'native' "
            'feeds other numbers, so the predictions mean little. Set training.preprocessing = "paper".'
        )
    if preprocessing == "native":
        return None
    if network in _CAFFE:
        reason = "expect BGR gray values with ImageNet's mean taken off, but get RGB in [0, 1]"
    elif network in _SIGNED:
        reason = "expect RGB in [-1, 1], but get [0, 1]"
    else:
        reason = (
            "expect gray values up to 255, which the network rescales inside, but get [0, 1]: "
            "rescaled again, every image is nearly constant"
        )
    return (
        f"{network}: with preprocessing 'paper', ImageNet weights {reason}. The study trained so; for what "
        'the weights were made with, set training.preprocessing = "native".'
    )
