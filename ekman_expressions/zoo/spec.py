"""What defines each network: input, exact size, training numbers, preprocessing (DESIGN §3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import SettingsError, check_option, check_range
from ekman_expressions.core.startup import start_tensorflow


@dataclass(frozen=True)
class NetSpec:
    """Specification of one network.

    Attributes
    ----------
    name : str
        The network's name in files and tables.
    side : int, pixels
        Side of the square RGB input.
    parameters : int
        Parameters with six classes, weights that do not train included.
    optimizer : {'adam', 'rmsprop'}
        Optimiser of the study.
    learning_rate : float
        Learning rate of the study.
    epochs : int
        Epochs of the study.
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
        weights: str | Path | None = "none",
        preprocessing: str = "paper",
        classes: int = 6,
        batch_norm_momentum: float | None = None,
    ) -> keras.Model:
        """Build the network as one flat functional graph, from the image to the softmax.

        Parameters
        ----------
        weights : {'none', 'imagenet'}, None or path
            Where the weights start: at random (``'none'`` or None), at those of ImageNet
            (downloaded by Keras), or at a file with the weights of the network without its top,
            as Keras Applications write them. The networks that are trained from scratch only know ``'none'``.
        preprocessing : {'paper', 'native'}
            What the graph does first with an image in [0, 1]: nothing, or turning it into the
            range and channel order the network was pre-trained with. Networks that are trained
            from scratch have no other way than the first.
        classes : int, >= 2
            Outputs of the softmax.
        batch_norm_momentum : float, range [0, 1], optional
            Momentum of all batch normalisations; by default as the network has it.

        Returns
        -------
        keras.Model
            ``(N, side, side, 3)`` float32 RGB images in [0, 1] to ``(N, classes)``
            probabilities. Not compiled.

        Raises
        ------
        SettingsError
            If an argument has no meaning for this network.
        MissingError
            If the weights cannot be downloaded, or the file is not there.
        ModelError
            If the file holds the weights of another network.
        """
        start_tensorflow()
        import keras

        weights = "none" if weights is None else str(weights)
        check_option(preprocessing, "preprocessing", ("paper", "native"))
        check_range(classes, "classes", 2, integer=True)
        if batch_norm_momentum is not None:
            check_range(batch_norm_momentum, "batch_norm_momentum", 0, 1)
        if self.pretrained:
            from ekman_expressions.zoo.applications import build

            model = build(self.name, self.side, classes, weights, preprocessing)
        elif weights == "none":
            from ekman_expressions.zoo.scratch import build

            model = build(self.name, self.side, classes)
        else:
            raise SettingsError(
                f"{self.name} is trained from scratch: 'weights' must be 'none', but got {weights!r}."
            )
        if batch_norm_momentum is not None:
            for layer in model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.momentum = batch_norm_momentum
        return model


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
