"""A study: its settings, and where each of its artefacts lives."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ekman_expressions.core.errors import MissingError, SettingsError, check_option, check_range, check_type
from ekman_expressions.core.expressions import title
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.study.settings import ExplanationSettings, FaceSettings, TrainingSettings, check_names
from ekman_expressions.zoo.own_settings import OwnModel, check_models

ROOT_VARIABLE = "EKMAN_EXPRESSIONS_ROOT"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A study: what is done, with which numbers, and where the results go.

    Settings and paths only, no behaviour. Change one with `dataclasses.replace`.

    Attributes
    ----------
    name : str
        Names the folders of the artefacts, e.g. ``heatmaps/<name>/``.
    seed : int
        The one seed from which all random numbers are derived.
    networks : tuple of str
        Names in `ekman_expressions.zoo.NETWORKS` or in `models`, in the order of tables. Left
        out, all of `models`.
    models : dict of str to OwnModel
        Models of your own, which are not trained here; see `ekman_expressions.zoo`.
    faces, training, explanation : FaceSettings, TrainingSettings, ExplanationSettings
        The settings of each part.
    root : Path
        The folder that holds ``datasets/ models/ results/ heatmaps/ barplots/ dendograms/``.

    Examples
    --------
    >>> Experiment.preset("demo").faces.folds
    3
    """

    name: str
    seed: int = 0
    networks: tuple[str, ...] = ()
    models: Mapping[str, OwnModel] = field(default_factory=dict)
    faces: FaceSettings = field(default_factory=FaceSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    explanation: ExplanationSettings = field(default_factory=ExplanationSettings)
    root: Path = field(default_factory=lambda: find_root())

    def __post_init__(self) -> None:
        from ekman_expressions.zoo import NETWORKS

        check_type(self.name, "name", str)
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"'name' must be made of letters, digits, '.', '_' and '-', but got {self.name!r}."
            )
        check_range(self.seed, "seed", 0, integer=True)
        check_models(self.models, NETWORKS)
        object.__setattr__(self, "networks", check_names(self.networks or tuple(self.models), "networks"))
        for network in self.networks:
            check_option(network, "networks", (*NETWORKS, *self.models))
        for network in self.training.overrides:
            check_option(network, "training.overrides", NETWORKS)
        for model in self.models:
            if model not in self.networks:
                raise SettingsError(
                    f"The model {model!r} is described, but 'networks' does not name it: it lists "
                    f"{', '.join(self.networks)}. Add it there, or leave its description out."
                )
        object.__setattr__(self, "root", Path(self.root).resolve())

    @classmethod
    def load(cls, preset_or_file: str | Path, *, root: Path | str | None = None) -> Experiment:
        """Return a preset by its name, or read a settings file when the name ends in ``.toml``."""
        if str(preset_or_file).endswith(".toml"):
            return cls.from_toml(preset_or_file, root=root)
        return cls.preset(str(preset_or_file), root=root)

    @classmethod
    def preset(cls, preset: str, *, root: Path | str | None = None) -> Experiment:
        """Return a preset that comes with the package; see `presets`."""
        check_option(preset, "preset", presets())
        text = resources.files("ekman_expressions.presets").joinpath(f"{preset}.toml").read_text("utf-8")
        return cls.from_dict(tomllib.loads(text), root=root)

    @classmethod
    def from_toml(cls, path: Path | str, *, root: Path | str | None = None) -> Experiment:
        """Read settings from a TOML file laid out like the presets."""
        path = Path(path)
        if not path.is_file():
            raise MissingError(f"There is no settings file {path}.")
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}.") from error
        return cls.from_dict(values, root=root, folder=path.parent)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], *, root: Path | str | None = None, folder: Path | None = None
    ) -> Experiment:
        """Build an experiment from nested dictionaries, refusing names that are no settings.

        Relative paths of models of one's own start at `folder`, by default the working directory.
        """
        values = dict(values)
        parts = {"faces": FaceSettings, "training": TrainingSettings, "explanation": ExplanationSettings}
        for part, kind in parts.items():
            section = values.get(part, {})
            check_type(section, part, Mapping)
            _check_keys(section, kind, f"[{part}]")
            values[part] = kind(**section)
        models = values.get("models", {})
        check_type(models, "models", Mapping)
        for name, section in models.items():
            check_type(section, f"models.{name}", Mapping)
            _check_keys(section, OwnModel, f"[models.{name}]")
        values["models"] = {name: OwnModel.read(section, name, folder) for name, section in models.items()}
        _check_keys(values, cls, "the top level")
        if "name" not in values:
            raise SettingsError("The settings lack 'name'.")
        if "networks" not in values and not values["models"]:
            raise SettingsError("The settings lack 'networks' (or models of your own, [models.<name>]).")
        if root is not None:
            values["root"] = Path(root)
        return cls(**values)

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds, ``CV1`` ... ."""
        return tuple(f"CV{number}" for number in range(1, self.faces.folds + 1))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (network, fold) pairs, fold fastest: the names of all models, own ones included."""
        return tuple((network, fold) for network in self.networks for fold in self.folds)

    @property
    def trained_networks(self) -> tuple[str, ...]:
        """Networks that the step 'training' trains: all but the models of one's own."""
        return tuple(network for network in self.networks if network not in self.models)

    @property
    def faces_folder(self) -> Path:
        """Cropped faces, landmarks and the manifest."""
        return self.root / "datasets" / "prepared" / self.name

    @property
    def manifest_path(self) -> Path:
        """The manifest: one row per face."""
        return self.faces_folder / "manifest.csv"

    @property
    def models_folder(self) -> Path:
        """Trained models."""
        return self.root / "models" / self.name

    @property
    def results_folder(self) -> Path:
        """Predictions, explanations, normalised explanations and tables."""
        return self.root / "results" / self.name

    @property
    def evaluation_folder(self) -> Path:
        """Predictions, reports and confusion matrices."""
        return self.results_folder / "evaluation"

    @property
    def explanations_folder(self) -> Path:
        """What each explanation is made from, one folder per model: see `record_path`."""
        return self._of_explainer(self.results_folder) / "explanations"

    @property
    def records_folder(self) -> Path:
        """The explanations that this explainer starts from: LIME's records, if it shares them."""
        shared = SPECS[self.explanation.explainer].records == "shared"
        return self.results_folder / "explanations" if shared else self.explanations_folder

    @property
    def facespace_folder(self) -> Path:
        """Explanations in face space, one file per model and expression."""
        return self._of_explainer(self.results_folder) / "facespace"

    @property
    def scores_folder(self) -> Path:
        """Tables of scores against the Ekman masks."""
        return self._of_explainer(self.results_folder) / "scores"

    @property
    def comparison_folder(self) -> Path:
        """Tables that compare explainers; below it, a folder for each explainer but LIME."""
        return self.results_folder / "explainers"

    @property
    def quality_folder(self) -> Path:
        """How good the explanations are: tables, and arrays per model."""
        return self._of_explainer(self.results_folder) / "quality"

    @property
    def heatmaps_folder(self) -> Path:
        """Heatmaps as images and arrays."""
        return self._of_explainer(self.root / "heatmaps" / self.name)

    @property
    def masks_folder(self) -> Path:
        """The Ekman masks as images; the same for all explainers."""
        return self.root / "heatmaps" / self.name / "GROUND_TRUTH"

    @property
    def barplots_folder(self) -> Path:
        """Barplots of the scores."""
        return self._of_explainer(self.root / "barplots" / self.name)

    @property
    def dendrograms_folder(self) -> Path:
        """Dendrograms; the folder keeps the spelling that users of the study know."""
        return self._of_explainer(self.root / "dendograms" / self.name)

    @property
    def report_folder(self) -> Path:
        """The report: open its ``index.html``."""
        return self.results_folder / "report"

    @property
    def places(self) -> dict[str, Path]:
        """Where to look: what each folder of artefacts holds, for messages."""
        return {
            "faces and manifest": self.faces_folder,
            "trained models": self.models_folder,
            "tables": self.results_folder,
            "heatmaps": self.heatmaps_folder,
            "barplots": self.barplots_folder,
            "dendrograms": self.dendrograms_folder,
            "report": self.report_folder / "index.html",
        }

    def explained_by(self, explainer: str) -> Experiment:
        """Return the same experiment with another explainer: all paths below are that one's.

        Examples
        --------
        >>> demo = Experiment.preset("demo", root="/study").explained_by("grad_cam")
        >>> demo.heatmaps_folder.relative_to("/study").as_posix()
        'heatmaps/demo/explainers/grad_cam'
        """
        return dataclasses.replace(
            self, explanation=dataclasses.replace(self.explanation, explainer=explainer)
        )

    def side(self, network: str) -> int:
        """The side in pixels of the images that a network, or model of one's own, takes."""
        from ekman_expressions.zoo import NETWORKS

        check_option(network, "network", self.networks)
        return self.models[network].side if network in self.models else NETWORKS[network].side

    def model_path(self, network: str, fold: str) -> Path:
        """The file of one trained model."""
        return self.models_folder / f"{network}_{fold}.keras"

    def record_path(self, network: str, fold: str, image_id: str) -> Path:
        """The perturbation record of one face and one model; the map, of explainers without records."""
        return self.records_folder / f"{network}_{fold}" / f"{image_id}.npz"

    def maps_path(self, network: str, fold: str, expression: str) -> Path:
        """The normalised explanations of one model and one predicted expression."""
        return self.facespace_folder / f"{network}_{fold}_{title(expression)}.npz"

    def _of_explainer(self, folder: Path) -> Path:
        """LIME's artefacts lie as in the study; those of any other explainer in a folder below."""
        name = self.explanation.explainer
        return folder if name == "lime" else folder / "explainers" / name


def presets() -> tuple[str, ...]:
    """Names of the presets that come with the package."""
    folder = resources.files("ekman_expressions.presets")
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml")))


def find_root() -> Path:
    """Return the folder in which the artefact folders live.

    The environment variable ``EKMAN_EXPRESSIONS_ROOT``, else the nearest folder at or above
    the working directory that holds ``notebooks`` and ``datasets``, else the working directory.
    """
    if os.environ.get(ROOT_VARIABLE):
        return Path(os.environ[ROOT_VARIABLE])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "datasets").is_dir():
            return folder
    return here


def _check_keys(values: Mapping[str, Any], kind: type, where: str) -> None:
    known = [item.name for item in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            raise SettingsError(f"Unknown setting {key!r} in {where}. Known are {', '.join(known)}.")
