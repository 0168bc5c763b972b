"""Heatmaps: means of explanations in face space, per fold, per network and per expression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.errors import DataError, SettingsError, check_option
from ekman_expressions.experiment import Experiment
from ekman_expressions.expressions import EXPRESSIONS, title
from ekman_expressions.facespace.template import SHAPE
from ekman_expressions.locks import locked
from ekman_expressions.provenance import Run, record, require_finished, settings_of
from ekman_expressions.storage import (
    read_arrays,
    read_csv,
    read_image,
    require,
    write_arrays,
    write_csv,
    write_image,
)

KINDS: tuple[str, ...] = ("GRAY", "COLORMAP_JET", "THRESHOLD")
"""The pictures that are written of each heatmap, and their folders."""

_STEP = "heatmaps"


class RunningMean:
    """The weighted mean of arrays that come one by one, in memory for one array.

    The mean is moved by each array's weighted difference from it, which stays accurate where
    a large sum would lose digits (West 1979, doi:10.1145/359146.359153).

    Attributes
    ----------
    weight : float
        The sum of the weights so far.
    """

    def __init__(self) -> None:
        self.weight = 0.0
        self._mean: np.ndarray | None = None

    def add(self, array: np.ndarray, weight: float = 1.0) -> None:
        """Take in an array, of the same shape as those before, with a weight > 0."""
        array = np.asarray(array, dtype=np.float64)
        if not weight > 0:
            raise SettingsError(f"'weight' must be a number > 0, but got {weight!r} instead.")
        if self._mean is None:
            self._mean = np.zeros(array.shape)
        if array.shape != self._mean.shape:
            raise DataError(f"The mean is of arrays of shape {self._mean.shape}, but got {array.shape}.")
        self.weight += weight
        self._mean += (array - self._mean) * (weight / self.weight)

    @property
    def mean(self) -> np.ndarray:
        """The mean so far, float64; `DataError` before the first array."""
        if self._mean is None:
            raise DataError("There is no mean of no arrays: add one first.")
        return self._mean.copy()


def to_uint8(heatmap: np.ndarray) -> np.ndarray:
    """Stretch a heatmap to 0 ... 255 by its minimum and maximum.

    Parameters
    ----------
    heatmap : (H, W) ndarray of float
        Any range.

    Returns
    -------
    (H, W) ndarray of uint8
        ``floor(255 (h - min) / (max - min))``; zeros where the heatmap is constant.

    Raises
    ------
    DataError
        If the heatmap is empty or not finite.
    """
    heatmap = np.asarray(heatmap, dtype=np.float64)
    if heatmap.size == 0 or not np.isfinite(heatmap).all():
        raise DataError(
            f"A heatmap must be finite and not empty, but got shape {heatmap.shape} with "
            f"{np.count_nonzero(~np.isfinite(heatmap))} values that are not finite."
        )
    low, high = heatmap.min(), heatmap.max()
    if low == high:
        return np.zeros(heatmap.shape, np.uint8)
    # Divided before it is multiplied, so that the maximum is exactly 255.
    return np.floor(255 * ((heatmap - low) / (high - low))).astype(np.uint8)


def threshold_otsu(gray: np.ndarray) -> tuple[int, np.ndarray]:
    """Split an 8-bit heatmap in two by Otsu's threshold.

    Parameters
    ----------
    gray : (H, W) ndarray of uint8

    Returns
    -------
    level : int
        The gray value that separates the two classes best.
    above : (H, W) ndarray of bool
        Where the heatmap is above `level`; nowhere if it is constant.

    Raises
    ------
    DataError
        If `gray` is empty or no 8-bit image.

    References
    ----------
    Otsu (1979), doi:10.1109/TSMC.1979.4310076.
    """
    gray = np.asarray(gray)
    if gray.dtype != np.uint8 or gray.ndim != 2 or gray.size == 0:
        raise DataError(
            f"Otsu's threshold needs an (H, W) uint8 heatmap, but got {gray.dtype} of shape {gray.shape}. "
            "Use heatmaps.to_uint8 first."
        )
    if gray.min() == gray.max():
        # OpenCV would answer 0, which puts the whole canvas above.
        return int(gray.flat[0]), np.zeros(gray.shape, bool)
    import cv2

    level, _ = cv2.threshold(np.ascontiguousarray(gray), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return int(level), gray > level


def to_jet(gray: np.ndarray) -> np.ndarray:
    """Colour an 8-bit heatmap (H, W) with JET: RGB (H, W, 3) uint8, blue low, red high."""
    import cv2

    return cv2.cvtColor(cv2.applyColorMap(gray, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)


def heatmap_path(
    source: Experiment | Path | str,
    expression: str,
    network: str | None = None,
    fold: str | None = None,
    *,
    kind: str = "GRAY",
) -> Path:
    """Return where a heatmap's picture lies.

    Parameters
    ----------
    source : Experiment or Path
        The experiment, or a folder laid out like ``heatmaps/<experiment>``.
    expression : str
        One of `EXPRESSIONS`.
    network, fold : str, optional
        Both: the heatmap of a fold. Only `network`: of a network. Neither: of the expression.
    kind : {'GRAY', 'COLORMAP_JET', 'THRESHOLD'}
    """
    check_option(kind, "kind", KINDS)
    if fold is not None and network is None:
        raise SettingsError(f"A heatmap of fold {fold!r} needs a 'network' too, but got None.")
    level = "heatmaps_total" if network is None else "heatmaps_by_net" if fold is None else "heatmaps_by_cv"
    folder = source.heatmaps_folder if isinstance(source, Experiment) else Path(source)
    return folder / kind / level / f"{heatmap_name(expression, network, fold)}_heatmap.png"


def heatmap_name(expression: str, network: str | None = None, fold: str | None = None) -> str:
    """Return a heatmap's name in files and reports: ``SilNet_CV1_Anger``, ``SilNet_Anger``, ``Anger``."""
    return "_".join(part for part in (network, fold, title(expression)) if part is not None)


