"""Movement of the landmarks, and MediaPipe's blendshapes, against what is known of the synthetic faces.

    python benchmarks/movement.py --out benchmarks/results/movement.csv

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

from ekman_expressions.core.files import read_image
from ekman_expressions.faces import LandmarkDetector, crop_face, synthetic
from ekman_expressions.facespace import SHAPE, atlas, movement
from ekman_expressions.measures.scores import auc
from ekman_expressions.study.known_answers import _layer_in_face_space

BLUR = SHAPE[1] / 16

# What each rendered unit should raise; the mean of both sides.
SHAPES = {
    1: "browInnerUp", 2: "browOuterUp", 4: "browDown", 5: "eyeWide", 6: "cheekSquint", 7: "eyeSquint", 9: "noseSneer",
    10: "mouthUpperUp", 12: "mouthSmile", 15: "mouthFrown", 16: "mouthLowerDown", 17: "mouthShrugLower",
    20: "mouthStretch", 23: "mouthRoll", 24: "mouthPress", 26: "jawOpen", 27: "jawOpen", 43: "eyeBlink",
    64: "eyeLookDown",
}  # fmt: skip


def correlations(rows: pd.DataFrame, found: dict) -> pd.DataFrame:
    """Return a row per face and shot of the neutral, and per expression and shot of the means (no ``image_id``)."""
    hull, table = atlas().hull, []
    means: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for row in tqdm(rows[rows["expression"] != "neutral"].itertuples(), total=960, desc="Movement"):
        image, size = read_image(Path(row.path)), 224
        _, landmarks, transform = crop_face(image, found[row.image_id].points, size)
        layer = synthetic.read_layers(row.image_id)[synthetic.TOTAL]
        truth = _layer_in_face_space(layer, transform, landmarks, size)
        other = f"{row.neutral[:-1]}{(int(row.neutral[-1]) + 1) % 4}"
        for shot, neutral in (("same shot", row.neutral), ("other shot", other)):
            moved = movement(found[row.image_id].mesh, found[neutral].mesh)
            pair = truth[hull], moved[hull]
            blurred = (cv2.GaussianBlur(each, (0, 0), BLUR)[hull] for each in (truth, moved))
            table.append(
                (row.image_id, row.expression, shot, np.corrcoef(*pair)[0, 1], np.corrcoef(*blurred)[0, 1])
            )
            means.setdefault((row.expression, shot), []).append(pair)
    for (expression, shot), pairs in means.items():
        table.append(
            ("", expression, shot, np.corrcoef(*np.mean(pairs, axis=0, dtype=np.float64))[0, 1], np.nan)
        )
    return pd.DataFrame(table, columns=["image_id", "expression", "neutral", "correlation", "blurred"])


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Average the correlations over the faces of each expression, beside that of their means."""
    keys = ["neutral", "expression"]
    faces, means = table[table["image_id"] != ""], table[table["image_id"] == ""]
    found = faces.groupby(keys)[["correlation", "blurred"]].mean()
    return found.assign(means=means.set_index(keys)["correlation"]).round(3).reset_index()


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = synthetic.load()
    with LandmarkDetector() as detector:
        found = {
            row.image_id: detector.detect(read_image(Path(row.path)))
            for row in tqdm(rows.itertuples(), total=len(rows), desc="Finding faces")
        }
    summary = summarise(correlations(rows, found))
    summary.to_csv(given.out, index=False)
    print(summary.to_string(index=False))
    print(summary.groupby("neutral")[["correlation", "blurred", "means"]].mean().round(3))
    print(blendshape_auc(rows, found).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
