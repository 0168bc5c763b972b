"""Choose the mesh vertices that stand for the 68 landmarks; the result is kept in ``landmarks.json``.

Two parts, since Blender and MediaPipe want different environments. ``find_landmarks.py render OUT``, with
Blender, renders neutral frontal faces and notes where each vertex lies. ``find_landmarks.py choose OUT``,
where `ekman_expressions` is installed, takes for each landmark the visible vertex that is nearest to the
detected point on average over the persons. So the table of landmark errors tells how steadily the detector
finds the same place on the skin, under expression, pose and light; not whether that place is the anatomist's.
"""

import json
import sys
from pathlib import Path

import numpy as np

PERSONS = range(100, 116)
"""None of the set itself."""

SIZE = 448


def render(out: Path) -> None:
    """Render neutral frontal faces, and write images and the projected vertices that may be seen."""
    from generate import SEED
    from head import Head, Pose
    from makehuman import base
    from persons import person
    from PIL import Image
    from scene import Light, Studio

    out.mkdir(parents=True, exist_ok=True)
    studio = Studio(SIZE, 8)
    for number in PERSONS:
        who = person(number, SEED)
        head, pose = Head(who), Pose(who.vertices, 0, 0, 0)
        studio.frame(who.vertices, pose, np.random.default_rng(number))
        studio.light(Light(20, 30, 0, 0.6, 900, 9, -40, 10, 200, 0.4, 0, (0.3, 0.3, 0.3)), 30)
        head.move(who.vertices, pose)
        head.wrinkle({})
        path = out / f"{number}.png"
        studio.photograph(str(path))
        quads = np.array([[v for v, _ in face] for face in base()[2]["body"]])
        np.savez(
            path.with_suffix(".npz"),
            points=studio.project(pose(who.vertices)),
            visible=_visible(who.vertices, quads),
        )
        head.remove()
        with Image.open(path) as image:
            print(path.name, image.size, file=sys.stderr)


def _visible(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Say which vertices of the skin face forward and have nothing in front of them."""
    from scipy.spatial import cKDTree

    across = np.cross(vertices[quads[:, 2]] - vertices[quads[:, 0]], vertices[quads[:, 3]] - vertices[quads[:, 1]])
    normals = np.zeros_like(vertices)
    for corner in range(4):
        np.add.at(normals, quads[:, corner], across)
    forward = normals[:, 2] > 0.05 * np.linalg.norm(normals, axis=1)
    candidates = np.flatnonzero(forward)
    tree = cKDTree(vertices[candidates, :2])
    visible = np.zeros(len(vertices), bool)
    for vertex, near in zip(candidates, tree.query_ball_point(vertices[candidates, :2], 0.03), strict=True):
        visible[vertex] = vertices[vertex, 2] > vertices[candidates[near], 2].max() - 0.05
    return visible


def choose(out: Path) -> None:
    """Detect the landmarks on the rendered faces, and write the nearest vertices."""
    from ekman_expressions.core.files import read_image
    from ekman_expressions.faces.landmarks import LandmarkDetector

    squared, seen = [], []
    with LandmarkDetector() as detector:
        for path in sorted(out.glob("*.png")):
            found = detector.detect(read_image(path)).points
            stored = np.load(path.with_suffix(".npz"))
            scale = np.linalg.norm(found[36] - found[45])
            squared.append(((stored["points"][:, None] - found[None]) ** 2).sum(axis=2) / scale**2)
            seen.append(stored["visible"])
    mean = np.where(np.mean(seen, axis=0)[:, None] > 0.8, np.mean(squared, axis=0), np.inf)
    vertices = mean.argmin(axis=0)
    error = 100 * np.sqrt(mean[vertices, range(68)])
    print("RMS distance in % of the distance of the outer eye corners:", error.round(1).tolist())
    path = Path(__file__).parent / "landmarks.json"
    path.write_text(json.dumps({"persons": len(squared), "vertices": vertices.tolist()}) + "\n")


if __name__ == "__main__":
    {"render": render, "choose": choose}[sys.argv[1]](Path(sys.argv[2]))
