"""Adam in place is Adam: by its formula, and as Keras calculates it."""

import numpy as np
import pytest

from ekman_expressions.core.errors import SettingsError
from ekman_expressions.zoo.optimizers import make_optimizer

STEPS = 6


def _trained(optimizer, gradients, start):
    """Weights after each step, and the optimiser's moments after the last."""
    import keras
    import tensorflow as tf

    weight = keras.Variable(start)
    optimizer.build([weight])
    apply = tf.function(lambda gradient: optimizer.apply([gradient], [weight]))
    weights = []
    for gradient in gradients:
        apply(tf.constant(gradient))
        weights.append(np.array(weight))
    return weights, [np.array(variable) for variable in optimizer.variables]


@pytest.fixture(scope="module")
def gradients():
    return np.random.default_rng(0).normal(0, 0.1, (STEPS, 4, 3)).astype(np.float32)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_adam_is_that_of_the_paper(gradients, schedule):
    import keras

    rate = 0.01 if schedule == "constant" else keras.optimizers.schedules.CosineDecay(0.01, STEPS)
    start = np.ones((4, 3), np.float32)
    weights, variables = _trained(make_optimizer("adam", rate), gradients, start)
    expected, m, v = start.astype(float), 0.0, 0.0
    for step, gradient in enumerate(gradients.astype(float)):
        now = 0.01 if schedule == "constant" else 0.005 * (1 + np.cos(np.pi * step / STEPS))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        corrected = now * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        expected = expected - corrected * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(weights[step], expected, rtol=2e-5)
    theirs, their_variables = _trained(keras.optimizers.Adam(rate), gradients, start)
    np.testing.assert_allclose(weights, theirs, rtol=1e-5)
    # Iterations, rate, first and second moments: in Keras' order, for checkpoints.
    for mine, their in zip(variables, their_variables, strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-5, atol=1e-9)


def test_adam_makes_no_temporary_arrays(gradients):
    import keras
    import tensorflow as tf

    weight, optimizer = keras.Variable(np.ones((4, 3), np.float32)), make_optimizer("adam", 0.01)
    optimizer.build([weight])
    graph = tf.function(lambda gradient: optimizer.apply([gradient], [weight])).get_concrete_function(
        tf.TensorSpec((4, 3))
    )
    shaped = [
        operation.type
        for operation in graph.graph.get_operations()
        if any(output.shape == (4, 3) for output in operation.outputs)
    ]
    assert set(shaped) <= {"Placeholder", "Identity", "IdentityN"}


def test_other_optimisers_are_refused():
    import keras

    assert type(make_optimizer("rmsprop", 0.1)) is keras.optimizers.RMSprop
    with pytest.raises(SettingsError, match="'optimizer'.*'adam', 'rmsprop', but got 'sgd'"):
        make_optimizer("sgd", 0.1)


def test_a_training_step_is_traced_once(tmp_path):
    """Variables made within it, of the optimiser or a metric, would have TensorFlow trace it again."""
    import tensorflow as tf
    from made_faces import make_experiment

    from ekman_expressions.study import fit

    _, learner = fit.build_learner(make_experiment(tmp_path), "WeiNet", 1)
    step, traces = learner.train_step, []

    def counted(data):
        traces.append(1)
        return step(data)

    learner.train_step = counted
    images, targets = np.zeros((6, *learner.input_shape[1:]), np.float32), np.eye(6, dtype=np.float32)
    for _ in range(2):
        learner.fit(tf.data.Dataset.from_tensors((images, targets)), shuffle=False, verbose=0)
    assert len(traces) == 1


def test_initial_weights_do_not_depend_on_who_else_draws_random_numbers():
    """Workers of a cluster have threads that draw from Python's global generator, too."""
    import random
    import threading

    import keras

    from ekman_expressions.core.seeds import keras_seeded

    def build():
        with keras_seeded(5):
            layers = [kind for _ in range(100) for kind in (keras.layers.Dense(2), keras.layers.Dropout(0.5))]
            return keras.Sequential([keras.Input((2,)), *layers])

    stop = threading.Event()

    def draw():
        while not stop.is_set():
            random.random()

    alone = build()
    thread = threading.Thread(target=draw)
    thread.start()
    try:
        beside = build()
    finally:
        stop.set()
        thread.join()
    for one, other in zip(alone.variables, beside.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    # And they are those of Keras' own function, when nobody else draws.
    keras.utils.set_random_seed(5)
    first = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    np.testing.assert_array_equal(first.weights[0], alone.weights[0])
