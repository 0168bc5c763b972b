"""Draw the README's pictures, resources/*.png, from the demo's artefacts.

``python tools/draw_resources.py`` draws those of the demo, ``python tools/draw_resources.py twelve`` the
networks of the preset "small" beside the study and their heatmaps (``resources/twelve.png``,
``resources/heatmaps_small.png``), and writes README.md into the folders of figures.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from two_studies import correspondence, two_studies

from ekman_expressions import Experiment, figures
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_image
from ekman_expressions.faces import synthetic
from ekman_expressions.facespace import heatmaps, masks, warp
from ekman_expressions.figures import _style as style
from ekman_expressions.figures import faces, walls
from ekman_expressions.measures import trees
from ekman_expressions.measures.heatmap_set import assess, read_heatmaps
from ekman_expressions.measures.scores import AVERAGE, _iou_table
from ekman_expressions.measures.uncertainty import centre_ellipse
from ekman_expressions.study import explanations, known_answers, prepared, published, read_results
from ekman_expressions.zoo import NETWORKS

REPOSITORY = Path(__file__).resolve().parent.parent


def draw_overview(experiment: Experiment) -> None:
    """Take the most accurate network, its expression with the highest IoU, its best described face of it."""
    network = read_results(experiment, "evaluation", "accuracy").sort_values("accuracy").network.iloc[-1]
    scores = read_results(experiment, "scores", "scores_pooled")
    cells = scores[(scores.network == network) & (scores.expression != AVERAGE)]
    best = cells.loc[cells.iou.idxmax()]
    expression = best.expression.lower()

    table = read_results(experiment, "facespace", "explanations")
    # Faces are explained for what is predicted: show one that is predicted right.
    shown = table.image_id.str.contains(f"_{expression}_") & (table.expression == expression)
    row = table.loc[table[shown & (table.network == network)].r2.idxmax()]
    found = explanations.read_explanation(experiment, network, row.fold, row.image_id, expression)
    landmarks = prepared.read_landmarks(experiment, row.image_id)
    heatmap = heatmaps.read_gray(experiment.heatmaps_folder, expression, network)
    counts = read_results(experiment, "heatmaps", "counts").query("network == @network and expression == @expression")
    figure = overview_figure(
        prepared.read_faces(experiment, [row.image_id], 224)[0],
        landmarks,
        found.segments,
        found.weights,
        warp.normalise(np.maximum(found.map, 0), landmarks),
        heatmap,
        heatmaps.threshold_otsu(heatmap)[1],
        masks.ekman_mask(expression),
        iou=best.iou,
        what=f"{network}, {expression}",
        count=int(counts["images"].sum()),
    )
    figures.save(figure, REPOSITORY / "resources" / "overview.png")


def draw_heatmaps(experiment: Experiment) -> None:
    """Draw the heatmaps of all networks with the outlines of the Ekman masks."""
    wall = {
        (network, title(expression)): heatmaps.read_gray(experiment.heatmaps_folder, expression, network)
        if heatmaps.heatmap_path(experiment.heatmaps_folder, expression, network).is_file()
        else None
        for network in experiment.networks
        for expression in EXPRESSIONS
    }
    outlines = {title(expression): masks.ekman_mask(expression) for expression in EXPRESSIONS}
    figure = figures.heatmap_wall(wall, outlines=outlines)
    figures.save(figure, REPOSITORY / "resources" / sheet_name(experiment))


def sheet_name(experiment: Experiment) -> str:
    """Return the file name of the sheet of an experiment's heatmaps."""
    return "heatmaps.png" if experiment.name == "demo" else f"heatmaps_{experiment.name}.png"


