"""The step "quality": how good the explanations are, stored beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from tqdm import tqdm

from ekman_expressions.core.errors import DataError, MissingError, ModelError
from ekman_expressions.core.files import write_csv
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.measures.untrained import untrained_copy
from ekman_expressions.study import erasing, model_files, prepared, quality_tables, remaking, resampling
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explained import surrogates_of
from ekman_expressions.study.provenance import Run
from ekman_expressions.zoo.asking import GROUP, Asker
from ekman_expressions.zoo.probing import kept_group


def quality(experiment: Experiment, run: Run) -> None:
    """Measure how good the explanations of an experiment are.

    For the explainer in use and those of ``explanation.compare`` together, in the folder
    ``quality`` of the explainer in use: `tables.TABLES`, and arrays per model, from which
    an interrupted run resumes:

    - ``reliability``: weighted R², bootstrap standard errors, sign flips; no model call.
    - ``curves``: deletion and insertion, against a random order and one from the centre, of as many
      faces as a tenth of LIME's passes allows.
    - ``untrained``: heatmaps of untrained copies of the networks, of ``explanation.quality_faces``
      faces per network and expression, against those of the trained ones.
    - ``sensitivity``: the same faces, when other samples are drawn, hidden superpixels look otherwise,
      or the superpixels are others.
    """
    for network, fold in tqdm(experiment.pairs, desc="Resampling", unit="model"):
        for explainer in surrogates_of(experiment):
            resampling.resample(experiment, explainer, network, fold, run)
    passes = 0
    for network in experiment.networks:
        again = remaking.choose(experiment, network)
        askers = _Askers(experiment, network, again["image_id"], run)
        spare = 0
        for fold in experiment.folds:
            asker = askers.of_fold(fold)
            took, spare = erasing.erase(experiment, network, fold, asker, run, spare)
            passes += took
            rows = again[again["fold"] == fold]
            untrained = partial(askers.untrained, asker)
            remaking.remake(experiment, network, fold, rows, asker, untrained, askers.settled_on, run)
    for name, table in quality_tables.make(experiment).items():
        path = experiment.quality_folder / f"{name}.csv"
        write_csv(path, table)
        run.made(path, items=0)
    run.note(f"deletion and insertion took {passes} passes")


class _Askers:
    """What asks the models of one network: loaded, or made, when first needed.

    `settled_on` are the faces whose statistics the untrained copy's batch normalisations get.
    """

    def __init__(self, experiment: Experiment, network: str, image_ids: Iterable[str], run: Run) -> None:
        self._experiment, self._network, self._run = experiment, network, run
        self.settled_on = sorted(image_ids)[:GROUP]
        # Made once: the copy does not depend on the fold.
        self._untrained: list[Asker | None] = []

    def of_fold(self, fold: str) -> Callable[[], Asker]:
        """Return a function that asks the trained model of a fold."""
        return cache(lambda: self._asker(model_files.load_model(self._experiment, self._network, fold), fold))

    def untrained(self, trained: Callable[[], Asker]) -> Asker | None:
        """Return what asks an untrained copy of the network; None, said once, if there can be none."""
        if not self._untrained:
            self._untrained.append(self._copy(trained))
        return self._untrained[0]

    def _copy(self, trained: Callable[[], Asker]) -> Asker | None:
        side = self._experiment.side(self._network)
        seed = derive_seed(self._experiment.seed, "untrained", self._network)
        try:
            faces = prepared.read_faces(self._experiment, self.settled_on, side)
            return self._asker(untrained_copy(trained().model, faces, seed=seed))
        except (DataError, MissingError, ModelError) as error:
            self._run.omit(f"{self._network}: an untrained copy", error)
            return None

    def _asker(self, model: Any, fold: str | None = None) -> Asker:
        settings = self._experiment.explanation
        group = GROUP if settings.group == "auto" else settings.group
        if fold is not None:
            # As for the records, so that answers to the same copy are the same to the bit.
            folder = self._experiment.records_folder / f"{self._network}_{fold}"
            group = kept_group(folder / "group.json") or group
        return Asker(model, group=group, precision=settings.precision)
