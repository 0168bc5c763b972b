"""All fold heatmaps of networks beside the masks, and the tables that say what their scores are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.facespace import heatmaps
from ekman_expressions.facespace.heatmaps import threshold_otsu, to_uint8
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.measures.regions import _region_table, region_masses
from ekman_expressions.measures.scores import (
    _AREAS,
    _THRESHOLDS,
    AVERAGE,
    _area_curve,
    _iou_by_threshold,
    _iou_table,
    _residual_table,
    auc,
)
from ekman_expressions.measures.uncertainty import (
    _compare_networks,
    _corrected_interval,
    _fold_of,
    _holm,
    _Interval,
    _interval_of,
    _joined,
    _max_statistic,
    _mean_known,
    _rank_sets,
    _region_null,
    _SubjectReplicates,
    centre_distance,
    centre_ellipse,
    random_pixels,
    relabelling_test,
)

# IoU at Otsu's threshold, AUC within the face hull, and the correlation of residuals (see `_residual_table`).
_SCORES = ("iou", "auc_hull", "residual")

TABLES: tuple[str, ...] = (
    *("baselines", "intervals", "tests", "cells", "ranking", "differences"),
    *("by_fold", "area_curves", "rank_correlations"),
)
"""The tables of `assess`; see docs/statistics.md."""

_ELLIPSES = {f"ellipse_{percent}": percent / 100 for percent in (10, 20, 30, 40)}  # shares of the canvas

# The baselines, in the order of the table.
_MEANINGS = {
    "heatmaps": "the heatmaps with the mask of their own expression",
    "white": "an all-white mask",
    "random_pixels": "random pixels, as many as each heatmap marks (expected)",
    "other_masks": "the heatmaps with the masks of the other expressions",
    **{name: f"a centred ellipse over {100 * share:.0f} % of the canvas" for name, share in _ELLIPSES.items()},
    "centre_prior": "a map that falls off from the middle",
    "mean_of_masks": "the mean of all masks",
    "face_prior": "the mean of all heatmaps",
}

_INTERVAL_COLUMNS = (
    *("score", "network", "expression", "estimate", "chance"),
    *("folds", "fold_low", "fold_high", "subjects", "subject_low", "subject_high"),
)
_TEST_COLUMNS = (
    *("score", "network", "observed", "chance", "largest", "own_is_best"),
    *("relabellings", "p", "p_holm", "heatmaps"),
)
_CHANCE = {"auc_hull": 0.5, "residual": 0.0}
_SHARES = np.round(np.arange(0.01, 1.005, 0.01), 2)


@dataclass(frozen=True)
class _HeatmapSet:
    """Heatmaps of networks, folds and expressions, in one face space with the masks of the expressions.

    With several trainings per fold, a "fold" is one of them: ``CV1``, ``CV1_S1`` ... (see `_fold_of`). Maps,
    (N, F, E, H, W) uint8, are zeros where there is no heatmap, `present`, (N, F, E) bool, is False; masks are
    (E, H, W) bool; `hull`, (H, W) bool, is where the face is, and `labels`, (H, W) int, the facial region of
    each pixel, a left one and its mirror image with one number, 0 where none.
    """

    networks: tuple[str, ...]
    folds: tuple[str, ...]
    maps: np.ndarray
    present: np.ndarray
    masks: np.ndarray
    hull: np.ndarray
    labels: np.ndarray
    expressions: tuple[str, ...] = EXPRESSIONS

    @cached_property
    def places(self) -> list[tuple[int, int, int]]:
        """Network, fold and expression of each heatmap there is."""
        return [tuple(place) for place in np.argwhere(self.present).tolist()]

    @cached_property
    def marked(self) -> np.ndarray:
        """Where each heatmap is above Otsu's threshold, (N, F, E, H, W) bool."""
        marked = np.zeros(self.maps.shape, bool)
        for place in self.places:
            marked[place] = threshold_otsu(self.maps[place])[1]
        return marked

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """Per score in `_SCORES`, the (N, F, E, E) table of each heatmap with the mask of each expression."""
        iou = _iou_table(self.marked, self.masks)
        iou[~self.present] = np.nan
        in_hull = np.full(iou.shape, np.nan)
        for place in self.places:
            in_hull[place] = [auc(self.maps[place], mask, self.hull) for mask in self.masks]
        residual = _residual_table(self.maps, self.masks, self.present)
        return dict(zip(_SCORES, (iou, in_hull, residual), strict=True))

    @cached_property
    def own(self) -> dict[str, np.ndarray]:
        """Per score, the (N, F, E) scores with the own mask; NaN where there is no heatmap."""
        return {name: np.diagonal(table, axis1=-2, axis2=-1) for name, table in self.tables.items()}

    @cached_property
    def common(self) -> np.ndarray:
        """What the mean over expressions of each model's heatmaps marks, (N, F, H, W) bool."""
        marked = np.zeros(self.maps.shape[:2] + self.maps.shape[3:], bool)
        for place in {place[:2] for place in self.places}:
            marked[place] = threshold_otsu(to_uint8(self.maps[place][self.present[place]].mean(axis=0)))[1]
        return marked

    @cached_property
    def by_area(self) -> np.ndarray:
        """The expected IoU of random pixels, as many as each heatmap marks, with each mask: (N, F, E, E)."""
        areas = self.marked.sum(axis=(-2, -1))[..., None]
        return np.where(self.present[..., None], _by_chance(areas, self.masks), np.nan)

    @property
    def random_pixels(self) -> np.ndarray:
        """The same with the own mask, (N, F, E); NaN where there is no heatmap."""
        return np.diagonal(self.by_area, axis1=-2, axis2=-1)

    @property
    def compared(self) -> dict[str, np.ndarray]:
        """`tables` as relabelling compares them: IoU above what areas give (see `relabelling_test`)."""
        return self.tables | {"iou": self.tables["iou"] - self.by_area}

    def regions(self) -> pd.DataFrame:
        """Return where the heatmaps' mass lies, as ``regions.csv`` has it of explanations.

        Each fold counts alike; intervals are over folds, whose training faces overlap: they say what another
        fold would give, not another study.
        """
        cells, folds = {}, np.array(self.folds)
        for (e, expression), (n, network) in product(enumerate(self.expressions), enumerate(self.networks)):
            there = self.present[n, :, e]
            if there.any():
                cells[network, expression] = region_masses(self.maps[n, there, e]), folds[there]
        return _region_table(cells, seed=0, unit="folds")


