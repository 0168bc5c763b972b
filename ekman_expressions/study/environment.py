"""What a run went on in: versions, commit, platform and device, for run.json and for bug reports."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from ekman_expressions.study.experiment import find_root, presets

LIBRARIES = (
    "tensorflow",
    "keras",
    "numpy",
    "scipy",
    "pandas",
    "opencv-python",
    "scikit-image",
    "scikit-learn",
    "pillow",
    "mediapipe",
    "lime",
    "matplotlib",
    "onnxruntime",
    "distributed",
)
"""Libraries whose versions are put down; None for those that are not installed."""

_VARIABLES = ("EKMAN_", "TF_", "CUDA_", "KERAS_", "OMP_", "OPENBLAS_", "MKL_", "DASK_", "SLURM_", "XLA_")


def environment() -> dict[str, Any]:
    """Return versions, platform and device: what a reader needs to judge or repeat a run."""
    versions = {name: _version(name) for name in LIBRARIES}
    return {
        "package_version": _version("ekman_expressions"),
        "git": git_state(),
        "python": platform.python_version(),
        "libraries": versions,
        "platform": platform.platform(),
        "device": _device(),
    }


def info() -> dict[str, Any]:
    """Return all that a bug report needs: `environment`, the machine, and what the package finds on it.

    TensorFlow is imported, to know which devices it sees. Of environment variables only those that
    bear on the package and its libraries are named.
    """
    from ekman_expressions.core.startup import start_tensorflow

    start_tensorflow()
    root = find_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free, writable = shutil.disk_usage(existing).free, os.access(existing, os.W_OK)
    found = environment()
    return {
        "ekman_expressions": found["package_version"],
        "commit": _told(found["git"]),
        "installed in": str(Path(__file__).resolve().parent),
        "python": f"{found['python']} ({sys.executable})",
        "platform": found["platform"],
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "device": found["device"],
        "keras backend": _backend(),
        "linear algebra": _linear_algebra(),
        "landmark model": _landmark_model(),
        "root": f"{root} ({free / 1e9:.1f} GB free, {'writable' if writable else 'read-only'})",
        "presets": ", ".join(presets()),
        "libraries": ", ".join(f"{name} {version}" for name, version in found["libraries"].items()),
        "environment": ", ".join(
            f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)
        )
        or "nothing set",
    }


def git_state() -> dict[str, Any] | None:
    """Return the commit of the package's checkout and whether it has changes; None where it is installed."""
    here = Path(__file__).resolve().parent
    try:
        answers = [
            subprocess.run(
                ["git", "-C", str(here), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for command in (
                ("ls-files", Path(__file__).name),
                ("rev-parse", "HEAD"),
                ("status", "--porcelain"),
            )
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    tracked, commit, changes = answers
    # An installed copy may lie below an unrelated repository.
    return {"commit": commit, "dirty": bool(changes)} if tracked else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device() -> str:
    # Asking TensorFlow would import it; a step that has not done so ran on the CPU.
    tensorflow = sys.modules.get("tensorflow")
    gpus = tensorflow.config.list_physical_devices("GPU") if tensorflow else []
    return ", ".join(gpu.name for gpu in gpus) or f"CPU ({platform.machine()})"


def _told(git: dict[str, Any] | None) -> str:
    if git is None:
        return "no checkout"
    return git["commit"] + (", with changes that are not committed" if git["dirty"] else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def _backend() -> str:
    import keras

    return keras.backend.backend()


def _linear_algebra() -> str:
    from threadpoolctl import threadpool_info

    found = {
        f"{pool['internal_api']} {pool['version']} ({pool['num_threads']} threads)"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"


def _landmark_model() -> str:
    from ekman_expressions.core.errors import EkmanExpressionsError
    from ekman_expressions.core.files import sha256
    from ekman_expressions.faces.landmarks import find_model

    try:
        path = find_model(None)
    except (EkmanExpressionsError, OSError) as error:
        return f"not found ({error})"
    return f"{path} (SHA-256 {sha256(path)[:16]})"
