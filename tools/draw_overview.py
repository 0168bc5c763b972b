"""Draw resources/overview.png, the README's picture, from the demo's artefacts."""

from __future__ import annotations

from pathlib import Path

from ekman_expressions import (
    Experiment,
    comparison,
    datasets,
    explainers,
    facespace,
    figures,
    heatmaps,
    masks,
)
from ekman_expressions.explainers.lime import lime, paint
from ekman_expressions.expressions import EXPRESSIONS, index
from ekman_expressions.perturbation import PerturbationRecord

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Take the network and expression with the highest IoU, and its best described face."""
    experiment = Experiment.preset("demo", root=REPOSITORY)
    scores = comparison.read_scores(experiment, pooled=True)
    cells = scores[scores.network.isin(experiment.networks) & scores.expression.str.lower().isin(EXPRESSIONS)]
    best = cells.sort_values("iou").iloc[-1]
    network, expression = best.network, best.expression.lower()

    table = explainers.read_explanations(experiment)
    row = table[(table.network == network) & (table.expression == expression)].sort_values("r2").iloc[-1]
    record = PerturbationRecord.load(experiment.record_path(network, row.fold, row.image_id))
    settings = experiment.explanation
    explanation = lime(record, index(expression), kernel_width=settings.kernel_width, alpha=settings.alpha)
    landmarks = datasets.read_landmarks(experiment, row.image_id)
    heatmap = heatmaps.read_gray(experiment, expression, network)
    figure = figures.overview(
        datasets.read_faces(experiment, [row.image_id], 224)[0],
        landmarks,
        record.segments,
        explanation.weights,
        facespace.normalise(paint(explanation.weights, record.segments), landmarks),
        heatmap,
        heatmaps.threshold_otsu(heatmap)[1],
        masks.ekman_mask(expression),
        iou=best.iou,
        what=f"{network}, {expression}",
    )
    figures.save(figure, REPOSITORY / "resources" / "overview.png")


if __name__ == "__main__":
    main()
