"""Subject-wise folds: nobody is in the training and the test images of one model."""

from __future__ import annotations

import warnings

import pandas as pd

from ekman_expressions.errors import DataError, SettingsError, check_range
from ekman_expressions.expressions import EXPRESSIONS
from ekman_expressions.randomness import derive_seed


def assign_folds(rows: pd.DataFrame, folds: int, *, seed: int) -> pd.Series:
    """Assign each row to a fold so that no subject is split and expressions are balanced.

    Parameters
    ----------
    rows : DataFrame
        Columns ``image_id`` (unique), ``subject``, ``expression``. Their order changes nothing.
    folds : int, >= 2
        How many.
    seed : int
        The experiment's seed.

    Returns
    -------
    Series of str
        ``CV1`` ... for each row, with the index of `rows`: the fold in which it is tested.

    Raises
    ------
    SettingsError
        If there are fewer subjects than folds.
    DataError
        If every expression has fewer images than there are folds.

    References
    ----------
    scikit-learn's ``StratifiedGroupKFold`` does the work.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    check_range(folds, "folds", 2, integer=True)
    subjects = rows["subject"].nunique()
    if subjects < folds:
        raise SettingsError(
            f"'faces.folds' is {folds}, but there are only {subjects} subjects, and a subject is never "
            f"split. Use at most {subjects} folds, or more subjects."
        )
    if rows["expression"].value_counts().max() < folds:
        raise DataError(
            f"No expression has {folds} images, one for each fold. Use fewer folds or more images."
        )
    ordered = rows.sort_values("image_id")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=derive_seed(seed, "folds") % 2**32)
    names = pd.Series("", index=ordered.index)
    with warnings.catch_warnings():
        # An expression rarer than the folds is said by `without_expression`, with names.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = splitter.split(ordered, ordered["expression"], ordered["subject"])
        for number, (_, test) in enumerate(splits, start=1):
            names.iloc[test] = f"CV{number}"
    return names.reindex(rows.index)


def without_expression(manifest: pd.DataFrame) -> list[str]:
    """Say which folds lack which expressions, e.g. ``CV2 has no image of fear``."""
    missing = []
    for fold, rows in manifest.groupby("fold"):
        lacking = [name for name in EXPRESSIONS if name not in set(rows["expression"])]
        if lacking:
            missing.append(f"{fold} has no image of {', '.join(lacking)}")
    return missing
