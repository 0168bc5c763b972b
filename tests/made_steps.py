"""What tests put in place of a step: files of their own, in whose run.json the next step believes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions import Experiment
from ekman_expressions.core.files import write_arrays, write_csv, write_image
from ekman_expressions.study import STEPS, Run, Step, read_results, run
from ekman_expressions.study.prepared import _face_path, _landmarks_path


@contextmanager
def stand_in(experiment: Experiment, name: str) -> Iterator[None]:
    """Let the files that are there at the end of the block stand for what a step makes."""
    folder = STEPS[name].folder_of(experiment)
    (folder / "run.json").unlink(missing_ok=True)
    yield

    def register(experiment: Experiment, run: Run) -> None:
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
        run.made(*files, items=len(files))

    made = STEPS[name]
    step = Step(name, register, made.folder, made.what, settings=made.settings, choices=made.choices)
    run(experiment, name, steps={name: step})


def write_faces(experiment: Experiment, faces: Iterable[tuple], dataset: str = "made") -> None:
    """Write what the step 'faces' would: (image_id, pixels, subject, expression, fold[, landmarks]) each."""
    rows = []
    with stand_in(experiment, "faces"):
        for image_id, pixels, subject, expression, fold, *points in faces:
            write_image(_face_path(experiment, image_id), pixels)
            for each in points:
                write_arrays(_landmarks_path(experiment, image_id), {"points": np.float32(each)})
            place = f"faces/{image_id}.png"
            rows.append((image_id, place, dataset, f"{dataset}/{subject}", expression, fold))
        columns = ["image_id", "path", "dataset", "subject", "expression", "fold"]
        write_csv(experiment.manifest_path, pd.DataFrame(rows, columns=columns).sort_values("image_id"))


def with_(experiment: Experiment, part: str, **values) -> Experiment:
    """Return the experiment with other values of a part of its settings."""
    return experiment.replace(**{part: getattr(experiment, part).replace(**values)})


def contents(folder: Path, *but: str) -> dict[str, bytes]:
    """Return the bytes of all finished files but those whose names end so; run.json holds times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(("run.json", *but))
    }


def confusions(experiment):
    """The confusion matrix of each network, of the rows of the table in their order."""
    table = read_results(experiment, "evaluation", "confusion")
    size = len(experiment.expressions)
    return {name: rows["images"].to_numpy().reshape(size, -1) for name, rows in table.groupby("network")}
