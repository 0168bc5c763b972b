"""How far a neutral face of another pose and light can be trusted: causal values with it against the matching one.

    python benchmarks/alignment.py --out benchmarks/results/alignment.csv [--faces 48]

The example model on persons that it has not seen. Each face is explained with the neutral of its own variant (same pose
and light), and with that of another variant, brought to the face in two ways: by the affine map between landmarks that
expressions hardly move (what the package does), and through face space by all 68 (which carries the expression's
shape over).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import ekman_expressions as ee
from ekman_expressions.explainers import part_segments
from ekman_expressions.faces.cropping import align_neutral
from ekman_expressions.facespace.warp import normalise, template_points
from ekman_expressions.measures.known_answers import causal_agreement


def through_face_space(neutral: ee.Faces, face: ee.Faces) -> np.ndarray:
    """Warp a neutral crop into face space, and from there to the face's landmarks, matched in mean and contrast."""
    import cv2

    side = face.images.shape[1]
    canvas = normalise(np.float32(neutral.images[0]), neutral.landmarks[0])
    places = np.float32(np.nan_to_num(template_points(face.landmarks[0], (side, side)), nan=0)) - 0.5
    found = cv2.remap(canvas, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    target = np.float32(face.images[0])
    found = (found - found.mean((0, 1))) / found.std((0, 1)) * target.std((0, 1)) + target.mean((0, 1))
    return np.rint(found).clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=48)
    given = parser.parse_args()
    model = ee.example_model()
    faces = ee.example_faces(subjects=model.unseen)
    faces = faces[
        model.predict(faces.at(model.side)).argmax(axis=1) == [ee.EXPRESSIONS.index(e) for e in faces.table.expression]
    ]
    faces = faces[np.random.default_rng(0).permutation(len(faces))[: given.faces]]
    neutral_ids = {image_id[:-1] + str((int(image_id[-1]) + 1) % 4) for image_id in faces.table["neutral"]}
    everyone = ee.example_faces(expression="neutral", subjects=model.unseen)
    neutrals = {i: everyone[[k]] for k, i in enumerate(everyone.table["image_id"]) if i in neutral_ids}
    rows = []
    for place in range(len(faces)):
        face = faces[[place]]
        truth = ee.explain(model, face, "causal", samples=1024).explanations[0]
        image_id = face.table["neutral"][0]
        other = neutrals[image_id[:-1] + str((int(image_id[-1]) + 1) % 4)]
        # The whole pictures and their landmarks, as `load_faces` has them, are those of the crops.
        size = face.images.shape[1]
        affine = align_neutral(
            other.images[0], other.landmarks[0] * size, face.images[0], face.landmarks[0] * size, np.eye(2, 3)
        )
        changed = {
            "affine": affine,
            "through face space": through_face_space(other, face),
            "not aligned": other.images[0],
        }
        for name, picture in changed.items():
            again = replace(face, neutrals=picture[None])
            found = ee.explain(model, again, "causal", samples=256).explanations[0]
            names = part_segments(face.landmarks[0], truth.segments.shape)[1]
            row = {
                "image_id": face.table["image_id"][0],
                "subject": face.table["subject"][0],
                "alignment": name,
            }
            row |= causal_agreement(truth, found.weights) | {
                "change": truth.weights.sum(),
                "found": found.weights.sum(),
            }
            rows.append(
                row
                | dict(zip((f"truth {n}" for n in names), truth.weights, strict=True))
                | dict(zip(names, found.weights, strict=True))
            )
    table = pd.DataFrame(rows)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(given.out, index=False)
    print(table.groupby("alignment", sort=False)[["spearman", "top", "sign", "auc"]].mean().round(3), len(faces))
    parts = [name.removeprefix("truth ") for name in table if name.startswith("truth ")]
    print(
        pd.DataFrame(
            {n: {p: g[f"truth {p}"].corr(g[p], "spearman") for p in parts} for n, g in table.groupby("alignment")}
        ).round(2)
    )


if __name__ == "__main__":
    main()
