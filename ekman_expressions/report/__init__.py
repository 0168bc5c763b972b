"""The report: one static page per question, made of an experiment's files, that opens from disk.

`make` writes ``results/<experiment>/report/index.html`` (step "report"), or a report of heatmaps alone, such
as the released ones. Nothing is asked of a server or of another host: data lie in scripts beside the pages.
"""

from __future__ import annotations

from ekman_expressions.report.pages import STEPS, make

__all__ = ["STEPS", "make"]
