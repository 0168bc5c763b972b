"""Devices and precision: what a training runs on, and how much memory it took."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def strategy_for(devices: str) -> tf.distribute.Strategy:
    """Return how a batch is shared: among all GPUs with ``devices = "all"``, else not at all.

    Without a GPU, ``"all"`` takes the logical CPU devices, of which there is one unless
    TensorFlow was told otherwise.
    """
    import tensorflow as tf

    if devices == "one":
        return tf.distribute.get_strategy()
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < 2:
        return tf.distribute.get_strategy()
    names = [device.name for device in found]
    if found[0].device_type == "GPU":
        return tf.distribute.MirroredStrategy(names)
    # NCCL, the default, only knows GPUs.
    return tf.distribute.MirroredStrategy(names, tf.distribute.ReductionToOneDevice())


def notes_on(devices: str, precision: str) -> list[str]:
    """Say where the settings do not fit the machine."""
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    notes = []
    if precision == "mixed_float16" and not gpus:
        notes.append(
            "training.precision is mixed_float16, but there is no GPU: a CPU calculates in 16 bits "
            "no faster, often more slowly, and no more precisely"
        )
    if devices == "one" and gpus > 1:
        notes.append(f'one of {gpus} GPUs is used; training.devices = "all" shares each batch among them')
    if devices == "all" and gpus < 2:
        notes.append(f'training.devices is "all", but TensorFlow sees {gpus} GPUs')
    return notes


def threads() -> int:
    """Return how many threads share an operation of TensorFlow on the CPU.

    The last bits of a convolution's gradients depend on it, and so does a trained model.
    """
    import tensorflow as tf

    chosen = tf.config.threading.get_intra_op_parallelism_threads()
    return chosen or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or os.cpu_count() or 1


def mixed_copy(model: keras.Model) -> keras.Model:
    """Return a copy of a model that calculates in 16 bits, with 32-bit weights of the same values.

    The last layer stays at 32 bits, since small probabilities vanish in 16.
    """
    import keras

    last = model.layers[-1].name

    def lower(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer.name != last:
            config["dtype"] = "mixed_float16"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=lower)
    copy.set_weights(model.get_weights())
    return copy


def peak_memory() -> float | None:
    """Return the largest memory of this process since its start, in MB (10^6 bytes).

    Resident memory of the machine, not of a GPU; None on Windows.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        # The resource module would count in the process that started this one.
        return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) * 1024 / 1e6
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Only macOS counts in bytes.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def gpu_memory() -> float | None:
    """Return the largest memory that TensorFlow took on any one GPU, in MB; None without a GPU."""
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return None
    names = [gpu.name.removeprefix("/device:") for gpu in gpus]
    return max(tf.config.experimental.get_memory_info(name)["peak"] for name in names) / 1e6
