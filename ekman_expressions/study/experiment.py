"""A study: its settings, frozen and checked, and where each of its artefacts lies."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from ekman_expressions.core.errors import MissingError, Settings, SettingsError, check_option
from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED, title
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import DATABASES
from ekman_expressions.faces import check_options as check_database_options
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.zoo import NETWORKS
from ekman_expressions.zoo.model import check_hidden
from ekman_expressions.zoo.own_settings import Explained, Masks, OwnModel


def _different(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must list different names")
    return values


_Names = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_different)]
"""Different names, as a list or tuple."""

_MOST_MASKS = 8
"""See `measures.relabelling_test`."""

# Of sections, `exclude=True` marks settings that change no result and are not in run.json.


class _FaceSettings(Settings):
    """Which faces, how they are cropped, and how they are split into folds."""

    section: ClassVar[str] = "faces"

    datasets: _Names = ("synthetic",)
    """Names of databases; see `ekman_expressions.faces.DATABASES`."""
    roots: dict[str, str] = Field({}, exclude=True)
    """The folder of each database that is not bundled."""
    options: dict[str, dict[str, Any]] = {}
    """Per database, choices that it offers: ``{"ckplus": {"frames": 3}}``."""
    folds: int = Field(5, ge=2)
    """Number of subject-wise folds."""
    size: int = Field(256, ge=32, le=4096)
    """Side of the square crops in pixels."""
    subjects: int | None = Field(None, ge=2)
    """Take only the first so many subjects of each database; None takes all."""
    classes: Explained = EXPRESSIONS
    """What is shown, predicted and explained, in the order of tables: two or more of the six expressions,
    ``neutral``, ``contempt`` and names of your own, for which ``[masks]`` may have a mask."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.datasets:
            raise SettingsError("'faces.datasets' must list one or more names, but got none.")
        for name in self.roots:
            check_option(name, "faces.roots", self.datasets)
        for name in self.options:
            check_option(name, "faces.options", self.datasets)
            check_database_options(name, self.options_of(name))
        return self

    def options_of(self, database: str) -> dict[str, Any]:
        """Return the options of a database; in a folder of one's own, classes of one's own are known labels."""
        options = self.options.get(database, {})
        labels = options.get("labels", {})
        own = {name: name for name in self.classes if name not in (*EXPRESSIONS, *NOT_EXPLAINED)}
        if not own or database in DATABASES or not isinstance(labels, Mapping):
            return options
        return options | {"labels": own | labels}

    def recorded(self) -> dict[str, Any]:
        """Return the values that determine results: classes only where they are not the six."""
        values = self.model_dump()
        if self.classes == EXPRESSIONS:
            del values["classes"]
        return values


class _NetworkTraining(Settings):
    """How one network is trained; what is None is as in the study."""

    optimizer: Literal["adam", "rmsprop"] | None = None
    """Adam, or RMSprop, with the other numbers as Keras has them."""
    learning_rate: float | None = Field(None, ge=0, le=1)
    """Step size; with a schedule, the highest."""
    schedule: Literal["constant", "cosine"] | None = None
    """``cosine``: the learning rate falls to 0 by the last step."""
    warmup: int | None = Field(None, ge=0)
    """Steps in which the learning rate first rises from 0."""
    side: int | None = Field(None, ge=32, le=1024)
    """Side of the input in pixels."""
    epochs: int | None = Field(None, ge=1)
    """How often each training image is seen."""
    batch_norm_momentum: float | None = Field(None, ge=0, le=1)
    """Share of the running mean that batch normalisation keeps at each step; smaller for short trainings."""


