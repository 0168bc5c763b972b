"""Atomic files: what is left of killed processes, and archives that were tampered with."""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from ekman_expressions.core import files
from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.files import atomic_path, read_arrays, write_arrays
from ekman_expressions.core.processes import machine

KILLED = """
import os, signal, sys
from ekman_expressions.core.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_recognised_and_removed(tmp_path):
    target = tmp_path / "deep" / "a.npz"
    assert subprocess.run([sys.executable, "-c", KILLED, target]).returncode == -9
    (left,) = target.parent.iterdir()
    assert left.name.endswith("-a.npz") and files.leftovers(tmp_path) == [left]
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert files.remove_leftovers(tmp_path) == [left]
        assert temporary.exists()
    assert [path.name for path in target.parent.iterdir()] == ["a.npz"]


def test_files_of_other_machines_count_as_left_only_when_they_are_old(tmp_path):
    names = [".12@0123abcd-a.png", ".12-old style.csv", f".{os.getpid()}@{machine()}-mine.csv", ".hidden-x"]
    for name in names:
        (tmp_path / name).touch()
    assert files.leftovers(tmp_path) == []
    for name in names:
        os.utime(tmp_path / name, (1e9, 1e9))
    assert [path.name for path in files.leftovers(tmp_path)] == sorted(names[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize(
    "change",
    [
        {"maps": np.ones(3, np.float32)},
        {"maps": np.zeros(3, np.float64)},
        {"maps": np.zeros((3, 1), np.float32)},
        {"ids": np.array(["a", "c"])},
        {"more": np.zeros(1)},
    ],
)
def test_arrays_put_together_by_something_else_are_recognised(tmp_path, change):
    path = tmp_path / "a.npz"
    write_arrays(path, {"maps": np.zeros(3, np.float32), "ids": np.array(["a", "b"])})
    assert files.has_digest(path)
    with np.load(path) as stored:
        content = dict(stored)
    np.savez(path, **(content | change))
    with pytest.raises(DataError, match="a.npz is damaged .its arrays are not those"):
        read_arrays(path)


@pytest.mark.parametrize("kind", ["float32", "uint8", "bool", "int64", "U3", "S2", "float16"])
def test_arrays_of_all_kinds_and_shapes_keep_their_digest(tmp_path, kind):
    arrays = {
        "empty": np.zeros((0, 3), kind),
        "single": np.zeros((), kind),
        "turned": np.zeros((2, 3), kind).T,
        "every_second": np.zeros(6, kind)[::2],
    }
    write_arrays(tmp_path / "a.npz", arrays)
    back = read_arrays(tmp_path / "a.npz", tuple(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def test_an_archive_that_unpacks_to_too_much_is_refused_unless_allowed(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    write_arrays(path, {"x": np.zeros(1_000_000, np.uint8)})
    assert path.stat().st_size < 2_000
    monkeypatch.setenv(files.LARGEST_VARIABLE, "500000")
    with pytest.raises(DataError, match="more than 500000.*EKMAN_EXPRESSIONS_LARGEST_ARRAYS"):
        read_arrays(path)
    monkeypatch.setenv(files.LARGEST_VARIABLE, "2000000")
    assert read_arrays(path)["x"].size == 1_000_000
    monkeypatch.setenv(files.LARGEST_VARIABLE, "lots")
    with pytest.raises(SettingsError, match="'lots'"):
        read_arrays(path)


def test_a_header_that_promises_more_than_is_there_takes_no_memory(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match="should hold float64 of shape .1000000000000000,.*does not"):
        read_arrays(path)
