"""Variables in blocks of some megabytes: SilNet's largest has 0.7 GB, of which no copy is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


VALUES = 2**22
"""Values in a block, unless one row has more."""


def blocks(variable: keras.Variable) -> Iterator[np.ndarray]:
    """Yield a variable's values row by row (its first axis), in as many rows at a time as make a block.

    Yields
    ------
    ndarray
        (rows, ...) of the variable's type; of a variable without axes itself.
    """
    import tensorflow as tf

    # No copy: the tensor is the variable's own memory.
    values = tf.convert_to_tensor(variable.value)
    if values.shape.rank == 0:
        yield values.numpy()
        return
    rows = max(1, VALUES // max(1, math.prod(values.shape[1:])))
    for start in range(0, values.shape[0], rows):
        yield values[start : start + rows].numpy()


def is_finite(variable: keras.Variable) -> bool:
    """Whether a variable holds neither NaN nor infinity."""
    return all(np.isfinite(block).all() for block in blocks(variable))
