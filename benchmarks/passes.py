"""Where to spend forward passes: on samples per face, or on more faces?

    python benchmarks/passes.py --root DEMO --out benchmarks/results/passes.csv [--networks ...] [--faces 120]

The question behind a heatmap is about *people*, so its error is its distance from the heatmap of other
people. Test faces that a network predicts as one expression are explained by LIME with 257 orthogonal
samples. Persons are divided in two halves at random, 40 times: one gives the population (all its faces, all
samples); of the other, n faces are drawn, and LIME is estimated from the first s samples of each. The table
has the mean of Pearson's r between the two heatmaps, for each n and s, with weights as they are and shrunk
by their standard error. Records are kept in memory only; a network and expression that is done is kept in
the file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.runtime import derive_seed, generator
from ekman_expressions.explainers import PerturbationRecord, superpixels
from ekman_expressions.explainers.lime import lime
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.study import prepared, read_results
from ekman_expressions.study.training import read_model

SAMPLES = (33, 65, 129, 257)  # whole Hadamard blocks, and the face itself
FACES = (5, 10, 20, 40)
SPLITS = 40


def explained(experiment: Experiment, network: str, expression: str, count: int) -> tuple[np.ndarray, list[str]]:
    """Return maps in face space, (samples, as they are or shrunk, face, pixels / 16), and whose they are."""
    table = read_results(experiment, "evaluation", "predictions")
    rows = table[(table["network"] == network) & (table["predicted"] == expression)]
    rows = rows.sample(frac=1, random_state=0)[:count].sort_values("fold")
    settings = experiment.explanation
    fit = {"kernel_width": settings.kernel_width, "alpha": settings.alpha}
    load = lru_cache(maxsize=1)(partial(read_model, experiment, network))
    maps = np.empty((len(SAMPLES), 2, len(rows), 69 * 56), np.float32)
    for place, row in enumerate(tqdm(rows.itertuples(), total=len(rows), desc=f"{network} {expression}")):
        model = load(row.fold)
        image = prepared.read_faces(experiment, [row.image_id], experiment.side(network))[0]
        segments = superpixels(image, segments=settings.segments, compactness=settings.compactness)
        random = generator(experiment.seed, "passes", network, row.image_id)
        options = {"samples": max(SAMPLES), "sampler": "orthogonal", "hidden": settings.hidden}
        record = PerturbationRecord.query(model, image, segments, seed=random, **options)
        landmarks = prepared.read_landmarks(experiment, row.image_id)
        for s, size in enumerate(SAMPLES):
            part = replace(record, samples=record.samples[:size], predictions=record.predictions[:size])
            found = lime(part, EXPRESSIONS.index(expression), **fit)
            shrunk = np.sign(found.weights) * np.maximum(np.abs(found.weights) - found.standard_errors, 0)
            for w, weights in enumerate((found.weights, shrunk)):
                # Every fourth pixel is enough for a correlation.
                maps[s, w, place] = normalise(np.maximum(weights, 0)[segments], landmarks)[::4, ::4].ravel()
    return maps, [image_id.split("_")[1] for image_id in rows["image_id"]]


def measure(maps: np.ndarray, subjects: list[str], seed: int) -> list[tuple]:
    """Return faces, samples, passes, shrunk, mean r with the population, and its standard deviation."""
    names = np.array(subjects)
    persons = np.unique(names)
    rs = {}
    for split in range(SPLITS):
        random = np.random.default_rng([seed, split])
        first = np.isin(names, random.permutation(persons)[: len(persons) // 2])
        population = maps[-1, 0, ~first].mean(axis=0)
        order = random.permutation(np.flatnonzero(first))
        for faces in FACES:
            for s in range(len(SAMPLES)):
                for w in (0, 1):
                    mean = maps[s, w, order[:faces]].mean(axis=0)
                    r = np.corrcoef(mean, population)[0, 1] if len(order) >= faces else np.nan
                    rs.setdefault((faces, SAMPLES[s], faces * SAMPLES[s], bool(w)), []).append(r)
    known = {cell: found for cell, found in rs.items() if np.isfinite(found).any()}
    return [(*cell, np.nanmean(found), np.nanstd(found)) for cell, found in known.items()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="artefact root that holds the experiment")
    parser.add_argument("--experiment", default="demo")
    parser.add_argument("--networks", nargs="*", default=None)
    parser.add_argument("--expressions", nargs="*", default=["disgust", "happiness"])
    parser.add_argument("--faces", type=int, default=120)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    experiment = Experiment.load(given.experiment, root=given.root)
    columns = ["network", "expression", "explained", "faces", "samples", "passes", "shrunk", "r", "sd"]
    done = pd.read_csv(given.out) if given.out.exists() else pd.DataFrame(columns=columns)
    for network in given.networks or experiment.networks:
        for expression in given.expressions:
            if ((done["network"] == network) & (done["expression"] == expression)).any():
                continue
            maps, subjects = explained(experiment, network, expression, given.faces)
            rows = measure(maps, subjects, derive_seed(experiment.seed, network, expression) % 2**32)
            rows = pd.DataFrame([(network, expression, len(subjects), *row) for row in rows], columns=columns)
            done = pd.concat([done, rows]) if len(done) else rows
            done.round(4).to_csv(given.out, index=False)
    keys = ["network", "expression", "shrunk", "faces"]
    print(done.pivot_table(index=keys, columns="samples", values="r").round(3).to_string())


if __name__ == "__main__":
    main()
