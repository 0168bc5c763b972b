"""What the scores are worth: chance, tests, uncertainty, and scores that need no threshold.

Functions are pure, on arrays and tables. Only the step "statistics" (`analyse`) and the modules
that it reads with know of an experiment. See docs/statistics.md for what each number means.
"""

from __future__ import annotations

from ekman_expressions.statistics.assessment import TABLES, assess
from ekman_expressions.statistics.step import analyse, read_table, statistics_folder

__all__ = ["TABLES", "analyse", "assess", "read_table", "statistics_folder"]
