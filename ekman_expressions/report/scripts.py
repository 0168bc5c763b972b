"""Data as scripts: a page opened from disk may load a script beside it, but may not read a file."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ekman_expressions.core.files import atomic_path


def pack(image: np.ndarray) -> str:
    """Write an image as text that ``Ekman.unpack`` reads back to the bit.

    Parameters
    ----------
    image : (H, W) ndarray of uint8, uint16 or bool

    Returns
    -------
    str
        Base85 (`base64.b85encode`, with "," for "<", which would have to be escaped) of the zlib
        stream of each byte less its prediction (mod 256). That is the median of the byte to the
        left, the one above, and left + above - upper left, with 0 beyond the edges: the predictor of
        JPEG-LS, doi:10.1109/83.855427.
    """
    image = np.ascontiguousarray(image)
    little = image.astype(image.dtype.newbyteorder("<"), copy=False)
    rows = little.view(np.uint8).reshape(len(image), -1).astype(np.int16)
    padded = np.pad(rows, ((1, 0), (1, 0)))
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    low, high = np.minimum(left, above), np.maximum(left, above)
    rest = (rows - np.clip(left + above - corner, low, high)).astype(np.uint8)
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    packed = compressor.compress(rest.tobytes()) + compressor.flush()
    return base64.b85encode(packed).decode().replace("<", ",")


def as_script(value: Any) -> str:
    """Write a JSON-able value as an expression of JavaScript that cannot close its script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def write_call(path: Path, function: str, *values: Any) -> None:
    """Write a script that calls a function with JSON-able values."""
    with atomic_path(path) as temporary:
        arguments = ",".join(as_script(value) for value in values)
        temporary.write_text(f"{function}({arguments});\n", encoding="utf-8")
