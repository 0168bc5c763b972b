"""The numbers and heatmaps that the authors released, and the check of one against the other."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, check_option
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, sha256
from ekman_expressions.facespace.masks import read_mask
from ekman_expressions.measures.heatmap_set import _known_figures, read_heatmaps
from ekman_expressions.measures.scores import AVERAGE, METRICS, _score_heatmaps, summarise
from ekman_expressions.study.experiment import Experiment

_TOLERANCE = 5e-5
"""The published numbers have four decimals."""

_VARIABLE = "EKMAN_EXPRESSIONS_PUBLISHED"
_REPOSITORY = "https://github.com/Xavi3398/ekman_expressions"
_COMMIT = "5ea21eb6dc1995481d68ce8a0734dac4ced0d989"
_BASE_URL = f"https://raw.githubusercontent.com/Xavi3398/ekman_expressions/{_COMMIT}/heatmaps/"
_FOLDS = tuple(f"CV{number}" for number in range(1, 6))
_HOW_TO_PASS = (
    f"To use files that you have, clone {_REPOSITORY} and pass its folder 'heatmaps': "
    f"ekman-expressions verify --published PATH, or the environment variable {_VARIABLE}."
)


@dataclass(frozen=True)
class _Report:
    """What `verify` found."""

    folder: Path
    """Where the released heatmaps and masks were read."""
    cells: pd.DataFrame
    """``network, expression, metric, expected, obtained, difference`` for each of the 364 published numbers
    (288 cells and 76 averages)."""
    pooled: pd.DataFrame
    """The scores of the networks' heatmaps in the published layout: the other reading."""
    known: pd.DataFrame
    """What else is known of the released heatmaps: chance, relabelling, thresholds."""
    changed: tuple[str, ...]
    """Files whose bytes are not the released ones."""

    @property
    def off(self) -> pd.DataFrame:
        """The rows of `cells` that differ by more than 5e-5, or could not be compared."""
        return self.cells[~(self.cells["difference"].abs() <= _TOLERANCE)]

    @property
    def ok(self) -> bool:
        """Whether all published numbers and all known figures were obtained."""
        return self.off.empty and bool(self.known["agrees"].all())


def numbers(name: str) -> pd.DataFrame:
    """Return numbers that the study published.

    Parameters
    ----------
    name : {'scores', 'accuracy'}

    Returns
    -------
    DataFrame
        ``scores``: ``network, expression`` (both with ``Average``) and the four metrics. ``accuracy``: accuracy,
        macro precision, recall and F1 of each network. All from 0 to 1.

    Examples
    --------
    >>> table = numbers("scores").set_index(["network", "expression"])
    >>> float(table.loc[("Average", "Average"), "iou"].round(4))
    0.2476
    """
    check_option(name, "name", ("scores", "accuracy"))
    return _table(f"published_{name}.csv")


def _released_files() -> dict[str, str]:
    """Return the names of the released heatmaps and masks, below their folder, and their SHA-256."""
    table = _table("published_heatmaps.csv")
    return dict(zip(table["file"], table["sha256"], strict=True))


def verify(path: Path | str | None = None) -> _Report:
    """Recompute every published score from the released heatmaps and masks.

    Parameters
    ----------
    path : Path, optional
        A folder with ``GRAY/heatmaps_by_cv``, ``GRAY/heatmaps_by_net`` and ``GROUND_TRUTH``;
        by default see `locate`.

    Raises
    ------
    MissingError
        If the folder or a file of it is not there; the message names it.
    DataError
        If a file is damaged, or not of the size of face space.
    """
    folder = locate(path)
    registry = _released_files()
    if missing := [name for name in registry if not (folder / name).is_file()]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise MissingError(
            f"{folder / missing[0]}{more} is not there, of GRAY/heatmaps_by_cv, GRAY/heatmaps_by_net and "
            f"GROUND_TRUTH. {_HOW_TO_PASS}"
        )
    changed = tuple(name for name, value in registry.items() if sha256(folder / name) != value)
    expected = numbers("scores")
    networks = [name for name in dict.fromkeys(expected["network"]) if name != AVERAGE]
    masks = {expression: read_mask(folder / "GROUND_TRUTH", expression) for expression in EXPRESSIONS}
    models = [(network, fold) for network in networks for fold in _FOLDS]
    by_fold = _score_heatmaps(folder, tqdm(models, desc="Scoring", unit="model"), masks)
    pooled = _score_heatmaps(folder, [(network, None) for network in networks], masks)
    cells = _long(expected, "expected").merge(_long(summarise(by_fold), "obtained"), how="left", sort=False)
    cells["difference"] = cells["obtained"] - cells["expected"]
    # What cannot be read was an error above.
    found = read_heatmaps(folder, np.array(list(masks.values())), networks, _FOLDS, omit=lambda *_: None)
    known = _table("known_figures.csv", dtype={"known": str})
    known["obtained"] = known["figure"].map(_known_figures(found))
    known["agrees"] = known["obtained"].between(known["low"], known["high"])
    return _Report(folder=folder, cells=cells, pooled=summarise(pooled), known=known, changed=changed)


