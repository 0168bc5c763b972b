"""The steps "heatmaps", "masks" and "dendrograms": means of explanations, and which of them are alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import title
from ekman_expressions.core.files import read_arrays, write_arrays, write_image
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.faces.cropping import on_all_cores
from ekman_expressions.facespace.heatmaps import (
    KINDS,
    _heatmap_name,
    _read_float,
    _RunningMean,
    _to_jet,
    _to_overlay,
    heatmap_path,
    read_gray,
    threshold_otsu,
    to_uint8,
)
from ekman_expressions.facespace.masks import _mask_path, atlas
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures import trees
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run, _joined, read_results

_FACES = 30


def _heatmaps(experiment: Experiment, run: Run) -> None:
    """Average normalised explanations into heatmaps of folds, these into heatmaps of networks, and these into
    heatmaps of expressions, both weighted by the number of faces.
    """
    counts, make = {}, partial(_make_expression, experiment)
    for part, of_expression in on_all_cores(make, experiment.expressions, "Averaging", unit="expression"):
        run.add(part)
        counts |= of_expression
    cells = product(experiment.networks, experiment.folds, experiment.expressions)
    rows = [(*cell, counts[cell]) for cell in cells]
    table = pd.DataFrame(rows, columns=["network", "fold", "expression", "images"])
    run.write(experiment.heatmaps_folder, {"counts": table})


def _make_expression(experiment: Experiment, expression: str) -> tuple[Run, dict[tuple, int]]:
    run, counts, total = Run(), {}, _RunningMean()
    write = partial(_write, experiment, run, _mean_face(experiment, expression))
    # Sorted: the order in which networks are named must not change the last bit of a sum.
    for network in sorted(experiment.networks):
        over_folds = _RunningMean()
        for fold in experiment.folds:
            maps, image_ids = _read_maps(experiment.maps_path(network, fold, expression), run)
            of_fold = _RunningMean()
            for place in np.argsort(image_ids, kind="stable"):
                of_fold.add(maps[place])
            write(of_fold, expression, network, fold)
            if of_fold.weight:
                over_folds.add(of_fold.mean, of_fold.weight)
            counts[network, fold, expression] = int(of_fold.weight)
        write(over_folds, expression, network)
        if over_folds.weight:
            total.add(over_folds.mean, over_folds.weight)
    write(total, expression)
    return run, counts


def _mean_face(experiment: Experiment, expression: str) -> np.ndarray:
    """Average about 30 faces of an expression in face space, (275, 224, 3) in [0, 1]; gray without any."""
    table = prepared.read_manifest(experiment) if experiment.manifest_path.exists() else None
    ids = [] if table is None else list(table["image_id"][table["expression"] == expression])
    mean = prepared.mean_face(experiment, ids[:: max(1, len(ids) // _FACES)])
    return mean.mean if mean.weight else np.full((*SHAPE, 3), 0.5)


def _read_maps(path: Path, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of normalised explanations that are finite, and the faces' ids; without the file, none."""
    if not path.exists():
        return np.zeros((0, *SHAPE), np.float32), np.array([], str)
    maps, image_ids = read_arrays(path, ("maps", "image_ids")).values()
    finite = np.isfinite(maps).all(axis=(1, 2))
    for image_id in image_ids[~finite]:
        run.omit(f"{path.stem} {image_id}", "its normalised explanation is not finite")
    return maps[finite], image_ids[finite]


def _write(experiment: Experiment, run: Run, face: np.ndarray, running: _RunningMean, *cell: str) -> None:
    """Write a heatmap of an expression, or of its network, or of its fold too (`cell`)."""
    name, expression = _heatmap_name(*cell), cell[0]
    paths = {kind: heatmap_path(experiment.heatmaps_folder, *cell, kind=kind) for kind in KINDS}
    floats = paths["GRAY"].with_suffix(".npz")
    if not running.weight:
        reason = f"no face was predicted as {expression}, or none could be explained"
        # A heatmap of an earlier run, when there still were faces, would be taken for this one's.
        run.omit(name, reason, *paths.values(), floats)
        return
    # Stretched from the float32 that is stored, so that a reader gets the same gray values.
    heatmap = running.mean.astype(np.float32)
    gray = to_uint8(heatmap)
    if heatmap.min() == heatmap.max():
        run.omit(name, f"the heatmap is {heatmap.flat[0]:g} everywhere; its pictures are black")
    write_arrays(floats, {"heatmap": heatmap})
    write_image(paths["GRAY"], gray)
    write_image(paths["COLORMAP_JET"], _to_jet(gray))
    write_image(paths["THRESHOLD"], threshold_otsu(gray)[1].astype(np.uint8) * 255)
    mask = atlas().mask(experiment.mask_regions.get(expression, ()))
    write_image(paths["OVERLAY"], _to_overlay(gray, face, mask))
    run.made(*paths.values(), floats)


