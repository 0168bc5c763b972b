"""Reading models of all kinds: Keras files, SavedModels, ONNX files, and Python functions."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ekman_expressions.core.errors import MissingError, ModelError
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.zoo.asking import GROUP
from ekman_expressions.zoo.own_adapter import Adapter, adapt_keras
from ekman_expressions.zoo.own_checks import check_shape
from ekman_expressions.zoo.own_settings import OwnModel

_ONNX_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


def load(own: OwnModel, name: str, fold: str) -> Any:
    """Read the model of one fold, and bring it into our form.

    Parameters
    ----------
    own : OwnModel
        Where it is, what it takes and answers.
    name : str
        Its name, for messages.
    fold : str
        ``CV1`` ...; matters where there is a model per fold.

    Returns
    -------
    keras.Model or Adapter
        A callable from (N, side, side, 3) float32 RGB images in [0, 1] to (N, C) float32
        probabilities; the six expressions come first, in our order, then `own`'s others.

    Raises
    ------
    MissingError
        If there is no such file, module or function, or onnxruntime is not installed.
    ModelError
        If it cannot be loaded, or is not what `own` says; it is asked about three images.
    """
    source = own.source(fold)
    name = f"{name}_{fold}" if own.per_fold else name
    if own.kind == "call":
        return _adapt(name, own, _import(source) if isinstance(source, str) else source)
    if not source.exists():
        raise MissingError(f"There is no model {source}, the 'path' of {name}.")
    readers = {"keras": _read_keras, "saved_model": _read_saved_model, "onnx": _read_onnx}
    return readers[own.kind](name, own, source)


def _adapt(name: str, own: OwnModel, model: Callable) -> Any:
    # A Keras model cannot exist unless somebody imported Keras, which takes seconds.
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):
        return adapt_keras(name, own, model)
    return Adapter(name, own, model)


def _read_keras(name: str, own: OwnModel, path: Path) -> Any:
    start_tensorflow()
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Depending on what is wrong, Keras, zipfile, h5py or json raise.
        advice = _advice(str(error))
        raise ModelError(f"{name}: {path} cannot be loaded as a Keras model. {advice}") from error
    return adapt_keras(name, own, model)


def _advice(error: str) -> str:
    if "Lambda" in error and "arbitrary code" in error:
        return (
            "It has a Lambda layer, which holds Python code, and code in files is never run. Save the model "
            "with a layer that does the same (keras.layers.Rescaling ...), or load it in your own code and "
            "give it as 'call'."
        )
    if "No model config found" in error:
        return (
            "It holds weights only: build the network in your own code, load them into it, and save it "
            "whole with model.save('my.keras')."
        )
    unknown = re.search(r"Could not locate class '(\w+)'", error)
    if unknown and "tf_keras" not in error:
        return (
            f"Its class {unknown[1]!r} is not known here: register it (keras.saving."
            "register_keras_serializable) in a file.py that loads the model, and give that as 'call'."
        )
    # Keras quotes whole configurations.
    short = error if len(error) < 300 else f"{error[:300]} ..."
    return (
        f"({short}) A file of Keras 2 that Keras 3 cannot read can be saved as a SavedModel by the Keras "
        "that wrote it, model.export('folder'); give the folder as 'path'."
    )


def _read_saved_model(name: str, own: OwnModel, folder: Path) -> Adapter:
    start_tensorflow()
    import tensorflow as tf

    if not (folder / "saved_model.pb").is_file():
        raise ModelError(
            f"{name}: {folder} is no model that can be read. Read are Keras files (.keras, .h5), ONNX files "
            "(.onnx; torch.onnx.export writes them) and folders with a TensorFlow SavedModel "
            "(saved_model.pb). Anything else can be given as a Python function, 'call'."
        )
    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:
        raise ModelError(f"{name}: {folder} cannot be loaded as a SavedModel ({error}).") from error
    signatures = dict(loaded.signatures)
    if "serving_default" not in signatures and len(signatures) != 1:
        raise ModelError(
            f"{name}: {folder} must have a signature 'serving_default', or only one, but has "
            f"{', '.join(sorted(signatures)) or 'none'}. Save it with model.export(folder) or name it in "
            "tf.saved_model.save(..., signatures=...)."
        )
    signature = signatures.get("serving_default") or next(iter(signatures.values()))
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{name}: the signature of {folder} must have one input and one output, but has the inputs "
            f"{', '.join(inputs)} and the outputs {', '.join(outputs)}. Save a signature with one of each."
        )
    ((argument, image),), (answer,) = inputs.items(), outputs
    group = GROUP
    if image.shape.rank is not None:
        check_shape(name, own, tuple(image.shape))
        group = image.shape[0] or GROUP

    def ask(images: np.ndarray) -> np.ndarray:
        return signature(**{argument: tf.cast(images, image.dtype)})[answer].numpy()

    # The signature lives no longer than what it belongs to.
    ask.owner = loaded
    return Adapter(name, own, ask, group)


def _read_onnx(name: str, own: OwnModel, path: Path) -> Adapter:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            f"{name} is an ONNX file, and onnxruntime is not installed: "
            "pip install 'ekman_expressions[onnx]'."
        ) from error
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    available = onnxruntime.get_available_providers()
    try:
        session = onnxruntime.InferenceSession(
            path, providers=[provider for provider in wanted if provider in available]
        )
    except Exception as error:
        # The errors of onnxruntime have no base class but this.
        raise ModelError(f"{name}: {path} cannot be loaded as an ONNX model ({error}).") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{name}: {path} must have one input and one output, but has the inputs "
            f"{', '.join(item.name for item in inputs)} and the outputs "
            f"{', '.join(item.name for item in outputs)}. Export it with one of each."
        )
    (image,), (answer,) = inputs, outputs
    if image.type not in _ONNX_TYPES:
        raise ModelError(
            f"{name}: {path} takes {image.type}, but must take images, one of {', '.join(_ONNX_TYPES)}."
        )
    kind = _ONNX_TYPES[image.type]
    check_shape(name, own, tuple(image.shape))
    group = image.shape[0] if isinstance(image.shape[0], int) else GROUP

    def ask(images: np.ndarray) -> np.ndarray:
        images = np.rint(images) if kind is np.uint8 else images
        return session.run([answer.name], {image.name: images.astype(kind)})[0]

    return Adapter(name, own, ask, group)


def _import(place: str) -> Callable:
    """Return a function by ``"package.module:function"`` or ``"file.py:function"``; runs that code."""
    module_name, _, function = place.rpartition(":")
    try:
        if module_name.endswith(".py"):
            if not Path(module_name).is_file():
                raise MissingError(f"There is no file {module_name}, which 'call' = {place!r} names.")
            spec = importlib.util.spec_from_file_location(Path(module_name).stem, module_name)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(module_name)
        found = getattr(module, function)
    except MissingError:
        raise
    except Exception as error:
        # The user's code may raise anything.
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(f"'call' = {place!r} cannot be imported ({reason}).") from error
    if not callable(found):
        raise ModelError(f"'call' = {place!r} is no function, but {type(found).__name__}.")
    return found
