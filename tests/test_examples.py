"""The script that takes networks from packages, and the settings file of the example."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ekman_expressions import Experiment

FOLDER = Path(__file__).parent.parent / "examples" / "real_networks"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("get_networks", FOLDER / "get_networks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arrays(random):
    """Weights in face-api's names and shapes."""
    found, channels = {}, 3
    for block, count in enumerate((32, 64, 128, 256)):
        for number in range(4):
            name = f"dense{block}/conv{number}"
            if channels == 3:
                found[f"{name}/filters"] = (3, 3, channels, count)
            else:
                found[f"{name}/depthwise_filter"] = (3, 3, channels, 1)
                found[f"{name}/pointwise_filter"] = (1, 1, channels, count)
            found[f"{name}/bias"] = (count,)
            channels = count
    shapes = found | {"fc/weights": (256, 7), "fc/bias": (7,)}

    def draw(name, shape):
        seen = 9 if "depthwise" in name else np.prod(shape[:-1])
        return random.normal(0, 0.95 * seen**-0.5 if len(shape) > 1 else 0.1, shape)

    return {name: np.float32(draw(name, shape)) for name, shape in shapes.items()}


def test_face_api_is_built_as_its_blocks_are_described(script):
    import tensorflow as tf

    random = np.random.default_rng(0)
    given, images = arrays(random), np.float32(random.normal([[[[0]]], [[[0.5]]]], 0.5, (2, 112, 112, 3)))

    def convolve(values, block, number):
        def part(name):
            return given[f"dense{block}/conv{number}/{name}"]

        strides = [1, 2, 2, 1] if number == 0 else [1, 1, 1, 1]
        if block == number == 0:
            return tf.nn.conv2d(values, part("filters"), strides, "SAME") + part("bias")
        filters = part("depthwise_filter"), part("pointwise_filter")
        return tf.nn.separable_conv2d(values, *filters, strides, "SAME") + part("bias")

    values = images
    for block in range(4):
        total = values = tf.nn.relu(convolve(values, block, 0))
        for number in (1, 2, 3):
            total = total + convolve(values, block, number)
            values = tf.nn.relu(total)
    logits = tf.reduce_mean(values, (1, 2)) @ given["fc/weights"] + given["fc/bias"]
    expected = tf.nn.softmax(logits).numpy()
    assert np.abs(np.diff(expected, axis=0)).max() > 0.01, expected
    np.testing.assert_allclose(script.build(given)(images), expected, atol=1e-5)


def test_weights_in_8_bits_are_scaled(script):
    stored = {"dtype": "uint8", "scale": 0.5, "min": -1.0}
    manifest = [
        {
            "weights": [
                {"name": "a", "shape": [2, 2], "dtype": "float32", "quantization": stored},
                {"name": "b", "shape": [1], "dtype": "float32"},
            ]
        }
    ]
    content = bytes([0, 2, 4, 255]) + np.float32([0.25]).tobytes()
    found = script.weights(manifest, content)
    assert found["a"].tolist() == [[-1, 0], [1, 126.5]] and found["b"].tolist() == [0.25]
    with pytest.raises(ValueError, match="8 bytes, but there are 9"):
        script.weights(manifest, content + b"x")


def test_the_settings_file_describes_both_networks():
    experiment = Experiment.load(FOLDER / "real_networks.toml")
    assert {name: experiment.side(name) for name in experiment.networks} == {"fer": 64, "face_api": 112}
    # Which output is which of the six expressions, then neutral.
    assert experiment.models["fer"].order == (0, 1, 2, 3, 4, 5, 6)
    assert experiment.models["face_api"].order == (3, 5, 4, 1, 2, 6, 0)
