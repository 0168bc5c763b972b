"""Movement of the landmarks, and MediaPipe's blendshapes, against what is known of the synthetic faces.

    python benchmarks/movement.py --out benchmarks/results/movement.csv [--figure movement.png]

For each of the 960 faces `movement` from the neutral face of the same shot, and from that of another (other
pose and light), is correlated within the face hull with how far the visible surface moved by construction: as
it is, both blurred to the resolution at which explanations are compared, and the means over faces of each
expression. Then the AUC of blendshapes for each action unit that was rendered, over all 1,120 faces, as they
are and less the neutral face's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions import figures
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_image
from ekman_expressions.faces import LandmarkDetector, synthetic
from ekman_expressions.faces.cropping import _crop_face
from ekman_expressions.facespace import SHAPE, atlas, movement
from ekman_expressions.facespace.heatmaps import _RunningMean
from ekman_expressions.measures.scores import auc
from ekman_expressions.study.known_answers import _layer_in_face_space

TRUTH = "as rendered"
BLUR = SHAPE[1] / 16

# What each rendered unit should raise; the mean of both sides.
SHAPES = {
    1: "browInnerUp", 2: "browOuterUp", 4: "browDown", 5: "eyeWide", 6: "cheekSquint", 7: "eyeSquint", 9: "noseSneer",
    10: "mouthUpperUp", 12: "mouthSmile", 15: "mouthFrown", 16: "mouthLowerDown", 17: "mouthShrugLower",
    20: "mouthStretch", 23: "mouthRoll", 24: "mouthPress", 26: "jawOpen", 27: "jawOpen", 43: "eyeBlink",
    64: "eyeLookDown",
}  # fmt: skip


Means = dict[tuple[str, str], _RunningMean]


def correlations(rows: pd.DataFrame, found: dict) -> tuple[pd.DataFrame, Means]:
    """Return a row per face and shot of the neutral face, and the mean maps by kind and expression."""
    hull, table = atlas().hull, []
    means: Means = {}
    for row in tqdm(rows[rows["expression"] != "neutral"].itertuples(), total=960, desc="Movement"):
        image, size = read_image(Path(row.path)), 224
        _, landmarks, transform = _crop_face(image, found[row.image_id].points, size)
        layer = synthetic.read_layers(row.image_id)[synthetic.TOTAL]
        truth = _layer_in_face_space(layer, transform, landmarks, size)
        means.setdefault((TRUTH, row.expression), _RunningMean()).add(truth)
        other = f"{row.neutral[:-1]}{(int(row.neutral[-1]) + 1) % 4}"
        for shot, neutral in (("same shot", row.neutral), ("other shot", other)):
            moved = movement(found[row.image_id].mesh, found[neutral].mesh)
            pair = truth[hull], moved[hull]
            blurred = (cv2.GaussianBlur(each, (0, 0), BLUR)[hull] for each in (truth, moved))
            table.append((row.image_id, row.expression, shot, np.corrcoef(*pair)[0, 1], np.corrcoef(*blurred)[0, 1]))
            means.setdefault((shot, row.expression), _RunningMean()).add(moved)
    return pd.DataFrame(table, columns=["image_id", "expression", "neutral", "correlation", "blurred"]), means


def summarise(table: pd.DataFrame, means: Means) -> pd.DataFrame:
    """Average the correlations over the faces of each expression, beside that of their means."""
    hull = atlas().hull
    found = table.groupby(["neutral", "expression"])[["correlation", "blurred"]].mean()
    found["means"] = [
        np.corrcoef(means[TRUTH, expression].mean[hull], means[shot, expression].mean[hull])[0, 1]
        for shot, expression in found.index
    ]
    return found.round(3).reset_index()


def blendshape_auc(rows: pd.DataFrame, found: dict) -> pd.DataFrame:
    """Return how well the blendshape of each action unit tells faces on which it was rendered from others."""
    scores = pd.DataFrame({image_id: each.blendshapes for image_id, each in found.items()}).T
    neutral = rows["neutral"].where(rows["neutral"] != "", rows["image_id"])
    table = []
    for unit, name in SHAPES.items():
        active = (rows[f"au{unit:02d}"].fillna(0) > 0).to_numpy()
        shown = scores[[column for column in scores if column.startswith(name)]].mean(axis=1)
        values = shown[rows["image_id"]].to_numpy(), shown[neutral].to_numpy()
        found_auc = [auc(each, active) for each in (values[0], values[0] - values[1])]
        table.append((f"AU{unit}", name, int(active.sum()), *found_auc))
    return pd.DataFrame(table, columns=["unit", "blendshape", "faces", "auc", "auc_less_neutral"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    rows = synthetic.load()
    with LandmarkDetector() as detector:
        found = {
            row.image_id: detector.detect(read_image(Path(row.path)))
            for row in tqdm(rows.itertuples(), total=len(rows), desc="Finding faces")
        }
    table, means = correlations(rows, found)
    summary = summarise(table, means)
    summary.to_csv(given.out, index=False)
    print(summary.to_string(index=False))
    print(summary.groupby("neutral")[["correlation", "blurred", "means"]].mean().round(3))
    if given.figure:
        shown = {TRUTH: TRUTH} | {shot: f"landmarks,\n{shot}" for shot in table["neutral"]}
        cells = {(kind, name): (shown[kind], title(name)) for kind in shown for name in EXPRESSIONS}
        known = summary.set_index(["neutral", "expression"])["means"]
        figure = figures.heatmap_wall(
            {cell: means[key].mean for key, cell in cells.items()},
            notes={cell: f"r = {known[key]:.2f}" for key, cell in cells.items() if key in known},
            title="Movement from the neutral face, means over faces",
        )
        figures.save(figure, given.figure)
    print(blendshape_auc(rows, found).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
