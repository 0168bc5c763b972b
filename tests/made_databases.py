"""Databases of a user's own made of some of the bundled faces, and experiments on them."""

import shutil

import pandas as pd

from ekman_expressions import Experiment
from ekman_expressions.faces import synthetic
from ekman_expressions.study.experiment import FaceSettings

BUNDLED = synthetic.folder()


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
    faces = FaceSettings(datasets=names, roots=roots, folds=folds, size=size, **settings)
    return Experiment(name="trial", networks=("WeiNet",), faces=faces, root=tmp_path / "root")
