"""Tables of databases: the bundled one, a user's own, and what is refused in them."""

import numpy as np
import pandas as pd
import pytest
from made_databases import write_database

from ekman_expressions.core.errors import DataError, MissingError, SettingsError
from ekman_expressions.faces import survey


def test_synthetic_faces_are_complete_and_known():
    rows = survey("synthetic").rows
    assert len(rows) == 1120 and rows["subject"].nunique() == 40
    row = rows.set_index("image_id").loc["synthetic_id00_anger_1"]
    assert (row["subject"], row["dataset"], row["intensity"]) == ("synthetic/id00", "synthetic", 0.7)


def test_database_of_ones_own(tmp_path):
    root = write_database(
        tmp_path / "mine",
        [("b", "b.png", "NA", "Angry"), ("a", "x/a.png", "007", "joy"), ("c", "c.png", "NA", "contempt")],
        intensity=["", "0.5", "1"],
    )
    rows = survey("jaffe2", root).rows
    assert list(rows["image_id"]) == ["jaffe2_a", "jaffe2_b", "jaffe2_c"]
    assert list(rows["subject"]) == ["jaffe2/007", "jaffe2/NA", "jaffe2/NA"]
    assert list(rows["expression"]) == ["happiness", "anger", "contempt"]
    assert list(rows["path"]) == [str(root / name) for name in ("x/a.png", "b.png", "c.png")]
    np.testing.assert_array_equal(rows["intensity"], [0.5, np.nan, 1])


GOOD = ("a", "a.png", "s", "anger")


@pytest.mark.parametrize(
    "rows, message",
    [
        ([GOOD, ("A", "b.png", "s", "fear")], "more than once.*A, a"),
        ([("a/b", "a.png", "s", "anger")], "image_id 'a/b'"),
        ([("a", "a.png", "s", "smug")], "image a: Unknown expression 'smug'"),
        ([("a", "../a.png", "s", "anger")], "stay inside it"),
        ([("a", "x\\..\\..\\a.png", "s", "anger")], "stay inside it"),
        ([("a", "/etc/a.png", "s", "anger")], "must be relative"),
        ([("a", "C:\\a.png", "s", "anger")], "must be relative"),
        ([GOOD, ("b", "b.png", " ", "anger")], "no subject in line 3"),
        ([], "lists no images"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, rows, message):
    root = write_database(tmp_path / "mine", rows)
    with pytest.raises(DataError, match=message):
        survey("mine", root).rows


def test_missing_columns_are_named(tmp_path):
    pd.DataFrame({"image_id": ["a"], "expression": ["anger"]}).to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(DataError, match="lacks the columns path, subject"):
        survey("mine", tmp_path).rows


@pytest.mark.parametrize("value", ["strong", "1.5", "-1"])
def test_wrong_intensities_are_refused(tmp_path, value):
    root = write_database(tmp_path / "mine", [GOOD], intensity=value)
    with pytest.raises(DataError, match=rf"image a: intensity must be .* got '{value}'"):
        survey("mine", root).rows


def test_wrong_roots_and_names_are_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"'mine' needs a root.*under \[faces.roots\]"):
        survey("mine").rows
    with pytest.raises(SettingsError, match="name of a database"):
        survey("../mine", tmp_path).rows
    with pytest.raises(MissingError, match="that folder does not exist"):
        survey("mine", tmp_path / "absent").rows
    (tmp_path / "S005").mkdir()
    with pytest.raises(MissingError, match="it holds S005"):
        survey("mine", tmp_path).rows
