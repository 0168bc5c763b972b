"""Figures of explainers beside each other, of known answers, and of where heatmaps have their mass."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from ekman_expressions import figures
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.facespace import masks
from ekman_expressions.measures.explainer_agreement import matrix
from ekman_expressions.report.atlas import explainer_title
from ekman_expressions.report.plots import Plot
from ekman_expressions.report.source import Source
from ekman_expressions.study import known_answers_figures

_AGREEMENT = {
    "heatmap_correlations": (
        "correlation",
        "Heatmaps: mean Pearson r over networks and expressions",
        "Heatmaps over the faces that all explained.",
    ),
    "rank_correlations": (
        "spearman",
        "Order of networks: Spearman",
        "By mean IoU with the Ekman masks, each explainer on the faces that it explained.",
    ),
}


def explainer_plots(source: Source) -> Iterator[Plot]:
    """Yield how far explainers agree, in their heatmaps and in how they order the networks."""
    for name, (value, heading, caption) in _AGREEMENT.items():
        table = source.table("explainers", f"{name}.csv")
        if table is None or not table[value].notna().any():
            continue
        # Two networks are in the same order or in the opposite one: nothing to draw.
        if name == "rank_correlations" and len(source.networks) < 3:
            continue
        means = table.groupby(["first", "second"])[value].mean()
        (first, second), (near, far) = means.idxmax(), means.idxmin()
        most = f"{explainer_title(first)} and {explainer_title(second)} ({means.max():.2f})"
        least = f"{explainer_title(near)} and {explainer_title(far)} ({means.min():.2f})"
        names = {each: explainer_title(each) for each in {*table["first"], *table["second"]}}
        yield Plot(
            name=f"agreement_{name}",
            title=heading,
            caption=caption,
            alt=f"Matrix of correlations of {len(names)} explainers. Most alike: {most}; least: {least}.",
            draw=partial(
                figures.annotated_matrix,
                matrix(table, value),
                "correlation",
                limits=(-1, 1),
                names=names,
                title=heading,
            ),
            table=table,
        )


def known_plots(source: Source) -> Iterator[Plot]:
    """Yield the localisation benchmark, and the Ekman masks against what moves."""
    table = source.table("known_answers", "localisation.csv")
    if table is not None and (table["network"] != "none").any():
        rows = table[(table["faces"] == "all") & (table["score"] == "auc") & (table["network"] != "none")]
        best = rows.loc[rows["value"].idxmax()]
        yield Plot(
            name="localisation",
            title="Do explanations find what changed?",
            caption="AUC: how often a changed pixel is hotter than another, 0.5 by chance. Density: the mass "
            "on changed pixels for their area, 1 by chance. Bands: a map that knows only the middle of the "
            "face, and the change of the image itself.",
            alt=f"Dots with intervals for {rows['explainer'].nunique()} explainers and "
            f"{rows['network'].nunique()} networks. Highest AUC: {explainer_title(best['explainer'])} on "
            f"{best['network']}, {best['value']:.3f} ({best['low']:.3f} to {best['high']:.3f}).",
            draw=partial(known_answers_figures.localisation_figure, table),
            table=table,
        )
    pairs = source.table("known_answers", "masks.csv")
    summary = source.table("known_answers", "masks_summary.csv")
    if pairs is not None and summary is not None and len(pairs) and len(summary):
        found = summary.set_index("statistic")["value"]
        yield Plot(
            name="masks_known",
            title="Do the Ekman masks describe what moves?",
            caption="If they did, the framed cells would be the highest of their rows.",
            alt=f"Table of IoU of each mask with what moves in each expression: own {found['own']:.3f}, "
            f"others {found['others']:.3f} on average.",
            draw=partial(known_answers_figures.masks_figure, pairs, summary),
            table=pairs,
        )


def region_plots(source: Source) -> Iterator[Plot]:
    """Yield a face per network and expression, its regions in the colours of their density."""
    table = source.table("regions", "regions.csv")
    if table is None:
        return
    table = table[(table["level"] == "region") & (table["region"] != "elsewhere")]
    groups = {keys: rows.set_index("region") for keys, rows in table.groupby(["network", "expression"])}
    order = [(net, name) for net in dict.fromkeys(table["network"]) for name in EXPRESSIONS]
    cells = {(net, title(name)): groups[net, name] for net, name in order if (net, name) in groups}
    if not cells:
        return
    means = table[table["network"] == table["network"].iloc[-1]].groupby("region")["density"].mean()
    atlas = masks.atlas()
    yield Plot(
        name="regions",
        title="Mass for the size of the region",
        caption="Red regions hold more of the heatmap's mass than their size would give, blue ones less. "
        "A thick outline: the whole 95 % interval lies above 1.",
        alt=f"Drawn faces, {len(cells)} of them. Densest on average in the last row: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in means.nlargest(3).items())
        + ".",
        draw=partial(
            figures.region_faces,
            {cell: rows["density"].to_dict() for cell, rows in cells.items()},
            {name: atlas.region(name) for name in atlas.names},
            certain={cell: list(rows.index[rows["density_low"] > 1]) for cell, rows in cells.items()},
            note=f"95 % intervals over {_span(table['units'])} {table['unit'].iloc[0]}",
        ),
        table=table,
        vector=(),
    )


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
