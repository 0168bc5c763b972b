"""Models as files: equal models have equal bytes, and nothing in a file is run when it is read."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import EkmanExpressionsError, ModelError
from ekman_expressions.core.files import atomic_path
from ekman_expressions.core.startup import start_tensorflow

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

    Keras' own `save` holds up to three copies of the weights in memory, and puts the time into
    the archive and its metadata, and addresses in memory, as the names of shared objects, into the
    configuration. This puts the same members together without.

    Raises
    ------
    SavingError
        If the disk is full; an earlier `path` stays as it was, and no part of a new one is left.
    """
    import keras

    metadata = {"keras_version": keras.__version__, "date_saved": NO_DATE}
    texts = {
        "config.json": json.dumps(_without_addresses(keras.saving.serialize_keras_object(model))),
        "metadata.json": json.dumps(metadata),
    }
    with disk_errors(path), atomic_path(path) as temporary:
        weights = temporary.with_name(f"{temporary.stem}.weights.h5")
        try:
            model.save_weights(weights)
            with zipfile.ZipFile(temporary, "w") as archive:
                # A bare ZipInfo is dated 1980, the beginning of the format's time.
                for name, text in texts.items():
                    archive.writestr(zipfile.ZipInfo(name), text)
                member = zipfile.ZipInfo("model.weights.h5")
                member.file_size = weights.stat().st_size
                with open(weights, "rb") as source, archive.open(member, "w") as target:
                    shutil.copyfileobj(source, target, 2**20)
        finally:
            weights.unlink(missing_ok=True)


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


def _without_addresses(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_addresses(value) for key, value in config.items() if key != "shared_object_id"}
    return [_without_addresses(value) for value in config] if isinstance(config, (list, tuple)) else config
