"""A study: its settings, its folders and its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ekman_expressions.study.provenance import Run, read_results
    from ekman_expressions.study.steps import STEPS, Step, run

__all__ = ["STEPS", "Run", "Step", "read_results", "run"]


def __getattr__(name: str) -> Any:
    # All steps are imported with them: settings alone need none.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ekman_expressions.study import provenance, steps

    return getattr(provenance if name in ("Run", "read_results") else steps, name)
