"""Each of the twelve networks learns, is saved without loss, and passes gradients to its last convolution."""

import numpy as np
import pytest

from ekman_expressions.zoo import NETWORKS, NetSpec, saving
from ekman_expressions.zoo.weights import KERAS_FILES

SIDES = {"InceptionV3": 75, "Xception": 71, "WeiNet": 16, "SilNet": 16, "AlexNet": 64}
"""Sides at which the networks are cheap; the others take 32. Their layers are the same at each side."""

LAST_CONVOLUTIONS = {
    "SilNet": 64,
    "WeiNet": 64,
    "AlexNet": 256,
    "SongNet": 32,
    "InceptionV3": 192,
    "VGG19": 512,
    "VGG16": 512,
    "ResNet50": 2048,
    "ResNet101V2": 2048,
    "Xception": 2048,
    "MobileNetV3Large": 960,
    "EfficientNetV2B0": 1280,
}
"""Channels of each network's last convolution, from the papers."""

AT_FULL_SIZE = [
    pytest.param((name, spec.side), id=name, marks=pytest.mark.slow) for name, spec in NETWORKS.items()
]
SMALLER = [pytest.param((name, SIDES.get(name, 32)), id=f"{name}-small") for name in NETWORKS]


@pytest.fixture(scope="module", params=SMALLER + AT_FULL_SIZE)
def network(request):
    """A network's specification, a model of it, and a batch."""
    import keras

    name, side = request.param
    spec = NETWORKS[name]
    small = NetSpec(name, side, 0, spec.optimizer, spec.learning_rate, 1, spec.pretrained)
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    # With pixels / 255, two networks hardly see an image that is not theirs to rescale.
    model = small.build(preprocessing="native")
    rng = np.random.default_rng(0)
    images = rng.random((4, side, side, 3), dtype=np.float32)
    return small, model, images, np.eye(6, dtype=np.float32)[[0, 2, 3, 5]]


def test_saved_models_answer_equal_to_the_bit(network, tmp_path):
    spec, model, images, _ = network
    saving.save(model, tmp_path / "model.keras")
    loaded = saving.load(tmp_path / "model.keras")
    assert loaded.name == spec.name
    answers = model(images, training=False).numpy()
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(loaded(images, training=False).numpy(), answers)


def test_gradients_reach_the_last_convolution(network):
    import keras
    import tensorflow as tf

    spec, model, images, targets = network
    kinds = (keras.layers.Conv2D, keras.layers.SeparableConv2D)
    last = [layer for layer in model.layers if isinstance(layer, kinds)][-1]
    both = keras.Model(model.input, [last.output, model.output])
    with tf.GradientTape() as tape:
        # As gradient methods do: maps and answers of one pass through the flat graph.
        maps, answers = both(images, training=False)
        chosen = tf.reduce_sum(answers * targets)
    gradients = tape.gradient(chosen, maps).numpy()
    assert gradients.shape == maps.shape and gradients.shape[-1] == LAST_CONVOLUTIONS[spec.name]
    assert np.isfinite(gradients).all()
    assert (np.abs(gradients).reshape(4, -1).max(axis=1) > 0).all()


def test_one_step_of_training_lowers_the_loss(network):
    import keras

    spec, model, images, targets = network
    seeds = [layer.seed_generator.state for layer in model.layers if hasattr(layer, "seed_generator")]
    values = [keras.ops.copy(seed) for seed in seeds]

    def loss():
        # The same units are dropped each time, so that losses can be compared.
        for seed, value in zip(seeds, values, strict=True):
            seed.assign(value)
        answers = model(images, training=True)
        return float(keras.ops.mean(keras.losses.categorical_crossentropy(targets, answers)))

    kinds = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    learner = keras.Model(model.input, model.output)
    optimizer = kinds[spec.optimizer](spec.learning_rate)
    # Eagerly: to compile a graph takes far longer than one step.
    learner.compile(optimizer=optimizer, loss="categorical_crossentropy", run_eagerly=True)
    before = loss()
    for seed, value in zip(seeds, values, strict=True):
        seed.assign(value)
    learner.train_on_batch(images, targets)
    assert 0.5 < before < 10
    assert loss() < before


def test_the_table_names_all_networks_and_the_eight_of_keras():
    assert set(LAST_CONVOLUTIONS) == set(NETWORKS)
    assert {name for name, spec in NETWORKS.items() if spec.pretrained} == set(KERAS_FILES)
