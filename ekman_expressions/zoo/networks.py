"""The twelve networks of the study: input, exact size, training numbers, preprocessing and layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import MissingError, SettingsError, check_option, check_range
from ekman_expressions.core.runtime import start_tensorflow

_CAFFE = ("VGG16", "VGG19", "ResNet50")
# Below this Keras Applications have nothing left to convolve.
_SMALLEST = {"InceptionV3": 75, "Xception": 71}
_SIGNED = ("InceptionV3", "ResNet101V2", "Xception")


@dataclass(frozen=True)
class NetSpec:
    """One network: its input, its exact size, and the study's numbers for its training.

    Attributes
    ----------
    name : str
        The network's name in files and tables.
    side : int, pixels
        Side of the square RGB input.
    parameters : int
        Parameters with six classes, weights that do not train included.
    optimizer : {'adam', 'rmsprop'}
    learning_rate : float
    epochs : int
    pretrained : bool
        Whether the study started from ImageNet weights.
    """

    name: str
    side: int
    parameters: int
    optimizer: str
    learning_rate: float
    epochs: int
    pretrained: bool

    def build(
        self,
        weights: str = "none",
        preprocessing: str = "paper",
        classes: int = 6,
        batch_norm_momentum: float | None = None,
        side: int | None = None,
    ) -> keras.Model:
        """Build the network as one flat functional graph, from the image to the softmax.

        Parameters
        ----------
        weights : {'none', 'imagenet'}
            Where the weights start: at random, or at those of ImageNet, which Keras downloads. The networks
            that are trained from scratch only know ``'none'``.
        preprocessing : {'paper', 'native'}
            What the graph does first with an image in [0, 1]: nothing, or turning it into the
            range and channel order the network was pre-trained with, if it was.
        classes : int, >= 2
            Outputs of the softmax.
        batch_norm_momentum : float, range [0, 1], optional
            Momentum of all batch normalisations; by default as the network has it.
        side : int, optional
            Side of the input in pixels; by default the study's. At least 32 (InceptionV3 75, Xception 71). A
            smaller one is faster, and where a network ends in dense layers it has fewer parameters.

        Returns
        -------
        keras.Model
            ``(N, side, side, 3)`` float32 RGB images in [0, 1] to ``(N, classes)`` probabilities.

        Raises
        ------
        SettingsError, MissingError
            If an argument has no meaning for this network; if the weights cannot be downloaded.
        """
        start_tensorflow()
        import keras

        check_option(weights, "weights", ("none", "imagenet"))
        check_option(preprocessing, "preprocessing", ("paper", "native"))
        check_range(classes, "classes", 2, integer=True)
        if batch_norm_momentum is not None:
            check_range(batch_norm_momentum, "batch_norm_momentum", 0, 1)
        if not self.pretrained and weights != "none":
            raise SettingsError(f"{self.name} is trained from scratch: 'weights' must be 'none', but got {weights!r}.")
        if side not in (None, self.side):
            check_range(side, f"side of {self.name}", _SMALLEST.get(self.name, 32), integer=True)
        side = side or self.side
        inputs = keras.Input((side, side, 3), name="image")
        if self.pretrained:
            values = _native(self.name, inputs) if preprocessing == "native" else inputs
            backbone = _backbone(self.name, values, weights)
            features = keras.layers.GlobalAveragePooling2D(name="average")(backbone.output)
        else:
            features = inputs
            for layer in self._layers():
                features = layer(features)
        outputs = keras.layers.Dense(classes, activation="softmax", name="probabilities")(features)
        model = keras.Model(inputs, outputs, name=self.name)
        for layer in model.layers if batch_norm_momentum is not None else ():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = batch_norm_momentum
        return model

    def _layers(self) -> list[keras.Layer]:
        """Make the layers between input and softmax of a network that is trained from scratch."""
        from keras import layers

        initial = {"kernel_initializer": "glorot_normal"} if self.name == "SilNet" else {}

        def conv(filters: int, size: int, stride: int = 1) -> keras.Layer:
            return layers.Conv2D(filters, size, stride, padding="same", activation="relu", **initial)

        def pool(size: int, stride: int) -> keras.Layer:
            return layers.MaxPooling2D(size, stride, padding="same")

        def dense(units: int) -> keras.Layer:
            return layers.Dense(units, activation="relu", **initial)

        if self.name == "SilNet":
            return [
                *(conv(32, 11), pool(2, 2)),
                *(conv(32, 7), conv(32, 7), pool(2, 1)),
                *(conv(64, 5), conv(64, 5), pool(2, 1)),
                *(layers.Flatten(), dense(512), layers.Dropout(0.5), dense(512)),
            ]
        if self.name == "WeiNet":
            return [
                *(conv(32, 7), pool(2, 1)),
                *(conv(32, 7), pool(2, 1)),
                *(conv(64, 7), pool(2, 1)),
                layers.Flatten(),
            ]
        if self.name == "AlexNet":
            return [
                *(conv(96, 11, 4), pool(3, 2)),
                *(conv(256, 5), pool(3, 2)),
                *(conv(384, 3), conv(384, 3), conv(256, 3), pool(3, 2)),
                *(layers.Flatten(), dense(4096), layers.Dropout(0.4)),
                *(dense(4096), dense(4096), layers.Dropout(0.4)),
            ]
        # SongNet
        return [
            *(conv(64, 5), pool(3, 2)),
            *(conv(64, 5), pool(3, 2)),
            *(conv(32, 3), pool(3, 2), layers.Dropout(0.5)),
            *(conv(32, 3), pool(3, 2), layers.Dropout(0.5)),
            layers.Flatten(),
        ]


NETWORKS: dict[str, NetSpec] = {
    spec.name: spec
    for spec in (
        NetSpec("SilNet", 150, 184_852_038, "adam", 1e-4, 10, False),
        NetSpec("WeiNet", 64, 1_728_230, "rmsprop", 1e-4, 10, False),
        NetSpec("AlexNet", 224, 88_718_726, "rmsprop", 1e-4, 10, False),
        NetSpec("SongNet", 224, 172_678, "rmsprop", 1e-4, 25, False),
        NetSpec("InceptionV3", 224, 21_815_078, "adam", 1e-4, 2, True),
        NetSpec("VGG19", 224, 20_027_462, "adam", 1e-4, 2, True),
        NetSpec("VGG16", 224, 14_717_766, "adam", 1e-4, 2, True),
        NetSpec("ResNet50", 224, 23_600_006, "adam", 1e-4, 2, True),
        NetSpec("ResNet101V2", 224, 42_638_854, "adam", 1e-4, 2, True),
        NetSpec("Xception", 224, 20_873_774, "adam", 1e-4, 2, True),
        NetSpec("MobileNetV3Large", 224, 3_002_118, "adam", 1e-6, 15, True),
        NetSpec("EfficientNetV2B0", 224, 5_926_998, "adam", 1e-6, 10, True),
    )
}


# --- the eight networks of Keras Applications


def _backbone(name: str, values: Any, weights: str) -> keras.Model:
    import keras

    start = None if weights == "none" else weights
    try:
        return getattr(keras.applications, name)(include_top=False, input_tensor=values, weights=start)
    except Exception as error:
        # Keras raises plain Exception when a download fails.
        if start is None or isinstance(error, (ValueError, TypeError)):
            raise
        raise MissingError(
            f"The ImageNet weights of {name} could not be downloaded ({' '.join(str(error).split())[:500]}). Copy the "
            'file that the address names to ~/.keras/models, or set training.weights = "none" to start at random.'
        ) from error


def _native(name: str, images: Any) -> Any:
    """Turn images in [0, 1] into what a network was pre-trained with, as its own ``preprocess_input`` does:
    BGR less ImageNet's mean in gray values; RGB in [-1, 1]; or RGB in [0, 255].
    """
    import keras

    if name in _CAFFE:
        less = [-103.939, -116.779, -123.68]
        bgr = keras.ops.flip(images, axis=-1)
        return keras.layers.Rescaling(255.0, less, name="gray_values_from_mean")(bgr)
    if name in _SIGNED:
        return keras.layers.Rescaling(2.0, -1.0, name="from_minus_one_to_one")(images)
    return keras.layers.Rescaling(255.0, name="gray_values")(images)


def _preprocessing_warning(network: str, preprocessing: str, weights: str) -> str | None:
    """Say why a way of preprocessing and initial weights do not go together, or None."""
    suits = "paper" if weights == "released" else "native"
    if not NETWORKS[network].pretrained or weights == "none" or preprocessing == suits:
        return None
    if weights == "released":
        expected = "pixels / 255, but get other numbers"
    elif network in _CAFFE:
        expected = "BGR gray values with ImageNet's mean taken off, but get RGB in [0, 1]"
    elif network in _SIGNED:
        expected = "RGB in [-1, 1], but get [0, 1]"
    else:
        expected = "gray values up to 255, but get [0, 1]: rescaled again inside, every image is nearly constant"
    return (
        f"{network}: with preprocessing {preprocessing!r}, the weights ({weights}) expect {expected}. Set "
        f'training.preprocessing = "{suits}"'
        + ("." if weights == "released" else " for what they were made with; the study trained as it is.")
    )
