"""Files: atomic writes, archives, tables, and the names of what is damaged."""

import os
import zipfile

import numpy as np
import pytest

from ekman_expressions.core import files
from ekman_expressions.core.errors import DataError, MissingError


def test_a_failed_write_keeps_the_earlier_file_and_what_a_killed_one_leaves_is_recognised(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        assert files.leftovers(tmp_path) == [temporary]
        raise RuntimeError
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]
    # As after a kill.
    for left in (temporary, tmp_path / ".hidden-x"):
        left.touch()
    files.leftovers(tmp_path, remove=True)
    assert sorted(os.listdir(tmp_path)) == [".hidden-x", "a.txt"]


@pytest.mark.parametrize("kind", ["float32", "bool", "int64", "U3", "S2", "float16"])
def test_arrays_come_back_and_equal_arrays_give_equal_bytes(tmp_path, kind):
    arrays = {
        "empty": np.zeros((0, 3), kind),
        "single": np.zeros((), kind),
        "turned": np.ones((2, 3), kind).T,
        "every_second": np.ones(6, kind)[::2],
    }
    for name in ("one.npz", "two.npz"):
        files.write_arrays(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    back = files.read_arrays(tmp_path / "one.npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_damaged_foreign_and_harmful_arrays_are_named(tmp_path):
    """Cut off, of another kind, with a header that promises more than is there, with a pickle."""
    path = tmp_path / "a.npz"
    files.write_arrays(path, {"x": np.arange(1000)})
    whole = path.read_bytes()
    np.save(tmp_path / "b.npy", np.arange(3))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive, archive.open("x.npy", "w") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(file, header)
    pickled = {"x": np.array([{}], dtype=object)}
    np.savez(tmp_path / "d.npz", **pickled)
    others = [(tmp_path / name).read_bytes() for name in ("b.npy", "c.npz", "d.npz")]
    for content in (whole[:-40], b"", *others):
        path.write_bytes(content)
        with pytest.raises(DataError, match="a.npz is damaged"):
            files.read_arrays(path)
    path.write_bytes(whole)
    with pytest.raises(DataError, match="a.npz .*y is not a file in the archive"):
        files.read_arrays(path, ("y",))
    with pytest.raises(ValueError, match="[Oo]bject arrays"):
        files.write_arrays(path, pickled)


def test_missing_columns_are_listed(tmp_path):
    (tmp_path / "a.csv").write_text("subject,fold\nx,CV1\n")
    said = "lacks the columns 'path'.*It has 'subject', 'fold'; needed are 'subject', 'path'"
    with pytest.raises(DataError, match=said):
        files.read_csv(tmp_path / "a.csv", ("subject", "path"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="empty.csv is not a readable CSV"):
        files.read_csv(tmp_path / "empty.csv")


def test_images_that_cannot_be_opened_are_named(tmp_path):
    for name in ("none.jpg", "."):
        with pytest.raises(MissingError, match="no image"):
            files.read_image(tmp_path / name)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match="text.jpg cannot be read as an image"):
        files.read_image(tmp_path / "text.jpg")
