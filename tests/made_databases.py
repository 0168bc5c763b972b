"""Databases in small, of tiny images or of some of the bundled faces; and experiments on them."""

import io
import itertools
import shutil

import numpy as np
import pandas as pd
from PIL import Image

from ekman_expressions import Experiment
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.folders import _IMAGE_ID

BUNDLED = synthetic.folder()


def png(number=0):
    """Bytes of a valid 1 x 1 image, another one for each number up to 255 ** 3."""
    data = io.BytesIO()
    color = np.array([[[number % 256, number // 256 % 256, number // 65536]]], np.uint8)
    Image.fromarray(color).save(data, "PNG")
    return data.getvalue()


PIXEL = png()


def put(path, data=PIXEL):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def reasons(result):
    return dict(zip(result.left_out["item"], result.left_out["reason"], strict=True))


def ids(result, name):
    """Image ids without the database's name, all safe as file names."""
    assert all(_IMAGE_ID.fullmatch(image_id) for image_id in result.rows["image_id"])
    return [image_id.removeprefix(f"{name}_") for image_id in result.rows["image_id"]]


def fega(root, people=(("Zenobia", "F", 31), ("Ósgood", "M", 44)), repeats=2):
    """FEGA's file names, which say who is seen."""
    labels = ("Allegria", "Tristezza", "Paura", "Arrabbiato", "Neutra", "Sorpresa", "Disgusto")
    number = itertools.count(1)
    for (name, sex, age), label, n in itertools.product(people, labels, range(1, repeats + 1)):
        put(root / f"0_{sex}_{age}_{name}_{label}_{n}.png", png(next(number)))
    return root


def fer_rows(pictures, labels, usage=True, separator=","):
    """The lines of a table of pixels as FER2013's, or, with blanks after the commas, of the competition's."""
    names = ("emotion", "Usage", "pixels") if separator == ", " else ("emotion", "pixels", "Usage")
    lines = [separator.join(names[: 3 if usage else 2])]
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        cells = {"emotion": str(label), "pixels": " ".join(map(str, np.ravel(picture)))}
        cells["Usage"] = ("Training", "PublicTest", "PrivateTest")[place % 3]
        lines.append(",".join(cells[name] for name in names[: 3 if usage else 2]))
    return "\n".join(lines) + "\n"


def write_database(root, rows, **columns):
    root.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["image_id", "path", "subject", "expression"]).assign(**columns)
    table.to_csv(root / "manifest.csv", index=False)
    return root


def small_database(root, subjects=3, expressions=("anger", "surprise")):
    """Some of the bundled faces as a user's own database, and one neutral face."""
    rows = []
    (root / "my faces").mkdir(parents=True)
    for number in range(subjects):
        for expression in (*expressions, *(["neutral"] if number == 0 else [])):
            name = f"id{number:02d}_{expression}_0"
            shutil.copy(BUNDLED / "images" / f"{name}.webp", root / "my faces" / f"{name}é.webp")
            rows.append((name, f"my faces/{name}é.webp", f"{number:03d}", expression))
    write_database(root, rows)
    return rows


def experiment_on(tmp_path, folds=2, names=("mine",), size=64, **settings):
    roots = {name: str(tmp_path / name) for name in names}
    faces = dict(datasets=names, roots=roots, folds=folds, size=size, **settings)
    return Experiment(name="trial", networks=("WeiNet",), faces=faces, root=tmp_path / "root")
