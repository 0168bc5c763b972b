"""What half precision does to the time and the weights of LIME, on trained models.

    python benchmarks/lime_precision.py --root DEMO [--networks ...] [--samples 1000] [--faces 2] [--rounds 3]

The same samples of the same faces in each precision, in turns within one process. Compared with float32:
the largest difference of an answer, the correlation of weights, and their squared distance
relative to float32's squared length; beside it that of another 1,000 samples in float32.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from lime_speed import _spread

from ekman_expressions import Experiment
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.explainers import PerturbationRecord, lime, superpixels
from ekman_expressions.study import evaluation, prepared
from ekman_expressions.study.training import read_model
from ekman_expressions.zoo.model import _PRECISIONS, as_model


def measure(experiment: Experiment, network: str, samples: int, faces: int, rounds: int) -> list[str]:
    """Return a network's lines of the table."""
    explained = evaluation.read_explained(experiment)
    rows = explained[explained["network"] == network]
    rows = rows[rows["fold"] == rows["fold"].iloc[0]].groupby("expression").head(1).head(faces)
    model = read_model(experiment, network, rows["fold"].iloc[0]).source
    by_precision = {precision: as_model(model, precision=precision) for precision in _PRECISIONS}
    images = prepared.read_faces(experiment, list(rows["image_id"]), experiment.side(network))
    seconds: dict[str, list[float]] = {precision: [] for precision in _PRECISIONS}
    values: dict[str, list[tuple]] = {precision: [] for precision in (*_PRECISIONS, "another seed")}
    for image in images:
        for turn in range(rounds + 1):
            for precision in _PRECISIONS:
                start = time.perf_counter()
                PerturbationRecord.query(by_precision[precision], image, superpixels(image), seed=0, samples=samples)
                # The first turn compiles.
                if turn:
                    seconds[precision].append(time.perf_counter() - start)
        for name in values:
            seed, precision = (1, "float32") if name == "another seed" else (0, name)
            segments = superpixels(image)
            made = PerturbationRecord.query(by_precision[precision], image, segments, seed=seed, samples=samples)
            values[name].append((made.predictions, lime(made, int(made.predictions[0].argmax())).weights))
    lines = []
    for name, found in values.items():
        pairs = list(zip(found, values["float32"], strict=True))
        answers = max(np.abs(one[0] - other[0]).max() for one, other in pairs)
        correlation = np.mean([np.corrcoef(one[1], other[1])[0, 1] for one, other in pairs])
        distance = np.mean([((one[1] - other[1]) ** 2).sum() / (other[1] ** 2).sum() for one, other in pairs])
        ratio = "" if name not in seconds else _spread(np.array(seconds[name]) / seconds["float32"])
        shown = "" if name == "another seed" else f"{answers:.1e}"
        lines.append(f"| {network} | {name} | {ratio} | {shown} | {correlation:.5f} | {distance:.1e} |")
    return lines


def main() -> None:
    """Measure each network, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="artefact root that holds the demo")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--networks", nargs="*", default=["WeiNet", "MobileNetV3Large"])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--faces", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    experiment = Experiment.preset(options.preset, root=options.root)
    start_tensorflow()
    print("| network | precision | time / float32: median (range) | answers differ by up to ", end="")
    print("| correlation of weights | squared distance |\n|---|---|---|---|---|---|")
    for network in options.networks:
        for line in measure(experiment, network, options.samples, options.faces, options.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
