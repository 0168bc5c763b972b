"""A network that trains in a second, with all that has a state; and those of the study, small."""

from dataclasses import replace

from ekman_expressions.zoo.networks import NETWORKS, NetSpec

SIDE = 16
# At which the networks of the study are cheap; the others take 32.
_SIDES = {"InceptionV3": 75, "Xception": 71, "AlexNet": 64, "SilNet": 16, "WeiNet": 16}


class Tiny(NetSpec):
    def _layers(self):
        from keras import layers

        return [
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(4),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.4),
        ]


def register(set_item=dict.__setitem__):
    """Put the network, as 'Tiny', among those that the package knows."""
    set_item(NETWORKS, "Tiny", Tiny("Tiny", SIDE, 0, "adam", 1e-2, 3, False))


def settings(**values):
    """Return training settings with numbers of 'Tiny' among them."""
    numbers = {
        name: values.pop(name) for name in ("epochs", "learning_rate", "optimizer", "schedule") if name in values
    }
    return dict(weights="none", overrides={"Tiny": numbers}, **{"batch_size": 5, **values})


def small(name):
    """Return a network of the study for smaller images: its layers are the same."""
    return replace(NETWORKS[name], side=_SIDES.get(name, 32))
