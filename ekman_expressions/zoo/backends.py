"""How Keras models and plain functions compute what a `Model` offers.

Each has `predict`, from a batch of images to predictions; `hider` and `masker`, which return functions from
samples (n, S) or masks (n, H, W) to predictions; and where it has gradients, `gradients`, which
returns predictions and gradients at the images, and `features`: predictions, a layer's output (n, h, w, c),
and the gradients there.
"""

from __future__ import annotations

import contextlib
import operator
import random
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

from ekman_expressions.core.errors import EkmanExpressionsError, ModelError, SettingsError
from ekman_expressions.core.runtime import silent_stderr
from ekman_expressions.zoo.own_settings import OwnModel, _prepare

# Probabilities below this count as this in a logarithm.
_SMALLEST = 1e-30

_NO_SOFTMAX = "the model does not end in a softmax that can be seen, so logarithms of predictions are its logits"


def _is_a(thing: Any, kind: str) -> bool:
    """Whether something is of a class (``keras.Model``), without importing its library, which is slow."""
    library, _, name = kind.partition(".")
    return library in sys.modules and isinstance(thing, operator.attrgetter(name)(sys.modules[library]))


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error, Python's, TensorFlow's or torch's, means that memory is too short."""
    return (
        isinstance(error, MemoryError)
        or _is_a(error, "tensorflow.errors.ResourceExhaustedError")
        or _is_a(error, "torch.OutOfMemoryError")
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


@contextlib.contextmanager
def _failures(shape: tuple[int, ...]) -> Iterator[None]:
    """Turn whatever a user's code or a library raises into a `ModelError`, so that other models go on."""
    try:
        yield
    except Exception as error:
        if isinstance(error, EkmanExpressionsError) or _is_out_of_memory(error):
            raise
        raise ModelError(
            f"The model failed on float32 images of shape {shape} ({type(error).__name__}: {error})."
        ) from error


@contextlib.contextmanager
def _replaced(thing: Any, name: str, value: Any) -> Iterator[None]:
    """Let an attribute have another value within the block."""
    usual = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, usual)


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return softmax(logits, axis=-1)


class _FunctionBackend:
    """Any function from images, as `own` has them, to outputs (N, C), probabilities or logits."""

    has_gradients = False

    def __init__(self, model: Any, output: str, own: OwnModel | None = None) -> None:
        self.model, self.output, self.own = model, output, own
        self.side = own.size if own else None
        self.notes: list[str] = []

    def raw(self, images: np.ndarray) -> np.ndarray:
        given = _prepare(images, self.own) if self.own else images
        with _failures(given.shape):
            found = self.model(given)
            array = np.asarray(None if isinstance(found, (tuple, Mapping)) else found)
        if array.dtype.kind not in "fiu":
            raise ModelError(
                "The model must return one array of numbers (N, classes), but returned "
                f"{getattr(found, 'dtype', type(found).__name__)}. Choose it in a function around the model: "
                "lambda images: model(images)[0]"
            )
        return array.astype(np.float32)

    def predict(self, images: np.ndarray) -> np.ndarray:
        found = self.raw(images)
        found = found[:, self.own.used] if self.own else found
        found = _softmax(found) if self.output == "logits" else found
        # Place -1, of what the model does not know, is that of a class without probability.
        return np.pad(found, ((0, 0), (0, 1)))[:, self.own.order] if self.own else found

    def hider(self, image: np.ndarray, segments: np.ndarray, behind: np.ndarray) -> Callable:
        return lambda samples: self.predict(np.where(samples.take(segments, axis=1)[..., None], image, behind))

    def masker(self, image: np.ndarray, behind: np.ndarray) -> Callable:
        return lambda masks: self.predict(behind + masks[..., None] * (image - behind))