def read_heatmaps(
    folder: Path | str,
    masks: np.ndarray,
    networks: Sequence[str],
    folds: Sequence[str],
    omit: Callable[[str, object], None],
    expressions: tuple[str, ...] = EXPRESSIONS,
) -> _HeatmapSet:
    """Read the fold heatmaps of a folder, laid out like ``heatmaps/<experiment>``, beside the masks of the
    expressions, (E, 275, 224) bool.

    `omit` is called with the name of each heatmap that cannot be scored, and the reason.
    """
    shape = (len(networks), len(folds), len(expressions))
    maps = np.zeros((*shape, *masks.shape[1:]), np.uint8)
    present = np.zeros(shape, bool)
    for n, f, e in np.ndindex(shape):
        name = heatmaps._heatmap_name(expressions[e], networks[n], folds[f])
        try:
            gray = heatmaps.read_gray(folder, expressions[e], networks[n], folds[f])
            if np.ptp(gray) == 0:
                raise DataError(f"the heatmap is {gray.flat[0]} everywhere, so it marks nothing")
            maps[n, f, e], present[n, f, e] = gray, True
        except MissingError:
            omit(name, "there is no such heatmap; the step 'heatmaps' says why")
        except DataError as error:
            omit(name, error)
    # Faces and masks are symmetric: regions drawn singly would make chance look narrower than it is.
    pairs = pd.factorize(pd.Index(atlas().names).str.replace("^(left|right)_", "", regex=True))[0]
    labels = np.append(0, pairs + 1)[atlas().labels]
    return _HeatmapSet(tuple(networks), tuple(folds), maps, present, masks, atlas().hull, labels, expressions)


