"""Models trained elsewhere, brought into our form: files of Keras, TensorFlow and ONNX; modules; functions."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

from ekman_expressions.core.errors import MissingError, ModelError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, read_json
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.zoo import saving
from ekman_expressions.zoo.backends import _is_a
from ekman_expressions.zoo.model import GROUP, Model, _backend, as_model
from ekman_expressions.zoo.networks import NETWORKS
from ekman_expressions.zoo.own_settings import _NOT_A_CLASS, OwnModel, _preprocess

_ONNX_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}

_TOLERANCE = 1e-2  # within which a half-precision softmax sums to 1

_EXAMPLE = Path(__file__).parents[1] / "data" / "example_model.npz"
"""The weights of `example_model`, in 16 bits."""


def load_model(
    source: Any,
    *,
    classes: Sequence[str] | None = None,
    masks: Mapping[str, Sequence[str]] | None = None,
    side: int | tuple[int, int] | None = None,
    channels: str = "",
    preprocessing: str = "unit",
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    layout: str | None = None,
    output: str | None = None,
    precision: str = "float32",
    name: str | None = None,
) -> Model:
    """Read a model that was trained elsewhere, and adapt colours, range, layout and order of classes.

    The model is queried about three images at once, so that a wrong description is found here.

    Parameters
    ----------
    source : path, str, callable, keras.Model or torch.nn.Module
        A file or folder as in `OwnModel.path`; a Keras model, torch module or function in memory; or where to
        import one from, ``"package.module:function"`` or ``"file.py:function"`` (importing runs the code).
    classes, masks, side, channels, preprocessing, mean, std
        See `OwnModel`. `side` may be left out where the model in memory says it, `classes` for an image
        classifier of Hugging Face.
    layout, output
        See `OwnModel`; by default ``NCHW`` and ``logits`` for torch, else ``NHWC`` and ``probabilities``.
    precision : {'float32', 'bfloat16', 'float16'}
        See `ekman_expressions.zoo.as_model`.
    name : str, optional
        What messages and tables call it.

    Returns
    -------
    Model
        Its `classes` are the six expressions in our order, then the others.

    Raises
    ------
    SettingsError, MissingError, ModelError
        If the description cannot be used; if there is no such file, module or function, or the library that
        reads it; if it cannot be loaded, or is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> fer2013 = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
    >>> def mine(images):
    ...     return np.full((len(images), 7), 1 / 7)
    >>> load_model(mine, classes=fer2013, side=48, channels="gray").classes[-1]
    'neutral'
    """
    is_import = isinstance(source, str) and re.fullmatch(r".+:[A-Za-z_]\w*", source) is not None
    is_path = isinstance(source, (str, Path)) and not is_import
    if not (is_path or is_import or callable(source)):
        raise SettingsError(
            f"'source' must be a path, a Keras model, a torch module or a function, but got {type(source).__name__}."
        )
    source = Path(source).expanduser() if is_path else source
    name = name or (source.stem if is_path else getattr(source, "name", None))
    name = str(name or getattr(source, "__name__", None) or "the model")
    if is_import:
        source = _import(source)
    if is_path and not source.exists():
        raise MissingError(f"There is no model {source}. Correct the path.")
    if is_path and source.suffix.lower() in (".keras", ".h5", ".hdf5") and source.is_file():
        source, is_path = _open_keras(name, source), False
    is_torch = _is_a(source, "torch.nn.Module")
    settings, shape = getattr(source, "config", None), getattr(source, "input_shape", None)
    if classes is None and hasattr(settings, "id2label"):
        classes = [settings.id2label[place] for place in sorted(settings.id2label)]
    if side is None and isinstance(shape, tuple) and len(shape) == 4:
        side = shape[2:] if layout == "NCHW" else shape[1:3]
        side = None if None in side else side
    if side is None and isinstance(getattr(settings, "image_size", None), int):
        side = settings.image_size
    for given, what in ((classes, "classes"), (side, "side")):
        if given is None:
            raise SettingsError(f"'{what}' must be given, since {name} does not say it itself.")
    own = OwnModel(
        side=side,
        classes=classes if isinstance(classes, (str, Mapping)) else tuple(classes),
        masks=masks or {},
        path=source if is_path else None,
        call=None if is_path else source,
        version="" if is_path else "in memory",
        channels=channels,
        preprocessing=preprocessing,
        mean=mean,
        std=std,
        layout=layout or ("NCHW" if is_torch else "NHWC"),
        output=output or ("logits" if is_torch else "probabilities"),
    )
    return _read_model(own, name, precision=precision)


def example_model() -> Model:
    """Return a small model for trying things out: a WeiNet trained by this package on the synthetic faces.

    Made by ``tools/train_example_model.py``. It learned these faces' own recipe of expressions: on real faces
    it is no good classifier. Its ``unseen`` names the eight persons that it was not trained on.

    Examples
    --------
    >>> model = example_model()
    >>> model.side, model.unseen[:2]
    ((64, 64), ('id00', 'id01'))
    """
    told = read_json(_EXAMPLE.with_suffix(".json"))
    arrays = read_arrays(_EXAMPLE)
    network = NETWORKS[told["network"]].build()
    network.set_weights([arrays[f"weight_{place}"].astype(np.float32) for place in range(len(arrays))])
    model = as_model(network, name="example", classes=EXPRESSIONS)
    model.unseen = tuple(told["unseen"])
    return model


def _read_model(own: OwnModel, name: str, fold: str = "CV1", precision: str = "float32") -> Model:
    """Read the model of one fold (``CV1`` ...) as an experiment describes it; see `load_model`."""
    source = own.source(fold)
    name = f"{name}_{fold}" if own.per_fold else name
    group = GROUP
    if own.kind == "call":
        found = saving._from_keras_2(_import(source) if isinstance(source, str) else source)
    elif not source.exists():
        raise MissingError(f"There is no model {source}, the 'path' of {name}.")
    elif own.kind == "keras":
        found = _open_keras(name, source)
    else:
        opener = {"saved_model": _open_saved_model, "onnx": _open_onnx}[own.kind]
        found, group = opener(name, own, source)
    is_keras = _is_a(found, "keras.Model")
    if is_keras:
        raw, found = _adapt_keras(name, own, found)
    backend = _backend(found, precision, "probabilities" if is_keras else own.output, own)
    model = Model(backend, name, own.ordered_classes, group=group, masks=own.masks)

    def query(images: np.ndarray) -> np.ndarray:
        return model._in_groups("predictions", backend.raw, images)[0]

    model.notes += _check_raw(raw if is_keras else query, name, own)
    return model


def _predicted_expressions(found: np.ndarray, own: OwnModel) -> tuple[np.ndarray, np.ndarray]:
    """Return which classes a model predicts, given its probabilities (N, C), and those of the explained ones.

    With ``extra = "drop"`` one of the explained, whose probabilities are divided by their sum (equal if 0).
    """
    first = found[:, : len(own.explained)]
    if own.extra == "keep":
        return np.array(own.ordered_classes)[found.argmax(axis=1)], first
    sums = first.sum(axis=1, keepdims=True)
    equal = np.full_like(first, 1 / len(own.explained))
    return np.array(own.explained)[first.argmax(axis=1)], np.divide(first, sums, out=equal, where=sums > 0)


def _adapt_keras(name: str, own: OwnModel, model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Let a Keras model take our images, in one graph: to its own outputs, and to the classes in our form."""
    import keras

    # A subclassed model may not know its input before it is called.
    if inputs := getattr(model, "inputs", None):
        if len(inputs) != 1:
            raise ModelError(f"{name} must have one input, images, but has {len(inputs)}.")
        _check_shape(name, own, tuple(inputs[0].shape))
    images = keras.Input((*own.size, 3), name="faces")
    given = _preprocess(images, own)
    if own.layout == "NCHW":
        given = keras.ops.transpose(given, (0, 3, 1, 2))
    try:
        raw = model(given, training=False)
    except Exception as error:
        # Keras raises errors of many kinds where shapes do not fit.
        raise ModelError(f"{name} does not take images as described ({error}).") from error
    outputs = keras.tree.flatten(raw)
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise ModelError(f"{name} must have one output (N, classes), but has {len(outputs)}, of shape {shapes}.")
    raw = keras.ops.cast(outputs[0], "float32")
    found = keras.ops.take(raw, own.used, axis=-1) if len(own.used) < len(own.classes) else raw
    found = keras.ops.softmax(found, axis=-1) if own.output == "logits" else found
    if -1 in own.order:
        # The last place is that of what the model does not know, which has no probability.
        found = keras.ops.concatenate([found, found[:, :1] * 0], axis=-1)
    ordered = keras.ops.take(found, list(own.order), axis=-1)
    return keras.Model(images, raw), keras.Model(images, ordered, name=name)


