"""The models of an experiment: loaded, and what run.json keeps of those of the user's own."""

from __future__ import annotations

from pathlib import Path

from ekman_expressions.core.errors import ModelError, check_option
from ekman_expressions.core.files import require
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.zoo import saving
from ekman_expressions.zoo.model import Model, as_model
from ekman_expressions.zoo.own_models import _read_model


def load_model(experiment: Experiment, network: str, fold: str, precision: str = "float32") -> Model:
    """Load a trained model, or one of the user's own.

    Returns
    -------
    Model
        Its classes are `Experiment.expressions` in their order; the user's own models may have others behind
        them. Code inside the file is not run. A trained model's ``source`` is a Keras model, not compiled.

    Raises
    ------
    SettingsError
        If the experiment has no such network or fold.
    MissingError
        If the model has not been trained.
    ModelError
        If the file is damaged.
    """
    check_option(network, "network", experiment.networks)
    check_option(fold, "fold", experiment.folds)
    if network in experiment.models:
        found = _read_model(experiment.models[network], network, fold, precision)
        found.name = f"{network}_{fold}"
        return found
    path = require(experiment.model_path(network, fold), "training")
    try:
        model = saving.load(path)
    except ModelError as error:
        raise ModelError(f"{error} Delete it and run the step 'training' again.") from error
    wanted = (experiment.side(network), experiment.side(network), 3)
    received = model.input_shape[1:]
    if len(received) != 3 or any(has not in (None, side) for has, side in zip(received, wanted, strict=True)):
        raise ModelError(
            f"{path} takes images of shape {received}, but {network} takes {wanted}: it is another network. "
            "Delete it and run the step 'training' again."
        )
    return as_model(model, name=f"{network}_{fold}", classes=experiment.expressions, precision=precision)


def _own_files(experiment: Experiment) -> dict[str, Path]:
    """Return the files of the models of one's own that are there, by the model: ``model Mine_CV1``.

    A model that is the same for all folds goes by its name alone; one of several files, with each file's name.
    """
    found = {}
    for network, fold in experiment.pairs:
        own = experiment.models.get(network)
        if own is None:
            continue
        files, source = own.files(fold), own.source(fold)
        name = f"model {network}_{fold}" if own.per_fold else f"model {network}"
        for file in files:
            inside = source.is_dir() if isinstance(source, Path) else False
            label = file.relative_to(source).as_posix() if inside else file.name
            found[name if len(files) == 1 or file == source else f"{name} {label}"] = file
    return found


def _own_notes(experiment: Experiment) -> list[str]:
    """Say of each model of one's own what a reader of its results must know."""
    remarks = []
    for name, own in experiment.models.items():
        if own.per_fold:
            remarks.append(
                f"{name} was trained elsewhere, a model per fold: that of fold CVk must not have seen the "
                "faces of CVk"
            )
        else:
            remarks.append(
                f"{name} was trained elsewhere and is the same in all folds, so that every face counts as a "
                "test face: it must not have been trained on any of them, and its folds differ by faces only"
            )
    return remarks
