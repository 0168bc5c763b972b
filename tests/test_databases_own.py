"""Folders of one's own: by expression, by given folds, by a manifest; ids made of paths; given folds."""

import os
import unicodedata

import pandas as pd
import pytest
from database_replicas import cross_validation, put
from hypothesis import given
from hypothesis import strategies as st

from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.faces.databases import survey
from ekman_expressions.faces.folders import _IMAGE_ID, safe_ids
from ekman_expressions.faces.folds import assign_folds

# Ids made of paths


def test_ids_are_readable_and_say_what_was_lost():
    names = ["anger/S005_001.png", "joy/José Núñez.jpg", "joy/Łukasz.png", "a/ü/Straße.tif", "日本/笑.png"]
    result = safe_ids(names)
    assert result[0] == "anger_S005_001"
    assert [name[:-9] for name in result[1:]] == ["joy_Jose-Nunez", "joy_Lukasz", "a_u_Strasse", "-_-"]


def test_ids_that_would_be_alike_are_told_apart_whatever_their_order():
    names = ["a/b.png", "a_b.png", "A/B.jpg", "c.png"]
    result = safe_ids(names)
    assert result[3] == "c" and all(len(name) == 12 for name in result[:3])
    assert safe_ids(names[::-1]) == result[::-1]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), unique=True))
def test_ids_are_safe_short_and_unique(names):
    names = list({unicodedata.normalize("NFC", name): None for name in names})
    result = safe_ids([f"{name}.png" for name in names])
    assert all(_IMAGE_ID.fullmatch(name) and len(name) < 140 for name in result)
    assert len({name.lower() for name in result}) == len(names)


def test_names_decomposed_as_on_macos_give_the_same_ids(tmp_path):
    for form in ("NFC", "NFD"):
        put(tmp_path / form / "happy" / unicodedata.normalize(form, "José 1.png"))
    forms = (survey("mine", tmp_path / form, {"subject": ".+"}).rows for form in ("NFC", "NFD"))
    composed, decomposed = forms
    assert list(composed["image_id"]) == list(decomposed["image_id"])
    assert list(composed["subject"]) == list(decomposed["subject"]) == ["mine/happy/José 1.png"]


def test_one_name_composed_and_decomposed_in_one_folder_counts_once(tmp_path):
    for form in ("NFC", "NFD"):
        put(tmp_path / "happy" / unicodedata.normalize(form, "José.png"))
    if len(list((tmp_path / "happy").iterdir())) == 1:
        pytest.skip("this file system keeps one of them")
    result = survey("mine", tmp_path, {"subject": ".+"})
    assert len(result.rows) == 1 and "a second file" in result.left_out["reason"][0]


# Folders by expression


def test_folders_named_by_expressions(tmp_path):
    for name in ("Happy/S1_a.png", "Happy/S2_a.JPG", "ANGER/S1_b.png", "sad/day 1/S2_c.tiff"):
        put(tmp_path / name)
    put(tmp_path / "neutral" / "S1_n.png")
    put(tmp_path / "sad" / ".DS_Store")
    put(tmp_path / "sad" / "notes.txt")
    put(tmp_path / "smug" / "S1_d.png")
    put(tmp_path / "sad" / "nobody.png")
    put(tmp_path / "stray.png")
    result = survey("mine", tmp_path, {"subject": "(S\\d)_"})
    assert result.rows[["image_id", "subject", "expression"]].to_numpy().tolist() == [
        ["mine_ANGER_S1_b", "mine/S1", "anger"],
        ["mine_Happy_S1_a", "mine/S1", "happiness"],
        ["mine_Happy_S2_a", "mine/S2", "happiness"],
        ["mine_neutral_S1_n", "mine/S1", "neutral"],
        [result.rows["image_id"][4], "mine/S2", "sadness"],
    ]
    assert result.rows["image_id"][4].startswith("mine_sad_day-1_S2_c-")
    assert dict(result.left_out.to_numpy()) == {
        "smug/S1_d.png": "its folder smug is no expression",
        "stray.png": "in no expression's folder",
        "sad/nobody.png": "the pattern '(S\\\\d)_' for the subject finds nothing in its path",
    }
    assert result.expected == {} and not result.private


