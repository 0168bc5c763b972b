"""A miniature of the synthetic set, with known masks and landmarks, and an experiment on it."""

import numpy as np
import pandas as pd
from made_steps import stand_in

from ekman_expressions import Experiment
from ekman_expressions.core.files import read_image, sha256, write_arrays, write_csv, write_image
from ekman_expressions.faces.cropping import _crop_face
from ekman_expressions.facespace.warp import POINTS
from ekman_expressions.study.prepared import _face_path, _landmarks_path

# Askew, squeezed and off the middle, so that no error of the geometry goes unnoticed.
_TURN = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]) @ np.diag([0.6, 0.5])
LANDMARKS = POINTS[:68] @ _TURN.T + (60, 40)
"""Where the landmarks of all faces lie, in pixels of the source images (224 x 224)."""


def flat(value):
    """A layer of one 8-bit value."""
    return np.full((112, 112), value, np.uint8)


def write_set(root, faces):
    """Write a synthetic set.

    `faces` are (subject, expression, variant, colour, layers): the image is of one colour, `layers` a dict of
    8-bit arrays.
    """
    rows = [_row(root, *face) for face in faces]
    write_csv(root / "manifest.csv", pd.DataFrame(rows))
    image_ids = [row["image_id"] for row in rows]
    points = np.float32([LANDMARKS] * len(image_ids))
    write_arrays(root / "landmarks.npz", {"image_id": np.array(image_ids), "points": points})
    return root


def _row(root, subject, name, variant, colour, layers):
    image_id = f"{subject}_{name}_{variant}"
    write_image(root / "images" / f"{image_id}.webp", np.full((224, 224, 3), colour, np.uint8), lossless=True)
    if layers:
        write_image(root / "masks" / f"{image_id}.png", np.concatenate(list(layers.values())))
    return {
        "image_id": image_id,
        "path": f"images/{image_id}.webp",
        "dataset": "synthetic",
        "subject": subject,
        "expression": name,
        "variant": variant,
        "intensity": 0.0 if name == "neutral" else 1.0,
        "prototype": "" if name == "neutral" else 0,
        "neutral": f"{subject}_neutral_{variant}",
        "mask": f"masks/{image_id}.png" if layers else "",
        "layers": " ".join(layers),
        "hair": "none",
        "yaw": -3.25,
        **{unit: 0.5 * (unit in layers) for unit in ("au04", "au12")},
    }


def prepared(root, set_root, *, size=96, detected=LANDMARKS):
    """Return an experiment whose faces are prepared, with these landmarks as if detected."""
    experiment = Experiment(
        name="mini",
        networks=("WeiNet",),
        faces=dict(folds=2, size=size, roots={"synthetic": str(set_root)}),
        root=root,
    )
    table = pd.read_csv(set_root / "manifest.csv", keep_default_na=False)
    rows = []
    for row in table[table["expression"] != "neutral"].itertuples():
        image_id = f"synthetic_{row.image_id}"
        source = set_root / row.path
        crop, points, transform = _crop_face(read_image(source), np.array(detected), size)
        write_image(_face_path(experiment, image_id), crop)
        write_arrays(_landmarks_path(experiment, image_id), {"points": points, "transform": transform})
        rows.append(
            {
                "image_id": image_id,
                "path": f"faces/{image_id}.png",
                "dataset": "synthetic",
                "subject": f"synthetic/{row.subject}",
                "expression": row.expression,
                "fold": experiment.folds[int(row.subject[-1]) % 2],
                "sha256": sha256(source),
            }
        )
    with stand_in(experiment, "faces"):
        write_csv(experiment.manifest_path, pd.DataFrame(rows).sort_values("image_id"))
    return experiment
