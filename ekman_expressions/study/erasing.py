"""The deletion and insertion curves of a model's explanations, in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError
from ekman_expressions.core.expressions import index
from ekman_expressions.core.files import hash_of, read_arrays, write_arrays
from ekman_expressions.core.seeds import generator
from ekman_expressions.explainers import superpixels
from ekman_expressions.measures import curves
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explained import explained_faces, fingerprints, holds
from ekman_expressions.study.explainers import compared
from ekman_expressions.study.explanations import read_explanation
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.asking import Asker

SHARE = 0.1
"""All curves together take at most this share of the passes that LIME took for the same model."""

CONTROLS = ("random", "centre")
KINDS = ("deletion", "insertion")

GRID = np.linspace(0, 1, 21)
"""Shares of the pixels at which curves are kept, so that they can be averaged."""

_NONE = np.full(len(GRID), np.nan)


def path_of(experiment: Experiment, network: str, fold: str) -> Path:
    """The file of one model's curves: see `erase`."""
    return experiment.quality_folder / "curves" / f"{network}_{fold}.npz"


def erase(
    experiment: Experiment, network: str, fold: str, asker: Callable[[], Asker], run: Run, spare: int = 0
) -> tuple[int, int]:
    """Write the curves of as many of a model's faces as the passes allow, unless they are there.

    The file has, for N faces and C rankings (the explainers, then the `CONTROLS`):
    ``image_ids``, ``expressions``, ``rankings``, ``answers`` (N, C, 2, G) at the shares `GRID`, for
    deletion and insertion, ``areas`` (N, C, 2), both NaN where a face has no such curve, and
    ``passes`` (N,).

    Parameters
    ----------
    experiment, network, fold
        Which model.
    asker : callable
        Returns what asks the model; called only if needed.
    run : Run
        Takes note of the faces done, skipped, and left out.
    spare : int
        Passes that other folds left.

    Returns
    -------
    passes, spare : int
        The passes that the curves took, and those that this model leaves to the next.
    """
    names = compared(experiment)
    plan, steps, spare = _plan(experiment, network, fold, spare)
    path = path_of(experiment, network, fold)
    settings = experiment.explanation
    hashes = [
        [fingerprints(experiment.explained_by(name), network, fold, [image_id]) for name in rankings]
        for image_id, _, rankings in plan
    ]
    source = hash_of([names, hashes, steps, settings.kernel_width, settings.alpha, experiment.seed])
    if not plan and not path.exists():
        return 0, spare
    if holds(path, source):
        run.kept(path, items=len(plan))
        return passes_in(path), spare
    answers, areas, passes, used = [], [], [], []
    keys = [[(ranking, kind) for kind in KINDS] for ranking in (*names, *CONTROLS)]
    bar = tqdm(plan, desc=f"Erasing for {network}_{fold}", unit="image")
    for image_id, expression, rankings in bar:
        try:
            drawn, took = _curves_of(
                experiment, network, fold, image_id, expression, rankings, steps, asker()
            )
        except (DataError, MissingError, ModelError) as error:
            run.omit(f"{network}_{fold} {image_id}: deletion and insertion", error)
            continue
        answers.append([[drawn[key].at(GRID) if key in drawn else _NONE for key in pair] for pair in keys])
        areas.append([[drawn[key].area if key in drawn else np.nan for key in pair] for pair in keys])
        passes.append(took)
        used.append((image_id, expression))
    if not used:
        path.unlink(missing_ok=True)
        return 0, spare
    image_ids, expressions = zip(*used, strict=True)
    arrays = {
        "source": np.array(source),
        "image_ids": np.array(image_ids),
        "expressions": np.array(expressions),
        "rankings": np.array([*names, *CONTROLS]),
        "answers": np.array(answers, np.float32),
        "areas": np.array(areas),
        "passes": np.array(passes),
    }
    write_arrays(path, arrays)
    run.made(path, items=len(used))
    return int(sum(passes)), spare


def passes_in(path: Path) -> int:
    """Return the passes that the curves in a file took."""
    return int(read_arrays(path, ("passes",))["passes"].sum()) if path.exists() else 0


def tabulate(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the areas in a file, a row per face and ranking; ``passes`` of all curves of the face."""
    rankings = arrays["rankings"]
    count = len(arrays["image_ids"])
    table = pd.DataFrame(
        {
            "image_id": np.repeat(arrays["image_ids"], len(rankings)),
            "expression": np.repeat(arrays["expressions"], len(rankings)),
            "ranking": np.tile(rankings, count),
            "deletion": arrays["areas"][:, :, 0].ravel(),
            "insertion": arrays["areas"][:, :, 1].ravel(),
            "passes": np.repeat(arrays["passes"], len(rankings)),
        }
    )
    return table.dropna(subset=["deletion"])


def _plan(
    experiment: Experiment, network: str, fold: str, spare: int
) -> tuple[list[tuple[str, str, tuple[str, ...]]], int, int]:
    """Return the faces (id, expression, explainers), the steps of a curve, and the passes that are left.

    With explainers to compare, half of the passes goes to faces that all have explained, and their
    curves; the rest to further faces and the curves of the explainer in use alone.
    """
    own, *others = compared(experiment)
    rows = explained_faces(experiment, network, fold, [own])
    left = spare + int(SHARE * len(rows) * experiment.explanation.samples)
    steps = curves.steps_for(left / max(len(rows), 1))
    plan: list[tuple[str, str, tuple[str, ...]]] = []
    if others:
        common = explained_faces(experiment, network, fold, [own, *others])
        of_one = curves.passes_of(steps, 1 + len(others))
        common = common.head(left // 2 // of_one)
        plan += [(row.image_id, row.expression, (own, *others)) for row in common.itertuples()]
        left -= of_one * len(common)
        rows = rows[~rows["image_id"].isin(common["image_id"])]
    of_one = curves.passes_of(steps)
    rows = rows.head(left // of_one)
    plan += [(row.image_id, row.expression, (own,)) for row in rows.itertuples()]
    return plan, steps, left - of_one * len(rows)


def _curves_of(
    experiment: Experiment,
    network: str,
    fold: str,
    image_id: str,
    expression: str,
    explainers: tuple[str, ...],
    steps: int,
    asker: Asker,
) -> tuple[dict[tuple[str, str], curves.Curve], int]:
    settings = experiment.explanation
    target = index(expression)
    random = generator(experiment.seed, "quality", f"{network}_{fold}", image_id)
    image = prepared.read_faces(experiment, [image_id], experiment.side(network))[0]
    segments = superpixels(image, segments=settings.segments, compactness=settings.compactness)
    # The controls first, so that they do not depend on which explainers are compared.
    controls = {"random": curves.at_random(segments, random), "centre": curves.centre_first(segments)}
    rankings = {
        name: _ranking(experiment.explained_by(name), network, fold, image_id, expression, steps, random)
        for name in explainers
    }
    return curves.deletion_insertion(
        asker, image, target, rankings | controls, steps=steps, hidden=settings.hidden
    )


def _ranking(
    by: Experiment,
    network: str,
    fold: str,
    image_id: str,
    expression: str,
    steps: int,
    random: np.random.Generator,
) -> curves.Ranking:
    found = read_explanation(by, network, fold, image_id, expression)
    if found.segments is None:
        return curves.by_map(found.map, steps, random)
    return curves.by_weights(found.segments, found.weights, random)
