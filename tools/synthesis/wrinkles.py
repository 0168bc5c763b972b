"""Wrinkles that action units make: lines on the front of the face, as a relief and a shade.

Each line is given on the face at rest (x to the side, y up, in dm) for one half and mirrored. The
grooves follow the facial landmarks of FACS's descriptions of appearance changes: furrows between the
brows (4), across the forehead (1, 2), on the bridge of the nose (9), crow's feet (6), the nasolabial
fold (9, 10, 12), below the lip corners (15) and on the chin (17).
"""

from functools import cache

import numpy as np

SIZE = 512
LEFT, RIGHT, BOTTOM, TOP = -0.75, 0.75, 6.35, 8.15
"""What the map covers of the front of the face at rest, in dm."""

_NASOLABIAL = [(0.155, 7.16), (0.20, 7.08), (0.255, 6.98), (0.30, 6.88), (0.315, 6.80)]
_LINES: dict[int, list[tuple[list[tuple[float, float]], float, float]]] = {
    # Unit -> (points, width in dm, depth relative to the deepest).
    1: [
        ([(0.0, 7.74), (0.12, 7.74), (0.24, 7.725)], 0.014, 0.8),
        ([(0.0, 7.82), (0.14, 7.82), (0.28, 7.805)], 0.014, 0.9),
        ([(0.0, 7.9), (0.12, 7.9), (0.24, 7.89)], 0.014, 0.6),
    ],
    2: [
        ([(0.22, 7.74), (0.36, 7.74), (0.48, 7.7)], 0.014, 0.8),
        ([(0.26, 7.81), (0.38, 7.81), (0.50, 7.77)], 0.014, 0.8),
    ],
    4: [
        ([(0.062, 7.45), (0.055, 7.52), (0.062, 7.6)], 0.015, 1.0),
        ([(0.10, 7.5), (0.105, 7.55), (0.12, 7.6)], 0.015, 0.5),
        ([(0.0, 7.405), (0.05, 7.4)], 0.014, 0.5),
    ],
    6: [
        ([(0.49, 7.49), (0.53, 7.505), (0.57, 7.52)], 0.011, 0.4),
        ([(0.49, 7.465), (0.54, 7.46), (0.585, 7.455)], 0.011, 0.6),
        ([(0.48, 7.44), (0.53, 7.42), (0.575, 7.395)], 0.011, 0.6),
        ([(0.20, 7.41), (0.30, 7.375), (0.42, 7.385)], 0.014, 0.5),
    ],
    9: [
        ([(0.0, 7.375), (0.03, 7.37), (0.06, 7.38)], 0.012, 0.6),
        ([(0.0, 7.335), (0.04, 7.33), (0.075, 7.34)], 0.012, 0.7),
        ([(0.05, 7.305), (0.09, 7.27), (0.135, 7.255)], 0.012, 0.8),
        ([(0.06, 7.27), (0.10, 7.23), (0.15, 7.215)], 0.012, 0.7),
        (_NASOLABIAL[:4], 0.018, 1.0),
    ],
    10: [(_NASOLABIAL, 0.018, 0.8)],
    12: [(_NASOLABIAL, 0.018, 0.6)],
    15: [([(0.265, 6.80), (0.285, 6.74), (0.28, 6.68)], 0.014, 0.6)],
    17: [
        ([(0.0, 6.665), (0.08, 6.67), (0.14, 6.69)], 0.016, 0.6),
        ([(0.03, 6.60), (0.05, 6.57)], 0.018, 0.4),
        ([(0.09, 6.61), (0.11, 6.58)], 0.018, 0.4),
        ([(0.0, 6.55), (0.02, 6.54)], 0.018, 0.4),
    ],
}


def coordinates(rest: np.ndarray) -> np.ndarray:
    """Return texture coordinates (n, 2): the head at rest seen from the front; in [0, 1] on the map."""
    return (rest[:, :2] - [LEFT, BOTTOM]) / [RIGHT - LEFT, TOP - BOTTOM]


def relief(units: dict[int, float], depth: float) -> np.ndarray:
    """Return the height (SIZE, SIZE) of the skin, row 0 at the bottom: 0 at rest, negative in grooves."""
    total = np.zeros((SIZE, SIZE))
    for unit, intensity in units.items():
        if unit in _LINES:
            # The deeper one of two units' lines wins where they cross, as in skin.
            total = np.where(np.abs(_of_unit(unit)) * intensity > np.abs(total), _of_unit(unit) * intensity, total)
    return depth * total


@cache
def _of_unit(unit: int) -> np.ndarray:
    """Draw the lines of one unit at intensity 1."""
    x = LEFT + (np.arange(SIZE) + 0.5) / SIZE * (RIGHT - LEFT)
    y = BOTTOM + (np.arange(SIZE) + 0.5) / SIZE * (TOP - BOTTOM)
    height = np.zeros((SIZE, SIZE))
    for points, width, depth in _LINES[unit]:
        for side in (1, -1):
            distance, along = _to_curve(side * x[None, :], y[:, None], points)
            ends = np.clip(4 * np.minimum(along, 1 - along) + (0.4 if points[0][0] == 0 else 0.0), 0, 1)
            groove = -np.exp(-((distance / width) ** 2)) + 0.3 * np.exp(-(((distance - 2 * width) / width) ** 2))
            line = depth * ends * groove
            height = np.where(np.abs(line) > np.abs(height), line, height)
    return height


def _to_curve(x: np.ndarray, y: np.ndarray, points: list) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to a smooth curve through points, and the share of it behind the nearest place."""
    given = np.array(points)
    order = min(2, len(given) - 1)
    t = np.linspace(0, 1, len(given))
    fine = np.linspace(0, 1, 40)
    curve = np.column_stack([np.polyval(np.polyfit(t, given[:, k], order), fine) for k in (0, 1)])
    squared = (x[..., None] - curve[:, 0]) ** 2 + (y[..., None] - curve[:, 1]) ** 2
    nearest = squared.argmin(axis=-1)
    return np.sqrt(squared.min(axis=-1)), fine[nearest]