def read_gray(
    source: Experiment | Path | str, expression: str, network: str | None = None, fold: str | None = None
) -> np.ndarray:
    """Read an 8-bit heatmap, (275, 224) uint8; arguments as in `heatmap_path`.

    Raises
    ------
    MissingError
        If it is not there.
    DataError
        If it is damaged or not of the size of face space.
    """
    path = require(heatmap_path(source, expression, network, fold), _STEP)
    return _in_face_space(read_image(path, gray=True), path)


def read_float(
    source: Experiment | Path | str, expression: str, network: str | None = None, fold: str | None = None
) -> np.ndarray:
    """Read a heatmap before it was stretched, (275, 224) float32, finite; else as `read_gray`."""
    path = require(heatmap_path(source, expression, network, fold).with_suffix(".npz"), _STEP)
    heatmap = _in_face_space(read_arrays(path, ("heatmap",))["heatmap"], path)
    if not np.isfinite(heatmap).all():
        wrong = np.count_nonzero(~np.isfinite(heatmap))
        raise DataError(
            f"{path} holds {wrong} values that are not finite. Delete it and run the step 'heatmaps' again."
        )
    return heatmap


def read_counts(experiment: Experiment) -> pd.DataFrame:
    """Read how many faces each fold's heatmap is the mean of: network, fold, expression, images."""
    path = require(experiment.heatmaps_folder / "counts.csv", _STEP)
    return read_csv(path, ("network", "fold", "expression", "images"))


@locked
def make(experiment: Experiment) -> Run:
    """Average the normalised explanations into heatmaps and write them (step "heatmaps").

    A fold's heatmap is the mean of its normalised explanations; a network's is the mean over
    its folds, and an expression's the mean over networks, both weighted by the number of faces.

    Raises
    ------
    MissingError
        If the step "facespace" has not come to its end.
    DataError
        If a file of normalised explanations is damaged or of another shape.
    """
    explained = require_finished(experiment.facespace_folder, "facespace")
    settings = settings_of(experiment, "faces", "training", "models", "explanation")
    with record(
        experiment.heatmaps_folder,
        _STEP,
        settings,
        inputs={"facespace": explained},
        upstream=[experiment.facespace_folder],
        redo=True,
    ) as run:
        if run.finished_before and (made := _made(experiment)) is not None:
            run.skipped = made
            return run
        run.begin()
        counts = []
        with tqdm(total=len(EXPRESSIONS) * len(experiment.pairs), desc="Averaging", unit="heatmap") as bar:
            for expression in EXPRESSIONS:
                counts += _make_expression(experiment, expression, run, bar)
        table = pd.DataFrame(counts, columns=["network", "fold", "expression", "images"])
        order = {
            name: place for place, name in enumerate((*experiment.networks, *experiment.folds, *EXPRESSIONS))
        }
        table = table.sort_values(["network", "fold", "expression"], key=lambda names: names.map(order))
        write_csv(experiment.heatmaps_folder / "counts.csv", table)
    return run


