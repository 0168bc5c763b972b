"""One function in all the forms in which users bring models: from mean colours to six or more classes.

In its own form an image's features are the means of its channels over the upper left quarter; a
matrix makes logits of them, and a softmax, unless left out, probabilities.
"""

import numpy as np
from scipy import special

from ekman_expressions import OwnModel, load_model
from ekman_expressions.core.expressions import EXPRESSIONS

SIDE = 16

# As FER2013, AffectNet and FER+ order them.
FER2013 = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
AFFECTNET = ["Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt"]
FERPLUS = ["neutral", "joy", "SU", "sad", "AN", "DI", "afraid", "contempt", "other", "Other"]


def own(**changes):
    return OwnModel(**({"call": uniform, "version": "1", "side": SIDE, "classes": EXPRESSIONS} | changes))


def uniform(images):
    return np.full((len(images), 6), 1 / 6)


def load(source=uniform, **changes):
    return load_model(source, **{"classes": EXPRESSIONS, "side": SIDE} | changes)


def weights(classes, channels=3, seed=0):
    """A matrix (channels, classes) that makes the classes' answers differ."""
    return np.random.default_rng(seed).normal(0, 2, (channels, classes)).astype(np.float32)


def function(matrix, *, softmax=True, layout="NHWC"):
    """The function in NumPy, for images in the model's own form."""

    def answer(images):
        images = images if layout == "NHWC" else images.transpose(0, 2, 3, 1)
        height, width = images.shape[1:3]
        logits = images[:, : height // 2, : width // 2].mean(axis=(1, 2)) @ matrix
        return special.softmax(logits, axis=1) if softmax else logits

    return answer


def chain(shape, *layers):
    """A Keras model of layers one after the other; `shape` may be the side of square images."""
    import keras

    return keras.Sequential([keras.Input((shape, shape, 3) if isinstance(shape, int) else shape), *layers])


def keras_model(matrix, *, softmax=True, layout="NHWC", side=SIDE):
    """The same as a Keras model; `side` may be height and width."""
    import keras

    channels, classes = matrix.shape
    height, width = np.broadcast_to(side, 2).tolist()
    shape = (height, width, channels) if layout == "NHWC" else (channels, height, width)
    images = given = keras.Input(shape)
    if layout == "NCHW":
        given = keras.layers.Permute((2, 3, 1))(given)
    given = keras.layers.Cropping2D(((0, height - height // 2), (0, width - width // 2)))(given)
    given = keras.layers.GlobalAveragePooling2D()(given)
    activation = "softmax" if softmax else None
    dense = keras.layers.Dense(classes, activation=activation, use_bias=False)
    model = keras.Model(images, dense(given))
    dense.set_weights([matrix])
    return model


def write_onnx(path, matrix, *, softmax=True, layout="NHWC", side=SIDE, batch="N", kind="float", outputs=1, ir=9):
    """The same as an ONNX file; before IR 4, its constants are among its inputs."""
    import onnx
    from onnx import helper, numpy_helper

    shape = [side, side, len(matrix)] if layout == "NHWC" else [len(matrix), side, side]
    names = ["odds" if softmax else "logits", "means"][:outputs]
    found = ", ".join(f"float[{batch}, M] {name}" for name in names)
    model = onnx.parser.parse_model(
        f"""<ir_version: {ir}, opset_import: ["": 18]>
        made ({kind}[{batch}, {", ".join(map(str, shape))}] images) => ({found}) {{
            floats = Cast <to = 1> (images)
            corner = Slice (floats, starts, ends, axes)
            means = ReduceMean <keepdims = 0> (corner, axes)
            logits = MatMul (means, matrix)
            {"odds = Softmax <axis = 1> (logits)" if softmax else ""}
        }}"""
    )
    axes = np.array([1, 2] if layout == "NHWC" else [2, 3])
    constants = dict(starts=np.array([0, 0]), ends=np.array([side // 2] * 2), axes=axes, matrix=matrix)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
        if ir < 4:
            constant = helper.np_dtype_to_tensor_dtype(value.dtype)
            model.graph.input.append(helper.make_tensor_value_info(name, constant, value.shape))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_saved_model(path, matrix, *, softmax=True, layout="NHWC", side=SIDE, kind="float32", signatures=1):
    """The same as a SavedModel without Keras."""
    import tensorflow as tf

    channels = len(matrix)
    shape = (None, side, side, channels) if layout == "NHWC" else (None, channels, side, side)

    class Made(tf.Module):
        def __init__(self):
            self.matrix = tf.Variable(matrix)

        @tf.function(input_signature=[tf.TensorSpec(shape, kind, name="images")])
        def __call__(self, images):
            if layout == "NCHW":
                images = tf.transpose(images, (0, 2, 3, 1))
            corner = images[:, : side // 2, : side // 2]
            logits = tf.reduce_mean(tf.cast(corner, tf.float32), (1, 2)) @ self.matrix
            return {"answer": tf.nn.softmax(logits) if softmax else logits}

    made = Made()
    names = {0: (), 1: ("serving_default",), 2: ("first", "second")}[signatures]
    tf.saved_model.save(made, path, signatures={name: made.__call__ for name in names})
