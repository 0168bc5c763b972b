"""The models of an experiment: the step "training", what they reached, what that took, and loading them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError, ModelError, SettingsError, check_option
from ekman_expressions.core.files import read_csv, read_json, require, sha256, write_csv, write_json
from ekman_expressions.measures.uncertainty import _fold_of
from ekman_expressions.study import prepared
from ekman_expressions.study.execution import _run_tasks, _Task
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run, _joined
from ekman_expressions.zoo import NETWORKS, saving, train
from ekman_expressions.zoo.model import Model, as_model
from ekman_expressions.zoo.networks import _preprocessing_warning
from ekman_expressions.zoo.own_models import _read_model
from ekman_expressions.zoo.saving import _ADVICE, _FOLDS, _download, _file_name, _load_released
from ekman_expressions.zoo.training import _HISTORY, _effort

if TYPE_CHECKING:
    import keras


def _training(experiment: Experiment, run: Run) -> None:
    """Train each network of an experiment on each fold: ``<network>_<fold>.keras`` (without optimiser state),
    ``..._history.csv``, ``..._training.json``. An interrupted training resumes after its last finished epoch.
    """
    settings = experiment.training
    trained = [pair for pair in experiment.pairs if pair[0] in experiment.trained_networks]
    if settings.weights == "released":
        _check_released(experiment, trained)
        run.note(
            "The released models were trained on the authors' own folds: faces of the same databases in "
            "fold k here may have been among the training faces of model k, whose accuracy is then too high."
        )
    else:
        # Before anything is trained: what would stop the last of the models.
        manifest = prepared.read_manifest(experiment)
        for fold in experiment.face_folds:
            lacking = set(experiment.expressions) - set(_trained_on(manifest, fold)["expression"])
            if lacking:
                run.note(f"{fold}: no image of {', '.join(sorted(lacking))} to train on")
    for network in experiment.trained_networks:
        if warning := _preprocessing_warning(network, settings.preprocessing, settings.weights):
            run.note(warning)
    tasks = [_Task(name="_".join(pair), function=_train_one, arguments=(experiment, *pair)) for pair in trained]
    _run_tasks(tasks, run, desc="Training", unit="model")
    # What an interrupted or failed training can resume from.
    checkpoints = [_beside(experiment, *pair, "checkpoint.npz") for pair in trained]
    run.kept(*(path for path in checkpoints if path.exists()), items=0)


def _nothing_to_train(experiment: Experiment) -> str:
    """Say why there is nothing to train; an empty text if there is."""
    return "" if experiment.trained_networks else "all models are the user's own: nothing to train"


def _train_one(experiment: Experiment, network: str, fold: str) -> Run:
    """Train one network on all folds but one, or load its released weights, unless its model is there."""
    run, path = Run(), experiment.model_path(network, fold)
    checkpoint, history, took = (
        _beside(experiment, network, fold, ending) for ending in ("checkpoint.npz", "history.csv", "training.json")
    )
    is_new = not path.exists()
    if is_new:
        if experiment.training.weights == "released":
            file = _released_file(experiment, network, fold)
            model = _load_released(network, file, preprocessing=experiment.training.preprocessing)
            curve = pd.DataFrame(columns=_HISTORY)
            taken = {"file": file.name, "sha256": sha256(file)}
        else:
            model, curve, taken = _trained_model(experiment, network, fold, checkpoint, run.note)
        # The model comes last: where it is, all is there.
        with saving.disk_errors(history):
            write_json(took, taken)
            write_csv(history, curve)
        saving.save(model, path)
    # Of a process that was killed between the model and the end, too.
    checkpoint.unlink(missing_ok=True)
    # A model that was put there by hand has nothing beside it.
    files = [path, *(each for each in (history, took) if each.exists())]
    (run.made if is_new else run.kept)(*files)
    return run


def _trained_model(
    experiment: Experiment, network: str, fold: str, checkpoint: Path, note: Callable[[str], None]
) -> tuple[keras.Model, pd.DataFrame, dict[str, Any]]:
    """Train one network, and return the model, its learning curve, and what that took."""
    settings = experiment.training
    rows = _trained_on(prepared.read_manifest(experiment), fold)
    trained = train(
        network,
        _faces(experiment, rows, experiment.side(network)),
        list(rows["expression"]),
        classes=experiment.expressions,
        **settings.of(network),
        batch_size=settings.batch_size,
        augment=settings.augment,
        weights=settings.weights if NETWORKS[network].pretrained else "none",
        preprocessing=settings.preprocessing,
        seed=experiment.seed,
        fold=fold,
        checkpoint=checkpoint,
        note=note,
    )
    seconds = trained.seconds
    taken = {
        "images": len(rows),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(rows) * len(trained.curve) / seconds, 1) if seconds else None,
    }
    return trained.model, trained.curve, taken | _effort()


def _trained_on(manifest: pd.DataFrame, fold: str) -> pd.DataFrame:
    """Return the rows that a fold's models are trained on, or raise `DataError` if there are none."""
    # Sorted, so that the order of the manifest's rows changes nothing.
    rows, fold = manifest.sort_values("image_id"), _fold_of(fold)
    tested = rows["fold"] == fold
    if tested.all():
        raise DataError(f"{fold} has no image to train on: all {len(rows)} are in {fold}. Use more subjects.")
    return rows[~tested]


