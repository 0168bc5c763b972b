"""A study: its settings, its folders and its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ekman_expressions.study.provenance import Run
    from ekman_expressions.study.runner import run
    from ekman_expressions.study.steps import STEPS, Step

__all__ = ["STEPS", "Run", "Step", "run"]


def __getattr__(name: str) -> Any:
    # All steps are imported with them: settings alone need none.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ekman_expressions.study import provenance, runner, steps

    return getattr({"run": runner, "Run": provenance}.get(name, steps), name)
