"""The error of LIME's weights by sampler and number of samples, and the time to a given error.

    python benchmarks/sampled_faces.py --root DEMO --cache FOLDER --references 2   # once; long
    python benchmarks/lime_error.py --root DEMO --cache FOLDER [--csv FILE]

From records of trained models that `sampled_faces.py` keeps. The error of an estimate is its squared
distance from that by 50,000 samples, relative to the squared length of the latter; the mean is over
disjoint parts of longer records, then over faces. The predicted class is explained. "alpha / n fixed"
shrinks as much at any number of samples as alpha = 1 at 1,000. Faces that LIME does not describe
(`DESCRIBED`) have hardly any weights to be relative to: they are named, and left out of the means.

The time to a given error: n* is the number of orthogonal samples with the error of 1,000 iid ones (between
the measured numbers, on logarithmic scales), and what `lime` takes for 1,000 (`model.predict`, calls of 10
images, its defaults) is divided by what ours takes for n*. Both are timed here, in turns, at 250 samples.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from lime_speed import theirs
from sampled_faces import arguments, faces, record_path

from ekman_expressions import Experiment
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.explainers import EXPLAINERS, PerturbationRecord, lime, superpixels
from ekman_expressions.study import prepared
from ekman_expressions.study.training import read_model
from ekman_expressions.zoo import as_model

SAMPLES = (64, 125, 250, 500, 1000, 2000)
TIMED = 250
DESCRIBED = 0.1
"""The R² of 50,000 samples below which a face counts as not described."""


def parts(record: PerturbationRecord, samples: int, most: int = 16) -> list[PerturbationRecord]:
    """Cut a long record into records of so many samples, each with the first row, at the bounds of blocks."""
    block = 1
    if record.sampler != "iid":
        block = 2 << (record.samples.shape[1] - 1).bit_length()
    step = -(-(samples - 1) // block) * block
    starts = range(1, len(record.samples) - samples + 2, step)[:most]
    rows = [np.r_[0, start : start + samples - 1] for start in starts]
    return [replace(record, samples=record.samples[at], predictions=record.predictions[at]) for at in rows]


def errors(cache: Path, experiment: Experiment, networks: list[str]) -> pd.DataFrame:
    """Measure each face that has a reference: a row per network, face, sampler, penalty and number."""
    lines = []
    for network in networks:
        for row in faces(experiment, network, 10**6).itertuples():
            path = record_path(cache, row, "iid", "reference")
            if not path.exists():
                continue
            reference = PerturbationRecord.load(path)
            target = int(reference.predictions[0].argmax())
            limit = lime(reference, target)
            wanted = limit.weights
            for sampler in ("iid", "orthogonal"):
                path = record_path(cache, row, sampler, "c")
                if not path.exists():
                    continue
                record = PerturbationRecord.load(path)
                for samples in SAMPLES:
                    for penalty, alpha in (("alpha = 1", 1.0), ("alpha / n fixed", samples / 1000)):
                        found = [lime(part, target, alpha=alpha).weights for part in parts(record, samples)]
                        error = [((one - wanted) ** 2).sum() / (wanted**2).sum() for one in found]
                        correlation = [np.corrcoef(one, wanted)[0, 1] for one in found]
                        lines.append(
                            (network, row.image_id, limit.r2, sampler, penalty, samples)
                            + (np.mean(error), np.mean(correlation), len(found))
                        )
    columns = ["network", "image_id", "r2", "sampler", "penalty", "samples", "error", "correlation", "parts"]
    return pd.DataFrame(lines, columns=columns)


def seconds_per_sample(experiment: Experiment, network: str, rounds: int) -> tuple[float, float]:
    """Return the seconds of ours and of `lime` with `model.predict`, medians of turns."""
    row = next(faces(experiment, network, 1).itertuples())
    model = read_model(experiment, network, row.fold).source
    image = prepared.read_faces(experiment, [row.image_id], experiment.side(network))[0]
    ready, segments = as_model(model), superpixels(image)

    def ours(samples: int = TIMED) -> None:
        EXPLAINERS["lime"].explain(ready, image[None], [0], seed=0, samples=samples)

    ours(64)

    def ask(images: np.ndarray) -> np.ndarray:
        return model.predict(images, verbose=0)

    ask(np.repeat(image[None], 10, axis=0))
    runs = ours, theirs(ask, image, segments, TIMED)
    seconds = np.empty((rounds, 2))
    for turn in range(rounds):
        for place, run in enumerate(runs):
            start = time.perf_counter()
            run()
            seconds[turn, place] = (time.perf_counter() - start) / TIMED
    return tuple(np.median(seconds, axis=0))


def samples_for(table: pd.DataFrame, sampler: str, penalty: str, error: float) -> float:
    """Return how many samples have an error, between the measured numbers on logarithmic scales."""
    rows = table[(table["sampler"] == sampler) & (table["penalty"] == penalty)].sort_values("samples")
    of_each = np.log(rows["error"].to_numpy())[::-1]
    return float(np.exp(np.interp(np.log(error), of_each, np.log(rows["samples"].to_numpy(float))[::-1])))


def main() -> None:
    """Print the tables; draw the figure if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments(parser)
    parser.add_argument("--rounds", type=int, default=3, help="turns of the timing; 0: no timing")
    parser.add_argument("--csv", type=Path, help="where to write the table")
    options = parser.parse_args()
    experiment = Experiment.preset(options.preset, root=options.root)
    table = errors(options.cache, experiment, options.networks)
    if options.csv:
        table.to_csv(options.csv, index=False)
    for (network, image_id, r2), rows in table.groupby(["network", "image_id", "r2"], sort=False):
        of_iid = rows[(rows["sampler"] == "iid") & (rows["penalty"] == "alpha = 1")]
        error = of_iid.set_index("samples")["error"][1000]
        note = "" if r2 >= DESCRIBED else ": left out"
        print(f"{network} {image_id}: R² {r2:.3f}, error of 1,000 iid samples {error:.3g}{note}")
    table = table[table["r2"] >= DESCRIBED]
    for value in ("error", "correlation"):
        print(f"\nMean {value} by number of samples:\n\n| network | faces | sampler | penalty ", end="")
        print(" | ".join(["", *map(str, SAMPLES)]) + " |\n" + "|---" * (4 + len(SAMPLES)) + "|")
        for (network, sampler, penalty), rows in table.groupby(["network", "sampler", "penalty"], sort=False):
            means = rows.groupby("samples")[value].mean()
            cells = [f"{means[samples]:.4f}" for samples in SAMPLES]
            count = str(rows["image_id"].nunique())
            print("| " + " | ".join([network, count, sampler, penalty, *cells]) + " |")
    if not options.rounds:
        return
    start_tensorflow()
    print("\n| network | ours, ms per sample | `lime` with predict, ms | n* | time to the same error, `lime` / ours |")
    print("|---|---|---|---|---|")
    for network, rows in table.groupby("network", sort=False):
        means = rows.groupby(["sampler", "penalty", "samples"], as_index=False)["error"].mean()
        iid = means[(means["sampler"] == "iid") & (means["penalty"] == "alpha = 1")]
        wanted = iid.set_index("samples")["error"][1000]
        needed = samples_for(means, "orthogonal", "alpha = 1", wanted)
        ours, lime_takes = seconds_per_sample(experiment, network, options.rounds)
        print(
            f"| {network} | {1e3 * ours:.2f} | {1e3 * lime_takes:.2f} | {needed:.0f} "
            f"| **{lime_takes * 1000 / (ours * needed):.1f}** |",
            flush=True,
        )


if __name__ == "__main__":
    main()
