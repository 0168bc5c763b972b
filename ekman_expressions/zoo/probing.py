"""How many images go through a Keras model at once: chosen by a short probe, and kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import read_json, write_json
from ekman_expressions.zoo.asking import GROUP, Asker

CANDIDATES: tuple[int, ...] = (10, 25, 50)
"""Group sizes that the probe tries; memory is bounded by the largest."""

GAIN = 0.05
"""By how much less time an image must take for another size than `GROUP` to be chosen."""

WORTH = 20_000
"""A model that is asked about fewer images is not probed: the probe itself takes some 350."""

_ROUNDS = 4


def kept_group(path: Path) -> int | None:
    """Return the size that was chosen earlier, or None if none was.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    if not path.exists():
        return None
    stored = read_json(path)
    group = stored.get("group") if isinstance(stored, dict) else None
    if not isinstance(group, int) or isinstance(group, bool) or group < 1:
        raise DataError(f"{path} should hold a group size, but holds {stored!r}. Delete its folder.")
    return group


def keep_group(path: Path, group: int) -> None:
    """Write the size that is in use, for runs that go on with the same model's records."""
    write_json(path, {"group": group})


def probe_group(model: Any, image: np.ndarray, *, precision: str = "float32") -> int:
    """Return the group size with which a Keras model takes least time per image.

    `CANDIDATES` are tried in turns, and the shortest time of each counts. `GROUP` is kept unless
    another size saves `GAIN`; sizes that memory is too short for are left out.

    Parameters
    ----------
    model : keras.Model
        Which is to be asked.
    image : (H, W, 3) ndarray of float, range [0, 1]
        Any of its images.
    precision : {'float32', 'bfloat16', 'float16'}
        In which it will compute.
    """
    askers = {size: Asker(model, group=size, precision=precision) for size in CANDIDATES}
    segments = np.zeros(image.shape[:2], np.int32)
    seconds: dict[int, float] = {}
    for turn in range(_ROUNDS):
        for size, asker in askers.items():
            start = time.perf_counter()
            asker.ask(image, segments, np.ones((size, 1), bool))
            elapsed = (time.perf_counter() - start) / size
            # The first turn prepares the model for each size.
            if turn and asker.at_once == size:
                seconds[size] = min(elapsed, seconds.get(size, np.inf))
    if not seconds:
        return min(asker.at_once for asker in askers.values())
    best = min(seconds, key=seconds.__getitem__)
    return GROUP if seconds.get(GROUP, np.inf) * (1 - GAIN) <= seconds[best] else best