def _make_expression(experiment: Experiment, expression: str, run: Run, bar: tqdm) -> list[tuple]:
    counts = []
    total = RunningMean()
    # Sorted: the order in which networks are named must not change the last bit of a sum.
    for network in sorted(experiment.networks):
        over_folds = RunningMean()
        for fold in experiment.folds:
            maps = experiment.maps_path(network, fold, expression)
            of_fold = _mean_of(maps, run)
            _write(experiment, of_fold, run, expression, network, fold)
            if of_fold.weight:
                over_folds.add(of_fold.mean, of_fold.weight)
            counts.append((network, fold, expression, int(of_fold.weight)))
            bar.update()
        _write(experiment, over_folds, run, expression, network)
        if over_folds.weight:
            total.add(over_folds.mean, over_folds.weight)
    _write(experiment, total, run, expression)
    return counts


def _mean_of(path: Path, run: Run) -> RunningMean:
    """Average one file of normalised explanations; without the file, the mean of none."""
    mean = RunningMean()
    if not path.exists():
        return mean
    stored = read_arrays(path, ("maps", "image_ids"))
    maps, image_ids = stored["maps"], stored["image_ids"]
    if maps.shape != (len(image_ids), *SHAPE):
        raise DataError(
            f"{path} should hold one map of shape {SHAPE} for each of {len(image_ids)} faces, but holds "
            f"{maps.shape}. Delete it and run the step 'facespace' again."
        )
    for place in np.argsort(image_ids, kind="stable"):
        if np.isfinite(maps[place]).all():
            mean.add(maps[place])
        else:
            run.omit(f"{path.stem} {image_ids[place]}", "its normalised explanation is not finite")
    return mean


def _write(
    experiment: Experiment,
    running: RunningMean,
    run: Run,
    expression: str,
    network: str | None = None,
    fold: str | None = None,
) -> None:
    name = heatmap_name(expression, network, fold)
    paths = {kind: heatmap_path(experiment, expression, network, fold, kind=kind) for kind in KINDS}
    floats = paths["GRAY"].with_suffix(".npz")
    if not running.weight:
        # A heatmap of an earlier run, when there still were faces, would be taken for this one's.
        for path in (*paths.values(), floats):
            path.unlink(missing_ok=True)
        run.omit(name, f"no face was predicted as {expression}, or none could be explained")
        return
    # Stretched from the float32 that is stored, so that a reader gets the same gray values.
    heatmap = running.mean.astype(np.float32)
    gray = to_uint8(heatmap)
    if heatmap.min() == heatmap.max():
        run.omit(name, f"the heatmap is {heatmap.flat[0]:g} everywhere; its pictures are black")
    write_arrays(floats, {"heatmap": heatmap})
    write_image(paths["GRAY"], gray)
    write_image(paths["COLORMAP_JET"], to_jet(gray))
    write_image(paths["THRESHOLD"], threshold_otsu(gray)[1].astype(np.uint8) * 255)
    run.done += 1


def _made(experiment: Experiment) -> int | None:
    """Count the heatmaps on disk, if they are all that the counts promise for these networks; else None."""
    path = experiment.heatmaps_folder / "counts.csv"
    if not path.exists():
        return None
    counts = read_counts(experiment)
    if set(zip(counts["network"], counts["fold"], strict=True)) != set(experiment.pairs):
        return None
    counts = counts[counts["images"] > 0]
    wanted = {
        *zip(counts["expression"], counts["network"], counts["fold"], strict=True),
        *(
            (expression, network, None)
            for expression, network in zip(counts["expression"], counts["network"], strict=True)
        ),
        *((expression, None, None) for expression in counts["expression"]),
    }
    files = [heatmap_path(experiment, *item, kind=kind) for item in wanted for kind in KINDS]
    files += [heatmap_path(experiment, *item).with_suffix(".npz") for item in wanted]
    return len(wanted) if all(file.exists() for file in files) else None


def _in_face_space(heatmap: np.ndarray, path: Path) -> np.ndarray:
    if heatmap.shape != SHAPE:
        raise DataError(f"{path} has shape {heatmap.shape}, but face space is {SHAPE}.")
    return heatmap
