"""Data as scripts: a page opened from disk may load a script beside it, but may not read a file."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ekman_expressions.storage import atomic_path


def pack(image: np.ndarray) -> str:
    """Write an image as text that ``Ekman.unpack`` reads back to the bit.

    Parameters
    ----------
    image : (H, W) ndarray of uint8, uint16 or bool

    Returns
    -------
    str
        Base64 of the zlib stream of each row's bytes less those of the row above (mod 256),
        which is PNG's filter "Up".
    """
    image = np.ascontiguousarray(image)
    little = image.astype(image.dtype.newbyteorder("<"), copy=False)
    rows = little.view(np.uint8).reshape(len(image), -1)
    differences = np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]), np.uint8))
    return base64.b64encode(zlib.compress(differences.tobytes(), 9)).decode()


def as_script(value: Any) -> str:
    """Write a JSON-able value as an expression of JavaScript that cannot close its script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def write_call(path: Path, function: str, *values: Any) -> None:
    """Write a script that calls a function with JSON-able values."""
    with atomic_path(path) as temporary:
        arguments = ",".join(as_script(value) for value in values)
        temporary.write_text(f"{function}({arguments});\n", encoding="utf-8")
