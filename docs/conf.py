"""Sphinx's settings: Markdown pages, and the API from the docstrings."""

import re
import shutil
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin

from jinja2 import DictLoader
from nbconvert import MarkdownExporter

from ekman_expressions.core.errors import Settings
from ekman_expressions.report import STEPS
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.zoo.own_settings import OwnModel

project = "ekman_expressions"
author = "The ekman_expressions developers"
copyright = author
release = metadata.version("ekman_expressions")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "fieldlist"]
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
html_static_path = ["site.css"]
html_css_files = ["site.css"]
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
    for step in STEPS.values() if room.name == "study" else ():
        heading = f'The step "{step.name}"'
        source[0] += f"\n{heading}\n{'-' * len(heading)}\n\n"
        source[0] += f".. autofunction:: {step.function.__module__}.{step.function.__name__}\n"


def _table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[" ".join(str(cell).replace("|", "\\|").split()) for cell in line] for line in lines]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def _values(field):
    """Say what a setting may be."""
    kinds = {int: "whole number", float: "number", str: "text", tuple: "list", dict: "table", Path: "path"}
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in (("ge", "≥"), ("le", "≤"))
        if hasattr(limit, name)
    ]
    found = []
    union = get_origin(field.annotation) in (UnionType, Union)
    for part in get_args(field.annotation) if union else [field.annotation]:
        if get_origin(part) is Literal:
            found += [f'`"{value}"`' for value in get_args(part) if value]
        elif part in kinds or get_origin(part) in kinds:
            found.append(" ".join([kinds[part if part in kinds else get_origin(part)], " and ".join(bounds)]))
    return ", ".join(found)


def _settings(app, page, source):
    """Add to the page of settings each of them, from the classes that check them."""
    if page != "settings":
        return
    faces, training, explanation = (
        Experiment.model_fields[name].annotation for name in ("faces", "training", "explanation")
    )
    sections = {
        "At the top": Experiment,
        "[faces]": faces,
        "[training]": training,
        "[training.overrides.NETWORK]": get_args(training.model_fields["overrides"].annotation)[1],
        "[explanation]": explanation,
        "[models.NAME]": OwnModel,
    }
    for heading, settings in sections.items():
        rows = []
        for name, field in settings.model_fields.items():
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            # Not of a part with a section of its own, nor the folder where the pages are built.
            hidden = isinstance(default, Settings) or field.default_factory or default is None
            default = "needed" if field.is_required() else "" if hidden else f"`{default!r}`"
            rows.append([f"`{name}`", _values(field), default, field.description])
        source[0] += f"\n## {heading}\n{_table(['setting', 'values', 'default', 'meaning'], rows)}"


def _files(app, page, source):
    """Add to the page of files what the steps write and read, from their table."""
    if page != "files":
        return
    experiment = Experiment.preset("demo", root="/").explained_by("rise")
    rows = []
    for step in STEPS.values():
        folder = getattr(experiment, step.folder).relative_to(experiment.root).as_posix()
        folder = folder.replace("/demo", "/<experiment>").replace("explainers/rise", "{explainer}")
        reads = ", ".join(f"`{read}`" for read in (*step.reads, *step.also))
        needs = ", ".join(f"`{name}`" for name in (*step.settings, *step.choices))
        rows.append([f"`{step.name}`", step.what, f"`{folder}`", reads, needs])
    source[0] += _table(["step", "makes", "in the folder", "reads", "depends on the settings"], rows)


# Notebooks hold pictures at twice the size at which they are shown.
_PICTURE = "![]({{ output.metadata.filenames['KIND'] }}){width={{ output.metadata['KIND'].width }}px}"
_PAGE = (
    "{% extends 'markdown/index.md.j2' %}"
    "{% block data_png %}" + _PICTURE.replace("KIND", "image/png") + "{% endblock %}"
    "{% block data_jpg %}" + _PICTURE.replace("KIND", "image/jpeg") + "{% endblock %}"
)


def _tutorial(app):
    """Write the notebooks, as they were executed, into the folder of the tutorial's pages."""
    root, folder = Path(__file__).parents[1], Path(app.srcdir) / "tutorial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in sorted(root.glob("notebooks/*.ipynb")):
        names = {"output_files_dir": f"{path.stem}_files", "unique_key": path.stem}
        exporter = MarkdownExporter(extra_loaders=[DictLoader({"page": _PAGE})], template_file="page")
        text, found = exporter.from_filename(path, resources=names)
        # Links: to other notebooks, to guides, to the repository.
        text = re.sub(r"(\]\([^):]+)\.ipynb\)", r"\1.md)", text)
        text = text.replace("](../", "](../../").replace("](../../docs/", "](../")
        (folder / f"{path.stem}.md").write_text(text, "utf-8")
        for name, content in found["outputs"].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)


def setup(app):
    """Connect the hooks."""
    app.connect("builder-inited", _tutorial)
    app.connect("source-read", _settings)
    app.connect("source-read", _files)
    app.connect("source-read", _room)
    app.connect("autodoc-process-docstring", _own_numbers)