def _masks(experiment: Experiment, run: Run) -> None:
    """Write the masks, the six of Ekman or those with one's own among them, and the table of regions."""
    for expression, names in (experiment.mask_regions if experiment.masks else atlas().expressions).items():
        path = _mask_path(experiment.masks_folder, expression)
        write_image(path, atlas().mask(names).astype(np.uint8) * 255)
        run.made(path)
    run.write(experiment.masks_folder, {"regions": atlas().table()})


def _mask_sources(experiment: Experiment) -> dict[str, Path]:
    """Return the files that come with the package and of which the masks are made, by name."""
    data = Path(__file__).parents[1] / "data"
    return {name: data / name for name in ("facial_regions.json", "template_landmarks.csv")}


_DISTANCES = ("level", "expression", "first", "second", "distance")
"""The columns of ``distances.csv``: one row per pair of leaves of one tree."""

_BRANCHES = ("level", "expression", "leaves", "height", "support")
"""The columns of ``branches.csv``: one row per branch of a tree; see `trees.branch_support`."""

_STATISTICS = ("level", "expression", "statistic", "value", "chance", "p", "n")
"""The columns of ``statistics.csv``: how far the trees can be believed.

``cophenetic_correlation`` of each tree (`n` leaves); at the level ``by_cv`` the ``reliability_auc``
(`n` pairs of one network; with the mean distances ``same_network`` and ``different_networks``); at
the level ``by_net`` the ``split_difference`` between networks that were pre-trained and those from
scratch (`n` relabellings), also of all expressions together.
"""

_Leaf = tuple[str, str | None, str | None]
"""Expression, network and fold of a heatmap; None: over all."""

_CAPTION = (
    "1 − Pearson's r between 8-bit heatmaps, average linkage: 0 is the same pattern, 1 unrelated. Numbers at "
    "branches: how often each appears in resamples of the folds."
)
_SPLIT = ("pre-trained", "from scratch")
# Models of one's own are in neither group.


def _dendrograms(experiment: Experiment, run: Run) -> None:
    """Draw which heatmaps are alike, and write the tables `_DISTANCES`, `_BRANCHES` and `_STATISTICS`."""
    folder = experiment.dendrograms_folder
    kinds = figures.network_kinds(experiment.networks, experiment.training.weights)
    leaf_kinds = kinds | {f"{network}_{fold}": kinds[network] for network, fold in experiment.pairs}
    pairs, branches, found, pair_only = [], [], {}, []
    for file, heading, level, expression, leaves in tqdm(
        list(_trees(experiment)), desc="Drawing dendrograms", unit="figure"
    ):
        maps = _read_leaves(experiment, file, leaves, run)
        if len(maps) < 2:
            run.omit(file, f"a tree needs at least 2 heatmaps, but there are {len(maps)}", folder / file)
            continue
        names, where = np.array(list(maps)), {"level": level, "expression": expression}
        of_tree = [leaves[name] for name in names]
        matrix = trees.distances(list(maps.values()), names)
        tree = trees.linkage(matrix)
        found[level, expression] = (matrix, of_tree, tree)
        first, second = np.triu_indices(len(names), k=1)
        of_pairs = {"first": names[first], "second": names[second], "distance": matrix[first, second]}
        pairs.append(pd.DataFrame(of_pairs | where))
        support = None
        # A leaf that is of one fold cannot be made from other folds.
        if level != "by_cv":
            support = _support(experiment, level, of_tree, tree)
            below = [" ".join(names[sorted(branch)]) for branch in trees.branches(tree)]
            of_branches = {"leaves": below, "height": tree[:, 2], "support": support}
            branches.append(pd.DataFrame(of_branches | where))
        if len(maps) > 2:
            groups = None if level == "by_expression" else leaf_kinds
            figure = figures.dendrogram(tree, list(names), groups=groups, support=support, title=heading)
            figures.save(figure, folder / file, caption=_CAPTION)
            run.made(folder / file)
        else:
            pair_only.append(file)
    if pair_only:
        files = ", ".join(pair_only)
        run.note(f"a tree of two leaves says no more than their distance, and is not drawn: {files}")
    statistics = pd.DataFrame(_statistics(found, kinds, experiment.seed), columns=_STATISTICS)
    tables = {"distances": _joined(pairs, _DISTANCES), "branches": _joined(branches, _BRANCHES)}
    run.write(folder, tables | {"statistics": statistics})


