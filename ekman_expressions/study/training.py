"""The step "training": a model per network and fold, what it reached, and what that took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.core.files import read_csv, read_json, require, sha256, write_csv, write_json
from ekman_expressions.core.seeds import generator
from ekman_expressions.measures import fold_of
from ekman_expressions.study import prepared
from ekman_expressions.study.execution import _run_tasks, _Task
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.models import _check_model
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo import NETWORKS, saving, train
from ekman_expressions.zoo.networks import _preprocessing_warning
from ekman_expressions.zoo.saving import _FOLDS, REPOSITORY, _download, _file_name, _load_released, _origin
from ekman_expressions.zoo.training import _HISTORY, _WATCHED, _effort, _stack_images
from ekman_expressions.zoo.weights import _weights_file

if TYPE_CHECKING:
    import keras


_CHUNK = 64


def training(experiment: Experiment, run: Run) -> None:
    """Train each network of an experiment on each fold; models that are there are skipped.

    Writes ``<network>_<fold>.keras`` (without optimiser state), ``<network>_<fold>_history.csv``
    and ``<network>_<fold>_training.json`` (time and memory) into ``experiment.models_folder``,
    and ``training.csv``, see `training_table`. A training that was interrupted resumes after
    its last finished epoch. A model whose loss becomes NaN is left out, with the reason.

    Raises
    ------
    MissingError
        If weights to start from are not there.
    DataError
        If a fold leaves no image to train on: before anything is trained.
    SavingError
        If the disk is full.
    """
    trained = [pair for pair in experiment.pairs if pair[0] in experiment.trained_networks]
    if experiment.training.weights == "released":
        _check_released(experiment)
    else:
        _look_ahead(experiment, prepared.read_manifest(experiment), run)
    for network in experiment.trained_networks:
        settings = experiment.training
        if warning := _preprocessing_warning(network, settings.preprocessing, settings.weights):
            run.note(warning)
    tasks = [
        _Task(name="_".join(pair), function=_train_one, arguments=(experiment, *pair)) for pair in trained
    ]
    _run_tasks(tasks, run, desc="Training", unit="model")
    # What an interrupted or failed training can resume from.
    checkpoints = [_beside(experiment, *pair, "checkpoint.npz") for pair in trained]
    run.kept(*(path for path in checkpoints if path.exists()), items=0)
    table = training_table(experiment).drop(columns="test_accuracy", errors="ignore")
    run.write(experiment.models_folder, {"training": table})
    for note in _released_notes(experiment):
        run.note(note)


def _weight_files(experiment: Experiment) -> dict[str, Path]:
    """Return the files of weights from which the networks of an experiment start, by name."""
    weights = {name: _initial_weights(experiment, name) for name in experiment.trained_networks}
    return {
        f"weights of {name}": Path(path)
        for name, path in weights.items()
        if path not in ("none", "imagenet", "released")
    }


def _nothing_to_train(experiment: Experiment) -> str:
    """Say why there is nothing to train; an empty text if there is."""
    return "" if experiment.trained_networks else "all models are the user's own: nothing to train"


def _train_model(
    experiment: Experiment, network: str, fold: str, note: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Train one network on all folds but one, write the model, last, and its learning curve, and return the
    curve: no rows with released weights, which are only fetched and loaded.
    """
    _check_model(experiment, network, fold)
    settings = experiment.training
    path = _beside(experiment, network, fold, "checkpoint.npz")
    if settings.weights == "released":
        model, curve = _released_model(experiment, network, fold), pd.DataFrame(columns=_HISTORY)
    else:
        try:
            rows, watched = split(experiment, prepared.read_manifest(experiment), fold)
        except DataError as error:
            raise DataError(f"{network}_{fold} cannot be trained: {error}") from error
        side = experiment.side(network)
        trained = train(
            network,
            _faces(experiment, rows, side),
            list(rows["expression"]),
            classes=experiment.expressions,
            validation=(_faces(experiment, watched, side), list(watched["expression"]))
            if len(watched)
            else None,
            patience=settings.patience if settings.validation == "subjects" else None,
            **settings.of(network),
            batch_size=settings.batch_size,
            augment=settings.augment,
            weights=_initial_weights(experiment, network),
            preprocessing=settings.preprocessing,
            precision=settings.precision,
            devices=settings.devices,
            seed=experiment.seed,
            fold=fold,
            checkpoint=path,
            note=note,
        )
        model, curve, seconds = trained.model, trained.curve, trained.seconds
        taken = {
            "images": len(rows),
            "held_out_images": len(watched),
            "best_epoch": trained.best_epoch,
            "seconds": round(seconds, 3),
            "images_per_second": round(len(rows) * len(curve) / seconds, 1) if seconds else None,
        }
        took = _beside(experiment, network, fold, "training.json")
        with saving.disk_errors(took):
            write_json(took, taken | _effort())
    # The model comes last: where it is, all is there.
    history = _beside(experiment, network, fold, "history.csv")
    with saving.disk_errors(history):
        write_csv(history, curve)
    saving.save(model, experiment.model_path(network, fold))
    saving._remove_checkpoint(path)
    return curve


