"""The steps of a study in one table: what each reads, on which settings it depends, where it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ekman_expressions.study.evaluation import _evaluation
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explainers import _explainers, _nothing_to_compare
from ekman_expressions.study.explanations import _explanations, _facespace
from ekman_expressions.study.faces import _faces
from ekman_expressions.study.heatmaps import _dendrograms, _heatmaps, _mask_sources, _masks
from ekman_expressions.study.known_answers import _known_answers, _nothing_known
from ekman_expressions.study.models import _own_files
from ekman_expressions.study.quality import _quality
from ekman_expressions.study.scores import _barplots, _nothing_masked, _regions, _scores, _statistics
from ekman_expressions.study.training import _nothing_to_train, _training

_ALL = ("faces", "training", "models", "explanation")


@dataclass(frozen=True)
class Step:
    """One step of a study: a function, and all that others must know of it."""

    name: str
    """Also the name of the function, behind an underscore."""
    function: Callable[..., None]
    """``function(experiment, run)``. It writes files below its folder and registers each with the `Run`.
    Further keyword arguments are options of a single run."""
    folder: str
    """The property of `Experiment` that holds the step's folder."""
    what: str
    """What it makes, in a line."""
    reads: tuple[str, ...] = ()
    """Steps that must have come to their end. ``step/pattern`` reads the outputs that match the pattern and
    are part of what is kept: of another version of them nothing is made, the step refuses. Of other steps
    all outputs count, and when they change, the step is made again."""
    also: tuple[str, ...] = ()
    """Steps that are read where they have come to their end."""
    settings: tuple[str, ...] = _ALL
    """Parts of the settings that determine the results, see `provenance._settings_of`. Once the step has run
    they cannot change."""
    choices: tuple[str, ...] = ("networks",)
    """Settings that may change: the step is then made again, or goes on."""
    resumes: bool = False
    """Whether the function itself skips items that are done. What it left out is tried again."""
    always: bool = False
    """Whether only the function can know that nothing is to be done."""
    every_explainer: bool = False
    """Whether it reads the steps of all explainers that are compared, not only of the one in use."""
    first: tuple[str, ...] = ()
    """Steps that each further explainer that is compared goes through before."""
    files: Callable[[Experiment], Mapping[str, Path]] | None = None
    """``files(experiment)``: files from elsewhere that are read, by name."""
    idle: Callable[[Experiment], str] | None = None
    """``idle(experiment)``: why the step has nothing to do, or an empty text."""

    @property
    def keeps(self) -> bool:
        """Whether what it made is never made again, but refused where it does not fit."""
        return any("/" in read for read in self.reads)


# fmt: off
_STEPS = (
    Step("faces", _faces, "faces_folder", "cropped faces, landmarks, folds",
         settings=("faces",), choices=(), resumes=True, always=True),
    Step("training", _training, "models_folder", "a model per network and fold",
         reads=("faces/manifest.csv",), settings=("faces", "training"), resumes=True,
         idle=_nothing_to_train),
    Step("evaluation", _evaluation, "evaluation_folder", "predictions, accuracies, the faces to explain",
         reads=("faces/manifest.csv", "training/*.keras"),
         settings=("faces", "training", "models", "explanation.positives"), resumes=True, files=_own_files),
    Step("explanations", _explanations, "records_folder", "a perturbation record, or a map, per model and face",
         reads=("faces/manifest.csv", "training/*.keras", "evaluation"),
         settings=("faces", "training", "models", "records"),
         choices=("networks", "explanation.compare_faces"), resumes=True, files=_own_files),
    Step("facespace", _facespace, "facespace_folder", "explanations estimated, and warped into face space",
         reads=("faces", "explanations"), resumes=True),
    Step("heatmaps", _heatmaps, "heatmaps_folder", "means of explanations",
         reads=("facespace",), choices=("networks", "masks")),
    Step("masks", _masks, "masks_folder", "the Ekman masks, or those of one's own, as pictures",
         settings=(), choices=("masks",), files=_mask_sources, idle=_nothing_masked),
    Step("scores", _scores, "scores_folder", "heatmaps against the masks",
         reads=("heatmaps", "masks"), idle=_nothing_masked),
    Step("barplots", _barplots, "barplots_folder", "scores as bars",
         reads=("scores", "masks"), idle=_nothing_masked),
    Step("dendrograms", _dendrograms, "dendrograms_folder", "which heatmaps are alike",
         reads=("heatmaps",)),
    Step("explainers", _explainers, "comparison_folder", "other explainers, and how far they agree",
         reads=("facespace", "scores"), every_explainer=True, idle=_nothing_to_compare,
         first=("explanations", "facespace", "heatmaps", "scores", "dendrograms")),
    Step("quality", _quality, "quality_folder", "how good the explanations are",
         reads=("faces", "explanations"), resumes=True, every_explainer=True,
         choices=("networks", "masks", "explanation.quality_faces", "explanation.quality_samples")),
    Step("statistics", _statistics, "statistics_folder", "chance, tests and intervals of the scores",
         reads=("heatmaps", "masks"), also=("faces", "facespace"), idle=_nothing_masked),
    Step("regions", _regions, "regions_folder", "the heatmaps' mass by region of the face",
         reads=("faces", "facespace")),
    Step("known_answers", _known_answers, "known_answers_folder",
         "explanations against what moved in the faces",
         reads=("faces",), also=("facespace",), choices=("networks", "masks"), every_explainer=True, idle=_nothing_known),
)
# fmt: on

STEPS: dict[str, Step] = {step.name: step for step in _STEPS}
"""All steps but the report, in their order."""
