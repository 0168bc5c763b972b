"""What the causal explainer costs, beside the cheap choices: seconds for many faces of one network.

    python benchmarks/causal_cost.py [--network WeiNet] [--faces 100]

Random weights: what a pass costs does not depend on them. Compiling is not counted. One part at a time: each is
put back to neutral alone; integrated gradients start from the neutral face.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

import ekman_expressions as ee
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.explainers import part_segments
from ekman_expressions.zoo import NETWORKS, as_model


def one_at_a_time(model: ee.Model, faces: ee.Faces) -> int:
    """Put each part of each face back to neutral alone, and return the number of passes."""
    passes = 0
    images, neutrals = faces.at(model.side), faces.at(model.side, neutral=True)
    for image, neutral, points in zip(images, neutrals, faces.landmarks, strict=True):
        segments, names = part_segments(points, image.shape[:2])
        samples = np.concatenate([np.ones((1, len(names)), bool), ~np.eye(len(names), dtype=bool)])
        passes += len(model.predict_hidden(image, segments, samples, neutral))
    return passes


def explained(name: str, **settings: object):
    """Return a function that explains faces and returns the number of passes."""

    def run(model: ee.Model, faces: ee.Faces) -> int:
        found = ee.explain(model, faces, name, targets="fear", **settings)
        return sum(each.passes for each in found.explanations)

    return run


METHODS = {
    "causal, 256 samples": explained("causal", samples=256),
    "integrated gradients from neutral": explained("integrated_gradients", hidden="neutral"),
    "one part at a time": one_at_a_time,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="WeiNet")
    parser.add_argument("--faces", type=int, default=100)
    given = parser.parse_args()
    start_tensorflow()
    model = as_model(NETWORKS[given.network].build(weights="none"))
    faces = ee.example_faces(given.faces)
    print(f"{given.network}, {len(faces)} faces, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("| method | passes per face | seconds | processor seconds |\n|---|---|---|---|")
    for name, run in METHODS.items():
        run(model, faces[:1])
        start, used = time.perf_counter(), time.process_time()
        passes = run(model, faces) / len(faces)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        print(f"| {name} | {passes:.0f} | {seconds:.0f} | {used:.0f} |", flush=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