def draw_movement(experiment: Experiment) -> None:
    """Draw where the synthetic faces move: one face with its masks, and the mean of each expression."""
    rows = synthetic.load().set_index("image_id")
    face = rows.loc["id03_happiness_0"]
    images = read_image(rows.path[face.neutral]), read_image(face.path)
    figure = figures.causal_layers(*images, synthetic.read_layers(face.name), title=face.name)
    figures.save(figure, REPOSITORY / "resources" / "synthetic_face.png")

    moved = known_answers.causal_maps(experiment)
    total, agreement = moved.means, moved.agreement
    ids = prepared.read_manifest(experiment).groupby("expression")["image_id"]
    faces = {name: prepared.mean_face(experiment, of_name).mean for name, of_name in ids}
    figure = figures.causal_wall(
        {title(name): faces[name] for name in total},
        {title(name): total[name] for name in total},
        {title(name): masks.ekman_mask(name) for name in total},
        {title(name): agreement.loc[name, name] for name in total},
    )
    figures.save(figure, REPOSITORY / "resources" / "movement.png")


def draw_causal(experiment: Experiment) -> None:
    """Draw what the change of each part does to the predictions, all networks together."""
    values = read_results(experiment, "explainers", "causal_values")
    parts = masks.atlas().parts
    means = values.groupby("expression")[list(parts)].mean()
    counts = values.groupby("expression").size()
    figure = figures.region_faces(
        {("all networks", title(name)): means.loc[name].to_dict() for name in EXPRESSIONS if name in means.index},
        parts,
        scale="weight",
        outlines={title(name): masks.ekman_mask(name) for name in EXPRESSIONS},
        title="What the change of each part from the person's neutral face does to the prediction",
        note=f"Shapley values, means of {figures.span(counts)} faces per expression; outlines: Ekman masks",
    )
    figures.save(figure, REPOSITORY / "resources" / "causal.png")


def draw_published() -> None:
    """Draw the published IoU beside what knows nothing, and, where the released heatmaps are, what remains."""
    table = published.numbers("scores")
    rows = table[(table["network"] != AVERAGE) & (table["expression"] != AVERAGE)]
    drawn = np.array([masks.ekman_mask(name) for name in EXPRESSIONS])
    references = {
        "all-white mask": drawn.mean(),
        "ellipse in the middle of the canvas": _iou_table(centre_ellipse(0.3), drawn).mean(),
    }
    figure = figures.barplot(
        rows,
        label="network",
        value="iou",
        points="expression",
        groups=figures.network_kinds(NETWORKS, weights="imagenet"),
        references=references,
        title="Published IoU with the Ekman masks (means of 5 folds; dots: expressions)",
        axis_label="IoU",
    )
    figures.save(figure, REPOSITORY / "resources" / "published.png")
    folder = published.locate()
    if folder is None:
        print("The released heatmaps are not here: published_cells.png stays as it is.")
        return
    folds = [f"CV{number}" for number in range(1, 6)]
    released = read_heatmaps(folder, drawn, list(NETWORKS), folds, omit=print)
    cells = assess(released, seed=0)["cells"].query("kind == 'network'")
    cells = cells.assign(above=cells["above_mean_map"] - cells["chance"])
    wide = cells.pivot(index="network", columns="expression", values=["above", "p_corrected"])
    wide = wide.loc[list(dict.fromkeys(cells["network"]))]
    figure = figures.annotated_matrix(
        wide["above"],
        "IoU above the network's mean map",
        p=wide["p_corrected"],
        title="What remains of the released heatmaps once each network's mean map is taken out",
        note="chance 0; n = 5 folds\n* p < 0.05 against random facial regions, corrected for all cells",
    )
    figures.save(figure, REPOSITORY / "resources" / "published_cells.png")