def _faces(experiment: Experiment, rows: pd.DataFrame, side: int) -> np.ndarray:
    """Read faces at the size of a network once, so that an epoch decodes nothing."""
    images = np.empty((len(rows), side, side, 3), np.uint8)
    for place, image_id in enumerate(rows["image_id"]):
        images[place] = np.rint(255 * prepared.read_faces(experiment, [image_id], side)[0])
    return images


_EFFORT = ("images", "seconds", "images_per_second", "peak_memory_mb", "gpu_memory_mb")
"""What a training took: images trained on, time and memory."""


def learning_curves(experiment: Experiment) -> pd.DataFrame:
    """Read the learning curves of all models that have been trained.

    Returns
    -------
    DataFrame
        Columns ``network, fold, epoch, loss, accuracy``: means over the training images
        during each epoch, dropout included.

    Raises
    ------
    MissingError
        If the step 'training' has not run.
    """
    require(experiment.models_folder / "run.json", "training")
    curves = []
    for network, fold in experiment.pairs:
        path = _beside(experiment, network, fold, "history.csv")
        if path.exists():
            curves.append(read_csv(path, _HISTORY).assign(network=network, fold=fold))
    return _joined(curves, ["network", "fold", *_HISTORY])


def training_table(experiment: Experiment) -> pd.DataFrame:
    """Say of each trained model what it reached and what that took.

    Returns
    -------
    DataFrame
        One row per model: ``network, fold, side`` (of the input, in pixels), ``epochs``, ``loss, accuracy`` of
        the last one, the columns `_EFFORT` (empty where not known), and ``test_accuracy`` once the step
        'evaluation' has run. Seconds are those of all epochs in all runs, compiling included, reading images
        and writing checkpoints not. The peak of memory is that of the process since its start, in MB (10^6
        bytes): earlier models of the same run count in.

    Raises
    ------
    MissingError
        If the step 'training' has not run.
    """
    table = learning_curves(experiment).rename(columns={"epoch": "epochs"})
    table = table.groupby(["network", "fold"], sort=False).tail(1).reset_index(drop=True)
    table.insert(2, "side", [experiment.side(network) for network in table["network"]])
    paths = [_beside(experiment, *pair, "training.json") for pair in table[["network", "fold"]].to_numpy()]
    taken = [read_json(path) if path.exists() else {} for path in paths]
    table = table.join(pd.DataFrame(taken, columns=list(_EFFORT), dtype=float))
    tested = experiment.evaluation_folder / "accuracy_by_fold.csv"
    if tested.exists():
        accuracy = read_csv(tested, ("network", "fold", "accuracy"))[["network", "fold", "accuracy"]]
        table = table.merge(accuracy.rename(columns={"accuracy": "test_accuracy"}), "left")
    return table


