"""Sphinx's settings: Markdown pages, and the API from the docstrings."""

import re
from importlib import metadata
from pathlib import Path

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
# An attribute like `side` is one of several classes: none of them is linked then.
suppress_warnings = ["myst.xref_missing", "ref.python"]


def _own_numbers(app, what, name, obj, options, lines):
    """Give each docstring's references a label of their own: [1] of one is not [1] of another."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", name)
    lines[:] = [re.sub(r"\[(\d+)\](_|(?= ))", rf"[#{label}-\1]\2", line) for line in lines]


def _room(app, page, source):
    """Add to a room's page what the room offers, or where its `__init__` offers nothing, each of its modules."""
    room = Path(__file__).parent.parent / "ekman_expressions" / page.removeprefix("api/")
    if not page.startswith("api/") or not room.is_dir():
        return
    name = f"ekman_expressions.{room.name}"
    if "__all__" in (room / "__init__.py").read_text("utf-8") and room.name != "study":
        source[0] += f"\n.. automodule:: {name}\n   :imported-members:\n"
        return
    source[0] += f"\n.. automodule:: {name}\n   :no-members:\n"
    for path in sorted(room.glob("[!_]*.py")):
        heading = f"{room.name}.{path.stem}"
        source[0] += f"\n{heading}\n{'-' * len(heading)}\n\n.. automodule:: {name}.{path.stem}\n"


def setup(app):
    """Connect the hooks."""
    app.connect("source-read", _room)
    app.connect("autodoc-process-docstring", _own_numbers)