def test_persons_folders_that_look_like_expressions_do_not_confuse(tmp_path):
    # SA and AN are initials here, not sadness and anger.
    for person in ("SA", "AN", "KA", "KL"):
        put(tmp_path / person / "happy" / "1.png")
        put(tmp_path / person / "fear" / "1.png")
    rows = survey("mine", tmp_path, {"layout": "folders", "subject": "^(?P<subject>[A-Z]+)/(happy)?"}).rows
    assert sorted(set(rows["expression"])) == ["fear", "happiness"]
    assert sorted(set(rows["subject"])) == ["mine/AN", "mine/KA", "mine/KL", "mine/SA"]


def test_folders_without_a_pattern_for_the_subject_are_refused(tmp_path):
    put(tmp_path / "happy" / "1.png")
    with pytest.raises(SettingsError, match="the option 'subject', a regular expression"):
        survey("mine", tmp_path)


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "mine" / "happy").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", tmp_path / "mine" / "happy" / "more")
    os.symlink(tmp_path / "mine", tmp_path / "mine" / "happy" / "back")
    assert len(survey("mine", tmp_path / "mine", {"subject": ".+"}).rows) == 1


def test_names_that_are_no_utf8_are_left_out(tmp_path):
    put(tmp_path / "happy" / "1.png")
    try:
        put(tmp_path / "happy" / os.fsdecode(b"Jos\xe9.png"))
    except OSError:
        pytest.skip("this file system refuses such names")
    result = survey("mine", tmp_path, {"subject": ".+"})
    assert len(result.rows) == 1 and "not valid UTF-8" in result.left_out["reason"][0]
    result.summary().encode()


def test_nothing_that_could_be_read_says_all_that_was_looked_for(tmp_path):
    put(tmp_path / "pictures" / "1.png")
    with pytest.raises(MissingError, match="no manifest.csv.*it holds pictures"):
        survey("mine", tmp_path)
    with pytest.raises(MissingError, match="no folder named like an expression.*it holds pictures/"):
        survey("mine", tmp_path, {"layout": "folders", "subject": "."})
    with pytest.raises(MissingError, match="no pair of folders like CV1 and CV1_test.*it holds pictures/"):
        survey("mine", tmp_path, {"layout": "cross_validation"})


def test_a_manifest_needs_no_pattern(tmp_path):
    put(tmp_path / "manifest.csv", "image_id,path,subject,expression\nx,a.png,s,anger\n")
    with pytest.raises(SettingsError, match="'subject' has no effect on a manifest.csv"):
        survey("mine", tmp_path, {"subject": "a"})


# Given folds


def test_folds_of_the_studys_layout_are_taken_as_they_are(tmp_path):
    result = survey("study", cross_validation(tmp_path), {"subject": "p\\d+"})
    assert len(result.rows) == 20 and result.left_out.empty and result.notes == ()
    for row in result.rows.itertuples():
        assert row.fold == f"CV{int(row.subject.removeprefix('study/p')) % 5 + 1}"
        assert f"{row.fold}_test" in row.path
    folds = assign_folds(result.rows, 5, seed=0)
    assert list(folds) == list(result.rows["fold"])
    assert "study_Anger_p0_1" in set(result.rows["image_id"])


def test_without_pattern_each_image_is_a_person(tmp_path):
    result = survey("study", cross_validation(tmp_path))
    assert result.subjects == 20 and "each image counts as a person" in result.notes[0]


