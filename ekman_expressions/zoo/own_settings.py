"""What the package must know of a model of one's own: where it is, what it takes and predicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from ekman_expressions.core.errors import DataError, Settings, SettingsError, check_range
from ekman_expressions.core.expressions import EXPRESSIONS, NOT_EXPLAINED, parse_expression, title
from ekman_expressions.facespace.masks import atlas

_OTHER = "other"
"""The name of classes that are neither one of the six expressions nor neutral nor contempt."""

_NOT_A_CLASS = "not a class"
"""The name of outputs that are no class, such as valence and arousal: they are cut off before the softmax."""

_KINDS = {".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".onnx": "onnx"}

_LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R BT.601), as Pillow and OpenCV use them."""

# Of red, green and blue in [0, 1], as torchvision's models were trained with.
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# Scale and shift of red, green and blue; caffe: as the first VGG and ResNet models were trained with.
_RANGES: dict[str, tuple[Any, Any]] = {
    "unit": (1, 0),
    "255": (255, 0),
    "minus_one_one": (2, -1),
    "imagenet": (1 / _STD, -_MEAN / _STD),
    "caffe": (255, -np.array([123.68, 116.779, 103.939])),
}


def _parse_masks(masks: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for regions in masks.values():
        atlas().mask(regions)
    return {_name_of(name): regions for name, regions in masks.items()}


def _name_of(name: str) -> str:
    """Return the name of a class: an expression's, or one of its user's own as it is."""
    try:
        return parse_expression(name)
    except DataError:
        return name.strip().lower()


def _names_of(names: Any) -> tuple[str, ...]:
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError("must be a list of names")
    return tuple(map(_name_of, names))


def _parse_explained(names: Any) -> tuple[str, ...]:
    explained = _names_of(names)
    for name in explained:
        title(name)
    if len(set(explained)) != len(explained) or len(explained) < 2:
        raise ValueError("must list two or more different classes")
    return explained


Explained = Annotated[tuple[str, ...], BeforeValidator(_parse_explained)]
"""Classes that are explained: expressions by any usual name, and classes of one's own, in their order."""

Masks = Annotated[dict[str, Annotated[tuple[str, ...], Field(strict=False)]], AfterValidator(_parse_masks)]
"""Regions or groups of the atlas by class."""


def _parse_classes(classes: Any, info: ValidationInfo) -> tuple[str, ...]:
    explained, masks = info.data.get("explained", EXPRESSIONS), info.data.get("masks", {})
    own, names = {*masks, *explained}, _names_of(classes)
    try:
        for given, name in zip(classes, names, strict=True):
            if name not in (_OTHER, _NOT_A_CLASS, *own):
                parse_expression(given)
    except DataError as error:
        raise SettingsError(
            f"{error} Classes of any further kind are called '{_OTHER}', or have a place in 'masks'; "
            f"outputs that are none are called '{_NOT_A_CLASS}'; classes was {list(classes)}."
        ) from None
    if len(own & set(names)) < 2:
        wanted = "the six expressions" if explained == EXPRESSIONS else ", ".join(explained)
        raise SettingsError(
            f"'classes' must name all outputs in their order, and among them two or more of {wanted} "
            f"(or of 'masks'), but got {list(classes)}."
        )
    if unknown := masks.keys() - set(names):
        raise SettingsError(f"'masks' has {', '.join(sorted(unknown))}, but 'classes' only {', '.join(names)}.")
    twice = [name for name in {*EXPRESSIONS, *NOT_EXPLAINED, *own} if names.count(name) > 1]
    if twice:
        raise SettingsError(f"'classes' names {', '.join(twice)} more than once: {list(classes)}.")
    return names


def _parse_side(side: Any) -> Any:
    sides = side if isinstance(side, (list, tuple)) else (side,)
    if len(sides) not in (1, 2):
        raise ValueError("must be the side of a square, or [height, width]")
    for value in sides:
        check_range(value, "side", 8, 4096, integer=True)
    return sides[0] if sides[0] == sides[-1] else tuple(sides)


def _parse_numbers(values: Any) -> Any:
    return tuple(np.atleast_1d(values).tolist())


class OwnModel(Settings):
    """A model that was trained elsewhere, and how to query it.

    Examples
    --------
    >>> fer2013 = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
    >>> OwnModel(path="my.onnx", side=48, classes=fer2013[::-1]).order
    (6, 5, 4, 3, 2, 1, 0)
    """

    side: Annotated[int | tuple[int, int], BeforeValidator(_parse_side)]
    """Side of the square faces that it takes, in pixels; or height and width, to which faces are stretched."""
    explained: Explained = EXPRESSIONS
    """The classes that are explained, in their order. A study fills in its ``faces.classes``."""
    masks: Masks = {}
    """Only for `load_model`, since a study has ``[masks]``: where classes show on the face, as regions or groups of
    the atlas (``{"pain": ["brows", "eyes"]}``). Names classes of one's own, or gives one of the six another mask; a
    class of one's own with an empty list has none."""
    classes: Annotated[tuple[str, ...], BeforeValidator(_parse_classes)]
    """Its classes, in the order of its outputs: the six expressions, or at least two of them, each once, by any
    name that `ekman_expressions.core.expressions.parse_expression` knows; any of ``neutral``, ``contempt``
    and ``other`` (which may come several times); and ``not a class`` for outputs that are none, such as valence
    and arousal. An expression that it does not know is never predicted: the study's tables have no heatmap of it."""
    # Absolute, so that a change of the working directory changes nothing.
    path: Annotated[
        Path | None, Field(strict=False), AfterValidator(lambda path: path and path.expanduser().absolute())
    ] = None
    """A Keras file (``.keras``, ``.h5``), an ONNX file (``.onnx``), or the folder of a TensorFlow SavedModel.
    With ``{fold}`` in it, one per fold: ``my_{fold}.keras`` is ``my_CV1.keras`` ..."""
    call: Any = None
    """Instead of `path`: a function (or Keras model, or torch module) from a batch of images to (N, classes), or
    where to import it from, ``"package.module:function"`` or ``"file.py:function"``.
    Importing runs the code."""
    version: str = ""
    """Needed with `call`: change it when the function, or a file it reads or imports, changes. A
    function's behaviour cannot be hashed; files named by `path` or ``file.py`` can, and are."""
    channels: Literal["rgb", "bgr", "gray", "gray3", ""] = ""
    """Order of the colours; or one channel of luminance; or the same three times. Default
    ``rgb``, for ``caffe`` preprocessing ``bgr``."""
    preprocessing: Literal["unit", "255", "minus_one_one", "imagenet", "caffe"] = "unit"
    """Values of the pixels: [0, 1]; [0, 255]; [-1, 1]; [0, 1] less ImageNet's mean, divided by its
    standard deviation, per colour; [0, 255] less ImageNet's mean."""
    mean: Annotated[tuple[float, ...], BeforeValidator(_parse_numbers)] = ()
    """What is then taken off, in the range of `preprocessing`: one number, or one for each channel in the
    model's order."""
    std: Annotated[tuple[float, ...], BeforeValidator(_parse_numbers)] = ()
    """What is then divided by, likewise."""
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    """Whether channels come last (Keras) or before rows and columns (PyTorch)."""
    output: Literal["probabilities", "logits"] = "probabilities"
    """What it predicts. A softmax is applied to logits."""
    extra: Literal["drop", "keep"] = "drop"
    """What happens to a face for which a class beyond the six is most probable: ``drop`` takes
    the most probable of the six all the same; ``keep`` leaves it as it is, so that it
    counts as a wrong prediction and is no positive of any expression."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.path is None) == (self.call is None):
            given = "neither was given" if self.path is None else f"got both {self.path} and {self.call!r}"
            raise SettingsError(f"A model has either a 'path' or a 'call', but {given}.")
        named = isinstance(self.call, str) and re.fullmatch(r".+:[A-Za-z_][\w{}]*", self.call)
        if self.call is not None and not callable(self.call) and not named:
            raise SettingsError(
                f"'call' must be a function, 'package.module:function' or 'file.py:function', not {self.call!r}."
            )
        if self.call is not None and not self.version.strip():
            raise SettingsError(
                "A 'call' needs a 'version', any text: a function cannot be hashed, so change the text when "
                "its predictions change, and artefacts of other versions are not mixed."
            )
        if self.channels == "":
            object.__setattr__(self, "channels", "bgr" if self.preprocessing == "caffe" else "rgb")
        if self.preprocessing in ("imagenet", "caffe") and (self.channels == "gray" or self.mean or self.std):
            raise SettingsError(
                f"preprocessing = {self.preprocessing!r} has a mean of its own for three colours: leave out 'mean' and "
                "'std', or use 'unit'; channels = 'gray' is one channel, 'gray3' the same three times."
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, self.channel_count) or (name == "std" and min(values, default=1) <= 0):
                raise SettingsError(
                    f"'{name}' must have one number, or one for each of {self.channel_count} channels "
                    f"('std': above 0), but got {list(values)}."
                )
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the faces that it takes, in pixels."""
        return self.side if isinstance(self.side, tuple) else (self.side, self.side)

    @property
    def kind(self) -> str:
        """``call``, ``keras``, ``onnx`` or ``saved_model``."""
        return "call" if self.path is None else _KINDS.get(Path(self.path).suffix.lower(), "saved_model")

    @property
    def per_fold(self) -> bool:
        """Whether each fold has a model of its own, rather than all the same."""
        source = self.call if self.path is None else str(self.path)
        return isinstance(source, str) and "{fold}" in source

    @property
    def order(self) -> tuple[int, ...]:
        """Which of its classes to take, in our order: those `explained` (-1: it does not know it), the others."""
        names = [self.classes[place] for place in self.used]
        first = [names.index(name) if name in names else -1 for name in self.explained]
        return (*first, *(place for place in range(len(names)) if place not in first))

    @property
    def used(self) -> list[int]:
        """Which of its outputs are classes."""
        return [place for place, name in enumerate(self.classes) if name != _NOT_A_CLASS]

    @property
    def ordered_classes(self) -> tuple[str, ...]:
        """Its classes in our `order`."""
        known = (*self.explained, _NOT_A_CLASS)
        return (*self.explained, *(name for name in self.classes if name not in known))

    @property
    def channel_count(self) -> int:
        """How many channels its images have: 1 or 3."""
        return 1 if self.channels == "gray" else 3

    def source(self, fold: str) -> Path | Callable | str:
        """Return the file, folder, function or place to import from of one fold."""
        if self.path is not None:
            return Path(str(self.path).replace("{fold}", fold))
        return self.call.replace("{fold}", fold) if isinstance(self.call, str) else self.call

    def recorded(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps: all that matters but where files lie (their hashes are kept)."""
        values = {"source": self.kind, "classes": list(self.classes)}
        if callable(self.call):
            named = self.call if hasattr(self.call, "__qualname__") else type(self.call)
            values["call"] = f"{named.__module__}:{named.__qualname__}"
        elif self.call is not None:
            # Where a file lies does not matter, but which function of it does.
            place, _, function = self.call.rpartition(":")
            values["call"] = f"{Path(place).name}:{function}"
        names = {"side", "channels", "preprocessing", "layout", "output", "extra", "version"}
        # A mean only where there is one, so that results of models without stay valid.
        names |= {name for name in ("mean", "std") if getattr(self, name)}
        return values | self.model_dump(mode="json", include=names) | {"per_fold": self.per_fold}

    def files(self, fold: str) -> list[Path]:
        """Return the files that make up the model of one fold, as far as they are there and can be known."""
        source = self.source(fold)
        if self.kind == "call":
            place = source.rpartition(":")[0] if isinstance(source, str) else ""
            return [file for file in [Path(place)] if place.endswith(".py") and file.is_file()]
        if self.kind == "saved_model":
            return sorted(file for file in source.rglob("*") if file.is_file()) if source.is_dir() else []
        if self.kind == "onnx" and source.is_file():
            # Large weights lie in files beside it: my.onnx.data, my.onnx_data.
            return sorted(file for file in source.parent.iterdir() if file.name.startswith(source.name))
        return [source] if source.is_file() else []

    @staticmethod
    def beside(file: Path, section: Any) -> Any:
        """Return a section ``[models.<name>]`` of a settings file, its relative paths beside that file."""
        if not isinstance(section, Mapping):
            return section
        values, folder = dict(section), Path(file).resolve().parent
        if isinstance(values.get("path"), str):
            values["path"] = folder / Path(values["path"]).expanduser()
        if isinstance(values.get("call"), str) and ".py:" in values["call"]:
            values["call"] = str(folder / Path(values["call"]).expanduser())
        return values

    @staticmethod
    def check_names(models: Iterable[str], networks: Iterable[str]) -> None:
        """Raise `SettingsError` unless names of models can be names of files, beside those of `networks`."""
        # "Average" is a row of the tables of scores.
        taken = {name.lower(): name for name in (*networks, "average")}
        for name in models:
            if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", name) or re.search(r"_CV\d+(_S\d+)?$", name):
                raise SettingsError(
                    "The name of a model must be made of letters, digits, '_' and '-', and not end like a "
                    f"fold (_CV1), but got {name!r}."
                )
            # Some file systems do not tell mine from Mine.
            if name.lower() in taken:
                raise SettingsError(
                    f"The name {name!r} of a model is taken by {taken[name.lower()]!r}: choose another."
                )
            taken[name.lower()] = name


def _preprocess(images: Any, own: OwnModel) -> Any:
    """Turn RGB images (N, H, W, 3) in [0, 1] into a model's colours and range, (N, H, W, 1 or 3).

    Only operators are used, so that one definition serves NumPy, Keras and torch.
    """
    scale, shift = (np.broadcast_to(np.float64(values), 3) for values in _RANGES[own.preprocessing])
    # Their order is the model's, that of the table is red, green, blue.
    step = -1 if own.channels == "bgr" else 1
    shift = shift - np.array(own.mean or (0,))[::step]
    scale, shift = (np.float32(values / np.array(own.std or (1,))[::step]) for values in (scale, shift))
    if own.channels.startswith("gray"):
        weights = np.float32(_LUMINANCE)
        images = sum(images[..., place : place + 1] * weights[place] for place in range(3))
    if own.channels == "gray":
        scale, shift = scale[:1], shift[:1]
    if hasattr(images, "new_tensor"):
        scale, shift = images.new_tensor(scale), images.new_tensor(shift)
    # Of one gray value, three scales make three.
    images = images * scale + shift
    if own.channels != "bgr":
        return images
    return images.flip(-1) if hasattr(images, "new_tensor") else images[..., ::-1]


def _prepare(images: Any, own: OwnModel) -> Any:
    """Turn RGB images, of NumPy or torch, into what a model takes, contiguous."""
    images = _preprocess(images, own)
    if hasattr(images, "new_tensor"):
        return (images.permute(0, 3, 1, 2) if own.layout == "NCHW" else images).contiguous()
    images = images.transpose(0, 3, 1, 2) if own.layout == "NCHW" else images
    return np.ascontiguousarray(images, np.float32)