def locate(path: Path | str | None = None, *, download: bool = True) -> Path | None:
    """Return the folder of the released heatmaps and masks.

    The first of: `path`; the environment variable ``EKMAN_EXPRESSIONS_PUBLISHED``; a folder
    ``published/heatmaps`` in the checkout or in a folder beside it; a download, or None without `download`.

    Raises
    ------
    MissingError
        If nothing can be downloaded.
    """
    if named := path or os.environ.get(_VARIABLE):
        return Path(named)
    for checkout in dict.fromkeys((Path(__file__).resolve().parents[2], Experiment.find_root().resolve())):
        # Around an installed package or any working directory there are other people's folders.
        if (checkout / "notebooks").is_dir():
            # glob passes over folders that may not be read.
            beside = sorted(glob("*/published/heatmaps", root_dir=checkout.parent))
            for place in (checkout / "published" / "heatmaps", *(checkout.parent / name for name in beside)):
                if place.is_dir():
                    return place
    return _download() if download else None


def _download() -> Path:
    """Download the released files, once, into the user's cache, and check their hashes."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    folder, registry = pooch.os_cache("ekman_expressions") / "published" / _COMMIT, _released_files()
    store = pooch.create(path=folder, base_url=_BASE_URL, registry=registry, retry_if_failed=1)
    workers = ThreadPoolExecutor(max_workers=8)
    try:
        fetched = workers.map(store.fetch, registry)
        for _ in tqdm(fetched, total=len(registry), desc="Released heatmaps", unit="file"):
            pass
    except (requests.RequestException, OSError) as error:
        raise MissingError(
            f"The released heatmaps cannot be fetched from {_BASE_URL} ({error}). {_HOW_TO_PASS}"
        ) from error
    except ValueError as error:
        raise DataError(f"A file from {_BASE_URL} is not the released one: {error} {_HOW_TO_PASS}") from error
    finally:
        workers.shutdown(cancel_futures=True)
    return folder


def _render(report: _Report) -> str:
    """Write a report for a terminal: expected against obtained, the largest difference, both readings."""
    lines = [f"Released heatmaps and masks: {report.folder}", ""]
    if report.changed:
        named = ", ".join(report.changed[:5]) + (", ..." if len(report.changed) > 5 else "")
        lines.append(f"{len(report.changed)} files are not the released ones: {named}")
    numbers = report.cells[["expected", "obtained", "difference"]].to_numpy()
    shown = report.cells.assign(pair=[_pair(*row) for row in numbers]).groupby("metric")
    for metric in METRICS:
        lines += ["", f"{metric}: published / obtained; ! = off by more than {_TOLERANCE:g}"]
        cells = shown.get_group(metric)
        table = cells.pivot(index="network", columns="expression", values="pair").rename_axis(None, axis=1)
        lines.append(table.loc[cells["network"].unique(), cells["expression"].unique()].to_string(index_names=False))
    total, off = len(report.cells), len(report.off)
    by_folds = report.cells[report.cells["metric"] == "iou"].rename(columns={"obtained": "iou"})
    lines += [
        "",
        f"{total - off} of {total} published numbers agree within {_TOLERANCE:g}; "
        f"the largest difference is {report.cells['difference'].abs().max(skipna=False):.2e}.",
        "",
        "Mean IoU of a network over expressions, in both readings:",
        f"  mean over folds (the published tables)  {_extremes(by_folds)}",
        f"  folds pooled into one heatmap           {_extremes(report.pooled)}",
        "",
        "Chance and tests, mean IoU unless stated otherwise: known / obtained; ! = does not agree",
    ]
    width = max(map(len, report.known["meaning"]))
    for row in report.known.itertuples():
        sign = "" if row.agrees else " !"
        lines.append(f"  {row.meaning:<{width}}  {row.known:>9} / {row.obtained:.4f}{sign}")
    agree = int(report.known["agrees"].sum())
    lines += [
        f"{agree} of {len(report.known)} agree to the printed precision.",
        "",
        "An Ekman mask is a reference, not a truth.",
    ]
    return "\n".join(lines)


def _table(name: str, **options: object) -> pd.DataFrame:
    return read_csv(Path(__file__).parents[1] / "data" / name, **options)


def _long(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.melt(["network", "expression"], list(METRICS), var_name="metric", value_name=name)


def _pair(expected: float, obtained: float, difference: float) -> str:
    sign = " " if abs(difference) <= _TOLERANCE else "!"
    return f"{expected:.4f}/{obtained:.4f}{sign}".replace("0.", ".")


def _extremes(table: pd.DataFrame) -> str:
    average = table["expression"] == AVERAGE
    networks = table[average & (table["network"] != AVERAGE)].set_index("network")["iou"]
    overall = np.asarray(table[average & (table["network"] == AVERAGE)]["iou"])[0]
    best, worst = networks.idxmax(), networks.idxmin()
    return f"best {best} {networks[best]:.4f}, worst {worst} {networks[worst]:.4f}, all {overall:.4f}"
