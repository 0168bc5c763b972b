"""Files from elsewhere: whatever they hold, only our own errors come out."""

import functools
import io
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import record_of

from ekman_expressions import Experiment
from ekman_expressions.core.errors import EkmanExpressionsError
from ekman_expressions.core.files import read_csv, read_json
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.faces import folders
from ekman_expressions.study import prepared

MANIFEST = b"""image_id,path,subject,expression,intensity,fold
a1,faces/a1.png,KA,anger,0.5,CV1
a2,faces/a2.png,NA,happiness,,CV2
"""
TOML = b"""name = "lab"
networks = ["WeiNet", "Mine"]
[faces]
datasets = ["lab", "ckplus"]
roots = { lab = "/data/lab" }
folds = 3
options = { ckplus = { frames = 3 } }
[training]
weights = "none"
[training.overrides.WeiNet]
learning_rate = 2e-4
[explanation]
hidden = 0.0
[models.Mine]
path = "mine_{fold}.onnx"
side = 48
classes = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"]
"""
CELLS = ["", "anger", "../../etc/passwd", "C:\\x", "\\\\host\\share", "/etc/passwd", "~root", "a/../../b"]
CELLS += ["NA", "inf", "-1", "1e999", "0", '"', "'", "\x00", "\ufeff", "\u202e", "=cmd()", "a" * 300]
VALUES = ["1e999", "nan", "inf", "-1", "0", "true", '""', "[]", "{}", "[[]]"]
VALUES += ["9" * 5000, '"\\u0000"', "1979-05-27"]


@functools.cache
def record_bytes() -> bytes:
    made = record_of(lambda kept: kept[:, 0] / 2, np.random.default_rng(0).random((20, 6)) < 0.5)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder) / "a.npz")
        return (Path(folder) / "a.npz").read_bytes()


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """Bytes of a good file, with some cut off, replaced, doubled or put in between."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        data[start:end] = draw(st.one_of(st.binary(max_size=12), st.just(bytes(data[start:end]) * 2)))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@st.composite
def tables(draw) -> bytes:
    """Tables whose cells are chosen by somebody who means harm."""
    columns = draw(st.permutations(["image_id", "path", "subject", "expression", "intensity", "fold"]))
    columns = columns[: draw(st.integers(3, 6))]
    cell = st.one_of(st.sampled_from(CELLS), st.text(max_size=8))
    rows = draw(st.lists(st.lists(cell, min_size=1, max_size=7), max_size=5))
    text = "\n".join(",".join(row) for row in [columns, *rows])
    return text.encode(draw(st.sampled_from(["utf-8", "utf-16", "latin-1"])), "replace")


@st.composite
def settings_files(draw) -> bytes:
    """Settings of which some have other values, other types, or more depth than anybody needs."""
    lines = TOML.decode().splitlines()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[place].partition("=")
        value = draw(st.one_of(st.sampled_from(VALUES), st.text(max_size=6), st.floats().map(repr)))
        lines[place] = f"{key}{equals} {value}" if equals else f"[{value}]"
    if draw(st.integers(0, 20)) == 0:
        lines.append("deep = " + "[" * 5000)
    return "\n".join(lines).encode("utf-8", "replace")


@st.composite
def archives(draw, names: tuple[str, ...]) -> bytes:
    """Archives that are sound, with arrays of any kind and shape under the right names."""
    kinds = st.sampled_from(["f4", "f8", "u1", "i8", "?", "U3", "S3", "c8", "M8[s]", "V4"])
    shapes = st.lists(st.integers(0, 70), max_size=3).filter(lambda shape: np.prod(shape, dtype=int) < 20_000)
    buffer = io.BytesIO()
    compression = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in draw(st.permutations(names))[: draw(st.integers(0, len(names)))]:
            array = np.zeros(draw(shapes), draw(kinds))
            if array.dtype.kind == "f" and array.size:
                array.flat[0] = draw(st.floats(width=32))
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read_manifest(folder, content):
    rows = folders._read_manifest(folders._Search(written(folder / "manifest.csv", content).parent))
    for path in rows["path"]:
        assert folder in type(folder)(path).parents and ".." not in path.split("/"), path


def read_prepared(folder, content):
    experiment = Experiment(name="x", networks=("WeiNet",), root=folder)
    written(experiment.manifest_path, content)
    for image_id in prepared.read_manifest(experiment)["image_id"]:
        path = prepared._face_path(experiment, image_id)
        assert path.parent.resolve() == (experiment.faces_folder / "faces").resolve(), path


def read_landmarks(folder, content):
    experiment = Experiment(name="x", networks=("WeiNet",), root=folder)
    written(prepared._landmarks_path(experiment, "a"), content)
    points = prepared.read_landmarks(experiment, "a")
    assert points.shape == (68, 2) and np.isfinite(points).all()


def by(read, *more):
    return lambda folder, content: read(written(folder / "file", content), *more)


RECORD = ("image_id", "model", "segments", "samples", "predictions", "hidden")
READERS = {
    "manifest": (read_manifest, st.one_of(damaged(MANIFEST), tables(), st.binary(max_size=60))),
    "prepared manifest": (read_prepared, st.one_of(damaged(MANIFEST), tables())),
    "settings": (
        by(Experiment.from_toml),
        st.one_of(damaged(TOML), settings_files(), st.binary(max_size=60)),
    ),
    "record": (
        by(PerturbationRecord.load),
        st.one_of(st.deferred(lambda: damaged(record_bytes())), archives(RECORD)),
    ),
    "landmarks": (read_landmarks, archives(("points", "transform"))),
    "table": (by(read_csv, ("image_id",)), st.one_of(damaged(MANIFEST), tables())),
    "json": (
        by(read_json),
        st.one_of(damaged(b'{"step": "faces", "end": null, "n": [1, 2.5, true]}'), tables()),
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("cases", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_readers_raise_nothing_but_our_errors(reader, cases, tmp_path):
    read, content = READERS[reader]

    @settings(max_examples=cases)
    @given(content)
    def only_our_errors(data):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                read(tmp_path, data)
            except EkmanExpressionsError:
                pass

    only_our_errors()
