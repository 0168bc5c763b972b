"""Time of the statistics, on made heatmaps of the study's size; prints a Markdown table.

Run: python benchmarks/score_statistics.py [--networks 12] [--folds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.runtime import generator
from ekman_expressions.facespace.heatmaps import to_uint8
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.heatmap_set import _HeatmapSet, assess
from ekman_expressions.measures.scores import _iou_table, mask_scores
from ekman_expressions.measures.uncertainty import _resample_counts, _resampled_scores, relabelling_test


def made_heatmaps(networks: int, folds: int) -> _HeatmapSet:
    """Return heatmaps of smooth noise and the Ekman masks."""
    shape = (networks, folds, len(EXPRESSIONS))
    maps = np.empty((*shape, *SHAPE), np.uint8)
    for place in np.ndindex(shape):
        coarse = generator(0, *place).random((25, 16))
        maps[place] = to_uint8(np.kron(coarse, np.ones((11, 14))))
    masks = np.array([ekman_mask(expression) for expression in EXPRESSIONS])
    names = tuple(f"network{number}" for number in range(networks))
    folds_named = tuple(f"CV{number + 1}" for number in range(folds))
    present = np.ones(shape, bool)
    return _HeatmapSet(names, folds_named, maps, present, masks, atlas().hull, atlas().labels)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    found = made_heatmaps(options.networks, options.folds)
    mask = found.masks[0]

    def by_table() -> None:
        relabelling_test(_iou_table(found.marked, found.masks).mean(axis=1))

    def one_relabelling() -> None:
        for n, f, e in np.ndindex(found.present.shape):
            mask_scores(found.marked[n, f, e], found.masks[e])

    maps = generator(1).random((100, *SHAPE), dtype=np.float32)
    people = np.repeat(np.arange(40), 3)[:100]

    def one_cell() -> None:
        counts = _resample_counts(34, 400, seed=0)
        _resampled_scores(maps, people, counts, mask, found.hull)

    # The marks of Otsu's threshold are not timed.
    found.marked.sum()
    cells = found.present.size
    rows = [
        ("720 relabellings, IoU of all with all once", seconds(by_table)),
        ("720 relabellings, recomputed (one timed, times 720)", 720 * seconds(one_relabelling)),
        ("400 resamples of 34 subjects, 100 faces, one heatmap", seconds(one_cell)),
        (f"all tables of {cells} heatmaps, without subjects", seconds(lambda: assess(found, seed=0))),
    ]
    print("| what | seconds |\n|---|---|")
    for what, taken in rows:
        print(f"| {what} | {taken:.3g} |")
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        print(f"\nLargest memory: {int(peak.split()[1]) / 1000:.0f} MB")


if __name__ == "__main__":
    main()