def _check_raw(query: Callable, name: str, own: OwnModel) -> list[str]:
    """Raise `ModelError` unless a model's own outputs for three images are as `own` says; return notes."""
    noise = np.random.default_rng(0).random((1, *own.size, 3), dtype=np.float32)
    probe = np.concatenate([noise, 1 - noise, np.full_like(noise, 0.5)])
    raw, again = np.asarray(query(probe)), np.asarray(query(probe))
    if raw.shape[1:] != (len(own.classes),):
        raise ModelError(
            f"{name} returned an array of shape {raw.shape}, but 'classes' names {len(own.classes)} "
            f"({', '.join(own.classes)}): name all outputs in their order, those beyond the six as neutral, "
            f"contempt or other, and what is no class (valence, arousal) as {_NOT_A_CLASS!r}."
        )
    notes = []
    raw, again = raw[:, own.used], again[:, own.used]
    finite = np.isfinite(raw).all(axis=1)
    if finite[:2].all() and not finite[2]:
        notes.append(
            "it predicts NaN for an image of one colour, as models do that normalise each image by itself: "
            "explanations that hide all of a face cannot be made"
        )
        raw, again = raw[:2], again[:2]
    elif not finite.all():
        raise ModelError(
            f"{name} returned NaN or infinity. Is 'preprocessing' ({own.preprocessing!r}) what it was "
            "trained with, and is the file whole?"
        )
    if not np.allclose(raw, again, rtol=1e-3, atol=1e-4):
        raise ModelError(
            f"{name} predicts differently each time it is given the same images (by up to "
            f"{np.nanmax(np.abs(raw - again)):.3g}): is dropout or random augmentation left on? Switch it off; "
            "explanations of a random model are not reproducible."
        )
    if np.abs(raw - raw[0]).max() <= 1e-6 * max(1, np.abs(raw).max()):
        notes.append(
            "it predicts the same for three quite different images: is 'preprocessing' "
            f"({own.preprocessing!r}) what it was trained with?"
        )
    sums = raw.sum(axis=1)
    is_probable = raw.min() >= -1e-3 and np.abs(sums - 1).max() <= _TOLERANCE
    worst = sums[np.abs(sums - 1).argmax()]
    seen = f"one row sums to {worst:.6g}, and all lie in [{raw.min():.6g}, {raw.max():.6g}]"
    if raw.min() >= 0 and not is_probable and np.ptp(sums) <= _TOLERANCE * sums.mean():
        raise ModelError(
            f"{name} returned no probabilities, but numbers that sum to {sums.mean():.6g} in each row (percentages?). "
            f"Divide them by it in a function around the model: lambda images: model(images) / {sums.mean():.6g}"
        )
    if own.output == "probabilities" and not is_probable:
        raise ModelError(
            f"{name} returned no probabilities: {seen}. If these are logits, say output = 'logits'; outputs "
            "of independent sigmoids must be brought to sum to 1 in a function around the model."
        )
    if own.output == "logits" and is_probable:
        raise ModelError(
            f"{name} returned probabilities already ({seen}), to which output = 'logits' would apply a "
            "second softmax. Say output = 'probabilities'."
        )
    missing = [expression for expression in own.explained if expression not in own.classes]
    if missing:
        notes.append(f"it does not know {', '.join(missing)}, which it never predicts")
    return notes


