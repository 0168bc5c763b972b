"""How Keras models and plain functions compute what a `Model` offers.

Each has `predict`, from a batch of images to predictions; `hider` and `masker`, which return functions from
samples (n, S) or masks (n, H, W) to predictions; and where it has gradients, `gradients`, which
returns predictions and gradients at the images, and `features`: predictions, a layer's output (n, h, w, c),
and the gradients there.
"""

from __future__ import annotations

import contextlib
import random
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

from ekman_expressions.core.errors import EkmanExpressionsError, ModelError, SettingsError
from ekman_expressions.core.runtime import silent_stderr

# Probabilities below this count as this in a logarithm.
_SMALLEST = 1e-30
# Layers that only gather, drop or move what a convolution found.
_NO_FEATURES = ("Pool", "Drop", "Cropping", "Pad", "Reshape", "Permute", "Sampl", "Resizing", "Identity")


def _is_keras(model: Any) -> bool:
    """Whether a model is a Keras model, without importing Keras, which takes seconds."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.Model)


def _is_torch(model: Any) -> bool:
    """Whether a model is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error, Python's, TensorFlow's or torch's, means that memory is too short."""
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")
    return (
        isinstance(error, MemoryError)
        or (tensorflow is not None and isinstance(error, tensorflow.errors.ResourceExhaustedError))
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or (torch is not None and isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


@contextlib.contextmanager
def _failures(shape: tuple[int, ...]) -> Iterator[None]:
    """Turn whatever a user's code or a library raises into a `ModelError`, so that other models go on."""
    try:
        yield
    except EkmanExpressionsError:
        raise
    except Exception as error:
        if _is_out_of_memory(error):
            raise
        raise ModelError(
            f"The model failed on float32 images of shape {shape} ({type(error).__name__}: {error})."
        ) from error


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return softmax(logits, axis=-1)


class _FunctionBackend:
    """Any function from images, as `prepare` makes them, to outputs (N, C): `used` are classes, in the wanted
    `order` (-1: not known, its probability is 0); `output` says whether they are probabilities or logits.
    """

    has_gradients = False
    # Replaced by the list of the `Model` that it belongs to.
    notes: Sequence[str] = ()
    used: list[int] | None = None

    def __init__(
        self,
        model: Any,
        output: str = "probabilities",
        side: tuple[int, int] | None = None,
        prepare: Callable | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        self.model, self.output, self.side, self.prepare = model, output, side, prepare
        self.order = None if order is None else list(order)

    def raw(self, images: np.ndarray) -> np.ndarray:
        given = self.prepare(images) if self.prepare else images
        with _failures(given.shape):
            found = self.model(given)
            several = isinstance(found, (tuple, Mapping, type(None)))
            found = found if several else np.asarray(found)
        if several or found.dtype.kind not in "fiu":
            raise ModelError(
                "The model must return one array of numbers (N, classes), but returned "
                f"{type(found).__name__ if several else found.dtype}. Choose it in a function around the model: "
                "lambda images: model(images)[0]"
            )
        return found.astype(np.float32)

    def predict(self, images: np.ndarray) -> np.ndarray:
        found = self.raw(images)
        found = found if self.used is None else found[:, self.used]
        found = _softmax(found) if self.output == "logits" else found
        return found if self.order is None else np.pad(found, ((0, 0), (0, 1)))[:, self._places(found)]

    def _places(self, found: Any) -> list[int]:
        return [place if place >= 0 else found.shape[1] for place in self.order or ()]

    def hider(self, image: np.ndarray, segments: np.ndarray, behind: np.ndarray) -> Callable:
        return lambda samples: self.predict(
            np.where(samples.take(segments, axis=1)[..., None], image, behind)
        )

    def masker(self, image: np.ndarray, behind: np.ndarray) -> Callable:
        return lambda masks: self.predict(behind + masks[..., None] * (image - behind))


class _KerasBackend:
    """A Keras model (N, H, W, 3) to (N, C), in compiled functions that hide and mask on the device."""

    has_gradients = True
    # Compiled functions by model, so that all faces of one size share one; gone with the model.
    _compiled: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()

    def __init__(self, model: Any, precision: str, output: str) -> None:
        self.model, self.precision, self.output = model, precision, output
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
            found = self._network()().predict_on_batch(images)
        if isinstance(found, (list, tuple, dict)):
            raise ModelError(
                f"The model must return one array (N, classes), but returned {type(found).__name__}."
            )
        found = np.asarray(found).astype(np.float32)
        return _softmax(found) if self.output == "logits" else found

    def hider(self, image: np.ndarray, segments: np.ndarray, behind: np.ndarray) -> Callable:
        import tensorflow as tf

        shape = image.shape

        def build() -> Callable:
            forward = self._forward(self._network())

            def run(image: Any, segments: Any, samples: Any, behind: Any) -> Any:
                # Rows are gathered, then transposed: much faster than gathering single bits. And all is
                # flat, since choosing between arrays that are repeated along two axes takes three times
                # as long.
                places = tf.repeat(tf.reshape(segments, [-1]), shape[2])
                kept = tf.transpose(tf.gather(tf.transpose(samples), places))
                masked = tf.where(kept, tf.reshape(image, [-1]), tf.reshape(behind, [-1]))
                return forward(tf.reshape(masked, (-1, *shape)))

            # Open sizes are not traced again: the numbers of superpixels and of copies in a call.
            return _traced(run, shape, (shape[:2], tf.int32), ((None, None), tf.bool), shape)

        run = self._once(("hidden", shape, self.precision), build)
        # To the device once, not with every call.
        image, segments, behind = tf.constant(image), tf.constant(segments, tf.int32), tf.constant(behind)

        def call(samples: np.ndarray) -> np.ndarray:
            with silent_stderr():
                return run(image, segments, tf.constant(samples), behind).numpy()

        return call

    def masker(self, image: np.ndarray, behind: np.ndarray) -> Callable:
        def build() -> Callable:
            forward = self._forward(self._network())

            def run(image: Any, masks: Any, behind: Any) -> Any:
                return forward(behind + masks[..., None] * (image - behind))

            return _traced(run, image.shape, (None, *image.shape[:2]), image.shape)

        run = self._once(("masked", image.shape, self.precision), build)

        def call(masks: np.ndarray) -> np.ndarray:
            with silent_stderr():
                return run(image, masks, behind).numpy()

        return call

    def gradients(self, images: np.ndarray, target: int, score: str) -> tuple[np.ndarray, ...]:
        def build() -> Callable:
            import tensorflow as tf

            forward = _keras_scored(weakref.ref(self.model), self.output, score)

            def run(images: Any, target: Any) -> Any:
                with tf.GradientTape() as tape:
                    tape.watch(images)
                    found, value = forward(images, target)
                gradient = tape.gradient(value, images)
                if gradient is None:
                    raise ModelError("The predictions do not depend on the input by differentiable steps.")
                return found, gradient

            return _traced(run, any_count, ((), tf.int32))

        # Tracing takes seconds, and integrated gradients come in batches of many sizes.
        any_count = (None, *images.shape[1:])
        self._say_if_no_logits(score)
        run = self._once(("gradients", any_count, score), build)
        with silent_stderr():
            return tuple(part.numpy() for part in run(images, np.int32(target)))

    def features(self, images: np.ndarray, target: int, layer: str, score: str) -> tuple[np.ndarray, ...]:
        chosen = _keras_layer(self.model, layer) if layer else _last_keras_features(self.model)

        def build() -> Callable:
            import tensorflow as tf

            forward = _keras_scored(weakref.ref(self.model), self.output, score)
            layer_of = weakref.ref(chosen)

            def run(images: Any, target: Any) -> Any:
                seen: list[Any] = []
                layer = layer_of()
                usual = layer.call

                def call(*inputs: Any, **options: Any) -> Any:
                    output = usual(*inputs, **options)
                    tape.watch(output)
                    seen.append(output)
                    return output

                with tf.GradientTape() as tape:
                    # The layer may lie inside a nested model, whose graph has no tensor of it to ask for.
                    layer.call = call
                    try:
                        found, value = forward(images, target)
                    finally:
                        layer.call = usual
                if len(seen) != 1:
                    others = [other.name for other in _flat_layers(self.model) if _is_spatial(other)]
                    raise ModelError(
                        f"The layer {layer.name!r} runs {len(seen)} times (a shared branch?), but must run once. Name "
                        f"another with the option 'layer' (in space: {', '.join(others)}), or use an explainer that "
                        "needs no layer, such as 'integrated_gradients' or 'lime'."
                    )
                gradient = tape.gradient(value, seen[0])
                if gradient is None:
                    raise ModelError(
                        f"The predictions do not depend on the layer {layer.name!r} by differentiable steps."
                    )
                return found, seen[0], gradient

            return _traced(run, images.shape, ((), tf.int32))

        self._say_if_no_logits(score)
        # By identity: layers of two nested models may share a name.
        run = self._once(("features", images.shape, id(chosen), score), build)
        with silent_stderr():
            found, features, gradients = (part.numpy() for part in run(images, np.int32(target)))
        if getattr(chosen, "data_format", "channels_last") == "channels_first":
            features, gradients = (part.transpose(0, 2, 3, 1) for part in (features, gradients))
        return found, features, gradients

    def _once(self, key: Any, build: Callable) -> Any:
        functions = self._compiled.setdefault(self.model, {})
        key = (key, self.output)
        if key not in functions:
            functions[key] = build()
        return functions[key]

    def _network(self) -> Callable[[], Any]:
        """Return what gives the network in the wanted precision."""
        # A strong reference would keep the model, key of the cache, alive; a copy is the cache's own.
        if self.precision == "float32":
            return weakref.ref(self.model)
        copy = self._once(("copy", self.precision), lambda: _in_precision(self.model, self.precision))
        return lambda: copy

    def _say_if_no_logits(self, score: str) -> None:
        if score == "logit" and self.output != "logits" and _final_softmax(self.model) is None:
            _say(self, _NO_SOFTMAX)

    def _forward(self, network: Callable[[], Any]) -> Callable:
        import tensorflow as tf

        is_logits = self.output == "logits"

        def forward(images: Any) -> Any:
            found = _keras_outputs(network(), images)
            return tf.nn.softmax(found) if is_logits else found

        return forward


def _say(backend: Any, note: str) -> None:
    if note not in backend.notes:
        backend.notes.append(note)


_NO_SOFTMAX = (
    "the model does not end in a softmax that can be seen, so logarithms of predictions are its logits"
)


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


@contextlib.contextmanager
def _without_softmax(operation: Any) -> Iterator[None]:
    """Let a layer or operation pass on, within the block, what it would take the softmax of."""
    name = "activation" if hasattr(operation, "activation") else "call"
    usual = getattr(operation, name)
    setattr(operation, name, lambda x, **options: x)
    try:
        yield
    finally:
        setattr(operation, name, usual)


def _keras_scored(network: Callable[[], Any], output: str, score: str) -> Callable:
    """Return a function from images and the class to predictions (n, C) and the sum of the class' scores."""
    import tensorflow as tf

    def scored(images: Any, target: Any) -> tuple[Any, Any]:
        model = network()
        last = _final_softmax(model) if score == "logit" and output != "logits" else None
        with contextlib.nullcontext() if last is None else _without_softmax(last):
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

    return scored


def _traced(function: Callable, *inputs: Any) -> Callable:
    """Compile a function of tensors, each given by its shape (float32) or by shape and type."""
    import tensorflow as tf

    signature = [
        tf.TensorSpec(*given) if given and isinstance(given[-1], tf.DType) else tf.TensorSpec(given)
        for given in inputs
    ]
    # While it traces, TensorFlow notes on standard error which types oneDNN leaves to it. Traced by name,
    # not by a first call: after five first calls (of five models) TensorFlow would warn of retracing.
    with silent_stderr():
        return tf.function(function, input_signature=signature, autograph=False).get_concrete_function()


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


def _last_keras_features(model: Any) -> Any:
    chosen, convolved = None, False
    for layer in _flat_layers(model):
        kind = type(layer).__name__
        convolved = convolved or "Conv" in kind
        if convolved and _is_spatial(layer) and not any(part in kind for part in _NO_FEATURES):
            chosen = layer
    if chosen is None:
        raise _no_convolution(model.name)
    return chosen


def _no_convolution(name: str) -> ModelError:
    return ModelError(
        f"Grad-CAM needs a model with a convolutional layer whose output it can see, but {name!r} shows "
        "none. Name the layer with the option 'layer', or use another explainer."
    )


def _keras_layer(model: Any, name: str) -> Any:
    layers = {layer.name: layer for layer in _flat_layers(model)}
    spatial = [key for key, layer in layers.items() if _is_spatial(layer)]
    if name not in layers:
        raise SettingsError(
            f"The model {model.name!r} has no layer {name!r}. Its layers with features in space are "
            f"{', '.join(spatial)}."
        )
    if name not in spatial:
        raise SettingsError(f"The layer {name!r} of {model.name!r} has no features in space.")
    return layers[name]


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
    shared = seed_generator.python_random
    # The numbers that the global one would give if nobody else drew from it.
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = shared


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

    # Of one step, the same for all weights: made for each, tracing EfficientNetV2B0 took 3 s longer.
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