def _check_released(experiment: Experiment, pairs: list[tuple[str, str]]) -> None:
    """Raise unless released models can stand for trained ones: five folds, and all files in the folder."""
    if experiment.folds != _FOLDS:
        raise SettingsError(
            f"The released models are of {len(_FOLDS)} folds, but faces.folds is {experiment.faces.folds}. "
            'Set faces.folds = 5, or another training.weights than "released".'
        )
    if experiment.training.released_folder is None:
        # Without a network, huggingface_hub tries for half a minute: once, not for each of 60 files.
        _download(*pairs[0])
        return
    files = [_released_file(experiment, *pair) for pair in pairs]
    if missing := [file.name for file in files if not file.is_file()]:
        raise MissingError(
            f"{files[0].parent} (training.released_folder) lacks {len(missing)} of {len(files)} released files: "
            f"{', '.join(missing)}. {_ADVICE} Or leave the setting out to download them."
        )


def _released_file(experiment: Experiment, network: str, fold: str) -> Path:
    folder = experiment.training.released_folder
    return _download(network, fold) if folder is None else Path(folder).expanduser() / _file_name(network, fold)


def _beside(experiment: Experiment, network: str, fold: str, ending: str) -> Path:
    """Return a file of one model: ``history.csv``, ``checkpoint.npz``, ``training.json`` (what it took)."""
    return experiment.models_folder / f"{network}_{fold}_{ending}"


_KEPT_MB = 200
_kept: dict[str, tuple[Any, tuple]] = {}
"""Keras models that steps have loaded, by architecture, each with the file, and its time, that its weights
are from; up to `_KEPT_MB` (10^6 bytes) of weights, the one used last at the end.
"""


def _kept_model(experiment: Experiment, network: str, fold: str, precision: str = "float32") -> Model:
    """Do as `read_model`, but let the folds of a network share a compiled Keras model, with the weights of
    that asked for last: for those who change nothing in it and use one fold at a time.
    """
    path = experiment.model_path(network, fold)
    # Compiled copies in half precision have weights of their own.
    if network in experiment.models or precision != "float32" or not path.exists():
        return read_model(experiment, network, fold, precision)
    architecture, source = saving.architecture(path), (str(path), path.stat().st_mtime_ns)
    model, loaded = _kept.pop(architecture, (None, None))
    if model is None:
        model = read_model(experiment, network, fold).source
    elif loaded != source:
        saving.load_into(model, path)
    _kept[architecture] = model, source
    while _kept and sum(4e-6 * model.count_params() for model, _ in _kept.values()) > _KEPT_MB:
        del _kept[next(iter(_kept))]
    return as_model(model, name=f"{network}_{fold}", classes=experiment.expressions, precision=precision)


def read_model(experiment: Experiment, network: str, fold: str, precision: str = "float32") -> Model:
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
    return as_model(model, name=f"{network}_{fold}", classes=experiment.expressions, precision=precision)


def _own_files(experiment: Experiment) -> dict[str, Path]:
    """Return the files of one's own models by name: ``model Mine_CV1``, or ``model Mine`` where all folds
    have the same; with the file's name where a model has several files.
    """
    found = {}
    for network, fold in experiment.pairs:
        if network not in experiment.models:
            continue
        own = experiment.models[network]
        files, source = own.files(fold), own.source(fold)
        name = f"model {network}_{fold}" if own.per_fold else f"model {network}"
        for file in files:
            label = file.relative_to(source).as_posix() if own.kind == "saved_model" else file.name
            found[name if len(files) == 1 or file == source else f"{name} {label}"] = file
    return found
