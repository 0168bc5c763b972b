"""A study: its settings, and where each of its artefacts lies."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ekman_expressions.core.errors import MissingError, Settings, SettingsError, check_option
from ekman_expressions.core.expressions import title
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.study.settings import ExplanationSettings, FaceSettings, Names, TrainingSettings
from ekman_expressions.zoo import NETWORKS
from ekman_expressions.zoo.own_settings import OwnModel

_ROOT_VARIABLE = "EKMAN_EXPRESSIONS_ROOT"
_PRESETS = Path(__file__).parents[1] / "presets"


def find_root() -> Path:
    """Return the folder in which the artefact folders live.

    The environment variable ``EKMAN_EXPRESSIONS_ROOT``, else the nearest folder at or above
    the working directory that holds ``notebooks`` and ``datasets``, else the working directory.
    """
    if os.environ.get(_ROOT_VARIABLE):
        return Path(os.environ[_ROOT_VARIABLE])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "datasets").is_dir():
            return folder
    return here


def presets() -> tuple[str, ...]:
    """Names of the presets that come with the package."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.toml")))


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError("must be made of letters, digits, '.', '_' and '-'")
    return name


def _folder(place: str, what: str) -> property:
    """Return a property: the folder `place` below the root."""
    return property(lambda self: self._below_root(place), doc=what)


