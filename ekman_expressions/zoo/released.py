"""The 60 trained models that the study's authors released on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


from ekman_expressions.core.errors import MissingError, ModelError, check_option, check_type
from ekman_expressions.core.files import sha256
from ekman_expressions.zoo.networks import NETWORKS
from ekman_expressions.zoo.weights import _load_weights

REPOSITORY = "Xavi3398/ekman_expressions"
"""The authors' repository on the Hugging Face hub."""

_FOLDS = tuple(f"CV{number}" for number in range(1, 6))
"""The folds of the study, one released model each."""


def _file_name(network: str, fold: str) -> str:
    """Return what the authors call the file of one model: ``SongNet_CV3_weights.h5``."""
    check_option(network, "network", NETWORKS)
    check_option(fold, "fold", _FOLDS)
    return f"{network}_{fold}_weights.h5"


def download(network: str, fold: str, revision: str = "main") -> tuple[Path, str]:
    """Fetch one file from the hub into the cache of `huggingface_hub`, unless it is there.

    Parameters
    ----------
    network, fold : str
        Which model.
    revision : str
        Branch, tag or commit of `REPOSITORY`.

    Returns
    -------
    path : Path
        The file; complete, since `huggingface_hub` renames it only at its end.
    commit : str
        The hash of the commit it is from, 40 hexadecimal digits.

    Raises
    ------
    MissingError, ModelError
        If `huggingface_hub` is not installed, or the hub cannot be reached; if the hub does not have this
        file, or the contents are not those it has the hash of.
    """
    name = _file_name(network, fold)
    check_type(revision, "revision", str)
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise MissingError(
            f"To download {name}, the package huggingface_hub is needed: "
            f'pip install "ekman_expressions[released]". {_ways_out(name)}'
        ) from error
    try:
        # The repository is public: no token of the user's is sent.
        path = Path(hf_hub_download(REPOSITORY, name, revision=revision, token=False))
    except errors.RemoteEntryNotFoundError as error:
        raise ModelError(f"{REPOSITORY} has no file {name} at revision {revision}.") from error
    except Exception as error:
        # No network, a proxy's answer, no such revision, a full disk: what is raised depends on the
        # version of huggingface_hub and the library that it talks through.
        reason = " ".join(str(error).split())[:500]
        raise MissingError(
            f"{name} could not be downloaded from the Hugging Face hub ({REPOSITORY}, revision {revision}): "
            f"{reason}. {_ways_out(name)}"
        ) from error
    # In the cache, each commit has a folder, and big files are links to their SHA-256.
    commit, content = path.parent.name, path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", content) and sha256(path) != content:
        raise ModelError(
            f"{path.resolve()} is damaged: its sha256 is not its name. Delete it to download it again."
        )
    return path, commit


def _load_released(
    network: str, path: Path | str, classes: int = 6, preprocessing: str = "paper"
) -> keras.Model:
    """Load a released file into our flat graph of the network, as `NetSpec.build` gives it, not compiled.

    `MissingError` if it is not there, `ModelError` if it is damaged or of another network or number of
    classes.
    """
    check_option(network, "network", NETWORKS)
    if not Path(path).is_file():
        # Said before half a minute goes into building a big network.
        raise MissingError(f"There is no weights file {path}. {_ways_out(Path(path).name)}")
    model = NETWORKS[network].build("none", preprocessing, classes)
    _load_weights(model, path)
    return model


def _origin(entry: dict[str, str]) -> str:
    """Say in words where a released model is from."""
    return f"{entry['repository']} at {entry['commit']}" if "commit" in entry else "local file"


def _ways_out(name: str) -> str:
    return f"Or copy {name} from {REPOSITORY} on the hub to a folder, and set training.released_folder to it."