def _trees(experiment: Experiment) -> Iterator[tuple[str, str, str, str, dict[str, _Leaf]]]:
    """Yield file name, title, level, expression, and per leaf its name and which heatmap it is."""
    by_net = {network: (network, None) for network in experiment.networks}
    by_fold = {f"{network}_{fold}": (network, fold) for network, fold in experiment.pairs}
    for expression in experiment.expressions:
        for level, leaves, what in (("by_net", by_net, "networks"), ("by_CV", by_fold, "networks and folds")):
            yield (
                f"{title(expression)}_{level}.png",
                f"{title(expression)}: likeness of heatmaps of {what}",
                level.lower(),
                expression,
                {name: (expression, *model) for name, model in leaves.items()},
            )
    totals = {title(expression): (expression, None, None) for expression in experiment.expressions}
    yield "By_expression.png", "Likeness of heatmaps of expressions", "by_expression", "all", totals


def _read_leaves(experiment: Experiment, tree: str, leaves: dict, run: Run) -> dict[str, np.ndarray]:
    """Read the heatmaps that can be leaves of a tree; the others are listed in `run`."""
    maps = {}
    for name, leaf in leaves.items():
        if not heatmap_path(experiment.heatmaps_folder, *leaf).exists():
            run.omit(f"{name} in {tree}", "there is no such heatmap; the step 'heatmaps' says why")
            continue
        gray = read_gray(experiment.heatmaps_folder, *leaf)
        if gray.min() == gray.max():
            run.omit(f"{name} in {tree}", "the heatmap is constant and correlates with nothing")
        else:
            maps[name] = gray
    return maps


def _support(experiment: Experiment, level: str, leaves: Sequence[_Leaf], tree: np.ndarray) -> np.ndarray:
    """Return the support over folds of each branch; a leaf's fold is the mean of its networks' heatmaps."""
    by = ["network", "fold", "expression"]
    counts = read_results(experiment, "heatmaps", "counts", (*by, "images")).set_index(by)["images"]
    shape = (len(leaves), len(experiment.folds))
    maps, weights = np.zeros((*shape, *SHAPE)), np.zeros(shape)
    for place, number in np.ndindex(shape):
        (expression, network, _), fold = leaves[place], experiment.folds[number]
        mean = _RunningMean()
        for name in experiment.networks if network is None else (network,):
            with suppress(MissingError):
                one = _read_float(experiment.heatmaps_folder, expression, name, fold)
                mean.add(one, float(counts[name, fold, expression]))
        if mean.weight:
            maps[place, number], weights[place, number] = mean.mean, mean.weight
    seed = derive_seed(experiment.seed, "trees", level)
    return trees.branch_support(maps, tree, weights=weights, seed=seed)


def _statistics(found: Mapping, kinds: Mapping[str, str], seed: int) -> Iterator[tuple]:
    """Yield the rows of `_STATISTICS` for trees: distances, leaves and linkage by level and expression."""
    none, splits = float("nan"), {}
    for (level, expression), (matrix, leaves, tree) in found.items():
        where, correlation = (level, expression), _cophenetic_correlation(tree, matrix)
        yield *where, "cophenetic_correlation", correlation, none, none, len(matrix)
        names, folds = [leaf[1] for leaf in leaves], [leaf[2] for leaf in leaves]
        if level == "by_cv" and 1 < len(set(names)) < len(names):
            of_names = derive_seed(seed, "reliability", expression)
            alike = trees._fold_reliability(matrix, names, folds, seed=of_names)
            yield *where, "reliability_auc", alike["auc"], 0.5, alike["p"], alike["pairs"]
            yield *where, "same_network", alike["same"], none, none, alike["pairs"]
            yield *where, "different_networks", alike["different"], none, none, alike["pairs"]
        known = [place for place, name in enumerate(names) if kinds.get(name) in _SPLIT]
        first = [kinds[names[place]] == _SPLIT[0] for place in known]
        # Two groups, one of them with a pair.
        if level == "by_net" and len(set(first)) == 2 and len(known) > 2:
            splits[expression] = [matrix[np.ix_(known, known)]], first
    most = max((len(first) for _, first in splits.values()), default=0)
    whole = [split for split in splits.values() if len(split[1]) == most]
    if len(whole) > 1:
        splits["all"] = [matrix for (matrix,), _ in whole], whole[0][1]
    for expression, (together, first) in splits.items():
        split = trees._split_test(together, first)
        values = split["difference"], 0.0, split["p"], split["relabellings"]
        yield "by_net", expression, "split_difference", *values


def _cophenetic_correlation(tree: np.ndarray, matrix: np.ndarray) -> float:
    """Return Pearson's r of distances and the heights at which leaves meet (Sokal and Rohlf 1962), or NaN."""
    from scipy.cluster.hierarchy import cophenet
    from scipy.spatial.distance import squareform

    condensed = squareform(matrix, checks=False)
    constant = np.ptp(condensed) == 0 or np.ptp(tree[:, 2]) == 0
    return float("nan") if constant else float(cophenet(tree, condensed)[0])
