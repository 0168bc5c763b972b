"""The command line: the same functions that the notebooks call."""

from __future__ import annotations

import argparse
import errno
import logging
import math
import shutil
import sys
import tomllib
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partialmethod
from pathlib import Path
from textwrap import indent
from typing import Any, get_args

from tqdm import tqdm

from ekman_expressions import __version__, report, study
from ekman_expressions.api import explain
from ekman_expressions.core.errors import EkmanExpressionsError, SettingsError, check_option
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import load_faces
from ekman_expressions.report import STEPS
from ekman_expressions.study import execution
from ekman_expressions.study.check import _render, _update_numbers, check, compare_numbers
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import info
from ekman_expressions.study.steps import plan
from ekman_expressions.zoo import example_model, load_model
from ekman_expressions.zoo.own_settings import OwnModel

_EXPERIMENT = f"one of {', '.join(Experiment.presets())}, or a settings file (.toml)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options, bars = _parser().parse_args(arguments), tqdm.__init__
    if options.verbose:
        logging.basicConfig(level=logging.INFO)
    if options.quiet:
        tqdm.__init__ = partialmethod(bars, disable=True)
    try:
        return options.command(options) or 0
    except EkmanExpressionsError as error:
        if options.verbose:
            traceback.print_exc()
        told = str(error)
    except OSError as error:
        told = f"{error}.{_ADVICE.get(error.errno, '')}"
    except ImportError as error:
        if "libGL" not in str(error):
            raise
        told = (
            f"OpenCV cannot be loaded ({error}). Either install the library (Debian, Ubuntu: apt-get install "
            "libgl1), or replace OpenCV's wheels: pip uninstall opencv-python opencv-contrib-python, then "
            "pip install opencv-python-headless."
        )
    finally:
        tqdm.__init__ = bars
    print(f"ekman-expressions: {told}", file=sys.stderr)
    return 2


_FULL = " Free some space, or choose a folder on another disk with --root; finished work is kept."
_REFUSED = " Choose a folder that you may write to with --root or --out."
_ADVICE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL)
_ADVICE |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _REFUSED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ekman-expressions",
        description="Where on the face does an expression classifier look?",
        epilog="Each command has examples: ekman-expressions COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    experiment = {"metavar": "EXPERIMENT"}

    examples = "run demo", "run mine.toml --dry-run", "run mine.toml --from heatmaps --scheduler local:4"
    add = _verb(verbs, _run, *examples, root=True)
    add("experiment", f"{_EXPERIMENT}; default: demo", nargs="?", **experiment)
    add("--preset", "the same as EXPERIMENT")
    add("--list", "list the steps and what each makes; run nothing", action="store_true")
    add("--dry-run", "say which steps would run, and why; run nothing", action="store_true")
    add("--steps", f"only these, separated by commas; default: all of {', '.join(STEPS)}")
    add("--from", "this step and all after it", dest="first", metavar="STEP")
    where = "'local:4': in four processes on this machine; 'tcp://host:8786': on a Dask cluster"
    add("--scheduler", f"{where}; default: in this process", metavar="WHERE")

    _explain_verb(verbs)

    add = _verb(verbs, _init, "init mine.toml", "init mine.toml --preset paper")
    add("file", "such as mine.toml; its name names the experiment", type=Path, metavar="FILE")
    add("--preset", "whose settings are copied; default: demo", choices=Experiment.presets(), default="demo")

    examples = "datasets", "datasets ckplus /data/CK+", "datasets lab /data/lab --option 'subject=(S\\d+)_'"
    add = _verb(verbs, _datasets, *examples)
    add("name", "one of those listed, or any name for a folder of your own", nargs="?", metavar="NAME")
    add("folder", "the folder where its copy lies", nargs="?", type=Path, metavar="ROOT")
    option = "an option of the database, as in [faces.options.NAME] of a settings file; may be repeated"
    add("--option", option, action="append", default=[], metavar="KEY=VALUE")

    examples = "report demo", "report --heatmaps /data/heatmaps --output pages"
    add = _verb(verbs, _report, *examples, root=True)
    add("experiment", _EXPERIMENT, nargs="?", **experiment)
    alone = "instead of an experiment, a folder of heatmaps alone, laid out like the released one"
    add("--heatmaps", alone, type=Path, metavar="PATH")
    add("--output", "with --heatmaps: where the report is written", type=Path, metavar="DIR")
    shown = "show single faces, or none; default: only those of bundled databases"
    add("--faces", shown, action=argparse.BooleanOptionalAction)

    add = _verb(verbs, _verify, "verify", "verify --published /data/heatmaps")
    released = "folder with GRAY/heatmaps_by_cv and GROUND_TRUTH; default: look for it, else download"
    add("--published", released, type=Path, metavar="PATH")

    _verb(verbs, _info, "info")

    add = _verb(verbs, _notebooks, "notebooks my_notebooks")
    add("folder", "made if it is missing; existing files are not replaced", type=Path, metavar="DIR")

    _verb(verbs, _check, "check demo", root=True)("experiment", _EXPERIMENT, **experiment)

    add = _verb(verbs, _expect, "expect demo", root=True)
    add("experiment", _EXPERIMENT, **experiment)
    add("--table", "the expected numbers (CSV); default: those of the preset", type=Path, metavar="FILE")
    add("--update", "write the numbers obtained into --table", action="store_true")
    return parser