class _KerasBackend:
    """A Keras model (N, H, W, 3) to (N, C), in compiled functions that hide and mask on the device."""

    has_gradients = True
    # Compiled functions by model, so that all faces of one size share one; gone with the model, to which
    # they hold no strong reference.
    _compiled: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()

    def __init__(self, model: Any, precision: str, output: str) -> None:
        self.model, self.precision, self.output = model, precision, output
        self.notes: list[str] = []
        shape = getattr(model, "input_shape", None)
        known = isinstance(shape, tuple) and len(shape) == 4
        self.side = tuple(shape[1:3]) if known and any(shape[1:3]) else None
        if known and shape[3] not in (None, 3):
            raise ModelError(
                f"The model {model.name!r} takes images of shape {shape[1:]}, but must take RGB (H, W, 3). "
                "Adapt it by load_model(model, channels='gray' ...)."
            )

    def predict(self, images: np.ndarray) -> np.ndarray:
        with silent_stderr(), _failures(images.shape):
            found = np.asarray(self._network()().predict_on_batch(images), np.float32)
        return _softmax(found) if self.output == "logits" else found

    def hider(self, image: np.ndarray, segments: np.ndarray, behind: np.ndarray) -> Callable:
        import tensorflow as tf

        shape = image.shape

        def hidden(samples: Any, image: Any, behind: Any, segments: Any) -> Any:
            # Rows are gathered, then transposed: much faster than gathering single bits. And all is flat,
            # since choosing between arrays that are repeated along two axes takes three times as long.
            places = tf.repeat(tf.reshape(segments, [-1]), shape[2])
            kept = tf.transpose(tf.gather(tf.transpose(samples), places))
            masked = tf.where(kept, tf.reshape(image, [-1]), tf.reshape(behind, [-1]))
            return tf.reshape(masked, (-1, *shape))

        # Open sizes are not traced again: the numbers of superpixels and of copies in a call.
        return self._queried(hidden, (None, None), bool, image, behind, segments.astype(np.int32))

    def masker(self, image: np.ndarray, behind: np.ndarray) -> Callable:
        def masked(masks: Any, image: Any, behind: Any) -> Any:
            return behind + masks[..., None] * (image - behind)

        return self._queried(masked, (None, *image.shape[:2]), np.float32, image, behind)

    def _queried(self, change: Callable, shape: tuple, kind: type, *fixed: np.ndarray) -> Callable:
        """Return a function from samples to predictions for what `change` makes of them and what is fixed."""
        import tensorflow as tf

        def build() -> Callable:
            network, is_logits = self._network(), self.output == "logits"

            def run(samples: Any, *fixed: Any) -> Any:
                found = _keras_outputs(network(), change(samples, *fixed))
                return tf.nn.softmax(found) if is_logits else found

            specs = [tf.TensorSpec(part.shape, part.dtype) for part in fixed]
            return _traced(run, tf.TensorSpec(shape, kind), *specs)

        run = self._once((change.__name__, fixed[0].shape, self.precision), build)
        # To the device once, not with every call.
        kept = [tf.constant(part) for part in fixed]

        def call(samples: np.ndarray) -> np.ndarray:
            with silent_stderr():
                return run(tf.constant(samples), *kept).numpy()

        return call

    def gradients(self, images: np.ndarray, target: int, score: str) -> tuple[np.ndarray, ...]:
        found, _, gradients = self._derived(images, target, score, None)
        return found, gradients

    def features(self, images: np.ndarray, target: int, layer: str, score: str) -> tuple[np.ndarray, ...]:
        chosen = _keras_layer(self.model, layer)
        found, *both = self._derived(images, target, score, chosen)
        if getattr(chosen, "data_format", "channels_last") == "channels_first":
            both = [part.transpose(0, 2, 3, 1) for part in both]
        return found, *both

    def _derived(self, images: np.ndarray, target: int, score: str, layer: Any) -> list[np.ndarray]:
        """Return predictions, the output of a layer, or without one the images, and the gradients there."""
        if score == "logit" and self.output != "logits" and _final_softmax(self.model) is None:
            _say(self, _NO_SOFTMAX)

        def build() -> Callable:
            import tensorflow as tf

            layer_of = layer and weakref.ref(layer)
            run = _keras_gradients(weakref.ref(self.model), layer_of, self.output, score)
            return _traced(run, tf.TensorSpec(shape), tf.TensorSpec((), tf.int32))

        # Any number of images, since tracing takes seconds; layers of two nested models may share a name.
        shape = images.shape if layer else (None, *images.shape[1:])
        run = self._once(("gradients", shape, id(layer), score), build)
        with silent_stderr():
            return [part.numpy() for part in run(images, np.int32(target))]

    def _once(self, key: Any, build: Callable) -> Any:
        functions = self._compiled.setdefault(self.model, {})
        key = (key, self.output)
        if key not in functions:
            functions[key] = build()
        return functions[key]

    def _network(self) -> Callable[[], Any]:
        """Return what gives the network in the wanted precision."""
        if self.precision == "float32":
            return weakref.ref(self.model)
        copy = self._once(("copy", self.precision), lambda: _in_precision(self.model, self.precision))
        return lambda: copy


def _say(backend: Any, note: str) -> None:
    if note not in backend.notes:
        backend.notes.append(note)


def _not_differentiable(where: str) -> ModelError:
    return ModelError(f"The predictions do not depend on {where} by differentiable steps.")


