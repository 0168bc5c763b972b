"""The settings of each part of a study, frozen and validated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from ekman_expressions.core.errors import SettingsError, check_option, check_range, check_type
from ekman_expressions.explainers.record import SAMPLERS
from ekman_expressions.explainers.specs import SPECS, check_options
from ekman_expressions.zoo.background import check_hidden
from ekman_expressions.zoo.precision import PRECISIONS


@dataclass(frozen=True, kw_only=True)
class FaceSettings:
    """Which faces, how they are cropped, and how they are split into folds.

    Attributes
    ----------
    datasets : tuple of str
        Names of databases, see `ekman_expressions.faces.databases.survey`.
    roots : dict of str to str
        The folder of each database that is not bundled.
    options : dict of str to dict
        Per database, choices that it offers, e.g. ``{"ckplus": {"frames": 3}}``; see
        `ekman_expressions.faces.databases.DATABASES`.
    folds : int, >= 2
        Number of subject-wise folds.
    size : int, pixels
        Side of the square crops.
    subjects : int or None
        Take only the first so many subjects of each database; None takes all.
    """

    datasets: tuple[str, ...] = ("synthetic",)
    roots: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    folds: int = 5
    size: int = 256
    subjects: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "datasets", check_names(self.datasets, "faces.datasets"))
        check_type(self.roots, "faces.roots", Mapping)
        for name, root in self.roots.items():
            check_option(name, "faces.roots", self.datasets)
            check_type(root, f"faces.roots.{name}", str)
        check_type(self.options, "faces.options", Mapping)
        for name, options in self.options.items():
            check_option(name, "faces.options", self.datasets)
            _check_database_options(name, options)
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
        without top. Or ``"released"``: nothing is trained, and all twelve networks are those
        that the study's authors released; see `ekman_expressions.zoo.released`.
    released_folder : str or None
        The folder with the authors' files ``<network>_CV<k>_weights.h5``; None downloads them.
    released_revision : str
        Branch, tag or commit of the authors' repository to download from. What it was when
        the first file came is kept for the others.
    preprocessing : {'paper', 'native'}
        ``paper``: pixels / 255 for every network; ``native``: what each was pre-trained with.
    batch_size : int
        Images per training step.
    validation : {'none', 'test', 'subjects'}
        ``none``: the epochs are fixed, nothing is watched. ``test``: the loss and accuracy on the
        test fold, which the study watched, are logged after each epoch and decide nothing.
        ``subjects``: some training subjects are held out; training stops when the loss on them
        no longer falls, and keeps the epoch where it was lowest.
    validation_fraction : float, range (0, 0.9]
        Share of the training subjects that are held out with ``subjects``; at least one.
    patience : int, >= 1
        With ``subjects``: epochs without a new lowest loss after which training stops.
    augment : bool
        Show the training images randomly flipped, turned, shifted and in another contrast; see
        `ekman_expressions.zoo.augmentation`.
    precision : {'float32', 'mixed_float16'}
        ``mixed_float16`` calculates in 16 bits, which is faster on most GPUs; the weights that
        are trained and saved have 32 bits in both cases.
    devices : {'one', 'all'}
        ``all`` shares each batch among all GPUs.
    overrides : dict
        Per network, any of ``optimizer`` ('adam', 'rmsprop'), ``learning_rate``, ``schedule``
        ('constant', 'cosine': the rate falls to 0 by the last step), ``epochs`` and
        ``batch_norm_momentum``; what is absent is as in the study.
    """

    weights: str = "imagenet"
    released_folder: str | None = None
    released_revision: str = "main"
    preprocessing: str = "paper"
    batch_size: int = 128
    validation: str = "none"
    validation_fraction: float = 0.2
    patience: int = 3
    augment: bool = False
    precision: str = "float32"
    devices: str = "one"
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_weights(self.weights)
        check_type(self.released_folder, "training.released_folder", (str, NoneType))
        check_type(self.released_revision, "training.released_revision", str)
        if self.released_folder is not None and self.weights != "released":
            raise SettingsError(
                f"'training.released_folder' is {self.released_folder!r}, but training.weights is "
                f'{self.weights!r}. Set training.weights = "released" to use it, or leave the folder out.'
            )
        check_option(self.preprocessing, "training.preprocessing", ("paper", "native"))
        check_range(self.batch_size, "training.batch_size", 1, integer=True)
        check_option(self.validation, "training.validation", ("none", "test", "subjects"))
        check_range(self.validation_fraction, "training.validation_fraction", 1e-6, 0.9)
        check_range(self.patience, "training.patience", 1, integer=True)
        check_type(self.augment, "training.augment", bool)
        check_option(self.precision, "training.precision", ("float32", "mixed_float16"))
        check_option(self.devices, "training.devices", ("one", "all"))
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
        Name in `ekman_expressions.explainers.registry.EXPLAINERS`.
    compare : tuple of str
        Other explainers that the step "explainers" takes through face space, heatmaps, scores and
        dendrograms, and compares with `explainer`.
    compare_faces : int or None
        Of `compare`, those that need model calls of their own explain at most so many faces per
        model and expression; None: all that are explained.
    options : dict of str to dict
        Per explainer, options that it has; see `ekman_expressions.explainers.specs.SPECS`.
    positives : int
        Faces explained per model and predicted expression, at most.
    segments : int
        SLIC superpixels asked for.
    compactness : float
        SLIC compactness: larger is squarer.
    samples : int or 'auto'
        Masked copies of a face that the model is asked about; ``'auto'``: as many as are needed
        for `tolerance`.
    sampler : {'iid', 'antithetic', 'orthogonal'}
        How the copies' superpixels are drawn; see `ekman_expressions.explainers.record.draw_samples`.
    tolerance : float
        With ``samples = "auto"``: more copies are asked about until the standard error of the
        weights (root mean square) is below this share of the largest.
    max_samples : int
        With ``samples = "auto"``: copies at most.
    hidden : float or {'mean', 'blur'}
        What hidden superpixels look like: a gray value in [0, 1] (0: black), the image's mean
        colour, or the image blurred; see `ekman_expressions.zoo.background`.
    kernel_width : float
        Width of the kernel on the cosine distance.
    alpha : float
        Ridge penalty of the surrogate.
    quality_faces : int
        Faces per network and expression that the step "quality" explains again: with an
        untrained copy of the network, other hidden colours and other superpixels.
    quality_samples : int or None
        Masked copies for each such explanation; None: half of `samples`, so that the other half
        tells what other samples alone would change.
    batch_size : int
        Masked copies per call of a model that is no Keras model.
    group : int or 'auto'
        Masked copies per call of a Keras model. The last bits of answers depend on it, so it is
        kept once chosen; ``'auto'``: by a short probe of each model, see
        `ekman_expressions.zoo.probing`.
    precision : {'float32', 'bfloat16', 'float16'}
        In which Keras models answer about masked copies (LIME, KernelSHAP, superpixel RISE, facial
        regions); the other explainers compute in 32 bits.
    """

    explainer: str = "lime"
    compare: tuple[str, ...] = ()
    compare_faces: int | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    positives: int = 100
    segments: int = 30
    compactness: float = 20.0
    samples: int | str = 1000
    sampler: str = "iid"
    tolerance: float = 0.1
    max_samples: int = 4000
    hidden: float | str = 0.0
    kernel_width: float = 0.25
    alpha: float = 1.0
    quality_faces: int = 10
    quality_samples: int | None = None
    batch_size: int = 64
    group: int | str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_option(self.explainer, "explanation.explainer", SPECS)
        compare = check_names(self.compare, "explanation.compare") if self.compare else ()
        object.__setattr__(self, "compare", compare)
        for name in compare:
            check_option(name, "explanation.compare", SPECS)
        if self.compare_faces is not None:
            check_range(self.compare_faces, "explanation.compare_faces", 1, integer=True)
        check_options(self.options, "explanation.options")
        check_range(self.positives, "explanation.positives", 1, integer=True)
        check_range(self.segments, "explanation.segments", 2, 10_000, integer=True)
        check_range(self.compactness, "explanation.compactness", 1e-6)
        _check_count_or_auto(self.samples, "explanation.samples", 2)
        check_option(self.sampler, "explanation.sampler", SAMPLERS)
        check_range(self.tolerance, "explanation.tolerance", 1e-6)
        check_range(self.max_samples, "explanation.max_samples", 2, integer=True)
        check_hidden(self.hidden, "explanation.hidden")
        check_range(self.kernel_width, "explanation.kernel_width", 1e-6)
        check_range(self.alpha, "explanation.alpha", 0)
        check_range(self.quality_faces, "explanation.quality_faces", 1, integer=True)
        if self.quality_samples is not None:
            check_range(self.quality_samples, "explanation.quality_samples", 2, integer=True)
        check_range(self.batch_size, "explanation.batch_size", 1, integer=True)
        _check_count_or_auto(self.group, "explanation.group", 1)
        check_option(self.precision, "explanation.precision", PRECISIONS)

    @property
    def is_partial(self) -> bool:
        """Whether `compare_faces` limits the faces that `explainer` explains."""
        costly = SPECS[self.explainer].records != "shared"
        return self.explainer in self.compare and costly and self.compare_faces is not None


def check_names(values: Any, setting: str) -> tuple[str, ...]:
    """Return a setting that lists different names as a tuple, or raise `SettingsError`."""
    check_type(values, setting, (list, tuple))
    for value in values:
        check_type(value, setting, str)
    if not values or len(set(values)) != len(values):
        raise SettingsError(f"'{setting}' must list one or more different names, but got {values!r}.")
    return tuple(values)


def _check_count_or_auto(value: Any, name: str, low: int) -> None:
    if isinstance(value, str):
        check_option(value, name, ("auto",))
    else:
        check_range(value, name, low, integer=True)


def _check_database_options(name: str, options: Any) -> None:
    from ekman_expressions.faces.databases import check_options

    check_options(name, options)


def _check_weights(weights: Any) -> None:
    check_type(weights, "training.weights", str)
    # A folder may be on a disk that is not mounted now: whatever looks like a path is looked for later.
    looks_like_path = weights.startswith(("~", ".")) or "/" in weights or os.sep in weights
    if weights in ("imagenet", "none", "released") or looks_like_path or Path(weights).is_dir():
        return
    raise SettingsError(
        "'training.weights' must be 'imagenet', 'none', 'released' or an existing folder of weights files, "
        f"but got {weights!r}."
    )


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
