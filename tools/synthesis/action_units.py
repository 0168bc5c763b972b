"""FACS action units as sums of face shapes, the six expressions, and the probes, as recipes of units.

The units of the expressions are the prototypes of Ekman, Friesen and Hager, *Facial Action Coding
System: Investigator's Guide* (2002), and variants of them, with intensities of our choice.
"""

from dataclasses import dataclass

import numpy as np


def _both(shape: str, weight: float = 1.0) -> dict[str, float]:
    return {f"{shape}Left": weight, f"{shape}Right": weight}


SHAPES: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.8},
    2: _both("browOuterUp", 1.3),
    4: _both("browDown", 1.5),
    5: _both("eyeWide", 2.3),
    6: {**_both("cheekRaise"), **_both("eyeSquint", 0.35)},
    7: _both("eyeSquint"),
    9: {**_both("noseWrinkle", 2.4), **_both("mouthUpperUp", 0.3), **_both("cheekRaise", 0.4)},
    10: _both("mouthUpperUp"),
    12: _both("mouthSmile"),
    15: _both("mouthFrown"),
    16: _both("mouthLowerDown"),
    17: {"mouthShrugLower": 1.0},
    # mouthStretch alone pulls the lip corners down, which reads as sadness.
    20: {**_both("mouthStretch", 1.8), **_both("mouthSmile", 0.2)},
    # mouthPress alone lifts the lip corners, which reads as a smirk: hold them down.
    23: {
        **_both("mouthPress", 0.5),
        "mouthRollUpper": 0.35,
        "mouthRollLower": 0.35,
        **_both("mouthFrown", 0.3),
    },
    24: {**_both("mouthPress", 0.6), "mouthPucker": 0.15, **_both("mouthFrown", 0.35)},
    25: {"jawOpen": 0.12, **_both("mouthLowerDown", 0.25), **_both("mouthUpperUp", 0.15)},
    26: {"jawOpen": 0.45},
    27: {"jawOpen": 1.0},
    43: _both("eyeBlink"),
    64: _both("eyeLookDown"),
}
"""Action unit -> weights of face shapes at intensity 1."""

_LIMITS = {
    "browInnerUp": 2.2,
    "browOuterUp": 1.6,
    "browDown": 1.9,
    "eyeWide": 2.5,
    "noseWrinkle": 3.2,
    "mouthUpperUp": 1.4,
    "mouthLowerDown": 1.4,
    "mouthStretch": 2.1,
}
"""Largest weight of a shape before it breaks; 1.15 for all others."""

PROTOTYPES: dict[str, list[dict[int, float]]] = {
    "anger": [
        {4: 1.0, 5: 0.65, 7: 0.45, 17: 0.65, 23: 0.5},
        {4: 1.0, 5: 0.75, 7: 0.25, 10: 0.1, 23: 0.25, 25: 0.8, 26: 0.6},
        {4: 1.0, 5: 0.6, 7: 0.9, 17: 0.9, 23: 0.5, 24: 0.6},
    ],
    "disgust": [
        {9: 1.0, 10: 0.5, 6: 0.4, 7: 1.0, 15: 0.4, 17: 0.5, 43: 0.2},
        {9: 1.0, 10: 0.6, 7: 1.0, 16: 0.3, 25: 0.4, 43: 0.35},
        {9: 1.0, 10: 0.7, 6: 0.5, 7: 0.9, 15: 0.5, 16: 0.3, 25: 0.3, 43: 0.25},
    ],
    "fear": [
        {1: 1.0, 2: 0.9, 4: 0.1, 5: 1.0, 20: 1.0, 25: 0.1},
        {1: 1.0, 2: 0.7, 4: 0.1, 5: 1.0, 20: 0.9, 25: 0.3, 26: 0.35},
    ],
    "happiness": [
        {6: 1.0, 12: 0.9},
        {6: 1.0, 12: 1.0, 25: 0.8, 26: 0.25},
        {6: 1.0, 12: 1.0, 25: 1.0, 26: 0.55},
    ],
    "sadness": [
        {1: 1.0, 4: 0.7, 15: 1.0, 17: 0.5, 64: 0.15},
        {1: 1.0, 4: 0.5, 15: 0.8, 43: 0.25, 64: 0.3},
        {1: 1.0, 4: 0.8, 15: 1.0, 17: 0.9, 7: 0.3},
    ],
    "surprise": [
        {1: 0.9, 2: 1.0, 5: 0.65, 26: 1.0, 25: 0.3},
        {1: 0.9, 2: 1.0, 5: 0.7, 27: 0.75},
    ],
}
"""Expression -> its prototypes, which take turns over persons and variants."""

PROBES: dict[str, dict[str, dict[int, float]]] = {
    "brows": {"raised": {1: 1.0, 2: 1.0}, "lowered": {4: 1.0}},
    "eyes": {"wide": {5: 1.0}, "closed": {43: 1.0}},
    "mouth": {"smile": {12: 1.0}, "frown": {15: 1.0, 17: 0.5}},
}
"""Probe -> label -> action units: faces that differ from their neutral in one region only."""


@dataclass(frozen=True)
class Expression:
    """What a face does.

    Attributes
    ----------
    units : dict of int to float
        Intensity of each active action unit, as rendered.
    shapes : dict of int to dict
        The weights of face shapes that each unit alone asks for.
    """

    units: dict[int, float]
    shapes: dict[int, dict[str, float]]

    def together(self) -> dict[str, float]:
        """Return the weights of all units together, none above its limit."""
        total: dict[str, float] = {}
        for shapes in self.shapes.values():
            for name, weight in shapes.items():
                total[name] = total.get(name, 0.0) + weight
        return {name: min(weight, _limit(name)) for name, weight in total.items()}


def express(recipe: dict[int, float], intensity: float, rng: np.random.Generator) -> Expression:
    """Vary a recipe: 10 % per unit, and 5 % per face shape, so that left and right differ a little."""
    units, shapes = {}, {}
    for unit, weight in recipe.items():
        units[unit] = weight * intensity * max(0.0, 1 + rng.normal(0, 0.10))
        shapes[unit] = {
            name: units[unit] * share * max(0.0, 1 + rng.normal(0, 0.05)) for name, share in SHAPES[unit].items()
        }
    return Expression(units, shapes)


def _limit(shape: str) -> float:
    return _LIMITS.get(shape.removesuffix("Left").removesuffix("Right"), 1.15)
