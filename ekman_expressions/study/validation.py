"""Which images a model is trained on, and which it is watched on."""

from __future__ import annotations

import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.seeds import generator
from ekman_expressions.study.experiment import Experiment


def split(experiment: Experiment, manifest: pd.DataFrame, fold: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose the images of one fold's models.

    The test fold is never trained on. With ``validation = "subjects"`` some of the other
    subjects are held out, the same for all networks; drawn by the experiment's seed.

    Parameters
    ----------
    experiment : Experiment
        Its seed and training settings count.
    manifest : DataFrame
        One row per face, in any order.
    fold : str
        The test fold.

    Returns
    -------
    (DataFrame, DataFrame)
        Rows to train on, and rows to watch: none, those of the test fold, or those of the
        subjects held out. Sorted by image.

    Raises
    ------
    DataError
        If there is no image to train on, or (with ``"subjects"``) only one subject, or
        (with ``"test"``) no image in the test fold.
    """
    # Sorted, so that the order of the manifest's rows changes nothing.
    rows = manifest.sort_values("image_id")
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
