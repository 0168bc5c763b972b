"""Settings that all tests share."""

import os
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings

# Before any test imports TensorFlow by itself: see `silent_stderr`.
with suppress(ImportError):
    import triton  # noqa: F401

# Speed is measured in benchmarks, never asserted; in CI the same examples are tried every time.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

LONG = (
    "test_study.py",
    "test_own_models_study.py",
    "test_train.py",
    "test_training.py",
    "test_zoo.py",
    "test_legacy_h5.py",
)
"""Files that take longest. They start first, so that processes which share the tests end together."""


def pytest_collection_modifyitems(items):
    """Put the long files first; the order is otherwise as it was."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture
def experiment(tmp_path):
    """An experiment of which nothing is there yet, unless a file of tests has one of its own."""
    from ekman_expressions import Experiment

    return Experiment.preset("smoke", root=tmp_path)


@pytest.fixture(autouse=True)
def _no_network_stays_registered():
    """Take away networks that a test put among those of the package."""
    from ekman_expressions.zoo.networks import NETWORKS

    before = dict(NETWORKS)
    yield
    NETWORKS.clear()
    NETWORKS.update(before)
