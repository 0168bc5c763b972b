"""The warp into face space against scikit-image's piecewise affine warp on the same triangles.

    python benchmarks/warp_speed.py

One core, one 224 x 224 map, in turns within one process, the process' own time (so that other programs
count for little). The largest difference is that inside the convex hull of the landmarks, for maps of
random values, the hardest to interpolate.
"""

from __future__ import annotations

import argparse
import os
import time

import cv2
import numpy as np
from skimage.transform import PiecewiseAffineTransform, warp

from ekman_expressions.facespace.warp import POINTS, SHAPE, normalise, source_points

SIDE = 224


def in_hull() -> np.ndarray:
    """Return which pixels of face space lie in the convex hull of the 68 landmarks."""
    from scipy.spatial import Delaunay

    rows, columns = np.indices(SHAPE)
    inside = Delaunay(POINTS[:68]).find_simplex(np.stack([columns + 0.5, rows + 0.5], axis=-1))
    return inside >= 0


def scikit_image(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Warp as `normalise` does, by scikit-image; the mapping is estimated for each image."""
    mapping = PiecewiseAffineTransform.from_estimate(POINTS, source_points(landmarks) * SIDE)
    # scikit-image counts from the first pixel's centre, face space from its corner.
    return warp(image, lambda at: mapping(at + 0.5) - 0.5, output_shape=SHAPE, order=1, mode="edge")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    random = np.random.default_rng(0)
    times: dict[str, list[float]] = {"ours": [], "scikit-image": []}
    differences = []
    for turn in range(rounds):
        landmarks = POINTS[:68] / (224, 275) * 0.8 + 0.1 + random.normal(0, 0.004, (68, 2))
        image = random.random((SIDE, SIDE), np.float32)
        normalise(image, landmarks)
        start = time.process_time()
        for _ in range(50):
            found = normalise(image, landmarks)
        times["ours"].append((time.process_time() - start) / 50)
        start = time.process_time()
        expected = scikit_image(image, landmarks)
        times["scikit-image"].append(time.process_time() - start)
        differences.append(np.abs(found - expected)[in_hull()].max())
        print(f"round {turn + 1} of {rounds}: {times['ours'][-1] * 1e3:.2f} ms", flush=True)
    ours, theirs = np.array(times["ours"]), np.array(times["scikit-image"])
    print(f"\nLoad before the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    print("| | ms per map: median (range) |\n|---|---|")
    for name, values in times.items():
        values = 1e3 * np.array(values)
        print(f"| {name} | {np.median(values):,.2f} ({values.min():,.2f} ... {values.max():,.2f}) |")
    print(f"\nRatio: {np.median(theirs / ours):,.0f}. Largest difference in the hull: {max(differences):.1e}.")


if __name__ == "__main__":
    main()