def split(experiment: Experiment, manifest: pd.DataFrame, fold: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose the rows that a fold's models are trained on, and those that are watched, both sorted by image.

    Watched are none, the test fold's, or with ``validation = "subjects"`` those of some of the other
    subjects, the same for all networks, drawn by the experiment's seed. `DataError` if either cannot be.
    """
    # Sorted, so that the order of the manifest's rows changes nothing.
    rows, fold = manifest.sort_values("image_id"), fold_of(fold)
    test, others = rows[rows["fold"] == fold], rows[rows["fold"] != fold]
    if others.empty:
        raise DataError(
            f"{fold} has no image to train on: all {len(manifest)} are in {fold}. Use more subjects."
        )
    settings = experiment.training
    if settings.validation == "none":
        return others, others.iloc[:0]
    if settings.validation == "test":
        if test.empty:
            raise DataError(f'{fold} has no image to watch. Set training.validation = "none".')
        return others, test
    subjects = sorted(others["subject"].unique())
    if len(subjects) < 2:
        raise DataError(
            f"{fold} has only one subject to train on, {subjects[0]}: none can be held out. Use more "
            'subjects, or set training.validation = "none".'
        )
    count = min(max(1, round(settings.validation_fraction * len(subjects))), len(subjects) - 1)
    chosen = generator(experiment.seed, "validation", fold).choice(len(subjects), count, replace=False)
    held_out = others["subject"].isin([subjects[number] for number in chosen])
    return others[~held_out], others[held_out]


def _faces(experiment: Experiment, rows: pd.DataFrame, side: int) -> np.ndarray:
    """Read faces at the size of a network once, so that an epoch decodes nothing."""
    names = list(rows["image_id"])
    chunks = (
        prepared.read_faces(experiment, names[start : start + _CHUNK], side)
        for start in range(0, len(names), _CHUNK)
    )
    return _stack_images(chunks, (len(names), side, side, 3), experiment.models_folder)


def _train_one(experiment: Experiment, network: str, fold: str) -> Run:
    """Train one model, unless it is there."""
    run = Run()
    place = experiment, network, fold
    if experiment.model_path(network, fold).exists():
        register = run.kept
        # Left when the process was killed between the model and the end.
        saving._remove_checkpoint(_beside(*place, "checkpoint.npz"))
    else:
        _train_model(*place, run.note)
        register = run.made
    beside = [_beside(*place, ending) for ending in ("history.csv", "training.json", "source.json")]
    register(experiment.model_path(network, fold), *(path for path in beside if path.exists()))
    return run


def _look_ahead(experiment: Experiment, manifest: pd.DataFrame, run: Run) -> None:
    """Find what would stop the last of the models now, and note what does not."""
    for fold in experiment.face_folds:
        try:
            rows, _ = split(experiment, manifest, fold)
        except DataError as error:
            raise DataError(f"No model of {experiment.name} was trained: {error}") from error
        lacking = set(experiment.expressions) - set(rows["expression"])
        if lacking:
            run.note(f"{fold}: no image of {', '.join(sorted(lacking))} to train on")


_EFFORT = ("images", "held_out_images", "seconds", "images_per_second", "peak_memory_mb", "gpu_memory_mb")
"""What a training took: images trained and watched on, time and memory."""


def learning_curves(experiment: Experiment) -> pd.DataFrame:
    """Read the learning curves of all models that have been trained.

    Returns
    -------
    DataFrame
        Columns ``network, fold, epoch, loss, accuracy``: means over the training images
        during each epoch, dropout included. With ``validation`` also ``val_loss,
        val_accuracy`` after each epoch, without dropout, and with ``validation = "subjects"``
        ``chosen``: whether the model is that of this epoch.

    Raises
    ------
    MissingError
        If the step 'training' has not run.
    """
    require(experiment.models_folder / "run.json", "training")
    columns = list(_HISTORY)
    if experiment.training.validation != "none":
        columns += _WATCHED
    curves = []
    for network, fold in experiment.pairs:
        path = _beside(experiment, network, fold, "history.csv")
        trained = network not in experiment.models and experiment.model_path(network, fold).exists()
        # A model that was put there by hand has no history.
        if not trained or not path.exists():
            continue
        curve = read_csv(path, _HISTORY)
        if curve.empty:
            # Released weights have an empty one.
            continue
        curve = curve.reindex(columns=columns).assign(network=network, fold=fold)
        if experiment.training.validation == "subjects":
            curve["chosen"] = curve["val_loss"] == curve["val_loss"].min()
            # The first of equals is the one that is kept.
            curve["chosen"] &= ~curve["val_loss"].duplicated()
        curves.append(curve)
    if experiment.training.validation == "subjects":
        columns.append("chosen")
    columns = ["network", "fold", *columns]
    return pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)


def training_table(experiment: Experiment) -> pd.DataFrame:
    """Say of each trained model what it reached and what that took.

    Returns
    -------
    DataFrame
        One row per model: ``network, fold, side`` (of the input, in pixels), ``epochs`` (run), ``epoch`` (whose
        weights the model has), ``loss, accuracy`` and, where images are watched, ``val_loss, val_accuracy`` of
        that epoch, the columns `_EFFORT` (empty where not known), and ``test_accuracy`` once the step
        'evaluation' has run. Seconds are those of all epochs in all runs, compiling included, reading images
        and writing checkpoints not. The peak of memory is that of the process since its start, in MB (10^6
        bytes): earlier models of the same run count in.

    Raises
    ------
    MissingError
        If the step 'training' has not run.
    """
    rows = []
    for (network, fold), curve in learning_curves(experiment).groupby(["network", "fold"], sort=False):
        chosen = curve[curve["chosen"].astype(bool)] if "chosen" in curve else curve
        last = chosen.iloc[-1] if len(chosen) else curve.iloc[-1]
        _effort = _beside(experiment, network, fold, "training.json")
        taken = read_json(_effort) if _effort.exists() else {}
        row = {"network": network, "fold": fold, "side": experiment.side(network)}
        row |= {"epochs": len(curve), "epoch": int(last["epoch"])}
        row |= {name: last[name] for name in (*_HISTORY[1:], *_WATCHED) if name in curve}
        rows.append(row | {name: taken.get(name) for name in _EFFORT})
    watched = _WATCHED if experiment.training.validation != "none" else ()
    table = pd.DataFrame(
        rows, columns=["network", "fold", "side", "epochs", "epoch", *_HISTORY[1:], *watched, *_EFFORT]
    )
    table[list(_EFFORT)] = table[list(_EFFORT)].astype(float)
    tested = experiment.evaluation_folder / "accuracy_by_fold.csv"
    if tested.exists():
        accuracy = read_csv(tested, ("network", "fold", "accuracy"))[["network", "fold", "accuracy"]]
        table = table.merge(accuracy.rename(columns={"accuracy": "test_accuracy"}), "left")
    return table


def training_summary(experiment: Experiment) -> pd.DataFrame:
    """Say of each network what its models reached and took together.

    Returns
    -------
    DataFrame
        One row per network: ``network, models, epochs`` (mean), ``accuracy, accuracy_sd`` on
        the training images, the same of ``val_accuracy`` and ``test_accuracy`` where there
        are such (sd over folds, with n - 1; empty with one fold), ``seconds`` (sum),
        ``images_per_second`` (mean), ``peak_memory_mb`` and ``gpu_memory_mb`` (largest).

    Raises
    ------
    MissingError
        If the step 'training' has not run.
    """
    table = training_table(experiment)
    groups = table.groupby("network", sort=False)
    summary = pd.DataFrame({"models": groups.size(), "epochs": groups["epochs"].mean()})
    for name in ("accuracy", "val_accuracy", "test_accuracy"):
        if name in table:
            summary[name], summary[f"{name}_sd"] = groups[name].mean(), groups[name].std()
    summary["seconds"] = groups["seconds"].sum(min_count=1)
    summary["images_per_second"] = groups["images_per_second"].mean()
    for name in ("peak_memory_mb", "gpu_memory_mb"):
        summary[name] = groups[name].max()
    return summary.reset_index()


def _check_released(experiment: Experiment) -> None:
    """Raise unless released models can stand for the trained ones: five folds, and all files there."""
    if experiment.folds != _FOLDS:
        raise SettingsError(
            f"The released models are of {len(_FOLDS)} folds, but faces.folds is {experiment.faces.folds}. "
            'Set faces.folds = 5, or another training.weights than "released".'
        )
    folder = experiment.training.released_folder
    if folder is None:
        return
    names = [_file_name(network, fold) for network in experiment.trained_networks for fold in _FOLDS]
    missing = [name for name in names if not (Path(folder).expanduser() / name).is_file()]
    if missing:
        raise MissingError(
            f"{folder} (training.released_folder) lacks {len(missing)} of {len(names)} released files: "
            f"{', '.join(missing)}. Copy them from {REPOSITORY} on the Hugging Face hub, or name fewer "
            "networks."
        )


def _released_model(experiment: Experiment, network: str, fold: str) -> keras.Model:
    """Fetch and load a released model, and write where it is from; a commit that another model is from is
    kept.
    """
    training = experiment.training
    source: dict[str, Any] = {"file": _file_name(network, fold)}
    if training.released_folder is not None:
        path = Path(training.released_folder).expanduser() / source["file"]
    else:
        commits = [entry["commit"] for entry in _released_sources(experiment).values() if "commit" in entry]
        path, commit = _download(network, fold, commits[0] if commits else training.released_revision)
        source |= {"repository": REPOSITORY, "revision": training.released_revision, "commit": commit}
    loaded = _load_released(network, path, preprocessing=training.preprocessing)
    write_json(_beside(experiment, network, fold, "source.json"), source | {"sha256": sha256(path)})
    return loaded


def _released_sources(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Read where the released models of an experiment are from, by model (``SongNet_CV3``)."""
    paths = {"_".join(pair): _beside(experiment, *pair, "source.json") for pair in experiment.pairs}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def _released_notes(experiment: Experiment) -> list[str]:
    """Say for ``run.json`` where each model is from, and what that means for its accuracy."""
    lines = [
        f"{name}: released weights {entry['file']} ({_origin(entry)}, sha256 {entry['sha256']})"
        for name, entry in _released_sources(experiment).items()
    ]
    if lines:
        lines.append(
            "The released models were trained on the authors' own folds: faces of the same databases in "
            "fold k here may have been among the training faces of model k, whose accuracy is then too high."
        )
    return lines


def _initial_weights(experiment: Experiment, network: str) -> str:
    """Say where weights start: ``"none"``, ``"imagenet"``, ``"released"`` or the path of a file."""
    weights = experiment.training.weights
    if weights == "released":
        return weights
    if not NETWORKS[network].pretrained or weights == "none":
        return "none"
    return weights if weights == "imagenet" else str(_weights_file(weights, network))


def _beside(experiment: Experiment, network: str, fold: str, ending: str) -> Path:
    """Return a file of one model: ``history.csv``, ``checkpoint.npz``, ``training.json`` (time, memory),
    ``source.json``.
    """
    return experiment.models_folder / f"{network}_{fold}_{ending}"
