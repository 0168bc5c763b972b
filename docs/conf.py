"""Sphinx's settings: Markdown pages, and the API from the docstrings."""

import re
from importlib import metadata

project = "ekman_expressions"
author = "The ekman_expressions developers"
copyright = author
release = metadata.version("ekman_expressions")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_heading_anchors = 3

# Docstrings are numpydoc, with names of code in single backquotes.
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}

html_theme = "furo"
html_title = f"ekman_expressions {release}"
# Nothing is loaded from other hosts.
html_theme_options = {"top_of_page_buttons": []}
html_copy_source = False

# Files of the repository that are no pages.
suppress_warnings = ["myst.xref_missing"]


def _own_numbers(app, what, name, obj, options, lines):
    """Give each docstring's references a label of their own: [1] of one is not [1] of another."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", name)
    lines[:] = [re.sub(r"\[(\d+)\](_|(?= ))", rf"[#{label}-\1]\2", line) for line in lines]


def setup(app):
    """Connect the hook."""
    app.connect("autodoc-process-docstring", _own_numbers)
