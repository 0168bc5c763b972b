"""Where models and what belongs to them lie, and how they are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import ModelError, check_option
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import require
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.zoo import NETWORKS, saving
from ekman_expressions.zoo.model import Model, as_model
from ekman_expressions.zoo.own_models import read_model
from ekman_expressions.zoo.weights import weights_file


def load_model(experiment: Experiment, network: str, fold: str, precision: str = "float32") -> Model:
    """Load a trained model, or one of the user's own.

    Returns
    -------
    Model
        Its classes are the six in the order of `EXPRESSIONS`; the user's own models may have others behind
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
    check_model(experiment, network, fold)
    if network in experiment.models:
        found = read_model(experiment.models[network], network, fold, precision)
        found.name = f"{network}_{fold}"
        return found
    path = require(experiment.model_path(network, fold), "training")
    try:
        model = saving.load(path)
    except ModelError as error:
        raise ModelError(f"{error} Delete it and run the step 'training' again.") from error
    wanted = (NETWORKS[network].side, NETWORKS[network].side, 3)
    received = model.input_shape[1:]
    if len(received) != 3 or any(has not in (None, side) for has, side in zip(received, wanted, strict=True)):
        raise ModelError(
            f"{path} takes images of shape {received}, but {network} takes {wanted}: it is another network. "
            "Delete it and run the step 'training' again."
        )
    return as_model(model, name=f"{network}_{fold}", classes=EXPRESSIONS, precision=precision)


def load_last_epoch(experiment: Experiment, network: str, fold: str) -> tuple[keras.Model, int]:
    """Load a model that has not come to its end as it was after its last finished epoch.

    For looking at a training that was interrupted, or whose loss became NaN.

    Returns
    -------
    (keras.Model, int)
        The model, as from `load_model`, and the epoch, from 1.

    Raises
    ------
    SettingsError
        If the experiment has no such network or fold.
    MissingError
        If there is no checkpoint: no epoch was finished, or the model is done.
    ModelError
        If the checkpoint is damaged, or of another network.
    """
    start_tensorflow()
    check_model(experiment, network, fold)
    path = require(checkpoint_path(experiment, network, fold), "training")
    model = NETWORKS[network].build(
        "none",
        experiment.training.preprocessing,
        len(EXPRESSIONS),
        experiment.training.of(network)["batch_norm_momentum"],
    )
    return model, saving.read_checkpoint_weights(path, model)


def initial_weights(experiment: Experiment, network: str) -> str:
    """Say where a network's weights start: ``"none"``, ``"imagenet"``, ``"released"`` or the path of a file.

    The networks that are trained from scratch always start at random, unless their released
    weights are taken.
    """
    weights = experiment.training.weights
    if weights == "released":
        return weights
    if not NETWORKS[network].pretrained or weights == "none":
        return "none"
    return weights if weights == "imagenet" else str(weights_file(weights, network))


def history_path(experiment: Experiment, network: str, fold: str) -> Path:
    """The file of one model's learning curve."""
    return experiment.models_folder / f"{network}_{fold}_history.csv"


def checkpoint_path(experiment: Experiment, network: str, fold: str) -> Path:
    """The file that keeps the last finished epoch of a model while it is trained."""
    return experiment.models_folder / f"{network}_{fold}_checkpoint.npz"


def effort_path(experiment: Experiment, network: str, fold: str) -> Path:
    """The file of what one model's training took: time and memory, which differ from run to run."""
    return experiment.models_folder / f"{network}_{fold}_training.json"


def check_model(experiment: Experiment, network: str, fold: str) -> None:
    """Raise `SettingsError` unless the experiment has the network and the fold."""
    check_option(network, "network", experiment.networks)
    check_option(fold, "fold", experiment.folds)
