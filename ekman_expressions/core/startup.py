"""Starting TensorFlow and MediaPipe without the notes that their C++ parts write past Python."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Send what is written to the process' standard error nowhere; exceptions still come out."""
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


def load_triton_first() -> None:
    """Load torch's compiler, if it is there, before TensorFlow and MediaPipe (which imports TensorFlow).

    Both bring an LLVM of their own: in the other order the process crashes, without a word.
    """
    if "tensorflow" not in sys.modules:
        with contextlib.suppress(ImportError):
            import triton  # noqa: F401


def start_tensorflow() -> None:
    """Import TensorFlow and let it look for GPUs, once, in silence.

    On a machine without a GPU it reports a dozen lines of what it did not find; they would
    bury the progress bars.
    """
    if "tensorflow" in sys.modules:
        return
    load_triton_first()
    with silent_stderr():
        import tensorflow

        tensorflow.config.list_physical_devices("GPU")
