"""What came of training: learning curves, and what each model took and reached."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ekman_expressions.core.files import read_csv, read_json, require, write_csv
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.model_files import effort_path, history_path
from ekman_expressions.zoo.training import HISTORY, WATCHED

EFFORT = ("images", "held_out_images", "seconds", "images_per_second", "peak_memory_mb", "gpu_memory_mb")
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
    columns = list(HISTORY)
    if experiment.training.validation != "none":
        columns += WATCHED
    curves = []
    for network, fold in experiment.pairs:
        path = history_path(experiment, network, fold)
        trained = network not in experiment.models and experiment.model_path(network, fold).exists()
        # A model that was put there by hand has no history.
        if not trained or not path.exists():
            continue
        curve = read_csv(path, HISTORY)
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
        One row per model: ``network, fold, epochs`` (run), ``epoch`` (whose weights the model
        has), ``loss, accuracy`` and, where images are watched, ``val_loss, val_accuracy`` of
        that epoch, the columns `EFFORT` (empty where not known), and ``test_accuracy`` once the
        step 'evaluation' has run. Seconds are those of all epochs in all runs, compiling
        included, reading images and writing checkpoints not. The peak of memory is that of the
        process since its start, in MB (10^6 bytes): earlier models of the same run count in.

    Raises
    ------
    MissingError
        If the step 'training' has not run.
    """
    rows = []
    for (network, fold), curve in learning_curves(experiment).groupby(["network", "fold"], sort=False):
        chosen = curve[curve["chosen"].astype(bool)] if "chosen" in curve else curve
        last = chosen.iloc[-1] if len(chosen) else curve.iloc[-1]
        effort = effort_path(experiment, network, fold)
        taken = read_json(effort) if effort.exists() else {}
        row = {"network": network, "fold": fold, "epochs": len(curve), "epoch": int(last["epoch"])}
        row |= {name: last[name] for name in (*HISTORY[1:], *WATCHED) if name in curve}
        rows.append(row | {name: taken.get(name) for name in EFFORT})
    watched = WATCHED if experiment.training.validation != "none" else ()
    table = pd.DataFrame(
        rows, columns=["network", "fold", "epochs", "epoch", *HISTORY[1:], *watched, *EFFORT]
    )
    table[list(EFFORT)] = table[list(EFFORT)].astype(float)
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


def write_training_table(experiment: Experiment) -> Path:
    """Write `training_table`, without test accuracies, as ``training.csv`` beside the models."""
    path = experiment.models_folder / "training.csv"
    table = training_table(experiment).drop(columns="test_accuracy", errors="ignore")
    write_csv(path, table)
    return path
