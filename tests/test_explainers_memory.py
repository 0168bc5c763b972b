"""Explainers go on with fewer images at a time when memory is short, and say so."""

import numpy as np
import pytest

from ekman_expressions.core.errors import ModelError
from ekman_expressions.explainers.registry import EXPLAINERS

SIDE = 16
FEW = {"rise": {"masks": 40}, "smooth_grad": {"copies": 9}, "integrated_gradients": {"steps": 9}}


def network(most):
    """A network, always the same, for whose calls of more than `most` images memory is short."""
    import keras

    class Limited(keras.layers.Layer):
        def call(self, images):
            if images.shape[0] is not None and images.shape[0] > most:
                raise MemoryError("no more")
            return images

    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            Limited(),
            keras.layers.Conv2D(4, 5, activation="softplus"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.1, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).random((1, SIDE, SIDE, 3), dtype=np.float32)


@pytest.mark.parametrize("name", sorted(FEW))
def test_fewer_images_at_a_time_give_the_same_map(name, images):
    whole = EXPLAINERS[name](network(100), images, [1], seed=0, positive=False, **FEW[name])
    model = network(3)
    with pytest.warns(UserWarning) as told:
        halved = EXPLAINERS[name](model, images, [1], seed=0, positive=False, **FEW[name])
    sizes = [(size, size // 2) for size in ((25, 12, 6) if name == "rise" else (8, 4))]
    assert [str(entry.message) for entry in told] == [
        f"Out of memory with {most} images at a time, so from there on {fewer}." for most, fewer in sizes
    ]
    np.testing.assert_allclose(halved, whole, atol=1e-5 * np.abs(whole).max())
    # What memory was enough for is kept: a further warning would be an error.
    again = EXPLAINERS[name](model, images, [1], seed=0, positive=False, **FEW[name])
    assert np.array_equal(again, halved)


def test_a_callable_too(images):
    def model(copies, most=25):
        if len(copies) > most:
            raise MemoryError
        red = copies[..., 0].mean(axis=(1, 2))
        return np.stack([red, 1 - red], axis=1)

    whole = EXPLAINERS["rise"](model, images, [0], seed=0, masks=32)
    with pytest.warns(UserWarning, match="with 25 images at a time, so from there on 12"):
        halved = EXPLAINERS["rise"](lambda copies: model(copies, 12), images, [0], seed=0, masks=32)
    np.testing.assert_allclose(halved, whole, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Out of memory")
@pytest.mark.parametrize("name", ["grad_cam", *sorted(FEW)])
def test_no_memory_for_one_image_is_said(name, images):
    with pytest.raises(ModelError, match="not enough memory to ask the model about a single image"):
        EXPLAINERS[name](network(0), images, [1], seed=0, **FEW.get(name, {}))
