"""What a report is made of: an experiment with whatever its steps have written, or heatmaps alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_csv
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import databases
from ekman_expressions.facespace import heatmaps, masks
from ekman_expressions.figures import network_kinds
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.zoo import NETWORKS

_BY_FOLD = re.compile(r"(?P<network>.+)_(?P<fold>CV\d+(_S\d+)?)_(?P<expression>[A-Z][a-z]+)_heatmap")
_BY_NET = re.compile(r"(?P<network>.+)_(?P<expression>[A-Z][a-z]+)_heatmap")


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What a report is made of.

    Attributes
    ----------
    name : str
        The experiment's name, or what heatmaps alone are called.
    networks, folds : tuple of str
        In the order of tables.
    heatmaps : dict of str to Path
        For each explainer a folder laid out like ``heatmaps/<experiment>``.
    masks : dict of str to (275, 224) ndarray of bool
        The reference of each expression.
    kinds : dict of str to str
        Each network's kind, see `figures.network_kinds`.
    experiment : Experiment or None
        None for heatmaps alone.
    """

    name: str
    networks: tuple[str, ...]
    folds: tuple[str, ...]
    heatmaps: Mapping[str, Path]
    masks: Mapping[str, np.ndarray]
    kinds: Mapping[str, str]
    experiment: Experiment | None = None

    @property
    def explainer(self) -> str:
        """The explainer that the report shows first."""
        return next(iter(self.heatmaps))

    @property
    def shareable(self) -> bool:
        """Whether all faces come from databases that are bundled, and so may be passed on."""
        known, names = databases.DATABASES, self.experiment.faces.datasets if self.experiment else ()
        return all(name in known and known[name].bundled for name in names)

    @property
    def titles(self) -> dict[str, str]:
        """What the explainers are called in figures and tables."""
        return {name: EXPLAINERS[name].title if name in EXPLAINERS else name for name in self.heatmaps}

    @property
    def levels(self) -> tuple[tuple[str | None, str | None], ...]:
        """All (network, fold), None standing for all: first all, then each network, then the folds."""
        pairs = [(network, fold) for network in self.networks for fold in self.folds]
        return ((None, None), *((network, None) for network in self.networks), *pairs)

    def cells(self, explainer: str) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield (expression, network, fold) of the heatmaps of an explainer that are there."""
        folder = self.heatmaps[explainer]
        for network, fold in self.levels:
            for expression in EXPRESSIONS:
                if heatmaps.heatmap_path(folder, expression, network, fold).exists():
                    yield expression, network, fold

    def read(
        self,
        expression: str,
        network: str | None = None,
        fold: str | None = None,
        explainer: str | None = None,
    ) -> np.ndarray:
        """Read an 8-bit heatmap, (275, 224) uint8."""
        return heatmaps.read_gray(self.heatmaps[explainer or self.explainer], expression, network, fold)

    def read_usable(
        self, expression: str, network: str | None = None, fold: str | None = None
    ) -> np.ndarray | None:
        """Read a heatmap of the first explainer; None if it is not there, or damaged."""
        try:
            return self.read(expression, network, fold)
        except (DataError, MissingError):
            return None

    def counts(self, explainer: str) -> dict[tuple[str, str | None, str | None], int]:
        """Return how many faces each heatmap is the mean of, where that is known."""
        path = self.heatmaps[explainer] / "counts.csv"
        if not path.exists():
            return {}
        table = read_csv(path, ("network", "fold", "expression", "images"))
        table = table[table["network"].isin(self.networks) & table["fold"].isin(self.folds)]
        counts: dict[tuple[str, str | None, str | None], int] = {}
        for row in table.itertuples():
            for key in (
                (row.expression, row.network, row.fold),
                (row.expression, row.network, None),
                (row.expression, None, None),
            ):
                counts[key] = counts.get(key, 0) + int(row.images)
        return counts

    def table(self, folder: str, name: str) -> pd.DataFrame | None:
        """Read a table of one of the experiment's folders; None if it is not there."""
        path = getattr(self.experiment, folder) / f"{name}.csv" if self.experiment else None
        return read_csv(path) if path is not None and path.is_file() else None

    @classmethod
    def of_experiment(cls, experiment: Experiment) -> Source:
        """Return an experiment's files as the source of a report; `MissingError` without any heatmap."""
        base = experiment.root / "heatmaps" / experiment.name
        main = experiment.explanation.explainer
        folders = {main: experiment.heatmaps_folder}
        if main != "lime":
            folders["lime"] = base
        others = base / "explainers"
        if others.is_dir():
            for folder in sorted(others.iterdir()):
                folders.setdefault(folder.name, folder)
        folders = {name: folder for name, folder in folders.items() if _has_heatmaps(folder)}
        if not folders:
            raise MissingError(
                f"{base} holds no heatmaps. They are written by the step 'heatmaps': run it first."
            )
        return cls(
            name=experiment.name,
            networks=experiment.networks,
            folds=experiment.folds,
            heatmaps=folders,
            masks=_masks(experiment.masks_folder),
            kinds=network_kinds(experiment.networks, experiment.training.weights),
            experiment=experiment,
        )

    @classmethod
    def of_heatmaps(cls, folder: Path, name: str) -> Source:
        """Return a folder of heatmaps laid out like the released ones as the source of a report.

        Networks and folds are those that the names of the files tell; `MissingError` without any heatmap.
        """
        folder = Path(folder)
        if not _has_heatmaps(folder):
            raise MissingError(
                f"{folder} holds no heatmaps. Name a folder with GRAY/heatmaps_by_cv, "
                "GRAY/heatmaps_by_net or GRAY/heatmaps_total, such as the released one."
            )
        networks, folds = set(), set()
        for path in (folder / "GRAY" / "heatmaps_by_cv").glob("*.png"):
            if found := _BY_FOLD.fullmatch(path.stem):
                networks.add(found["network"])
                folds.add(found["fold"])
        for path in (folder / "GRAY" / "heatmaps_by_net").glob("*.png"):
            if found := _BY_NET.fullmatch(path.stem):
                networks.add(found["network"])
        known = [network for network in NETWORKS if network in networks]
        ordered = (*known, *sorted(networks - set(known)))
        return cls(
            name=name,
            networks=ordered,
            folds=tuple(sorted(folds, key=lambda fold: int(fold[2:]))),
            heatmaps={"lime": folder},
            masks=_masks(folder / "GROUND_TRUTH"),
            kinds=network_kinds(ordered, "imagenet"),
        )


def _has_heatmaps(folder: Path) -> bool:
    return any((folder / "GRAY").glob("heatmaps_*/*_heatmap.png"))


def _masks(folder: Path) -> dict[str, np.ndarray]:
    """Read the masks that lie in a folder; if one is missing, those of the package."""
    drawn = all((folder / f"{title(name)}_gt.png").exists() for name in EXPRESSIONS)
    return {name: masks.read_mask(folder, name) if drawn else masks.ekman_mask(name) for name in EXPRESSIONS}