def test_differences_between_the_folders_are_reported(tmp_path):
    cross_validation(tmp_path)
    put(tmp_path / "CV2_test" / "Anger" / "p0_1.png")  # also in CV1_test
    put(tmp_path / "CV3" / "Anger" / "p99_1.png")  # in no test folder
    put(tmp_path / "CV2" / "Happy" / "p1_1.png")  # own test image
    (tmp_path / "CV4" / "Happy" / "p2_1.png").unlink()
    put(tmp_path / "CV1" / "Smug" / "p3_1.png")
    put(tmp_path / "CV4_test" / "Smug" / "p3_1.png")
    result = survey("study", tmp_path, {"subject": "p\\d+"})
    why = dict(result.left_out.to_numpy())
    assert why == {
        "Anger/p0_1.png": "in the test folders of CV1, CV2: its fold is unclear",
        "Anger/p99_1.png": "in training folders only: its fold is unclear",
        "Smug/p3_1.png": "its folder Smug is no expression",
    }
    assert len(result.rows) == 19
    notes = "\n".join(result.notes)
    assert "CV2 has 1 of its own test images among its training images (such as Happy/p1_1.png)" in notes
    assert "CV4 lacks 1 training images that are test images of other folds (such as Happy/p2_1.png)" in notes


def test_test_folders_alone_will_do_and_a_missing_one_is_an_error(tmp_path):
    cross_validation(tmp_path, folds=2)
    for path in (tmp_path / "CV1").rglob("*.png"):
        path.unlink()
    for folder in ("Anger", "Happy", ""):
        (tmp_path / "CV1" / folder).rmdir()
    result = survey("study", tmp_path)
    assert len(result.rows) == 20 and any("CV1 has no training folder" in note for note in result.notes)
    (tmp_path / "CV3").mkdir()
    with pytest.raises(MissingError, match="no test folder CV3_test .*it holds CV1_test/, CV2/, CV2_test/"):
        survey("study", tmp_path)


def table(*rows, dataset="a"):
    columns = ["image_id", "subject", "expression", "fold"]
    return pd.DataFrame(rows, columns=columns).assign(dataset=dataset)


GIVEN = table(("1", "p", "fear", "CV1"), ("2", "q", "fear", "CV2"), ("3", "q", "anger", "CV2"))


def test_given_folds_stay_and_other_databases_are_dealt_out():
    free = pd.DataFrame(
        [(f"f{n}", f"s{n // 2}", "fear" if n % 2 else "anger") for n in range(8)],
        columns=["image_id", "subject", "expression"],
    ).assign(dataset="b")
    rows = pd.concat([GIVEN, free], ignore_index=True)
    folds = assign_folds(rows, 2, seed=0)
    assert list(folds[:3]) == ["CV1", "CV2", "CV2"]
    assert list(folds[3:]) == list(assign_folds(free, 2, seed=0))
    assert set(folds[3:]) == {"CV1", "CV2"}
    shuffled = rows.sample(frac=1, random_state=0)
    assert assign_folds(shuffled, 2, seed=0).reindex(rows.index).equals(folds)
    few = pd.concat([GIVEN, free[:2]], ignore_index=True)
    with pytest.raises(SettingsError, match="only 1 subjects"):
        assign_folds(few, 2, seed=0)


@pytest.mark.parametrize(
    "rows, folds, error, message",
    [
        (GIVEN, 3, SettingsError, "'faces.folds' is 3, but a comes with the folds CV1, CV2"),
        (GIVEN.assign(fold=["CV1", "CV2", "CV7"]), 2, SettingsError, "CV1, CV2, CV7"),
        (GIVEN.assign(fold=["CV1", "CV1", "CV2"]), 2, DataError, "1 subjects.*q in CV1, CV2"),
        (GIVEN.assign(fold=["CV1", "CV2", ""]), 2, DataError, r"a: 1 of 3 images have no fold \(3\)"),
        (GIVEN.assign(fold=["CV1", "CV2", None]), 2, DataError, "have no fold"),
    ],
)
def test_given_folds_that_cannot_be_used(rows, folds, error, message):
    with pytest.raises(error, match=message):
        assign_folds(rows, folds, seed=0)


def test_a_manifest_may_give_folds(tmp_path):
    put(
        tmp_path / "manifest.csv",
        "image_id,path,subject,expression,fold\nx,a.png,s,anger,CV2\ny,b.png,t,anger,CV1\n",
    )
    assert list(assign_folds(survey("mine", tmp_path).rows, 2, seed=0)) == ["CV2", "CV1"]
