"""Execute notebooks in order, by default the numbered ones, with their progress bars in the terminal.

The cell tagged ``parameters`` is where the preset is set; everything else runs as it stands.
Executed copies go to ``results/<preset>/notebooks/``, or over the originals with ``--in-place``.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from ekman_expressions import Experiment
from ekman_expressions.core.errors import MissingError, SettingsError
from ekman_expressions.core.files import atomic_path
from ekman_expressions.report import STEPS
from ekman_expressions.study.check import _render, compare_numbers
from ekman_expressions.study.execution import using

REPOSITORY = Path(__file__).resolve().parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class TerminalClient(NotebookClient):
    """A notebook client that shows what a cell prints while it runs."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream":
            sys.stderr.write(msg["content"]["text"])
            sys.stderr.flush()
        return super().process_message(msg, cell, cell_index)


def set_parameters(notebook: nbformat.NotebookNode, parameters: dict[str, str]) -> None:
    """Change assignments in the cell tagged ``parameters``; an absent one is an error."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise SystemExit(f"A notebook needs one cell tagged 'parameters', but this has {len(tagged)}.")
    lines = tagged[0].source.splitlines()
    for name, value in parameters.items():
        places = [number for number, line in enumerate(lines) if line.startswith(f"{name} = ")]
        if len(places) != 1:
            raise SystemExit(f"The parameters cell must assign '{name}' once, but does so {len(places)} times.")
        assignment, _, comment = lines[places[0]].partition("#")
        if ast.literal_eval(assignment.partition("=")[2].strip()) != value:
            lines[places[0]] = f"{name} = {value!r}" + (f"  #{comment}" if comment else "")
    tagged[0].source = "\n".join(lines)


def execute(
    client: TerminalClient, path: Path, target: Path, parameters: dict[str, str], *, keep: bool = False
) -> None:
    """Execute one notebook and write it to `target`, without progress bars and timings.

    When a cell raises, the notebook is written too, with the error in it. `keep` keeps the kernel for the
    next notebook, which finds none of the names of this one.
    """
    client.nb = notebook = nbformat.read(path, as_version=4)
    set_parameters(notebook, parameters)
    if client.kc is not None:
        client.kc.execute("%reset -f", silent=True)
    try:
        client.execute(cleanup_kc=not keep)
    except CellExecutionError as error:
        raise SystemExit(f"\n{path.name} stopped (see {target}):\n{error}") from None
    finally:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        notebook.metadata = nbformat.from_dict(METADATA)
        with atomic_path(target) as temporary:
            nbformat.write(notebook, temporary)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="demo", help="the preset, or a settings file (.toml)")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="where the artefact folders go")
    parser.add_argument(
        "--scheduler", help="where the work is done: 'serial', 'local:2' (two processes), 'tcp://host:8786'"
    )
    parser.add_argument("--in-place", action="store_true", help="write outputs into notebooks/")
    parser.add_argument("--one-kernel", action="store_true", help="import libraries once for all notebooks")
    parser.add_argument("notebooks", nargs="*", help="names to run (default: the numbered ones)")
    options = parser.parse_args()

    try:
        with using(options.scheduler, shared=True):
            run(parser, options)
    except (MissingError, SettingsError) as error:
        parser.error(str(error))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Execute the notebooks that were asked for, and say where to look."""
    root = options.root.resolve()
    preset = options.preset
    if preset.endswith(".toml"):
        preset = str(Path(preset).resolve())
    experiment = Experiment.load(preset, root=root)
    # The notebooks find the repository's own root themselves.
    parameters = {"preset": preset} | ({} if root == REPOSITORY else {"root": str(root)})
    # Unless they are named, the numbered ones: `start_here` needs no study.
    number = {path: path.name.split("_")[0] for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
    paths = sorted(number, key=lambda path: int(number[path]) if number[path].isdigit() else -1)
    unknown = set(options.notebooks) - {path.name for path in paths}
    if unknown:
        parser.error(f"There is no {', '.join(sorted(unknown))}. There are {', '.join(path.name for path in paths)}.")
    paths = [
        path for path in paths if (path.name in options.notebooks if options.notebooks else number[path].isdigit())
    ]
    folder = experiment.results_folder / "notebooks"
    client = TerminalClient(
        nbformat.v4.new_notebook(),
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        resources={"metadata": {"path": str(REPOSITORY / "notebooks")}},
    )
    begin = time.monotonic()
    for number, path in enumerate(paths, start=1):
        print(f"\n[{number}/{len(paths)}] {path.name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        target = path if options.in_place else folder / path.name
        keep = options.one_kernel and number < len(paths)
        execute(client, path, target, parameters, keep=keep)
        print(f"    {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    print(f"\nDone in {(time.monotonic() - begin) / 60:.1f} min. Where to look:")
    for step in STEPS.values():
        print(f"  {step.name:<22} {step.folder_of(experiment)}: {step.what}")
    if not options.in_place:
        print(f"  {'executed notebooks':<22} {folder}")
    with contextlib.suppress(MissingError):
        print(f"\nThe numbers that come with the package:\n{_render(compare_numbers(experiment))}")


if __name__ == "__main__":
    main()
