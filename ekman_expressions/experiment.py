"""The settings of a study, frozen and validated, and where each of its artefacts lives."""

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

from ekman_expressions.errors import MissingError, SettingsError, check_option, check_range, check_type
from ekman_expressions.expressions import title

ROOT_VARIABLE = "EKMAN_EXPRESSIONS_ROOT"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class FaceSettings:
    """Which faces, how they are cropped, and how they are split into folds.

    Attributes
    ----------
    datasets : tuple of str
        Names of databases, see `ekman_expressions.datasets.load`.
    roots : dict of str to str
        The folder of each database that is not bundled.
    folds : int, >= 2
        Number of subject-wise folds.
    size : int, pixels
        Side of the square crops.
    subjects : int or None
        Take only the first so many subjects of each database; None takes all.
    """

    datasets: tuple[str, ...] = ("synthetic",)
    roots: Mapping[str, str] = field(default_factory=dict)
    folds: int = 5
    size: int = 256
    subjects: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "datasets", _names(self.datasets, "faces.datasets"))
        check_type(self.roots, "faces.roots", Mapping)
        for name, root in self.roots.items():
            check_option(name, "faces.roots", self.datasets)
            check_type(root, f"faces.roots.{name}", str)
        check_range(self.folds, "faces.folds", 2, integer=True)
        check_range(self.size, "faces.size", 32, 4096, integer=True)
        if self.subjects is not None:
            check_range(self.subjects, "faces.subjects", 2, integer=True)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How the networks are trained.

    Attributes
    ----------
    weights : str
        What the eight networks of Keras Applications start from: ``"imagenet"``, ``"none"``
        (random), or a folder of weights files ``<network>.weights.h5`` / ``<network>.h5``
        without top.
    preprocessing : {'paper', 'native'}
        ``paper``: pixels / 255 for every network; ``native``: what each was pre-trained with.
    batch_size : int
        Images per training step.
    overrides : dict
        Per network, any of ``optimizer`` ('adam', 'rmsprop'), ``learning_rate``, ``schedule``
        ('constant', 'cosine': the rate falls to 0 by the last step), ``epochs`` and
        ``batch_norm_momentum``; what is absent is as in the study.
    """

    weights: str = "imagenet"
    preprocessing: str = "paper"
    batch_size: int = 128
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type(self.weights, "training.weights", str)
        check_option(self.preprocessing, "training.preprocessing", ("paper", "native"))
        check_range(self.batch_size, "training.batch_size", 1, integer=True)
        check_type(self.overrides, "training.overrides", Mapping)
        for network, values in self.overrides.items():
            _check_override(network, values)

    def of(self, network: str) -> dict[str, Any]:
        """Return a network's training numbers: its `NetSpec`'s, with the overrides laid over them.

        Returns
        -------
        dict
            ``optimizer``, ``learning_rate``, ``schedule``, ``epochs`` and
            ``batch_norm_momentum`` (None: as the network has it).
        """
        from ekman_expressions.zoo import NETWORKS

        check_option(network, "network", NETWORKS)
        spec = NETWORKS[network]
        numbers = {
            "optimizer": spec.optimizer,
            "learning_rate": spec.learning_rate,
            "schedule": "constant",
            "epochs": spec.epochs,
            "batch_norm_momentum": None,
        }
        return numbers | dict(self.overrides.get(network, {}))


@dataclass(frozen=True, kw_only=True)
class ExplanationSettings:
    """How many faces are explained, and how.

    Attributes
    ----------
    explainer : str
        Name in `ekman_expressions.explainers.EXPLAINERS`.
    positives : int
        Faces explained per model and predicted expression, at most.
    segments : int
        SLIC superpixels asked for.
    compactness : float
        SLIC compactness: larger is squarer.
    samples : int
        Masked copies of a face that the model is asked about.
    hidden : float, range [0, 1]
        Gray value of hidden superpixels (0: black).
    kernel_width : float
        Width of the kernel on the cosine distance.
    alpha : float
        Ridge penalty of the surrogate.
    batch_size : int
        Masked copies per call of a model that is no Keras model; Keras models are asked in
        groups of fixed size, so that results do not depend on it.
    """

    explainer: str = "lime"
    positives: int = 100
    segments: int = 30
    compactness: float = 20.0
    samples: int = 1000
    hidden: float = 0.0
    kernel_width: float = 0.25
    alpha: float = 1.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_type(self.explainer, "explanation.explainer", str)
        check_range(self.positives, "explanation.positives", 1, integer=True)
        check_range(self.segments, "explanation.segments", 2, 10_000, integer=True)
        check_range(self.compactness, "explanation.compactness", 1e-6)
        check_range(self.samples, "explanation.samples", 2, integer=True)
        check_range(self.hidden, "explanation.hidden", 0, 1)
        check_range(self.kernel_width, "explanation.kernel_width", 1e-6)
        check_range(self.alpha, "explanation.alpha", 0)
        check_range(self.batch_size, "explanation.batch_size", 1, integer=True)


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
        Names in `ekman_expressions.zoo.NETWORKS`, in the order of tables.
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
    networks: tuple[str, ...]
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
        object.__setattr__(self, "networks", _names(self.networks, "networks"))
        for network in (*self.networks, *self.training.overrides):
            check_option(network, "networks", NETWORKS)
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
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}.") from error
        return cls.from_dict(values, root=root)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, root: Path | str | None = None) -> Experiment:
        """Build an experiment from nested dictionaries, refusing names that are no settings."""
        values = dict(values)
        parts = {"faces": FaceSettings, "training": TrainingSettings, "explanation": ExplanationSettings}
        for part, kind in parts.items():
            section = values.get(part, {})
            check_type(section, part, Mapping)
            _check_keys(section, kind, f"[{part}]")
            values[part] = kind(**section)
        _check_keys(values, cls, "the top level")
        for required in ("name", "networks"):
            if required not in values:
                raise SettingsError(f"The settings lack '{required}'.")
        if root is not None:
            values["root"] = Path(root)
        return cls(**values)

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds, ``CV1`` ... ."""
        return tuple(f"CV{number}" for number in range(1, self.faces.folds + 1))

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """All (network, fold) pairs, fold fastest."""
        return tuple((network, fold) for network in self.networks for fold in self.folds)

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
        """Perturbation records, one folder per model."""
        return self.results_folder / "explanations"

    @property
    def facespace_folder(self) -> Path:
        """Explanations in face space, one file per model and expression."""
        return self.results_folder / "facespace"

    @property
    def scores_folder(self) -> Path:
        """Tables of scores against the Ekman masks."""
        return self.results_folder / "scores"

    @property
    def heatmaps_folder(self) -> Path:
        """Heatmaps as images and arrays."""
        return self.root / "heatmaps" / self.name

    @property
    def barplots_folder(self) -> Path:
        """Barplots of the scores."""
        return self.root / "barplots" / self.name

    @property
    def dendrograms_folder(self) -> Path:
        """Dendrograms; the folder keeps the spelling that users of the study know."""
        return self.root / "dendograms" / self.name

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
        }

    def model_path(self, network: str, fold: str) -> Path:
        """The file of one trained model."""
        return self.models_folder / f"{network}_{fold}.keras"

    def record_path(self, network: str, fold: str, image_id: str) -> Path:
        """The perturbation record of one face and one model."""
        return self.explanations_folder / f"{network}_{fold}" / f"{image_id}.npz"

    def maps_path(self, network: str, fold: str, expression: str) -> Path:
        """The normalised explanations of one model and one predicted expression."""
        return self.facespace_folder / f"{network}_{fold}_{title(expression)}.npz"


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


def _names(values: Any, setting: str) -> tuple[str, ...]:
    check_type(values, setting, (list, tuple))
    for value in values:
        check_type(value, setting, str)
    if not values or len(set(values)) != len(values):
        raise SettingsError(f"'{setting}' must list one or more different names, but got {values!r}.")
    return tuple(values)


def _check_keys(values: Mapping[str, Any], kind: type, where: str) -> None:
    known = [item.name for item in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            raise SettingsError(f"Unknown setting {key!r} in {where}. Known are {', '.join(known)}.")


def _check_override(network: str, values: Any) -> None:
    where = f"training.overrides.{network}"
    check_type(values, where, Mapping)
    for key, value in values.items():
        check_option(key, where, ("optimizer", "learning_rate", "schedule", "epochs", "batch_norm_momentum"))
        if key == "optimizer":
            check_option(value, f"{where}.optimizer", ("adam", "rmsprop"))
        elif key == "schedule":
            check_option(value, f"{where}.schedule", ("constant", "cosine"))
        elif key == "epochs":
            check_range(value, f"{where}.epochs", 1, integer=True)
        else:
            check_range(value, f"{where}.{key}", 0, 1)
