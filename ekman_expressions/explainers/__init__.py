"""Explainers: which parts of an image made a model predict what it predicted; see `registry`."""
