"""Files: atomic writes, archives, tables, and the names of what is damaged."""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ekman_expressions.core import files
from ekman_expressions.core.errors import DataError, MissingError

KILLED = """
import os, signal, sys
from ekman_expressions.core.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_failed_write_keeps_the_earlier_file_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_recognised_and_removed(tmp_path):
    target = tmp_path / "deep" / "a.npz"
    assert subprocess.run([sys.executable, "-c", KILLED, target]).returncode == -9
    (left,) = target.parent.iterdir()
    assert left.name.endswith("-a.npz") and files.leftovers(tmp_path) == [left]
    (tmp_path / ".hidden-x").touch()
    files.leftovers(tmp_path, remove=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".hidden-x", "deep"]


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


def test_only_the_named_arrays_are_read(tmp_path):
    """The others may be large: here reading them would fail."""
    path = tmp_path / "a.npz"
    random = np.random.default_rng(0).random(10_000)
    files.write_arrays(path, {"ids": np.array(["a", "b"]), "maps": random, "hash": np.array("x")})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    back = files.read_arrays(path, ("hash", "ids"))
    assert list(back) == ["hash", "ids"] and back["ids"].tolist() == ["a", "b"]
    for names in ((), ("ids", "maps")):
        with pytest.raises(DataError, match="a.npz is damaged"):
            files.read_arrays(path, names)


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
    for content in (whole[:-40], whole[:100], b"", b"text", *others):
        path.write_bytes(content)
        with pytest.raises(DataError, match="a.npz is damaged"):
            files.read_arrays(path)
    path.write_bytes(whole)
    with pytest.raises(DataError, match="a.npz .*y is not a file in the archive"):
        files.read_arrays(path, ("y",))
    with pytest.raises(ValueError, match="[Oo]bject arrays"):
        files.write_arrays(path, pickled)
    with pytest.raises(FileNotFoundError):
        files.read_arrays(tmp_path / "none.npz")


def test_missing_columns_are_listed(tmp_path):
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"subject": ["x"], "fold": ["CV1"]}))
    with pytest.raises(
        DataError, match="lacks the columns 'path'.*It has 'subject', 'fold'; needed are 'subject', 'path'"
    ):
        files.read_csv(tmp_path / "a.csv", ("subject", "path"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="empty.csv is not a readable CSV"):
        files.read_csv(tmp_path / "empty.csv")


def test_images_are_found_by_names_with_spaces_and_letters_of_any_alphabet(tmp_path):
    path = tmp_path / "two words" / "\u0141\xf3d\u017a \u65e5\u672c.png"
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    files.write_image(path, red)
    np.testing.assert_array_equal(files.read_image(path), red)


def test_images_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "half.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "half.jpg").read_bytes()[:1500])
    (tmp_path / "text.jpg").write_text("no image")
    for name in ("half.jpg", "text.jpg"):
        with pytest.raises(DataError, match=f"{name} cannot be read as an image"):
            files.read_image(tmp_path / name)
    for name in ("none.jpg", "."):
        with pytest.raises(MissingError, match="no image"):
            files.read_image(tmp_path / name)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    # Rights do not stop root, so the refusal is simulated.
    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)
    with pytest.raises(DataError, match="text.jpg cannot be opened .Permission denied"):
        files.read_image(tmp_path / "text.jpg")