def _verb(verbs: Any, command: Callable, *examples: str, root: bool = False) -> Callable[..., None]:
    """Add a command, called and described as its function is; return what adds an argument to it,
    ``add(name, help, **options of argparse)``."""
    what = command.__doc__.removesuffix(".")
    lines = "\n".join(f"ekman-expressions {example}" for example in examples)
    verb = verbs.add_parser(
        command.__name__[1:],
        help=what[0].lower() + what[1:],
        description=f"{what}.",
        epilog=f"examples:\n{indent(lines, '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(command=command)

    def add(*names: str, **options: Any) -> None:
        verb.add_argument(*names[:-1], help=names[-1], **options)

    add("-q", "--quiet", "draw no progress bars (for log files)", action="store_true")
    add("-v", "--verbose", "show where an error arose, and what libraries log", action="store_true")
    if root:
        where = "the folder of datasets/, models/, results/ ...; default: repository or current folder"
        add("--root", where, type=Path, metavar="DIR")
    return add


def _explain_verb(verbs: Any) -> None:
    examples = (
        "explain photo.jpg --out figure.png",
        "explain photos/ --model net.onnx --classes angry,happy,sad --side 48 --channels gray",
        "explain photo.jpg --explainer integrated_gradients --target fear",
    )
    add = _verb(verbs, _explain, *examples)
    add("pictures", "image files, or one folder, or one table (CSV)", nargs="+", metavar="PICTURE")
    out = "the figure to write (.png, .svg, .pdf); of several faces each gets its own, with the face's name"
    add("--out", f"{out}; default: explained.png", type=Path, default="explained.png", metavar="FILE")
    add("--no-crop", "the pictures are square crops of faces already", action="store_true")
    add("--explainer", f"one of {', '.join(EXPLAINERS)}; default: lime", default="lime")
    add("--target", "the class to explain; default: the most probable but neutral and other", metavar="CLASS")
    add("--seed", "seed of the random samples; default: 0", type=int, default=0)
    repeated = {"action": "append", "default": []}
    setting = "a setting of the explainer, such as samples=5000 or hidden=mean; may be repeated"
    add("--option", setting, metavar="KEY=VALUE", **repeated)
    model = (
        "a Keras, ONNX, PyTorch or SavedModel file, or file.py:function, described by the options below "
        "(see docs/own_model.md); default: a small example network that learned synthetic faces"
    )
    add("--model", model, metavar="FILE")
    add("--classes", "the names of all its outputs, in their order", metavar="A,B,...", type=_names)
    mask = (
        "the parts of the face (mouth,brows,...) where you expect a class that is not one of the six; may be repeated"
    )
    add("--mask", mask, metavar="CLASS=REGION,...", **repeated)
    add("--side", "side of the square images that it takes", type=int, metavar="PIXELS")
    for name in ("channels", "preprocessing", "layout", "output"):
        field = OwnModel.model_fields[name]
        choices = [choice for choice in get_args(field.annotation) if choice]
        add(f"--{name}", field.description.replace("`", ""), choices=choices)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _explain(options: argparse.Namespace) -> None:
    """Explain what a network predicts of pictures of faces, and draw it."""
    from ekman_expressions import figures

    described = ("classes", "side", "channels", "preprocessing", "layout", "output")
    given = {name: value for name in described if (value := getattr(options, name)) is not None}
    if options.mask:
        parts = (text.partition("=") for text in options.mask)
        given["masks"] = {name: _names(regions) for name, _, regions in parts}
    if given and options.model is None:
        option = next(iter(given)).replace("masks", "mask")
        raise SettingsError(f"--{option} describes a network: name its file with --model.")
    check_option(options.explainer, "--explainer", EXPLAINERS)
    method, out = EXPLAINERS[options.explainer], options.out
    check_option(out.suffix, "the suffix of --out", (".png", ".svg", ".pdf"))
    settings = dict(_choice(text) for text in options.option)
    if "hidden" in method.shared:
        settings.setdefault("hidden", "blur")
    model = load_model(options.model, **given) if options.model else example_model()
    source = options.pictures if len(options.pictures) > 1 else options.pictures[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ images have no usable face")  # listed below
        faces = load_faces(source, crop=not options.no_crop)
    for row in faces.omissions.itertuples():
        print(f"left out: {row.item}: {row.reason}")
    found = explain(model, faces, options.explainer, targets=options.target, seed=options.seed, **settings)
    if options.model is None:
        print("This is the example network, which learned synthetic faces; of photographs it knows little. "
              "Name your own with --model.")  # fmt: skip
    for place, row in enumerate(found.table.itertuples()):
        path = out if len(found) == 1 else out.with_stem(f"{out.stem}_{row.image_id}")
        figures.save(found.plot(place), path)
        known = f", labelled {row.expression}" if row.expression else ""
        print(f"{row.image_id}: {row.predicted}, probability {row.probability:.2f}{known}")
        print(f"  {row.explained} explained by {method.title}: {_reliability(row, method.has_surrogate)}")
        shares = found.regions.iloc[place].dropna().nlargest(5)
        parts = [f"{part} {share:.0%}" for part, share in shares.items()]
        print(f"  {', '.join(parts) or 'nothing speaks for it'}")
        print(f"  {path}")


def _reliability(row: Any, surrogate: bool) -> str:
    """Say how far one explanation describes the network."""
    if math.isnan(row.r2):
        alone = "how reliable it is cannot be told from it alone (the step 'quality' of a study does)"
        return "whatever is hidden, the network predicts the same" if surrogate else alone
    verdict = "the weights tell more than half of what hiding parts does"
    if row.r2_unseen < 0.5:
        verdict = "less than half of what hiding parts does; try --option samples=5000 or hidden=mean"
    return f"R² {row.r2:.2f}, on unseen samples {row.r2_unseen:.2f}: {verdict}"


def _run(options: argparse.Namespace) -> None:
    """Run a study, or some of its steps; finished steps are skipped."""
    if options.list:
        for step in STEPS.values():
            print(f"{step.name:<14} {step.what}")
        return
    if options.experiment and options.preset:
        raise SettingsError(f"Name one experiment, but got {options.experiment!r} and {options.preset!r}.")
    experiment = Experiment.load(options.experiment or options.preset or "demo", root=options.root)
    names = _names(options.steps or "")
    if options.dry_run:
        for name, verdict in plan(experiment, *names, first=options.first, steps=STEPS).items():
            print(f"{name:<14} {verdict}")
        return
    with execution.using(options.scheduler):
        study.run(experiment, *names, first=options.first, steps=STEPS, echo=True)
    print("Where to look:")
    for step in STEPS.values():
        if not names or step.name in names:
            print(f"  {step.name:<14} {step.folder_of(experiment)}: {step.what}")


def _init(options: argparse.Namespace) -> None:
    """Write a settings file, to be edited for an experiment of your own."""
    if options.file.suffix != ".toml" or options.file.exists():
        raise SettingsError(f"FILE must be new and end in '.toml', but got {str(options.file)!r}.")
    text = (Path(__file__).parent / "presets" / f"{options.preset}.toml").read_text(encoding="utf-8")
    text = text.replace(f'name = "{options.preset}"', f'name = "{options.file.stem}"', 1)
    Experiment(**tomllib.loads(text))  # refuses a name that folders cannot have
    options.file.write_text(text, encoding="utf-8")
    print(f"Edit {options.file}, then: ekman-expressions run {options.file}")


def _info(options: argparse.Namespace) -> None:
    """Print what a bug report needs: versions, machine, paths."""
    for name, value in info().items():
        print(f"{name:<18} {value}")


def _notebooks(options: argparse.Namespace) -> None:
    """Copy the notebooks into a folder, to be run and changed there."""
    installed = Path(__file__).parent / "data" / "notebooks"
    source = installed if installed.is_dir() else Path(__file__).parents[1] / "notebooks"
    options.folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.ipynb")):
        target = options.folder / path.name
        if target.exists():
            print(f"left as it is: {target}")
        else:
            shutil.copyfile(path, target)
    print(f"Open them: jupyter lab {options.folder}")


def _check(options: argparse.Namespace) -> int:
    """Look for files of an experiment that are missing, outdated, damaged, or do not belong there."""
    found = check(Experiment.load(options.experiment, root=options.root), STEPS)
    print(found.summary())
    return 0 if found.ok else 1


def _expect(options: argparse.Namespace) -> int:
    """Compare the numbers of an experiment with those that are expected."""
    experiment = Experiment.load(options.experiment, root=options.root)
    if options.update:
        if options.table is None:
            raise SettingsError("'--update' needs '--table': the table into which the numbers are written.")
        _update_numbers(experiment, options.table)
    numbers = compare_numbers(experiment, options.table)
    print(_render(numbers))
    return 0 if numbers["ok"].all() else 1


def _report(options: argparse.Namespace) -> None:
    """Make the HTML report of an experiment; it opens from disk."""
    if (options.experiment is None) == (options.heatmaps is None):
        raise SettingsError("Name either an experiment or, with --heatmaps, a folder of heatmaps.")
    if options.heatmaps is not None:
        run = report.make(options.heatmaps, folder=options.output)
        page = run.folder / "index.html"
    else:
        experiment = Experiment.load(options.experiment, root=options.root)
        run = report.make(experiment, show_faces=options.faces)
        page = experiment.report_folder / "index.html"
    print(run.summary("items"))
    print(f"Open {page}")


def _datasets(options: argparse.Namespace) -> None:
    """List the databases and their terms of use, or check a copy of one."""
    from ekman_expressions.faces import DATABASES, catalogue, survey

    bundled = options.name in DATABASES and DATABASES[options.name].bundled
    if options.folder is None and not bundled:
        print(catalogue(options.name))
    else:
        choices = dict(_choice(text) for text in options.option)
        print(survey(options.name, options.folder, choices).summary())


def _choice(text: str) -> tuple[str, Any]:
    """Return ``KEY=VALUE`` as key and value, the value as in TOML, or else as plain text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"An option is written KEY=VALUE, but got {text!r}.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _verify(options: argparse.Namespace) -> int:
    """Recompute the published scores from the heatmaps that the study's authors released."""
    from ekman_expressions.study import published

    found = published.verify(options.published)
    print(published._render(found))
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
