"""Models as files: equal models have equal bytes, and nothing in a file is run when it is read."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekman_expressions.errors import EkmanExpressionsError, ModelError
from ekman_expressions.startup import start_tensorflow
from ekman_expressions.storage import atomic_path

if TYPE_CHECKING:
    import keras

NO_DATE = "1980-01-01@00:00:00"
"""Put where Keras notes when a model was saved."""


class SavingError(EkmanExpressionsError, OSError):
    """A file could not be written: most often because the disk is full."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` while `path` is written into a `SavingError` that says what to do."""
    try:
        yield
    except SavingError:
        raise
    except OSError as error:
        raise SavingError(
            f"{path} could not be written ({error}). Nothing of it is left. Make room on the disk, or see "
            "to it that the folder may be written to, and run the step again: it goes on where it stood."
        ) from error


def save(model: keras.Model, path: Path) -> None:
    """Write a ``.keras`` file atomically; equal models give equal bytes.

    Keras puts the time into the archive and its metadata, and addresses in memory, as the
    names of shared objects, into the configuration. Both are replaced.

    Raises
    ------
    SavingError
        If the disk is full; an earlier `path` stays as it was, and no part of a new one is left.
    """
    with disk_errors(path), atomic_path(path) as temporary:
        dated = temporary.with_name(f".dated-{path.name}")
        try:
            model.save(dated)
            _write_timeless(dated, temporary)
        finally:
            dated.unlink(missing_ok=True)


def load(path: Path) -> keras.Model:
    """Read a ``.keras`` file in safe mode, not compiled.

    Raises
    ------
    ModelError
        If the file is damaged, or holds code.
    """
    start_tensorflow()
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Depending on where the damage is, Keras, zipfile, h5py or json raise.
        raise ModelError(f"{path} cannot be loaded as a Keras model ({error}).") from error


def _write_timeless(dated: Path, timeless: Path) -> None:
    with zipfile.ZipFile(dated) as given, zipfile.ZipFile(timeless, "w") as written:
        for name in sorted(given.namelist()):
            # A bare ZipInfo is dated 1980, the beginning of the format's time.
            member = zipfile.ZipInfo(name)
            if name == "config.json":
                written.writestr(member, _renumbered(given.read(name)))
            elif name == "metadata.json":
                content = json.loads(given.read(name)) | {"date_saved": NO_DATE}
                written.writestr(member, json.dumps(content))
            else:
                # Weights take as much memory as the model: copied a block at a time.
                member.file_size = given.getinfo(name).file_size
                with given.open(name) as source, written.open(member, "w") as target:
                    shutil.copyfileobj(source, target, 2**20)


def _renumbered(config: bytes) -> bytes:
    numbers: dict[int, int] = {}

    def renumber(item: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in item:
            item["shared_object_id"] = numbers.setdefault(item["shared_object_id"], len(numbers))
        return item

    return json.dumps(json.loads(config, object_hook=renumber)).encode()
