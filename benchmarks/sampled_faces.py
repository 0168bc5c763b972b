"""Perturbation records of the demo's explained faces, for the benchmarks of samplers.

    python benchmarks/sampled_faces.py --root DEMO --cache FOLDER [--networks ...] [--images 4]
    python benchmarks/sampled_faces.py --root DEMO --cache FOLDER --references 2

Querying the models is all that takes time, so each record is kept: a run that was stopped resumes
where it stood, and `lime_error.py` and `heatmap_samples.py` read what is there. The most useful
come first: 1,000 samples of the study's sampler, then each other sampler, then a second 1,000.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ekman_expressions import Experiment
from ekman_expressions.core.runtime import generator
from ekman_expressions.explainers import PerturbationRecord, superpixels
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.training import read_model
from ekman_expressions.zoo import as_model

RUNS = (("iid", "a", 1000), ("orthogonal", "a", 513), ("iid", "b", 1000))
"""Sampler, run and number of samples of the records for heatmaps."""

REFERENCES = (
    ("iid", "reference", 50_000),
    ("iid", "c", 4001),
    ("orthogonal", "c", 4097),
)
"""The same of the records for errors."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that the benchmarks of samplers share."""
    parser.add_argument("--root", type=Path, required=True, help="artefact root that holds the demo")
    parser.add_argument("--cache", type=Path, required=True, help="folder in which records are kept")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--networks", nargs="*", default=["MobileNetV3Large", "WeiNet"])


def faces(experiment: Experiment, network: str, images: int) -> pd.DataFrame:
    """Return the first so many explained faces of each fold and expression."""
    explained = evaluation.read_explained(experiment)
    explained = explained[explained["network"] == network].sort_values("image_id")
    return explained.groupby(["fold", "expression"]).head(images)


def record_path(cache: Path, row: object, sampler: str, run: str) -> Path:
    """Return where a record is kept."""
    return cache / f"{row.network}_{row.fold}" / f"{row.image_id}_{sampler}_{run}.npz"


def make(experiment: Experiment, cache: Path, rows: pd.DataFrame, runs: tuple, precision: str = "float32") -> None:
    """Query the models about the faces in `rows`, unless the records are there."""
    for sampler, run, samples in runs:
        for (network, fold), of_model in rows.groupby(["network", "fold"]):
            todo = [row for row in of_model.itertuples() if not record_path(cache, row, sampler, run).exists()]
            if not todo:
                continue
            model = read_model(experiment, network, fold).source
            model = as_model(model, name=f"{network}_{fold}", precision=precision)
            for row in tqdm(todo, desc=f"{network}_{fold} {sampler} {run}", unit="image", mininterval=10):
                image = prepared.read_faces(experiment, [row.image_id], experiment.side(network))[0]
                segments = superpixels(image)
                random = generator(0, sampler, run, f"{network}_{fold}", row.image_id)
                found = PerturbationRecord.query(model, image, segments, samples=samples, seed=random, sampler=sampler)
                replace(found, image_id=row.image_id).save(record_path(cache, row, sampler, run))


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments(parser)
    parser.add_argument("--images", type=int, default=4, help="faces of each fold and expression")
    parser.add_argument("--folds", nargs="*", help="only these; left out, all")
    parser.add_argument("--precision", default="float32", help="in which the models compute: bfloat16, ...")
    parser.add_argument(
        "--references", type=int, metavar="N", help="instead, 50,000 samples of so many faces per network"
    )
    options = parser.parse_args()
    experiment = Experiment.preset(options.preset, root=options.root)
    for network in options.networks:
        rows = faces(experiment, network, options.images)
        if options.folds:
            rows = rows[rows["fold"].isin(options.folds)]
        if options.references:
            make(experiment, options.cache, spread(rows, options.references), REFERENCES, options.precision)
        else:
            make(experiment, options.cache, rows, RUNS, options.precision)


def spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose so many faces, evenly over folds and expressions."""
    step = max(len(rows) // count, 1)
    return rows.iloc[::step].head(count)


if __name__ == "__main__":
    main()
