"""Subject-wise folds: nobody is in the training and the test images of one model."""

from __future__ import annotations

import warnings

import pandas as pd

from ekman_expressions.core.errors import DataError, SettingsError, check_range
from ekman_expressions.core.runtime import derive_seed


def _assign_folds(rows: pd.DataFrame, folds: int, *, seed: int) -> pd.Series:
    """Return the fold, ``CV1`` ..., in which each row is tested: no subject is split, expressions are
    balanced.

    Databases that come with folds of their own keep them; the rows of the others are dealt out, by
    scikit-learn's ``StratifiedGroupKFold``. The order of the rows changes nothing.
    """
    check_range(folds, "folds", 2, integer=True)
    given = rows["fold"].fillna("").astype(str) if "fold" in rows else pd.Series("", index=rows.index)
    has_fold = given != ""
    _check_given(rows, given, folds)
    if not has_fold.all():
        given = given.mask(~has_fold, _computed(rows[~has_fold], folds, seed))
    return given.rename(None)


def _join_copies(rows: pd.DataFrame, digests: pd.Series) -> pd.Series:
    """Return who each row shows, one subject for pictures with the same bytes (`digests`; empty: not known).

    Only in databases in which each picture counts as a person of its own, and that bring no folds.
    """
    unknown = rows["subject"].groupby(rows["dataset"]).transform(lambda theirs: theirs.is_unique)
    given = rows["fold"].fillna("") if "fold" in rows else ""
    free = unknown.astype(bool) & (digests != "") & (given == "")
    first = rows["subject"].groupby(digests).transform("min")
    return rows["subject"].where(~free, first)


def _check_given(rows: pd.DataFrame, given: pd.Series, folds: int) -> None:
    """Raise unless the folds that databases come with can be used as they are."""
    names = {f"CV{number}" for number in range(1, folds + 1)}
    dataset = rows["dataset"] if "dataset" in rows else pd.Series("the table", index=rows.index)
    for name, theirs in given.groupby(dataset):
        if (theirs == "").all():
            continue
        if (theirs == "").any():
            without = rows.loc[theirs.index[theirs == ""], "image_id"]
            raise DataError(
                f"{name}: {len(without)} of {len(theirs)} images have no fold ({', '.join(without[:5])}). "
                "Give all images of a database a fold, or none."
            )
        found = sorted(set(theirs))
        if set(found) != names:
            raise SettingsError(
                f"'faces.folds' is {folds}, but {name} comes with the folds {', '.join(found)}. Folds that "
                f"a database brings are taken as they are: they must be CV1 ... CV{folds}, or 'faces.folds' "
                "must be changed."
            )
    given = given[given != ""]
    homes = given.groupby(rows.loc[given.index, "subject"]).unique()
    split = homes[homes.map(len) > 1]
    if len(split):
        named = "; ".join(f"{subject} in {', '.join(sorted(found))}" for subject, found in split[:5].items())
        raise DataError(
            f"{len(split)} subjects are in more than one of the given folds: {named}. A model would be "
            "tested on people it was trained on. Correct the folds, or the pattern that tells who is seen."
        )


def _computed(rows: pd.DataFrame, folds: int, seed: int) -> pd.Series:
    """Deal rows out among folds by subject."""
    from sklearn.model_selection import StratifiedGroupKFold

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
        # An expression rarer than the folds is named in the step's notes.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = splitter.split(ordered, ordered["expression"], ordered["subject"])
        for number, (_, test) in enumerate(splits, start=1):
            names.iloc[test] = f"CV{number}"
    for number in range(1, folds + 1):
        if not (names == f"CV{number}").any():
            # With few subjects the splitter may leave a fold empty: a subject of the fold with most moves there.
            several = ordered["subject"].groupby(names).agg(lambda found: sorted(set(found)))
            fullest = max(several.index, key=lambda fold: (len(several[fold]), fold))
            names[ordered["subject"] == several[fullest][0]] = f"CV{number}"
    return names.reindex(rows.index)
