"""Databases of faces, the cropping of faces by landmarks, subject-wise folds: all up to the manifest."""

from __future__ import annotations

from ekman_expressions.datasets.databases import DATABASES, load
from ekman_expressions.datasets.preparation import prepare
from ekman_expressions.datasets.prepared import read_faces, read_landmarks, read_manifest

__all__ = ["DATABASES", "load", "prepare", "read_faces", "read_landmarks", "read_manifest"]
