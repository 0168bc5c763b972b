"""Figures of a report: each as PNG (300 dpi), SVG and PDF, with the table behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import atomic_path, write_csv
from ekman_expressions.study.provenance import Run

PRINT_DPI = 300


@dataclass(frozen=True, eq=False, kw_only=True)
class Plot:
    """A figure to be drawn.

    Attributes
    ----------
    name : str
        Of its files, and its anchor on the page.
    title, caption : str
        Above and below it.
    alt : str
        What it shows, for readers who do not see it.
    draw : callable
        Returns the matplotlib Figure.
    table : DataFrame
        The numbers behind it.
    vector : tuple of str
        Suffixes of the vector formats: a wall of pixels is too large as SVG.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure]
    table: pd.DataFrame
    vector: tuple[str, ...] = (".svg", ".pdf")


def publish(plots: Iterable[Plot], folder: Path, run: Run) -> list[dict[str, Any]]:
    """Write the files of figures below ``figures/`` and return what their page says of them.

    A figure that cannot be drawn is listed in `run`, and the others go on.
    """
    published: list[dict[str, Any]] = []
    plots = list(plots)
    if not plots:
        return published
    for plot in tqdm(plots, desc="Drawing figures", unit="figure"):
        path = folder / "figures" / f"{plot.name}.png"
        try:
            figure = plot.draw()
        except DataError as error:
            run.omit(f"figure {plot.name}", error)
            continue
        figures.save(figure, path, dpi=PRINT_DPI)
        _shrink(path, few_colours=not any(axes.images for axes in figure.axes))
        for suffix in plot.vector:
            figures.save(figure, path.with_suffix(suffix))
        write_csv(path.with_suffix(".csv"), plot.table)
        width, height = np.round(figure.get_size_inches() * 96).astype(int).tolist()
        links = [("PNG, 300 dpi", ".png"), *((suffix[1:].upper(), suffix) for suffix in plot.vector)]
        published.append(
            {
                "name": plot.name,
                "title": plot.title,
                "caption": plot.caption,
                "alt": plot.alt,
                "width": width,
                "height": height,
                "image": f"figures/{path.name}",
                "links": [
                    (text, f"figures/{plot.name}{suffix}") for text, suffix in (*links, ("CSV", ".csv"))
                ],
            }
        )
        run.done += 1
    return published


def _shrink(path: Path, *, few_colours: bool) -> None:
    """Write a PNG anew, smaller: one of lines and letters needs no more than 256 colours."""
    from PIL import Image

    with Image.open(path) as drawn:
        picture = drawn.convert("RGB")
    if few_colours:
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True, dpi=(PRINT_DPI, PRINT_DPI))