def _keras_outputs(model: Any, images: Any) -> Any:
    import tensorflow as tf

    found = model(images, training=False)
    if not tf.is_tensor(found) or found.shape.rank != 2:
        received = found.shape if tf.is_tensor(found) else type(found).__name__
        raise ModelError(f"The model must return one array (N, classes), but returned {received}.")
    return tf.cast(found, tf.float32)


def _final_softmax(model: Any) -> Any:
    """Return the layer or operation whose softmax makes a Keras model's predictions, or None."""
    import keras

    operations = _output_operations(model)
    operation = operations[0] if len(operations) == 1 else None
    while operation is not None:
        if getattr(operation, "layers", None):
            return _final_softmax(operation)
        kind = type(operation).__name__
        if kind == "Softmax" or getattr(operation, "activation", None) is keras.activations.softmax:
            return operation
        # What adapts another's model: its classes in another order.
        if kind not in ("Take", "Cast", "GetItem"):
            return None
        operation = operation.input._keras_history.operation
    return None


def _keras_gradients(network: Callable, layer: Callable | None, output: str, score: str) -> Callable:
    """Return a function from images and the class to predictions (n, C), what the layer (a weak reference,
    as the network) gives, without one the images, and the gradients of the class' score there.
    """
    import tensorflow as tf

    def scored(model: Any, images: Any, target: Any) -> tuple[Any, Any]:
        last = _final_softmax(model) if score == "logit" and output != "logits" else None
        if last is None:
            raw = _keras_outputs(model, images)
        else:
            name = "activation" if hasattr(last, "activation") else "call"
            with _replaced(last, name, lambda x, **options: x):
                raw = _keras_outputs(model, images)
        is_logits = output == "logits" or last is not None
        found = tf.nn.softmax(raw) if is_logits else raw
        if score == "probability":
            value = found
        elif score == "logit" and is_logits:
            value = raw
        else:
            logarithms = tf.math.log(tf.maximum(found, _SMALLEST))
            value = logarithms - tf.reduce_mean(logarithms, axis=1, keepdims=True)
        # An index out of range would be an error on the CPU; `Model` reports it in our words instead.
        target = tf.clip_by_value(target, 0, tf.shape(found)[1] - 1)
        return found, tf.reduce_sum(tf.gather(value, target, axis=1))

    def run(images: Any, target: Any) -> Any:
        model, chosen, seen = network(), layer and layer(), []
        where = f"the layer {chosen.name!r}" if layer else "its input"

        def watch(given: Any) -> Any:
            tape.watch(given)
            seen.append(given)
            return given

        with tf.GradientTape() as tape:
            if layer is None:
                found, value = scored(model, watch(images), target)
            else:
                # It may lie inside a nested model, whose graph has no tensor of it to ask for.
                usual = chosen.call
                with _replaced(chosen, "call", lambda *given, **options: watch(usual(*given, **options))):
                    found, value = scored(model, images, target)
        if len(seen) != 1:
            others = [other.name for other in _flat_layers(model) if _is_spatial(other)]
            raise ModelError(
                f"The layer {chosen.name!r} runs {len(seen)} times (a shared branch?), but must run once. "
                f"Name another with the option 'layer' (in space: {', '.join(others)}), or use an explainer "
                "that needs no layer, such as 'integrated_gradients' or 'lime'."
            )
        gradient = tape.gradient(value, seen[0])
        if gradient is None:
            raise _not_differentiable(where)
        return found, seen[0], gradient

    return run


def _traced(function: Callable, *inputs: tf.TensorSpec) -> Callable:
    """Compile a function of tensors."""
    import tensorflow as tf

    # While it traces, TensorFlow notes on standard error which types oneDNN leaves to it. Traced by name,
    # not by a first call: after five first calls (of five models) TensorFlow would warn of retracing.
    with silent_stderr():
        return tf.function(function, input_signature=inputs, autograph=False).get_concrete_function()


def _in_precision(model: Any, precision: str) -> Any:
    """Copy a sequential or functional Keras model to compute in half precision, but for its last layers.

    Weights stay float32 and are rounded as they are used.
    """
    import keras

    last = {id(operation) for operation in _output_operations(model)}

    def lowered(layer: Any) -> Any:
        copy = type(layer).from_config(layer.get_config())
        if id(layer) not in last:
            copy.dtype_policy = keras.DTypePolicy(f"mixed_{precision}")
        return copy

    try:
        clone = keras.models.clone_model(model, clone_function=lowered, recursive=True)
        clone.set_weights(model.get_weights())
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"The model cannot be copied to compute in {precision} ({error}). Use precision = 'float32'."
        ) from error
    return clone


