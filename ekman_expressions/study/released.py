"""The authors' released models in place of those that an experiment trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from ekman_expressions.study.experiment import Experiment

from ekman_expressions.core.errors import MissingError, SettingsError
from ekman_expressions.core.files import read_json, sha256, write_json
from ekman_expressions.zoo.released import FOLDS, REPOSITORY, download, file_name, load_released, origin


def check(experiment: Experiment) -> None:
    """See to it that released models can stand for the trained ones of an experiment.

    Raises
    ------
    SettingsError
        If it has not the five folds of the study.
    MissingError
        If the folder that is named lacks files; all are listed.
    """
    if experiment.folds != FOLDS:
        raise SettingsError(
            f"The released models are of {len(FOLDS)} folds, but faces.folds is {experiment.faces.folds}. "
            'Set faces.folds = 5, or another training.weights than "released".'
        )
    folder = experiment.training.released_folder
    if folder is None:
        return
    names = [file_name(network, fold) for network in experiment.trained_networks for fold in FOLDS]
    missing = [name for name in names if not (Path(folder).expanduser() / name).is_file()]
    if missing:
        raise MissingError(
            f"{folder} (training.released_folder) lacks {len(missing)} of {len(names)} released files: "
            f"{', '.join(missing)}. Copy them from {REPOSITORY} on the Hugging Face hub, or name fewer "
            "networks."
        )


def model(experiment: Experiment, network: str, fold: str) -> keras.Model:
    """Fetch and load the released model of a network and fold, as an experiment's settings say.

    Writes where it is from (file, SHA-256; repository and commit when downloaded) to
    `source_path`. A commit that another model of the experiment is from is kept, so that a
    branch that moves on does not mix revisions.

    Raises
    ------
    MissingError, ModelError
        As `download` and `load_released`.
    """
    training = experiment.training
    source: dict[str, Any] = {"file": file_name(network, fold)}
    if training.released_folder is not None:
        path = Path(training.released_folder).expanduser() / source["file"]
    else:
        commits = [entry["commit"] for entry in sources(experiment).values() if "commit" in entry]
        path, commit = download(network, fold, commits[0] if commits else training.released_revision)
        source |= {"repository": REPOSITORY, "revision": training.released_revision, "commit": commit}
    loaded = load_released(network, path, preprocessing=training.preprocessing)
    write_json(source_path(experiment, network, fold), source | {"sha256": sha256(path)})
    return loaded


def source_path(experiment: Experiment, network: str, fold: str) -> Path:
    """The file that says where the weights of one model are from."""
    return experiment.models_folder / f"{network}_{fold}_source.json"


def sources(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Read where the released models of an experiment are from, by model (``SongNet_CV3``)."""
    paths = {"_".join(pair): source_path(experiment, *pair) for pair in experiment.pairs}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def notes(experiment: Experiment) -> list[str]:
    """Say for ``run.json`` where each model is from, and what that means for its accuracy."""
    lines = [
        f"{name}: released weights {entry['file']} ({origin(entry)}, sha256 {entry['sha256']})"
        for name, entry in sources(experiment).items()
    ]
    if lines:
        lines.append(
            "The released models were trained on the authors' own folds: faces of the same databases in "
            "fold k here may have been among the training faces of model k, whose accuracy is then too high."
        )
    return lines