def assess(found: _HeatmapSet, *, seed: int, subjects: _SubjectReplicates | None = None) -> dict[str, pd.DataFrame]:
    """Return every table of `TABLES`: baselines, tests, intervals, ranks and further scores.

    Parameters
    ----------
    found : _HeatmapSet
        Heatmaps and masks; see `read_heatmaps`.
    seed : int
        The experiment's.
    subjects : _SubjectReplicates, optional
        Without it there are no intervals over subjects.
    """
    by_fold, differences = _by_fold(found, subjects), _differences(found, subjects)
    return {
        "baselines": _baselines(found),
        "intervals": _intervals(found, subjects),
        "tests": _tests(found),
        "cells": _cells(found, seed),
        "ranking": _ranking(found, differences),
        "differences": differences,
        "by_fold": by_fold,
        "area_curves": _area_curves(found),
        "rank_correlations": _rank_correlations(by_fold),
    }


def _known_figures(found: _HeatmapSet) -> dict[str, float]:
    """Compute the figures that are known of the released heatmaps, named as in ``data/known_figures.csv``."""
    table, own = found.tables["iou"], found.own["iou"]
    relabelled = relabelling_test(_mean_known(table, axis=1))
    above_areas = relabelling_test(_mean_known(found.compared["iou"], axis=1))
    areas = found.marked.sum(axis=(-2, -1)).mean(axis=(0, 1))
    values = {
        "white": found.masks.mean(),
        "own": own.mean(),
        "others": (table.sum(axis=-1) - own).mean() / (len(found.expressions) - 1),
        "own_is_best": _own_is_best(table),
        "relabelling_p": above_areas.p,
        "relabelling_mean": relabelled.null.mean(),
        "relabelling_max": relabelled.null.max(),
        # A mean number of pixels is rounded before so many are drawn.
        "random_pixels": _by_chance(np.rint(areas).astype(int), found.masks).mean(),
        "random_pixels_each": found.random_pixels.mean(),
    }
    by_network = {"otsu": own.mean(axis=(1, 2))}
    for name, share in _AREAS.items():
        hottest = np.zeros(found.maps.shape, bool)
        for place in found.places:
            hottest[place] = _hottest(found.maps[place], share)
        scores = np.diagonal(_iou_table(hottest, found.masks), axis1=-2, axis2=-1)
        values[name], by_network[name] = scores.mean(), scores.mean(axis=(1, 2))
    for name in _ELLIPSES:
        values[name] = _iou_table(_baseline_maps(found)[name] > 0, found.masks).mean()
    correlations = pd.DataFrame(by_network).corr("spearman")["otsu"]
    values |= {f"spearman_otsu_{name}": correlations[name] for name in ("area_10", "area_20", "area_30")}
    return {name: float(value) for name, value in values.items()}


def _baselines(found: _HeatmapSet) -> pd.DataFrame:
    """What each baseline scores, per expression and on average: means over folds, then networks."""
    values, expressions = {}, [*map(title, found.expressions), AVERAGE]
    for score in _SCORES[:2]:
        cells = _mean_known(_mean_known(found.tables[score], axis=1), axis=0)
        values["heatmaps", score] = np.diagonal(cells)
        others = np.where(np.eye(len(cells), dtype=bool), np.nan, cells)
        values["other_masks", score] = _mean_known(others, axis=1)
    values["random_pixels", "iou"] = _mean_known(_mean_known(found.random_pixels, axis=1), axis=0)
    for name, gray in _baseline_maps(found).items():
        # A map of one value marks all of the canvas here, as its name says, and not nothing.
        marked = threshold_otsu(gray)[1] if gray.min() < gray.max() else gray > 0
        values[name, "iou"] = _iou_table(marked, found.masks)
        values[name, "auc_hull"] = np.array([auc(gray, mask, found.hull) for mask in found.masks])
    rows = [
        (name, _MEANINGS[name], expression, score, value)
        for name, score in sorted(values, key=lambda names: [*_MEANINGS].index(names[0]))
        for expression, value in zip(expressions, _with_mean(values[name, score]), strict=True)
    ]
    return pd.DataFrame(rows, columns=["baseline", "meaning", "expression", "score", "value"])