def _check_shape(name: str, own: OwnModel, wanted: tuple[Any, ...]) -> None:
    """Raise `ModelError` unless images as `own` describes them fit an input; what is no int in it is free."""
    given = (own.channel_count, *own.size) if own.layout == "NCHW" else (*own.size, own.channel_count)
    if len(wanted) == 4 and all(
        not isinstance(want, int) or want == have for want, have in zip(wanted[1:], given, strict=True)
    ):
        return
    raise ModelError(
        f"{name} takes images of shape {wanted[1:]}, but its settings (side = {own.side}, channels = "
        f"{own.channels!r}, layout = {own.layout!r}) give it {given}. Correct them."
    )


def _check_single(what: str, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    inputs, outputs = list(inputs), list(outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{what} must have one input and one output, but has the inputs {', '.join(inputs)} and the "
            f"outputs {', '.join(outputs)}. Export it with one of each."
        )


def _check_download(name: str, path: Path) -> None:
    """Raise where a download that failed left nothing, a web page or a pointer of Git LFS in place of a model."""
    with open(path, "rb") as file:
        first = file.read(40)
    if not first or first.startswith((b"<", b"version https://git-lfs")):
        raise ModelError(
            f"{name}: {path} is no model: it has {path.stat().st_size} bytes and begins with {first!r}, as a web page "
            "or a pointer of Git LFS does. Download or copy it again."
        )


def _open_keras(name: str, path: Path) -> Any:
    _check_download(name, path)
    try:
        return saving.load(path)
    except ModelError as error:
        reason = str(error.__cause__)
        if "Lambda" in reason and ("arbitrary code" in reason or "passed to Lambda" in reason):
            advice = (
                "It has a Lambda layer, which holds Python code, and code in files is never run. Save the model "
                "with a layer that does the same (keras.layers.Rescaling ...), or load it in your own code and "
                "give it as 'call'."
            )
        else:
            # Keras quotes whole configurations, and says the reason at the end.
            advice = (
                f"({reason if len(reason) < 300 else f'... {reason[-300:]}'}) A file of Keras 2 that Keras 3 cannot "
                "read can be saved as a SavedModel by the Keras that wrote it, model.export('folder'); give the "
                "folder as 'path'."
            )
        raise ModelError(f"{name}: {path} cannot be loaded as a Keras model. {advice}") from error


def _open_saved_model(name: str, own: OwnModel, folder: Path) -> tuple[Callable, int]:
    """Return the function in a SavedModel, and the batch size that it takes."""
    start_tensorflow()
    import tensorflow as tf

    if not (folder / "saved_model.pb").is_file():
        raise ModelError(
            f"{name}: {folder} is no model that can be read. Read are Keras files (.keras, .h5), ONNX files "
            "(.onnx) and folders with a TensorFlow SavedModel (saved_model.pb). A torch file is loaded by "
            "your own code: give its module to load_model, or to a settings file as call = 'my_code.py:module'; or "
            "export it to ONNX by torch.onnx.export."
        )
    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:
        raise ModelError(f"{name}: {folder} cannot be loaded as a SavedModel ({error}).") from error
    names = sorted(loaded.signatures)
    if "serving_default" not in names and len(names) != 1:
        raise ModelError(
            f"{name}: {folder} must have a signature 'serving_default', or only one, but has "
            f"{', '.join(names) or 'none'}. Save it with model.export(folder) or name it in "
            "tf.saved_model.save(..., signatures=...)."
        )
    chosen = "serving_default" if "serving_default" in names else names[0]
    signature = loaded.signatures[chosen]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    _check_single(f"{name}: the signature of {folder}", inputs, outputs)
    ((argument, image),), (key,) = inputs.items(), outputs

    def query(images: np.ndarray) -> np.ndarray:
        # A signature lives no longer than what it belongs to.
        return loaded.signatures[chosen](**{argument: tf.constant(images)})[key].numpy()

    shape = None if image.shape.rank is None else tuple(image.shape)
    return _typed(name, own, query, image.dtype.as_numpy_dtype, shape)


def _open_onnx(name: str, own: OwnModel, path: Path) -> tuple[Callable, int]:
    """Return the function in an ONNX file, and the batch size that it takes."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            f"{name} is an ONNX file, and onnxruntime is not installed: pip install 'ekman_expressions[onnx]'."
        ) from error
    _check_download(name, path)
    found = onnxruntime.get_available_providers()
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in found]
    try:
        session = onnxruntime.InferenceSession(path, providers=wanted)
    except Exception as error:
        # The errors of onnxruntime have no base class but this.
        raise ModelError(f"{name}: {path} cannot be loaded as an ONNX model ({error}).") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    _check_single(f"{name}: {path}", *([item.name for item in ends] for ends in (inputs, outputs)))
    (image,), (out,) = inputs, outputs
    if image.type not in _ONNX_TYPES:
        raise ModelError(f"{name}: {path} takes {image.type}, but must take images, one of {', '.join(_ONNX_TYPES)}.")

    def query(images: np.ndarray) -> np.ndarray:
        return session.run([out.name], {image.name: images})[0]

    return _typed(name, own, query, _ONNX_TYPES[image.type], tuple(image.shape))


def _typed(name: str, own: OwnModel, query: Callable, kind: Any, shape: tuple | None) -> tuple[Callable, int]:
    """Return `query`, given images of the type of its input, and the batch size of its input's `shape`."""
    is_whole = np.issubdtype(kind, np.integer)
    if is_whole and (own.preprocessing != "255" or own.mean or own.std):
        raise ModelError(
            f"{name} takes whole numbers, but preprocessing = {own.preprocessing!r} (mean {list(own.mean)}, "
            f"std {list(own.std)}) gives it fractions. Say preprocessing = '255', and leave out mean and std."
        )
    if shape is not None:
        _check_shape(name, own, shape)
    group = shape[0] if shape and isinstance(shape[0], int) else GROUP
    return lambda images: query((np.rint(images) if is_whole else images).astype(kind)), group


def _run_file(path: Path) -> Any:
    """Import a file as a script runs: by its name, with its folder first where imports are looked for."""
    before, usual = dict(sys.modules), sys.path[:]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look for it.
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = usual
        # A neighbour of the same name beside another file must not be taken for this one.
        for name in set(sys.modules) - set(before) - {path.stem}:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).parent == path.parent:
                del sys.modules[name]
        sys.modules[path.stem] = before.get(path.stem, module)
    return module


def _import(place: str) -> Callable:
    """Return a function by ``"package.module:function"`` or ``"file.py:function"``; runs that code."""
    module_name, _, function = place.rpartition(":")
    is_file, path = module_name.endswith(".py"), Path(module_name).resolve()
    if is_file and not path.is_file():
        raise MissingError(f"There is no file {module_name}, which 'call' = {place!r} names.")
    try:
        module = _run_file(path) if is_file else importlib.import_module(module_name)
        found = getattr(module, function)
    except Exception as error:
        # The user's code may raise anything.
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(f"'call' = {place!r} cannot be imported ({reason}).") from error
    if not callable(found):
        raise ModelError(f"'call' = {place!r} is no function, but {type(found).__name__}.")
    return found
