"""Do the Ekman masks describe what moves? Their IoU with the causal maps, with intervals and a test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.measures.bootstrap import Interval, interval_of, resample_counts
from ekman_expressions.measures.causal_maps import iou_at_equal_area
from ekman_expressions.measures.permutation import relabelling_test

COLUMNS = ("mask", "causal_map", "iou", "low", "high", "subjects")
"""The columns of the table of pairs."""

STATISTICS = ("statistic", "value", "low", "high", "p", "subjects")
"""The columns of the summary: IoU with the map of the ``own`` expression, with those of the
``others``, and their ``difference`` with the exact p of all relabellings of the masks."""


def compare(
    by_subject: Mapping[str, Mapping[str, np.ndarray]],
    masks: Mapping[str, np.ndarray],
    *,
    seed: int,
    resamples: int = 100,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare each mask with the mean causal map of its own and of the other expressions, at equal area.

    Parameters
    ----------
    by_subject : dict of expression to dict of subject to (275, 224) ndarray of float
        ``causal.maps(experiment, by_subject=True).by_subject``.
    masks : dict of expression to (275, 224) ndarray of bool
        One per expression of `by_subject`.
    seed : int
        For the resamples.
    resamples : int
        Draws of subjects, the same for all expressions; each costs 36 comparisons.

    Returns
    -------
    pairs : DataFrame
        `COLUMNS`: IoU of mask and mean map with its 95 % interval over subjects.
    summary : DataFrame
        `STATISTICS`.

    Raises
    ------
    DataError
        If expressions differ, or there are fewer than two.
    """
    names = list(by_subject)
    if len(names) < 2 or set(names) - set(masks):
        raise DataError(
            f"There must be a mask for each of two or more expressions, but got maps of {', '.join(names)} "
            f"and masks of {', '.join(masks)}."
        )
    subjects = sorted({subject for of_name in by_subject.values() for subject in of_name})
    stacks = {
        name: (np.stack([of_name[s] for s in sorted(of_name)]), [subjects.index(s) for s in sorted(of_name)])
        for name, of_name in by_subject.items()
    }
    observed = _table(stacks, masks, names, np.ones(len(subjects)))
    counts = resample_counts(len(subjects), resamples, seed=seed)
    drawn = np.array([_table(stacks, masks, names, count) for count in counts])

    def interval(value: float, replicates: np.ndarray) -> Interval:
        return interval_of(float(value), replicates, len(subjects))

    rows = []
    for m, mask_name in enumerate(names):
        for e, map_name in enumerate(names):
            found = interval(observed[e, m], drawn[:, e, m])
            rows.append((mask_name, map_name, found.estimate, found.low, found.high, len(subjects)))
    own = np.eye(len(names), dtype=bool)
    parts = {
        "own": (observed[own].mean(), drawn[:, own].mean(axis=1)),
        "others": (observed[~own].mean(), drawn[:, ~own].mean(axis=1)),
    }
    parts["difference"] = tuple(parts["own"][k] - parts["others"][k] for k in (0, 1))
    p = relabelling_test(observed).p
    lines = []
    for name, (value, replicates) in parts.items():
        found = interval(value, replicates)
        ends = (found.estimate, found.low, found.high)
        lines.append((name, *ends, p if name == "difference" else np.nan, len(subjects)))
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(lines, columns=STATISTICS)


def _table(
    stacks: Mapping[str, tuple[np.ndarray, list[int]]],
    masks: Mapping[str, np.ndarray],
    names: list[str],
    counts: np.ndarray,
) -> np.ndarray:
    """Return the IoU of each expression's mean map over drawn subjects (rows) with each mask (columns)."""
    table = np.full((len(names), len(names)), np.nan)
    for e, name in enumerate(names):
        maps, places = stacks[name]
        weights = np.float32(counts[places])
        if not weights.sum():
            continue
        mean = np.tensordot(weights / weights.sum(), maps, 1)
        if np.ptp(mean) == 0:
            continue
        table[e] = [iou_at_equal_area(mean, masks[mask_name]) for mask_name in names]
    return table
