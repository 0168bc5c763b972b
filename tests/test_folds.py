"""Subject-wise folds."""

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.study.faces import _assign_folds


def table(labels):
    """Rows from (subject, expression) pairs."""
    rows = pd.DataFrame(labels, columns=["subject", "expression"])
    return rows.assign(image_id=[f"image{number:03d}" for number in range(len(rows))], dataset="b")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([f"s{number}" for number in range(9)]), st.sampled_from(EXPRESSIONS)),
        min_size=6,
        max_size=50,
    ),
    st.integers(2, 5),
    st.integers(0, 2**40),
    st.randoms(use_true_random=False),
)
def test_no_subject_is_split_no_fold_is_empty_and_row_order_is_no_matter(labels, folds, seed, random):
    rows = table(labels)
    assume(rows["subject"].nunique() >= folds and rows["expression"].value_counts().max() >= folds)
    names = _assign_folds(rows, folds, seed=seed)
    assert (names.groupby(rows["subject"]).nunique() == 1).all()
    assert set(names) == {f"CV{number}" for number in range(1, folds + 1)}
    order = list(rows.index)
    random.shuffle(order)
    shuffled = rows.loc[order].reset_index(drop=True)
    again = _assign_folds(shuffled, folds, seed=seed)
    by_image = pd.Series(again.to_numpy(), shuffled["image_id"])
    assert list(by_image[rows["image_id"]]) == list(names)


def test_balanced_subjects_give_equal_folds_with_all_expressions_by_the_seed():
    rows = table([(f"s{number:02d}", name) for number in range(10) for name in EXPRESSIONS])
    folds = [_assign_folds(rows, 5, seed=seed) for seed in (0, 0, 1, 2)]
    counts = rows.assign(fold=folds[0]).groupby(["fold", "expression"]).size()
    assert len(counts) == 30 and (counts == 2).all()
    assert folds[1].equals(folds[0]) and not (folds[2].equals(folds[0]) and folds[3].equals(folds[0]))


# Folds that a database brings

GIVEN = table([("p", "fear"), ("q", "fear"), ("q", "anger")]).assign(dataset="a", fold=["CV1", "CV2", "CV2"])
ONE_EACH = table([("a", "anger"), ("b", "fear"), ("c", "sadness")])


def test_given_folds_stay_and_other_databases_are_dealt_out():
    free = table([(f"s{n // 2}", "fear" if n % 2 else "anger") for n in range(8)])
    rows = pd.concat([GIVEN, free], ignore_index=True)
    folds = _assign_folds(rows, 2, seed=0)
    assert list(folds[:3]) == ["CV1", "CV2", "CV2"] and set(folds[3:]) == {"CV1", "CV2"}
    assert list(folds[3:]) == list(_assign_folds(free, 2, seed=0))
    few = pd.concat([GIVEN, free[:2]], ignore_index=True)
    with pytest.raises(SettingsError, match=r"'faces.folds' is 2, but there are only 1 subjects"):
        _assign_folds(few, 2, seed=0)


@pytest.mark.parametrize(
    "rows, folds, error, message",
    [
        (ONE_EACH, 2, DataError, "No expression has 2 images, one for each fold"),
        (GIVEN, 3, SettingsError, "'faces.folds' is 3, but a comes with the folds CV1, CV2"),
        (GIVEN.assign(fold=["CV1", "CV1", "CV2"]), 2, DataError, "1 subjects.*q in CV1, CV2"),
        (GIVEN.assign(fold=["CV1", "CV2", ""]), 2, DataError, r"a: 1 of 3 images have no fold \(image002\)"),
    ],
)
def test_what_cannot_be_dealt_out_or_taken_as_given(rows, folds, error, message):
    with pytest.raises(error, match=message):
        _assign_folds(rows, folds, seed=0)
