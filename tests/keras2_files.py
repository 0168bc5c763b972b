"""Weights files as Keras 2 writes them, for the tests of reading them."""

import numpy as np


def scratch_layers(name):
    """The layers of the four networks, by their published description, written for Keras 2."""
    from tf_keras import layers

    def conv(filters, size, stride=1):
        return layers.Conv2D(filters, size, stride, padding="same", activation="relu")

    def pool(size, stride):
        return layers.MaxPooling2D(size, stride, padding="same")

    def dense(units):
        return layers.Dense(units, activation="relu")

    return {
        "WeiNet": lambda: [
            conv(32, 7), pool(2, 1), conv(32, 7), pool(2, 1), conv(64, 7), pool(2, 1), layers.Flatten(),
        ],
        "SongNet": lambda: [
            conv(64, 5), pool(3, 2), conv(64, 5), pool(3, 2), conv(32, 3), pool(3, 2), layers.Dropout(0.5),
            conv(32, 3), pool(3, 2), layers.Dropout(0.5), layers.Flatten(),
        ],
        "SilNet": lambda: [
            conv(32, 11), pool(2, 2), conv(32, 7), conv(32, 7), pool(2, 1), conv(64, 5), conv(64, 5),
            pool(2, 1), layers.Flatten(), dense(512), layers.Dropout(0.5), dense(512),
        ],
        "AlexNet": lambda: [
            conv(96, 11, 4), pool(3, 2), conv(256, 5), pool(3, 2), conv(384, 3), conv(384, 3), conv(256, 3),
            pool(3, 2), layers.Flatten(), dense(4096), layers.Dropout(0.4), dense(4096), dense(4096),
            layers.Dropout(0.4),
        ],
    }[name]()  # fmt: skip


def make_model(name, side, classes=6):
    """A Keras 2 model of the released layout: a backbone as one layer, or a plain chain."""
    import tf_keras
    from tf_keras import layers

    head = layers.Dense(classes, activation="softmax")
    if name in ("SilNet", "WeiNet", "AlexNet", "SongNet"):
        return tf_keras.Sequential([layers.Input((side, side, 3)), *scratch_layers(name), head])
    backbone = getattr(tf_keras.applications, name)(include_top=False, input_shape=(side, side, 3), weights=None)
    return tf_keras.Sequential([layers.Input((side, side, 3)), backbone, layers.GlobalAveragePooling2D(), head])


def randomise(model, images):
    """Give every weight a random value, so that answers depend on each weight and on the image."""
    import tf_keras

    rng = np.random.default_rng(0)
    normalisations = []
    for layer in model.layers:
        for inner in getattr(layer, "layers", [layer]):
            if isinstance(inner, tf_keras.layers.BatchNormalization):
                normalisations.append(inner)
    for weight in model.trainable_weights:
        shape = weight.shape.as_list()
        if weight.name.endswith(("gamma:0", "beta:0", "bias:0")):
            # Half of what is usual: rounding grows less from one residual block to the next.
            value = rng.normal(0.5 * ("gamma" in weight.name), 0.1, shape)
        else:
            # Kernels are (inputs, outputs), (rows, columns, inputs, outputs), or one per channel.
            fan_in = np.prod(shape[:2] if "depthwise" in weight.name else shape[:-1])
            value = rng.standard_normal(shape, dtype=np.float32) * np.sqrt(2 / fan_in)
        weight.assign(value)
    # Moving statistics: those of a batch, and then everyone's a little off.
    momenta = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0
    if normalisations:
        model(images, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum
        layer.moving_mean.assign_add(rng.normal(0, 0.05, layer.moving_mean.shape))
        variance = layer.moving_variance.numpy()
        layer.moving_variance.assign(variance * rng.uniform(0.7, 1.4, variance.shape) + 0.01)
    # Probabilities of middling size, whatever the range of the features.
    inner = tf_keras.Model(model.input, model.layers[-1].input)
    kernel, bias = model.layers[-1].get_weights()
    scale = 4 * np.std(inner(images, training=False).numpy() @ kernel)
    model.layers[-1].set_weights([kernel / scale, bias])


def odd_models(side):
    """Models of gray images, by name, with all that Keras 3 writes otherwise or refuses; seven classes."""
    import tf_keras
    from tf_keras import layers as L

    image = L.Input((side, side, 1))

    def softmax(given):
        return L.Dense(7, "softmax")(given)

    def backbone(side):
        x = L.Input((side, side, 1))
        return tf_keras.Model(x, L.GlobalAveragePooling2D()(L.Conv2D(4, 3, activation="relu")(x)))

    def separable():
        h = L.BatchNormalization()(L.Conv2D(8, 3)(image))
        h = L.SeparableConv2D(8, 3, kernel_regularizer=tf_keras.regularizers.l2(0.01))(h)
        h = L.GlobalAveragePooling2D()(L.Conv2D(7, 3)(L.DepthwiseConv2D(3)(h)))
        return L.Activation("softmax")(h)

    def twice():
        inner, half = backbone(side // 2), side // 2
        crops = (((0, half), (0, half)), ((half, 0), (half, 0)))
        return softmax(L.Concatenate()([inner(L.Cropping2D(crop)(image)) for crop in crops]))

    def operations():
        h = L.Conv2D(4, 3, name="a/b")((image - 0.5) / [0.25])
        h = L.Conv2DTranspose(4, 3)(h * 2 + L.Conv2D(4, 3)(image))
        return softmax(L.GlobalAveragePooling2D()(h))

    def half():
        given = L.Flatten(dtype="mixed_float16")(image)
        return L.Activation("softmax", dtype="float32")(L.Dense(7, dtype="mixed_float16")(given))

    normal = L.Normalization()
    normal.adapt(np.random.default_rng(0).random((9, side, side, 1)))
    before = [L.Input((side, side, 1)), L.Rescaling(2.0), normal, L.RandomFlip(), L.Resizing(8, 8)]
    inner = tf_keras.Sequential([L.Conv2D(4, 3), L.GlobalAveragePooling2D()])
    outputs = {
        "separable": separable(),
        "nested": softmax(backbone(side)(image)),
        "twice": twice(),
        "operations": operations(),
        "half": half(),
        "with_slice": softmax(L.Flatten()(image[:, ::-1])),
        "with_code": softmax(L.Flatten()(L.Lambda(lambda given: given * 2)(image))),
    }
    return {name: tf_keras.Model(image, output) for name, output in outputs.items()} | {
        "transfer": tf_keras.Sequential([*before, backbone(8), L.Dense(7, "softmax")]),
        "deep": tf_keras.Sequential([L.Input((side, side, 1)), inner, L.Dense(7, "softmax")]),
    }
