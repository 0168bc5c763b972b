"""LIME's R² beside what chance gives, from the records of an experiment; no model call.

    python benchmarks/r2_chance.py --root ROOT [--preset demo]

A surrogate with as many weights as superpixels fits some of any answers when samples are few. Printed
per network, as means over its explained faces: the R² of the fit; the R² when the answers are dealt out
anew among the samples, which is chance; and the R² on samples that the fit has not seen (a tenth at a
time, each fitted by the other nine; 0 or less says that the mean answer would predict as well).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import Experiment, evaluation
from ekman_expressions.explainers.lime import lime, sample_weights
from ekman_expressions.expressions import index
from ekman_expressions.perturbation import PerturbationRecord

PARTS = 10


def shuffled(
    record: PerturbationRecord, target: int, random: np.random.Generator, **settings: float
) -> float:
    """Return the R² of a record whose answers are dealt out anew among its samples."""
    answers = record.answers[random.permutation(len(record.answers))]
    return lime(replace(record, answers=answers), target, **settings).r2


def unseen(
    record: PerturbationRecord, target: int, random: np.random.Generator, *, kernel_width: float, alpha: float
) -> float:
    """Return the weighted R² on samples that the fit has not seen, by `PARTS`-fold cross-validation."""
    part_of = random.permutation(len(record.samples)) % PARTS
    answers = record.answers[:, target].astype(np.float64)
    weights = sample_weights(record.samples, kernel_width)
    predicted, mean = np.empty((2, len(answers)))
    for part in range(PARTS):
        out = part_of == part
        kept = replace(record, samples=record.samples[~out], answers=record.answers[~out], sampler="iid")
        fit = lime(kept, target, kernel_width=kernel_width, alpha=alpha)
        predicted[out] = fit.intercept + record.samples[out] @ fit.weights
        mean[out] = np.average(answers[~out], weights=weights[~out])
    left = weights @ (answers - mean) ** 2
    return float(1 - weights @ (answers - predicted) ** 2 / left) if left > 0 else float("nan")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="artefact root that holds the experiment")
    parser.add_argument("--preset", default="demo", help="or a settings file")
    options = parser.parse_args()
    experiment = Experiment.load(options.preset, root=options.root)
    settings = {name: getattr(experiment.explanation, name) for name in ("kernel_width", "alpha")}
    random = np.random.default_rng(0)
    lines = []
    rows = evaluation.read_explained(experiment)
    for row in tqdm(rows.itertuples(), total=len(rows), unit="face"):
        path = experiment.record_path(row.network, row.fold, row.image_id)
        if not path.exists():
            continue
        record, target = PerturbationRecord.load(path), index(row.expression)
        lines.append(
            (
                *(row.network, len(record.samples), record.samples.shape[1]),
                lime(record, target, **settings).r2,
                shuffled(record, target, random, **settings),
                unseen(record, target, random, **settings),
            )
        )
    columns = ["network", "samples", "superpixels", "R²", "R² of shuffled answers", "R² on unseen samples"]
    table = pd.DataFrame(lines, columns=columns)
    means = table.groupby("network", sort=False).mean()
    means.insert(0, "faces", table.groupby("network", sort=False).size())
    print("| network | " + " | ".join(means.columns) + " |\n" + "|---" * (1 + len(means.columns)) + "|")
    for network, values in means.iterrows():
        counts = [f"{values[name]:.0f}" for name in ("faces", "samples", "superpixels")]
        print(
            f"| {network} | " + " | ".join([*counts, *(f"{values[name]:.2f}" for name in columns[3:])]) + " |"
        )


if __name__ == "__main__":
    main()
