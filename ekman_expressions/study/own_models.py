"""What the steps keep in run.json of the models they ask: files to be hashed, and remarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ekman_expressions.study.experiment import Experiment


def own_files(experiment: Experiment) -> dict[str, Path]:
    """Return the files of the models of one's own that are there.

    Returns
    -------
    dict of str to Path
        By the model, ``model Mine_CV1``; a model that is the same for all folds by its name
        alone, and if it has several files, each with its own name behind.
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


def notes(experiment: Experiment) -> list[str]:
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
