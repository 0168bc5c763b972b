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

from ekman_expressions.core.errors import EkmanExpressionsError
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.faces.landmarks import find_model
from ekman_expressions.study.experiment import find_root, presets

_LIBRARIES = """
    tensorflow keras numpy scipy pandas opencv-python scikit-image scikit-learn pillow mediapipe lime matplotlib
    onnxruntime torch distributed
""".split()
_VARIABLES = ("EKMAN_", "TF_", "CUDA_", "KERAS_", "OMP_", "OPENBLAS_", "MKL_", "DASK_", "SLURM_", "XLA_")


def environment() -> dict[str, Any]:
    """Return versions, platform and device: what a reader needs to judge or repeat a run."""
    # Asking TensorFlow would import it; a step that has not done so ran on the CPU.
    tensorflow = sys.modules.get("tensorflow")
    gpus = tensorflow.config.list_physical_devices("GPU") if tensorflow else []
    return {
        "package_version": _version("ekman_expressions"),
        "git": _git_state(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "platform": platform.platform(),
        "device": ", ".join(gpu.name for gpu in gpus) or f"CPU ({platform.machine()})",
    }


def info() -> dict[str, Any]:
    """Return all that a bug report needs: `environment`, the machine, and what the package finds on it.

    Of environment variables only those that bear on the package and its libraries are named.
    """
    start_tensorflow()
    import keras
    from threadpoolctl import threadpool_info

    root, found = find_root(), environment()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    writable = "writable" if os.access(existing, os.W_OK) else "read-only"
    blas = {
        f"{pool['internal_api']} {pool['version']}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    variables = [
        f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)
    ]
    try:
        landmark_model = find_model()
    except (EkmanExpressionsError, OSError) as error:
        landmark_model = f"not found ({error})"
    return {
        "ekman_expressions": found["package_version"],
        "commit": found["git"] or "no checkout",
        "installed in": Path(__file__).resolve().parent,
        "python": f"{found['python']} ({sys.executable})",
        "platform": f"{found['platform']}, {os.cpu_count()} cores",
        "device": found["device"],
        "keras backend": keras.backend.backend(),
        "linear algebra": ", ".join(sorted(blas)) or "unknown",
        "landmark model": landmark_model,
        "root": f"{root} ({shutil.disk_usage(existing).free / 1e9:.1f} GB free, {writable})",
        "presets": ", ".join(presets()),
        "libraries": ", ".join(f"{name} {version}" for name, version in found["libraries"].items()),
        "environment": ", ".join(variables) or "nothing set",
    }


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the package's checkout and whether it has changes; None where it is installed."""
    here = Path(__file__).resolve()
    commands = (["ls-files", here.name], ["rev-parse", "HEAD"], ["status", "--porcelain"])
    run = {"cwd": here.parent, "capture_output": True, "text": True, "check": True, "timeout": 10}
    try:
        said = [subprocess.run(["git", *command], **run).stdout.strip() for command in commands]
    except (OSError, subprocess.SubprocessError):
        return None
    # An installed copy may lie below an unrelated repository.
    return {"commit": said[1], "dirty": bool(said[2])} if said[0] else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
