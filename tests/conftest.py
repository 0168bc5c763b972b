"""Settings that all tests share."""

import os

from hypothesis import HealthCheck, settings

# Speed is measured in benchmarks, never asserted; in CI the same examples are tried every time.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")
