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
