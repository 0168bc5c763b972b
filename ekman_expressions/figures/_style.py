"""The style of all figures, how they are saved, and the panels that they share."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

from ekman_expressions.core.errors import DataError, check_option
from ekman_expressions.core.files import atomic_path
from ekman_expressions.zoo import NETWORKS

_P = ParamSpec("_P")

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/)."""

_GROUP_COLOURS = {"pre-trained": PALETTE[0], "from scratch": PALETTE[5], "own model": PALETTE[2]}
"""The colours of the kinds of networks, the same in all figures."""

COLUMN, PAGE, PAGE_HEIGHT = 3.5, 7.1, 9.6
"""Widths of one and of two printed columns, and the height of a page, in inches.

On a web page of 880 pixels, 660 points, a page's letters are as large as they are drawn."""

_SCALE = 9 / 7
"""Figures are drawn so much larger than they are printed: letters of 9 points on a screen are 7 in print."""

SIGNED, UNSIGNED, MOVEMENT = "RdBu_r", "viridis", "inferno"
"""The colour maps: of values around zero, of values from zero, and of what moves in a face."""

MISSING, GRID = "#DDDDDD", "#E5E5E5"
"""The colours of what is missing (always hatched or labelled too), and of lines behind the data."""

_DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), "-.")
"""How lines of baselines differ."""

SCREEN_DPI, FILE_DPI = 100, 200

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "figure.labelsize": 10,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "figure.dpi": SCREEN_DPI,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "svg.hashsalt": "ekman_expressions",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
"""What differs from matplotlib's defaults."""


def network_kinds(networks: Iterable[str], weights: str) -> dict[str, str]:
    """Return each network's group, "pre-trained", "from scratch" or "own model".

    Networks that are not in `ekman_expressions.zoo.NETWORKS` are models of one's own; with the
    experiment's ``training.weights`` ``"none"`` all others started from scratch.
    """

    started = {
        name: "pre-trained" if row.pretrained and weights != "none" else "from scratch"
        for name, row in NETWORKS.items()
    }
    return {network: started.get(network, "own model") for network in networks}


def span(counts: Iterable[float]) -> str:
    """Return how many there are, for the notes of figures: "36", or "36 to 40" where counts differ."""
    counts = list(counts)
    low, high = min(counts), max(counts)
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def save(figure: Figure, path: Path, *, caption: str = "") -> None:
    """Write a figure atomically, in the format of the suffix; equal figures give equal bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : Path
        Ends in .png, .svg or .pdf.
    caption : str
        How to read it: written, with its title, into a PNG as the texts Comment and Title. The report
        shows them.
    """
    from matplotlib import style

    texts = {"Title": figure.get_suptitle().replace("\n", " "), "Comment": caption}
    # None: what each format would note about the time and the program.
    noted = {
        ".png": {"Software": None} | {name: text for name, text in texts.items() if text},
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    path = Path(path)
    check_option(path.suffix, "the suffix of a figure", noted)
    with style.context(_STYLE, after_reset=True), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=FILE_DPI, metadata=noted[path.suffix])


def _styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw in the package's style, whatever the caller's, and settle the layout once.

    A layout that is computed at every later drawing moves a little each time, and a figure that
    was shown before it was saved would give other bytes.
    """

    @functools.wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        from matplotlib import style

        with style.context(_STYLE, after_reset=True):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure

    return drawn


def _png(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """Return a figure as notebooks show it, twice as fine as it is wide: screens have two dots a pixel."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=2 * SCREEN_DPI, metadata={"Software": None})
    wide, high = (round(side * SCREEN_DPI) for side in figure.get_size_inches())
    return memory.getvalue(), {"width": wide, "height": high}


def _new_figure(width: float, height: float, title: str = "", *, layout: str = "constrained") -> Figure:
    """Return an empty figure of so many printed inches, and more for its title, without any backend."""
    from matplotlib.figure import Figure

    lines = wrap(title, int(width / 0.085))
    size = width * _SCALE, (height + 0.22 * len(lines)) * _SCALE
    figure = Figure(figsize=size, layout=layout)
    # So that notebooks show it, although pyplot, which teaches them to, was never imported.
    figure._repr_png_ = functools.partial(_png, figure)
    if title:
        figure.suptitle("\n".join(lines))
    return figure


