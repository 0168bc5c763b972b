"""One style for all figures, and how they are made and saved: no global state, equal bytes."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ekman_expressions.core.errors import check_option
from ekman_expressions.core.files import atomic_path
from ekman_expressions.zoo.spec import NETWORKS

P = ParamSpec("P")

PALETTE: tuple[str, ...] = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/)."""

GROUP_COLOURS: dict[str, str] = {
    "pre-trained": PALETTE[0],
    "from scratch": PALETTE[5],
    "own model": PALETTE[2],
}
"""The colours of the kinds of networks, the same in all figures."""

COLUMN, PAGE, PAGE_HEIGHT = 3.5, 7.2, 9.6
"""Widths of one and of two printed columns, and the height of a page, in inches."""

MISSING = "#DDDDDD"
"""The colour of what is not there; always hatched or labelled too."""

SCREEN_DPI, FILE_DPI = 100, 200

# Sizes in points at the printed size: nothing is smaller than 7.
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "figure.facecolor": "white",
    "figure.dpi": SCREEN_DPI,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "svg.hashsalt": "ekman_expressions",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def network_kinds(networks: Iterable[str], weights: str) -> dict[str, str]:
    """Return each network's group, "pre-trained", "from scratch" or "own model".

    Parameters
    ----------
    networks : iterable of str
        Names in `ekman_expressions.zoo.NETWORKS`; others are models of one's own.
    weights : str
        The experiment's ``training.weights``; with ``"none"`` all started from scratch.
    """

    def kind(network: str) -> str:
        if network not in NETWORKS:
            return "own model"
        return "pre-trained" if NETWORKS[network].pretrained and weights != "none" else "from scratch"

    return {network: kind(network) for network in networks}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the package's style, whatever the caller's, and settle the layout once.

    A layout that is left to every later drawing moves a little each time, and a figure that
    was shown before it was saved would give other bytes.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure

    return drawn


def new_figure(width: float, height: float, *, layout: str = "constrained") -> Figure:
    """Return an empty figure of so many inches that belongs to no window or backend."""
    return _picture_class()(figsize=(width, height), layout=layout)


@functools.cache
def _picture_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that notebooks show although pyplot, which teaches them to, was never imported."""

        def _repr_png_(self) -> bytes:
            memory = io.BytesIO()
            self.savefig(memory, format="png", dpi=SCREEN_DPI, metadata={"Software": None})
            return memory.getvalue()

    return Picture


def save(figure: Figure, path: Path, *, dpi: int = FILE_DPI) -> None:
    """Write a figure atomically, in the format of the suffix; equal figures give equal bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : Path
        Ends in .png, .svg or .pdf.
    dpi : int
        Pixels per inch of a PNG.

    Raises
    ------
    SettingsError
        If the suffix is another one.
    """
    import matplotlib

    # What each format would note about the time and the program.
    noted: Mapping[str, dict[str, None]] = {
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    path = Path(path)
    check_option(path.suffix, "the suffix of a figure", noted)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=dpi, metadata=noted[path.suffix])


def bare(axes: Axes) -> None:
    """Take ticks and frame off axes that show an image; their labels stay."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def mark_missing(axes: Axes, text: str = "no data") -> None:
    """Fill empty axes with gray hatching and say so, so that missing is not taken for zero."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor=MISSING, edgecolor="white", hatch="////")
    )
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=7)