def draw_twelve(experiment: Experiment) -> None:
    """Draw an experiment of the study's networks beside the study: order by IoU, heatmaps, trees."""
    folder = published.locate(download=False)
    if folder is None:
        print("The released heatmaps are not here (set EKMAN_EXPRESSIONS_PUBLISHED): twelve.png stays as it is.")
        return
    here = read_results(experiment, "scores", "scores")
    tables = {f"here ({experiment.name})": here, "published": published.numbers("scores")}
    iou = pd.DataFrame(
        {name: table[table["expression"] == AVERAGE].set_index("network")["iou"] for name, table in tables.items()}
    )
    iou = iou.loc[[name for name in experiment.networks if name in iou.index]].dropna()
    here, there = (
        {
            (network, title(name)): heatmaps.read_gray(root, name, network)
            for network in iou.index
            for name in EXPRESSIONS
            if heatmaps.heatmap_path(root, name, network).is_file()
        }
        for root in (experiment.heatmaps_folder, folder)
    )
    found = correspondence(here, there, seed=experiment.seed)
    iou, facts = iou.loc[found.own.index], found.statistics
    totals = [
        {name: np.mean([maps[key] for key in maps if key[1] == name], axis=0) for name in found.own}
        for maps in (here, there)
    ]
    rows = found.own.copy()
    rows.loc["all networks"] = [1 - trees.distances([maps[name] for maps in totals])[0, 1] for name in found.own]
    order = spearmanr(iou.iloc[:, 0], iou.iloc[:, 1])

    def chance(p: float) -> str:
        return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"

    figure = two_studies(
        iou,
        rows,
        dict(zip(iou.columns, map(trees.linkage, found.distances), strict=True)),
        groups=figures.network_kinds(iou.index, weights="imagenet"),
        notes=(
            f"Spearman's r = {order.statistic:.2f}, {chance(order.pvalue)}",
            f"same network {facts['own']:.2f},\ntwo networks {facts['others']:.2f}, {chance(facts['own_p'])}",
            f"means over expressions; r of the distances in both {facts['trees']:.2f}, "
            f"{chance(facts['trees_p'])}\n"
            "colours: how the networks of the published study began",
        ),
        title=f"{len(iou)} networks on synthetic faces, all from scratch, beside the published study",
    )
    figures.save(figure, REPOSITORY / "resources" / "twelve.png")


PAGES = {
    "heatmaps": (
        "Heatmaps",
        "Each picture is the mean of many explanations by LIME, aligned by the landmarks of the faces, over the mean face of the "
        "expression. Yellow: hiding this part of the face lowers the network's prediction of the expression most; dark blue: least. "
        "Each picture is stretched to its own lowest and highest value (the strip at its right): colours say where, not how much. "
        "The outline is the Ekman mask, the regions that Ekman and Friesen describe for the expression: a reference, not a truth. "
        "The faces are synthetic.\n\n"
        "What the scores of such heatmaps are worth: [the published heatmaps](../docs/published.md). Words: "
        "[glossary](../docs/glossary.md). `COLORMAP_JET`, `GRAY` and `THRESHOLD` have the same heatmaps in the study's colours, in "
        "gray, and cut at Otsu's threshold.",
    ),
    "barplots": (
        "Scores",
        "How far heatmaps above Otsu's threshold agree with the Ekman masks, by network, sorted by the average over expressions. "
        "IoU is the area that heatmap and mask share, divided by the area that either covers: 0 if they do not touch, 1 if they are "
        "the same. Dots: folds; dashed: the score of a mask that marks everything, and so knows nothing. A bar that does not pass "
        "it says little, and an ellipse in the middle of the face passes it easily: "
        "[what the scores are worth](../docs/statistics.md).",
    ),
    "dendograms": (
        "Dendrograms",
        "Which networks look at the same places. The further right two networks join, the more alike are their heatmaps (the axis: "
        "1 − Pearson's correlation; average linkage). Numbers at branches: in how many per cent of the draws of folds the same "
        "branch comes back; below about 90 a branch is uncertain ([how this is measured](../docs/known_answers.md#dendrograms)). "
        "Trees of all folds (`<expression>_by_CV.png`) are in the same folder.",
    ),
}