def _panels(figure: Figure, count: int, columns: int, **shared: Any) -> list[Axes]:
    """Return `count` axes in rows of at most `columns`; what is over in the last row is hidden."""
    columns = min(columns, count)
    grid = figure.subplots(-(-count // columns), columns, squeeze=False, **shared)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)  # shared axes label the last row only, even where it is hidden
    return list(grid.flat[:count])


def _bare(axes: Axes) -> None:
    """Remove ticks and frame from axes that show a picture; their labels stay."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _mark_missing(axes: Axes) -> None:
    """Fill empty axes with gray hatching and say so, so that missing is not taken for zero."""
    axes.patch.set(facecolor=MISSING, edgecolor="white", hatch="////")
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center")


def _show(axes: Axes, image: np.ndarray, title: str = "", **options: Any) -> AxesImage:
    """Show an image, 8 bit or in [0, 1] unless `options` say else, on bare axes in units of its pixels.

    Pixel (row r, column c) covers [c, c + 1] x [r, r + 1], as everywhere in the package.
    """
    high, wide = image.shape[:2]
    if image.ndim == 3:
        image = _to_unit(image)
    shown = axes.imshow(image, extent=(0, wide, high, 0), **options)
    axes.set(xlim=(0, wide), ylim=(high, 0))
    if title:
        axes.set_title(title)
    _bare(axes)
    return shown


def _to_unit(image: np.ndarray) -> np.ndarray:
    """Return 8-bit or float pixels as float in [0, 1]."""
    return image / 255 if image.dtype == np.uint8 else np.clip(image, 0, 1)


def _lay_over(face: np.ndarray, share: np.ndarray, colours: str = UNSIGNED) -> np.ndarray:
    """Blend a map in [0, 1], in colours, over a face in gray; (H, W, 3) float."""
    from matplotlib import colormaps

    gray = _to_unit(face)
    gray = gray.mean(axis=-1) if gray.ndim == 3 else gray
    return np.clip(0.4 * gray[..., None] + 0.6 * colormaps[colours](share)[..., :3], 0, 1)


def _outline(axes: Axes, mask: np.ndarray, colour: str, linewidth: float = 0.9) -> None:
    """Draw the border of a mask."""
    from contourpy import contour_generator
    from matplotlib.collections import LineCollection

    high, wide = mask.shape
    middles = np.arange(wide) + 0.5, np.arange(high) + 0.5
    lines = contour_generator(*middles, mask.astype(float)).lines(0.5)
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=linewidth), autolim=False)


def _colour_bar(figure: Figure, shown: ScalarMappable, axes: Any, label: str = "", **options: Any) -> Colorbar:
    """Add a scale of at most 1.9 printed inches without a frame."""
    shrink = min(1, 1.9 * _SCALE / figure.get_figheight())
    options = {"shrink": shrink, "aspect": 16, "pad": 0.02} | options
    bar = figure.colorbar(shown, ax=axes, label=label, **options)
    bar.outline.set_visible(False)
    return bar


def _line(label: str, colour: str = "black", **style: Any) -> Artist:
    """Return an entry of a legend: a line, or a marker."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"color": colour, "label": label} | style)


def _patch(label: str, colour: Any, **style: Any) -> Artist:
    """Return an entry of a legend: an area."""
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=label, **style)


def _require(things: Any, what: str) -> None:
    """Raise `DataError` if a collection or table has nothing in it."""
    if len(things) == 0:
        raise DataError(f"There are no {what} to draw.")


def _legend(figure: Figure, entries: Sequence[Artist], columns: int = 4, **options: Any) -> None:
    """Put a legend below the panels."""
    if entries:
        options = {"loc": "outside lower center", "ncols": min(len(entries), columns)} | options
        figure.legend(handles=list(entries), **options)


def _group_colour(groups: Mapping[str, str] | None, name: str) -> str:
    """Return the colour of what a label belongs to, the same in all figures; black is of no group."""
    if not groups:
        return PALETTE[0]
    if name not in groups:
        return "black"
    spare = [colour for colour in PALETTE if colour not in _GROUP_COLOURS.values()]
    others = sorted({group for group in groups.values() if group not in _GROUP_COLOURS})
    return _GROUP_COLOURS.get(groups[name]) or spare[others.index(groups[name]) % len(spare)]


def _group_entries(groups: Mapping[str, str] | None, names: Iterable[str], **style: Any) -> list[Artist]:
    """Return the entries of a legend for the groups that names belong to."""
    one_of = {groups[name]: name for name in names if name in groups} if groups else {}
    return [_line(group, _group_colour(groups, one_of[group]), **style) for group in sorted(one_of)]