def _baseline_maps(found: _HeatmapSet) -> dict[str, np.ndarray]:
    """Return the baselines that are maps themselves, as 8-bit heatmaps."""
    shape = found.masks.shape[1:]
    maps = {"white": np.full(shape, 255, np.uint8)}
    for name, share in _ELLIPSES.items():
        maps[name] = np.uint8(centre_ellipse(share, shape)) * 255
    maps["centre_prior"] = to_uint8(-centre_distance(shape))
    maps["mean_of_masks"] = to_uint8(found.masks.mean(axis=0))
    if found.present.any():
        maps["face_prior"] = to_uint8(found.maps[found.present].mean(axis=0, dtype=np.float64))
    return maps


def _tests(found: _HeatmapSet) -> pd.DataFrame:
    """Test own masks against all relabellings, within each network and over all."""
    rows = []
    for score, table in found.compared.items():
        cells = _mean_known(table, axis=1)
        over_all, *tests = (relabelling_test(part) for part in (cells, *cells))
        corrected = [over_all.p, *_holm([test.p for test in tests])]
        raw = found.tables[score]
        for name, test, part, p_holm in zip(
            ["all", *found.networks], [over_all, *tests], [raw, *raw], corrected, strict=True
        ):
            null, count = test.null, int(np.isfinite(part).all(axis=-1).sum())
            row = (score, name, test.observed, null.mean(), null.max(), _own_is_best(part))
            rows.append((*row, null.size, test.p, p_holm, count))
    return pd.DataFrame(rows, columns=_TEST_COLUMNS)


def _own_is_best(table: np.ndarray) -> float:
    """Return in which share of heatmaps, (..., E, E), the own mask scores at least as high as any other."""
    known = np.isfinite(table).all(axis=-1)
    best = np.diagonal(table, axis1=-2, axis2=-1) >= table.max(axis=-1)
    return float(best[known].mean()) if known.any() else np.nan


def _cells(found: _HeatmapSet, seed: int) -> pd.DataFrame:
    """Test each network and expression, and maps that know no expression, against random regions."""
    shape = found.masks.shape[1:]
    controls = {f"centred ellipse, {share:.0%}": centre_ellipse(share, shape) for share in (0.2, 0.3, 0.4)}
    if found.present.any():
        controls["face prior"] = threshold_otsu(_baseline_maps(found)["face_prior"])[1]
    drawn = np.array(list(controls.values()))[:, None]
    # A model with one heatmap has nothing to compare it with.
    known = found.present & (found.present.sum(axis=2, keepdims=True) > 1)
    of_networks = found.marked & known[..., None, None], found.common
    of_controls = np.repeat(drawn[:, :, None], len(found.expressions), axis=2), drawn
    nulls = [_region_null(*pair, found.masks, found.labels, seed=seed) for pair in (of_networks, of_controls)]
    null = np.concatenate(nulls, axis=1).reshape(len(nulls[0]), -1)
    p, corrected = _max_statistic(null)
    names = [[*found.networks, *controls], map(title, found.expressions)]
    table = pd.DataFrame(product(*names), columns=["network", "expression"])
    ious = [_mean_known(found.own["iou"], axis=1), _iou_table(drawn[:, 0], found.masks)]
    return table.assign(
        kind=np.where(table["network"].isin(list(controls)), "control", "network"),
        iou=np.concatenate(ious).ravel(),
        above_mean_map=null[0],
        chance=_mean_known(null, axis=0),
        p=p,
        p_corrected=corrected,
    )