def _keras_layer(model: Any, name: str) -> Any:
    """Return the layer of a name; without one, the last with features in space, at or after a convolution."""
    layers = list(_flat_layers(model))
    spatial = {layer.name: layer for layer in layers if _is_spatial(layer)}
    if name and name not in spatial:
        raise SettingsError(
            f"The model {model.name!r} has no layer {name!r} with features in space. It has {', '.join(spatial)}."
        )
    if name:
        return spatial[name]
    convolutions = [place for place, layer in enumerate(layers) if "Conv" in type(layer).__name__]
    behind = layers[convolutions[0] :] if convolutions else []
    found = [layer for layer in behind if _is_spatial(layer) and _makes_features(layer)]
    if not found:
        raise _no_convolution(model.name)
    return found[-1]


def _makes_features(layer: Any) -> bool:
    """Whether a layer or module does more than gather, drop or move what a convolution found."""
    no = ("Pool", "Drop", "Cropping", "Pad", "Reshape", "Permute", "Sampl", "Resizing", "Identity")
    return not any(part in type(layer).__name__ for part in no)


def _no_convolution(name: str) -> ModelError:
    return ModelError(
        f"Grad-CAM needs a model with a convolutional layer whose output it can see, but {name!r} shows "
        "none. Name the layer with the option 'layer', or use another explainer."
    )


def _flat_layers(model: Any) -> Iterator[Any]:
    """Yield the layers in the order in which they run, nested models' too."""
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from _flat_layers(layer)
        else:
            yield layer


def _is_spatial(layer: Any) -> bool:
    try:
        shape = getattr(layer.output, "shape", ())
    except (AttributeError, ValueError):
        return False  # Never connected, or connected more than once.
    if len(shape) != 4:
        return False
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return all(side is None or side > 1 for side in (shape[2:] if first else shape[1:3]))


# What follows is all that this package uses of Keras beyond its public interface; tests/test_train.py notices a change.


def _output_operations(model: Any) -> list[Any]:
    """Return the layers or operations that make a functional model's outputs."""
    return [output._keras_history.operation for output in getattr(model, "outputs", None) or []]


@contextlib.contextmanager
def _keras_seeded(seed: int) -> Iterator[None]:
    """Let layers made within the block draw their seeds from `seed`, in [0, 2**32), alone: Keras takes them
    from Python's global generator, as do other threads.
    """
    import keras
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(seed)
    # The numbers that the global one would give if nobody else drew from it.
    with _replaced(seed_generator, "python_random", random.Random(seed)):
        yield


def _given_seed(seed: tf.Tensor) -> keras.random.SeedGenerator:
    """Return a seed generator that counts from a given seed, without a variable."""
    import keras
    import tensorflow as tf

    class GivenSeed(keras.random.SeedGenerator):
        def __init__(self) -> None:
            self.draws = 0

        def next(self, ordered: bool = True) -> tf.Tensor:
            self.draws += 1
            return tf.stack([seed, tf.constant(self.draws, seed.dtype)])

    return GivenSeed()


def _fused_adam() -> type[keras.optimizers.Adam]:
    """Return an Adam that updates each weight where it lies, in one pass and without copies.

    Kingma & Ba (2015), arXiv 1412.6980: in the order of its section 2, as in Keras and TensorFlow.
    """
    import keras
    import tensorflow as tf

    # Of one step, the same for all weights: made for each, EfficientNetV2B0 is traced in 20 s, not 12 s.
    shared: dict[str, Any] = {}

    class Adam(keras.optimizers.Adam):
        # Keras makes up to five temporary arrays of a weight's size for each update, SilNet's of
        # 0.7 GB each; the kernel of TensorFlow makes none.
        def apply(self, grads: list[tf.Tensor], trainable_variables: list[Any] | None = None) -> Any:
            # A weight that backpropagation still has to read would be copied before its update.
            with tf.control_dependencies(grads):
                step = tf.cast(self.iterations + 1, tf.float32)
                for name, beta in (("beta1", tf.constant(self.beta_1)), ("beta2", tf.constant(self.beta_2))):
                    shared[name], shared[f"{name}_power"] = beta, beta**step
                shared["epsilon"] = tf.constant(self.epsilon)
                return super().apply(grads, trainable_variables)

        def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: Any) -> None:
            place = self._get_variable_index(variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[place].value.handle,
                v=self._velocities[place].value.handle,
                lr=learning_rate,
                grad=gradient,
                **shared,
            )

    return Adam