class Experiment(Settings):
    """A study: what is done, with which numbers, and where the results go.

    Settings and paths only, no behaviour. Change one with `replace`.

    Raises
    ------
    SettingsError
        If a setting is unknown or its value cannot be used; the message tells all that is wrong.

    Examples
    --------
    >>> demo = Experiment.preset("demo", root="/study")
    >>> demo.faces.folds, demo.replace(seed=1).seed
    (3, 1)
    >>> demo.scores_folder.as_posix()
    '/study/results/demo/scores'
    """

    name: Annotated[str, AfterValidator(_file_name)]
    """Names the folders of the artefacts, e.g. ``heatmaps/<name>/``."""
    seed: int = Field(0, ge=0)
    """The one seed from which all random numbers are derived."""
    networks: Names = ()
    """Names in `ekman_expressions.zoo.NETWORKS` or in `models`, in the order of tables; default: `models`."""
    models: dict[str, OwnModel] = {}
    """Models of your own, which are not trained here."""
    faces: FaceSettings = FaceSettings()
    """Which faces."""
    training: TrainingSettings = TrainingSettings()
    """How networks are trained."""
    explanation: ExplanationSettings = ExplanationSettings()
    """How predictions are explained."""
    root: Annotated[Path, BeforeValidator(lambda root: Path(root).resolve())] = Field(
        default_factory=lambda: find_root().resolve()
    )
    """The folder that holds ``datasets/ models/ results/ heatmaps/ barplots/ dendograms/``."""

    # LIME's artefacts lie as in the study, those of any other {explainer} in a folder below.
    faces_folder = _folder("datasets/prepared/{name}", "Cropped faces, landmarks and the manifest.")
    models_folder = _folder("models/{name}", "Trained models.")
    results_folder = _folder("results/{name}", "Predictions, explanations and tables.")
    evaluation_folder = _folder("results/{name}/evaluation", "Predictions and confusion matrices.")
    explanations_folder = _folder(
        "results/{name}{explainer}/explanations", "What each explanation is made from; see `record_path`."
    )
    facespace_folder = _folder(
        "results/{name}{explainer}/facespace", "Explanations in face space, a file per model and expression."
    )
    heatmaps_folder = _folder("heatmaps/{name}{explainer}", "Heatmaps as images and arrays.")
    masks_folder = _folder(
        "heatmaps/GROUND_TRUTH", "The Ekman masks as images, the same for all experiments."
    )
    scores_folder = _folder("results/{name}{explainer}/scores", "Scores against the Ekman masks.")
    statistics_folder = _folder(
        "results/{name}{explainer}/statistics", "Chance, tests and intervals of scores."
    )
    regions_folder = _folder("results/{name}{explainer}/regions", "The heatmaps' mass by region of the face.")
    quality_folder = _folder("results/{name}{explainer}/quality", "How good the explanations are.")
    comparison_folder = _folder("results/{name}/explainers", "Tables that compare explainers.")
    known_answers_folder = _folder(
        "results/{name}/known_answers", "Explanations against what moved in the faces."
    )
    barplots_folder = _folder("barplots/{name}{explainer}", "Barplots of the scores.")
    dendrograms_folder = _folder(
        "dendograms/{name}{explainer}", "Dendrograms; spelled as users of the study know it."
    )
    report_folder = _folder("results/{name}/report", "The report: open its ``index.html``.")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("networks") and isinstance(values.get("models"), dict):
            return values | {"networks": tuple(values["models"])}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        OwnModel.check_names(self.models, NETWORKS)
        if not self.networks:
            raise SettingsError("The settings lack 'networks' (or models of your own, [models.<name>]).")
        for network in self.networks:
            check_option(network, "networks", (*NETWORKS, *self.models))
        for model, own in self.models.items():
            if own.masks:
                raise SettingsError(
                    f"[models.{model}] has 'masks', but the tables of a study are of the six expressions. Call other "
                    "classes 'other' there, and explain them with load_model(masks=...)."
                )
            if model not in self.networks:
                raise SettingsError(
                    f"The model {model!r} is described, but 'networks' does not name it: it lists "
                    f"{', '.join(self.networks)}. Add it there, or leave its description out."
                )
        return self

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
        return cls.from_toml(_PRESETS / f"{preset}.toml", root=root)

    @classmethod
    def from_toml(cls, path: Path | str, *, root: Path | str | None = None) -> Experiment:
        """Read settings from a TOML file laid out like the presets.

        Relative paths of models of one's own start at the file's folder.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingError(f"There is no settings file {path}.")
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}.") from error
        if isinstance(models := values.get("models"), Mapping):
            values["models"] = {name: OwnModel.beside(path, section) for name, section in models.items()}
        return cls(**values | ({} if root is None else {"root": root}))

    @property
    def face_folds(self) -> tuple[str, ...]:
        """Names of the folds of faces, ``CV1`` ... ."""
        return tuple(f"CV{number}" for number in range(1, self.faces.folds + 1))

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the trainings of each network: ``CV1`` ..., and with several seeds ``CV1_S1`` ... behind."""
        repeats = range(1, self.training.seeds)
        return (*self.face_folds, *(f"{fold}_S{seed}" for seed in repeats for fold in self.face_folds))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (network, fold) pairs, fold fastest: the names of all models, own ones (once per fold) included."""
        return tuple(
            (network, fold)
            for network in self.networks
            for fold in (self.face_folds if network in self.models else self.folds)
        )

    @property
    def trained_networks(self) -> tuple[str, ...]:
        """Networks that the step 'training' trains: all but the models of one's own."""
        return tuple(network for network in self.networks if network not in self.models)

    @property
    def manifest_path(self) -> Path:
        """The manifest: one row per face."""
        return self.faces_folder / "manifest.csv"

    @property
    def records_folder(self) -> Path:
        """What the explainer is estimated from: its own queries, or those of another explainer."""
        return self.explained_by(EXPLAINERS[self.explanation.explainer].records_of).explanations_folder

    def explained_by(self, explainer: str) -> Experiment:
        """Return the same experiment with another explainer: all paths below are that one's."""
        return self.replace(explanation=self.explanation.replace(explainer=explainer))

    def side(self, network: str) -> int | tuple[int, int]:
        """The side in pixels of the images that a network, or model of one's own, takes; or height and width."""
        check_option(network, "network", self.networks)
        return self.models[network].side if network in self.models else self.training.of(network)["side"]

    def model_path(self, network: str, fold: str) -> Path:
        """The file of one trained model."""
        return self.models_folder / f"{network}_{fold}.keras"

    def record_path(self, network: str, fold: str, image_id: str) -> Path:
        """The perturbation record of one face and one model; the map, of explainers without records."""
        return self.records_folder / f"{network}_{fold}" / f"{image_id}.npz"

    def maps_path(self, network: str, fold: str, expression: str) -> Path:
        """The normalised explanations of one model and one predicted expression."""
        return self.facespace_folder / f"{network}_{fold}_{title(expression)}.npz"

    def _below_root(self, place: str) -> Path:
        explainer = self.explanation.explainer
        below = "" if explainer == "lime" else f"/explainers/{explainer}"
        return self.root / place.format(name=self.name, explainer=below)