def _intervals(found: _HeatmapSet, subjects: _SubjectReplicates | None) -> pd.DataFrame:
    """Each cell and average of the published layout with its intervals over folds and over subjects."""
    networks, expressions = [*found.networks, AVERAGE], [*map(title, found.expressions), AVERAGE]
    rows, folds = [], [_fold_of(fold) for fold in found.folds]
    for score, values in found.own.items():
        chance = found.random_pixels if score == "iou" else np.where(found.present, _CHANCE[score], np.nan)
        estimates, by_chance = (_with_averages(_mean_known(part, axis=1)) for part in (values, chance))
        by_fold = _with_averages(values.swapaxes(0, 1))
        drawn = subjects.scores.get(score) if subjects else None
        drawn = drawn if drawn is None else _with_averages(_mean_known(drawn, axis=2))
        for n, e in np.ndindex(estimates.shape):
            estimate = float(estimates[n, e])
            over_folds = _corrected_interval(by_fold[:, n, e], folds)
            over_subjects = _Interval(np.nan)
            if drawn is not None:
                average = n == len(found.networks) or e == len(found.expressions)
                people = subjects.of_fold if average else subjects.subjects[n, :, e]
                over_subjects = _over_subjects(estimate, drawn[:, n, e], people, found.folds)
            # Where folds lack cells, the mean of cells is not that of folds: the ends move along.
            shift = estimate - over_folds.estimate
            ends = [over_folds.low + shift, over_folds.high + shift, over_subjects.low, over_subjects.high]
            # No score lies beyond, so the interval covers no less without.
            ends = np.clip(ends, -1 if score == "residual" else 0, 1)
            head = (score, networks[n], expressions[e], estimate, by_chance[n, e], over_folds.units)
            rows.append((*head, *ends[:2], over_subjects.units, *ends[2:]))
    return pd.DataFrame(rows, columns=_INTERVAL_COLUMNS)


def _differences(found: _HeatmapSet, subjects: _SubjectReplicates | None) -> pd.DataFrame:
    """Compare the averages of every two networks, over the folds and expressions that both have."""
    tables = {}
    for score, values in found.own.items():
        table = _compare_networks(values, found.networks, found.folds)
        drawn = subjects.scores.get(score) if subjects else None
        over = [_Interval(np.nan)] * len(table)
        if drawn is not None:
            averages = dict(zip(found.networks, drawn.swapaxes(0, 1), strict=True))
            for place, row in enumerate(table.itertuples()):
                of_pair = averages[row.first] - averages[row.second]
                of_pair = _mean_known(_mean_known(of_pair, axis=1), axis=1)
                over[place] = _over_subjects(row.difference, of_pair, subjects.of_fold, found.folds)
        over = pd.DataFrame(over, columns=_Interval._fields)
        ends = {"subjects": over["units"], "subject_low": over["low"], "subject_high": over["high"]}
        tables[score] = table.assign(**ends, subject_p_holm=_holm(over["p"]))
    return _joined(tables, "score")


def _ranking(found: _HeatmapSet, differences: pd.DataFrame) -> pd.DataFrame:
    """Rank the networks by their averages, with sets of ranks over folds and over subjects."""
    tables = {}
    for score, values in found.own.items():
        of_score = differences[differences["score"] == score]
        estimates = _mean_known(_mean_known(values, axis=1), axis=1)
        for unit, column in (("folds", "p_holm"), ("subjects", "subject_p_holm")):
            if unit == "folds" or of_score[column].notna().any():
                pairs = of_score.assign(p_holm=of_score[column])
                tables[score, unit] = _rank_sets(estimates, pairs, found.networks)
    return _joined(tables, "score", "unit")


