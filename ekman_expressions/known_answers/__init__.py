"""Known answers: whether explanations find what is known, by construction, to matter in a face.

The synthetic faces come with masks of what each action unit moved, and with probes in which one
region alone has moved. So one can measure how well explanations find it (`localisation`), whether
networks that can only have learned from one region light it (`probes`), and whether the Ekman
masks describe what moves (`reference_masks`).
"""

from __future__ import annotations

from ekman_expressions.known_answers.step import answer, folder, read_localisation, read_reference_masks

__all__ = ["answer", "folder", "read_localisation", "read_reference_masks"]