class _TrainingSettings(Settings):
    """How the networks are trained."""

    section: ClassVar[str] = "training"

    weights: Literal["imagenet", "none", "released"] = "imagenet"
    """What the eight networks of Keras Applications start from: ``imagenet``, ``none`` (random). Or ``released``:
    nothing is trained, and all twelve networks are those that the study's authors released."""
    released_folder: str | None = None
    """Where the authors' files ``<network>_CV<k>_weights.h5`` lie, for ``released``; None downloads them."""
    preprocessing: Literal["paper", "native"] = "paper"
    """``paper``: pixels / 255 for every network; ``native``: what each was pre-trained with."""
    batch_size: int = Field(128, ge=1)
    """Images per training step."""
    seeds: int = Field(1, ge=1)
    """Trainings per network and fold, each a draw of its own (initial weights, order of the images, dropout):
    models ``WeiNet_CV1``, ``WeiNet_CV1_S1``, ... Networks are then compared over folds and seeds."""
    augment: Literal["none", "flips", "all"] = "none"
    """Show the training images randomly flipped (``flips``), or also turned, shifted and in another contrast
    (``all``)."""
    overrides: dict[str, _NetworkTraining] = {}
    """Per network, what differs from the study."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for network in self.overrides:
            check_option(network, "training.overrides", NETWORKS)
        if self.released_folder is not None and self.weights != "released":
            raise SettingsError(
                f"'training.released_folder' is {self.released_folder!r}, but training.weights is "
                f'{self.weights!r}. Set training.weights = "released" to use it, or leave the folder out.'
            )
        return self

    def of(self, network: str) -> dict[str, Any]:
        """Return a network's training numbers: its `NetSpec`'s, with the overrides laid over them.

        Returns
        -------
        dict
            The fields of `_NetworkTraining`; ``batch_norm_momentum`` None: as the network has it.
        """
        check_option(network, "network", NETWORKS)
        values = {name: getattr(NETWORKS[network], name, None) for name in _NetworkTraining.model_fields}
        changes = self.overrides.get(network, _NetworkTraining()).model_dump(exclude_none=True)
        return values | {"schedule": "constant", "warmup": 0} | changes

    def recorded(self, networks: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the values that determine results, the numbers of each of `networks` resolved."""
        # So that an override compares equal to the same default.
        numbers = {name: self.of(name) for name in networks}
        return self.model_dump(exclude={"overrides"}) | {"networks": numbers}


class _ExplanationSettings(Settings):
    """How many faces are explained, and how."""

    section: ClassVar[str] = "explanation"

    explainer: str = Field("lime", exclude=True)
    """Name in `ekman_expressions.explainers.EXPLAINERS`."""
    compare: _Names = Field((), exclude=True)
    """Other explainers that the step "explainers" compares with `explainer`."""
    compare_faces: int | None = Field(None, ge=1, exclude=True)
    """Of `compare`, those that need forward passes of their own explain at most so many faces per model
    and expression; None: all that are explained."""
    options: dict[str, dict[str, Any]] = Field({}, exclude=True)
    """Per explainer, options that it has; see `ekman_expressions.explainers.EXPLAINERS`."""
    positives: int = Field(100, ge=1)
    """Faces explained per model and predicted expression, at most."""
    segments: int = Field(30, ge=2, le=10_000)
    """SLIC superpixels asked for."""
    compactness: float = Field(20.0, ge=1e-6)
    """SLIC compactness: larger is squarer."""
    samples: int = Field(1000, ge=2)
    """Copies of a face with superpixels hidden, for which the model is queried."""
    sampler: Literal["iid", "orthogonal"] = "iid"
    """How the copies' superpixels are drawn: independently, or balanced, so that few copies do."""
    hidden: Any = 0.0
    """What hidden parts look like: a gray value in [0, 1] (0: black, as in the study), ``mean`` (the image's
    mean colour), ``blur`` (the image blurred), ``superpixel_mean`` (each superpixel's mean colour; not for
    explainers without superpixels) or ``neutral`` (the person's own neutral face). Which of them LIME can
    describe, the step "quality" says."""
    kernel_width: float = Field(0.25, ge=1e-6)
    """Width of LIME's kernel on the cosine distance."""
    alpha: float = Field(1.0, ge=0)
    """Ridge penalty of LIME's surrogate."""
    quality_faces: int = Field(10, ge=1, exclude=True)
    """Faces per network and expression that the step "quality" explains again: with an untrained copy of
    the network, and with other hidden colours."""
    quality_samples: int | None = Field(None, ge=2, exclude=True)
    """Copies for each such explanation; None: half of `samples`."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """In which Keras models and torch modules predict; gradients are computed in 32 bits."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_option(self.explainer, "explanation.explainer", EXPLAINERS)
        for name in self.compare:
            check_option(name, "explanation.compare", EXPLAINERS)
        for name, options in self.options.items():
            check_option(name, "explanation.options", EXPLAINERS)
            for key, value in options.items():
                check_option(key, f"explanation.options.{name}", EXPLAINERS[name].options)
                EXPLAINERS[name].options[key].check(value, f"explanation.options.{name}.{key}")
        check_hidden(self.hidden, "explanation.hidden")
        return self

    @property
    def hides_by(self) -> str:
        """What hidden parts look like, for captions and tables: black, mean, blur, gray 0.5 ..."""
        if isinstance(self.hidden, str):
            return self.hidden
        return f"gray {self.hidden:g}" if self.hidden else "black"

    @property
    def is_partial(self) -> bool:
        """Whether `compare_faces` limits the faces that `explainer` explains."""
        costly = EXPLAINERS[self.explainer].records_of != "lime"
        return self.explainer in self.compare and costly and self.compare_faces is not None

    @property
    def resolved(self) -> dict[str, Any]:
        """The values of all settings that the explainer in use takes."""
        explainer = EXPLAINERS[self.explainer]
        shared = {name: getattr(self, name) for name in explainer.shared}
        return explainer.resolve(**shared, **self.options.get(explainer.name, {}))

    def recorded(self) -> dict[str, Any]:
        """Return the values that determine results: with the options of the explainer in use, and without
        those of a regression that it does not fit."""
        values, explainer = self.model_dump(), EXPLAINERS[self.explainer]
        if explainer.options:
            defaults = {name: option.default for name, option in explainer.options.items()}
            values["options"] = defaults | self.options.get(explainer.name, {})
        if not explainer.has_surrogate:
            del values["kernel_width"], values["alpha"]
        return values