def _by_fold(found: _HeatmapSet, subjects: _SubjectReplicates | None) -> pd.DataFrame:
    """Score every fold heatmap without a threshold and at several, over the canvas and within the hull."""
    rows = []
    for n, f, e in tqdm(found.places, desc="Scoring heatmaps", unit="heatmap"):
        network, fold, expression = found.networks[n], found.folds[f], found.expressions[e]
        gray, mask = found.maps[n, f, e], found.masks[e]
        for area, within in (("canvas", None), ("hull", found.hull)):
            names = {"network": network, "fold": fold, "expression": title(expression), "area": area}
            names["reliability"] = subjects.reliability[n, f, e] if subjects else np.nan
            rows.append(names | {"auc": auc(gray, mask, within)} | _iou_by_threshold(gray, mask, within))
    names = ["network", "fold", "expression", "area", "reliability", "auc", *_THRESHOLDS]
    return pd.DataFrame(rows, columns=names)


def _area_curves(found: _HeatmapSet) -> pd.DataFrame:
    """Return IoU against marked area: mean over folds per network and expression, and of baselines."""
    each = np.full((*found.present.shape, _SHARES.size), np.nan)
    for place in found.places:
        each[place] = _area_curve(found.maps[place], found.masks[place[2]], _SHARES)
    cells = _mean_known(each, axis=1)
    centre = -centre_distance(found.masks.shape[1:])
    curves = {}
    for e, expression in enumerate(map(title, found.expressions)):
        for network, iou in zip(found.networks, cells[:, e], strict=True):
            curves["network", network, expression] = iou
        mask = found.masks[e]
        random = _by_chance(np.rint(_SHARES * mask.size).astype(int), mask[None])
        curves["baseline", "centre_prior", expression] = _area_curve(centre, mask, _SHARES)
        curves["baseline", "random_pixels", expression] = random
    tables = {key: pd.DataFrame({"share": _SHARES, "iou": iou}) for key, iou in curves.items()}
    return _joined(tables, "kind", "name", "expression")


def _rank_correlations(by_fold: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of the networks between all ways to score; NaN below three networks."""
    cells = by_fold.groupby(["area", "network", "expression"], sort=False)[["auc", *_THRESHOLDS]].mean()
    means = cells.groupby(["area", "network"], sort=False).mean().unstack("area")
    means.columns = [f"{score}_{area}" for score, area in means.columns]
    means = means.dropna(axis="columns", how="all")
    matrix = means.corr("spearman", min_periods=3).rename_axis(index="first", columns="second")
    table = matrix.stack(future_stack=True).rename("spearman").reset_index()
    return table.assign(networks=len(means))


def _by_chance(areas: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the expected IoU of so many random pixels (numbers that go with (E,)) with masks, (E, H, W)."""
    return np.vectorize(random_pixels, otypes=[float])(areas, masks.sum(axis=(1, 2)), masks[0].size)


def _with_mean(values: np.ndarray) -> np.ndarray:
    """Append the mean along the last axis."""
    return np.concatenate([values, _mean_known(values, axis=-1)[..., None]], axis=-1)


def _with_averages(cells: np.ndarray) -> np.ndarray:
    """Append the means over expressions, networks and all cells: (..., N, E) becomes (..., N + 1, E + 1)."""
    over_all = _mean_known(cells.reshape(*cells.shape[:-2], -1), axis=-1)
    last = np.concatenate([_mean_known(cells, axis=-2), over_all[..., None]], axis=-1)
    return np.concatenate([_with_mean(cells), last[..., None, :]], axis=-2)


def _over_subjects(estimate: float, replicates: np.ndarray, people: np.ndarray, folds: Sequence[str]) -> _Interval:
    """Make an interval over subjects, drawn within folds, of which `people`, (F,), says how many each has."""
    used = pd.Series(people).groupby([_fold_of(fold) for fold in folds]).max()
    return _interval_of(estimate, replicates, int(used.sum()), strata=np.count_nonzero(used))


def _hottest(heatmap: np.ndarray, share: float) -> np.ndarray:
    """Mark exactly this share of the pixels, the hottest; of equal ones the first in row order."""
    order = np.argsort(255 - heatmap.ravel(), kind="stable")
    marked = np.zeros(heatmap.size, bool)
    marked[order[: round(share * heatmap.size)]] = True
    return marked.reshape(heatmap.shape)
