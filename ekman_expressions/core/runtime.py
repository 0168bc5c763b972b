"""Random generators that depend on names, and starting TensorFlow and MediaPipe in silence."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """Derive a 64-bit seed from an experiment's seed and any number of names.

    Parameters
    ----------
    seed : int
        The experiment's seed.
    *names : object
        What the random numbers are for, e.g. ``"lime", "SongNet_CV1", image_id``: they never depend on the
        order in which things are done. Each is used through its ``str``.

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


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Send what is written to the process' standard error nowhere; exceptions still come out.

    For blocks that import TensorFlow or MediaPipe (which imports TensorFlow), or call their C++ parts, which
    write past Python. Torch's compiler is loaded before these, if it is there: all bring an LLVM of their own,
    and in the other order the process crashes, without a word.
    """
    if "tensorflow" not in sys.modules:
        with contextlib.suppress(ImportError):
            import triton  # noqa: F401
    if sys.stderr is None:  # as under pythonw or a service: descriptor 2 may be any other file
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def start_tensorflow() -> None:
    """Import TensorFlow and let it look for GPUs, once, in silence.

    On a machine without a GPU it reports a dozen lines of what it did not find; they would
    bury the progress bars.
    """
    if "tensorflow" in sys.modules:
        return
    with silent_stderr():
        import tensorflow

        tensorflow.config.list_physical_devices("GPU")
