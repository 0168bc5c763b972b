"""What tests put in place of a step: files of their own, in whose run.json the next step believes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ekman_expressions import Experiment
from ekman_expressions.study import STEPS, Run, run
from ekman_expressions.study.runner import folder_of


@contextmanager
def stand_in(experiment: Experiment, name: str) -> Iterator[None]:
    """Let the files that are there at the end of the block stand for what a step makes."""
    folder = folder_of(experiment, STEPS[name])
    (folder / "run.json").unlink(missing_ok=True)
    yield

    def register(experiment: Experiment, run: Run) -> None:
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
        run.made(*files, items=len(files))

    step = dataclasses.replace(STEPS[name], function=register, reads=(), also=(), files=None, idle=None)
    run(experiment, name, steps={name: step})


def contents(folder: Path, *but: str) -> dict[str, bytes]:
    """Return the bytes of all finished files but those whose names end so; run.json holds times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(("run.json", *but))
    }