def write_pages(experiment: Experiment) -> None:
    """Write README.md into the folders of figures, so that they can be browsed on a web page.

    Of the experiment whose figures are in the repository; those of others are not there to be shown.
    """
    name, count = experiment.name, len(experiment.networks)
    titles = [title(expression) for expression in EXPRESSIONS]

    def shown(folder: str, *images: str) -> list[str]:
        return [f"![{Path(image).stem}]({image})" for image in images if (REPOSITORY / folder / image).exists()]

    for folder, (heading, text) in PAGES.items():
        lines = [f"# {heading}", "", text]
        lines += ["", f"## `{name}`: {count} networks, {len(experiment.folds)} folds"]
        if folder == "barplots":
            scores = ("IoU", "Precision", "Recall")
            images = [f"{name}/By_expression.png", *(f"{name}/{score}_by_net.png" for score in scores)]
        elif folder == "dendograms":
            images = [f"{name}/By_expression.png", *(f"{name}/{t}_by_net.png" for t in titles)]
        else:
            images = [f"../resources/{sheet_name(experiment)}"]
        # One below another: beside each other their letters would be too small to be read.
        lines += [line for image in shown(folder, *images) for line in ("", image)]
        if folder == "heatmaps":
            lines += ["", f"| | {' | '.join(titles)} |", "|---" * 7 + "|"]
            rows = {"Ekman mask": "GROUND_TRUTH/{}_gt.png"}
            rows["all networks"] = f"{name}/OVERLAY/heatmaps_total/{{}}_heatmap.png"
            rows["in the study's colours"] = f"{name}/COLORMAP_JET/heatmaps_total/{{}}_heatmap.png"
            for network in experiment.networks:
                rows[network] = f"{name}/OVERLAY/heatmaps_by_net/{network}_{{}}_heatmap.png"
            for label, image in rows.items():
                cells = ["".join(shown(folder, image.format(t))) for t in titles]
                lines.append(f"| {label} | {' | '.join(cells)} |")
        (REPOSITORY / folder / "README.md").write_text("\n".join(lines) + "\n", "utf-8")


@style._styled
def overview_figure(
    face: np.ndarray,
    landmarks: np.ndarray,
    segments: np.ndarray,
    weights: np.ndarray,
    normalised: np.ndarray,
    heatmap: np.ndarray,
    above: np.ndarray,
    mask: np.ndarray,
    *,
    iou: float,
    what: str,
    count: int,
) -> Figure:
    """Draw the whole method in one row: face, explanation, face space, heatmap and comparison.

    `landmarks` are in units of the face; `weights` are those of the superpixels `segments`; `above` is the
    heatmap above its threshold, the mean of `count` faces; `what` says of what.
    """
    figure = style._new_figure(style.PAGE, 2.3)
    grid = style._panels(figure, 5, 5)
    for axes in grid:
        axes.set_anchor("N")
    style._show(grid[0], face, "1  a face,\nits landmarks")
    grid[0].plot(*(np.asarray(landmarks) * face.shape[1::-1]).T, ".", color=style.PALETTE[4], markersize=2)
    style._show(grid[1], np.full((*segments.shape, 3), 1.0), "2  where the\nnetwork looks")
    faces._draw_weights(grid[1], weights[segments], segments)
    style._show(grid[2], normalised, "3  in face\nspace", cmap=style.UNSIGNED, vmin=0, vmax=normalised.max() or 1)
    style._show(grid[3], heatmap, f"4  mean of {count}:\n{what}", cmap=style.UNSIGNED, vmin=0, vmax=255)
    style._show(grid[4], walls._agreement(above, mask), f"5  against the\nmask: IoU {iou:.2f}")
    style._legend(figure, walls._agreement_entries(), loc="outside lower right")
    return figure


def main() -> None:
    """Draw all of the demo, and take what a step has drawn; or, with ``twelve``, what the small study adds."""
    if sys.argv[1:] == ["twelve"]:
        small = Experiment.preset("small", root=REPOSITORY)
        draw_twelve(small)
        draw_heatmaps(small)
        write_pages(small)
        return
    experiment = Experiment.preset("demo", root=REPOSITORY)
    drawn = experiment.statistics_folder / "intervals_iou.png"
    shutil.copyfile(drawn, REPOSITORY / "resources" / "intervals.png")
    draw_overview(experiment)
    draw_heatmaps(experiment)
    draw_movement(experiment)
    draw_causal(experiment)
    draw_published()


if __name__ == "__main__":
    main()
