"""Random generators that depend on names, never on the order in which things are done."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """Derive a 64-bit seed from an experiment's seed and any number of names.

    Parameters
    ----------
    seed : int
        The experiment's seed.
    *names : object
        What the random numbers are for, e.g. ``"lime", "SongNet_CV1", image_id``. Each is
        used through its ``str``.

    Returns
    -------
    int, range [0, 2**64)
        The first 8 bytes of the SHA-256 of seed and names: equal on every platform.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def generator(seed: int, *names: object) -> np.random.Generator:
    """Return a NumPy generator for `names`; see `derive_seed`."""
    return np.random.default_rng(derive_seed(seed, *names))
