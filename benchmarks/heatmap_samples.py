"""How near heatmaps of few samples come to those of 1,000, by sampler.

    python benchmarks/sampled_faces.py --root DEMO --cache FOLDER                 # once; long
    python benchmarks/heatmap_samples.py --root DEMO --cache FOLDER [--csv FILE] [--figure FILE.png]

From records of trained models that `sampled_faces.py` keeps. Each face's explanation of its predicted class
is painted, warped into face space and averaged, as in the study, once from few samples and once from 1,000
iid ones drawn apart from them; printed is Pearson's correlation of the two heatmaps over all pixels,
the mean over folds or networks, and expressions, and the range. The last line of each is two runs of 1,000.

A second table says how this depends on the number of faces in a heatmap: random ones of all folds and
expressions, each explained for its own class, `DRAWS` times.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from lime_error import DESCRIBED
from sampled_faces import arguments, faces, record_path

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.explainers import PerturbationRecord, lime
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.study import prepared

SAMPLES = (64, 125, 250, 500)
ESTIMATES = (
    *(("iid", "b", samples) for samples in SAMPLES),
    *(("orthogonal", "a", samples) for samples in SAMPLES),
    ("iid", "b", 1000),
)
DRAWS = 50


def explained(record: PerturbationRecord, target: int, samples: int, landmarks: np.ndarray) -> np.ndarray:
    """Return LIME's map of the first so many samples in face space."""
    few = replace(record, samples=record.samples[:samples], predictions=record.predictions[:samples])
    return normalise(np.maximum(lime(few, target).map, 0), landmarks)


def correlations(experiment: Experiment, kept: Path, networks: list[str]) -> pd.DataFrame:
    """Compare heatmaps: a row per level, network, fold, expression, sampler and number of samples."""
    landmarks = cache(lambda image_id: prepared.read_landmarks(experiment, image_id))
    lines = []
    for network in networks:
        for expression, rows in faces(experiment, network, 10**6).groupby("expression"):
            target = EXPRESSIONS.index(expression)
            # Per fold and estimate, the sum of maps and the sum of maps of 1,000 of the same faces.
            sums: dict[tuple, list] = {}
            for row in rows.itertuples():
                path = record_path(kept, row, "iid", "a")
                if not path.exists():
                    continue
                points = landmarks(row.image_id)
                wanted = explained(PerturbationRecord.load(path), target, 1000, points)
                loaded = cache(PerturbationRecord.load)
                for sampler, run, samples in ESTIMATES:
                    path = record_path(kept, row, sampler, run)
                    if path.exists():
                        found = explained(loaded(path), target, samples, points)
                        of_fold = sums.setdefault((row.fold, sampler, samples), [0.0, 0.0, 0])
                        of_fold[0] += found.astype(float)
                        of_fold[1] += wanted.astype(float)
                        of_fold[2] += 1
            for sampler, _, samples in ESTIMATES:
                folds = {key[0]: value for key, value in sums.items() if key[1:] == (sampler, samples)}
                if not folds:
                    continue
                levels = [("fold", fold, value) for fold, value in folds.items()]
                # A network's heatmap is the mean over its folds, weighted by the number of images.
                levels.append(("network", "", [sum(part) for part in zip(*folds.values(), strict=True)]))
                for level, fold, (found, wanted, images) in levels:
                    r = np.corrcoef(found.ravel(), wanted.ravel())[0, 1]
                    lines.append((level, network, fold, expression, sampler, samples, images, r))
    columns = ["level", "network", "fold", "expression", "sampler", "samples", "images", "correlation"]
    return pd.DataFrame(lines, columns=columns)


def by_images(experiment: Experiment, kept: Path, network: str) -> pd.DataFrame:
    """Compare heatmaps of more and more faces, by 125 orthogonal samples and by another 1,000 iid ones."""
    random = np.random.default_rng(0)
    lines = []
    for sampler, run, samples in (("orthogonal", "a", 125), ("iid", "b", 1000)):
        few, many = [], []
        for row in faces(experiment, network, 10**6).itertuples():
            paths = [record_path(kept, row, "iid", "a"), record_path(kept, row, sampler, run)]
            if all(path.exists() for path in paths):
                points = prepared.read_landmarks(experiment, row.image_id)
                for path, maps, count in zip(paths, (many, few), (1000, samples), strict=True):
                    loaded = PerturbationRecord.load(path)
                    maps.append(explained(loaded, EXPRESSIONS.index(row.expression), count, points).ravel())
        few, many = np.array(few), np.array(many)
        for images in (1, 2, 4, 8, 16, 32, 64, 128):
            if images <= len(few):
                r = []
                for _ in range(DRAWS):
                    chosen = random.choice(len(few), images, replace=False)
                    found, wanted = few[chosen].mean(axis=0), many[chosen].mean(axis=0)
                    # A face of which no superpixel speaks for its class has a map of zeros.
                    if found.any() and wanted.any():
                        r.append(np.corrcoef(found, wanted)[0, 1])
                lines.append((network, sampler, samples, len(few), images, np.mean(r)))
    columns = ["network", "sampler", "samples", "faces", "images", "correlation"]
    return pd.DataFrame(lines, columns=columns)


def main() -> None:
    """Print the tables; draw the figure if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments(parser)
    parser.add_argument("--csv", type=Path, help="where to write the table")
    parser.add_argument("--errors", type=Path, help="the table that lime_error.py wrote, for the figure")
    parser.add_argument("--figure", type=Path, help="where to draw the trade-off")
    options = parser.parse_args()
    experiment = Experiment.preset(options.preset, root=options.root)
    table = correlations(experiment, options.cache, options.networks)
    if options.csv:
        table.to_csv(options.csv, index=False)
    print("| network | heatmaps | sampler | samples | images in each | correlation: mean (range) |")
    print("|---|---|---|---|---|---|")
    for key, rows in table.groupby(["network", "level", "sampler", "samples"], sort=False):
        network, level, sampler, samples = key
        values, images = rows["correlation"], rows["images"]
        print(
            f"| {network} | {len(rows)} of a {level} | {sampler} | {samples:,} "
            f"| {images.min()} ... {images.max()} "
            f"| {values.mean():.4f} ({values.min():.4f} ... {values.max():.4f}) |"
        )
    print("\n| network | sampler | samples | faces to draw from | images | correlation, mean of draws |")
    print("|---" * 6 + "|")
    for network in options.networks:
        for row in by_images(experiment, options.cache, network).itertuples():
            print(
                f"| {row.network} | {row.sampler} | {row.samples:,} | {row.faces} | {row.images} "
                f"| {row.correlation:.3f} |"
            )
    if options.figure:
        from tradeoff import tradeoff

        from ekman_expressions import figures

        errors = None
        if options.errors:
            errors = pd.read_csv(options.errors)
            errors = errors[errors["r2"] >= DESCRIBED]
        figures.save(tradeoff(table, errors), options.figure)


if __name__ == "__main__":
    main()