_PRESETS = Path(__file__).parents[1] / "presets"


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError("must be made of letters, digits, '.', '_' and '-'")
    return name


def _below_root(place: str, what: str) -> property:
    """Return a property: `place` below the root; ``{by}`` is, but for LIME, a folder below ``{name}``."""

    def path(self: Experiment) -> Path:
        explainer = self.explanation.explainer
        by = self.name if explainer == "lime" else f"{self.name}/explainers/{explainer}"
        return self.root / place.format(name=self.name, by=by)

    return property(path, doc=what)


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
    networks: _Names = ()
    """Names in `ekman_expressions.zoo.NETWORKS` or in `models`, in the order of tables; default: `models`."""
    faces: _FaceSettings = _FaceSettings()
    """Which faces."""
    masks: Masks = {}
    """Where classes show on the face, as regions or groups of the atlas, ``{"contempt": ["mouth"]}``: of classes
    that are no expression, or in place of an Ekman mask. A class without a mask is shown, but not scored."""
    models: dict[str, OwnModel] = {}
    """Models of your own, which are not trained here."""
    training: _TrainingSettings = _TrainingSettings()
    """How networks are trained."""
    explanation: _ExplanationSettings = _ExplanationSettings()
    """How predictions are explained."""
    root: Annotated[Path, BeforeValidator(lambda root: Path(root).resolve())] = Field(
        default_factory=lambda: Experiment.find_root().resolve()
    )
    """The folder that holds ``datasets/ models/ results/ heatmaps/ barplots/ dendograms/``."""

    faces_folder = _below_root("datasets/prepared/{name}", "Cropped faces, landmarks and the manifest.")
    manifest_path = _below_root("datasets/prepared/{name}/manifest.csv", "One row per face.")
    models_folder = _below_root("models/{name}", "Trained models.")
    results_folder = _below_root("results/{name}", "Predictions, explanations and tables.")
    evaluation_folder = _below_root("results/{name}/evaluation", "Predictions and confusion matrices.")
    explanations_folder = _below_root("results/{by}/explanations", "What they are made from.")
    facespace_folder = _below_root("results/{by}/facespace", "Explanations in face space, a table.")
    heatmaps_folder = _below_root("heatmaps/{by}", "Heatmaps as images and arrays.")
    scores_folder = _below_root("results/{by}/scores", "Scores against the Ekman masks.")
    statistics_folder = _below_root("results/{by}/statistics", "Chance, tests, intervals of scores.")
    regions_folder = _below_root("results/{by}/regions", "The heatmaps' mass by region of the face.")
    quality_folder = _below_root("results/{by}/quality", "How good the explanations are.")
    comparison_folder = _below_root("results/{name}/explainers", "Tables that compare explainers.")
    known_answers_folder = _below_root("results/{name}/known_answers", "Explanations and what moved in faces.")
    barplots_folder = _below_root("barplots/{by}", "Barplots of the scores.")
    # Spelled as users of the study know it.
    dendrograms_folder = _below_root("dendograms/{by}", "Dendrograms.")
    report_folder = _below_root("results/{name}/report", "The report: open its ``index.html``.")

    @property
    def masks_folder(self) -> Path:
        """The masks as images: those of Ekman the same for all experiments, others below the heatmaps."""
        return self.root / "heatmaps" / (self.name if self.masks else "") / "GROUND_TRUTH"

    @field_validator("models", mode="before")
    @classmethod
    def _tell_classes(cls, models: Any, info: ValidationInfo) -> Any:
        """Tell models of one's own which classes are explained."""
        if not isinstance(models, dict) or "faces" not in info.data:
            return models
        told = {"explained": info.data["faces"].classes}
        return {
            name: dict(model) | told if isinstance(model, (dict, OwnModel)) else model for name, model in models.items()
        }

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
                    f"[models.{model}] has 'masks', but those of a study are the same for all models: "
                    "faces.classes names the classes, and the section [masks] their masks."
                )
            if model not in self.networks:
                raise SettingsError(
                    f"The model {model!r} is described, but 'networks' does not name it: it lists "
                    f"{', '.join(self.networks)}. Add it there, or leave its description out."
                )
        if unknown := self.masks.keys() - set(self.expressions):
            raise SettingsError(
                f"[masks] has {', '.join(sorted(unknown))}, but faces.classes only {', '.join(self.expressions)}."
            )
        if len(self.mask_regions) > _MOST_MASKS:
            raise SettingsError(
                f"At most {_MOST_MASKS} classes can have a mask, since all ways to swap masks are tested, but "
                f"{', '.join(self.mask_regions)} have one. Give some of them an empty list in [masks]."
            )
        if self.training.weights == "released" and self.expressions != EXPRESSIONS:
            raise SettingsError(
                f"The released models are of {', '.join(EXPRESSIONS)}, but faces.classes is "
                f"{', '.join(self.expressions)}. Leave it out, or choose other training.weights."
            )
        return self

    @staticmethod
    def find_root() -> Path:
        """Return the folder in which the artefact folders live.

        The environment variable ``EKMAN_EXPRESSIONS_ROOT``, else the nearest folder at or above
        the working directory that holds ``notebooks`` and ``datasets``, else the working directory.
        """
        if given := os.environ.get("EKMAN_EXPRESSIONS_ROOT"):
            return Path(given)
        here = Path.cwd()
        above = (here, *here.parents)
        return next((at for at in above if (at / "notebooks").is_dir() and (at / "datasets").is_dir()), here)

    @staticmethod
    def presets() -> tuple[str, ...]:
        """Return the names of the presets that come with the package."""
        return tuple(sorted(path.stem for path in _PRESETS.glob("*.toml")))

    @classmethod
    def load(cls, preset_or_file: str | Path, *, root: Path | str | None = None) -> Experiment:
        """Return a preset by its name, or read a settings file when the name ends in ``.toml``."""
        read = cls.from_toml if str(preset_or_file).endswith(".toml") else cls.preset
        return read(str(preset_or_file), root=root)

    @classmethod
    def preset(cls, preset: str, *, root: Path | str | None = None) -> Experiment:
        """Return a preset that comes with the package; see `presets`."""
        if preset not in cls.presets():
            raise SettingsError(
                f"There is no preset {preset!r}, only {', '.join(cls.presets())}. The name of your own settings "
                "file ends in .toml."
            )
        return cls.from_toml(_PRESETS / f"{preset}.toml", root=root)

    @classmethod
    def from_toml(cls, path: Path | str, *, root: Path | str | None = None) -> Experiment:
        """Read settings from a TOML file laid out like the presets.

        Relative paths of models of one's own start at the file's folder.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingError(
                f"There is no settings file {path}. Correct the path, or write one to begin with: "
                "ekman-expressions init mine.toml"
            )
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}.") from error
        if isinstance(models := values.get("models"), Mapping):
            values["models"] = {name: OwnModel.beside(path, section) for name, section in models.items()}
        return cls(**values | ({} if root is None else {"root": root}))

    @property
    def expressions(self) -> tuple[str, ...]:
        """The classes that are predicted and explained, in the order of outputs and tables."""
        return self.faces.classes

    @property
    def mask_regions(self) -> dict[str, tuple[str, ...]]:
        """The regions of the mask of each class that has one, of the user's own or else Ekman's."""
        regions = {**atlas().expressions, **self.masks}
        return {name: regions[name] for name in self.expressions if regions.get(name)}

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
    def records_folder(self) -> Path:
        """What the explainer is estimated from: its own queries, or those of another explainer."""
        return self.explained_by(EXPLAINERS[self.explanation.explainer].records_of).explanations_folder

    @property
    def explainers(self) -> tuple[str, ...]:
        """The explainers that are compared: the one in use, then ``explanation.compare``."""
        return tuple(dict.fromkeys((self.explanation.explainer, *self.explanation.compare)))

    def explained_by(self, explainer: str) -> Experiment:
        """Return the same experiment with another explainer: all paths below are that one's."""
        return self.replace(explanation=self.explanation.replace(explainer=explainer))

    def side(self, network: str) -> int | tuple[int, int]:
        """The side in pixels of the images that a network, or model of one's own, takes; or height and width."""
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
